"""One command a connection: deadlines, refusals, handlers of every kind, and the stop."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import ISystemHandle
from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from palingenesis import wire
from palingenesis.config import Limits
from palingenesis.procfs import Credentials
from palingenesis.server import protocol
from palingenesis.server.commands import Answer, CommandTable
from palingenesis.server.interfaces import CommandRefused, IDaemonState
from palingenesis.server.protocol import (
    GRACE,
    REJECTED_DISCARD_LIMIT,
    REJECTED_LIMIT,
    REPLY_GRACE,
    ControlFactory,
)
from palingenesis.server.transport import DISCARD_LIMIT
from palingenesis.testing import Conversation as Client
from palingenesis.testing import MemoryTransport
from palingenesis.wire import DaemonStatus

TIMEOUT = 5.0
HANDLER_TIMEOUT = 30.0

STATUS = DaemonStatus("monitoring", 7, "main", 2, 1)
TIMED_OUT = b"ERR: Connection timeout\n"
NOT_PERMITTED = b"ERR: Permission denied: not the daemon's own user, nor root\n"
STOPPING = b"ERR: The daemon is stopping\n"
TOO_LONG = b"ERR: Command too long (512 bytes at most)\n"


@implementer(ISystemHandle)
class TransportWithHandle(MemoryTransport):
    """One whose other end the kernel knows."""

    def __init__(self, peer: Credentials | None) -> None:
        super().__init__()
        self.getHandle = lambda: peer


@implementer(IDaemonState)
class Daemon:
    """Notes what it is asked, and answers as it is told to."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.status: Callable[[], Any] = lambda: STATUS
        self.answer: Callable[[], Any] = lambda: None

    def get_status(self) -> Any:
        self.asked.append("STATUS")
        return self.status()

    def pause(self) -> Any:
        self.asked.append("PAUSE")
        return self.answer()

    def resume(self) -> Any:
        self.asked.append("RESUME")
        return self.answer()

    def reload_config(self) -> Any:
        self.asked.append("RELOAD")
        return self.answer()


class ProtocolTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.begin()
        self.log: list[LogEvent] = []
        globalLogPublisher.addObserver(self.log.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.log.append)

    def begin(self) -> None:
        self.clock = Clock()
        self.daemon = Daemon()
        self.commands = CommandTable(
            self.daemon, self.clock, Limits(TIMEOUT, HANDLER_TIMEOUT, max_connections=4)
        )
        self.factory = ControlFactory(self.commands, self.clock)
        self.factory.startFactory()

    def connect(self, transport: MemoryTransport | None = None) -> Client:
        return Client(self.factory, transport)

    def connect_as(self, uid: int) -> Client:
        self.patch(protocol, "peer_credentials", lambda handle: handle)
        return self.connect(TransportWithHandle(Credentials(0, uid, uid)))

    def take_every_slot(self) -> list[Client]:
        return [self.connect() for _ in range(self.commands.limits.max_connections)]

    def free_slots(self) -> int:
        """Count the slots by taking them; they are given back."""
        clients = []
        while not (client := self.connect()).received:
            clients.append(client)
        client.vanish()
        for client in clients:
            client.vanish()
        return len(clients)

    def lines(self) -> list[str]:
        """Return what was logged, tracebacks apart."""
        return [
            str(formatEvent(event))
            for event in self.log
            if event["log_namespace"].startswith("palingenesis") and "log_failure" not in event
        ]


