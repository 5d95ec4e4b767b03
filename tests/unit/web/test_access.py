"""Who may: the process that asks, the name, the key, and the page."""

from __future__ import annotations

import os
from typing import Any

from twisted.internet.address import IPv4Address

from palingenesis.web import access, keys
from palingenesis.web.access import Access
from palingenesis.web.keys import CODE_SECONDS, SESSION_SECONDS, WRONG_LIMIT, Keys
from palingenesis.web.owner import OwnerUnknown
from tests.support.web import HOST, OWN_PAGE, TOKEN, DoorTestCase, Reply, request


class HostTests(DoorTestCase):
    def status(self, host: str | None) -> int:
        return self.ask(host=host).status

    def test_a_loopback_name_or_number_is_ours_with_any_port(self) -> None:
        for host in ("localhost", "127.0.0.1", "127.1.2.3:9", "LOCALHOST:80", "[::1]", "[::1]:5"):
            with self.subTest(host=host):
                self.assertEqual(self.status(host), 200)

    def test_another_name_is_misdirected(self) -> None:
        for host in (
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "192.0.2.1",
            "0.0.0.0",
            "[::2]",
            "localhost:7654@evil.example",
            "localhost:x",
            "",
            None,
        ):
            with self.subTest(host=host):
                self.assertEqual(self.status(host), 421)

    def test_a_configured_name_is_ours(self) -> None:
        hosts = ("watch.example", "other.example:8443")
        self.site = self.make_site(Access(self.keys, hosts=hosts))
        for host in ("watch.example", "Watch.Example:443", "other.example:8443"):
            self.assertEqual(self.status(host), 200)
        self.assertEqual(self.status("other.example"), 421)

    def test_two_of_them_are_a_bad_request(self) -> None:
        self.assertEqual(self.ask(headers=["Host: 127.0.0.1"]).status, 400)

    def test_health_and_the_page_too_are_only_ours_under_our_name(self) -> None:
        for path in ("/health", "/", "/page.js"):
            self.assertEqual(self.ask(path=path, host="evil.example").status, 421)

    def test_a_malformed_name_is_told_when_it_is_given(self) -> None:
        for host in ("https://watch.example", "a b", ""):
            self.assertRaises(ValueError, Access, self.keys, hosts=[host])


class OwnerTests(DoorTestCase):
    LOOPBACK = IPv4Address("TCP", "127.0.0.1", 4000)

    def reply(self, *arguments: Any, peer: IPv4Address = LOOPBACK, **named: Any) -> Reply:
        client = self.connect(peer)
        client.send(request(*arguments, **named))
        return Reply(client.received)

    def owned_by(self, uid: int) -> None:
        def owner_of(client: tuple[str, int], server: tuple[str, int]) -> int:
            self.assertEqual((client[1], server), (4000, ("127.0.0.1", 7654)))
            return uid

        self.patch(access, "is_told", lambda: True)
        self.patch(access, "owner_of", owner_of)

    def test_our_own_process_and_root_s_are_admitted(self) -> None:
        for uid in (os.geteuid(), 0):
            self.owned_by(uid)
            self.assertEqual(self.reply().status, 200)

    def test_another_user_is_not_whatever_the_token(self) -> None:
        self.owned_by(54321)
        reply = self.reply()
        self.assertEqual(reply.status, 403)
        self.assertIn("Permission denied", reply.json["detail"])

    def test_a_configured_user_is_admitted(self) -> None:
        self.owned_by(54321)
        self.site = self.make_site(Access(self.keys, users=[54321]))
        self.assertEqual(self.reply().status, 200)

    def test_health_needs_no_user(self) -> None:
        self.owned_by(54321)
        self.assertEqual(self.reply(path="/health").status, 200)

    def test_another_user_s_own_address_in_a_network_is_asked_for_too(self) -> None:
        # Any process may connect to the loopback from it.
        self.owned_by(54321)
        peer = IPv4Address("TCP", "198.51.100.1", 4000)
        self.assertEqual(self.reply(peer=peer).status, 403)

    def test_another_user_logs_in_with_no_code_and_spends_none(self) -> None:
        code = self.keys.issue_code()
        login = {"method": "POST", "path": "/api/v1/login", "key": None, "body": {"code": code}}
        self.owned_by(54321)
        self.assertEqual(self.reply(**login, headers=OWN_PAGE).status, 403)
        self.owned_by(os.geteuid())
        self.assertEqual(self.reply(**login, headers=OWN_PAGE).status, 200)

    def test_a_connection_that_no_process_holds_is_not_admitted(self) -> None:
        def owner_of(*_: object) -> int:
            raise OwnerUnknown("closed")

        self.patch(access, "is_told", lambda: True)
        self.patch(access, "owner_of", owner_of)
        self.assertEqual(self.reply().status, 403)

    def test_the_kernel_is_asked_once_for_a_connection(self) -> None:
        asked = []
        self.patch(access, "is_told", lambda: True)
        self.patch(access, "owner_of", lambda *_: asked.append(1) or 0)
        client = self.connect(self.LOOPBACK)
        client.send(request()).send(request())
        self.assertEqual((client.statuses, len(asked)), ([200, 200], 1))

    def test_without_a_kernel_that_tells_the_token_decides(self) -> None:
        self.patch(access, "is_told", lambda: False)
        self.assertEqual(self.reply().status, 200)

    def test_an_unknown_user_is_told_when_it_is_given(self) -> None:
        for user in ("no-such-user-here", "", -1, None, True):
            self.assertRaises(ValueError, Access, self.keys, users=[user])


