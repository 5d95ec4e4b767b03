"""
For the tests of an application: its control socket in memory, with a clock.

::

    harness = ControlHarness(state)
    harness.command("FLUSH", flush, "drop what waits", argument="QUEUE")
    assert harness.ask("FLUSH", "mail") == {"dropped": 3}
"""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from palingenesis.client.exchange import Exchange
from palingenesis.config import DEFAULTS, Limits
from palingenesis.locate import Location
from palingenesis.server.commands import CommandTable
from palingenesis.server.extensible import Extensible
from palingenesis.server.interfaces import Controllable, check_state
from palingenesis.server.protocol import ControlFactory, ControlProtocol

_NOWHERE = Location("(in memory)", "the test")


class MemoryTransport(StringTransport):
    """
    A transport in memory that records a half-close.

    :ivar half_closed: whether the server has finished sending, and still discards input.
    """

    half_closed = False

    def loseWriteConnection(self) -> None:
        self.half_closed = True


class Conversation:
    """
    One client's connection, as the server sees it.

    :param factory: the server.
    :param transport: what is between them; a new `MemoryTransport` if None.
    :ivar closed: whether the connection is gone.
    """

    def __init__(self, factory: ControlFactory, transport: MemoryTransport | None = None) -> None:
        self.protocol = ControlProtocol()
        self.protocol.factory = factory
        self.transport = MemoryTransport() if transport is None else transport
        self.closed = False
        self.protocol.makeConnection(self.transport)

    def send(self, data: bytes) -> Conversation:
        """Send bytes, which the server reads at once unless it has closed."""
        if not self.transport.disconnecting:
            self.protocol.dataReceived(data)
        return self

    def end_input(self) -> Conversation:
        """Half-close: send nothing more, and still read the reply."""
        if not self.transport.disconnecting:
            self.protocol.readConnectionLost()
        return self

    def vanish(self, reason: type[Exception] = ConnectionLost) -> None:
        """Close the connection; the server is notified once."""
        if not self.closed:
            self.closed = True
            self.protocol.connectionLost(Failure(reason()))

    @property
    def received(self) -> bytes:
        """What the server has sent."""
        return bytes(self.transport.value())

    @property
    def saw_the_end(self) -> bool:
        """Whether the server has finished sending."""
        return self.transport.half_closed or bool(self.transport.disconnecting)


class HTTPReply:
    """
    A response over HTTP.

    :ivar status: its status code; 0 without a response.
    :ivar headers: its headers, by their names in small letters.
    :ivar body: its body.
    """

    def __init__(self, data: bytes) -> None:
        head, _, self.body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        self.status = int(first.split()[1]) if first else 0
        fields = (line.partition(": ") for line in lines)
        self.headers = {name.lower(): value for name, _, value in fields}

    @property
    def json(self) -> Any:
        """The body, decoded; None without one."""
        return json.loads(self.body) if self.body else None


class ControlHarness(Extensible):
    """
    A state and its commands behind the real protocol, without a socket and without a reactor.

    :param state: the daemon, as `palingenesis.ControlService` takes it.
    :param limits: the limits of its clients.
    :param clock: a ``twisted.internet.task.Clock``, for a test that shares one with its
        application; a new one if None.
    :raises TypeError: if the state lacks a method.
    :ivar clock: the clock; ``clock.advance(seconds)`` moves every deadline and the uptime.
    """

    def __init__(
        self, state: Controllable, *, limits: Limits = DEFAULTS.limits, clock: Clock | None = None
    ) -> None:
        check_state(state)
        self.clock = Clock() if clock is None else clock
        commands = CommandTable(state, self.clock, limits, monotonic=self.clock.seconds)
        super().__init__(ControlFactory(commands, self.clock))
        self.factory.startFactory()

    def http(self, method: str, path: str, body: object = None) -> HTTPReply:
        """
        Send one request over HTTP, as to a `palingenesis.web.ControlResource` without access.

        :param path: the path, with its query if any.
        :param body: what is sent as JSON; None for no body.
        :returns: the response, as far as it is there at once; its status is 0 if the command is
            under way.
        """
        # Only a test of HTTP needs twisted.web.
        from palingenesis.web.channel import BoundedChannel
        from palingenesis.web.resource import ControlResource
        from palingenesis.web.site import BoundedSite

        resource = ControlResource(self, access=None, clock=self.clock)
        channel = BoundedSite(resource, self.clock).buildProtocol(None)
        assert isinstance(channel, BoundedChannel)  # noqa: S101 - the site makes no other
        transport = MemoryTransport()
        channel.makeConnection(transport)
        content = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
        channel.dataReceived(head.encode() + content)
        channel.connectionLost(Failure(ConnectionDone()))
        return HTTPReply(bytes(transport.value()))

    def connect(self) -> Conversation:
        """Connect a client, and return its connection, for tests of what happens meanwhile."""
        return Conversation(self.factory)

    def send(self, data: bytes) -> bytes:
        """
        Send bytes, half-close, take what comes back at once, and disconnect.

        :returns: the reply's line; empty if the command is under way.
        """
        client = self.connect().send(data).end_input()
        client.vanish(ConnectionDone)
        return client.received

    def ask(self, name: str, *arguments: str) -> Any:
        """
        Send a command, and return what a client's ``send`` would.

        :returns: None for ``OK``, else the decoded JSON.
        :raises palingenesis.client.errors.ErrorReply: if the reply is an ``ERR:`` line.
        :raises palingenesis.client.errors.InvalidReply: if the command is under way.
        :raises ValueError: if name and arguments are not one line of at most 512 bytes.
        """
        exchange = Exchange(_NOWHERE, name, *arguments)
        exchange.receive(self.send(exchange.request))
        return exchange.value()
