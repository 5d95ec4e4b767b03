"""Events: what changes, as it changes, and what a client that was away has missed."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred

from palingenesis.server.service import ControlService
from palingenesis.web.access import Access
from palingenesis.web.events import COMMENT_SECONDS, MISSED_LIMIT, STREAMS_LIMIT, last_event_id
from palingenesis.wire import DaemonStatus
from tests.support.web import Client, DoorTestCase, Reply, request


class Facts:
    """Sessions and a log that a test changes."""

    def __init__(self) -> None:
        self.told: list[dict[str, str]] = [{"id": "a"}]
        self.log_entries: list[tuple[int, dict[str, int]]] = []
        self.asked = 0

    def sessions(self, _state: str | None = None) -> list[dict[str, str]]:
        self.asked += 1
        return list(self.told)

    def add(self, *numbers: int) -> None:
        self.log_entries += [(number, {"n": number}) for number in numbers]

    def entries(self, after: int, most: int) -> list[tuple[int, dict[str, int]]]:
        return [entry for entry in self.log_entries if entry[0] > after][-most:]

    def last_number(self) -> int:
        return self.log_entries[-1][0] if self.log_entries else 0

    def log(self, *_: object) -> list[Any]:
        return []

    def night(self, since: float) -> Any:
        return {"since": since}

    def is_healthy(self) -> bool:
        return True


def events(client: Client) -> list[tuple[str | None, Any]]:
    """Return the events until now: the name and the data; of an entry, its id for its name."""
    found = []
    _, _, body = client.received.partition(b"\r\n\r\n")
    text = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        text += body[: int(size, 16)]
        body = body[int(size, 16) + 2 :]
    for block in text.decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line)
        if "data" in fields:
            found.append((fields.get("id", fields["event"]), json.loads(fields["data"])))
    return found


class EventTestCase(DoorTestCase):
    def setUp(self) -> None:
        self.facts = Facts()
        super().setUp()

    def listen(self, last: str | None = None) -> Client:
        headers = [] if last is None else [f"Last-Event-ID: {last}"]
        return self.connect().send(request(path="/api/v1/events", headers=headers))

    def names(self, client: Client) -> list[str | None]:
        return [name for name, _ in events(client)]


class StreamTests(EventTestCase):
    def test_a_stream_has_the_type_of_events(self) -> None:
        reply = Reply(self.listen().received)
        self.assertEqual((reply.status, reply.headers["content-type"]), (200, "text/event-stream"))
        self.assertEqual(reply.headers["cache-control"], "no-store")

    def test_status_and_sessions_come_at_once(self) -> None:
        (name, status), sessions = events(self.listen())
        self.assertEqual((name, status["state"]), ("status", "monitoring"))
        self.assertEqual(sessions, ("sessions", [{"id": "a"}]))

    def test_a_command_s_change_comes_at_once(self) -> None:
        client = self.listen()
        self.control.factory.call(b"PAUSE\n")
        self.assertEqual(events(client)[-1][1]["state"], "paused")

    def test_another_change_comes_within_a_second(self) -> None:
        client = self.listen()
        self.state.session_saved()
        self.clock.advance(1)
        self.assertEqual(events(client)[-1][1]["saves_count"], 1)

    def test_what_does_not_change_does_not_come_again_and_the_uptime_is_no_change(self) -> None:
        client = self.listen()
        self.patch(self.state, "get_status", self.state.get_status)
        for _ in range(10):
            self.clock.advance(1)
        self.assertEqual(self.names(client), ["status", "sessions"])

    def test_sessions_come_at_each_change_once_a_second_at_most(self) -> None:
        client = self.listen()
        for number in range(5):
            self.facts.told.append({"id": str(number)})
            self.clock.advance(0.2)
        self.clock.advance(0.2)
        self.assertEqual(self.names(client), ["status", "sessions", "sessions"])

    def test_a_comment_comes_each_fifteen_seconds(self) -> None:
        client = self.listen()
        before = client.received.count(b"\r\n:\n\n\r\n")
        for _ in range(2):
            self.clock.pump([1.0] * int(COMMENT_SECONDS))
        self.assertEqual((before, client.received.count(b"\r\n:\n\n\r\n")), (0, 2))

    def test_a_second_client_is_told_all_and_spoils_nothing_for_the_first(self) -> None:
        first = self.listen()
        self.facts.told.append({"id": "b"})
        second = self.listen()
        self.clock.advance(1)
        for client in (first, second):
            self.assertEqual(events(client)[-1], ("sessions", [{"id": "a"}, {"id": "b"}]))
        self.assertEqual(self.names(second), ["status", "sessions"])

    def test_the_sessions_are_asked_once_a_look_however_many_streams_there_are(self) -> None:
        for number in range(3):
            self.listen()
            self.assertEqual(self.facts.asked, number + 1)
        self.clock.advance(1)
        self.assertEqual(self.facts.asked, 4)

    def test_nothing_is_looked_at_or_scheduled_without_a_stream(self) -> None:
        self.listen().close()
        asked = self.facts.asked
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.control.factory.call(b"PAUSE\n")
        self.assertEqual(self.facts.asked, asked)

    def test_a_stream_beyond_the_limit_is_refused(self) -> None:
        clients = [self.listen() for _ in range(STREAMS_LIMIT)]
        late = self.listen()
        self.assertEqual(late.statuses, [503])
        clients[0].close()
        self.assertEqual(self.listen().statuses, [200])

    def test_head_is_no_stream(self) -> None:
        reply = self.ask("HEAD", "/api/v1/events")
        self.assertEqual((reply.status, reply.body), (200, b""))
        self.assertEqual(self.resource.events.count, 0)

    def test_a_stream_ends_with_its_session_and_not_with_another(self) -> None:
        key = self.session()
        client = self.connect().send(request(path="/api/v1/events", key=key))
        other = self.listen()
        self.keys.revoke()
        self.clock.advance(1)
        self.assertTrue(client.received.endswith(b"\r\n0\r\n\r\n"))
        self.assertFalse(other.received.endswith(b"\r\n0\r\n\r\n"))

    def test_a_stop_ends_it_as_http_has_it(self) -> None:
        client = self.listen()
        self.resource.stop()
        self.assertTrue(client.received.endswith(b"\r\n0\r\n\r\n"))
        self.assertEqual(self.resource.events.count, 0)

    def test_a_status_that_takes_its_time_is_sent_once_it_is_there(self) -> None:
        answer: Deferred[DaemonStatus] = Deferred()
        self.patch(self.state, "get_status", lambda: answer)
        self.control = ControlService(self.state, "x.sock", reactor=self.clock)
        self.site = self.make_site(Access(self.keys))
        client = self.listen()
        self.assertEqual(self.names(client), ["sessions"])
        answer.callback(DaemonStatus("paused"))
        self.clock.advance(1)
        self.assertEqual(events(client)[-1][1]["state"], "paused")


class LogTests(EventTestCase):
    def test_each_new_entry_comes_with_its_number(self) -> None:
        self.facts.add(1, 2)
        client = self.listen()
        self.facts.add(3, 4)
        self.clock.advance(1)
        self.assertEqual(events(client)[2:], [("3", {"n": 3}), ("4", {"n": 4})])

    def test_a_client_that_comes_back_gets_what_it_missed(self) -> None:
        self.facts.add(1, 2, 3, 4)
        self.assertEqual(events(self.listen("2"))[2:], [("3", {"n": 3}), ("4", {"n": 4})])

    def test_a_client_that_comes_back_before_the_first_entry_knows_its_number(self) -> None:
        client = self.listen()
        self.assertIn(b"id: 0\n\n", client.received)
        client.close()
        self.facts.add(1)
        self.assertEqual(events(self.listen("0"))[2:], [("1", {"n": 1})])

    def test_of_many_it_gets_the_last_thousand(self) -> None:
        self.facts.add(*range(1, MISSED_LIMIT + 50))
        missed = events(self.listen("1"))[2:]
        self.assertEqual(len(missed), MISSED_LIMIT)
        self.assertEqual(missed[-1], (str(MISSED_LIMIT + 49), {"n": MISSED_LIMIT + 49}))

    def test_a_number_of_another_ledger_is_none(self) -> None:
        self.facts.add(1, 2)
        client = self.listen("7")
        self.facts.add(3)
        self.clock.advance(1)
        self.assertEqual(events(client)[2:], [("3", {"n": 3})])

    def test_what_is_no_number_is_none(self) -> None:
        for sent in (None, "", "x", "-1", "1.5", "٣", "9" * 19):
            self.assertIsNone(last_event_id(sent))
        self.assertEqual(last_event_id("42"), 42)


class ReadingTests(EventTestCase):
    def test_what_waits_for_a_client_that_reads_again_is_sent_in_order(self) -> None:
        client = self.listen()
        client.channel.pauseProducing()
        self.facts.add(1)
        self.clock.advance(1)
        self.facts.add(2)
        self.clock.advance(1)
        self.assertEqual(self.names(client), ["status", "sessions"])
        client.channel.resumeProducing()
        self.assertEqual(self.names(client)[2:], ["1", "2"])

    def test_a_client_that_does_not_read_is_cut(self) -> None:
        client = self.listen()
        other = self.listen()
        client.channel.pauseProducing()
        for number in range(4):
            self.assertFalse(client.transport.aborted)
            self.facts.told = [{"id": str(number) * 60_000}]
            self.clock.advance(1)
        self.assertTrue(client.transport.aborted)
        self.assertFalse(other.transport.aborted)

    def test_comments_do_not_wait(self) -> None:
        client = self.listen()
        client.channel.pauseProducing()
        self.clock.pump([1.0] * 60)
        before = len(client.received)
        client.channel.resumeProducing()
        self.assertEqual(len(client.received), before)
