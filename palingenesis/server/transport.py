"""
A Unix listening port and its connections, made for one short exchange each.

Twisted's own ``unix.Port`` unlinks its path blindly, fails when the file is gone, makes an
inherited socket 0666, and logs a line for every client it turns away when descriptors run
out. This port leaves the file to `palingenesis.server.socketfile`.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from fcntl import ioctl
from termios import FIONREAD
from typing import Any

from twisted.internet import main
from twisted.internet.abstract import FileDescriptor
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionAborted
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IListeningPort,
    IReadDescriptor,
    ISystemHandle,
)
from twisted.internet.protocol import ServerFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from palingenesis.server.log import get_logger

#: Connections accepted before the reactor's other work has its turn.
ACCEPTS_A_TURN = 64
#: Seconds without accepting, once that fails, as it does without file descriptors.
ACCEPT_PAUSE = 0.5
#: Unread input that is swallowed before a close, in reads of 4 KiB.
SWALLOWED_READS = 1024

_READ_SIZE = 4096
_NONE_UNREAD = bytes(4)
_UNNAMED = UNIXAddress(None)
_DONE = Failure(main.CONNECTION_DONE)

_log = get_logger(__name__)


@implementer(ISystemHandle)
class Connection(FileDescriptor):
    """
    A connection that reads and writes once before it troubles the reactor.

    On a Unix socket the command has nearly always arrived by the time its connection is
    accepted, and the reply nearly always fits the send buffer: most exchanges are over
    without a turn of the reactor, which learns of the connection only where that is not so.

    :param accepted: the socket, which is the connection's to close.
    :param protocol: what to connect to it.
    :param reactor: provides ``IReactorFDSet`` and ``IReactorTime``.
    """

    reactor: Any
    fileno: Callable[[], int]
    connected = 1

    _early = True
    _wants_read = True
    _wants_write = False

    def __init__(self, accepted: socket.socket, protocol: Any, reactor: Any) -> None:
        super().__init__(reactor)
        accepted.setblocking(False)
        self.socket = accepted
        self.fileno = accepted.fileno
        self.protocol = protocol

    def begin(self) -> None:
        """Connect the protocol; then close, or have the reactor watch the socket."""
        self.protocol.makeConnection(self)
        if self.disconnecting and not self._tempDataLen:
            self.connectionLost(_DONE)
            return
        self._early = False
        if self._wants_read:
            self.startReading()
        if self._wants_write:
            self.startWriting()

    def read_early(self) -> None:
        """Read what has arrived already; to be called from ``connectionMade`` alone."""
        if self.doRead() is main.CONNECTION_DONE:
            self.stopReading()
            self.readConnectionLost(_DONE)

    def write_early(self, data: bytes) -> bool:
        """Send at once what the socket takes, and tell whether that was all of it."""
        sent = self.writeSomeData(data)
        if sent == len(data) or sent is main.CONNECTION_LOST:
            return True
        self.write(data[sent:])
        return False

    def doRead(self) -> Exception | None:
        # A plain recv(2): the kernel then discards file descriptors that a client passes.
        try:
            data = self.socket.recv(_READ_SIZE)
        except BlockingIOError:
            return None
        except OSError:
            return main.CONNECTION_LOST
        if not data:
            return main.CONNECTION_DONE
        self.protocol.dataReceived(data)
        return None

    def writeSomeData(self, data: bytes) -> Any:
        try:
            return self.socket.send(data)
        except BlockingIOError:
            return 0
        except OSError:
            return main.CONNECTION_LOST

    def startReading(self) -> None:
        if self._early:
            self._wants_read = True
        else:
            super().startReading()

    def stopReading(self) -> None:
        if self._early:
            self._wants_read = False
        else:
            super().stopReading()

    def startWriting(self) -> None:
        if self._early:
            self._wants_write = True
        else:
            super().startWriting()

    def stopWriting(self) -> None:
        if self._early:
            self._wants_write = False
        else:
            super().stopWriting()

    def abortConnection(self) -> None:
        """Close without sending what is still to be sent."""
        if self.connected:
            self.stopReading()
            self.stopWriting()
            self.reactor.callLater(0, self._abort)

    def _abort(self) -> None:
        if self.connected:
            self.connectionLost(Failure(ConnectionAborted()))

    def _closeWriteConnection(self) -> None:
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)

    def readConnectionLost(self, reason: Failure) -> None:
        if IHalfCloseableProtocol.providedBy(self.protocol):
            self.protocol.readConnectionLost()
        else:
            self.connectionLost(reason)

    def connectionLost(self, reason: Failure) -> None:
        if self._early and self.producer is None:
            # The reactor has nothing to forget.
            self.connected = 0
            self.disconnected = 1
        else:
            super().connectionLost(reason)
        # A close with unread input resets the peer, and some clients then lose the reply
        # they had already been sent.
        if ioctl(self.socket, FIONREAD, _NONE_UNREAD) != _NONE_UNREAD:
            self._swallow_input()
        self.socket.close()
        protocol = self.protocol
        # Twisted's reactors tell by the missing fileno that the descriptor is closed.
        del self.protocol, self.fileno
        protocol.connectionLost(reason)

    def _swallow_input(self) -> None:
        with suppress(OSError):
            for _ in range(SWALLOWED_READS):
                if not self.socket.recv(_READ_SIZE):
                    break

    def getHandle(self) -> socket.socket:
        return self.socket

    def getHost(self) -> UNIXAddress:
        return UNIXAddress(self.socket.getsockname())

    def getPeer(self) -> UNIXAddress:
        return UNIXAddress(self.socket.getpeername())

    def logPrefix(self) -> str:
        return self.protocol.__class__.__name__ if self.connected else "-"


class ListeningSocket(socket.socket):
    """
    A listening Unix socket.

    The standard library computes these two anew for each ``accept``, at the cost of a
    twentieth of an exchange.
    """

    family = socket.AF_UNIX
    type = socket.SOCK_STREAM


@implementer(IListeningPort, IReadDescriptor)
class ControlPort:
    """
    Accepts connections from a listening Unix socket.

    When the process runs out of file descriptors it says so once, and lets clients wait
    in the backlog until there are some again.

    :param reactor: provides ``IReactorFDSet`` and ``IReactorTime``.
    :param factory: builds the protocols.
    :param listening: the listening socket, which is the port's to close.
    :param shared: whether other processes accept from the same socket, as the one that an
        inherited socket came from may: what waits in the backlog is then left to them.
    """

    def __init__(
        self, reactor: Any, factory: ServerFactory, listening: socket.socket, shared: bool = False
    ) -> None:
        listening.setblocking(False)
        self._reactor = reactor
        self._factory = factory
        self._listening = listening
        self._shared = shared
        self._waiting = False
        self._resumption: Any = None

    def startListening(self) -> None:
        self._factory.doStart()
        self._reactor.addReader(self)

    def stopListening(self) -> Deferred[None]:
        if not self._shared:
            # Whoever connected before now is served, not reset.
            self._accept(socket.SOMAXCONN)
        self.connectionLost()
        return succeed(None)

    def getHost(self) -> UNIXAddress:
        return UNIXAddress(self._listening.getsockname())

    def fileno(self) -> int:
        return self._listening.fileno()

    def logPrefix(self) -> str:
        return self.__class__.__name__

    def connectionLost(self, reason: Failure | None = None) -> None:  # noqa: ARG002
        if self._listening.fileno() == -1:
            return
        self._reactor.removeReader(self)
        if self._resumption is not None:
            self._resumption.cancel()
            self._resumption = None
        self._listening.close()
        self._factory.doStop()

    def doRead(self) -> None:
        self._accept(ACCEPTS_A_TURN)

    def _accept(self, most: int) -> None:
        for _ in range(most):
            if self._listening.fileno() == -1:
                return
            try:
                accepted, _address = self._listening.accept()
            except BlockingIOError:
                self._waiting = False
                return
            except ConnectionAbortedError:
                continue
            except OSError as error:
                self._wait(error)
                return
            else:
                self._connect(accepted)

    def _connect(self, accepted: socket.socket) -> None:
        connection = None
        try:
            protocol = self._factory.buildProtocol(_UNNAMED)
            if protocol is None:
                accepted.close()
                return
            connection = Connection(accepted, protocol, self._reactor)
            connection.begin()
        except BaseException:
            _log.failure("A connection could not be served")
            if connection is None:
                accepted.close()
            elif connection.connected:
                connection.connectionLost(Failure())

    def _wait(self, error: OSError) -> None:
        # Nearly always it is the descriptors that have run out. Whatever it is, to try
        # again at once would spin, and to let it go to the reactor would lose the port.
        if not self._waiting:
            self._waiting = True
            _log.warn("Clients have to wait: {reason}", reason=error.strerror)
        if self._resumption is None:
            self._reactor.removeReader(self)
            self._resumption = self._reactor.callLater(ACCEPT_PAUSE, self._accept_again)

    def _accept_again(self) -> None:
        self._resumption = None
        self._reactor.addReader(self)
