"""``palingenesis doctor``: each step on the way to the daemon, and the step that fails."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import time

from palingenesis.cli.config import doubts, read_trusted
from palingenesis.cli.exit_status import Exit, exit_status
from palingenesis.cli.format import GREEN, PLAIN, RED, YELLOW, labelled
from palingenesis.cli.inspection import inspection
from palingenesis.cli.inspection import rows as inspected_rows
from palingenesis.cli.lacking import Surroundings, directories_of, lacks
from palingenesis.cli.monitor import INSPECT, every_session
from palingenesis.cli.twistd import twistd_command
from palingenesis.client.blocking import ControlClient, Deadline, connect, converse
from palingenesis.client.errors import (
    ClientError,
    NotRunning,
    connect_error,
    is_chosen,
    user_name,
)
from palingenesis.client.exchange import Exchange
from palingenesis.client.listener import listener_elsewhere, listener_of
from palingenesis.client.location import find_socket
from palingenesis.config import ConfigError
from palingenesis.pathlock import holder
from palingenesis.paths import Exposure, PathError, config_file, exposure, unread_directory
from palingenesis.procfs import environment_of, has_ended, is_stopped, peer_credentials
from palingenesis.text import in_short, printable
from palingenesis.wire import Command
from palingenesis.words import Key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from socket import socket

    from palingenesis.cli.inspection import Row
    from palingenesis.config import Config
    from palingenesis.locate import Location
    from palingenesis.monitor.settings import Settings

#: Seconds that ``twistd palingenesis --help`` may take.
TWISTD_TIMEOUT = 30.0

_LABEL_WIDTH = 11
#: What a red row means for a daemon that answers, the worst first.
_VERDICTS = {
    "restart": "would not start again",
    "plugin": "would not start again",
    "ledger": "revives nothing without its ledger",
    "notify": "cannot notify you",
}
#: What the colours of the rows are called for programs.
_LEVELS = {PLAIN: "plain", GREEN: "good", YELLOW: "warning", RED: "bad"}
#: The rows that show whether a start would succeed.
_STARTS = frozenset({"config", "restart", "plugin", "files", "log", "PID file"})
_GOOD = "the daemon is healthy"
_WOULD_REVIVE = "the daemon runs and would bring sessions back"
_READY = "a daemon started now would bring sessions back"
_EXPOSURES = {
    Exposure.PRIVATE: ("private", PLAIN),
    Exposure.OPEN: ("open to others, so the socket's own mode decides", YELLOW),
    Exposure.GROUP_WRITABLE: ("its group can replace what is in it", YELLOW),
    Exposure.WORLD_WRITABLE: ("others can replace what is in it", RED),
    Exposure.FOREIGN: ("its owner can replace what is in it", RED),
}


def examine(
    given: str | None, timeout: float, colour: bool, as_json: bool = False, tries: bool = False
) -> Exit:
    """
    Print each step on the way to the daemon, and a verdict.

    :param given: the path of the socket, or None to look for it.
    :param timeout: seconds that the daemon has for its answer.
    :param as_json: whether one object is printed at the end, with all rows.
    :param tries: whether each program is tried where a session would be brought back, and the
        notification is sent once.
    :returns: done if sessions would come back, or if an application's daemon is healthy.
    :raises SocketPathError: when the path cannot be a socket's.
    """
    rows: list[Row] = []

    def say(label: str, value: str, value_colour: str = PLAIN) -> None:
        rows.append((label, value, value_colour))
        if not as_json:
            # Each row as soon as it is known: the next may take as long as the timeout.
            print(labelled(label, value, colour, value_colour, _LABEL_WIDTH), flush=True)

    status = _examine(given, timeout, tries, rows, say)
    if as_json:
        print(
            json.dumps(
                {
                    "verdict": rows[-1][1],
                    "exit": int(status),
                    "rows": [
                        {"label": label, "value": value, "level": _LEVELS[level]}
                        for label, value, level in rows
                    ],
                }
            )
        )
    return status


def _examine(
    given: str | None, timeout: float, tries: bool, rows: list[Row], say: Callable[..., None]
) -> Exit:
    location = find_socket(given)
    client = ControlClient(given, timeout)
    say("path", printable(f"{location.path}, by {location.source}"))
    say("directory", *_directory(os.path.dirname(location.path)))
    say("socket", _socket(location.path))
    error: ClientError | None = None
    try:
        for row in _conversation(location, timeout):
            say(*row)
        for row in inspection(client):
            say(*row)
    except ClientError as caught:
        error = caught
        say("answer", f"none: {error.reason}", RED)
        for row in _lock(location.path):
            say(*row)
    # Neither our configuration nor our plugin says anything about an application's daemon.
    is_ours = not is_chosen(location)
    if is_ours:
        for row in _other_places(location):
            say(*row)
        for row in _configuration(location.path, error is None):
            # The daemon itself knows which file it reads, and every mistake in it.
            if row[0] not in [label for label, _, _ in rows]:
                say(*row)
        if (unread := unread_directory()) is not None:
            say("unread", printable(f"{unread}; move its files to where they are read"), YELLOW)
        say("plugin", *examine_plugin())
    shown = say if tries else None
    if error is None:
        missing = _missing(client, say, shown)
    elif isinstance(error, NotRunning) and (is_ours or tries):
        missing = _missing_at_a_start(given, say, shown)
    else:
        missing = None
    if missing is None and tries:
        say("tried", "nothing, since this daemon has no monitor", RED)
    failing = [label for label, _, level in rows if level == RED]
    if error is not None:
        _show_a_start(missing, failing, say)
        say("verdict", str(error), RED)
        return exit_status(error)
    for each in (missing or [])[1:]:
        say("lacks", printable(each), RED)
    words, verdict_colour = _verdict(missing, failing)
    say("verdict", printable(words), verdict_colour)
    return Exit.DONE if verdict_colour == GREEN else Exit.ERROR_REPLY


def _show_a_start(missing: list[str] | None, failing: list[str], say: Callable[..., None]) -> None:
    """
    Show what a daemon would lack if it were started now, or that it would lack nothing.

    :param missing: what it would lack; None if that is not known.
    :param failing: the labels of the rows that are red.
    """
    for each in missing or ():
        say("lacks", printable(each), RED)
    if missing == [] and _STARTS.isdisjoint(failing):
        say("ready", _READY, GREEN)


def _missing(
    client: ControlClient, say: Callable[..., None], shown: Callable[..., None] | None
) -> list[str] | None:
    """
    Return what a daemon lacks to bring sessions back; None if it has no monitor.

    :param shown: shows each trial; None if nothing but the programs is tried.
    """
    try:
        extra = client.status().extra
        inspected = client.send(INSPECT)
        config = inspected[Key.CONFIGURATION]
        try:
            settings = _settings(config[Key.PATH] if config[Key.EXISTS] else None)
        except ConfigError:
            settings = None
        pid = extra.get(Key.PID)
        found = environment_of(pid) if type(pid) is int else None
        inherited = dict(os.environ) if found is None else found
        places = directories_of(every_session(client)) if shown else {}
        around = Surroundings(settings, inherited, places, shown)
        missing = list(lacks(inspected, extra.get(Key.SCAN), around.trial))
        _name_others(inspected[Key.STATE_DIRECTORY], inherited, say)
    except (ClientError, AttributeError, KeyError, TypeError):
        return None
    _warn(settings, inherited, say)
    around.notify()
    return missing


def _missing_at_a_start(
    given: str | None, say: Callable[..., None], shown: Callable[..., None] | None
) -> list[str]:
    """Return what a daemon would lack if it were started now; see `_missing`."""
    from palingenesis.cli.unstarted import Unstarted

    path = config_file()
    existing = path if path and os.path.lexists(path) else None
    try:
        settings = _settings(existing)
        unstarted = Unstarted(settings, existing, given)
    except ConfigError as error:
        return [f"the configuration has a mistake: {error}"]
    except PathError as error:
        return [str(error)]
    for row in (*inspected_rows(unstarted.inspected), *unstarted.rows()):
        if row[0] != "config":  # It is shown already.
            say(*row)
    around = Surroundings(settings, os.environ, unstarted.directories() if shown else {}, shown)
    missing = list(lacks(unstarted.inspected, None, around.trial))
    _name_others(unstarted.state, os.environ, say)
    _warn(settings, os.environ, say)
    around.notify()
    return missing


def _name_others(directory: str, inherited: Mapping[str, str], say: Callable[..., None]) -> None:
    """Name each daemon of this user and its home that keeps another state directory."""
    from palingenesis.monitor.keeper import DAEMON, other_daemons
    from palingenesis.monitor.owners import take_snapshot

    snapshot = take_snapshot(programs=frozenset({DAEMON}))
    for line in other_daemons(snapshot, directory, inherited.get("HOME")):
        say("beside", printable(line), YELLOW)


def _settings(path: str | None) -> Settings:
    """
    Return the settings of a configuration file, as a start would read it; the defaults if None.

    :raises ConfigError: if there is a mistake in it.
    """
    from palingenesis.monitor.settings import Settings, settings_of

    if path is None:
        return Settings()
    return settings_of(read_trusted(path).tables)


def _warn(
    settings: Settings | None, inherited: Mapping[str, str], say: Callable[..., None]
) -> None:
    for doubt in () if settings is None else doubts(settings, inherited):
        say("warning", printable(doubt), YELLOW)


def _verdict(missing: list[str] | None, failing: list[str]) -> tuple[str, str]:
    """
    Return the verdict on a daemon that answers.

    :param missing: what it lacks to bring sessions back; None if it has no monitor.
    :param failing: the labels of the rows that are red.
    """
    if missing:
        return f"the daemon runs, but would bring no session back: {missing[0]}", RED
    if not failing:
        return _GOOD if missing is None else _WOULD_REVIVE, GREEN
    for label, verdict in _VERDICTS.items():
        if label in failing:
            return f"the daemon is healthy, but {verdict}", YELLOW
    return f"the daemon runs, but the row {failing[0]} shows a mistake", YELLOW


def _directory(directory: str) -> tuple[str, str]:
    shown = printable(directory)
    try:
        found = os.stat(directory)
    except OSError as error:
        return f"{shown}: {in_short(error)}", RED
    judged = exposure(found, os.geteuid())
    if judged is Exposure.NO_DIRECTORY:
        return f"{shown} is not a directory", RED
    words, colour = _EXPOSURES[judged]
    mode = stat.S_IMODE(found.st_mode)
    return f"{shown}: {words} (mode {mode:04o}, owner {user_name(found.st_uid)})", colour


def _socket(path: str) -> str:
    try:
        found = os.lstat(path)
    except OSError as error:
        return in_short(error)
    return f"{stat.filemode(found.st_mode)}, owner {user_name(found.st_uid)}"


def _conversation(location: Location, timeout: float) -> Iterator[Row]:
    exchange = Exchange(location, Command.STATUS)
    started = time.monotonic()
    deadline = Deadline(timeout)
    try:
        with connect(location.path, deadline) as connection:
            yield "listener", _listener(connection), PLAIN
            converse(connection, exchange, deadline)
    except TimeoutError:
        error = exchange.timed_out(timeout)
        error.advice = ""  # It sends people here.
        raise error from None
    except OSError as failure:
        raise connect_error(location, failure.errno) from failure
    milliseconds = (time.monotonic() - started) * 1000
    yield "answer", f"{exchange.status().state}, after {milliseconds:.1f} ms", PLAIN


def _listener(connection: socket) -> str:
    listener = listener_of(connection)
    credentials = peer_credentials(connection)
    if credentials and is_stopped(credentials.pid):
        return f"{listener}; stopped, `kill -CONT {credentials.pid}` continues it"
    return listener


def _lock(path: str) -> Iterator[Row]:
    """Name the daemon that holds the path's lock without answering at the path."""
    process = holder(f"{path}.lock")
    if process is not None and not has_ended(process.pid):
        yield "lock", f"held by {process}, so a second daemon will not start", YELLOW


