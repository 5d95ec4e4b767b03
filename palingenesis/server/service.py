"""The control socket as a service: what an application adds to have one."""

from __future__ import annotations

import os
import re
import socket
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, execute, maybeDeferred, succeed
from twisted.internet.endpoints import (
    AdoptedStreamServerEndpoint,
    UNIXServerEndpoint,
    serverFromString,
)
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.internet.protocol import ServerFactory
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure
from zope.interface import implementer

from palingenesis.config import check_mode
from palingenesis.locate import locate_socket
from palingenesis.server.interfaces import IDaemonState
from palingenesis.server.log import get_logger
from palingenesis.server.protocol import ControlFactory
from palingenesis.server.socketfile import BACKLOG, PathState, SocketFile, SocketFileError
from palingenesis.server.transport import ControlPort, ListeningSocket
from palingenesis.text import printable

#: How much of a path, or of what is wrong with it, is logged, in characters.
SHOWN_LIMIT = 300
#: Seconds between two looks whether the socket is still at its path.
CHECK_INTERVAL = 2.0
#: The first descriptor that systemd hands over, sd_listen_fds(3).
SD_LISTEN_FDS_START = 3

_SYSTEMD_UNIX = re.compile(r"systemd:domain=UNIX:index=(\d+)")

_log = get_logger(__name__)


class ControlService(Service):
    """
    Serves the control socket of a daemon.

    Starting it claims the path, listens, and looks after the file: a socket that somebody
    deletes is bound anew. Stopping it removes the file if it is still ours, sends idle
    clients away, and gives commands under way two seconds. It can be started again.

    :param state: the daemon, an `IDaemonState`.
    :param path: the socket's path, or a `SocketFile`, which may be claimed already; where
        None, the same default that clients use.
    :param endpoint: listen on this instead of a path: an ``IStreamServerEndpoint``, or the
        description of one. A socket that was inherited, as from
        ``systemd:domain=UNIX:index=0``, is served and never unlinked. Other endpoints keep
        Twisted's own manners, and know no peers unless they are Unix sockets.
    :param reactor: what to run on; the global reactor where None.
    :param mode: permission bits of the socket; bits beyond 0600 let other users in. A
        `SocketFile` has its own.
    :param timeout: seconds a client has to send its command, and again to take the reply.
    :param handler_timeout: seconds a command may take before its client is told so.
    :param max_connections: clients served at once.
    :raises ValueError: when ``mode`` makes no sense, or ``path`` and ``endpoint`` are given.
    :raises palingenesis.paths.PathError: when the path cannot name a socket.
    """

    def __init__(
        self,
        state: IDaemonState,
        path: str | SocketFile | None = None,
        *,
        endpoint: IStreamServerEndpoint | str | None = None,
        reactor: Any = None,
        mode: int = 0o600,
        timeout: float = 5.0,
        handler_timeout: float = 30.0,
        max_connections: int = 512,
    ) -> None:
        if reactor is None:
            from twisted.internet import reactor
        if path is not None and endpoint is not None:
            raise ValueError("give a path or an endpoint, not both")
        check_mode("mode", mode)
        self._reactor = reactor
        self._file: SocketFile | None = None
        self._endpoint: IStreamServerEndpoint
        if endpoint is None:
            if not isinstance(path, SocketFile):
                path = SocketFile(path or locate_socket().path, mode)
            mode = path.mode
            self._file = path
            self._endpoint = UNIXServerEndpoint(
                _FileListener(reactor, path), path.path, BACKLOG, path.mode
            )
        else:
            self._endpoint = _make_endpoint(reactor, endpoint)
        self.factory = ControlFactory(
            state,
            reactor,
            timeout=timeout,
            handler_timeout=handler_timeout,
            max_connections=max_connections,
            admit_others=mode & 0o077 != 0,
        )
        self._listening: Deferred[Any] | None = None
        self._port: IListeningPort | None = None
        self._checks = LoopingCall(self._check_file, self._file)
        self._checks.clock = reactor
        self._trouble: str | None = None

    def startService(self) -> None:
        """
        Start to listen.

        :raises palingenesis.server.socketfile.SocketFileError: when the path cannot be had.
        """
        failed_at_once: list[Failure] = []

        def failed(failure: Failure) -> None:
            if not self.running:
                failed_at_once.append(failure)
            elif not failure.check(CancelledError):
                _log.failure("Cannot listen", failure)

        self._listening = self._endpoint.listen(self.factory)
        self._listening.addCallbacks(self._started, failed)
        if failed_at_once:
            if self._file is not None:
                self._file.roll_back()
            failed_at_once[0].raiseException()
        super().startService()

    def stopService(self) -> Deferred[None]:
        """
        Stop to listen and see the clients off.

        :returns: a Deferred that fires when all are gone and the path is free: within two
            and a half seconds, and at once where no command is under way.
        """
        super().stopService()
        if self._listening is not None:
            self._listening.cancel()
        if self._checks.running:
            self._checks.stop()
        if self._file is not None:
            self._file.remove()
        port, self._port = self._port, None
        stopped = succeed(None) if port is None else maybeDeferred(port.stopListening)
        stopped.addCallback(lambda _: self.factory.stop())
        return stopped.addBoth(self._release)

    def configure(self, *, timeout: float, handler_timeout: float, max_connections: int) -> None:
        """Change the limits, for the clients that come from now on."""
        self.factory.timeout = timeout
        self.factory.handler_timeout = handler_timeout
        self.factory.max_connections = max_connections

    def reload(self) -> Deferred[bytes]:
        """
        Do what a client's ``RELOAD`` does, after those that are under way.

        :returns: a Deferred of the reply a client would have had; it never fails.
        """
        return self.factory.reload()

    def _started(self, port: IListeningPort) -> None:
        self._port = port
        if self._file is not None:
            checking = self._checks.start(CHECK_INTERVAL, now=False)
            checking.addErrback(lambda failure: _log.failure("The watch ended", failure))
        where = port.getHost() if self._file is None else printable(self._file.path, SHOWN_LIMIT)
        _log.info("Listening on {where}", where=where)

    def _release(self, result: Any = None) -> Any:
        # Not where it has been started again before all clients were gone.
        if self._file is not None and not self.running:
            self._file.release()
        return result

    def _check_file(self, file: SocketFile) -> None:
        state = file.check()
        if state is PathState.OURS:
            self._trouble = None
        elif state is PathState.REPLACED:
            self._report(f"something else is at {file.path} now; it is left alone")
        elif state is PathState.UNREADABLE:
            self._report(f"{file.path} cannot be looked at; see who may search its directory")
        else:
            self._bind_anew(file)

    def _bind_anew(self, file: SocketFile) -> None:
        """Bind a socket that was deleted; who is connected to the old one stays so."""
        try:
            if not file.locked:
                file.release()
            port = _FileListener(self._reactor, file).listenUNIX(file.path, self.factory)
        except SocketFileError as error:
            self._report(f"{file.path} was deleted, and {error.reason}")
            return
        _log.warn("{path} was deleted: bound it anew", path=printable(file.path, SHOWN_LIMIT))
        old, self._port = self._port, port
        if old is not None:
            old.stopListening()

    def _report(self, trouble: str) -> None:
        if trouble != self._trouble:
            self._trouble = trouble
            _log.error("No client can connect: {why}", why=printable(trouble, SHOWN_LIMIT))


