"""A port that keeps its path: a socket whose file is deleted is bound anew."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, cast

from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import ServerFactory
from twisted.internet.task import LoopingCall
from zope.interface import implementer

from palingenesis.server.interfaces import Reactor
from palingenesis.server.log import get_logger
from palingenesis.server.socketfile import PathState, SocketFile, SocketFileError
from palingenesis.server.transport import ControlPort
from palingenesis.text import printable

#: Seconds from one check whether the socket is still at its path to the next.
CHECK_INTERVAL = 2.0

_log = get_logger(__name__)


@implementer(IListeningPort)
class FilePort:
    """
    Listens at a path, and checks every `CHECK_INTERVAL` seconds that its socket is still there.

    The port of Twisted's own endpoint unlinks whatever is at the path.

    :param reactor: what to run on.
    :param factory: started and stopped with the port.
    :param file: the path, which `startListening` claims unless it is claimed already. It stays
        claimed after a stop, until its `release` is called.
    :param serve: called with each accepted connection, which it must close.
    """

    def __init__(
        self,
        reactor: Reactor,
        factory: ServerFactory,
        file: SocketFile,
        serve: Callable[[socket.socket], None],
    ) -> None:
        self.file = file
        self._reactor = reactor
        self._factory = factory
        self._serve = serve
        self._port: ControlPort | None = None
        self._checks = LoopingCall(self._check)
        self._checks.clock = cast(Any, reactor)
        self._warning: str | None = None

    def startListening(self) -> None:
        """
        Claim the path, and listen.

        :raises SocketFileError: if the path cannot be claimed or bound. The claim has been
            rolled back.
        """
        try:
            self._port = self._bind()
        except BaseException:
            self.file.roll_back()
            raise
        checking = self._checks.start(CHECK_INTERVAL, now=False)
        checking.addErrback(lambda failure: _log.failure("The checks ended", failure))

    def stopListening(self) -> Deferred[None]:
        assert self._port is not None  # noqa: S101 - it listens
        if self._checks.running:
            self._checks.stop()
        self.file.remove()
        return self._port.stopListening()

    def getHost(self) -> UNIXAddress:
        return UNIXAddress(self.file.path)

    def forget(self) -> None:
        """In a forked child: close its copy of the parent's socket, and change nothing."""
        if self._checks.running:
            # Otherwise, a child that runs the reactor would bind the path anew.
            self._checks.stop()
        if self._port is not None:
            self._port.forget()
        self.file.forget()

    def _bind(self) -> ControlPort:
        file = self.file
        file.claim()
        port = ControlPort(self._reactor, self._factory, file.bind(), self._serve)
        if file.moved is not None:
            _log.warn(
                "A file was at {path}: moved it to {moved}",
                path=printable(file.path),
                moved=printable(file.moved),
            )
            file.moved = None
        if file.closed_directory is not None:
            _log.warn(
                "The mode {mode:04o} of {path} lets in other users, but the directory "
                "{directory} keeps them out",
                mode=file.mode,
                path=printable(file.path),
                directory=printable(file.closed_directory),
            )
        try:
            port.startListening()
        except BaseException:
            port.connectionLost()
            file.remove()
            raise
        return port

    def _check(self) -> None:
        file = self.file
        state = file.check()
        if state is PathState.OURS:
            self._warning = None
        elif state is PathState.UNREADABLE:
            self._report(f"{file.path} cannot be checked; see who may search its directory")
        elif state is PathState.GONE:
            self._bind_anew("was deleted")
        elif file.take_back():
            self._bind_anew("was replaced by a socket that is stale")
        else:
            self._report(f"something else is at {file.path}; it is left alone")

    def _bind_anew(self, why: str) -> None:
        """Bind a socket whose path was lost; existing connections stay open."""
        path = self.file.path
        try:
            port = self._bind()
        except SocketFileError as error:
            self._report(f"{path} {why}, and {error.reason}")
            return
        _log.warn("{path} {why}: bound it anew", path=printable(path), why=why)
        old, self._port = self._port, port
        if old is not None:
            old.stopListening()

    def _report(self, warning: str) -> None:
        if warning != self._warning:
            self._warning = warning
            _log.error("No client can connect: {why}", why=printable(warning))