class KeyTests(DoorTestCase):
    def test_without_a_key_nothing_is_read(self) -> None:
        for path in ("/api/v1/status", "/metrics", "/api/v1/events", "/nothing"):
            reply = self.ask(path=path, key=None)
            self.assertEqual(reply.status, 401)
            self.assertEqual(reply.headers["www-authenticate"], 'Bearer realm="palingenesis"')

    def test_the_token_and_a_session_s_key_read(self) -> None:
        for key in (TOKEN, self.session()):
            self.assertEqual(self.ask(key=key).status, 200)

    def test_another_key_scheme_or_length_is_wrong(self) -> None:
        for key in ("x", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "é"):
            self.assertEqual(self.ask(key=key).status, 401)
        header = f"Authorization: Basic {TOKEN}"
        self.assertEqual(self.ask(key=None, headers=[header]).status, 401)
        self.assertEqual(self.ask(key=None, path=f"/api/v1/status?token={TOKEN}").status, 401)

    def test_two_of_them_are_a_bad_request(self) -> None:
        self.assertEqual(self.ask(headers=["Authorization: Bearer x"]).status, 400)

    def test_the_scheme_may_be_in_small_letters(self) -> None:
        header = f"authorization: bearer {TOKEN}"
        self.assertEqual(self.ask(key=None, headers=[header]).status, 200)

    def test_from_the_eleventh_wrong_one_in_a_minute_wrong_ones_are_throttled(self) -> None:
        statuses = [self.ask(key="wrong").status for _ in range(WRONG_LIMIT + 2)]
        self.assertEqual(statuses, [401] * WRONG_LIMIT + [429] * 2)
        self.assertEqual(self.ask(key=TOKEN).status, 200)
        self.assertEqual(self.change("/api/v1/pause").status, 200)
        self.assertEqual(self.ask(key="wrong").headers["retry-after"], "60")
        self.clock.advance(61)
        self.assertEqual(self.ask(key="wrong").status, 401)

    def test_a_request_without_a_key_is_no_wrong_key(self) -> None:
        for _ in range(3 * WRONG_LIMIT):
            self.assertEqual(self.ask(key=None).status, 401)


class LoginTests(DoorTestCase):
    def login(self, code: object, **named: object) -> Reply:
        headers = named.pop("headers", OWN_PAGE)
        return self.ask("POST", "/api/v1/login", None, {"code": code}, headers=headers)

    def test_a_code_gives_a_key_that_reads(self) -> None:
        reply = self.login(self.keys.issue_code())
        self.assertEqual(reply.status, 200)
        self.assertEqual(self.ask(key=reply.json["key"]).status, 200)

    def test_a_code_is_good_once(self) -> None:
        code = self.keys.issue_code()
        self.assertEqual(self.login(code).status, 200)
        self.assertEqual(self.login(code).status, 401)

    def test_a_code_is_good_for_a_minute(self) -> None:
        code = self.keys.issue_code()
        self.clock.advance(CODE_SECONDS)
        self.assertEqual(self.login(code).status, 401)

    def test_the_token_and_a_session_s_key_are_no_codes(self) -> None:
        for code in (TOKEN, self.session(), "", "\ud800"):
            self.assertEqual(self.login(code).status, 401)

    def test_a_code_is_no_key(self) -> None:
        self.assertEqual(self.ask(key=self.keys.issue_code()).status, 401)

    def test_what_is_no_code_is_a_bad_request(self) -> None:
        self.assertEqual(self.login(7).status, 400)

    def test_another_page_cannot_log_in_and_spends_no_code(self) -> None:
        code = self.keys.issue_code()
        evil = ["Origin: http://evil.example"]
        self.assertEqual(self.login(code, headers=evil).status, 403)
        self.assertEqual(self.login(code).status, 200)

    def test_wrong_codes_are_throttled_with_wrong_keys_and_a_right_one_is_not(self) -> None:
        statuses = {self.login("wrong").status for _ in range(WRONG_LIMIT + 1)}
        self.assertEqual(statuses, {401, 429})
        self.assertEqual(self.login(self.keys.issue_code()).status, 200)

    def test_a_session_ends_after_twelve_hours(self) -> None:
        key = self.session()
        self.clock.advance(SESSION_SECONDS - 1)
        self.assertEqual(self.ask(key=key).status, 200)
        self.clock.advance(1)
        self.assertEqual(self.ask(key=key).status, 401)

    def test_revoking_ends_sessions_and_codes(self) -> None:
        key, code = self.session(), self.keys.issue_code()
        self.assertEqual(self.keys.revoke(), 1)
        self.assertEqual(self.ask(key=key).status, 401)
        self.assertEqual(self.login(code).status, 401)
        self.assertEqual(self.ask().status, 200)

    def test_a_session_beyond_the_limit_ends_the_oldest(self) -> None:
        first, *_, last = (self.session() for _ in range(keys.SESSIONS_LIMIT + 1))
        self.assertEqual((self.ask(key=first).status, self.ask(key=last).status), (401, 200))


