"""How many connections there may be, and where the site may listen."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from palingenesis.paths import PathError
from palingenesis.web.settings import Place, parse_place
from palingenesis.web.site import CONNECTIONS_LIMIT, GRACE, KEYLESS_LIMIT
from tests.support.web import OWN_PAGE, Client, DoorTestCase, request


class LimitTests(DoorTestCase):
    def closed(self, clients: list[Client]) -> list[int]:
        return [index for index, client in enumerate(clients) if client.is_closed]

    def working(self) -> Client:
        path = "/api/v1/commands/SLEEP"
        return self.connect().send(request("POST", path, self.session(), headers=OWN_PAGE))

    def test_a_connection_beyond_the_limit_ends_the_longest_waiting_without_a_key(self) -> None:
        clients = []
        for index in range(CONNECTIONS_LIMIT):
            client = self.connect()
            if index < 3:
                client.send(request())
            clients.append(client)
            self.clock.advance(0.01)
        newcomer = self.connect().send(request())
        self.assertEqual(self.closed(clients), [3])
        self.assertEqual(newcomer.statuses, [200])

    def test_where_all_have_a_key_one_too_many_is_told(self) -> None:
        for _ in range(CONNECTIONS_LIMIT):
            self.connect().send(request())
        newcomer = self.connect().send(request())
        self.assertEqual((newcomer.statuses, newcomer.is_closed), ([503], True))
        self.assertIn(b"Retry-After: 1", newcomer.received)

    def test_those_without_a_key_share_eight(self) -> None:
        keyless = []
        for _ in range(KEYLESS_LIMIT + 2):
            keyless.append(self.connect().send(request(path="/health", key=None)))
            self.clock.advance(0.01)
        self.assertEqual(self.closed(keyless), [0, 1])
        self.assertEqual({tuple(client.statuses) for client in keyless}, {(200,)})

    def test_a_connection_that_shows_its_key_later_counts_no_more(self) -> None:
        first = self.connect().send(request(key=None)).send(request())
        for _ in range(KEYLESS_LIMIT):
            self.clock.advance(0.01)
            self.connect().send(request(key=None))
        self.assertFalse(first.is_closed)

    def test_a_connection_that_is_gone_makes_room(self) -> None:
        clients = [self.connect().send(request()) for _ in range(CONNECTIONS_LIMIT)]
        clients[0].close()
        self.assertEqual(self.connect().send(request()).statuses, [200])

    def test_a_stop_closes_the_idle_at_once_and_the_others_once_they_are_answered(self) -> None:
        done: Deferred[None] = Deferred()
        self.control.command("SLEEP", lambda: done, "wait", web=True)
        idle, working = self.connect().send(request()), self.working()
        stopped = self.site.stop()
        self.assertTrue(idle.is_closed)
        self.assertFalse(working.is_closed)
        idle.close()
        done.callback(None)
        self.assertEqual((working.statuses, working.is_closed), ([204], True))
        self.assertNoResult(stopped)
        working.close()
        self.assertIsNone(self.successResultOf(stopped))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_stop_waits_two_seconds_at_most(self) -> None:
        self.control.command("SLEEP", Deferred, "wait", web=True)
        working = self.working()
        self.site.stop()
        self.clock.advance(GRACE)
        self.assertTrue(working.transport.aborted)


class PlaceTests(DoorTestCase):
    def test_a_path_and_the_loopback_s_addresses_are_places(self) -> None:
        self.assertEqual(parse_place("unix:/run/x.sock"), Place(path="/run/x.sock"))
        self.assertEqual(parse_place("127.0.0.1:7654"), Place(host="127.0.0.1", port=7654))
        self.assertEqual(parse_place("[::1]:0"), Place(host="::1", port=0))

    def test_places_are_written_as_they_are_read(self) -> None:
        for text in ("unix:/run/x.sock", "127.0.0.1:7654", "[::1]:7654"):
            self.assertEqual(str(parse_place(text)), text)

    def test_another_address_is_told_how_else(self) -> None:
        for text in ("0.0.0.0:7654", "[::]:7654", "192.0.2.1:80", "localhost:80", ":80", "::1:80"):
            with self.subTest(text=text):
                error = self.assertRaises(ValueError, parse_place, text)
                self.assertIn("ssh -L", str(error))
                self.assertIn("reverse proxy", str(error))

    def test_what_is_no_place_is_told(self) -> None:
        for text in ("", "7654", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:65536", "127.0.0.1:-1"):
            self.assertRaises(ValueError, parse_place, text)
        self.assertRaises(PathError, parse_place, "unix:" + "x" * 200)
        self.assertRaises(PathError, parse_place, "unix:@abstract")
