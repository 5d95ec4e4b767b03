"""``--watch``: a live view, on a screen or as one line each time."""

from __future__ import annotations

import os
import signal
import sys
import time

from palingenesis.cli.columns import cut, width
from palingenesis.cli.format import (
    CLEAR_BELOW,
    CLEAR_LINE,
    ENTER_SCREEN,
    HOME,
    LEAVE_SCREEN,
    complain,
    json_line,
    labelled,
    trouble,
    trouble_lines,
)
from palingenesis.cli.keys import ESCAPE, RESIZED, Keys
from palingenesis.client.errors import ClientError

#: Lines that a key scrolls, and pages.
_STEPS = {"up": -1, "down": 1, "k": -1, "j": 1, "first": -1_000_000, "last": 1_000_000}
_PAGES = {"page up": -1, "page down": 1, " ": 1}

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import NoReturn, Protocol

    class View(Protocol):
        """
        What is shown; each call asks the daemon again.

        Each method raises a `palingenesis.client.errors.ClientError` while there is no answer.

        :ivar matching: a text that what is shown has to have; empty for all.
        """

        matching: str

        def lines(self) -> list[str]:
            """Show it on lines of its own."""

        def sentence(self) -> str:
            """Show it on one line."""

        def line(self) -> bytes:
            """Return the daemon's own line of JSON, checked."""


def show_screen(view: View, interval: float, colour: bool) -> NoReturn:
    """
    Redraw a view on the terminal's alternate screen, until ``q`` or an interrupt ends it.

    The arrows and the page keys scroll, and ``/`` shows only what has a text.

    :param interval: seconds between two questions to the daemon.
    """
    keys = Keys()
    screen = _Screen(view, interval, colour)
    try:
        _take_screen(keys)
        while True:
            screen.ask()
            end = time.monotonic() + interval
            while True:
                screen.draw()
                key = keys.wait(end - time.monotonic())
                if key is None or not screen.take(key):
                    break
    finally:
        # Every way out gives the terminal back as it was.
        keys.restore()
        _write(LEAVE_SCREEN)


class _Screen:
    """What is drawn of a view, and what keys do to it."""

    def __init__(self, view: View, interval: float, colour: bool) -> None:
        self._view = view
        self._interval = interval
        self._colour = colour
        self._lines: list[str] = []
        self._asked = ""
        self._top = 0
        self._room = 1
        self._typed: str | None = None

    def ask(self) -> None:
        """Ask the daemon."""
        try:
            self._lines = self._view.lines()
        except ClientError as error:
            self._lines = trouble_lines(error, self._colour)
        self._asked = time.strftime("%H:%M:%S")

    def draw(self) -> None:
        """Draw the part of the lines that fits, and what the keys do below it."""
        size = os.get_terminal_size(sys.stdout.fileno())
        # A terminal may not know its size: 0. The last line stays empty, since a line is ended
        # there too, and the first one would scroll away.
        room = max(size.lines - 3, 1) if size.lines else len(self._lines)
        self._room = room
        self._top = max(0, min(self._top, len(self._lines) - room))
        shown = self._lines[self._top : self._top + room]
        label = labelled("live", self._note(len(shown), max(size.columns - 9, 20)), self._colour)
        _write(
            # Overwriting does not flicker; clearing and drawing would.
            HOME + "".join(f"{line}{CLEAR_LINE}\n" for line in (*shown, "", label)) + CLEAR_BELOW
        )

    def _note(self, shown: int, columns: int) -> str:
        """Return which lines are shown, and as far as there is room, what keys do, and when."""
        if self._typed is not None:
            return cut(f"only what has: {self._typed}", columns)
        parts = []
        if self._view.matching:
            parts.append(f"only {self._view.matching!r}")
        if shown < len(self._lines):
            parts.append(f"{self._top + 1}-{self._top + shown} of {len(self._lines)}")
        for part in ("q ends, / filters", f"every {self._interval:g} s, {self._asked}"):
            if width("; ".join([*parts, part])) <= columns:
                parts.append(part)
        return cut("; ".join(parts), columns)

    def take(self, key: str) -> bool:
        """Do what a key is for, and return whether the daemon need not be asked again."""
        if self._typed is not None:
            return self._take_typed(self._typed, key)
        if key == "q":
            raise SystemExit(0)
        if key == "/":
            self._typed = ""
        elif key in _STEPS:
            self._top += _STEPS[key]
        elif key in _PAGES:
            self._top += _PAGES[key] * self._room
        return key != RESIZED

    def _take_typed(self, typed: str, key: str) -> bool:
        if key in ("\n", "\r", ESCAPE):
            self._view.matching = "" if key == ESCAPE else typed
            self._typed = None
            self._top = 0
            return False
        if key in ("\x7f", "\b"):
            self._typed = typed[:-1]
        elif len(key) == 1 and key.isprintable():
            self._typed = typed + key
        return key != RESIZED


def print_lines(view: View, interval: float) -> NoReturn:
    """Print a view as one line each time, until interrupted."""
    while True:
        try:
            line = view.sentence()
        except ClientError as error:
            line = f"{trouble(error)}: {error}"
        print(time.strftime("%H:%M:%S"), line, flush=True)
        time.sleep(interval)


def print_json(view: View, interval: float) -> NoReturn:
    """
    Print the daemon's own line each time, until interrupted.

    While there is none, the reason goes to standard error, once for each change.
    """
    complained = ""
    while True:
        try:
            line = json_line(view.line())
        except ClientError as error:
            if str(error) != complained:
                complained = str(error)
                complain(complained)
        else:
            complained = ""
            sys.stdout.buffer.write(line)
            sys.stdout.flush()
        time.sleep(interval)


def _take_screen(keys: Keys) -> None:
    def suspend(number: int, _frame: FrameType | None) -> None:
        keys.restore()
        _write(LEAVE_SCREEN)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        # Execution goes on here after SIGCONT.
        signal.signal(number, suspend)
        keys.take()
        _write(ENTER_SCREEN)

    signal.signal(signal.SIGTERM, _exit)
    signal.signal(signal.SIGHUP, _exit)
    signal.signal(signal.SIGTSTP, suspend)
    keys.take()
    _write(ENTER_SCREEN)


def _exit(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _write(text: str) -> None:
    # Not through sys.stdout, which fails when a signal interrupts it and writes too.
    data = text.encode(sys.stdout.encoding, "backslashreplace")
    while data:
        data = data[os.write(sys.stdout.fileno(), data) :]
