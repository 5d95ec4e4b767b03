"""The keys that a person types at a terminal, and the changes of its size."""

from __future__ import annotations

import os
import select
import signal
import sys
import termios

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ESCAPE = "\x1b"
#: Returned like a key when the terminal has another size.
RESIZED = "resized"

#: What terminals send for keys without a character, in both modes of the cursor keys (xterm).
_SEQUENCES = {
    b"\x1b[A": "up",
    b"\x1bOA": "up",
    b"\x1b[B": "down",
    b"\x1bOB": "down",
    b"\x1b[5~": "page up",
    b"\x1b[6~": "page down",
    b"\x1b[H": "first",
    b"\x1bOH": "first",
    b"\x1b[1~": "first",
    b"\x1b[F": "last",
    b"\x1bOF": "last",
    b"\x1b[4~": "last",
}


class Keys:
    """
    The keys of standard input, one by one; none if it is no terminal.

    Ctrl-C and Ctrl-Z stay signals.
    """

    def __init__(self) -> None:
        self._input = sys.stdin.fileno() if sys.stdin is not None else -1
        self._is_terminal = self._input >= 0 and os.isatty(self._input)
        self._before: list[Any] | None = None
        self._pending: list[str] = []
        # A signal handler writes to it, so that the wait for a key ends.
        self._resized, self._resize = os.pipe()
        os.set_blocking(self._resize, False)

    def take(self) -> None:
        """Have keys come at once and unseen, and changes of the size reported."""
        signal.signal(signal.SIGWINCH, self._note)
        if self._is_terminal:
            self._before = termios.tcgetattr(self._input)
            changed = termios.tcgetattr(self._input)
            changed[3] &= ~(termios.ICANON | termios.ECHO)
            termios.tcsetattr(self._input, termios.TCSADRAIN, changed)

    def restore(self) -> None:
        """Restore the modes of the terminal."""
        if self._before is not None:
            termios.tcsetattr(self._input, termios.TCSADRAIN, self._before)
            self._before = None

    def wait(self, seconds: float) -> str | None:
        """Return the next key, or `RESIZED`; None if there is none in time."""
        if self._pending:
            return self._pending.pop(0)
        watched = [self._resized, *([self._input] if self._is_terminal else [])]
        ready, _, _ = select.select(watched, [], [], max(seconds, 0))
        if self._resized in ready:
            os.read(self._resized, 4096)
            return RESIZED
        if not ready:
            return None
        data = os.read(self._input, 4096)
        if not data:
            # The terminal is gone; its signal ends the program.
            self._is_terminal = False
            return None
        self._pending = list(_split(data))
        return self._pending.pop(0) if self._pending else RESIZED

    def _note(self, *_: object) -> None:
        try:  # noqa: SIM105 - contextlib is slow to import
            os.write(self._resize, b"\0")
        except BlockingIOError:
            pass  # It is full, so the wait ends anyhow.


def _split(data: bytes) -> list[str]:
    """Split what a terminal has sent into keys; unknown sequences are left out."""
    keys = []
    while data:
        for sequence, key in _SEQUENCES.items():
            if data.startswith(sequence):
                keys.append(key)
                data = data[len(sequence) :]
                break
        else:
            if data.startswith((b"\x1b[", b"\x1bO")):
                end = next((i for i, byte in enumerate(data[2:], 3) if 0x40 <= byte < 0x7F), 2)
                data = data[end:]
                continue
            length = next((n for n in range(1, 5) if _is_text(data[:n])), 1)
            keys.append(data[:length].decode("utf-8", "replace"))
            data = data[length:]
    return keys


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
