"""The control socket as a service: what an application adds to have one."""

from __future__ import annotations

import os
from collections.abc import Callable
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
from palingenesis.server.fileport import FilePort
from palingenesis.server.forks import started_here
from palingenesis.server.interfaces import Controllable, check_state
from palingenesis.server.log import get_logger
from palingenesis.server.metrics import Metrics, Reading, check_own_name, daemon_metrics
from palingenesis.server.protocol import ControlFactory
from palingenesis.server.socketfile import SocketFile
from palingenesis.server.transport import ControlPort
from palingenesis.text import printable

_log = get_logger(__name__)


class ControlService(Service):
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
        self._metrics: Metrics | None = None
        self._commands = CommandTable(state, reactor)
        self.configure(limits)
        self.factory = ControlFactory(self._commands, reactor, admit_others=bits & 0o077 != 0)
        self._listening: Deferred[Any] | None = None
        self._port: IListeningPort | None = None

    def command(
        self,
        name: str,
        handler: Callable[..., Any],
        summary: str,
        argument: str | None = None,
        *,
        audit: bool = True,
        web: bool = False,
    ) -> None:
        """
        Add a command of the application's own; at any time, running or not.

        ::

            control.command("FLUSH", flush, "drop what waits in a queue", argument="QUEUE")

        :param name: a capital letter, then at most 31 capital letters, digits, ``_`` and
            ``-``. Clients may write it in small letters.
        :param handler: called with each argument as a string. It returns None, for which
            the client gets ``OK``, or a value fit for JSON; at once, as a Deferred, or as a
            coroutine that awaits Deferreds. To refuse, it raises `CommandRefused`.
        :param summary: what the command does, in at most 80 characters, for ``HELP``.
        :param argument: the name of its argument, formed like a command's, or several names
            with one blank between them. The last one may be in brackets: it may be left
            out, and the handler is then called without it. What a client sends is split at
            blanks, and the last argument takes the rest of the line. None if the command
            takes no argument.
        :param audit: whether the log gets a line with the outcome and the client's uid and
            pid. Use False for commands that only read.
        :param web: whether a browser's session may run it over TCP, if it may change something.
            Over a Unix socket, HTTP runs every command.
        :raises ValueError: if the name is malformed, built in or taken, if another argument
            is malformed, or if there are 200 commands already.
        """
        self._commands.register(name, handler, summary, argument, audit=audit, web=web)

    def metric(self, name: str, kind: str, help: str, read: Callable[[], Reading]) -> None:  # noqa: A002
        """
        Add a metric of the application's own.

        ::

            control.metric("jobs_waiting", "gauge", "jobs that wait", lambda: len(queue))

        :param name: as Prometheus has names; a counter's ends in ``_total``.
        :param kind: ``gauge``, ``counter`` or ``summary``.
        :param help: what is measured, with its unit, in one line.
        :param read: returns a number, or an iterable of labels and numbers:
            ``[({"queue": "mail"}, 3)]``. For a summary, each number is a pair of a sum and a
            count.
        :raises ValueError: if the name is malformed, taken or begins with ``palingenesis_``, or
            another argument is malformed.
        """
        check_own_name(name)
        self.metrics.add(name, kind, help, read)

    @property
    def metrics(self) -> Metrics:
        """The registry of metrics; commands are counted from its first use on."""
        if self._metrics is None:
            self._metrics = daemon_metrics(self.factory)
        return self._metrics

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
        self._commands.start_clock()
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
        self._commands.limits = limits

    @property
    def peer(self) -> Credentials | None:
        """
        The client whose command the calling code carries out.

        It belongs to the call: a handler sees it until it ends, also after an ``await`` or a
        ``yield``, whatever runs beside it. It is None outside of a handler, in a callback of
        a Deferred, for a RELOAD of the daemon's own, and if the kernel does not name the
        client.
        """
        return self._commands.peer

    def reload(self) -> Deferred[None]:
        """
        Run RELOAD as for a client, after those that are under way.

        :returns: a Deferred of None. It fails with what the state raised, a `CommandRefused`
            for example, or with ``TimeoutError`` after ``handler_timeout`` seconds. The
            outcome has then been logged.
        """
        return self._commands.reload()

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
