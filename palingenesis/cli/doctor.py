"""``palingenesis doctor``: each step on the way to the daemon, and the one that fails."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import time

from palingenesis.cli.exit_status import Exit, exit_status
from palingenesis.cli.format import GREEN, PLAIN, RED, YELLOW, labelled
from palingenesis.client.blocking import Deadline, connect, converse
from palingenesis.client.errors import ClientError, connect_error, find_socket, user_name
from palingenesis.client.exchange import Exchange
from palingenesis.procfs import Credentials, peer_credentials, process_stat
from palingenesis.text import in_short, printable
from palingenesis.wire import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from palingenesis.locate import Location

#: Seconds that ``twistd --help`` may take.
TWISTD_TIMEOUT = 30.0


def examine(given: str | None, timeout: float, colour: bool) -> Exit:
    """
    Print what is found on the way to the daemon, and a verdict.

    :param given: the path of the socket, or None to look for it.
    :param timeout: seconds that the daemon has for its answer.
    :returns: what ``palingenesis status`` would exit with.
    :raises SocketPathError: when the path cannot be a socket's.
    """

    def say(label: str, value: str, value_colour: str = PLAIN) -> None:
        # Each as soon as it is known: the next may take as long as the timeout.
        print(labelled(label, value, colour, value_colour, width=11), flush=True)

    location = find_socket(given)
    path = location.path
    say("path", printable(f"{path}, by {location.source}"))
    say("directory", *_directory(os.path.dirname(path)))
    say("socket", _socket(path))
    error: ClientError | None = None
    try:
        for label, value in _conversation(location, timeout):
            say(label, value)
    except ClientError as caught:
        error = caught
        say("answer", f"none: {error.reason}", RED)
    say("plugin", *examine_plugin())
    if error is None:
        say("verdict", "the daemon is well", GREEN)
        return Exit.DONE
    say("verdict", str(error), RED)
    return exit_status(error)


def _directory(directory: str) -> tuple[str, str]:
    shown = printable(directory)
    try:
        found = os.stat(directory)
    except OSError as error:
        return f"{shown}: {in_short(error)}", RED
    mode = stat.S_IMODE(found.st_mode)
    facts = f"mode {mode:04o}, owner {user_name(found.st_uid)}"
    if not stat.S_ISDIR(found.st_mode):
        return f"{shown} is not a directory", RED
    if found.st_uid not in (os.geteuid(), 0):
        return f"{shown}: its owner can replace what is in it ({facts})", RED
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        return f"{shown}: others can replace what is in it ({facts})", RED
    if mode & stat.S_IWGRP and not mode & stat.S_ISVTX:
        return f"{shown}: its group can replace what is in it ({facts})", YELLOW
    if mode & 0o077:
        return f"{shown}: open to others, so the socket's own mode decides ({facts})", YELLOW
    return f"{shown}: private ({facts})", PLAIN


def _socket(path: str) -> str:
    try:
        found = os.lstat(path)
    except OSError as error:
        return in_short(error)
    return f"{stat.filemode(found.st_mode)}, owner {user_name(found.st_uid)}"


def _conversation(location: Location, timeout: float) -> Iterator[tuple[str, str]]:
    exchange = Exchange(location.path, Command.STATUS)
    started = time.monotonic()
    deadline = Deadline(timeout)
    try:
        with connect(location.path, deadline) as connection:
            listener = peer_credentials(connection)
            yield "listener", _listener(listener) if listener else "unknown"
            converse(connection, exchange, deadline)
    except TimeoutError:
        error = exchange.timed_out(timeout)
        error.advice = ""  # It sends people here.
        raise error from None
    except OSError as failure:
        raise connect_error(location, failure.errno) from failure
    milliseconds = (time.monotonic() - started) * 1000
    yield "answer", f"{exchange.status().state}, after {milliseconds:.1f} ms"


def _listener(listener: Credentials) -> str:
    if process_stat(listener.pid)[:1] == [b"T"]:
        return f"{listener}; stopped, `kill -CONT {listener.pid}` lets it go on"
    return str(listener)


def examine_plugin() -> tuple[str, str]:
    """Tell whether twistd sees the plugin, and in which colour to say so."""
    beside = os.path.join(os.path.dirname(sys.executable), "twistd")
    twistd = beside if os.access(beside, os.X_OK) else shutil.which("twistd")
    if twistd is None:
        return "not known: there is no twistd on the PATH", YELLOW
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
        return printable(f"not known: {error}"), YELLOW
    if any(line.split()[:1] == ["palingenesis"] for line in listing.stdout.splitlines()):
        return f"visible to {twistd}", PLAIN
    return f"not visible to {twistd}: install palingenesis for the same Python", RED
