"""The socket's file and inherited sockets on a simulated macOS, below real sockets of Linux."""

from __future__ import annotations

import errno
import itertools
import os
import socket
import stat
from typing import Any

from twisted.internet.protocol import ServerFactory
from twisted.internet.testing import MemoryReactorClock

from palingenesis import darwin
from palingenesis.server import endpoints
from palingenesis.server.endpoints import _is_listening
from palingenesis.server.socketfile import SocketInUse
from palingenesis.server.transport import ControlPort
from tests.support.darwin import FakeProcess, SimulatedMacTestCase
from tests.support.socketfiles import SocketFileTestCase
from tests.support.sockets import identity, leave_stale, listen_at

LISTENING = 2


class MacSocketFileTests(SimulatedMacTestCase, SocketFileTestCase):
    def setUp(self) -> None:
        SocketFileTestCase.setUp(self)
        SimulatedMacTestCase.setUp(self)

    def test_a_stale_socket_is_replaced_if_no_process_listens(self) -> None:
        self.processes[42] = FakeProcess(listens=((b"/tmp/other.sock", LISTENING),))
        leave_stale(self.path)
        before = identity(self.path)
        self.bound()
        self.assertNotEqual(identity(self.path), before)

    def test_a_socket_that_refuses_is_left_to_a_process_that_listens(self) -> None:
        """As with a full backlog, after the lock's file was swept away."""
        self.processes[42] = FakeProcess(listens=((os.fsencode(self.path), LISTENING),))
        leave_stale(self.path)
        error = self.refusal()
        self.assertIsInstance(error, SocketInUse)
        self.assertIn("pid 42 (claude)", error.reason)

    def test_a_socket_that_refuses_is_left_alone_if_the_processes_cannot_be_read(self) -> None:
        leave_stale(self.path)
        error = self.refusal()
        self.assertIsInstance(error, SocketInUse)
        self.assertIn("cannot be looked for", error.reason)

    def test_the_mode_is_what_was_asked_for_from_the_first_moment(self) -> None:
        """fchmod(2) of a socket fails; nobody may connect between bind(2) and chmod(2)."""

        def fail(*_: Any) -> None:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

        def unneeded(*_: Any) -> None:
            raise AssertionError("the file had another mode for a moment")

        self.patch(os, "fchmod", fail)
        self.patch(os, "chmod", unneeded)
        self.write("s.sock.lock")  # Its mode is set by fchmod(2) if it is made.
        for umask, mode in itertools.product((0, 0o077, 0o777), (0o600, 0o660, 0o666)):
            os.umask(umask)
            file = self.bound(mode=mode)
            self.assertEqual(stat.S_IMODE(os.lstat(self.path).st_mode), mode)
            self.assertEqual(os.umask(umask), umask)
            file.remove()
            file.release()

    def test_a_holder_that_does_not_listen_yet_is_named(self) -> None:
        self.claimed()
        self.patch(darwin, "is_locked", lambda _path: True)
        self.processes[42] = FakeProcess(comm=b"python3.13", files=((self.lock, True),))
        self.assertIn("pid 42 (python3.13)", self.refusal().reason)


class MacPortTests(SimulatedMacTestCase, SocketFileTestCase):
    def setUp(self) -> None:
        SocketFileTestCase.setUp(self)
        SimulatedMacTestCase.setUp(self)

    def test_an_accepted_client_leaves_no_descriptors_here(self) -> None:
        served: list[socket.socket] = []
        reactor = MemoryReactorClock()
        listening = listen_at(self.path)
        factory = ServerFactory()
        factory.noisy = False
        port = ControlPort(reactor, factory, listening, served.append)
        port.startListening()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(self.path)
            port.doRead()
        port.connectionLost()
        for each in served:
            each.close()
        self.assertEqual([type(each) for each in served], [darwin.ClientSocket])


class MacInheritedTests(SocketFileTestCase):
    def test_a_socket_that_does_not_say_whether_it_listens_is_taken(self) -> None:
        class Silent(socket.socket):
            def getsockopt(self, *_: Any) -> Any:
                raise OSError(errno.ENOPROTOOPT, os.strerror(errno.ENOPROTOOPT))

        listening = listen_at(self.path)
        nameless = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        for each in (listening, nameless):
            self.addCleanup(each.close)
        self.patch(endpoints.socket, "socket", Silent)
        self.assertTrue(_is_listening(listening.fileno()))
        self.assertFalse(_is_listening(nameless.fileno()))