class _FileListener:
    """The one thing a ``UNIXServerEndpoint`` asks of a reactor, done with a `SocketFile`."""

    def __init__(self, reactor: Any, file: SocketFile) -> None:
        self._reactor = reactor
        self._file = file

    def listenUNIX(
        self,
        address: str,  # noqa: ARG002
        factory: ServerFactory,
        backlog: int = BACKLOG,  # noqa: ARG002
        mode: int = 0o600,  # noqa: ARG002
        wantPID: bool = False,  # noqa: ARG002, N803
    ) -> ControlPort:
        file = self._file
        file.claim()
        port = ControlPort(self._reactor, factory, file.bind())
        if file.moved is not None:
            _log.warn(
                "A file was at {path}: moved it to {moved}",
                path=printable(file.path, SHOWN_LIMIT),
                moved=printable(file.moved, SHOWN_LIMIT),
            )
            file.moved = None
        port.startListening()
        return port


@implementer(IStreamServerEndpoint)
class _InheritedEndpoint:
    """
    Listens on a Unix socket that somebody else made, bound and will unlink.

    Twisted's own endpoint for it works once only, makes the file 0666 and unlinks it.

    :raises ValueError: when the descriptor is no listening Unix socket.
    """

    def __init__(self, reactor: Any, descriptor: int) -> None:
        self._reactor = reactor
        self._descriptor = descriptor
        if not _is_listening(descriptor):
            raise ValueError(f"no listening Unix socket was inherited as descriptor {descriptor}")

    def listen(self, protocolFactory: Any) -> Deferred[IListeningPort]:
        return execute(self._listen, protocolFactory)

    def _listen(self, factory: ServerFactory) -> IListeningPort:
        listening = ListeningSocket(
            socket.AF_UNIX, socket.SOCK_STREAM, fileno=os.dup(self._descriptor)
        )
        port = ControlPort(self._reactor, factory, listening, shared=True)
        port.startListening()
        return port


def _make_endpoint(reactor: Any, given: Any) -> Any:
    if isinstance(given, str):
        if by_index := _SYSTEMD_UNIX.fullmatch(given):
            # Twisted's parser finds the socket only where LISTEN_FDNAMES is set as well. It
            # takes these variables away where they are meant for this process.
            if os.environ.get("LISTEN_PID", str(os.getpid())) != str(os.getpid()):
                raise ValueError("the inherited sockets are meant for another process")
            return _InheritedEndpoint(reactor, SD_LISTEN_FDS_START + int(by_index[1]))
        given = serverFromString(reactor, given)
    if isinstance(given, AdoptedStreamServerEndpoint) and given.addressFamily == socket.AF_UNIX:
        return _InheritedEndpoint(reactor, given.fileno)
    return given


def _is_listening(descriptor: int) -> bool:
    try:
        duplicate = socket.socket(fileno=os.dup(descriptor))
    except OSError:
        return False
    with duplicate:
        return (
            duplicate.family == socket.AF_UNIX
            and duplicate.type == socket.SOCK_STREAM
            and duplicate.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
        )
