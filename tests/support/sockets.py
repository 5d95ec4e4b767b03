"""Unix sockets as a client or as another process's listener has them."""

from __future__ import annotations

import contextlib
import os
import socket
import struct

from tests.support.patience import PATIENCE


def fill_backlog(path: str) -> list[socket.socket]:
    """Connect to a socket that accepts nobody until no more fit; return the connections."""
    waiting: list[socket.socket] = []
    while True:
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client.setblocking(False)
        try:
            client.connect(path)
        except (BlockingIOError, ConnectionRefusedError):
            client.close()
            return waiting
        waiting.append(client)


def listen_at(path: str, backlog: int = 5) -> socket.socket:
    """Listen at a path, as somebody else's process would."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind(path)
    listening.listen(backlog)
    return listening


def leave_stale(path: str) -> None:
    """Leave what a killed daemon leaves: a socket that nobody listens on."""
    listen_at(path).close()


def read_all(connection: socket.socket) -> bytes:
    """Read until the other end closes; a reset counts as an end too, and is marked."""
    data = bytearray()
    try:
        while received := connection.recv(65536):
            data += received
    except ConnectionResetError:
        data += b"[reset]"
    return bytes(data)


def connect(path: str) -> socket.socket:
    """Connect to a socket, and wait if its backlog is full."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # The kernel's own timeout: with Python's, a full backlog is an error at once.
        patience = struct.pack("@ll", int(PATIENCE), 0)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, patience)
        connection.connect(path)
        connection.settimeout(PATIENCE)
    except BaseException:
        connection.close()
        raise
    return connection


def accepts(path: str) -> bool:
    """Return whether a socket takes connections: its file is there a moment before it listens."""
    try:
        connect(path).close()
    except (FileNotFoundError, ConnectionRefusedError):
        return False
    return True


def ask(path: str, request: bytes = b"STATUS\n") -> bytes:
    """Send a request and return all that comes back."""
    with connect(path) as connection:
        send_all(connection, request)
        return read_all(connection)


def send_all(connection: socket.socket, data: bytes) -> None:
    """Send as much as the other end takes: a rejected client may be answered before."""
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        connection.sendall(data)


def identity(path: str) -> tuple[int, int, int, int]:
    """What tells whether a file is the same, and its mode: device, inode, mode, owner."""
    found = os.lstat(path)
    return found.st_dev, found.st_ino, found.st_mode, found.st_uid


def own_addresses() -> list[str]:
    """Return the address at which other machines reach this one, if there is one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        try:
            # Nothing is sent: the kernel only chooses a route.
            datagrams.connect(("192.0.2.1", 9))
        except OSError:
            return []
        return [datagrams.getsockname()[0]]