class ChangeTests(DoorTestCase):
    def pause(self, *headers: str, key: str | None = None) -> int:
        reply = self.ask("POST", "/api/v1/pause", key or self.session(), headers=headers)
        self.assertEqual(self.state.paused, reply.status == 200)
        self.state.resume()
        return reply.status

    def test_a_session_s_page_changes_something(self) -> None:
        self.assertEqual(self.pause(*OWN_PAGE), 200)
        self.assertEqual(self.pause(OWN_PAGE[0]), 200)

    def test_a_token_never_does(self) -> None:
        self.assertEqual(self.pause(*OWN_PAGE, key=TOKEN), 403)

    def test_a_session_does_not_unless_it_is_configured(self) -> None:
        self.site = self.make_site(Access(self.keys))
        self.assertEqual(self.pause(*OWN_PAGE), 403)

    def test_another_origin_never_does(self) -> None:
        for origin in (
            "http://evil.example",
            "http://127.0.0.1:8000",
            "http://localhost:7654",
            "null",
            f"http://{HOST}.evil.example",
            f"ftp://{HOST}",
        ):
            with self.subTest(origin=origin):
                self.assertEqual(self.pause(f"Origin: {origin}"), 403)

    def test_a_request_without_an_origin_never_does(self) -> None:
        self.assertEqual(self.pause(), 403)
        self.assertEqual(self.pause("Sec-Fetch-Site: same-origin"), 403)

    def test_another_site_of_the_fetch_never_does(self) -> None:
        for site in ("cross-site", "same-site", "none"):
            self.assertEqual(self.pause(OWN_PAGE[0], f"Sec-Fetch-Site: {site}"), 403)
        self.assertEqual(self.pause(*OWN_PAGE, "Sec-Fetch-Site: cross-site"), 403)

    def test_a_get_changes_nothing(self) -> None:
        for path in ("/api/v1/pause", "/api/v1/commands/PAUSE", "/api/v1/login"):
            reply = self.ask("GET", path, self.session(), headers=OWN_PAGE)
            self.assertEqual((reply.status, reply.headers["allow"]), (405, "POST"))
        self.assertFalse(self.state.paused)


class GivenTests(DoorTestCase):
    def test_without_a_token_it_is_an_error(self) -> None:
        from palingenesis.web.resource import ControlResource

        self.assertRaises(ValueError, ControlResource, self.control, clock=self.clock)
        self.assertRaises(ValueError, ControlResource, self.control, "", clock=self.clock)
        self.assertRaises(
            ValueError, ControlResource, self.control, TOKEN, access=None, clock=self.clock
        )

    def test_an_application_that_guards_itself_allows_everything(self) -> None:
        self.control.command("FLUSH", lambda: None, "drop what waits", web=True)
        self.site = self.make_site(None)
        self.assertEqual(self.ask(key=None, host="any.example").status, 200)
        self.assertEqual(self.ask("POST", "/api/v1/pause", None).status, 200)
        self.assertEqual(self.ask("POST", "/api/v1/commands/FLUSH", None).status, 204)
        self.assertEqual(self.ask("POST", "/api/v1/login", None).status, 404)

    def test_keys_need_a_token(self) -> None:
        self.assertRaises(ValueError, Keys, "")


class PeerTests(DoorTestCase):
    def test_a_handler_sees_the_user_that_the_kernel_names(self) -> None:
        self.patch(access, "is_told", lambda: True)
        self.patch(access, "owner_of", lambda *_: 0)
        seen: list[object] = []
        self.control.command("FLUSH", lambda: seen.append(self.control.peer), "drop", web=True)
        client = self.connect(OwnerTests.LOOPBACK)
        path = "/api/v1/commands/FLUSH"
        client.send(request("POST", path, self.session(), headers=OWN_PAGE))
        self.assertEqual(seen, [(0, 0, -1)])

    def test_a_connection_without_a_user_has_no_peer(self) -> None:
        seen: list[object] = []
        self.control.command("FLUSH", lambda: seen.append(self.control.peer), "drop", web=True)
        self.change("/api/v1/commands/FLUSH")
        self.assertEqual(seen, [None])
