"""The service on a real reactor and real sockets: start, stop, and all that between."""

from __future__ import annotations

import errno
import fcntl
import os
import pathlib
import shutil
import socket
import stat
import tempfile
from collections.abc import Callable
from typing import Any

from twisted.application.service import IService, MultiService
from twisted.internet import reactor
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.endpoints import AdoptedStreamServerEndpoint, TCP4ServerEndpoint
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import TestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from palingenesis.config import Limits
from palingenesis.paths import PathError
from palingenesis.server import fileport, protocol, transport
from palingenesis.server import socketfile as socketfile_module
from palingenesis.server.interfaces import CommandRefused, IDaemonState
from palingenesis.server.service import ControlService
from palingenesis.server.socketfile import SocketFile, SocketFileError, SocketInUse
from palingenesis.server.transport import BACKLOG, ListeningSocket
from palingenesis.wire import DaemonStatus
from tests.support.descriptors import allow_descriptors
from tests.support.measures import descriptors
from tests.support.needs import needs_root
from tests.support.patience import PATIENCE
from tests.support.sockets import ask, connect, identity, leave_stale, listen_at, read_all
from tests.support.users import NOBODY

STATUS = b'{"state": "monitoring", "uptime_secs": 1, "current_session": null, '
STOPPING = b"ERR: The daemon is stopping\n"


@implementer(IDaemonState)
class State:
    """
    A daemon that answers STATUS at once, and the others when the test has them done.

    :ivar under_way: the Deferreds of the commands that are not done.
    """

    def __init__(self) -> None:
        self.under_way: list[Deferred[None]] = []

    def get_status(self) -> DaemonStatus:
        return DaemonStatus("monitoring", 1)

    def pause(self) -> Deferred[None]:
        done: Deferred[None] = Deferred()
        self.under_way.append(done)
        return done

    def resume(self) -> None:
        raise CommandRefused("not today")

    def reload_config(self) -> Deferred[None]:
        return self.pause()


class ServiceTestCase(TestCase):
    timeout = 3 * PATIENCE

    def setUp(self) -> None:
        self.directory = tempfile.mkdtemp(prefix="pal-", dir="/tmp")
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)
        self.path = self.at("s.sock")
        self.state = State()
        self.messages: list[str] = []
        globalLogPublisher.addObserver(self.observe)
        self.addCleanup(globalLogPublisher.removeObserver, self.observe)

    def observe(self, event: Any) -> None:
        if str(event.get("log_namespace")).startswith("palingenesis"):
            self.messages.append(formatEvent(event))

    def at(self, *names: str) -> str:
        return os.path.join(self.directory, *names)

    def write(self, name: str, content: str) -> None:
        with open(self.at(name), "w", encoding="utf-8") as file:
            file.write(content)

    def service(self, path: str | None = None, **how: Any) -> ControlService:
        """Make a service, and stop it at the end of the test if it runs then."""
        if "endpoint" not in how:
            how["path"] = path or self.path
        control = ControlService(self.state, reactor=reactor, **how)

        def stop() -> object:
            for done in self.state.under_way:
                if not done.called:
                    done.callback(None)
            return control.stopService() if control.running else None

        self.addCleanup(stop)
        return control

    def started(self, path: str | None = None, **how: Any) -> ControlService:
        control = self.service(path, **how)
        control.startService()
        return control

    def ask(self, request: bytes = b"STATUS\n", path: str | None = None) -> Deferred[bytes]:
        return deferToThread(ask, path or self.path, request)

    def connect(self, path: str | None = None) -> socket.socket:
        connection = connect(path or self.path)
        self.addCleanup(connection.close)
        return connection

    async def until(self, is_so: Callable[[], Any]) -> None:
        """Let the reactor run until something is so."""
        end = reactor.seconds() + PATIENCE
        while not is_so():
            self.assertLess(reactor.seconds(), end, self.messages)
            await deferLater(reactor, 0.01)

    def logged(self, text: str) -> int:
        return sum(text in message for message in self.messages)

    async def assert_serves(self, path: str | None = None) -> None:
        answer = await self.ask(path=path)
        self.assertTrue(answer.startswith(STATUS), answer)

    async def soon(self, deferred: Deferred[Any]) -> Any:
        """Await what should not take long, and fail if it does not come."""
        return await deferred.addTimeout(10, reactor)


