"""
The fast path: a whole exchange on the accepted socket, without a turn of the reactor.

On a Unix socket the command has nearly always arrived when its connection is accepted, and
the reply nearly always fits the send buffer. Otherwise an ordinary protocol on an ordinary
transport takes over, with the bytes that were read.
"""

from __future__ import annotations

import socket

from twisted.python.failure import Failure

from palingenesis.procfs import peer_credentials
from palingenesis.server.commands import Call
from palingenesis.server.interfaces import Reactor
from palingenesis.server.log import get_logger
from palingenesis.server.protocol import ControlFactory, ControlProtocol
from palingenesis.server.transport import Connection, has_unread
from palingenesis.wire import REQUEST_LIMIT

#: Instead of a fcntl(2) for each client, which would make the socket non-blocking.
_AT_ONCE = socket.MSG_DONTWAIT

_log = get_logger(__name__)


class Express:
    """
    Serves clients at once if it can, and else by a `ControlProtocol`.

    Every limit, check and audit line of the contract holds here as well: the factory admits
    the clients, and the table of commands runs their commands.

    :param factory: the server.
    :param reactor: what the protocols run on.
    """

    def __init__(self, factory: ControlFactory, reactor: Reactor) -> None:
        self._factory = factory
        self._reactor = reactor

    def serve(self, accepted: socket.socket) -> None:
        """
        Send a client its reply, or hand it to a protocol.

        :param accepted: the connection; it is closed here or by the protocol.
        """
        if accepted.gettimeout():
            # An application has called socket.setdefaulttimeout(). Despite the flags, Python
            # would wait that long for input, and all clients with it.
            accepted.setblocking(False)
        factory = self._factory
        peer = peer_credentials(accepted)
        if factory.rejection(peer) is not None:
            self._hand_on(accepted, b"")
            return
        try:
            received = accepted.recv(REQUEST_LIMIT + 2, _AT_ONCE)
        except BlockingIOError:
            received = b""
        except OSError:
            accepted.close()
            return
        if not 0 < received.find(b"\n") + 1 == len(received) <= REQUEST_LIMIT + 1:
            # Nothing yet, half a line, more than one line, or one that is too long.
            self._hand_on(accepted, received)
            return
        reply = factory.commands.run(received, peer)
        if isinstance(reply, Call):
            self._hand_over(accepted).wait_for(reply)
            return
        try:
            sent = accepted.send(reply, _AT_ONCE)
        except BlockingIOError:
            sent = 0
        except OSError:
            accepted.close()
            return
        if sent < len(reply) or has_unread(accepted):
            self._hand_over(accepted).send_rest(reply[sent:])
        else:
            accepted.close()

    def _hand_on(self, accepted: socket.socket, received: bytes) -> None:
        """Start a protocol, and give it the bytes that were read."""
        protocol = ControlProtocol()
        protocol.factory = self._factory
        connection = self._connect(accepted, protocol)
        if received:
            try:
                protocol.dataReceived(received)
            except BaseException:
                # As a reactor does, because the connection is registered with it.
                _log.failure("A connection could not be served")
                connection.connectionLost(Failure())

    def _hand_over(self, accepted: socket.socket) -> ControlProtocol:
        """Return a protocol for a connection whose command has run."""
        protocol = ControlProtocol()
        self._factory.take_over(protocol)
        self._connect(accepted, protocol)
        return protocol

    def _connect(self, accepted: socket.socket, protocol: ControlProtocol) -> Connection:
        connection = Connection(accepted, protocol, self._reactor)
        connection.startReading()
        protocol.makeConnection(connection)
        return connection
