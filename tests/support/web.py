"""A web door in memory, and what comes back through it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from palingenesis.server.service import ControlService
from palingenesis.server.state import DaemonState
from palingenesis.testing import HTTPReply as Reply
from palingenesis.web.access import Access
from palingenesis.web.channel import BoundedChannel
from palingenesis.web.keys import Keys
from palingenesis.web.resource import ControlResource
from palingenesis.web.site import BoundedSite

TOKEN = "token-of-forty-three-characters-as-it-would-"
HOST = "127.0.0.1:7654"
#: What the headers of a request from our own page say.
OWN_PAGE = [f"Origin: http://{HOST}", "Sec-Fetch-Site: same-origin"]
#: Not of the loopback, so that the kernel is not asked for its owner.
ELSEWHERE = IPv4Address("TCP", "192.0.2.1", 4000)
HERE = IPv4Address("TCP", "192.0.2.2", 7654)


class Transport(StringTransport):
    """
    A transport that remembers how it was closed, and can be one that is not read.

    :ivar half_closed: whether the server has finished sending, and still discards input.
    """

    half_closed = False
    aborted = False

    def __init__(self, peer: Any = ELSEWHERE) -> None:
        here = HERE if peer is ELSEWHERE else IPv4Address("TCP", "127.0.0.1", 7654)
        super().__init__(hostAddress=here, peerAddress=peer)

    def loseWriteConnection(self) -> None:
        self.half_closed = True

    def abortConnection(self) -> None:
        self.aborted = True
        self.disconnecting = True


class Client:
    """One connection to a site, as the server sees it."""

    def __init__(self, site: BoundedSite, peer: Any = ELSEWHERE) -> None:
        self.transport = Transport(peer)
        self.channel: BoundedChannel = site.buildProtocol(peer)
        self.channel.makeConnection(self.transport)

    def send(self, data: bytes) -> Client:
        """Send bytes, which the server reads at once."""
        self.channel.dataReceived(data)
        return self

    @property
    def received(self) -> bytes:
        """What the server has sent."""
        return bytes(self.transport.value())

    @property
    def statuses(self) -> list[int]:
        """The status codes of the responses until now."""
        parts = self.received.split(b"HTTP/1.1 ")[1:]
        return [int(part[:3]) for part in parts]

    @property
    def is_closed(self) -> bool:
        """Whether the server has finished sending."""
        return bool(self.transport.disconnecting) or self.transport.half_closed

    def close(self) -> None:
        """Close the connection; the server learns of it."""
        self.channel.connectionLost(Failure(ConnectionDone()))


def request(
    method: str = "GET",
    path: str = "/api/v1/status",
    key: str | None = TOKEN,
    body: object = None,
    headers: Sequence[str] = (),
    host: str | None = HOST,
) -> bytes:
    """Render a request."""
    lines = [f"{method} {path} HTTP/1.1"]
    if host is not None:
        lines.append(f"Host: {host}")
    if key is not None:
        lines.append(f"Authorization: Bearer {key}")
    content = b"" if body is None else json.dumps(body).encode()
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(content)}"]
    return "\r\n".join([*lines, *headers, "", ""]).encode() + content


class DoorTestCase(SynchronousTestCase):
    """A test of a site in memory, with a control socket's commands and a clock."""

    #: The sessions and the log, if the daemon has them.
    facts: Any = None

    def setUp(self) -> None:
        self.clock = Clock()
        self.state = DaemonState()
        self.control = ControlService(self.state, self.mktemp()[-40:], reactor=self.clock)
        self.keys = Keys(TOKEN, self.clock.seconds)
        self.site = self.make_site(Access(self.keys, control=True))

    def make_site(self, access: Any) -> BoundedSite:
        """Make a site with another decision about access."""
        self.resource = ControlResource(
            self.control, access=access, facts=self.facts, clock=self.clock
        )
        return BoundedSite(self.resource, self.clock)

    def connect(self, peer: Any = ELSEWHERE) -> Client:
        """Connect a client."""
        return Client(self.site, peer)

    def ask(self, *arguments: Any, **named: Any) -> Reply:
        """Send one request on a connection of its own, and return the response."""
        client = self.connect()
        client.send(request(*arguments, **named))
        reply = Reply(client.received)
        client.close()
        return reply

    def session(self) -> str:
        """Log in, and return the key."""
        key = self.keys.redeem(self.keys.issue_code())
        assert key is not None
        return key

    def change(self, path: str, body: object = None, **named: Any) -> Reply:
        """Send a POST as the page does."""
        return self.ask(
            "POST",
            path,
            named.pop("key", None) or self.session(),
            body,
            headers=OWN_PAGE,
            **named,
        )
