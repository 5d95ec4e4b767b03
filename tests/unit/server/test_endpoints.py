"""Where the control socket listens: a claimed path, and sockets that were inherited."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import tempfile
from typing import Any

from twisted.internet.endpoints import AdoptedStreamServerEndpoint, UNIXServerEndpoint
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from palingenesis.server import endpoints
from palingenesis.server.commands import CommandTable
from palingenesis.server.endpoints import FileEndpoint, InheritedEndpoint, make_endpoint
from palingenesis.server.protocol import ControlFactory
from palingenesis.server.socketfile import SocketFile, SocketInUse
from palingenesis.server.state import DaemonState
from palingenesis.server.transport import ControlPort
from tests.support.patience import PATIENCE
from tests.support.sockets import identity, listen_at, read_all


class EndpointTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        # Not below trial's directory: the path of a socket has to be short.
        self.directory = tempfile.mkdtemp(prefix="p")
        self.addCleanup(shutil.rmtree, self.directory)
        self.path = os.path.join(self.directory, "s")
        self.reactor = MemoryReactorClock()
        commands = CommandTable(DaemonState(), self.reactor)
        self.factory = ControlFactory(commands, self.reactor)
        self.factory.noisy = False

    def listen(self, endpoint: IStreamServerEndpoint) -> Any:
        port = self.successResultOf(endpoint.listen(self.factory))
        self.addCleanup(port.stopListening)
        return port

    @property
    def reader(self) -> ControlPort:
        """What the reactor calls when a client connects."""
        (reader,) = self.reactor.getReaders()
        assert isinstance(reader, ControlPort)
        return reader

    def ask(self) -> bytes:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(PATIENCE)
            client.connect(self.path)
            client.sendall(b"PAUSE\n")
            self.reader.doRead()
            return read_all(client)


class FileEndpointTests(EndpointTestCase):
    def endpoint(self, mode: int = 0o600) -> FileEndpoint:
        file = SocketFile(self.path, mode)
        self.addCleanup(file.release)
        return FileEndpoint(self.reactor, file)

    def test_a_file_endpoint_is_an_endpoint_and_its_port_a_port(self) -> None:
        endpoint = self.endpoint()
        verifyObject(IStreamServerEndpoint, endpoint)
        verifyObject(IListeningPort, self.listen(endpoint))

    def test_a_file_endpoint_claims_the_path_and_serves_there(self) -> None:
        self.listen(self.endpoint(0o640))
        self.assertEqual(stat.S_IMODE(os.lstat(self.path).st_mode), 0o640)
        self.assertEqual(self.ask(), b"OK\n")

    def test_a_path_that_is_taken_fails_its_deferred(self) -> None:
        self.listen(self.endpoint())
        before = identity(self.path)
        self.failureResultOf(self.endpoint().listen(self.factory), SocketInUse)
        self.assertEqual(identity(self.path), before)

    def test_the_port_of_a_file_endpoint_removes_only_its_own_file(self) -> None:
        port = self.listen(self.endpoint())
        os.rename(self.path, self.path + ".old")
        with open(self.path, "w", encoding="ascii"):
            port.stopListening()
        self.assertTrue(os.path.lexists(self.path))
        self.assertTrue(os.path.lexists(self.path + ".old"))

    def test_a_stop_of_the_port_removes_the_file(self) -> None:
        self.listen(self.endpoint()).stopListening()
        self.assertFalse(os.path.lexists(self.path))

    def test_after_its_port_s_stop_a_copy_of_the_socket_takes_nobody(self) -> None:
        port = self.listen(self.endpoint())
        copy = os.dup(self.reader.fileno())
        self.addCleanup(os.close, copy)
        # The port removes its own name of the file.
        os.link(self.path, self.path + ".kept")
        port.stopListening()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            self.assertRaises(ConnectionRefusedError, client.connect, self.path + ".kept")

    def test_a_reactor_that_cannot_take_the_port_leaves_no_socket(self) -> None:
        def full(_: object) -> None:
            raise OSError("as the test wants it")

        endpoint = self.endpoint()
        self.patch(self.reactor, "addReader", full)
        self.failureResultOf(endpoint.listen(self.factory), OSError)
        self.assertFalse(os.path.lexists(self.path))
        self.assertEqual(self.factory.numPorts, 0)

    def test_a_file_that_was_in_the_way_is_told_of_once(self) -> None:
        with open(self.path, "w", encoding="ascii") as file:
            file.write("somebody's")
        endpoint = self.endpoint()
        with capturedLogs() as events:
            self.listen(endpoint).stopListening()
            self.listen(endpoint)
        lines = [str(formatEvent(event)) for event in events]
        self.assertEqual([line.startswith("A file was at") for line in lines], [True])


class InheritedEndpointTests(EndpointTestCase):
    def inherited(self) -> int:
        listening = listen_at(self.path)
        self.addCleanup(listening.close)
        os.chmod(self.path, 0o640)
        return listening.fileno()

    def test_an_inherited_endpoint_is_an_endpoint(self) -> None:
        verifyObject(IStreamServerEndpoint, InheritedEndpoint(self.reactor, self.inherited()))

    def test_an_inherited_endpoint_can_listen_again(self) -> None:
        endpoint = InheritedEndpoint(self.reactor, self.inherited())
        before = identity(self.path)
        for _ in range(3):
            port = self.listen(endpoint)
            self.assertEqual(self.ask(), b"OK\n")
            port.stopListening()
        self.assertEqual(identity(self.path), before)

    def test_stopping_an_inherited_port_leaves_the_socket_to_other_processes(self) -> None:
        descriptor = self.inherited()
        self.listen(InheritedEndpoint(self.reactor, descriptor)).stopListening()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.connect(self.path)

    def test_what_is_no_listening_unix_socket_is_refused(self) -> None:
        not_listening, of_the_internet = (
            socket.socket(family, socket.SOCK_STREAM) for family in (socket.AF_UNIX, socket.AF_INET)
        )
        datagrams = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        of_the_internet.bind(("127.0.0.1", 0))
        of_the_internet.listen(1)
        read_end, write_end = os.pipe()
        self.addCleanup(os.close, read_end)
        os.close(write_end)
        for each in not_listening, of_the_internet, datagrams:
            self.addCleanup(each.close)
        for descriptor in (
            not_listening.fileno(),
            of_the_internet.fileno(),
            datagrams.fileno(),
            read_end,
            write_end,
        ):
            error = self.assertRaises(ValueError, InheritedEndpoint, self.reactor, descriptor)
            self.assertEqual(
                str(error), f"no listening Unix socket was inherited as descriptor {descriptor}"
            )


class MakeEndpointTests(EndpointTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("LISTEN_")}
        self.asked: list[int] = []
        self.patch(endpoints, "InheritedEndpoint", lambda _, number: self.asked.append(number))

    def make(self, given: Any, **environment: str) -> Any:
        self.patch(os, "environ", self.environment | environment)
        return make_endpoint(self.reactor, given)

    def test_sockets_that_systemd_hands_over_begin_at_descriptor_3(self) -> None:
        for index in 0, 1, 12:
            self.make(f"systemd:domain=UNIX:index={index}", LISTEN_PID=str(os.getpid()))
            self.make(f"systemd:domain=UNIX:index={index}")
        self.assertEqual(self.asked, [3, 3, 4, 4, 15, 15])

    def test_sockets_inherited_for_another_process_are_refused(self) -> None:
        error = self.assertRaises(
            ValueError, self.make, "systemd:domain=UNIX:index=0", LISTEN_PID=str(os.getppid())
        )
        self.assertEqual(str(error), "the inherited sockets are meant for another process")

    def test_a_name_that_was_not_inherited_is_a_lookup_error(self) -> None:
        self.assertRaises(LookupError, self.make, "systemd:domain=UNIX:name=nonsense")

    def test_a_malformed_description_is_a_value_error(self) -> None:
        self.assertRaises(ValueError, self.make, "nonsense:1")

    def test_twisted_s_own_for_an_inherited_unix_socket_is_replaced(self) -> None:
        listening = listen_at(self.path)
        self.addCleanup(listening.close)
        for family in socket.AF_UNIX, socket.AF_INET:
            given = AdoptedStreamServerEndpoint(self.reactor, listening.fileno(), family)
            made = self.make(given)
            self.assertEqual(made is given, family == socket.AF_INET)
        self.assertEqual(self.asked, [listening.fileno()])

    def test_any_other_endpoint_is_taken_as_it_is(self) -> None:
        given = UNIXServerEndpoint(self.reactor, self.path)
        self.assertIs(self.make(given), given)
