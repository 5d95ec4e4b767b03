"""What listens in a daemon's place, and treats its clients badly or well."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

from palingenesis.client.errors import ErrorReply, InvalidReply, TimedOut
from tests.support.patience import PATIENCE
from tests.support.sockets import listen_at

Treatment = Callable[[socket.socket], None]

STATUS_LINE = (
    b'{"state": "paused", "uptime_secs": 93784, "current_session": "build \xc3\xa9", '
    b'"saves_count": 1, "total_resumes": 2, "queue": [1, "two"]}\n'
)


def answer(reply: bytes) -> Treatment:
    """Read the command, then say something and hang up."""

    def treat(connection: socket.socket) -> None:
        connection.recv(100)
        connection.sendall(reply)

    return treat


def by_command(replies: dict[bytes, bytes]) -> Treatment:
    """Answer as a daemon does."""

    def treat(connection: socket.socket) -> None:
        connection.sendall(replies[connection.recv(1000)])

    return treat


def say_nothing(connection: socket.socket) -> None:
    """Wait for the client to lose its patience."""
    while connection.recv(100):
        pass


def hang_up(_connection: socket.socket) -> None:
    """Do not even read the command."""


def never_end(connection: socket.socket) -> None:
    """Send and send, and no end of line."""
    while True:
        connection.sendall(b"x" * 65536)


def dribble(connection: socket.socket) -> None:
    """Send a byte now and then, so that the client is never idle for long."""
    connection.settimeout(0.02)
    while True:
        connection.sendall(b"x")
        with contextlib.suppress(TimeoutError):
            if connection.recv(100) == b"":
                return


def turn_away(connection: socket.socket) -> None:
    """Say why, and close, without a look at what the client sends or has sent."""
    connection.sendall(b"ERR: Too many connections\n")


def reset_after(reply: bytes) -> Treatment:
    """Reply once the command has come, and close with it unread: the connection is reset."""

    def treat(connection: socket.socket) -> None:
        connection.recv(1, socket.MSG_PEEK)
        connection.sendall(reply)

    return treat


#: Each treatment, the command it is tried with, and what the clients make of it.
TREATMENTS: dict[str, tuple[Treatment, str, type[Exception]]] = {
    "says nothing": (say_nothing, "status", TimedOut),
    "dribbles": (dribble, "status", TimedOut),
    "hangs up": (hang_up, "status", InvalidReply),
    "never ends": (never_end, "status", InvalidReply),
    "talks nonsense": (answer(b"SSH-2.0-\x1b[31mOpenSSH\r\n"), "status", InvalidReply),
    "is not text": (answer(b"\xff\xfe\x00\n"), "status", InvalidReply),
    "stops in mid-line": (answer(STATUS_LINE[:-1]), "status", InvalidReply),
    "says less than a status": (answer(b'{"state": "paused"}\n'), "status", InvalidReply),
    "says OK to STATUS": (answer(b"OK\n"), "status", InvalidReply),
    "tells its status to PAUSE": (answer(STATUS_LINE), "pause", InvalidReply),
    "says OK in other words": (answer(b"OKAY\n"), "resume", InvalidReply),
    "stops in the middle of an error": (answer(b"ERR: not to"), "pause", InvalidReply),
    "refuses": (answer(b"ERR: not today\n"), "reload", ErrorReply),
    "turns away": (turn_away, "pause", ErrorReply),
    "replies and resets": (reset_after(b"ERR: Too many connections\n"), "pause", ErrorReply),
    "resets in mid-line": (reset_after(b"ERR: Too man"), "pause", InvalidReply),
    "resets": (reset_after(b""), "pause", InvalidReply),
    "sends a list to STATUS": (answer(b"[]\n"), "status", InvalidReply),
    "sends numbers to HELP": (answer(b'{"STATUS": 1}\n'), "commands", InvalidReply),
    "sends OK to HELP": (answer(b"OK\n"), "commands", InvalidReply),
    "does not know HELP": (answer(b"ERR: Unknown command: HELP\n"), "commands", ErrorReply),
    "refuses to tell": (answer(b"ERR: Too many connections\n"), "status", ErrorReply),
}


class Impostor:
    """
    A listener in a thread.

    :ivar hung_up: set once a connection has been treated, to its end.
    """

    def __init__(self, path: str, treat: Treatment) -> None:
        self.hung_up = threading.Event()
        self._treat = treat
        # Room for all that connect at once: a full backlog is another matter.
        self._listening = listen_at(path, backlog=50)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            # Each in a thread of its own: none waits for another one's end.
            threading.Thread(target=self._serve_one, args=(connection,), daemon=True).start()

    def _serve_one(self, connection: socket.socket) -> None:
        connection.settimeout(PATIENCE)
        with connection, contextlib.suppress(OSError):
            self._treat(connection)
        self.hung_up.set()

    def close(self) -> None:
        """Listen no more; the socket is left behind, stale."""
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join(PATIENCE)


@contextlib.contextmanager
def impostor(path: str, treat: Treatment) -> Iterator[Impostor]:
    """Listen for as long as the block lasts."""
    listening = Impostor(path, treat)
    try:
        yield listening
    finally:
        listening.close()


def fill_backlog(path: str) -> Iterator[socket.socket]:
    """Connect until there is no room; yields each connection that has to be closed."""
    while True:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.setblocking(False)
        yield connection
        if connection.connect_ex(path):
            return
