"""The port and its connections, over real sockets."""

from __future__ import annotations

import array
import contextlib
import errno
import os
import resource
import shutil
import socket
import tempfile
from collections.abc import Callable
from typing import Any
from unittest import skipUnless

from twisted.internet import reactor
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IListeningPort,
    IReadDescriptor,
    IReadWriteDescriptor,
    ISystemHandle,
)
from twisted.internet.protocol import Protocol, ServerFactory, connectionDone
from twisted.internet.task import Clock, deferLater
from twisted.internet.testing import MemoryReactorClock
from twisted.internet.threads import deferToThread
from twisted.logger import LogEvent, capturedLogs, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import directlyProvides
from zope.interface.verify import verifyObject

from palingenesis import wire
from palingenesis.config import Limits
from palingenesis.procfs import Credentials
from palingenesis.server import transport
from palingenesis.server.commands import CommandTable
from palingenesis.server.protocol import ControlFactory
from palingenesis.server.state import DaemonState
from palingenesis.server.transport import (
    Connection,
    ControlPort,
    ListeningSocket,
    client_socket,
)
from palingenesis.wire import DaemonStatus
from tests.support.needs import needs_linux

#: Seconds until a test that waits for a socket has failed; nothing waits for so long.
PATIENCE = 30.0


class Recorder(Protocol):
    """
    Notes what becomes of its connection.

    :param at_start: called with it in ``connectionMade``.
    :param at_data: called with it whenever something has come.
    :param half_closeable: whether it goes on when the other end has finished.
    """

    transport: Any

    def __init__(
        self,
        at_start: Callable[[Recorder], object] = lambda _: None,
        at_data: Callable[[Recorder], object] = lambda _: None,
        *,
        half_closeable: bool = True,
    ) -> None:
        self._at_start = at_start
        self._at_data = at_data
        if half_closeable:
            directlyProvides(self, IHalfCloseableProtocol)
        self.data = b""
        self.ended: Deferred[None] = Deferred()
        self.lost: Deferred[None] = Deferred()
        self.reasons: list[type[BaseException]] = []

    def connectionMade(self) -> None:
        self._at_start(self)

    def dataReceived(self, data: bytes) -> None:
        self.data += data
        self._at_data(self)

    def readConnectionLost(self) -> None:
        self.ended.callback(None)

    def writeConnectionLost(self) -> None: ...

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.reasons.append(reason.type)
        if len(self.reasons) == 1:
            self.lost.callback(None)


def answer(recorder: Recorder, reply: bytes = b"OK\n") -> None:
    """Answer what has come, then close."""
    recorder.transport.write(reply)
    recorder.transport.loseConnection()


def connected(accepted: socket.socket, recorder: Protocol, on: Any = reactor) -> Connection:
    """Connect a protocol to an accepted socket."""
    connection = Connection(accepted, recorder, on)
    connection.startReading()
    recorder.makeConnection(connection)
    return connection


def read_to_the_end(client: socket.socket) -> bytes:
    """Read until the other end has finished; blocks."""
    client.settimeout(PATIENCE)
    received = b""
    while data := client.recv(65_536):
        received += data
    return received


def in_time(waited_for: Deferred[Any]) -> Deferred[Any]:
    return waited_for.addTimeout(PATIENCE, reactor)


def a_turn() -> Deferred[None]:
    """Let the reactor finish what it is doing, and do what is to be done next."""
    return deferLater(reactor, 0)  # type: ignore[arg-type]


def open_descriptors() -> int:
    return len(os.listdir("/dev/fd"))


class AddressTests(SynchronousTestCase):
    def test_an_address_is_of_its_socket_s_family(self) -> None:
        for name, address in (
            ("/run/s", UNIXAddress("/run/s")),
            (b"\0s", UNIXAddress(b"\0s")),
            (("127.0.0.1", 80), IPv4Address("TCP", "127.0.0.1", 80)),
            (("::1", 80, 1, 2), IPv6Address("TCP", "::1", 80, 1, 2)),
        ):
            self.assertEqual(transport.address_of(name), address)


