"""
A listening port and its connections, for sockets that are bound already.

Twisted's own ``unix.Port`` unlinks whatever is at its path, fails if the file is gone, makes
an inherited socket 0666, and logs a line for every client that it cannot accept. This port
leaves the file to `palingenesis.server.socketfile`. Its connections are Twisted's.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from fcntl import ioctl
from termios import FIONREAD
from typing import Any, cast

from twisted.internet import tcp
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import (
    IConsumer,
    IHalfCloseableDescriptor,
    IListeningPort,
    IPushProducer,
    IReadDescriptor,
    IReadWriteDescriptor,
    ISystemHandle,
    ITransport,
)
from twisted.internet.protocol import ServerFactory
from twisted.python.failure import Failure
from zope.interface import implementer, implementer_only

from palingenesis.server.interfaces import Reactor
from palingenesis.server.log import get_logger

#: The backlog for listen(2); the kernel cuts it to ``net.core.somaxconn``.
BACKLOG = 4096
#: The most connections that are accepted in one turn of the reactor.
ACCEPTS_A_TURN = 64
#: Seconds from a failure to accept, as without file descriptors, to the next try.
RETRY_INTERVAL = 0.5
#: The most input besides the command that is read and discarded, in bytes.
DISCARD_LIMIT = 4 * 1024 * 1024

_READ_SIZE = 65_536
_NONE_UNREAD = bytes(4)

_log = get_logger(__name__)


def has_unread(connected: socket.socket) -> bool:
    """Return whether the socket has unread input (``FIONREAD``, tty_ioctl(4))."""
    return ioctl(connected, FIONREAD, _NONE_UNREAD) != _NONE_UNREAD


def client_socket(accepted: socket.socket) -> socket.socket:
    """Return an accepted socket whose client leaves no descriptors in this process."""
    if sys.platform == "darwin":
        from palingenesis.darwin import ClientSocket

        return ClientSocket(accepted)
    return accepted


def address_of(name: Any) -> UNIXAddress | IPv4Address | IPv6Address:
    """Return as an address what getsockname(2) and getpeername(2) return."""
    if not isinstance(name, tuple):
        return UNIXAddress(name)
    return IPv4Address("TCP", *name) if len(name) == 2 else IPv6Address("TCP", *name)


@implementer_only(
    IConsumer,
    IHalfCloseableDescriptor,
    IPushProducer,
    IReadWriteDescriptor,
    ISystemHandle,
    ITransport,
)
class Connection(tcp.Connection):
    """
    Twisted's connection, on an accepted socket; a Unix socket has none of TCP's options.

    Twisted's own ``unix.Server`` would keep the file descriptors that a client passes; a
    plain recv(2) has the kernel of Linux discard them, see `client_socket`.
    """

    connected = 1

    def __init__(self, accepted: socket.socket, protocol: Any, reactor: Reactor) -> None:
        super().__init__(accepted, protocol, cast(Any, reactor))

    def connectionLost(self, reason: Failure) -> None:
        if self.disconnected:
            return
        # Closing with unread input resets the connection, and some clients then lose a reply
        # that was sent already.
        with suppress(OSError):
            discarded = 0
            while has_unread(self.socket) and discarded < DISCARD_LIMIT:
                discarded += len(self.socket.recv(_READ_SIZE))
        super().connectionLost(reason)

    def getHost(self) -> UNIXAddress | IPv4Address | IPv6Address:
        return address_of(self.socket.getsockname())

    def getPeer(self) -> UNIXAddress | IPv4Address | IPv6Address:
        return address_of(self.socket.getpeername())

    def logPrefix(self) -> str:
        return self.protocol.__class__.__name__ if self.connected else "-"


class ListeningSocket(socket.socket):
    """
    A listening stream socket, of the Unix family unless an instance says otherwise.

    The standard library computes these two anew for each ``accept``, which takes a
    twentieth of an exchange.
    """

    family: socket.AddressFamily = socket.AF_UNIX
    type = socket.SOCK_STREAM


@implementer(IListeningPort, IReadDescriptor)
class ControlPort:
    """
    Accepts connections from a listening socket.

    If the process runs out of file descriptors, the port logs one line, and clients wait in
    the backlog until there are some again.

    :param reactor: what to run on.
    :param factory: started and stopped with the port.
    :param listening: the listening socket, which the port closes.
    :param serve: called with each accepted connection, which it must close.
    :param shared: whether other processes accept from the same socket, such as the one that
        an inherited socket came from. A stop then leaves the backlog to them.
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
        # More than one if a handler stops the port, which then serves the backlog.
        self._serving: list[socket.socket] = []

    def startListening(self) -> None:
        self._factory.doStart()
        self._reactor.addReader(self)

    def stopListening(self) -> Deferred[None]:
        if not self._shared:
            # Clients in the backlog are served, not reset.
            self._accept(BACKLOG + 1)
        self.connectionLost()
        return succeed(None)

    def forget(self) -> None:
        """In a forked child: close its copies of the sockets, which are the parent's."""
        self._listening.close()
        for accepted in self._serving:
            accepted.close()

    def getHost(self) -> UNIXAddress | IPv4Address | IPv6Address:
        return address_of(self._listening.getsockname())

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
            # A child that was forked outside of Python may hold a copy: without a shutdown,
            # clients could still connect to it, and would wait.
            with suppress(OSError):
                self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._factory.doStop()

    def doRead(self) -> None:
        # As many as the last time: an accept without a client takes a tenth of an exchange.
        # The reactor calls again if clients are left.
        expected = self._expected
        accepted = self._accept(expected)
        self._expected = min(2 * expected, ACCEPTS_A_TURN) if accepted == expected else accepted

    def _accept(self, most: int) -> int:
        """Accept at most so many connections, and return their number."""
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
                self._retry_later(error)
                return max(count, 1)
            accepted = client_socket(accepted)
            self._serving.append(accepted)
            try:
                self._serve(accepted)
            except BaseException:
                _log.failure("A connection could not be served")
                accepted.close()
            finally:
                self._serving.pop()
        return most

    def _retry_later(self, error: OSError) -> None:
        # Nearly always, the process has run out of descriptors. Whatever the error is, trying
        # again at once would spin, and raising it in the reactor would lose the port.
        if not self._out_of_descriptors:
            self._out_of_descriptors = True
            _log.warn("Clients have to wait: {reason}", reason=error.strerror)
        if self._retry is None:
            self._reactor.removeReader(self)
            self._retry = self._reactor.callLater(RETRY_INTERVAL, self._retry_now)

    def _retry_now(self) -> None:
        self._retry = None
        self._reactor.addReader(self)