class StartTests(ServiceTestCase):
    def test_the_control_service_is_a_service(self):
        verifyObject(IService, self.service())

    async def test_a_started_service_serves(self):
        control = self.service()
        self.assertFalse(os.path.lexists(self.path))
        control.startService()
        await self.assert_serves()
        self.assertTrue(control.running)
        self.assertEqual(self.logged("Listening on"), 1)

    async def test_a_relative_path_outlives_a_change_of_directory(self):
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(self.directory)
        control = self.service("relative.sock")
        os.chdir("/")
        control.startService()
        await self.assert_serves(self.at("relative.sock"))

    async def test_the_default_path_is_the_one_that_clients_use(self):
        self.patch(os, "environ", os.environ | {"PALINGENESIS_SOCKET": self.at("env.sock")})
        control = ControlService(self.state)
        control.startService()
        self.addCleanup(control.stopService)
        await self.assert_serves(self.at("env.sock"))

    async def test_a_service_may_be_given_a_claimed_file(self):
        file = SocketFile(self.path, 0o660)
        file.claim()
        self.started(file)
        await self.assert_serves()
        self.assertEqual(stat.S_IMODE(os.lstat(self.path).st_mode), 0o660)

    async def test_a_file_that_was_moved_aside_is_told_of(self):
        self.write("s.sock", "kept")
        self.started()
        self.assertEqual(self.logged(f"moved it to {self.path}.moved-1"), 1)
        await self.assert_serves()

    async def test_two_serve_in_one_process(self):
        self.started()
        self.started(self.at("other.sock"))
        await self.assert_serves()
        await self.assert_serves(self.at("other.sock"))

    async def test_a_second_one_at_the_same_path_is_refused_and_harms_nothing(self):
        self.started()
        before = identity(self.path)
        second = self.service()
        error = self.assertRaises(SocketInUse, second.startService)
        self.assertEqual(error.path, self.path)
        self.assertFalse(second.running)
        self.assertEqual(identity(self.path), before)
        await self.assert_serves()

    async def test_a_start_that_failed_can_be_tried_again(self):
        first = self.started()
        second = self.service()
        self.assertRaises(SocketInUse, second.startService)
        await first.stopService()
        second.startService()
        await self.assert_serves()

    def test_a_start_that_fails_leaves_nothing_behind(self):
        os.mkdir(self.path)
        before = descriptors(os.getpid()) if os.path.isdir("/proc/self/fd") else []
        self.assertRaises(SocketFileError, self.service().startService)
        self.assertEqual(os.listdir(self.directory), ["s.sock"])
        if before:
            self.assertEqual(descriptors(os.getpid()), before)

    async def test_a_bind_that_fails_gives_the_path_up(self):
        control = self.service()

        def cannot_bind(_: SocketFile) -> ListeningSocket:
            raise SocketFileError(self.path, "as the test wants it")

        patch = self.patch(SocketFile, "bind", cannot_bind)
        self.assertRaises(SocketFileError, control.startService)
        patch.restore()
        self.started()
        await self.assert_serves()

    async def test_a_path_may_be_an_object(self):
        self.started(pathlib.PurePath(self.path))
        await self.assert_serves()

    def test_a_senseless_argument_is_refused_before_anything_is_made(self):
        endpoint = TCP4ServerEndpoint(reactor, 0)
        octal = 'mode: expected an octal string from "0600" to "0666", not'
        for given, text in (
            ({"path": self.path, "endpoint": endpoint}, "give a path or an endpoint, not both"),
            ({"path": self.path, "mode": 0o777}, f"{octal} 511"),
            ({"path": self.path, "mode": 0o400}, f"{octal} 256"),
            ({"endpoint": "nonsense:1"}, "Unknown endpoint type: 'nonsense'"),
            ({"endpoint": 5}, "endpoint: expected one, or the description of one, not 5"),
            ({"path": 5}, "path: expected a string or a path, not 5"),
            ({"path": b"s.sock"}, "path: expected a string or a path, not b's.sock'"),
        ):
            error = self.assertRaises(ValueError, ControlService, self.state, **given)
            self.assertEqual(str(error), text)
        self.assertRaises(PathError, ControlService, self.state, self.at("x" * 110))
        for limits in (5, (5.0, 30.0, 512), None):
            self.assertRaises(TypeError, ControlService, self.state, self.path, limits=limits)
        self.assertEqual(os.listdir(self.directory), [])


