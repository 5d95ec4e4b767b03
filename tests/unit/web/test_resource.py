"""Each request and its reply."""

from __future__ import annotations

import gc
import json
import time
import weakref
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import formatEvent, globalLogPublisher
from twisted.web.resource import Resource
from twisted.web.server import Site

from palingenesis.config import Limits
from palingenesis.server.interfaces import CommandRefused
from palingenesis.web.resource import ControlResource
from palingenesis.web.site import BoundedSite
from tests.support.night import night_of, staged_night
from tests.support.web import OWN_PAGE, TOKEN, DoorTestCase, Reply, request


class Facts:
    """Two sessions and three entries."""

    healthy = True
    asked: tuple[Any, ...] = ()

    def sessions(self, state: str | None = None) -> list[dict[str, str]]:
        told = [{"id": "a", "state": "waiting"}, {"id": "b", "state": "working"}]
        return [each for each in told if state in (None, each["state"])]

    def entries(self, after: int, most: int) -> list[tuple[int, dict[str, str]]]:
        return [(number, {"event": str(number)}) for number in (1, 2, 3) if number > after][-most:]

    def last_number(self) -> int:
        return 3

    def log(
        self, count: int | None, since: float | None, session: str | None
    ) -> list[dict[str, str]]:
        self.asked = (count, since, session)
        return [{"event": "stopped"}]

    def night(self, since: float) -> dict[str, Any]:
        self.asked = (since,)
        told = night_of(staged_night())
        return {**told, "since": since} if since < told["now"] else told

    def is_healthy(self) -> bool:
        return self.healthy


class ReadTests(DoorTestCase):
    def test_access_says_whether_a_client_may_change_something(self) -> None:
        self.assertEqual(self.ask(path="/api/v1/access").json, {"changes": False})
        mine = self.ask(path="/api/v1/access", key=self.session())
        self.assertEqual(mine.json, {"changes": True})
        self.assertEqual(self.ask(path="/api/v1/access", key=None).status, 401)

    def test_health_says_nothing_but_that(self) -> None:
        reply = self.ask(path="/health", key=None)
        self.assertEqual((reply.status, reply.json), (200, {"status": "ok"}))

    def test_status_is_the_socket_s(self) -> None:
        self.clock.advance(0)
        reply = self.ask()
        self.assertEqual(reply.headers["content-type"], "application/json")
        self.assertEqual(
            list(reply.json),
            ["state", "uptime_secs", "current_session", "saves_count", "total_resumes"],
        )

    def test_commands_are_help_s(self) -> None:
        self.control.command("FLUSH", lambda _: None, "drop what waits", "QUEUE")
        reply = self.ask(path="/api/v1/commands")
        self.assertEqual(list(reply.json)[-1], "FLUSH QUEUE")

    def test_the_page_and_its_files(self) -> None:
        for path, kind in (
            ("/", "text/html"),
            ("/page.js", "text/javascript"),
            ("/page.css", "text/css"),
        ):
            reply = self.ask(path=path, key=None)
            self.assertEqual(reply.status, 200)
            self.assertTrue(reply.headers["content-type"].startswith(kind))
            self.assertTrue(reply.body)

    def test_the_page_names_nothing_of_elsewhere(self) -> None:
        for path in ("/", "/page.js", "/page.css"):
            self.assertNotIn(
                b"//", self.ask(path=path).body.replace(b"  // ", b"").replace(b"\n// ", b"")
            )

    def test_what_is_not_there_is_told_with_a_key_only(self) -> None:
        for path in ("/nothing", "/api/v1/", "/api/v1/status/", "/api/v1/sessions", "/page.js/x"):
            self.assertEqual(self.ask(path=path).status, 404)
            self.assertEqual(self.ask(path=path, key=None).status, 401)

    def test_each_response_has_the_headers_that_bind_a_browser(self) -> None:
        for path, key in (("/", None), ("/api/v1/status", TOKEN), ("/nothing", None)):
            headers = self.ask(path=path, key=key).headers
            self.assertEqual(
                headers["content-security-policy"],
                "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
                "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
            )
            self.assertEqual(headers["x-content-type-options"], "nosniff")
            self.assertEqual(headers["referrer-policy"], "no-referrer")
            self.assertEqual(headers["cross-origin-opener-policy"], "same-origin")
            self.assertEqual(headers["cache-control"], "no-store")
            for absent in ("server", "set-cookie", "access-control-allow-origin"):
                self.assertNotIn(absent, headers)

    def test_head_is_get_without_its_body(self) -> None:
        for path in ("/", "/health", "/api/v1/status", "/metrics"):
            got, head = self.ask("GET", path), self.ask("HEAD", path)
            self.assertEqual((head.status, head.body), (200, b""))
            if path != "/metrics":
                self.assertEqual(head.headers["content-length"], got.headers["content-length"])

    def test_other_methods_are_told_what_is_allowed(self) -> None:
        for path in ("/", "/health", "/api/v1/status", "/metrics", "/api/v1/events"):
            for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE", "NONSENSE"):
                reply = self.ask(method, path)
                self.assertEqual((reply.status, reply.headers["allow"]), (405, "GET, HEAD"))

    def test_a_preflight_is_told_nothing(self) -> None:
        reply = self.ask(
            "OPTIONS", "/api/v1/pause", None, headers=["Access-Control-Request-Method: POST"]
        )
        self.assertEqual(reply.status, 401)
        self.assertFalse([name for name in reply.headers if name.startswith("access-control")])

    def test_a_state_that_takes_too_long_is_a_gateway_timeout(self) -> None:
        self.patch(self.state, "get_status", Deferred)
        control = type(self.control)(self.state, "x.sock", reactor=self.clock)
        self.site = BoundedSite(ControlResource(control, TOKEN, clock=self.clock), self.clock)
        client = self.connect().send(request())
        self.clock.advance(30)
        self.assertEqual(client.statuses, [504])


