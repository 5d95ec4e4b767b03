"""
The client of the control socket for Twisted applications: the same calls, as Deferreds.

::

    client = ControlClient(reactor)
    client.status().addCallbacks(print, print)
"""

from __future__ import annotations

import errno
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.error import ConnectError, ConnectingCancelledError
from twisted.internet.interfaces import IReactorUNIX
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from palingenesis.client.errors import connect_error
from palingenesis.client.exchange import DEFAULT_TIMEOUT, Exchange, check_timeout, retry_delays
from palingenesis.client.location import find_socket
from palingenesis.pathlock import may_be_busy
from palingenesis.wire import Command

if TYPE_CHECKING:
    import os

    from twisted.internet.interfaces import IReactorTime

    from palingenesis.wire import DaemonStatus


class ControlClient:
    """
    A client of a daemon's control socket, for Twisted applications.

    It holds no connection: each call makes one. Each returns a Deferred, which fails with
    the errors of `palingenesis.client.errors` and can be cancelled. After that, nothing of
    the call stays in the reactor.

    :param reactor: provides ``IReactorTime``, and ``IReactorUNIX``, which Twisted does not
        declare of every reactor.
    :param path: the socket; if None, the one that the daemon would use.
    :param timeout: seconds that a call may take, connecting included.
    :raises palingenesis.client.errors.SocketPathError: if the path cannot be a socket's.
    :raises ValueError: if the timeout is not above 0 and at most a day.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        path: str | os.PathLike[str] | None = None,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> None:
        self.location = find_socket(path)
        self.path = self.location.path
        self.timeout = check_timeout(timeout)
        self._reactor = reactor

    def status(self) -> Deferred[DaemonStatus]:
        """Return the daemon's status."""
        return self._ask(Command.STATUS).addCallback(Exchange.status)

    def pause(self) -> Deferred[None]:
        """Pause the daemon; nothing changes if it is paused."""
        return self._ask(Command.PAUSE).addCallback(Exchange.done)

    def resume(self) -> Deferred[None]:
        """End the daemon's pause; nothing changes if it is not paused."""
        return self._ask(Command.RESUME).addCallback(Exchange.done)

    def reload(self) -> Deferred[None]:
        """Have the daemon apply its configuration again; fails with `ErrorReply` if it cannot."""
        return self._ask(Command.RELOAD).addCallback(Exchange.done)

    def commands(self) -> Deferred[dict[str, str]]:
        """Return every command that the daemon has, usage to summary."""
        return self._ask(Command.HELP).addCallback(Exchange.summaries)

    def send(self, name: str, *arguments: str) -> Deferred[Any]:
        """
        Send any command, an application's own for example; its words are joined by a blank.

        :returns: None for ``OK``, else the reply's decoded JSON.
        :raises ValueError: at once, if name and arguments are not one line of at most
            512 bytes.
        """
        return self._ask(name, *arguments).addCallback(Exchange.value)

    def _ask(self, name: str, *arguments: str) -> Deferred[Exchange]:
        exchange = Exchange(self.location, name, *arguments)

        def timed_out(_failure: object, timeout: float) -> Failure:
            return Failure(exchange.timed_out(timeout))

        asking = Deferred.fromCoroutine(self._converse(exchange))
        return asking.addTimeout(self.timeout, self._reactor, timed_out)

    async def _converse(self, exchange: Exchange) -> Exchange:
        endpoint = UNIXClientEndpoint(IReactorUNIX(self._reactor), self.path, timeout=None)
        factory = Factory.forProtocol(_Conversation)
        for delay in retry_delays():
            try:
                conversation: _Conversation = await endpoint.connect(factory)
                break
            except ConnectingCancelledError:
                raise CancelledError from None
            except ConnectError as error:
                refused = error.osError == errno.ECONNREFUSED and may_be_busy(self.path)
                if error.osError is not None and not refused:
                    raise connect_error(self.location, error.osError) from error
            # The backlog is full, which Twisted reports by an error without a number.
            await deferLater(self._reactor, delay)
        await conversation.run(exchange)
        return exchange


class _Conversation(Protocol):
    """One exchange on a connection of its own; over once the connection is closed."""

    transport: Any

    def run(self, exchange: Exchange) -> Deferred[None]:
        self._exchange = exchange
        self._over: Deferred[None] = Deferred(lambda _: self.transport.abortConnection())
        exchange.sent = True
        # A daemon that closed first may have sent a reason: too many connections. So the
        # request goes to the socket itself, whose empty buffer takes it whole: if sending
        # fails, the transport's own write would close the connection with the reply unread.
        with suppress(BrokenPipeError, ConnectionResetError):
            self.transport.getHandle().send(exchange.request)
        return self._over

    def dataReceived(self, data: bytes) -> None:
        if self._exchange.receive(data):
            self.transport.abortConnection()

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]  # noqa: ARG002
        if not self._over.called:
            self._over.callback(None)
