"""``palingenesis status --watch``: the status again and again, on a screen or a line each."""

from __future__ import annotations

import os
import signal
import sys
import time

from palingenesis.cli import format as display
from palingenesis.client.blocking import ClientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import NoReturn

    from palingenesis.client.blocking import ControlClient

# The alternate screen, without a cursor and without wrapping long lines; and the screen as
# it was before.
_ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l"
_LEAVE = "\x1b[?7h\x1b[?25h\x1b[?1049l"
_HOME = "\x1b[H"
_END_OF_LINE = "\x1b[K\n"
_END_OF_SCREEN = "\x1b[J"


def watch_screen(client: ControlClient, interval: float, colour: bool) -> NoReturn:
    """
    Redraw the status on the terminal's alternate screen, until interrupted.

    :param interval: seconds from one look to the next.
    """
    try:
        _take_screen()
        while True:
            try:
                lines = display.status_lines(client.status(), client.path, colour)
            except ClientError as error:
                lines = display.trouble_lines(error, colour)
            note = f"every {interval:g} s, {time.strftime('%H:%M:%S')}; Ctrl-C ends"
            _draw([*lines, "", display.labelled("watching", note, colour)])
            time.sleep(interval)
    finally:
        # Whatever ends us, the terminal is given back as it was.
        _write(_LEAVE)


def watch_lines(client: ControlClient, interval: float) -> NoReturn:
    """Print the status on a line each time, until interrupted."""
    while True:
        try:
            line = display.status_sentence(client.status())
        except ClientError as error:
            line = f"{display.trouble(error)}: {error}"
        print(time.strftime("%H:%M:%S"), line, flush=True)
        time.sleep(interval)


def watch_json(client: ControlClient, interval: float) -> NoReturn:
    """
    Print the daemon's own line each time, until interrupted.

    While there is none, the reason goes to standard error, once until it changes.
    """
    told = ""
    while True:
        try:
            line = display.json_line(client.status_line())
        except ClientError as error:
            if str(error) != told:
                told = str(error)
                display.complain(told)
        else:
            told = ""
            sys.stdout.buffer.write(line)
            sys.stdout.flush()
        time.sleep(interval)


def _take_screen() -> None:
    signal.signal(signal.SIGTERM, _exit)
    signal.signal(signal.SIGHUP, _exit)
    signal.signal(signal.SIGTSTP, _suspend)
    _write(_ENTER)


def _draw(lines: list[str]) -> None:
    # A terminal may not know its size: 0. Its last line stays empty, since a line is ended
    # there too, and the first one would scroll away.
    height = os.get_terminal_size(sys.stdout.fileno()).lines
    shown = lines[: height - 1] if height else lines
    # To overwrite does not flicker, as to clear and draw would.
    _write(_HOME + "".join(line + _END_OF_LINE for line in shown) + _END_OF_SCREEN)


def _suspend(number: int, _frame: FrameType | None) -> None:
    _write(_LEAVE)
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    # Here again once we are continued.
    signal.signal(number, _suspend)
    _write(_ENTER)


def _exit(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _write(text: str) -> None:
    # Not through sys.stdout, which fails when a signal interrupts it and writes too.
    data = text.encode(sys.stdout.encoding, "backslashreplace")
    while data:
        data = data[os.write(sys.stdout.fileno(), data) :]