class FactsTests(DoorTestCase):
    facts = Facts()

    def test_health_is_degraded_with_them(self) -> None:
        self.patch(self.facts, "healthy", False)
        reply = self.ask(path="/health", key=None)
        self.assertEqual((reply.status, reply.json), (503, {"status": "degraded"}))

    def test_the_report_has_the_facts_since_a_time(self) -> None:
        reply = self.ask(path="/api/v1/report?since=1795730400")
        self.assertEqual(self.facts.asked, (1795730400.0,))
        self.assertIn("an answer", [each["reason"] for each in reply.json["needs_you"]])

    def test_the_night_is_a_picture_in_the_readers_zone(self) -> None:
        reply = self.ask(path="/api/v1/night?hours=1&offset=0")
        self.assertEqual(reply.headers["content-type"], "image/svg+xml")
        (since,) = self.facts.asked
        self.assertLess(abs(since - time.time() + 3600), 60)
        self.assertIn(b"to 07:00<", reply.body)
        further = self.ask(path="/api/v1/night?hours=1&offset=-19800").body
        self.assertIn(b"to 01:30<", further)
        self.assertNotIn(b"07:00", further)

    def test_a_night_has_a_length(self) -> None:
        for query in ("hours=0", "hours=169", "hours=nan", "offset=90000", "hours=x"):
            self.assertEqual(self.ask(path=f"/api/v1/night?{query}").status, 400, query)

    def test_sessions_can_be_filtered(self) -> None:
        self.assertEqual(len(self.ask(path="/api/v1/sessions").json), 2)
        waiting = self.ask(path="/api/v1/sessions?state=waiting").json
        self.assertEqual([session["id"] for session in waiting], ["a"])

    def test_a_state_that_does_not_exist_is_no_empty_list(self) -> None:
        reply = self.ask(path="/api/v1/sessions?state=none")
        self.assertEqual(reply.status, 400)
        self.assertIn("expected one of working, quiet, ", reply.json["detail"])

    def test_the_log_takes_its_arguments(self) -> None:
        self.assertEqual(self.ask(path="/api/v1/log").json, [{"event": "stopped"}])
        self.assertEqual(self.facts.asked, (None, None, None))
        self.ask(path="/api/v1/log?count=7&since=12.5&session=abc")
        self.assertEqual(self.facts.asked, (7, 12.5, "abc"))

    def test_what_is_no_argument_is_told(self) -> None:
        for query in (
            "count=0",
            "count=1001",
            "count=x",
            "since=nan",
            "since=-1",
            "count=1&count=2",
        ):
            reply = self.ask(path=f"/api/v1/log?{query}")
            self.assertEqual(reply.status, 400, query)


