"""
Serve three clients, each with a habit of its own, on a chosen reactor; print what they read.

Usage: ``on_reactor.py REACTOR SOCKET``; the reactor is the first word of one of Twisted's
reactor modules, as in ``selectreactor``.
"""

from __future__ import annotations

import importlib
import socket
import sys
from typing import Any

name, path = sys.argv[1:]
importlib.import_module(f"twisted.internet.{name}reactor").install()

# Only now: the import of the reactor installs the default one.
from twisted.internet import reactor  # noqa: E402
from twisted.internet.defer import Deferred  # noqa: E402
from twisted.internet.threads import deferToThread  # noqa: E402

from palingenesis import wire  # noqa: E402
from palingenesis.config import Limits  # noqa: E402
from palingenesis.server.commands import CommandTable  # noqa: E402
from palingenesis.server.express import Express  # noqa: E402
from palingenesis.server.protocol import ControlFactory  # noqa: E402
from palingenesis.server.state import DaemonState  # noqa: E402
from palingenesis.server.transport import ControlPort, ListeningSocket  # noqa: E402


class Slow(DaemonState):
    """A state that takes its time to pause, and has a long status."""

    async def pause(self) -> None:  # type: ignore[override]
        later: Deferred[None] = Deferred()
        reactor.callLater(0.01, later.callback, None)
        await later

    def get_status(self) -> wire.DaemonStatus:
        return super().get_status()._replace(current_session="x" * 60_000)


class SmallBuffers(ListeningSocket):
    """A listening socket whose connections take little at a time."""

    def accept(self) -> tuple[socket.socket, Any]:
        accepted, address = super().accept()
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        return accepted, address


def ask(first: bytes, then: bytes = b"") -> bytes:
    """Send a request in one or two pieces, and return all that comes back."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(20.0)
        client.connect(path)
        client.sendall(first)
        if then:
            client.sendall(then)
        else:
            client.shutdown(socket.SHUT_WR)
        received = b""
        while data := client.recv(9999):
            received += data
    return received


def be_clients() -> None:
    """Ask as each of the three does."""
    print(len(wire.parse_status(ask(b"STATUS")).current_session or ""))
    for sent in (b"PAUSE",), (b"pau", b"se\r\nRESUME\n"), (b"x" * 600, b"x"):
        print(ask(*sent).decode(), end="")


async def run() -> None:
    """Serve until the clients have their replies."""
    commands = CommandTable(Slow(), reactor, Limits(20.0, 20.0, 9))
    factory = ControlFactory(commands, reactor)
    listening = SmallBuffers(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind(path)
    listening.listen(9)
    port = ControlPort(reactor, factory, listening, Express(factory, reactor).serve)
    try:
        port.startListening()
        await deferToThread(be_clients)
        await port.stopListening()
        await factory.stop()
        print(type(reactor).__name__)
    finally:
        reactor.stop()


reactor.callWhenRunning(lambda: Deferred.fromCoroutine(run()))
reactor.run()
