"""
What a user would write instead: the same STATUS on a Unix socket, in other ways.

``python servers.py NAME PATH [TIMEOUT]`` runs one of `SERVERS` until it is killed. Each
computes the same reply for every request, and each but the bare loop has a deadline for
the request line, because a control socket without one can be held open for ever.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import sys
import time
from collections.abc import Callable

STARTED = time.monotonic()


def status() -> bytes:
    fields = {
        "state": "monitoring",
        "uptime_secs": int(time.monotonic() - STARTED),
        "current_session": None,
        "saves_count": 0,
        "total_resumes": 0,
    }
    return json.dumps(fields).encode() + b"\n"


def answer(line: bytes) -> bytes:
    command = line.strip().upper()
    return status() if command == b"STATUS" else b"ERR: Unknown command\n"


def twisted_line_receiver(path: str, timeout: float) -> None:
    # Apart, so that the others are spared what importing Twisted costs.
    import plain_twisted

    plain_twisted.serve(path, timeout, answer)


async def streams(path: str, timeout: float) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            line = await asyncio.wait_for(reader.readline(), timeout)
            writer.write(answer(line))
            await writer.drain()
        except TimeoutError:
            pass
        finally:
            writer.close()

    async with await asyncio.start_unix_server(serve, path) as server:
        await server.serve_forever()


class PlainProtocol(asyncio.Protocol):
    """What asyncio has below its streams, and a deadline."""

    transport: asyncio.Transport
    deadline: asyncio.TimerHandle

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self.received = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport
        self.deadline = asyncio.get_running_loop().call_later(self.timeout, transport.close)

    def data_received(self, data: bytes) -> None:
        self.received += data
        line, newline, _ = self.received.partition(b"\n")
        if newline:
            self.transport.write(answer(line))
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self.deadline.cancel()


async def protocol(path: str, timeout: float) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_unix_server(lambda: PlainProtocol(timeout), path)
    await server.serve_forever()


def asyncio_streams(path: str, timeout: float) -> None:
    asyncio.run(streams(path, timeout))


def asyncio_protocol(path: str, timeout: float) -> None:
    asyncio.run(protocol(path, timeout))


def uvloop_streams(path: str, timeout: float) -> None:
    import uvloop

    uvloop.run(streams(path, timeout))


def uvloop_protocol(path: str, timeout: float) -> None:
    import uvloop

    uvloop.run(protocol(path, timeout))


def bare_loop(path: str, timeout: float) -> None:  # noqa: ARG001 - it has no deadline
    """Serve one client after the other: the least that Python can do, and no daemon."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(128)
        while True:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                connection.sendall(answer(connection.recv(512)))


SERVERS: dict[str, Callable[[str, float], None]] = {
    "twisted": twisted_line_receiver,
    "asyncio-streams": asyncio_streams,
    "asyncio-protocol": asyncio_protocol,
    "uvloop-streams": uvloop_streams,
    "uvloop-protocol": uvloop_protocol,
    "bare-loop": bare_loop,
}

if __name__ == "__main__":
    SERVERS[sys.argv[1]](sys.argv[2], float(sys.argv[3]) if sys.argv[3:] else 5.0)