class StopTests(ServiceTestCase):
    async def test_a_stop_leaves_only_the_lock_file(self):
        await self.started().stopService()
        self.assertEqual(os.listdir(self.directory), ["s.sock.lock"])

    async def test_a_stopped_service_can_be_started_again(self):
        control = self.started()
        await control.stopService()
        control.startService()
        await self.assert_serves()

    async def test_a_service_can_be_stopped_twice(self):
        control = self.started()
        await self.soon(control.stopService())
        await self.soon(control.stopService())

    async def test_an_application_stops_though_its_control_was_stopped_before(self):
        application = MultiService()
        control = self.service()
        control.setServiceParent(application)
        application.startService()
        await self.soon(control.stopService())
        await self.soon(application.stopService())

    async def test_a_stop_may_be_asked_for_again_before_it_is_done(self):
        control = self.started()
        client = self.connect()
        client.sendall(b"PAUSE\n")
        await self.until(lambda: self.state.under_way)
        both = [control.stopService(), control.stopService()]
        self.state.under_way[0].callback(None)
        for stopped in both:
            await self.soon(stopped)
        self.assertEqual(read_all(client), b"OK\n")

    async def test_a_service_that_never_ran_can_be_stopped(self):
        await self.soon(self.service().stopService())

    async def test_a_service_whose_start_failed_can_be_stopped(self):
        os.mkdir(self.path)
        control = self.service()
        self.assertRaises(SocketFileError, control.startService)
        await self.soon(control.stopService())
        self.assertTrue(os.path.isdir(self.path))

    async def test_a_client_that_connected_before_the_stop_is_answered(self):
        control = self.started()
        client = self.connect()
        client.sendall(b"STATUS\n")
        await control.stopService()
        self.assertTrue(read_all(client).startswith(STATUS))

    async def test_all_that_connected_before_the_stop_are_answered(self):
        allow_descriptors(self, 2 * BACKLOG)
        control = self.started()
        clients = [self.connect() for _ in range(BACKLOG)]
        for client in clients:
            client.sendall(b"STATUS\n")
        await control.stopService()
        for client in clients:
            self.assertTrue(read_all(client).startswith(STATUS))

    async def test_idle_clients_are_sent_away_at_once(self):
        self.patch(protocol, "REPLY_GRACE", 0.1)
        control = self.started()
        idle = [self.connect() for _ in range(20)]
        await self.assert_serves()
        await control.stopService()
        self.assertEqual([read_all(client) for client in idle], [STOPPING] * 20)

    async def test_a_client_in_the_middle_of_its_command_does_not_hold_the_stop_up(self):
        self.patch(protocol, "REPLY_GRACE", 0.1)
        control = self.started()
        client = self.connect()
        client.sendall(b"STAT")
        await self.until(lambda: any(c._buffer for c in control.factory._clients))
        began = reactor.seconds()
        await control.stopService()
        self.assertEqual(read_all(client), STOPPING)
        self.assertLess(reactor.seconds() - began, 1.5)

    async def test_a_command_under_way_has_time_to_end(self):
        control = self.started()
        client = self.connect()
        client.sendall(b"PAUSE\n")
        await self.until(lambda: self.state.under_way)
        stopped = control.stopService()
        self.assertNoResult(stopped)
        self.assertFalse(os.path.lexists(self.path))
        self.state.under_way[0].callback(None)
        await stopped
        self.assertEqual(read_all(client), b"OK\n")

    async def test_a_command_that_does_not_end_is_given_up(self):
        control = self.started()
        client = self.connect()
        client.sendall(b"PAUSE\n")
        await self.until(lambda: self.state.under_way)
        self.patch(protocol, "GRACE", 0.1)
        await control.stopService()
        self.assertEqual(read_all(client), STOPPING)

    async def test_the_path_is_not_free_before_the_commands_are_done(self):
        control = self.started()
        client = self.connect()
        client.sendall(b"PAUSE\n")
        await self.until(lambda: self.state.under_way)
        stopped = control.stopService()
        self.assertRaises(SocketInUse, self.service().startService)
        self.state.under_way[0].callback(None)
        await stopped
        self.started()
        await self.assert_serves()

    async def test_a_start_before_the_stop_is_done_is_a_whole_start(self):
        control = self.started()
        client = self.connect()
        client.sendall(b"PAUSE\n")
        await self.until(lambda: self.state.under_way)
        self.patch(protocol, "GRACE", 0.3)
        self.patch(protocol, "REPLY_GRACE", 0.1)
        stopped = control.stopService()
        control.startService()
        await self.assert_serves()
        self.state.under_way[0].callback(None)
        await self.soon(stopped)
        self.assertEqual(read_all(client), b"OK\n")
        # Neither the end of the stop nor its deadlines may take anything from the new run.
        os.rename(self.path, self.at("aside.sock"))
        # Its lock alone keeps others away now.
        self.assertRaises(SocketInUse, self.service().startService)
        os.rename(self.at("aside.sock"), self.path)
        newcomer = self.connect()
        newcomer.sendall(b"PAUSE\n")
        await deferLater(reactor, 0.5)
        self.state.under_way[1].callback(None)
        self.assertEqual(await deferToThread(read_all, newcomer), b"OK\n")

    async def test_a_socket_replaced_by_somebody_elses_is_left_alone(self):
        control = self.started()
        os.unlink(self.path)
        theirs = listen_at(self.path)
        self.addCleanup(theirs.close)
        before = identity(self.path)
        await control.stopService()
        self.assertEqual(identity(self.path), before)

    async def test_a_socket_that_vanished_is_no_trouble(self):
        control = self.started()
        shutil.rmtree(self.directory)
        await control.stopService()
        self.assertFalse(os.path.lexists(self.directory))

    async def test_a_thousand_starts_and_stops_leave_no_descriptor(self):
        control = self.service()
        before = None
        for times in range(1000):
            control.startService()
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
                client.connect(self.path)
                client.sendall(b"STATUS\n")
                await control.stopService()
            if times == 0 and os.path.isdir("/proc/self/fd"):
                before = len(descriptors(os.getpid()))
        self.assertEqual(os.listdir(self.directory), ["s.sock.lock"])
        if before is not None:
            self.assertLessEqual(len(descriptors(os.getpid())), before + 2)

    async def test_a_stop_while_descriptors_are_short_leaves_nothing_to_come(self):
        self.patch(transport, "RETRY_INTERVAL", 0.1)
        control = self.started()
        accept = ListeningSocket.accept

        def exhausted(_: ListeningSocket) -> Any:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

        self.patch(ListeningSocket, "accept", exhausted)
        client = self.connect()
        await self.until(lambda: self.logged("Clients have to wait"))
        await control.stopService()
        client.close()
        self.patch(ListeningSocket, "accept", accept)
        await deferLater(reactor, 0.2)
        self.assertEqual(self.logged("Clients have to wait"), 1)

    async def test_a_directory_that_keeps_out_whom_the_mode_lets_in_is_told_of(self):
        os.chmod(self.directory, 0o700)
        self.started(mode=0o666)
        self.assertEqual(self.logged("keeps them out"), 1)


