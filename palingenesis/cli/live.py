"""``--watch``: a live view, on a screen or as one line each time."""

from __future__ import annotations

import os
import signal
import sys
import time

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
from palingenesis.client.errors import ClientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import NoReturn, Protocol

    class View(Protocol):
        """
        What is shown; each call asks the daemon again.

        Each method raises a `palingenesis.client.errors.ClientError` while there is no answer.
        """

        def lines(self) -> list[str]:
            """Show it on lines of its own."""

        def sentence(self) -> str:
            """Show it on one line."""

        def line(self) -> bytes:
            """Return the daemon's own line of JSON, checked."""


def show_screen(view: View, interval: float, colour: bool) -> NoReturn:
    """
    Redraw a view on the terminal's alternate screen, until interrupted.

    :param interval: seconds between two questions to the daemon.
    """
    try:
        _take_screen()
        while True:
            try:
                lines = view.lines()
            except ClientError as error:
                lines = trouble_lines(error, colour)
            note = f"every {interval:g} s, {time.strftime('%H:%M:%S')}; Ctrl-C ends"
            _draw([*lines, "", labelled("live", note, colour)])
            time.sleep(interval)
    finally:
        # Every way out gives the terminal back as it was.
        _write(LEAVE_SCREEN)


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


def _take_screen() -> None:
    signal.signal(signal.SIGTERM, _exit)
    signal.signal(signal.SIGHUP, _exit)
    signal.signal(signal.SIGTSTP, _suspend)
    _write(ENTER_SCREEN)


def _draw(lines: list[str]) -> None:
    # A terminal may not know its size: 0. Its last line stays empty, since a line is ended
    # there too, and the first one would scroll away.
    height = os.get_terminal_size(sys.stdout.fileno()).lines
    shown = lines[: height - 1] if height else lines
    # Overwriting does not flicker; clearing and drawing would.
    _write(HOME + "".join(f"{line}{CLEAR_LINE}\n" for line in shown) + CLEAR_BELOW)


def _suspend(number: int, _frame: FrameType | None) -> None:
    _write(LEAVE_SCREEN)
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    # Execution goes on here after SIGCONT.
    signal.signal(number, _suspend)
    _write(ENTER_SCREEN)


def _exit(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _write(text: str) -> None:
    # Not through sys.stdout, which fails when a signal interrupts it and writes too.
    data = text.encode(sys.stdout.encoding, "backslashreplace")
    while data:
        data = data[os.write(sys.stdout.fileno(), data) :]