class DescriptorTests(SynchronousTestCase):
    """What a connection does with its descriptor, on a reactor that only takes notes."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.ours, self.client = socket.socketpair()
        self.addCleanup(self.client.close)
        self.addCleanup(self.ours.close)

    def connect(self, recorder: Recorder) -> Connection:
        return connected(self.ours, recorder, self.reactor)

    def test_an_abort_closes_in_the_next_turn(self) -> None:
        recorder = Recorder(lambda recorder: recorder.transport.abortConnection())
        self.connect(recorder)
        self.assertEqual(recorder.reasons, [])
        self.reactor.advance(0)
        self.assertEqual(recorder.reasons, [ConnectionAborted])

    def test_two_aborts_are_one(self) -> None:
        recorder = Recorder()
        connection = self.connect(recorder)
        connection.abortConnection()
        connection.abortConnection()
        self.reactor.advance(0)
        self.assertEqual(recorder.reasons, [ConnectionAborted])

    def test_an_abort_after_the_end_does_nothing(self) -> None:
        recorder = Recorder()
        connection = self.connect(recorder)
        connection.connectionLost(connectionDone)
        connection.abortConnection()
        self.reactor.advance(0)
        self.assertEqual(recorder.reasons, [ConnectionDone])

    def test_a_connection_is_lost_once(self) -> None:
        recorder = Recorder()
        connection = self.connect(recorder)
        for _ in range(2):
            connection.connectionLost(connectionDone)
        self.assertEqual(recorder.reasons, [ConnectionDone])

    def test_unread_input_does_not_reset_the_peer(self) -> None:
        self.client.sendall(b"x" * 100_000)
        connection = self.connect(Recorder())
        connection.write(b"OK\n")
        connection.doWrite()
        connection.connectionLost(connectionDone)
        self.assertEqual(read_to_the_end(self.client), b"OK\n")

    @needs_linux("only Linux resets a connection whose input is unread")
    def test_the_unread_input_that_is_discarded_has_a_bound(self) -> None:
        self.patch(transport, "DISCARD_LIMIT", 4096)
        self.patch(transport, "_READ_SIZE", 4096)
        self.client.sendall(b"x" * 4096 * 4)
        recorder = Recorder()
        self.connect(recorder).connectionLost(connectionDone)
        self.assertEqual(recorder.reasons, [ConnectionDone])
        self.assertRaises(ConnectionResetError, read_to_the_end, self.client)

    def test_input_that_is_discarded_is_4_mib_at_most(self) -> None:
        self.assertEqual(transport.DISCARD_LIMIT, 4 * 1024 * 1024)

    @needs_linux("only Linux resets a connection whose input is unread")
    def test_a_reset_is_a_lost_connection(self) -> None:
        connection = self.connect(Recorder())
        self.ours.send(b"never read")
        self.client.close()
        self.assertIsInstance(connection.doRead(), ConnectionLost)

    def test_a_closed_connection_has_no_descriptor(self) -> None:
        connection = self.connect(Recorder())
        connection.connectionLost(connectionDone)
        self.assertEqual((connection.fileno(), self.ours.fileno()), (-1, -1))

    def test_a_connection_is_what_a_reactor_expects(self) -> None:
        connection = self.connect(Recorder())
        verifyObject(ISystemHandle, connection)
        verifyObject(IReadWriteDescriptor, connection)
        self.assertIs(connection.getHandle(), self.ours)

    def test_a_connection_is_logged_by_its_protocol_until_it_is_closed(self) -> None:
        connection = self.connect(Recorder())
        self.assertEqual(connection.logPrefix(), "Recorder")
        connection.connectionLost(connectionDone)
        self.assertEqual(connection.logPrefix(), "-")

    @skipUnless(os.path.isdir("/dev/fd"), "no way to count descriptors")
    def test_descriptors_that_a_client_passes_do_not_arrive(self) -> None:
        recorder = Recorder()
        passed = array.array("i", [self.client.fileno()] * 20)
        before = open_descriptors()
        self.client.sendmsg([b"STATUS\n"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, passed)])
        accepted = client_socket(self.ours)
        self.addCleanup(accepted.close)
        connected(accepted, recorder, self.reactor).doRead()
        self.assertEqual((recorder.data, open_descriptors()), (b"STATUS\n", before))


class ConnectionTests(TestCase):
    """What a connection does once the reactor watches it."""

    def connect(self, recorder: Recorder) -> socket.socket:
        ours, client = socket.socketpair()
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        client.settimeout(PATIENCE)
        connected(ours, recorder)
        self.addCleanup(self.drop, recorder)
        self.addCleanup(client.close)
        return client

    def drop(self, recorder: Recorder) -> Deferred[None]:
        if not recorder.reasons:
            recorder.transport.abortConnection()
        return recorder.lost

    async def test_a_reply_larger_than_the_buffer_arrives_complete(self) -> None:
        reply = os.urandom(wire.REPLY_LIMIT)
        client = self.connect(Recorder(lambda recorder: answer(recorder, reply)))
        self.assertEqual(await in_time(deferToThread(read_to_the_end, client)), reply)

    async def test_a_half_close_ends_what_the_client_reads_and_not_what_it_sends(self) -> None:
        came: Deferred[None] = Deferred()
        recorder = Recorder(
            lambda recorder: recorder.transport.loseWriteConnection(),
            lambda _: came.callback(None),
        )
        client = self.connect(recorder)
        self.assertEqual(await in_time(deferToThread(read_to_the_end, client)), b"")
        client.sendall(b"more")
        await in_time(came)
        self.assertEqual(recorder.data, b"more")

    async def test_the_client_s_half_close_is_told_and_closes_nothing(self) -> None:
        recorder = Recorder()
        client = self.connect(recorder)
        client.shutdown(socket.SHUT_WR)
        await in_time(recorder.ended)
        recorder.transport.write(b"still here")
        self.assertEqual(await in_time(deferToThread(client.recv, 99)), b"still here")

    async def test_the_client_s_half_close_closes_who_cannot_go_on(self) -> None:
        recorder = Recorder(half_closeable=False)
        self.connect(recorder).shutdown(socket.SHUT_WR)
        await in_time(recorder.lost)
        self.assertEqual(recorder.reasons, [ConnectionDone])

    async def test_a_close_after_both_ends_have_finished_is_clean(self) -> None:
        recorder = Recorder(lambda recorder: recorder.transport.loseWriteConnection())
        client = self.connect(recorder)
        await in_time(deferToThread(read_to_the_end, client))
        client.shutdown(socket.SHUT_WR)
        await in_time(recorder.ended)
        recorder.transport.loseConnection()
        await in_time(recorder.lost)
        self.assertEqual(recorder.reasons, [ConnectionDone])

    async def test_an_abort_drops_what_is_still_to_be_sent(self) -> None:
        recorder = Recorder(lambda recorder: recorder.transport.write(b"x" * 10_000_000))
        client = self.connect(recorder)
        recorder.transport.abortConnection()
        await in_time(recorder.lost)
        self.assertEqual(recorder.reasons, [ConnectionAborted])
        received = await in_time(deferToThread(read_to_the_end, client))
        self.assertLess(len(received), 10_000_000)

    async def test_a_client_that_goes_in_the_middle_of_its_reply_is_lost(self) -> None:
        recorder = Recorder(lambda recorder: recorder.transport.write(b"x" * 10_000_000))
        self.connect(recorder).close()
        await in_time(recorder.lost)
        self.assertEqual(recorder.reasons, [ConnectionLost])


class Listening:
    """A listening socket whose ``accept`` does what a test says, in turn."""

    def __init__(self, *outcomes: OSError | socket.socket) -> None:
        self.outcomes = list(outcomes)
        self.closed = False

    def shutdown(self, how: int) -> None: ...

    def accept(self) -> tuple[socket.socket, str]:
        outcome = self.outcomes.pop(0) if self.outcomes else BlockingIOError()
        if isinstance(outcome, OSError):
            raise outcome
        return outcome, ""

    def setblocking(self, blocking: bool) -> None:
        assert not blocking

    def fileno(self) -> int:
        return -1 if self.closed else 1000

    def close(self) -> None:
        self.closed = True


def error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


class ExhaustionTests(SynchronousTestCase):
    """There are no file descriptors left."""

    def listen(self, *outcomes: OSError | socket.socket) -> ControlPort:
        self.reactor = MemoryReactorClock()
        self.served: list[socket.socket] = []
        factory = ServerFactory()
        factory.noisy = False
        self.listening: Any = Listening(*outcomes)
        port = ControlPort(self.reactor, factory, self.listening, self.served.append)
        port.startListening()
        return port

    def client(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        self.addCleanup(theirs.close)
        return ours

    def listens(self, port: ControlPort) -> bool:
        return port in self.reactor.getReaders()

    def read(self, port: ControlPort) -> list[str]:
        """Have the port read; what it logs."""
        with capturedLogs() as events:
            port.doRead()
        return [str(formatEvent(event)) for event in events]

    def test_every_kind_of_it_pauses_the_port(self) -> None:
        for number in errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM:
            port = self.listen(error(number))
            with self.subTest(number=errno.errorcode[number]):
                self.assertEqual(self.read(port), [f"Clients have to wait: {os.strerror(number)}"])
                self.assertFalse(self.listens(port))

    def test_after_a_pause_the_port_reads_again(self) -> None:
        port = self.listen(error(errno.EMFILE))
        port.doRead()
        self.reactor.advance(transport.RETRY_INTERVAL)
        self.assertTrue(self.listens(port))

    def test_while_it_lasts_it_is_logged_once(self) -> None:
        port = self.listen(*[error(errno.EMFILE)] * 5)
        logged = []
        for _ in range(5):
            logged += self.read(port)
            self.reactor.advance(transport.RETRY_INTERVAL)
        self.assertEqual(len(logged), 1)

    def test_a_second_shortage_of_descriptors_is_logged_again(self) -> None:
        port = self.listen(error(errno.EMFILE), BlockingIOError(), error(errno.EMFILE))
        self.read(port)
        self.reactor.advance(transport.RETRY_INTERVAL)
        self.assertEqual(self.read(port), [])
        self.assertEqual(len(self.read(port)), 1)

    def test_who_was_accepted_before_is_served(self) -> None:
        port = self.listen(self.client(), error(errno.EMFILE))
        port.doRead()
        self.assertEqual(len(self.served), 1)

    def test_a_port_that_is_stopped_meanwhile_does_not_read_again(self) -> None:
        port = self.listen(error(errno.EMFILE))
        port.doRead()
        port.stopListening()
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_a_port_that_is_stopped_while_it_lasts_does_not_read_again(self) -> None:
        port = self.listen(*[error(errno.EMFILE)] * 10)
        port.doRead()
        port.stopListening()
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_a_client_that_left_before_it_was_accepted_costs_the_next_nothing(self) -> None:
        port = self.listen(error(errno.ECONNABORTED), self.client())
        self.assertEqual(self.read(port) + self.read(port), [])
        self.assertTrue(self.listens(port))
        self.assertEqual(len(self.served), 1)

    def test_any_other_error_does_not_lose_the_port(self) -> None:
        port = self.listen(error(errno.EINVAL), self.client())
        self.assertEqual(self.read(port), ["Clients have to wait: Invalid argument"])
        self.reactor.advance(transport.RETRY_INTERVAL)
        port.doRead()
        self.assertEqual(len(self.served), 1)

    def test_the_reactor_s_other_work_has_its_turn(self) -> None:
        self.patch(transport, "ACCEPTS_A_TURN", 2)
        port = self.listen(*[self.client() for _ in range(9)])
        taken = []
        for _ in range(4):
            before = len(self.served)
            port.doRead()
            taken.append(len(self.served) - before)
        self.assertEqual(taken, [1, 2, 2, 2])

    def test_a_quiet_port_looks_for_one_client_at_a_time(self) -> None:
        port = self.listen(self.client(), self.client(), self.client(), BlockingIOError())
        for _ in range(3):
            port.doRead()
        self.listening.outcomes[:] = [self.client(), BlockingIOError()]
        port.doRead()
        self.assertEqual(len(self.listening.outcomes), 1)


class PortTestCase(TestCase):
    def setUp(self) -> None:
        # Not below trial's directory: the path of a socket has to be short.
        directory = tempfile.mkdtemp(prefix="p")
        self.addCleanup(shutil.rmtree, directory)
        self.path = os.path.join(directory, "s")

    def listen(
        self,
        build: Callable[[UNIXAddress], Protocol | None] | ServerFactory,
        *,
        shared: bool = False,
        kind: type[ListeningSocket] = ListeningSocket,
    ) -> ControlPort:
        if isinstance(build, ServerFactory):
            factory = build
        else:
            factory = ServerFactory()
            factory.buildProtocol = build  # type: ignore[method-assign,assignment]
        factory.noisy = False
        self.listening = kind(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listening.bind(self.path)
        self.listening.listen(128)
        port = ControlPort(
            reactor, factory, self.listening, lambda accepted: self.serve(factory, accepted), shared
        )
        port.startListening()
        self.addCleanup(port.stopListening)
        return port

    def serve(self, factory: ServerFactory, accepted: socket.socket) -> None:
        built = factory.buildProtocol(UNIXAddress(None))
        assert isinstance(built, Protocol)
        connected(accepted, built)

    def connect(self, send: bytes = b"") -> socket.socket:
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.addCleanup(client.close)
        client.settimeout(PATIENCE)
        client.connect(self.path)
        client.sendall(send)
        return client

    def ask(self, send: bytes = b"STATUS\n") -> Deferred[bytes]:
        return in_time(deferToThread(read_to_the_end, self.connect(send)))


class PortTests(PortTestCase):
    def answering(self, address: UNIXAddress) -> Recorder:  # noqa: ARG002
        return Recorder(at_data=answer)

    async def test_a_client_is_served(self) -> None:
        self.listen(self.answering)
        self.assertEqual(await self.ask(), b"OK\n")

    async def test_many_clients_at_once_are_served(self) -> None:
        self.patch(transport, "ACCEPTS_A_TURN", 3)
        self.listen(self.answering)
        clients = [self.connect(b"STATUS\n") for _ in range(20)]
        for client in clients:
            self.assertEqual(await in_time(deferToThread(read_to_the_end, client)), b"OK\n")

    async def test_out_of_descriptors_clients_wait_until_there_are_some(self) -> None:
        self.patch(transport, "RETRY_INTERVAL", 0.01)
        self.listen(self.answering)
        # A reactor that starts has descriptors of its own to open.
        await a_turn()
        client = self.connect(b"STATUS\n")
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        with open(os.devnull) as first_free:
            lowest = first_free.fileno()
        said: Deferred[str] = Deferred()

        def observe(event: LogEvent) -> None:
            if not said.called:
                said.callback(str(formatEvent(event)))

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, limits[1]))
        try:
            self.assertEqual(
                await in_time(said), f"Clients have to wait: {os.strerror(errno.EMFILE)}"
            )
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        self.assertEqual(await in_time(deferToThread(read_to_the_end, client)), b"OK\n")

    async def test_a_factory_that_raises_costs_only_its_client(self) -> None:
        builds = [self.raising, self.answering]
        self.listen(lambda address: builds.pop(0)(address))
        refused, served = self.ask(b""), self.ask()
        self.assertEqual((await refused, await served), (b"", b"OK\n"))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def raising(self, address: UNIXAddress) -> Recorder:
        raise ZeroDivisionError(address)

    async def test_a_protocol_that_raises_is_told_that_its_connection_is_lost(self) -> None:
        wrong = Recorder(at_data=self.raising)  # type: ignore[arg-type]
        self.listen(lambda _: wrong)
        await self.ask()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(wrong.reasons, [ZeroDivisionError])

    async def test_a_protocol_that_raises_as_it_is_closed_costs_only_its_client(self) -> None:
        wrong = self.answering(UNIXAddress(None))
        wrong.connectionLost = self.raising  # type: ignore[method-assign,assignment]
        builds = [lambda _: wrong, self.answering]
        self.listen(lambda address: builds.pop(0)(address))
        first, second = self.ask(), self.ask()
        self.assertEqual((await first, await second), (b"OK\n", b"OK\n"))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_a_stop_that_stops_itself_is_one_stop(self) -> None:
        calls: list[str] = []
        factory = ServerFactory()
        factory.doStop = lambda: calls.append("stop")  # type: ignore[method-assign]
        factory.buildProtocol = lambda _: Recorder(  # type: ignore[method-assign,assignment]
            lambda recorder: (port.stopListening(), recorder.transport.loseConnection())
        )
        port = self.listen(factory)
        self.connect()
        port.stopListening()
        self.assertEqual(calls, ["stop"])

    async def test_a_stop_serves_whoever_has_connected_before(self) -> None:
        port = self.listen(self.answering)
        clients = [self.connect(b"STATUS\n") for _ in range(3)]
        port.stopListening()
        replies = [await in_time(deferToThread(read_to_the_end, each)) for each in clients]
        self.assertEqual(replies, [b"OK\n"] * 3)

    async def test_a_stop_serves_a_backlog_that_is_full(self) -> None:
        port = self.listen(self.answering)
        clients = [self.connect(b"STATUS\n") for _ in range(129)]
        port.stopListening()
        replies = [await in_time(deferToThread(read_to_the_end, each)) for each in clients]
        self.assertEqual(replies, [b"OK\n"] * 129)

    async def test_the_stop_of_a_shared_port_leaves_the_backlog_to_the_others(self) -> None:
        port = self.listen(self.answering, shared=True)
        with self.listening.dup() as other:
            client = self.connect()
            port.stopListening()
            other.settimeout(PATIENCE)
            accepted, _ = other.accept()
            with accepted:
                accepted.sendall(b"from the other\n")
        self.assertEqual(read_to_the_end(client), b"from the other\n")

    async def test_a_protocol_may_stop_its_own_port(self) -> None:
        ports: list[ControlPort] = []

        def stop_and_answer(recorder: Recorder) -> None:
            ports[0].stopListening()
            answer(recorder)

        ports.append(self.listen(lambda _: Recorder(at_data=stop_and_answer)))
        self.assertEqual(await self.ask(), b"OK\n")

    async def test_after_a_stop_nobody_can_connect(self) -> None:
        await self.listen(self.answering).stopListening()
        self.assertRaises(ConnectionRefusedError, self.connect)

    async def test_a_stop_leaves_the_file_alone(self) -> None:
        await self.listen(self.answering).stopListening()
        self.assertTrue(os.path.exists(self.path))

    async def test_a_stop_does_not_mind_that_the_file_is_gone(self) -> None:
        port = self.listen(self.answering)
        os.unlink(self.path)
        self.assertIsNone(await port.stopListening())

    async def test_a_connection_outlives_its_port(self) -> None:
        port = self.listen(self.answering)
        self.assertEqual(await self.ask(), b"OK\n")
        client = self.connect()
        port.stopListening()
        client.sendall(b"STATUS\n")
        received = await in_time(deferToThread(read_to_the_end, client))
        self.assertEqual(received, b"OK\n")

    def test_the_factory_of_a_port_is_started_and_stopped_once(self) -> None:
        calls: list[str] = []
        factory = ServerFactory()
        factory.startFactory = lambda: calls.append("start")  # type: ignore[method-assign]
        factory.stopFactory = lambda: calls.append("stop")  # type: ignore[method-assign]
        port = self.listen(factory)
        port.stopListening()
        port.stopListening()
        self.assertEqual(calls, ["start", "stop"])

    def test_a_port_is_what_a_reactor_expects(self) -> None:
        port = self.listen(self.answering)
        verifyObject(IListeningPort, port)
        verifyObject(IReadDescriptor, port)
        self.assertEqual(port.getHost(), UNIXAddress(self.path))
        self.assertEqual(port.logPrefix(), "ControlPort")

    def test_a_stopped_port_has_no_descriptor(self) -> None:
        port = self.listen(self.answering)
        self.assertEqual(port.fileno(), self.listening.fileno())
        port.stopListening()
        self.assertEqual(port.fileno(), -1)

    async def test_a_connection_tells_both_its_ends(self) -> None:
        ends: list[UNIXAddress] = []

        def note(recorder: Recorder) -> None:
            ends.extend((recorder.transport.getHost(), recorder.transport.getPeer()))
            recorder.transport.loseConnection()

        self.listen(lambda _: Recorder(note))
        await self.ask(b"")
        self.assertEqual(ends, [UNIXAddress(self.path), UNIXAddress("")])


class SmallBuffers(ListeningSocket):
    def accept(self) -> tuple[socket.socket, Any]:
        accepted, address = super().accept()
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        return accepted, address


class Slow(DaemonState):
    """Pauses when it is told to have paused; its status is as long as may be."""

    def __init__(self) -> None:
        super().__init__()
        self.begun: Deferred[None] = Deferred()
        self.pausing: Deferred[None] = Deferred()

    def pause(self) -> Deferred[None]:  # type: ignore[override]
        self.begun.callback(None)
        return self.pausing

    def get_status(self) -> DaemonStatus:
        return super().get_status()._replace(current_session="x" * (wire.REPLY_LIMIT - 200))


class ControlTests(PortTestCase):
    """The protocol on this transport: what only real sockets can show."""

    def setUp(self) -> None:
        super().setUp()
        self.clock = Clock()
        self.daemon = Slow()
        limits = Limits(max_connections=8)
        commands = CommandTable(self.daemon, self.clock, limits, self.clock.seconds)
        self.factory = ControlFactory(commands, self.clock)
        self.port = self.listen(self.factory, kind=SmallBuffers)
        self.addCleanup(self.slots_are_free)

    def slots_are_free(self) -> Deferred[None]:
        """Wait until every connection has been closed."""
        self.port.stopListening()
        return in_time(self.factory.stop())

    async def test_a_long_status_arrives_whole(self) -> None:
        reply = await self.ask()
        self.assertEqual(wire.parse_status(reply), self.daemon.get_status()._replace(uptime_secs=0))

    async def test_who_never_reads_is_dropped_after_the_timeout(self) -> None:
        client = self.connect(b"STATUS\n")
        self.assertEqual(await in_time(deferToThread(client.recv, 1)), b"{")
        self.clock.advance(5.0)
        await self.slots_are_free()
        self.assertLess(len(read_to_the_end(client)), wire.REPLY_LIMIT - 200)

    async def test_a_thousand_commands_are_one(self) -> None:
        self.assertEqual(await self.ask(b"RESUME\n" * 1000), b"OK\n")

    async def test_a_line_that_never_ends_is_told_and_read_no_further(self) -> None:
        client = self.connect()

        def send_and_read() -> bytes:
            with contextlib.suppress(OSError):
                client.sendall(b"x" * 2_000_000)
            client.shutdown(socket.SHUT_WR)
            return read_to_the_end(client)

        self.assertEqual(
            await in_time(deferToThread(send_and_read)),
            b"ERR: Command too long (512 bytes at most)\n",
        )

    async def test_a_half_close_before_a_slow_answer_does_not_lose_it(self) -> None:
        client = self.connect(b"PAUSE")
        client.shutdown(socket.SHUT_WR)
        await in_time(self.daemon.begun)
        await a_turn()
        self.daemon.pausing.callback(None)
        self.assertEqual(await in_time(deferToThread(read_to_the_end, client)), b"OK\n")

    async def test_a_client_that_vanishes_from_a_slow_command_is_forgotten_after_it(self) -> None:
        self.connect(b"PAUSE\n").close()
        await in_time(self.daemon.begun)
        await a_turn()
        stopped = self.slots_are_free()
        self.assertNoResult(stopped)
        self.daemon.pausing.callback(None)
        self.assertIsNone(await stopped)

    async def test_a_client_over_the_limit_gets_an_error_whatever_it_has_sent(self) -> None:
        self.factory.commands.limits = Limits(max_connections=1)
        self.connect()
        self.assertEqual(await self.ask(b"RESUME\n" * 1000), b"ERR: Too many connections\n")

    async def test_a_line_that_ends_after_the_deadline_is_never_run(self) -> None:
        admitted: Deferred[Any] = Deferred()
        admit = self.factory.admit

        def note(client: Any) -> bytes | None:
            received = client.dataReceived

            def data_received(data: bytes) -> None:
                received(data)
                if not admitted.called:
                    admitted.callback(None)

            client.dataReceived = data_received
            return admit(client)

        self.factory.admit = note  # type: ignore[method-assign]
        client = self.connect(b"PAU")
        await in_time(admitted)
        await a_turn()
        self.clock.advance(5.0)
        with contextlib.suppress(BrokenPipeError):
            client.sendall(b"SE\nPAUSE\n")
        reply = await in_time(deferToThread(read_to_the_end, client))
        client.close()
        await self.slots_are_free()
        self.assertEqual((reply, self.daemon.begun.called), (b"ERR: Connection timeout\n", False))

    async def test_the_peer_of_a_connection_is_its_client(self) -> None:
        peers: list[Credentials | None] = []
        admit = self.factory.admit

        def note(client: Any) -> bytes | None:
            peers.append(client.peer)
            return admit(client)

        self.factory.admit = note  # type: ignore[method-assign]
        await self.ask(b"RESUME\n")
        self.assertEqual(peers, [Credentials(os.getpid(), os.geteuid(), os.getegid())])
