"""How ``start``, ``stop`` and ``restart`` report what they have done."""

from __future__ import annotations

from palingenesis.text import printable
from palingenesis.words import Key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    #: Reports a word for what was done, the daemon's pid (0 if unknown), and its socket.
    Report = Callable[[str, int, str], None]

#: The words for what was done.
STARTED, STOPPED, ALREADY_RUNNING = "started", "stopped", "already running"


def in_words(done: str, pid: int, socket: str) -> None:
    """Print a line for people."""
    print(f"{done}: {f'pid {pid}' if pid else 'pid unknown'}, socket {printable(socket)}")


def as_json(_done: str, pid: int, socket: str) -> None:
    """Print an object for programs."""
    import json

    print(json.dumps({Key.PID: pid or None, "socket": socket}))


def not_at_all(_done: str, _pid: int, _socket: str) -> None:
    """Print nothing: something else is going to be reported."""
