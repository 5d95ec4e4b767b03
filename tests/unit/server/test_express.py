"""The fast lane: what is answered at once, and what goes on in an ordinary protocol."""

from __future__ import annotations

import contextlib
import socket
import time

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from palingenesis.config import Limits
from palingenesis.procfs import Credentials
from palingenesis.server import express, protocol
from palingenesis.server.commands import CommandTable
from palingenesis.server.express import Express
from palingenesis.server.protocol import ControlFactory, ControlProtocol
from palingenesis.server.state import DaemonState
from palingenesis.server.transport import Connection
from palingenesis.testing import ControlHarness
from tests.support.patience import PATIENCE

STATUS = b'{"state": "monitoring", '


class ExpressTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Make a new server without clients."""
        self.reactor = MemoryReactorClock()
        self.state = DaemonState()
        self.commands = CommandTable(self.state, self.reactor, Limits(max_connections=2))
        self.factory = ControlFactory(self.commands, self.reactor)
        self.factory.startFactory()
        self.express = Express(self.factory, self.reactor)

    def connect(self, sent: bytes = b"") -> socket.socket:
        """Connect a client, and have it send something before it is served."""
        accepted, client = socket.socketpair()
        self.addCleanup(client.close)
        self.addCleanup(accepted.close)
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        client.sendall(sent)
        self.express.serve(accepted)
        client.settimeout(0)
        return client

    def turn(self) -> None:
        """Do what a reactor does for the connections that it knows."""
        for reader in list(self.reactor.getReaders()):
            assert isinstance(reader, Connection)
            why = reader.doRead()
            if why is not None:
                reader.stopReading()
                reader.readConnectionLost(Failure(why))
        for writer in list(self.reactor.getWriters()):
            assert isinstance(writer, Connection)
            why = writer.doWrite()
            if why is not None:
                writer.connectionLost(Failure(why))
        self.reactor.advance(0)

    def read(self, client: socket.socket) -> bytes:
        """Read what there is; ``[open]`` marks a connection that has not ended."""
        received = b""
        while True:
            try:
                data = client.recv(65_536)
            except BlockingIOError:
                return received + b"[open]"
            if not data:
                return received
            received += data

    @property
    def known(self) -> int:
        """How many connections the reactor knows."""
        return len({*self.reactor.getReaders(), *self.reactor.getWriters()})


class Full(socket.socket):
    """A connection whose send buffer has no room at first."""

    full = True

    def send(self, data: bytes, flags: int = 0) -> int:  # type: ignore[override]
        if self.full:
            self.full = False
            raise BlockingIOError
        return super().send(data, flags)


class SameTests(ExpressTestCase):
    """What comes back does not depend on the way it takes."""

    @given(
        st.lists(
            st.sampled_from(
                b"STATUS|pause|Resume|ECHO|NONE|HELP|\n|\r\n| |\t|\x0b|\0|x|\xff|\xc3\xa9".split(
                    b"|"
                )
            ),
            max_size=6,
        ).map(b"".join)
        | st.binary(min_size=500, max_size=530),
        st.booleans(),
    )
    def test_whatever_is_sent_the_lane_answers_as_the_protocol_does(
        self, sent: bytes, at_once: bool
    ) -> None:
        self.begin()
        harness = ControlHarness(paused := DaemonState())
        for register in self.commands.register, harness.command:
            register("ECHO", lambda *text: list(text), "echo", "[TEXT]")
            register("NONE", lambda: None, "do nothing")
        client = self.connect(sent if at_once else b"")
        with contextlib.suppress(BrokenPipeError):
            client.sendall(b"" if at_once else sent)
        client.shutdown(socket.SHUT_WR)
        while self.known:
            self.turn()
        self.assertEqual(self.read(client), harness.send(sent))
        self.assertEqual(self.state.paused, paused.paused)
        client.close()


class AtOnceTests(ExpressTestCase):
    def test_a_whole_exchange_takes_no_turn_of_the_reactor(self) -> None:
        client = self.connect(b"STATUS\n")
        self.assertTrue(self.read(client).startswith(STATUS))
        self.assertEqual((self.known, self.reactor.getDelayedCalls()), (0, []))

    def test_every_command_of_the_table_is_run(self) -> None:
        self.commands.register("COUNT", lambda: 3, "count")
        self.assertEqual(
            [self.read(self.connect(line)) for line in (b"pause\r\n", b"COUNT\n", b"nix\n")],
            [b"OK\n", b"3\n", b"ERR: Unknown command: nix\n"],
        )
        self.assertTrue(self.state.paused)

    def test_no_protocol_is_made(self) -> None:
        made: list[object] = []
        self.patch(ControlProtocol, "makeConnection", lambda *_: made.append(None))
        self.connect(b"STATUS\n")
        self.assertEqual(made, [])

    def test_a_client_that_is_gone_costs_nothing(self) -> None:
        accepted, client = socket.socketpair()
        client.sendall(b"STATUS\n")
        client.close()
        self.express.serve(accepted)
        self.assertEqual((accepted.fileno(), self.known), (-1, 0))


class HandedOnTests(ExpressTestCase):
    def test_a_silent_client_is_not_waited_for_whatever_the_default_timeout(self) -> None:
        self.addCleanup(socket.setdefaulttimeout, socket.getdefaulttimeout())
        socket.setdefaulttimeout(PATIENCE)
        begin = time.monotonic()
        client = self.connect()
        self.assertEqual((self.known, self.read(client)), (1, b"[open]"))
        self.assertLess(time.monotonic() - begin, PATIENCE / 2)

    def test_a_client_that_has_sent_nothing_has_its_deadline(self) -> None:
        client = self.connect()
        self.assertEqual((self.known, self.read(client)), (1, b"[open]"))
        self.reactor.advance(5)
        self.turn()
        self.assertEqual(self.read(client), b"ERR: Connection timeout\n")

    def test_half_a_line_is_kept(self) -> None:
        client = self.connect(b"STA")
        client.sendall(b"TUS\n")
        self.turn()
        self.turn()
        self.assertTrue(self.read(client).startswith(STATUS))

    def test_a_line_that_the_half_close_ends_is_run(self) -> None:
        client = self.connect(b"PAUSE")
        client.shutdown(socket.SHUT_WR)
        self.turn()
        self.turn()
        self.assertEqual((self.read(client), self.state.paused), (b"OK\n", True))

    def test_second_lines_are_discarded(self) -> None:
        client = self.connect(b"STATUS\nPAUSE\n")
        self.turn()
        self.assertTrue(self.read(client).startswith(STATUS))
        self.assertFalse(self.state.paused)
        self.assertEqual(self.known, 1)

    def test_a_line_of_512_bytes_is_run_and_one_of_513_is_too_long(self) -> None:
        self.assertEqual(self.read(self.connect(b"PAUSE".ljust(512) + b"\n")), b"OK\n")
        client = self.connect(b"RESUME".ljust(513) + b"\n")
        self.turn()
        self.assertTrue(self.read(client).startswith(b"ERR: Command too long (512 bytes at most)"))
        self.assertTrue(self.state.paused)

    def test_a_reply_too_long_for_the_buffer_arrives_whole(self) -> None:
        self.commands.register("LONG", lambda: "x" * 60_000, "long")
        client = self.connect(b"LONG\n")
        received = b""
        while self.known and len(received) < 60_003:
            received += self.read(client).removesuffix(b"[open]")
            self.turn()
        self.assertEqual(len(received), 60_003)

    def test_a_reply_waits_for_a_buffer_that_is_full(self) -> None:
        accepted, client = socket.socketpair()
        self.addCleanup(client.close)
        client.sendall(b"PAUSE\n")
        client.settimeout(0)
        self.express.serve(Full(fileno=accepted.detach()))
        self.assertEqual(self.read(client), b"[open]")
        self.turn()
        self.assertEqual(self.read(client), b"OK\n")

    def test_a_protocol_that_raises_lets_its_connection_go(self) -> None:
        def broken(_: object, __: bytes) -> None:
            raise ZeroDivisionError("as the test wants it")

        self.patch(ControlProtocol, "dataReceived", broken)
        client = self.connect(b"STA")
        self.assertEqual((self.read(client), self.known), (b"", 0))
        self.assertEqual(self.factory.connections(), [])
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_input_that_came_meanwhile_does_not_lose_the_reply(self) -> None:
        peer: list[socket.socket] = []

        def more() -> None:
            peer[0].sendall(b"more\n")

        self.commands.register("MORE", more, "more")
        accepted, client = socket.socketpair()
        self.addCleanup(client.close)
        peer.append(client)
        client.sendall(b"MORE\n")
        self.express.serve(accepted)
        self.turn()
        client.settimeout(0)
        self.assertEqual(self.read(client), b"OK\n")

    def test_a_slow_command_is_answered_by_a_protocol(self) -> None:
        done: Deferred[int] = Deferred()
        self.commands.register("SLOW", lambda: done, "slow")
        client = self.connect(b"SLOW\n")
        self.assertEqual((self.read(client), self.known), (b"[open]", 1))
        done.callback(7)
        self.turn()
        self.assertEqual(self.read(client), b"7\n")

    def test_a_slow_command_takes_a_place_until_it_is_done(self) -> None:
        self.commands.register("SLOW", lambda: Deferred(), "slow")
        self.connect(b"SLOW\n")
        self.connect(b"SLOW\n")
        client = self.connect(b"STATUS\n")
        self.turn()
        self.assertEqual(self.read(client), b"ERR: Too many connections\n")

    def test_a_slow_command_s_client_is_told_of_a_stop(self) -> None:
        self.commands.register("SLOW", lambda: Deferred(), "slow")
        client = self.connect(b"SLOW\n")
        self.factory.stop()
        self.reactor.advance(2)
        self.turn()
        self.assertEqual(self.read(client), b"ERR: The daemon is stopping\n")


class RejectedTests(ExpressTestCase):
    def test_a_client_over_the_limit_reads_why_and_may_still_write(self) -> None:
        self.connect()
        self.connect()
        client = self.connect()
        self.turn()
        client.sendall(b"STATUS\n")
        self.turn()
        self.assertEqual(self.read(client), b"ERR: Too many connections\n")

    def test_the_command_of_a_rejected_client_is_never_run(self) -> None:
        self.connect()
        self.connect()
        self.connect(b"PAUSE\n")
        self.turn()
        self.assertFalse(self.state.paused)

    def test_a_client_of_another_user_is_rejected(self) -> None:
        self.factory._uid = 4242
        for module in express, protocol:
            self.patch(module, "peer_credentials", lambda _: Credentials(1, 4243, 4243))
        client = self.connect(b"PAUSE\n")
        self.turn()
        self.assertTrue(self.read(client).startswith(b"ERR: Permission denied"))
        self.assertFalse(self.state.paused)
