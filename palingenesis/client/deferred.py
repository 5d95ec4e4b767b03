"""
The client of the control socket for Twisted applications: the same calls, as Deferreds.

::

    client = ControlClient(reactor)
    client.status().addCallbacks(print, print)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.error import ConnectError, ConnectingCancelledError
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from palingenesis.client.blocking import (
    DEFAULT_TIMEOUT,
    RETRY_FIRST,
    RETRY_LIMIT,
    TimedOut,
    check_reply,
    check_timeout,
    connect_error,
    cut_reply,
    find_socket,
    request,
)
from palingenesis.wire import Command, DaemonStatus, parse_status

if TYPE_CHECKING:
    import os


class ControlClient:
    """
    A daemon's control socket, to be called from a Twisted application.

    It holds no connection: each call makes one. Each returns a Deferred, which fails with
    the errors of `palingenesis.client.blocking`, and can be cancelled. Either way, nothing of the
    call is left in the reactor.

    :param reactor: provides ``IReactorUNIX`` and ``IReactorTime``.
    :param path: the socket; where None, it is looked for as the daemon does.
    :param timeout: seconds that a call may take in all, from before it connects.
    :raises palingenesis.client.blocking.NotLocated: when there is no telling where the socket is.
    :raises ValueError: when the timeout is not above 0 and at most a day.
    """

    def __init__(
        self,
        reactor: Any,
        path: str | os.PathLike[str] | None = None,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> None:
        self.path = find_socket(path).path
        self.timeout = check_timeout(timeout)
        self._reactor = reactor

    def status(self) -> Deferred[DaemonStatus]:
        """Ask how the daemon is."""
        return self._ask(Command.STATUS).addCallback(parse_status)

    def pause(self) -> Deferred[None]:
        """Have the daemon pause; no matter when it is paused already."""
        return self._ask(Command.PAUSE).addCallback(_forget)

    def resume(self) -> Deferred[None]:
        """Have the daemon go on; no matter when it is not paused."""
        return self._ask(Command.RESUME).addCallback(_forget)

    def reload(self) -> Deferred[None]:
        """Have the daemon read its configuration again, or fail with ``Refused``."""
        return self._ask(Command.RELOAD).addCallback(_forget)

    def _ask(self, command: Command) -> Deferred[bytes]:
        def timed_out(failure: object, timeout: float) -> Failure:  # noqa: ARG001
            return Failure(TimedOut(self.path, timeout))

        asking = Deferred.fromCoroutine(self._exchange(command))
        return asking.addTimeout(self.timeout, self._reactor, timed_out)

    async def _exchange(self, command: Command) -> bytes:
        delay = RETRY_FIRST
        endpoint = UNIXClientEndpoint(self._reactor, self.path, timeout=None)
        factory = Factory.forProtocol(_Exchange)
        while True:
            try:
                exchange: _Exchange = await endpoint.connect(factory)
                break
            except ConnectingCancelledError:
                raise CancelledError from None
            except ConnectError as error:
                if error.osError is not None:
                    raise connect_error(self.path, error.osError) from error
                # Without a number, it is how Twisted reports a full backlog.
                await deferLater(self._reactor, delay)
                delay = min(2 * delay, RETRY_LIMIT)
        reply = await exchange.ask(command)
        check_reply(self.path, command, reply)
        return reply


class _Exchange(Protocol):
    """One command and its reply; there is a result once the connection is closed."""

    transport: Any
    _received = b""

    def ask(self, command: Command) -> Deferred[bytes]:
        self._reply: Deferred[bytes] = Deferred(lambda _: self.transport.abortConnection())
        self.transport.write(request(command))
        return self._reply

    def dataReceived(self, data: bytes) -> None:
        self._received += data
        if cut_reply(self._received) is not None:
            self.transport.abortConnection()

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]  # noqa: ARG002
        if not self._reply.called:
            self._reply.callback(cut_reply(self._received) or self._received)


def _forget(_reply: bytes) -> None:
    pass