class CommandTests(DoorTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.log: list[str] = []
        globalLogPublisher.addObserver(self.heard)
        self.addCleanup(globalLogPublisher.removeObserver, self.heard)

    def heard(self, event: Any) -> None:
        self.log.append(str(formatEvent(event)))

    def own(self, handler: Any, argument: str | None = None, *, web: bool = True) -> None:
        self.control.command("FLUSH", handler, "drop what waits", argument, web=web)

    def flush(self, *arguments: str) -> Reply:
        return self.change("/api/v1/commands/FLUSH", {"arguments": list(arguments)})

    def test_pause_resume_and_reload_tell_the_status_as_it_is_then(self) -> None:
        self.assertEqual(self.change("/api/v1/pause").json["state"], "paused")
        self.assertEqual(self.change("/api/v1/resume").json["state"], "monitoring")
        self.assertEqual(self.change("/api/v1/reload").json["state"], "monitoring")

    def test_a_command_over_http_leaves_the_audit_line_of_the_socket(self) -> None:
        self.change("/api/v1/pause")
        self.assertIn("PAUSE by http, uid unknown, 192.0.2.1:4000: OK", self.log)

    def test_no_key_and_no_code_is_logged(self) -> None:
        code = self.keys.issue_code()
        key = self.session()
        self.ask("POST", "/api/v1/login", None, {"code": code}, headers=OWN_PAGE)
        self.change("/api/v1/pause", key=key)
        self.ask(path=f"/nothing?{TOKEN}", key="wrong-key")
        text = "\n".join(self.log)
        for secret in (code, key, TOKEN, "wrong-key"):
            self.assertNotIn(secret, text)

    def test_a_result_is_json_and_ok_is_no_content(self) -> None:
        self.own(lambda queue="none": None if queue == "none" else {"dropped": queue}, "[QUEUE]")
        reply = self.flush("mail")
        self.assertEqual((reply.status, reply.json), (200, {"dropped": "mail"}))
        for body in (None, {}, {"arguments": []}):
            reply = self.change("/api/v1/commands/FLUSH", body)
            self.assertEqual((reply.status, reply.body), (204, b""))
            self.assertNotIn("content-length", reply.headers)

    def test_a_name_may_be_in_small_letters(self) -> None:
        self.own(lambda: 1)
        self.assertEqual(self.change("/api/v1/commands/flush").json, 1)

    def test_errors_are_problems_with_the_socket_s_words(self) -> None:
        def handler(argument: str) -> Any:
            if argument == "refuse":
                raise CommandRefused("there is no queue")
            if argument == "crash":
                raise RuntimeError("secret")
            return Deferred() if argument == "wait" else float("nan")

        self.own(handler, "QUEUE")
        for argument, status, detail in (
            ("refuse", 409, "there is no queue"),
            ("crash", 500, "FLUSH failed; the daemon's log says why"),
            ("nan", 500, "FLUSH failed; the daemon's log says why"),
        ):
            reply = self.flush(argument)
            self.assertEqual((reply.status, reply.json["detail"]), (status, detail))
            self.assertEqual(reply.json["status"], status)
            self.assertEqual(reply.json["type"], "about:blank")
            self.assertEqual(reply.headers["content-type"], "application/problem+json")
        self.assertEqual(self.flush().json["detail"], "FLUSH needs QUEUE")
        self.assertEqual(self.flush().status, 400)
        self.flushLoggedErrors()

    def test_an_argument_that_is_not_one_line_is_refused(self) -> None:
        self.own(lambda _: None, "QUEUE")
        for argument in ("a\nSTATUS", "x" * 512):
            self.assertEqual(self.flush(argument).status, 400)
        reply = self.flush("\ud800")
        told = (reply.status, reply.json["detail"])
        self.assertEqual(told, (400, "An argument is not valid Unicode"))

    def test_only_the_last_of_several_arguments_may_have_blanks(self) -> None:
        self.own(lambda *arguments: list(arguments), "QUEUE [WHY]")
        self.assertEqual(self.flush("mail", "it is late").json, ["mail", "it is late"])
        for arguments in (("mail fax", "x"), ("", "x"), (" ", "x")):
            self.assertEqual(self.flush(*arguments).status, 400)

    def test_what_is_no_list_of_strings_is_refused(self) -> None:
        self.own(lambda _: None, "QUEUE")
        for body in ([], "x", 7, {"arguments": "mail"}, {"arguments": [1]}, {"arguments": {}}):
            self.assertEqual(self.change("/api/v1/commands/FLUSH", body).status, 400)

    def test_a_body_is_json_by_its_type_and_by_its_content(self) -> None:
        self.own(lambda: None)
        for kind, content, status in (
            ("text/plain", b"{}", 415),
            ("application/x-www-form-urlencoded", b"a=b", 415),
            ("multipart/form-data; boundary=x", b"--x\r\n\r\n\r\n--x--\r\n", 415),
            ("application/json", b"{", 400),
            ("application/json", b"[" * 4000, 400),
            ("application/json; charset=utf-8", b"{}", 204),
        ):
            with self.subTest(kind=kind, content=content[:9]):
                head = request(
                    "POST",
                    "/api/v1/commands/FLUSH",
                    self.session(),
                    headers=[
                        *OWN_PAGE,
                        f"Content-Type: {kind}",
                        f"Content-Length: {len(content)}",
                    ],
                )
                client = self.connect().send(head + content)
                self.assertEqual(client.statuses, [status])

    def test_a_command_that_is_not_for_tcp_is_not_run(self) -> None:
        self.own(self.fail, web=False)
        for name in ("FLUSH", "STATUS", "PAUSE", "NOTHING", "FLUSH%20x", "A%0AB", "%FF"):
            self.assertEqual(self.change(f"/api/v1/commands/{name}").status, 404, name)

    def test_a_command_under_way_counts_as_a_client_of_the_socket(self) -> None:
        done: Deferred[None] = Deferred()
        self.own(lambda: done)
        self.control.configure(Limits(max_connections=1))
        client = self.connect()
        client.send(request("POST", "/api/v1/commands/FLUSH", self.session(), headers=OWN_PAGE))
        busy = self.ask()
        self.assertEqual((busy.status, busy.headers["retry-after"]), (503, "1"))
        done.callback(None)
        self.assertEqual(client.statuses, [204])
        self.assertEqual(self.ask().status, 200)

    def test_a_busy_door_keeps_none_of_the_requests_that_it_rejects(self) -> None:
        self.control.configure(Limits(max_connections=1))
        self.own(Deferred)
        self.control.factory.call(b"FLUSH\n")
        client = self.connect().send(request())
        self.assertEqual(client.statuses, [503])
        kept = weakref.ref(client.channel)
        client.close()
        del client
        gc.collect()
        self.assertIsNone(kept())

    def test_a_client_that_is_gone_spoils_nothing(self) -> None:
        done: Deferred[None] = Deferred()
        self.own(lambda: done)
        client = self.connect()
        client.send(request("POST", "/api/v1/commands/FLUSH", self.session(), headers=OWN_PAGE))
        client.close()
        done.callback(None)
        self.assertEqual(self.ask().status, 200)


class MountedTests(DoorTestCase):
    def setUp(self) -> None:
        super().setUp()
        root = Resource()
        root.putChild(b"control", self.resource)
        self.site = BoundedSite(root, self.clock)

    def test_a_mounted_resource_is_served_below_its_name(self) -> None:
        self.assertEqual(self.ask(path="/control/api/v1/status").status, 200)
        self.assertEqual(self.ask(path="/control/", key=None).status, 200)
        self.assertEqual(self.ask(path="/control/page.js", key=None).status, 200)

    def test_without_a_slash_it_leads_to_the_page(self) -> None:
        reply = self.ask(path="/control")
        self.assertEqual((reply.status, reply.headers["location"]), (308, "control/"))

    def test_the_page_s_links_are_relative(self) -> None:
        page = self.ask(path="/control/").body.decode()
        self.assertNotIn('href="/', page)
        self.assertNotIn('src="/', page)
        self.assertNotIn('ask("/', self.ask(path="/control/page.js").body.decode())


class ForeignSiteTests(DoorTestCase):
    def test_twisted_s_own_site_and_ours_send_the_same(self) -> None:
        self.control.command("FLUSH", lambda: None, "drop what waits", web=True)
        asked = [
            ("GET", "/api/v1/status"),
            ("HEAD", "/api/v1/status"),
            ("GET", "/nothing"),
            ("GET", "/"),
            ("HEAD", "/api/v1/events"),
            ("PUT", "/health"),
            ("POST", "/api/v1/commands/FLUSH"),
        ]
        key = self.session()
        ours = [self.ask(*each, key, headers=OWN_PAGE) for each in asked]
        site: Any = Site(self.resource, reactor=self.clock)
        self.site = site
        theirs = [self.ask(*each, key, headers=OWN_PAGE) for each in asked]
        self.assertEqual([each.status for each in ours], [200, 200, 404, 200, 200, 405, 204])
        for our, their in zip(ours, theirs, strict=True):
            for reply in our, their:
                reply.headers.pop("date")
            self.assertEqual(
                (our.status, our.headers, our.body), (their.status, their.headers, their.body)
            )


class ProblemTests(DoorTestCase):
    def test_a_problem_is_json_whatever_was_sent(self) -> None:
        reply = self.change("/api/v1/commands/%22%0D%0ASet-Cookie:%20x%E2%80%AE")
        self.assertEqual(reply.status, 404)
        self.assertTrue(json.loads(reply.body)["detail"].isprintable())
        self.assertNotIn("set-cookie", reply.headers)
