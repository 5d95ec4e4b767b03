"""What a user of Twisted would write: LineReceiver as its tutorial has it, and a deadline."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet import reactor
from twisted.internet.endpoints import UNIXServerEndpoint
from twisted.internet.interfaces import IDelayedCall, ITransport
from twisted.internet.protocol import ServerFactory, connectionDone
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure


class PlainLineReceiver(LineReceiver):
    """One command, one reply."""

    delimiter = b"\n"
    transport: ITransport
    deadline: IDelayedCall

    def __init__(self, timeout: float, answer: Callable[[bytes], bytes]) -> None:
        self.timeout = timeout
        self.answer = answer

    def connectionMade(self) -> None:
        self.deadline = reactor.callLater(self.timeout, self.transport.loseConnection)

    def lineReceived(self, line: bytes) -> None:
        self.transport.write(self.answer(line))
        self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: ARG002
        if self.deadline.active():
            self.deadline.cancel()


def serve(path: str, timeout: float, answer: Callable[[bytes], bytes]) -> None:
    factory = ServerFactory.forProtocol(lambda: PlainLineReceiver(timeout, answer))
    UNIXServerEndpoint(reactor, path).listen(factory)
    reactor.run()