def _other_places(location: Location) -> Iterator[Row]:
    found = listener_elsewhere(location)
    if found is not None:
        yield "elsewhere", found, YELLOW


def _configuration(path: str, running: bool) -> Iterator[Row]:
    file = config_file()
    if file is None:
        yield "config", "none, since no home directory is known", PLAIN
        return
    if not os.path.lexists(file):
        yield "config", printable(f"none at {file}"), PLAIN
        return
    try:
        config = read_trusted(file)
    except ConfigError as error:
        yield "config", str(error), RED
        yield "restart", "would fail over the configuration", RED
        return
    yield "config", printable(f"{file}: valid"), PLAIN
    if running:
        yield from _changes(path, config)


def _changes(path: str, config: Config) -> Iterator[Row]:
    """Yield what the next start would change, unless its own options say otherwise."""
    try:
        mode = stat.S_IMODE(os.stat(path).st_mode)
    except OSError:
        return
    if mode != config.mode:
        yield (
            "restart",
            f"changes the socket's mode from {mode:04o} to {config.mode:04o}, unless an option "
            "sets it",
            YELLOW,
        )


def examine_plugin() -> tuple[str, str]:
    """Run what starts the daemon, and return the outcome and its colour."""
    shown = printable(sys.executable or "python")
    try:
        done = subprocess.run(  # noqa: S603
            [*twistd_command(), "palingenesis", "--help"],
            # twistd also finds the plugins below where it is started.
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            timeout=TWISTD_TIMEOUT,
        )
    except OSError as error:
        return f"{shown} cannot be run: {in_short(error)}", RED
    except subprocess.TimeoutExpired:
        return f"{shown} printed nothing within {TWISTD_TIMEOUT:g} s", RED
    if done.returncode == 0:
        return f"works with {shown}", PLAIN
    said = done.stdout.strip().splitlines() or [f"exit status {done.returncode}"]
    return f"does not work with {shown}: {printable(said[-1])}", RED
