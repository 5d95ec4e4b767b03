"""The control socket as a service: what an application adds to have one."""

from __future__ import annotations

import os
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.python.failure import Failure

from palingenesis.config import DEFAULTS, Limits, check_mode
from palingenesis.locate import locate_socket
from palingenesis.procfs import Credentials
from palingenesis.server.commands import CommandTable
from palingenesis.server.endpoints import FileEndpoint, make_endpoint
from palingenesis.server.extensible import Extensible
from palingenesis.server.fileport import FilePort
from palingenesis.server.forks import started_here
from palingenesis.server.interfaces import Controllable, check_state
from palingenesis.server.log import get_logger
from palingenesis.server.protocol import ControlFactory
from palingenesis.server.socketfile import SocketFile
from palingenesis.server.transport import ControlPort
from palingenesis.text import printable

_log = get_logger(__name__)


class ControlService(Extensible, Service):
    """
    Serves the control socket of a daemon.

    Starting it claims the path, and listens; a socket whose file is deleted is bound anew within
    seconds. Stopping it removes the file if it is still ours, disconnects idle clients, and gives
    commands under way two seconds. It can be started again.

    Its deadlines are as reliable as the reactor's clock. Twisted's reactors use the wall
    clock (twisted/twisted#2424); `palingenesis.server.clock.use_monotonic_time` changes that.

    :param state: the daemon: an object with the four methods of `IDaemonState`.
    :param path: the socket's path, or a `SocketFile`, which may be claimed already; if None,
        the same default that clients use.
    :param endpoint: what to listen on instead of a path: an ``IStreamServerEndpoint``, or
        the description of one. An inherited socket, as from
        ``systemd:domain=UNIX:index=0``, is served and never unlinked. Other endpoints behave
        as Twisted's do, and have no peers unless they are Unix sockets.
    :param reactor: what to run on; the global reactor if None.
    :param mode: permission bits of the socket, a number or octal digits: ``0o600`` or
        ``"0600"``. Bits beyond the owner's let other users in. A `SocketFile` has its own.
    :param limits: the limits of its clients.
    :raises TypeError: if the state lacks a method, or the limits are no `Limits`.
    :raises ValueError: if another argument is out of range, or both ``path`` and
        ``endpoint`` are given.
    :raises palingenesis.paths.PathError: if the path cannot name a socket.
    """

    # Twisted's StreamServerEndpointService does not fit: it listens before twistd changes to
    # another user, keeps its port to itself, and so cannot bind a deleted socket anew.

    def __init__(
        self,
        state: Controllable,
        path: str | os.PathLike[str] | SocketFile | None = None,
        *,
        endpoint: IStreamServerEndpoint | str | None = None,
        reactor: Any = None,
        mode: int | str = DEFAULTS.mode,
        limits: Limits = DEFAULTS.limits,
    ) -> None:
        check_state(state)
        if path is not None and endpoint is not None:
            raise ValueError("give a path or an endpoint, not both")
        bits = check_mode("mode", mode)
        if reactor is None:
            from twisted.internet import reactor
        self._file: SocketFile | None = None
        self._endpoint: IStreamServerEndpoint
        if endpoint is None:
            self._file = path if isinstance(path, SocketFile) else _socket_file(path, bits)
            bits = self._file.mode
            self._endpoint = FileEndpoint(reactor, self._file)
        else:
            self._endpoint = make_endpoint(reactor, endpoint)
        commands = CommandTable(state, reactor)
        super().__init__(ControlFactory(commands, reactor, admit_others=bits & 0o077 != 0))
        self.configure(limits)
        self._listening: Deferred[Any] | None = None
        self._port: IListeningPort | None = None

    def setServiceParent(self, parent: Any) -> None:
        """
        Add the service to an application, or to another collection of services.

        :param parent: what ``twisted.application.service.Application`` returns, or any
            ``IServiceCollection``.
        """
        super().setServiceParent(parent)

    def startService(self) -> None:
        """
        Start listening.

        :raises palingenesis.server.socketfile.SocketFileError: if the path cannot be claimed.
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
            failed_at_once[0].raiseException()
        self.factory.commands.start_clock()
        started_here.add(self)
        super().startService()

    def stopService(self) -> Deferred[None]:
        """
        Stop listening, and disconnect the clients.

        :returns: a Deferred that fires when all are gone and the path is free: within two
            and a half seconds, and within half a second if no command is under way.
        """
        super().stopService()
        if self._listening is not None:
            self._listening.cancel()
        port = self._port
        stopped = succeed(None) if port is None else maybeDeferred(port.stopListening)
        self._port = None
        stopped.addCallback(lambda _: self.factory.stop())
        return stopped.addBoth(self._release)

    def configure(self, limits: Limits) -> None:
        """
        Change the limits, for the clients and commands that come after.

        :raises TypeError: if they are no `Limits`.
        """
        if not isinstance(limits, Limits):
            raise TypeError(f"limits: expected Limits, not {limits!r}")
        self.factory.commands.limits = limits

    @property
    def peer(self) -> Credentials | None:
        """
        The client whose command the calling code carries out.

        It belongs to the call: a handler sees it until it ends, also after an ``await`` or a
        ``yield``, whatever runs beside it. It is None outside of a handler, in a callback of
        a Deferred, for a RELOAD of the daemon's own, and if the kernel does not name the
        client.
        """
        return self.factory.commands.peer

    def reload(self) -> Deferred[None]:
        """
        Run RELOAD as for a client, after those that are under way.

        :returns: a Deferred of None. It fails with what the state raised, a `CommandRefused`
            for example, or with ``TimeoutError`` after ``handler_timeout`` seconds. The
            outcome has then been logged.
        """
        return self.factory.commands.reload()

    def _started(self, port: IListeningPort) -> None:
        self._port = port
        where = port.getHost() if self._file is None else printable(self._file.path)
        _log.info("Listening on {where}", where=where)

    def _release(self, result: Any = None) -> Any:
        # Not if it has been started again before all clients were gone.
        if not self.running:
            started_here.discard(self)
            if self._file is not None:
                self._file.release()
        return result

    def forget(self) -> None:
        """In a forked child: close what is the parent's, and change nothing."""
        port: Any = self._port
        if isinstance(port, FilePort | ControlPort):
            port.forget()
        elif (listening := getattr(port, "socket", None)) is not None:
            # The port of another endpoint: one of Twisted's own.
            listening.close()
        for client in self.factory.connections():
            client.forget()
        if self._file is not None:
            # After a stop too, until it is released.
            self._file.forget()


def _socket_file(path: str | os.PathLike[str] | None, mode: int) -> SocketFile:
    if path is None:
        return SocketFile(locate_socket().path, mode)
    text = os.fspath(path) if isinstance(path, os.PathLike) else path
    if not isinstance(text, str):
        raise ValueError(f"path: expected a string or a path, not {path!r}")
    return SocketFile(text, mode)
