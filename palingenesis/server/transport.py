"""
A listening port and its connections, for Unix sockets that are bound already.

Twisted's own ``unix.Port`` unlinks its path blindly, fails when the file is gone, makes an
inherited socket 0666, and logs a line for every client that it cannot accept. This port
leaves the file to `palingenesis.server.socketfile`. Its connections are Twisted's.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from fcntl import ioctl
from termios import FIONREAD
from typing import Any, cast

from twisted.internet import tcp
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IListeningPort, IReadDescriptor
from twisted.internet.protocol import ServerFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from palingenesis.server.interfaces import Reactor
from palingenesis.server.log import get_logger

#: Clients that the kernel lets wait to be accepted; it takes ``net.core.somaxconn`` if less.
BACKLOG = 4096
#: Connections that are accepted before the reactor's other work has its turn.
ACCEPTS_A_TURN = 64
#: Seconds without accepting after that has failed, as it does without file descriptors.
ACCEPT_PAUSE = 0.5
#: Input besides the command that is read and discarded, in bytes.
DISCARD_LIMIT = 4 * 1024 * 1024

_READ_SIZE = 65_536
_NONE_UNREAD = bytes(4)

_log = get_logger(__name__)


def has_unread(connected: socket.socket) -> bool:
    """Tell whether there is input that nobody has read (``FIONREAD``, tty_ioctl(4))."""
    return ioctl(connected, FIONREAD, _NONE_UNREAD) != _NONE_UNREAD


class Connection(tcp.Connection):
    """
    Twisted's connection, on an accepted Unix socket.

    Twisted's own ``unix.Server`` would keep the file descriptors that a client passes; a
    plain recv(2) has the kernel discard them.
    """

    connected = 1

    def __init__(self, accepted: socket.socket, protocol: Any, reactor: Reactor) -> None:
        super().__init__(accepted, protocol, cast(Any, reactor))

    def connectionLost(self, reason: Failure) -> None:
        if self.disconnected:
            return
        # A close with unread input resets the peer, and some clients then lose the reply
        # that they have been sent already.
        with suppress(OSError):
            discarded = 0
            while has_unread(self.socket) and discarded < DISCARD_LIMIT:
                discarded += len(self.socket.recv(_READ_SIZE))
        super().connectionLost(reason)

    def getHost(self) -> UNIXAddress:
        return UNIXAddress(self.socket.getsockname())

    def getPeer(self) -> UNIXAddress:
        return UNIXAddress(self.socket.getpeername())

    def logPrefix(self) -> str:
        return self.protocol.__class__.__name__ if self.connected else "-"


class ListeningSocket(socket.socket):
    """
    A listening Unix socket.

    The standard library computes these two anew for each ``accept``, which takes a
    twentieth of an exchange.
    """

    family = socket.AF_UNIX
    type = socket.SOCK_STREAM


@implementer(IListeningPort, IReadDescriptor)
class ControlPort:
    """
    Accepts connections from a listening Unix socket.

    When the process runs out of file descriptors the port says so once, and clients wait in
    the backlog until there are some again.

    :param reactor: what to run on.
    :param factory: is told when the port starts and stops.
    :param listening: the listening socket, which the port closes.
    :param serve: called with each connection that is accepted, which is then its to close.
    :param shared: whether other processes accept from the same socket, as the process that
        an inherited socket came from may. A stop then leaves the backlog to them.
    """

    def __init__(
        self,
        reactor: Reactor,
        factory: ServerFactory,
        listening: socket.socket,
        serve: Callable[[socket.socket], None],
        shared: bool = False,
    ) -> None:
        listening.setblocking(False)
        self._reactor = reactor
        self._factory = factory
        self._listening = listening
        self._serve = serve
        self._shared = shared
        self._out_of_descriptors = False
        self._expected = 1
        self._retry: Any = None
        # More than one where a handler stops the port: the others are served within its call.
        self._serving: list[socket.socket] = []

    def startListening(self) -> None:
        self._factory.doStart()
        self._reactor.addReader(self)

    def stopListening(self) -> Deferred[None]:
        if not self._shared:
            # A client that has connected already is served, not reset.
            self._accept(BACKLOG + 1)
        self.connectionLost()
        return succeed(None)

    def forget(self) -> None:
        """In a forked child: close its copies of the sockets, which are the parent's."""
        self._listening.close()
        for accepted in self._serving:
            accepted.close()

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
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if not self._shared:
            # A child that was forked without our knowledge may hold a copy: without this,
            # clients of the stopped daemon would connect to it, and wait.
            with suppress(OSError):
                self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._factory.doStop()

    def doRead(self) -> None:
        # As many as were there the last time: an accept that finds nobody takes as long as
        # a tenth of an exchange. The reactor comes back for those that are left.
        expected = self._expected
        accepted = self._accept(expected)
        self._expected = min(2 * expected, ACCEPTS_A_TURN) if accepted == expected else accepted

    def _accept(self, most: int) -> int:
        """Accept so many connections at most, and return how many there were."""
        for count in range(most):
            if self._listening.fileno() == -1:
                return max(count, 1)
            try:
                accepted, _address = self._listening.accept()
            except BlockingIOError:
                self._out_of_descriptors = False
                return max(count, 1)
            except ConnectionAbortedError:
                continue
            except OSError as error:
                self._pause(error)
                return max(count, 1)
            self._serving.append(accepted)
            try:
                self._serve(accepted)
            except BaseException:
                _log.failure("A connection could not be served")
                accepted.close()
            finally:
                self._serving.pop()
        return most

    def _pause(self, error: OSError) -> None:
        # Nearly always it is the descriptors that have run out. Whatever it is, a new try
        # at once would spin, and an error that reaches the reactor would lose the port.
        if not self._out_of_descriptors:
            self._out_of_descriptors = True
            _log.warn("Clients have to wait: {reason}", reason=error.strerror)
        if self._retry is None:
            self._reactor.removeReader(self)
            self._retry = self._reactor.callLater(ACCEPT_PAUSE, self._accept_again)

    def _accept_again(self) -> None:
        self._retry = None
        self._reactor.addReader(self)