class CheckTests(ServiceTestCase):
    """A socket that disappears is made again."""

    def setUp(self) -> None:
        super().setUp()
        self.patch(fileport, "CHECK_INTERVAL", 0.02)

    async def test_a_deleted_socket_is_bound_anew(self):
        control = self.started()
        os.unlink(self.path)
        await self.until(lambda: os.path.lexists(self.path))
        await self.assert_serves()
        self.assertEqual(self.logged("was deleted: bound it anew"), 1)
        self.assertEqual(stat.S_IMODE(os.lstat(self.path).st_mode), 0o600)
        await control.stopService()
        self.assertEqual(os.listdir(self.directory), ["s.sock.lock"])

    async def test_a_socket_that_cannot_be_looked_at_is_not_taken_for_deleted(self):
        self.started()
        lstat = os.lstat

        def refuse(path, *rest):
            if path == self.path:
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            return lstat(path, *rest)

        # Not by the directory's mode: root may look everywhere.
        self.patch(os, "lstat", refuse)
        await self.until(lambda: self.logged("cannot be checked"))
        self.patch(os, "lstat", lstat)
        with open(f"{self.path}.lock", "rb") as lock:
            self.assertRaises(BlockingIOError, fcntl.flock, lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.assertEqual(self.logged("was deleted"), 0)

    async def test_a_socket_is_bound_anew_each_time_it_is_deleted(self):
        self.started()
        for _ in range(20):
            os.unlink(self.path)
            await self.until(lambda: os.path.lexists(self.path))
            await self.assert_serves()
        self.assertEqual(self.logged("was deleted: bound it anew"), 20)

    async def test_clients_of_the_deleted_socket_are_served(self):
        self.started()
        client = self.connect()
        await self.assert_serves()
        os.unlink(self.path)
        await self.until(lambda: os.path.lexists(self.path))
        client.sendall(b"STATUS\n")
        answer = await deferToThread(read_all, client)
        self.assertTrue(answer.startswith(STATUS), answer)

    async def test_a_socket_is_bound_anew_if_its_directory_was_deleted(self):
        self.started(self.at("sub", "s.sock"))
        shutil.rmtree(self.at("sub"))
        await self.until(lambda: os.path.lexists(self.at("sub", "s.sock")))
        await self.assert_serves(self.at("sub", "s.sock"))
        self.assertEqual(stat.S_IMODE(os.stat(self.at("sub")).st_mode), 0o700)
        # The lock is ours again too.
        second = self.service(self.at("sub", "s.sock"))
        self.assertRaises(SocketInUse, second.startService)

    async def test_what_replaced_the_socket_is_left_alone_and_told_of_once(self):
        self.started()
        os.unlink(self.path)
        self.write("s.sock", "theirs")
        before = identity(self.path)
        await self.until(lambda: self.logged("something else is at"))
        await deferLater(reactor, 0.2)
        self.assertEqual(identity(self.path), before)
        self.assertEqual(self.logged("something else is at"), 1)
        os.unlink(self.path)
        await self.until(lambda: os.path.lexists(self.path))
        await self.assert_serves()

    async def test_a_stale_socket_that_replaced_the_socket_is_removed(self):
        self.started()
        os.unlink(self.path)
        leave_stale(self.path)
        await self.until(lambda: self.logged("a socket that is stale: bound it anew"))
        await self.assert_serves()

    async def test_a_directory_that_became_a_file_does_not_end_the_watch(self):
        self.started(self.at("sub", "s.sock"))
        shutil.rmtree(self.at("sub"))
        self.write("sub", "in the way")
        await self.until(lambda: self.logged("No client can connect"))
        os.unlink(self.at("sub"))
        await self.until(lambda: os.path.lexists(self.at("sub", "s.sock")))
        await self.assert_serves(self.at("sub", "s.sock"))

    async def test_a_lack_of_descriptors_does_not_end_the_watch(self):
        self.started()
        tries = []

        def exhausted(*_: object, **__: object) -> ListeningSocket:
            tries.append(None)
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

        patch = self.patch(socketfile_module, "ListeningSocket", exhausted)
        os.unlink(self.path)
        await self.until(lambda: tries)
        patch.restore()
        await self.until(lambda: os.path.lexists(self.path))
        await self.assert_serves()

    async def test_a_path_that_another_daemon_took_meanwhile_stays_theirs(self):
        control = self.started()
        other = SocketFile(self.path)
        self.addCleanup(other.release)
        os.unlink(self.path)
        os.unlink(f"{self.path}.lock")
        other.claim()
        await self.until(lambda: self.logged("in use by"))
        self.addCleanup(other.bind().close)
        before = identity(self.path)
        await self.until(lambda: self.logged("something else is at"))
        await control.stopService()
        self.assertEqual(identity(self.path), before)

    async def test_nothing_is_checked_after_a_stop(self):
        control = self.started()
        await control.stopService()
        await deferLater(reactor, 0.1)
        self.assertFalse(os.path.lexists(self.path))


@implementer(IStreamServerEndpoint)
class Endpoint:
    """An endpoint that answers what the test wants."""

    def __init__(self, answer: Deferred[Any]) -> None:
        self.answer = answer

    def listen(self, _: Any) -> Deferred[Any]:
        return self.answer


class EndpointTests(ServiceTestCase):
    async def test_any_endpoint_can_be_served(self):
        control = self.started(endpoint=TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1"))
        port = control._port.getHost().port

        def ask_over_tcp() -> bytes:
            with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
                connection.sendall(b"STATUS\n")
                return read_all(connection)

        self.assertTrue((await deferToThread(ask_over_tcp)).startswith(STATUS))
        await control.stopService()

    def test_an_endpoint_that_cannot_listen_fails_the_start(self):
        control = self.service(endpoint=Endpoint(fail(OSError("as the test wants it"))))
        self.assertRaises(OSError, control.startService)
        self.assertFalse(control.running)

    async def test_an_endpoint_that_fails_later_is_logged(self):
        later: Deferred[Any] = Deferred()
        self.started(endpoint=Endpoint(later))
        later.errback(OSError("as the test wants it"))
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)
        self.assertEqual(self.logged("Cannot listen"), 1)

    async def test_a_stop_before_the_endpoint_listens_ends_the_attempt(self):
        cancelled: list[Any] = []
        control = self.started(endpoint=Endpoint(Deferred(cancelled.append)))
        await self.soon(control.stopService())
        self.assertEqual(len(cancelled), 1)

    async def test_an_endpoint_that_listens_after_the_stop_is_closed(self):
        later: Deferred[Any] = Deferred(lambda _: None)
        control = self.started(endpoint=Endpoint(later))
        await self.soon(control.stopService())

        class Port:
            stopped = False

            def getHost(self) -> str:
                return "here"

            def stopListening(self) -> Deferred[None]:
                self.stopped = True
                return succeed(None)

        port = Port()
        if not later.called:
            later.callback(port)
            self.assertTrue(port.stopped)

    def inherited(self) -> tuple[socket.socket, AdoptedStreamServerEndpoint]:
        listening = listen_at(self.path)
        self.addCleanup(listening.close)
        os.chmod(self.path, 0o640)
        endpoint = AdoptedStreamServerEndpoint(reactor, listening.fileno(), socket.AF_UNIX)
        return listening, endpoint

    async def test_an_inherited_socket_is_served_and_keeps_its_file_and_mode(self):
        _, endpoint = self.inherited()
        before = identity(self.path)
        control = self.started(endpoint=endpoint)
        await self.assert_serves()
        await control.stopService()
        self.assertEqual(identity(self.path), before)
        self.assertEqual(os.listdir(self.directory), ["s.sock"])

    async def test_an_inherited_socket_can_be_served_again(self):
        _, endpoint = self.inherited()
        control = self.started(endpoint=endpoint)
        for _ in range(3):
            await self.assert_serves()
            await control.stopService()
            control.startService()
        await self.assert_serves()

    async def test_who_waits_at_an_inherited_socket_is_left_to_the_next(self):
        _, endpoint = self.inherited()
        control = self.started(endpoint=endpoint)
        client = self.connect()
        client.sendall(b"STATUS\n")
        await control.stopService()
        client.setblocking(False)
        self.assertRaises(BlockingIOError, client.recv, 1)
        client.settimeout(PATIENCE)
        control.startService()
        answer = await deferToThread(read_all, client)
        self.assertTrue(answer.startswith(STATUS), answer)


class LimitTests(ServiceTestCase):
    async def test_limits_can_change_while_it_runs(self):
        control = self.started(limits=Limits(max_connections=1))
        first = self.connect()
        await self.until(lambda: control.factory._clients)
        self.assertEqual(await self.ask(), b"ERR: Too many connections\n")
        control.configure(Limits(timeout=0.2, handler_timeout=0.2, max_connections=2))
        await self.assert_serves()
        second = self.connect()
        self.assertEqual(await deferToThread(read_all, second), b"ERR: Connection timeout\n")
        first.close()
        answer = await self.ask(b"PAUSE\n")
        self.assertEqual(answer, b"ERR: PAUSE is not done after 0.2 seconds\n")
        self.state.under_way[0].callback(None)
        self.assertEqual(self.logged("PAUSE by uid"), 1)

    async def test_a_reload_of_the_service_waits_for_those_of_clients(self):
        control = self.started()
        client = self.connect()
        client.sendall(b"RELOAD\n")
        await self.until(lambda: self.state.under_way)
        own = control.reload()
        self.assertEqual(len(self.state.under_way), 1)
        self.state.under_way[0].callback(None)
        self.assertEqual(await deferToThread(read_all, client), b"OK\n")
        self.assertNoResult(own)
        self.state.under_way[1].callback(None)
        self.assertIsNone(await own)
        self.assertEqual(self.logged("RELOAD by the daemon itself"), 1)

    @needs_root
    async def test_root_is_served_whoever_the_daemon_is(self):
        self.patch(os, "geteuid", lambda: NOBODY)
        self.started(endpoint=self._endpoint_for_all())
        await self.assert_serves()

    def _endpoint_for_all(self) -> AdoptedStreamServerEndpoint:
        listening = listen_at(self.path)
        self.addCleanup(listening.close)
        return AdoptedStreamServerEndpoint(reactor, listening.fileno(), socket.AF_UNIX)
