"""The client for Twisted, which must say the same as the blocking one."""

from __future__ import annotations

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from palingenesis.client import blocking as client
from palingenesis.client import deferred as txclient
from palingenesis.client.errors import (
    InvalidReply,
    NoDirectory,
    NoSocket,
    NotASocket,
    SocketPathError,
    StaleSocket,
    TimedOut,
)
from palingenesis.wire import REPLY_LIMIT, DaemonStatus
from palingenesis.words import DaemonWord
from tests.support.clients import DeferredClientTestCase
from tests.support.impostors import (
    STATUS_LINE,
    answer,
    by_command,
    fill_backlog,
    never_end,
    say_nothing,
)
from tests.support.needs import needs_linux
from tests.support.patience import PATIENCE
from tests.support.sockets import leave_stale, listen_at


class AnswerTests(DeferredClientTestCase):
    async def test_a_status_is_a_value(self) -> None:
        self.listen(answer(STATUS_LINE))
        self.assertEqual(
            await self.client().status(),
            DaemonStatus(DaemonWord.PAUSED, 93784, "build é", 1, 2, {"queue": [1, "two"]}),
        )

    async def test_each_action_sends_its_command(self) -> None:
        self.listen(by_command({b"PAUSE\n": b"OK\n", b"RESUME\n": b"OK\n", b"RELOAD\n": b"OK\n"}))
        calls = self.client()
        self.assertIsNone(await calls.pause())
        self.assertIsNone(await calls.resume())
        self.assertIsNone(await calls.reload())

    async def test_a_daemon_that_does_not_hang_up_is_hung_up_on(self) -> None:
        def answer_and_wait(connection) -> None:
            connection.recv(100)
            connection.sendall(STATUS_LINE)
            say_nothing(connection)

        listening = self.listen(answer_and_wait)
        await self.client().status()
        self.assertTrue(await deferToThread(listening.hung_up.wait, PATIENCE))

    @needs_linux("macOS refuses those that the backlog has no room for")
    async def test_many_calls_run_at_once(self) -> None:
        self.listen(answer(STATUS_LINE))
        calls = self.client()
        for asked in [calls.status() for _ in range(20)]:
            self.assertEqual((await asked).state, DaemonWord.PAUSED)


class ErrorTests(DeferredClientTestCase):
    async def same_error(self, kind: type[Exception], command: str = "status") -> None:
        timeout = 0.3 if kind is TimedOut else PATIENCE
        error = await self.assertFailure(getattr(self.client(timeout), command)(), kind)
        blocking = client.ControlClient(self.path, timeout)
        expected = await self.assertFailure(deferToThread(getattr(blocking, command)), kind)
        self.assertEqual(str(error), str(expected))
        self.assertEqual(vars(error), vars(expected))

    async def test_a_missing_socket_is_told(self) -> None:
        await self.same_error(NoSocket)

    async def test_a_stale_socket_is_told(self) -> None:
        leave_stale(self.path)
        await self.same_error(StaleSocket)

    async def test_a_missing_directory_is_told(self) -> None:
        self.path = self.place.path("none", "p.sock")
        await self.same_error(NoDirectory)

    async def test_a_file_is_told(self) -> None:
        self.path = self.place.write("file", "")
        await self.same_error(NotASocket)

    async def test_no_more_than_the_limit_is_kept(self) -> None:
        self.listen(never_end)
        error = await self.assertFailure(self.client().status(), InvalidReply)
        self.assertEqual(len(error.received), REPLY_LIMIT)

    def test_a_path_that_is_too_long_is_told(self) -> None:
        self.assertRaises(SocketPathError, txclient.ControlClient, reactor, "/" + "x" * 200)

    def test_a_timeout_that_cannot_be_waited_for_is_a_mistake(self) -> None:
        self.assertRaises(ValueError, txclient.ControlClient, reactor, "/p", 0)


class CancellationTests(DeferredClientTestCase):
    async def test_cancelling_hangs_up(self) -> None:
        told: Deferred[None] = Deferred()

        def tell_and_wait(connection) -> None:
            connection.recv(100)
            reactor.callFromThread(told.callback, None)
            say_nothing(connection)

        listening = self.listen(tell_and_wait)
        asking = self.client().pause()
        await told
        asking.cancel()
        await self.assertFailure(asking, CancelledError)
        self.assertTrue(await deferToThread(listening.hung_up.wait, PATIENCE))

    async def test_cancelling_at_once_does_no_harm(self) -> None:
        self.listen(say_nothing)
        asking = self.client().pause()
        asking.cancel()
        await self.assertFailure(asking, CancelledError)


@needs_linux("a full backlog makes a client wait on Linux alone")
class BacklogTests(DeferredClientTestCase):
    """On Linux, connecting to a full backlog waits; elsewhere it is refused."""

    def setUp(self) -> None:
        super().setUp()
        self.listening = listen_at(self.path, backlog=0)
        self.addCleanup(self.listening.close)
        self.waiting = list(fill_backlog(self.path))
        for connection in self.waiting:
            self.addCleanup(connection.close)

    async def test_a_full_backlog_times_out(self) -> None:
        await self.assertFailure(self.client(0.2).status(), TimedOut)

    async def test_waiting_for_a_full_backlog_can_be_cancelled(self) -> None:
        asking = self.client().status()
        await deferLater(reactor, 0.05)
        asking.cancel()
        await self.assertFailure(asking, CancelledError)

    async def test_a_backlog_that_empties_is_waited_for(self) -> None:
        asking = self.client().status()
        # Twisted connects in the reactor's next turn: before this, and in vain.
        await deferLater(reactor, 0)
        # All but one of those that filled it: the last one had no room.
        for _ in self.waiting[1:]:
            self.listening.accept()[0].close()
        connection, _ = await deferToThread(self.listening.accept)
        with connection:
            connection.sendall(STATUS_LINE)
        self.assertEqual((await asking).state, DaemonWord.PAUSED)