class RequestTests(ProtocolTestCase):
    def test_a_status_is_answered_with_its_line(self) -> None:
        self.assertEqual(self.connect().send(b"STATUS\n").received, wire.render_status(STATUS))

    def test_each_command_is_carried_out_once_and_answered(self) -> None:
        replies = [
            self.connect().send(line + b"\n").received for line in (b"PAUSE", b"RESUME", b"RELOAD")
        ]
        self.assertEqual(
            (replies, self.daemon.asked), ([wire.OK] * 3, ["PAUSE", "RESUME", "RELOAD"])
        )

    def test_a_client_is_closed_once_it_is_answered(self) -> None:
        self.assertTrue(self.connect().send(b"STATUS\n").transport.disconnecting)

    def test_every_split_of_a_command_is_a_command(self) -> None:
        line = b"STATUS\r\n"
        for cuts in range(2 ** (len(line) - 1)):
            client, start = self.connect(), 0
            for end in range(1, len(line) + 1):
                if end == len(line) or cuts >> (end - 1) & 1:
                    client.send(line[start:end])
                    start = end
            self.assertEqual(client.received, wire.render_status(STATUS), cuts)
            client.vanish()

    def test_a_half_close_ends_the_line(self) -> None:
        client = self.connect().send(b"STATUS")
        self.assertEqual(client.received, b"")
        self.assertEqual(client.end_input().received, wire.render_status(STATUS))

    def test_a_half_close_with_nothing_sent_is_no_command(self) -> None:
        self.assertEqual(self.connect().end_input().received, b"ERR: Unknown command: (nothing)\n")

    def test_an_unknown_command_is_answered_and_nothing_is_asked(self) -> None:
        client = self.connect().send(b"STATUS now\n")
        self.assertEqual(
            (client.received, self.daemon.asked), (b"ERR: Unknown command: STATUS now\n", [])
        )

    def test_a_second_line_is_never_run(self) -> None:
        client = self.connect().send(b"STATUS\nPAUSE\n").send(b"PAUSE\n").end_input()
        self.assertEqual(
            (client.received, self.daemon.asked), (wire.render_status(STATUS), ["STATUS"])
        )

    def test_a_second_line_is_not_run_after_a_slow_one_either(self) -> None:
        waiting: Deferred[None] = Deferred()
        self.daemon.answer = lambda: waiting
        client = self.connect().send(b"PAUSE\n").send(b"RESUME\n")
        waiting.callback(None)
        client.send(b"RESUME\n").end_input()
        self.assertEqual((client.received, self.daemon.asked), (wire.OK, ["PAUSE"]))

    def test_a_thousand_commands_in_one_write_are_one_command(self) -> None:
        client = self.connect().send(b"PAUSE\n" * 1000)
        self.assertEqual((client.received, self.daemon.asked), (wire.OK, ["PAUSE"]))

    def test_a_line_of_512_bytes_is_read(self) -> None:
        client = self.connect().send(b"STATUS".ljust(512))
        self.assertEqual(client.received, b"")
        self.assertEqual(client.send(b"\n").received, wire.render_status(STATUS))

    def test_a_line_of_512_bytes_may_end_with_the_half_close(self) -> None:
        client = self.connect().send(b"STATUS".rjust(512)).end_input()
        self.assertEqual(client.received, wire.render_status(STATUS))

    def test_a_line_of_513_bytes_is_too_long(self) -> None:
        client = self.connect().send(b"STATUS".ljust(513) + b"\n")
        self.assertEqual((client.received, self.daemon.asked), (TOO_LONG, []))

    def test_a_line_of_513_bytes_is_too_long_before_it_ends(self) -> None:
        client = self.connect().send(b"STATUS".ljust(512))
        self.assertEqual(client.send(b" ").received, TOO_LONG)

    def test_what_follows_a_line_that_is_too_long_is_never_run(self) -> None:
        client = self.connect().send(b"x" * 513).send(b"\nPAUSE\n").end_input()
        self.assertEqual((client.received, self.daemon.asked), (TOO_LONG, []))

    def test_a_line_that_is_too_long_is_not_kept_in_memory(self) -> None:
        client = self.connect().send(b"x" * 600)
        for _ in range(100):
            client.send(b"x" * 4096)
        self.assertEqual(client.protocol.clearLineBuffer(), b"")

    def test_a_client_that_sends_more_sees_the_end_and_may_finish(self) -> None:
        client = self.connect().send(b"STATUS\nmore")
        self.assertEqual(
            (client.transport.half_closed, client.transport.disconnecting), (True, False)
        )

    def test_a_client_whose_line_is_too_long_may_finish(self) -> None:
        client = self.connect().send(b"x" * 513)
        self.assertEqual(
            (client.transport.half_closed, client.transport.disconnecting), (True, False)
        )

    def test_a_client_that_sent_more_is_closed_when_it_has_finished(self) -> None:
        client = self.connect().send(b"STATUS\nmore").end_input()
        self.assertTrue(client.transport.disconnecting)

    def test_a_client_that_sent_more_and_finished_before_is_closed(self) -> None:
        waiting: Deferred[None] = Deferred()
        self.daemon.answer = lambda: waiting
        client = self.connect().send(b"PAUSE\nmore").end_input()
        waiting.callback(None)
        self.assertEqual((client.received, client.transport.disconnecting), (wire.OK, True))

    def test_a_client_that_sends_without_end_is_cut_off(self) -> None:
        client = self.connect().send(b"STATUS\n.")
        for _ in range(DISCARD_LIMIT // 65_536):
            client.send(b"x" * 65_536)
        client.send(b"x")
        self.assertTrue(client.transport.disconnected)

    def test_a_client_that_sends_much_is_not_cut_off(self) -> None:
        client = self.connect().send(b"STATUS\n.")
        for _ in range(DISCARD_LIMIT // 65_536 - 1):
            client.send(b"x" * 65_536)
        self.assertFalse(client.transport.disconnected)

    def test_the_write_side_of_a_connection_may_close_at_any_time(self) -> None:
        client = self.connect()
        client.protocol.writeConnectionLost()
        self.assertEqual(client.send(b"STATUS\n").received, wire.render_status(STATUS))


class DeadlineTests(ProtocolTestCase):
    def test_a_silent_client_is_told_and_closed_at_the_deadline(self) -> None:
        client = self.connect()
        self.clock.advance(TIMEOUT - 0.01)
        self.assertEqual((client.received, client.saw_the_end), (b"", False))
        self.clock.advance(0.01)
        self.assertEqual((client.received, client.transport.disconnecting), (TIMED_OUT, True))

    def test_a_dribbling_client_is_told_at_the_same_deadline(self) -> None:
        client = self.connect()
        sent_for = 0.0
        while sent_for + 0.4 < TIMEOUT:
            client.send(b"x")
            self.clock.advance(0.4)
            sent_for += 0.4
        self.assertEqual(client.received, b"")
        self.clock.advance(TIMEOUT - sent_for)
        self.assertEqual((client.received, client.saw_the_end), (TIMED_OUT, True))

    def test_a_dribbling_client_is_dropped_at_the_deadline(self) -> None:
        client = self.connect().send(b"STA")
        self.clock.advance(TIMEOUT)
        self.assertTrue(client.transport.disconnecting)

    def test_a_line_that_ends_after_the_deadline_is_never_run(self) -> None:
        client = self.connect().send(b"PAU")
        self.clock.advance(TIMEOUT)
        client.send(b"SE\nPAUSE\n").end_input()
        self.assertEqual((client.received, self.daemon.asked), (TIMED_OUT, []))

    def test_a_client_that_vanishes_has_no_deadline_left(self) -> None:
        self.connect().vanish()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_client_that_is_answered_and_closed_has_no_deadline_left(self) -> None:
        self.connect().send(b"STATUS\n").vanish(ConnectionDone)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_the_deadline_for_the_request_ends_with_the_request(self) -> None:
        self.daemon.answer = Deferred
        client = self.connect()
        self.clock.advance(TIMEOUT - 1)
        client.send(b"PAUSE\n")
        self.clock.advance(TIMEOUT)
        self.assertEqual((client.received, client.saw_the_end), (b"", False))

    def test_a_client_that_does_not_take_its_reply_is_aborted_after_the_timeout(self) -> None:
        client = self.connect()
        self.clock.advance(TIMEOUT - 1)
        client.send(b"STATUS\n")
        self.clock.advance(TIMEOUT - 0.01)
        self.assertFalse(client.transport.disconnected)
        self.clock.advance(0.01)
        self.assertTrue(client.transport.disconnected)

    def test_a_client_that_sends_on_is_aborted_after_the_timeout(self) -> None:
        client = self.connect().send(b"STATUS\nmore")
        for _ in range(10):
            client.send(b"more")
            self.clock.advance(TIMEOUT / 10)
        self.assertTrue(client.transport.disconnected)

    def test_a_changed_timeout_holds_for_the_next_client(self) -> None:
        before = self.connect()
        self.commands.limits = Limits(timeout=1.0)
        after = self.connect()
        self.clock.advance(1.0)
        self.assertEqual((before.received, after.received), (b"", TIMED_OUT))


class CallTests(ProtocolTestCase):
    """Commands that come by another way than the socket."""

    def setUp(self) -> None:
        super().setUp()
        self.results: list[Deferred[None]] = []
        self.commands.register("FLUSH", self.flush, "drop what waits")

    def flush(self) -> Deferred[None]:
        self.results.append(Deferred())
        return self.results[-1]

    def test_a_call_counts_as_a_client_until_it_is_answered(self) -> None:
        answer = self.factory.call(b"STATUS\n")
        self.assertIsInstance(answer, Answer)
        self.assertEqual(self.factory.connected, 0)
        waiting = self.factory.call(b"FLUSH\n")
        assert isinstance(waiting, Deferred)
        self.assertEqual(self.factory.connected, 1)
        self.results[0].callback(None)
        self.assertEqual(self.successResultOf(waiting).line, wire.OK)
        self.assertEqual(self.factory.connected, 0)

    def test_a_call_over_the_limit_is_rejected_and_counted(self) -> None:
        seen: list[object] = []
        self.factory.rejections.add(seen.append)
        for _ in range(4):
            self.assertIsInstance(self.factory.call(b"FLUSH\n"), Deferred)
        self.assertIsNone(self.factory.call(b"STATUS\n"))
        self.connect()
        self.assertEqual(seen, ["limit", "limit"])
        self.results[0].callback(None)
        self.assertIsInstance(self.factory.call(b"STATUS\n"), Answer)

    def test_a_client_is_connected_while_its_handler_is_called(self) -> None:
        seen: list[int] = []

        def count() -> None:
            seen.append(len(self.factory.connections()))

        self.commands.register("COUNT", count, "count the clients")
        self.connect().send(b"COUNT\n")
        self.assertEqual(seen, [1])


class AdmissionTests(ProtocolTestCase):
    def test_a_client_over_the_limit_gets_an_error_and_is_closed_at_once(self) -> None:
        self.take_every_slot()
        client = self.connect()
        self.assertEqual(
            (client.received, client.saw_the_end), (b"ERR: Too many connections\n", True)
        )
        self.assertEqual(self.lines(), [])

    def test_a_client_too_many_takes_nobody_s_place(self) -> None:
        clients = self.take_every_slot()
        self.connect().vanish(ConnectionDone)
        self.assertEqual(self.connect().received, b"ERR: Too many connections\n")
        self.assertEqual(clients[0].send(b"PAUSE\n").received, wire.OK)

    def test_a_place_is_free_again_when_its_client_has_left(self) -> None:
        self.take_every_slot()[0].vanish()
        self.assertEqual(self.free_slots(), 1)

    def test_a_lower_limit_holds_for_the_next_client(self) -> None:
        client = self.connect()
        self.commands.limits = Limits(max_connections=1)
        self.assertEqual(self.free_slots(), 0)
        self.assertEqual(client.send(b"PAUSE\n").received, wire.OK)

    def test_what_a_rejected_client_sends_is_never_run(self) -> None:
        self.take_every_slot()
        client = self.connect()
        # Some transports, TLS's among them, go on delivering until the other end agrees.
        client.protocol.dataReceived(b"PAUSE\n")
        self.assertEqual(self.daemon.asked, [])

    def test_a_client_of_another_user_is_rejected(self) -> None:
        client = self.connect_as(os.geteuid() + 1)
        self.assertEqual((client.received, client.saw_the_end), (NOT_PERMITTED, True))

    def test_the_log_names_a_client_that_was_rejected(self) -> None:
        self.connect_as(os.geteuid() + 1)
        self.assertEqual(
            self.lines(),
            [f"Rejected a client of another user: {Credentials(0, os.geteuid() + 1, 0)}"],
        )

    def test_a_client_of_another_user_is_told_only_that(self) -> None:
        self.take_every_slot()
        self.assertEqual(self.connect_as(os.geteuid() + 1).received, NOT_PERMITTED)

    def test_a_client_of_another_user_takes_no_place(self) -> None:
        self.connect_as(os.geteuid() + 1)
        self.assertEqual(self.free_slots(), 4)

    def test_clients_of_the_daemon_s_user_and_of_root_are_served(self) -> None:
        self.patch(os, "geteuid", lambda: 1234)
        self.factory.startFactory()
        replies = [self.connect_as(uid).send(b"PAUSE\n").received for uid in (1234, 0)]
        self.assertEqual(replies, [wire.OK] * 2)

    def test_a_daemon_that_gave_up_root_serves_the_user_it_became(self) -> None:
        self.patch(os, "geteuid", lambda: 1234)
        self.factory.startFactory()
        self.assertEqual(self.connect_as(1235).received, NOT_PERMITTED)

    def test_others_are_served_where_the_operator_lets_them_in(self) -> None:
        self.factory.admit_others = True
        self.assertEqual(self.connect_as(os.geteuid() + 1).send(b"PAUSE\n").received, wire.OK)

    def test_a_rejected_client_may_still_write_and_hang_up_by_itself(self) -> None:
        self.take_every_slot()
        client = self.connect().send(b"STATUS\n")
        self.assertEqual(
            (client.transport.half_closed, client.transport.disconnecting), (True, False)
        )
        self.assertTrue(client.end_input().transport.disconnecting)

    def test_a_rejected_client_that_stays_is_aborted_after_the_timeout(self) -> None:
        self.take_every_slot()
        client = self.connect()
        self.clock.advance(TIMEOUT)
        self.assertTrue(client.transport.disconnected)

    def test_a_rejected_client_that_sends_over_64_kib_is_cut_off(self) -> None:
        self.assertEqual(REJECTED_DISCARD_LIMIT, 65_536)
        self.take_every_slot()
        client = self.connect().send(b"x" * 65_536)
        self.assertFalse(client.transport.disconnected)
        self.assertTrue(client.send(b"x").transport.disconnected)

    def test_64_rejected_clients_may_stay_and_one_more_is_closed_at_once(self) -> None:
        self.assertEqual(REJECTED_LIMIT, 64)
        self.take_every_slot()
        for _ in range(64):
            self.assertFalse(self.connect().transport.disconnecting)
        client = self.connect()
        self.assertEqual(
            (client.received, client.transport.disconnecting),
            (b"ERR: Too many connections\n", True),
        )

    def test_a_rejected_client_is_known_until_its_connection_is_gone(self) -> None:
        self.take_every_slot()
        *_, client = [self.connect() for _ in range(65)]
        self.assertIn(client.protocol, self.factory.connections())
        client.vanish()
        self.assertNotIn(client.protocol, self.factory.connections())

    def test_a_rejected_client_that_left_makes_room_for_the_next(self) -> None:
        self.take_every_slot()
        rejected = [self.connect() for _ in range(64)]
        rejected[0].end_input().vanish()
        self.assertFalse(self.connect().transport.disconnecting)

    def test_rejections_of_another_user_are_counted_not_repeated(self) -> None:
        for _ in range(5):
            self.connect_as(os.geteuid() + 1)
        self.assertEqual(len(self.lines()), 1)
        self.clock.advance(60)
        self.assertEqual(len(self.lines()), 2)
        self.assertIn("Rejected 4 more clients", self.lines()[1])

    def test_where_the_kernel_does_not_tell_everybody_is_served(self) -> None:
        self.patch(protocol, "peer_credentials", lambda handle: handle)
        client = self.connect(TransportWithHandle(None))
        self.assertEqual(client.send(b"PAUSE\n").received, wire.OK)


class HandlerTests(ProtocolTestCase):
    def reply_of(self, answer: Callable[[], Any], line: bytes = b"PAUSE\n") -> bytes:
        self.daemon.answer = self.daemon.status = answer
        client = self.connect().send(line)
        client.vanish(ConnectionDone)
        return client.received

    def test_a_method_may_return_a_deferred(self) -> None:
        waiting: Deferred[DaemonStatus] = Deferred()
        self.daemon.status = lambda: waiting
        client = self.connect().send(b"STATUS\n")
        self.assertEqual(client.received, b"")
        waiting.callback(STATUS)
        self.assertEqual(client.received, wire.render_status(STATUS))

    def test_a_method_may_return_a_deferred_that_has_fired(self) -> None:
        self.assertEqual(
            self.reply_of(lambda: succeed(STATUS), b"STATUS\n"), wire.render_status(STATUS)
        )

    def test_a_method_may_return_a_coroutine(self) -> None:
        waiting: Deferred[DaemonStatus] = Deferred()

        async def status() -> DaemonStatus:
            return await waiting

        self.daemon.status = status
        client = self.connect().send(b"STATUS\n")
        self.assertEqual(client.received, b"")
        waiting.callback(STATUS)
        self.assertEqual(client.received, wire.render_status(STATUS))

    def test_every_command_may_be_a_coroutine(self) -> None:
        async def done() -> None: ...

        for line in b"PAUSE\n", b"RESUME\n", b"RELOAD\n":
            with self.subTest(line=line):
                self.assertEqual(self.reply_of(done, line), wire.OK)

    def test_what_else_it_answers_to_a_pause_does_not_matter(self) -> None:
        self.assertEqual(self.reply_of(lambda: "ERR: nonsense\n"), wire.OK)

    def test_a_refusal_is_told(self) -> None:
        def refuse() -> None:
            raise CommandRefused("the disk is\nfull")

        async def refuse_later() -> None:
            refuse()

        for answer in refuse, refuse_later, lambda: fail(CommandRefused("the disk is\nfull")):
            for line in b"PAUSE\n", b"RELOAD\n", b"STATUS\n":
                with self.subTest(line=line):
                    self.assertEqual(self.reply_of(answer, line), b"ERR: the disk is\\nfull\n")

    def test_a_refusal_is_no_error_of_ours(self) -> None:
        self.reply_of(lambda: fail(CommandRefused("no")))
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_a_refusal_may_be_any_object_that_reads_as_text(self) -> None:
        for answer in (
            lambda: fail(CommandRefused(OSError("disk full"))),  # type: ignore[arg-type]
            self.raising(CommandRefused(OSError("disk full"))),  # type: ignore[arg-type]
        ):
            self.assertEqual(self.reply_of(answer), b"ERR: disk full\n")

    def raising(self, error: BaseException) -> Callable[[], Any]:
        def raise_it() -> None:
            raise error

        return raise_it

    def test_an_error_is_told_without_its_details(self) -> None:
        async def go_wrong() -> None:
            raise ZeroDivisionError("a secret")

        wrong = ZeroDivisionError("a secret")
        for answer in self.raising(wrong), lambda: fail(wrong), go_wrong:
            for line in b"PAUSE\n", b"RELOAD\n", b"STATUS\n":
                with self.subTest(line=line):
                    self.assertEqual(
                        self.reply_of(answer, line),
                        b"ERR: %s failed; the daemon's log says why\n" % line.strip(),
                    )
                    self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_even_an_exit_is_only_an_error(self) -> None:
        for error in SystemExit(1), KeyboardInterrupt(), GeneratorExit():
            with self.subTest(error=error):
                reply = self.reply_of(self.raising(error))
                self.assertEqual(len(self.flushLoggedErrors(type(error))), 1)
                self.assertEqual(reply, b"ERR: PAUSE failed; the daemon's log says why\n")

    def test_after_an_error_the_server_goes_on(self) -> None:
        self.reply_of(self.raising(ZeroDivisionError()))
        self.flushLoggedErrors(ZeroDivisionError)
        self.assertEqual(self.reply_of(lambda: None), wire.OK)

    def test_a_status_that_is_none_is_told_and_logged(self) -> None:
        for nonsense in (None, {}, "OK\n", tuple(STATUS), b'{"state": "paused"}\n'):
            self.log.clear()
            with self.subTest(nonsense=nonsense):
                self.assertEqual(
                    self.reply_of(lambda nonsense=nonsense: nonsense, b"STATUS\n"),
                    b"ERR: STATUS failed; the daemon's log says why\n",
                )
                self.assertEqual(
                    self.lines(), [f"STATUS failed: its result is no DaemonStatus but {nonsense!r}"]
                )

    def test_a_status_that_cannot_be_sent_is_told_and_logged(self) -> None:
        for extra in {"x": object()}, {"x": "x" * wire.REPLY_LIMIT}:
            status = DaemonStatus("paused", 1, extra=extra)
            with self.subTest(extra=type(extra["x"])):
                self.assertEqual(
                    self.reply_of(lambda status=status: status, b"STATUS\n"),
                    b"ERR: STATUS failed; the daemon's log says why\n",
                )
                self.assertIn("STATUS failed: its result is ", self.lines()[-1])

    def test_a_method_that_never_returns_has_a_deadline(self) -> None:
        self.daemon.answer = Deferred
        client = self.connect().send(b"PAUSE\n")
        self.clock.advance(HANDLER_TIMEOUT - 0.01)
        self.assertEqual(client.received, b"")
        self.clock.advance(0.01)
        self.assertEqual(
            (client.received, client.transport.disconnecting),
            (b"ERR: PAUSE is not done after 30 seconds\n", True),
        )

    def test_a_late_answer_is_not_sent(self) -> None:
        waiting: Deferred[None] = Deferred()
        self.daemon.answer = lambda: waiting
        client = self.connect().send(b"PAUSE\n")
        self.clock.advance(HANDLER_TIMEOUT)
        waiting.callback(None)
        self.assertEqual(client.received, b"ERR: PAUSE is not done after 30 seconds\n")

    def test_a_late_answer_is_logged_once(self) -> None:
        waiting: Deferred[None] = Deferred()
        self.daemon.answer = lambda: waiting
        self.connect().send(b"PAUSE\n")
        self.clock.advance(HANDLER_TIMEOUT)
        self.assertEqual(self.lines(), ["PAUSE is not done after 30 seconds"])
        waiting.callback(None)
        self.assertEqual(self.lines()[1:], ["PAUSE by an unknown client: OK (late)"])

    def test_a_late_status_is_logged_as_well(self) -> None:
        waiting: Deferred[Any] = Deferred()
        self.daemon.status = lambda: waiting
        self.connect().send(b"STATUS\n")
        self.clock.advance(HANDLER_TIMEOUT)
        waiting.errback(CommandRefused("no"))
        self.assertEqual(self.lines()[1:], ["STATUS by an unknown client: ERR: no (late)"])

    def test_a_late_error_is_logged_with_its_traceback(self) -> None:
        waiting: Deferred[None] = Deferred()
        self.daemon.answer = lambda: waiting
        self.connect().send(b"PAUSE\n")
        self.clock.advance(HANDLER_TIMEOUT)
        waiting.errback(ZeroDivisionError())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_a_changed_deadline_holds_for_the_next_command(self) -> None:
        self.daemon.answer = Deferred
        before = self.connect().send(b"PAUSE\n")
        self.commands.limits = Limits(handler_timeout=0.5)
        after = self.connect().send(b"PAUSE\n")
        self.clock.advance(0.5)
        self.assertEqual(
            (before.received, after.received),
            (b"", b"ERR: PAUSE is not done after 0.5 seconds\n"),
        )

    def test_an_answer_in_time_leaves_no_deadline(self) -> None:
        waiting: Deferred[None] = Deferred()
        self.daemon.answer = lambda: waiting
        client = self.connect().send(b"PAUSE\n")
        waiting.callback(None)
        client.vanish()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_slow_command_keeps_nobody_waiting(self) -> None:
        self.daemon.answer = Deferred
        self.connect().send(b"PAUSE\n")
        self.assertEqual(self.connect().send(b"STATUS\n").received, wire.render_status(STATUS))

    def test_a_half_close_before_a_slow_answer_does_not_lose_it(self) -> None:
        waiting: Deferred[None] = Deferred()
        self.daemon.answer = lambda: waiting
        client = self.connect().send(b"PAUSE\n").end_input()
        waiting.callback(None)
        self.assertEqual((client.received, client.transport.disconnecting), (wire.OK, True))


class VanishedTests(ProtocolTestCase):
    """A client goes while its command is under way."""

    def setUp(self) -> None:
        super().setUp()
        self.waiting: Deferred[None] = Deferred()
        self.daemon.answer = lambda: self.waiting
        self.client = self.connect().send(b"PAUSE\n")
        self.client.vanish()

    def test_the_command_of_a_vanished_client_goes_on(self) -> None:
        self.waiting.callback(None)
        self.assertEqual(self.daemon.asked, ["PAUSE"])

    def test_the_outcome_for_a_vanished_client_is_logged(self) -> None:
        self.waiting.callback(None)
        self.assertEqual(self.lines(), ["PAUSE by an unknown client: OK (the client is gone)"])

    def test_a_vanished_client_counts_until_its_command_is_done(self) -> None:
        self.assertEqual(self.free_slots(), 3)
        self.waiting.callback(None)
        self.assertEqual(self.free_slots(), 4)

    def test_a_vanished_client_does_not_count_after_its_command_took_too_long(self) -> None:
        self.clock.advance(HANDLER_TIMEOUT)
        self.assertEqual(self.free_slots(), 4)

    def test_nothing_is_written_to_a_vanished_client(self) -> None:
        self.waiting.callback(None)
        self.assertEqual(self.client.received, b"")

    def test_a_vanished_client_leaves_no_delayed_call(self) -> None:
        self.waiting.callback(None)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class ReloadTests(ProtocolTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.reloads: list[Deferred[None]] = []
        self.daemon.answer = lambda: self.reloads.append(Deferred()) or self.reloads[-1]

    def test_a_second_reload_begins_when_the_first_is_done(self) -> None:
        self.connect().send(b"RELOAD\n")
        second = self.connect().send(b"RELOAD\n")
        self.assertEqual(len(self.reloads), 1)
        self.reloads[0].callback(None)
        self.assertEqual((len(self.reloads), second.received), (2, b""))
        self.reloads[1].callback(None)
        self.assertEqual(second.received, wire.OK)

    def test_a_second_reload_begins_when_the_first_has_failed(self) -> None:
        first = self.connect().send(b"RELOAD\n")
        self.connect().send(b"RELOAD\n")
        self.reloads[0].errback(CommandRefused("no"))
        self.assertEqual((first.received, len(self.reloads)), (b"ERR: no\n", 2))

    def test_a_reload_behind_a_hung_one_gets_an_error_at_its_deadline(self) -> None:
        self.connect().send(b"RELOAD\n")
        self.clock.advance(1)
        second = self.connect().send(b"RELOAD\n")
        self.clock.advance(HANDLER_TIMEOUT)
        self.assertEqual(second.received, b"ERR: RELOAD is not done after 30 seconds\n")

    def test_a_reload_that_waited_too_long_never_begins(self) -> None:
        self.connect().send(b"RELOAD\n")
        self.connect().send(b"RELOAD\n")
        self.clock.advance(HANDLER_TIMEOUT)
        self.reloads[0].callback(None)
        self.assertEqual(self.daemon.asked, ["RELOAD"])

    def test_a_late_reload_still_keeps_the_next_from_running_beside_it(self) -> None:
        self.connect().send(b"RELOAD\n")
        self.clock.advance(HANDLER_TIMEOUT)
        self.connect().send(b"RELOAD\n")
        self.assertEqual(len(self.reloads), 1)
        self.reloads[0].callback(None)
        self.assertEqual(len(self.reloads), 2)

    def test_no_other_command_waits_for_a_reload(self) -> None:
        self.connect().send(b"RELOAD\n")
        self.assertEqual(self.connect().send(b"STATUS\n").received, wire.render_status(STATUS))

    def test_a_waiting_reload_of_a_vanished_client_is_carried_out(self) -> None:
        self.connect().send(b"RELOAD\n")
        self.connect().send(b"RELOAD\n").vanish()
        self.reloads[0].callback(None)
        self.assertEqual(self.daemon.asked, ["RELOAD", "RELOAD"])

    def test_the_daemon_s_own_reload_waits_for_a_client_s(self) -> None:
        self.connect().send(b"RELOAD\n")
        done = self.commands.reload()
        self.assertNoResult(done)
        self.assertEqual(len(self.reloads), 1)
        self.reloads[0].callback(None)
        self.reloads[1].callback(None)
        self.assertIsNone(self.successResultOf(done))

    def test_the_daemon_s_own_reload_is_logged_as_its_own(self) -> None:
        done = self.commands.reload()
        self.reloads[0].errback(CommandRefused("no"))
        self.assertEqual(self.lines(), ["RELOAD by the daemon itself: ERR: no"])
        self.assertEqual(self.failureResultOf(done, CommandRefused).value.message, "no")

    def test_the_daemon_s_own_reload_fails_with_what_the_state_raised(self) -> None:
        done = self.commands.reload()
        self.reloads[0].errback(ZeroDivisionError())
        self.failureResultOf(done, ZeroDivisionError)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_the_daemon_s_own_reload_fails_at_its_deadline(self) -> None:
        done = self.commands.reload()
        self.clock.advance(HANDLER_TIMEOUT)
        self.failureResultOf(done, TimeoutError)


class LogTests(ProtocolTestCase):
    def test_what_changes_the_daemon_leaves_a_line(self) -> None:
        self.patch(protocol, "peer_credentials", lambda handle: handle)
        for command in b"PAUSE", b"RESUME", b"RELOAD":
            self.log.clear()
            client = self.connect(TransportWithHandle(Credentials(77, os.geteuid(), 1)))
            client.send(command + b"\n")
            with self.subTest(command=command):
                self.assertEqual(
                    self.lines(), [f"{command.decode()} by uid {os.geteuid()}, pid 77: OK"]
                )

    def test_a_line_has_its_facts_as_fields(self) -> None:
        self.connect().send(b"PAUSE\n")
        event = self.log[-1]
        self.assertEqual(
            (event["command"], event["who"], event["outcome"]),
            ("PAUSE", "an unknown client", "OK"),
        )

    def test_a_refusal_is_logged_with_its_reason_in_one_line(self) -> None:
        self.daemon.answer = lambda: fail(CommandRefused("no {x}\n\x1b[2J"))
        self.connect().send(b"PAUSE\n")
        self.assertEqual(self.lines(), [r"PAUSE by an unknown client: ERR: no {x}\n\x1b[2J"])

    def test_an_error_leaves_a_line_beside_its_traceback(self) -> None:
        self.daemon.answer = lambda: fail(ZeroDivisionError())
        self.connect().send(b"PAUSE\n")
        self.assertEqual(
            self.lines(),
            ["PAUSE by an unknown client: ERR: PAUSE failed; the daemon's log says why"],
        )
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_what_changes_nothing_leaves_none(self) -> None:
        for line in b"STATUS\n", b"nonsense\n", b"x" * 600:
            with self.subTest(line=line[:9]):
                self.connect().send(line).vanish()
                self.assertEqual(self.lines(), [])

    def test_a_deadline_leaves_none(self) -> None:
        self.connect()
        self.clock.advance(TIMEOUT)
        self.assertEqual(self.lines(), [])


class StopTests(ProtocolTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.waiting: Deferred[None] = Deferred()
        self.daemon.answer = lambda: self.waiting

    def test_with_no_client_it_is_done_at_once(self) -> None:
        self.assertIsNone(self.successResultOf(self.factory.stop()))

    def test_with_no_client_it_may_be_done_twice(self) -> None:
        self.factory.stop()
        self.assertIsNone(self.successResultOf(self.factory.stop()))

    def test_an_idle_client_is_told_and_closed(self) -> None:
        client = self.connect()
        self.factory.stop()
        self.assertEqual((client.received, client.saw_the_end), (STOPPING, True))

    def test_what_an_idle_client_sends_after_that_is_never_run(self) -> None:
        client = self.connect().send(b"PAU")
        self.factory.stop()
        client.send(b"SE\nPAUSE\n").end_input()
        self.assertEqual((client.received, self.daemon.asked), (STOPPING, []))

    def test_a_stop_is_done_when_the_last_client_is_closed(self) -> None:
        clients = [self.connect(), self.connect()]
        stopped = self.factory.stop()
        clients[0].vanish(ConnectionDone)
        self.assertNoResult(stopped)
        clients[1].vanish(ConnectionDone)
        self.assertIsNone(self.successResultOf(stopped))

    def test_rejections_that_were_counted_are_told(self) -> None:
        for _ in range(3):
            self.connect_as(12345).vanish()
        self.factory.stop()
        self.assertIn("Rejected 2 more clients of uid 12345", self.lines()[-1])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_stop_takes_two_and_a_half_seconds_at_most(self) -> None:
        self.connect().send(b"PAUSE\n")
        stopped = self.factory.stop()
        self.clock.pump([2.0, 0.49])
        self.assertNoResult(stopped)
        self.clock.advance(0.01)
        self.assertIsNone(self.successResultOf(stopped))

    def test_a_stop_without_a_command_under_way_takes_half_a_second_at_most(self) -> None:
        self.connect()
        stopped = self.factory.stop()
        self.clock.advance(0.49)
        self.assertNoResult(stopped)
        self.clock.advance(0.01)
        self.assertIsNone(self.successResultOf(stopped))

    def test_a_stop_leaves_no_delayed_call(self) -> None:
        client = self.connect()
        self.factory.stop()
        client.vanish(ConnectionDone)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_new_client_is_told_and_closed(self) -> None:
        self.factory.stop()
        client = self.connect()
        self.assertEqual((client.received, client.saw_the_end), (STOPPING, True))

    def test_a_command_under_way_is_answered_within_the_grace(self) -> None:
        client = self.connect().send(b"PAUSE\n")
        stopped = self.factory.stop()
        self.clock.advance(GRACE - 0.01)
        self.assertEqual(client.received, b"")
        self.waiting.callback(None)
        self.assertEqual((client.received, client.transport.disconnecting), (wire.OK, True))
        self.assertNoResult(stopped)
        client.vanish(ConnectionDone)
        self.assertIsNone(self.successResultOf(stopped))

    def test_a_command_that_outlasts_the_grace_is_told(self) -> None:
        client = self.connect().send(b"PAUSE\n")
        self.factory.stop()
        self.clock.advance(GRACE)
        self.assertEqual((client.received, client.saw_the_end), (STOPPING, True))

    def test_a_stop_is_done_when_a_client_has_taken_its_reply(self) -> None:
        client = self.connect().send(b"PAUSE\n")
        stopped = self.factory.stop()
        self.clock.advance(GRACE)
        client.vanish(ConnectionDone)
        self.assertIsNone(self.successResultOf(stopped))

    def test_a_handler_that_stops_it_has_its_own_client_answered(self) -> None:
        stops: list[Deferred[None]] = []
        self.daemon.answer = lambda: stops.append(self.factory.stop())
        client = self.connect().send(b"PAUSE\n")
        self.assertEqual(client.received, wire.OK)
        self.assertIsNone(self.successResultOf(stops[0]))

    def test_a_handler_that_waits_for_the_stop_does_not_wait_for_itself(self) -> None:
        self.daemon.answer = self.factory.stop
        self.assertEqual(self.connect().send(b"PAUSE\n").received, wire.OK)

    def test_a_handler_that_stops_it_leaves_its_client_to_the_next_stop(self) -> None:
        self.daemon.answer = lambda: self.factory.stop() and None
        client = self.connect().send(b"PAUSE\n")
        stopped = self.factory.stop()
        self.assertNoResult(stopped)
        client.vanish(ConnectionDone)
        self.assertIsNone(self.successResultOf(stopped))

    def test_who_does_not_take_the_last_words_is_aborted(self) -> None:
        client = self.connect().send(b"PAUSE\n")
        stopped = self.factory.stop()
        self.clock.advance(GRACE)
        self.clock.advance(REPLY_GRACE - 0.01)
        self.assertNoResult(stopped)
        self.clock.advance(0.01)
        self.assertTrue(client.transport.disconnected)
        self.assertIsNone(self.successResultOf(stopped))

    def test_an_idle_client_that_does_not_leave_is_aborted(self) -> None:
        client = self.connect()
        stopped = self.factory.stop()
        self.clock.advance(REPLY_GRACE)
        self.assertTrue(client.transport.disconnected)
        self.assertIsNone(self.successResultOf(stopped))

    def test_a_result_after_the_stop_harms_nothing(self) -> None:
        client = self.connect().send(b"PAUSE\n")
        stopped = self.factory.stop()
        self.clock.pump([GRACE, REPLY_GRACE])
        client.vanish()
        self.waiting.callback(None)
        self.assertIsNone(self.successResultOf(stopped))
        self.assertEqual(client.received, STOPPING)

    def test_a_command_whose_client_is_gone_has_the_grace_as_well(self) -> None:
        self.connect().send(b"PAUSE\n").vanish()
        stopped = self.factory.stop()
        self.clock.advance(GRACE - 0.01)
        self.assertNoResult(stopped)
        self.waiting.callback(None)
        self.assertIsNone(self.successResultOf(stopped))

    def test_a_command_whose_client_is_gone_has_no_more_than_the_grace(self) -> None:
        self.connect().send(b"PAUSE\n").vanish()
        stopped = self.factory.stop()
        self.clock.advance(GRACE)
        self.assertIsNone(self.successResultOf(stopped))

    def test_a_second_stop_waits_for_the_same_clients(self) -> None:
        client = self.connect()
        first, second = self.factory.stop(), self.factory.stop()
        self.assertNoResult(second)
        client.vanish(ConnectionDone)
        self.assertEqual((self.successResultOf(first), self.successResultOf(second)), (None, None))

    def test_a_stop_is_done_at_once_if_closing_takes_no_time(self) -> None:
        client = self.connect()
        client.transport.loseWriteConnection = client.vanish  # type: ignore[method-assign]
        self.assertIsNone(self.successResultOf(self.factory.stop()))

    def test_a_stop_overtaken_by_a_start_is_done_when_its_clients_are_gone(self) -> None:
        client = self.connect().send(b"PAUSE\n")
        stopped = self.factory.stop()
        self.factory.startFactory()
        self.waiting.callback(None)
        client.vanish(ConnectionDone)
        self.assertIsNone(self.successResultOf(stopped))

    def test_a_stopped_factory_can_be_started_again(self) -> None:
        self.factory.stop()
        self.factory.startFactory()
        self.assertEqual(self.connect().send(b"STATUS\n").received, wire.render_status(STATUS))

    def test_who_comes_after_a_new_start_is_not_sent_away_by_the_old_stop(self) -> None:
        self.connect().send(b"PAUSE\n")
        self.factory.stop()
        self.factory.startFactory()
        client = self.connect()
        self.clock.pump([GRACE, REPLY_GRACE])
        self.assertEqual((client.received, client.saw_the_end), (b"", False))


EVENTS = st.lists(
    st.one_of(
        st.binary(max_size=12),
        st.sampled_from(
            [
                b"STATUS\n",
                b"PAUSE\r\n",
                b"reload\n",
                b"RELOAD",
                b"\n",
                b"\x1b[2J\xff\n",
                "\u017ftatus\u2028\n".encode(),
                b"x" * 511,
                b"x" * 4096,
            ]
        ),
        st.sampled_from(["end of input", "vanish", "answer", "refuse", "go wrong", "stop"]),
        st.sampled_from([0.4, 1.0, TIMEOUT, HANDLER_TIMEOUT]),
    ),
    max_size=20,
)


class AnythingTests(ProtocolTestCase):
    @settings(max_examples=200, deadline=None)
    @given(st.lists(st.tuples(st.integers(0, 2), EVENTS), max_size=5))
    def test_whatever_happens_a_client_has_one_line_at_most_and_is_let_go(
        self, script: list[tuple[int, list[bytes | str | float]]]
    ) -> None:
        self.begin()
        working: list[Deferred[Any]] = []
        self.daemon.answer = lambda: working.append(Deferred()) or working[-1]
        clients = [self.connect() for _ in range(3)]
        for who, events in script:
            for event in events:
                self.happen(clients[who], event, working)
                self.let_go(clients)
        # The longest way out: a request, a handler and a reply, each to its deadline.
        for seconds in TIMEOUT, HANDLER_TIMEOUT, TIMEOUT:
            self.clock.advance(seconds)
            self.let_go(clients)
        self.flushLoggedErrors(ZeroDivisionError)
        for client in clients:
            self.assertTrue(client.closed)
            text = client.received.decode("utf-8")
            self.assertIn(text.count("\n"), (0, 1), text)
            if text:
                self.assertTrue(text.endswith("\n"), text)
                self.assertTrue(text[:-1].isprintable(), text)
        self.assertEqual(self.factory._clients, set())

    def happen(
        self, client: Client, event: bytes | str | float, working: list[Deferred[Any]]
    ) -> None:
        if isinstance(event, float):
            self.clock.advance(event)
        elif event == "stop":
            self.factory.stop()
        elif event in ("answer", "refuse", "go wrong"):
            if working:
                answer = working.pop()
                if event == "answer":
                    answer.callback(None)
                else:
                    wrong = CommandRefused("\n") if event == "refuse" else ZeroDivisionError()
                    answer.errback(wrong)
        elif not client.closed:
            if isinstance(event, bytes):
                client.send(event)
            elif event == "end of input":
                client.end_input()
            else:
                client.vanish()

    def let_go(self, clients: list[Client]) -> None:
        """Do what a reactor does with those that are to be closed."""
        for client in clients:
            if client.transport.disconnecting:
                client.vanish(ConnectionDone)
