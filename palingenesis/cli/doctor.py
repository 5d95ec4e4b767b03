"""``palingenesis doctor``: each step on the way to the daemon, and the one that fails."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import time

from palingenesis.cli import format as display
from palingenesis.cli.exit_status import Exit, exit_status
from palingenesis.client.blocking import (
    ClientError,
    TimedOut,
    check_reply,
    connect,
    connect_error,
    exchange,
    find_socket,
    user_name,
)
from palingenesis.procfs import Credentials, peer_credentials, process_stat
from palingenesis.text import printable
from palingenesis.wire import Command, parse_status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

#: Seconds that ``twistd --help`` may take.
TWISTD_TIMEOUT = 30.0

_GREEN, _YELLOW, _RED = "32", "33", "31"


def examine(given: str | None, timeout: float, colour: bool) -> Exit:
    """
    Print what is found on the way to the daemon, and a verdict.

    :param given: the path of the socket, or None to look for it.
    :param timeout: seconds that the daemon has for its answer.
    :returns: what ``palingenesis status`` would exit with.
    :raises NotLocated: when there is no telling where the socket is.
    """

    def say(label: str, value: str, value_colour: str = "") -> None:
        # Each as soon as it is known: the next may take as long as the timeout.
        print(display.labelled(label, value, colour, value_colour, width=11), flush=True)

    location = find_socket(given)
    path = location.path
    say("path", printable(f"{path}, by {location.source}", display.VALUE_LIMIT))
    say("directory", *_directory(os.path.dirname(path)))
    say("socket", _socket(path))
    error: ClientError | None = None
    try:
        for label, value in _conversation(path, timeout):
            say(label, value)
    except ClientError as caught:
        error = caught
        say("answer", f"none: {error.reason}", _RED)
    say("plugin", *examine_plugin())
    if error is None:
        say("verdict", "the daemon is well", _GREEN)
        return Exit.DONE
    say("verdict", str(error), _RED)
    return exit_status(error)


def _directory(directory: str) -> tuple[str, str]:
    shown = printable(directory, display.VALUE_LIMIT)
    try:
        found = os.stat(directory)
    except OSError as error:
        return f"{shown}: {error.strerror}", _RED
    mode = stat.S_IMODE(found.st_mode)
    facts = f"mode {mode:04o}, owner {user_name(found.st_uid)}"
    if not stat.S_ISDIR(found.st_mode):
        return f"{shown} is not a directory", _RED
    if found.st_uid not in (os.geteuid(), 0):
        return f"{shown}: its owner can replace what is in it ({facts})", _RED
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        return f"{shown}: others can replace what is in it ({facts})", _RED
    if mode & stat.S_IWGRP and not mode & stat.S_ISVTX:
        return f"{shown}: its group can replace what is in it ({facts})", _YELLOW
    if mode & 0o077:
        return f"{shown}: open to others, so the socket's own mode decides ({facts})", _YELLOW
    return f"{shown}: private ({facts})", ""


def _socket(path: str) -> str:
    try:
        found = os.lstat(path)
    except OSError as error:
        return error.strerror or "unknown"
    return f"{stat.filemode(found.st_mode)}, owner {user_name(found.st_uid)}"


def _conversation(path: str, timeout: float) -> Iterator[tuple[str, str]]:
    started = time.monotonic()
    deadline = started + timeout
    try:
        with connect(path, deadline) as connection:
            listener = peer_credentials(connection)
            yield "listener", _listener(listener) if listener else "somebody, unknown who"
            reply = exchange(connection, Command.STATUS, deadline)
    except TimeoutError:
        error = TimedOut(path, timeout)
        error.advice = ""  # It sends people here.
        raise error from None
    except OSError as failure:
        raise connect_error(path, failure.errno) from failure
    milliseconds = (time.monotonic() - started) * 1000
    check_reply(path, Command.STATUS, reply)
    yield "answer", f"{parse_status(reply).state}, after {milliseconds:.1f} ms"


def _listener(listener: Credentials) -> str:
    if process_stat(listener.pid)[:1] == [b"T"]:
        return f"{listener}; stopped, `kill -CONT {listener.pid}` lets it go on"
    return str(listener)


def examine_plugin() -> tuple[str, str]:
    """Tell whether twistd sees the plugin, and in which colour to say so."""
    beside = os.path.join(os.path.dirname(sys.executable), "twistd")
    twistd = beside if os.access(beside, os.X_OK) else shutil.which("twistd")
    if twistd is None:
        return "not known: there is no twistd on the PATH", _YELLOW
    try:
        listing = subprocess.run(  # noqa: S603
            [twistd, "--help"],
            # twistd also finds the plugins below where it is started.
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=TWISTD_TIMEOUT,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return printable(f"not known: {error}", display.VALUE_LIMIT), _YELLOW
    if any(line.split()[:1] == ["palingenesis"] for line in listing.stdout.splitlines()):
        return f"visible to {twistd}", ""
    return f"not visible to {twistd}: install palingenesis for the same Python", _RED
