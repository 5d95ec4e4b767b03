"""``palingenesis config``: write, show, check and edit the configuration file."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys

from palingenesis.cli.config_init import init
from palingenesis.cli.exit_status import Exit
from palingenesis.cli.format import complain
from palingenesis.cli.open_programs import FITTING
from palingenesis.cli.questions import agrees, is_running
from palingenesis.client.blocking import ControlClient
from palingenesis.config import (
    DEFAULTS,
    KEYS,
    ConfigError,
    check_trusted,
    load_config,
    parse,
    read_file,
)
from palingenesis.locate import locate_socket
from palingenesis.monitor import child
from palingenesis.monitor.child import CommandError
from palingenesis.monitor.homes import default_homes
from palingenesis.monitor.settings import SESSIONS_KEYS, TABLES, Settings, check_whole, settings_of
from palingenesis.paths import STATE_VARIABLE, config_file, state_directory
from palingenesis.redacted import HIDDEN, redacted
from palingenesis.text import MESSAGE_LIMIT, in_short, printable
from palingenesis.web.settings import TABLES as HTTP_TABLES
from palingenesis.words import Key, Method

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator, Mapping
    from typing import Any

    from palingenesis.config import Config

#: The editor if neither variable names one, by POSIX.
_EDITOR = "vi"


def run(options: Namespace) -> Exit:
    """Carry out ``config``."""
    path = getattr(options, "file", None) or config_file()
    if path is None:
        complain("no home directory is known, so there is no configuration file; set HOME")
        return Exit.USAGE
    if options.action == "init":
        return init(path)
    if options.action == "show":
        return show(path, options.socket, options.json)
    if options.action == "edit":
        return edit(path)
    if options.action == Key.PATH:
        sys.stdout.buffer.write(os.fsencode(path) + b"\n")
        return Exit.DONE
    if options.file is None and not os.path.lexists(path):
        if options.json:
            _print_json(path, [], [])
        else:
            none = f"none at {_printable(path)}, so the defaults hold"
            print(f"{none}; `palingenesis config init` writes one")
        return Exit.DONE
    return check(path, options.json)


def check(path: str, as_json: bool = False) -> Exit:
    """
    Report each mistake in a file, and warn of what would not work on this system.

    :param as_json: whether all of that is one object.
    """
    mistakes: list[str] = []
    try:
        check_trusted(path, os.geteuid())
    except ConfigError as error:
        mistakes += error.mistakes
    warned: list[str] = []
    try:
        config = read(path)
        warned += warnings(settings_of(config.tables), os.environ)
    except ConfigError as error:
        mistakes += error.mistakes
    if as_json:
        _print_json(path, mistakes, warned)
        return Exit.USAGE if mistakes else Exit.DONE
    for mistake in mistakes:
        complain(f"{path}: {mistake}")
    for warning in warned:
        complain(f"warning: {warning}")
    if mistakes:
        return Exit.USAGE
    print(f"{_printable(path)}: valid")
    return Exit.DONE


def _print_json(path: str, mistakes: list[str], warned: list[str]) -> None:
    print(json.dumps({Key.PATH: path, "mistakes": mistakes, "warnings": warned}))


def read(path: str) -> Config:
    """
    Read a configuration file as the daemon does.

    :raises palingenesis.config.ConfigError: if there is a mistake in it.
    """
    return load_config(path, {**TABLES, **HTTP_TABLES}, check_whole)


def read_trusted(path: str) -> Config:
    """
    Read a configuration file as a start of the daemon does.

    :raises palingenesis.config.ConfigError: if there is a mistake in it, or others can change it.
    """
    check_trusted(path, os.geteuid())
    return read(path)


def warnings(settings: Settings, inherited: Mapping[str, str]) -> Iterator[str]:
    """Yield what a valid configuration names and this system does not have."""
    for name, revival in settings.revive.items():
        agent = settings.homes[name].agent if name in settings.homes else name
        for method in revival.methods:
            key = f"revive.{name}.{method}"
            if (command := revival.run_for(method)) is not None:
                yield from _not_found(key, command.arguments[0], inherited, command.environment)
            elif method is Method.TYPE_INTO:
                yield from _not_found(key, "tmux", inherited, {})
            if method not in (Method.COMMAND, FITTING.get(agent)):
                yield f"{key}: not used, since {agent} has no such way"
        if revival.type_into and Method.TYPE_INTO not in revival.methods:
            yield f"revive.{name}.type_into: not used: a program's terminal is only known on Linux"
    for name, home in settings.homes.items():
        if not os.access(home.directory, os.R_OK | os.X_OK):
            yield f"homes.{name}.directory: {home.directory} is not a directory that you can read"
    yield from doubts(settings, inherited)


def doubts(settings: Settings, inherited: Mapping[str, str]) -> Iterator[str]:
    """
    Yield what of a valid configuration hardly is what was meant.

    :param inherited: the daemon's environment.
    """
    if settings.notify:
        yield from _not_found("notify.command", settings.notify[0], inherited, {})
    homes = {**default_homes(inherited), **settings.homes}
    for name, home in settings.homes.items():
        default = homes[home.agent].directory
        if home.agent in settings.revive and _is_same(default, home.directory):
            yield (
                f"revive.{home.agent}: not used, since [homes.{name}] is the default home of "
                f"{home.agent}; leave that out, or name another directory in it"
            )
        if name not in settings.revive:
            yield f"homes.{name}: [revive.{name}] names no command, so it is only monitored"
    for name, revival in settings.revive.items():
        kind, directory = homes[name].kind, homes[name].directory
        variable = kind.home_variable
        if variable in revival.environment:
            other = kind.home({**inherited, **revival.environment})
            if not _is_same(other, directory):
                yield (
                    f"revive.{name}.environment: {variable} leads to {other}, but the sessions are "
                    f"in {directory}; give the other account [homes.NAME] and [revive.NAME]"
                )
    known = {os.path.realpath(home.directory) for home in homes.values()}
    for home in default_homes(inherited).values():
        if settings.agents is None or home.agent in settings.agents:
            for other in home.others(os.environ):
                if os.path.realpath(other) not in known:
                    yield (
                        f"{other} is a home of {home.agent} that is not monitored; name it in "
                        "[homes.NAME] to monitor this account too"
                    )


def _is_same(one: str, other: str) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def _not_found(
    key: str, program: str, inherited: Mapping[str, str], added: Mapping[str, str]
) -> Iterator[str]:
    try:
        child.find_program(program, child.child_environment(inherited, added))
    except CommandError as error:
        yield f"{key}: {error}"


def show(path: str, given: str | None, as_json: bool) -> Exit:
    """
    Show each value, and where it comes from.

    :param given: the path of the socket on the command line, if any.
    """
    rows = dict(_values(path, given))
    if as_json:
        values = {key: {"value": value, "source": by} for key, (value, by) in rows.items()}
        print(json.dumps(values))
        return Exit.DONE
    shown = {
        f"{key} = {_printable(json.dumps(value, ensure_ascii=False))}": by
        for key, (value, by) in rows.items()
    }
    width = max(len(text) for text in shown if len(text) <= 50)
    for text, by in shown.items():
        print(f"{text:<{width}}  # {_printable(by)}")
    return Exit.DONE


def edit(path: str) -> Exit:
    """Edit a file, check it, and offer to make the daemon read it."""
    # A link to nothing is one that an editor can follow, and `init` does not.
    if not os.path.lexists(path):
        complain(f"{path}: no such file; `palingenesis config init` writes it")
        return Exit.USAGE
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or _EDITOR
    try:
        status = subprocess.run([*shlex.split(editor), path], check=False).returncode  # noqa: S603
    except (OSError, ValueError) as error:
        reason = in_short(error) if isinstance(error, OSError) else str(error)
        complain(f"cannot run the editor {editor}: {reason}; set EDITOR")
        return Exit.USAGE
    if status:
        complain(f"the editor {editor} ended with exit status {status}")
        return Exit.USAGE
    if (checked := check(path)) is not Exit.DONE:
        return checked
    if not is_running():
        print("next: palingenesis start")
    elif sys.stdin.isatty() and sys.stdout.isatty():
        if agrees("make the daemon read it now?", default=True):
            ControlClient().reload()
            print("reloaded")
    else:
        print("next: palingenesis reload")
    return Exit.DONE


def _values(path: str, given: str | None) -> Iterator[tuple[str, tuple[Any, str]]]:
    """Yield each key with its value, in which no secret is left, and its source."""
    config, written = DEFAULTS, {}
    if os.path.lexists(path):
        config = read(path)
        written = parse(path, read_file(path))
    location = locate_socket(given)
    yield "socket", (location.path, location.source)
    variable = f"${STATE_VARIABLE}" if os.environ.get(STATE_VARIABLE) else "default"
    yield "state_directory", (state_directory(), variable)
    for key in KEYS:
        if key != "socket":
            value = getattr(config if hasattr(config, key) else config.limits, key)
            source = path if key in written else "default"
            yield key, (f"{value:04o}" if key == "mode" else value, source)
    settings = settings_of(config.tables)
    sessions: Any = written.get(Key.SESSIONS, {})
    for key in SESSIONS_KEYS:
        # As it was written: some are kept in another form than the file's.
        value, source = getattr(settings, key), "default"
        if key in sessions:
            value, source = sessions[key], path
        yield f"sessions.{key}", (_plain(value), source)
    for name, table in written.items():
        if name in config.tables and name != Key.SESSIONS:
            for key, value in _flat(name, table):
                yield key, (value, path)


def _flat(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the values of a table and of those in it; each is named by the whole way to it."""
    if isinstance(value, dict):
        for key, inner in value.items():
            inner = dict.fromkeys(inner, HIDDEN) if key == "environment" else inner
            yield from _flat(f"{name}.{key}", inner)
    elif isinstance(value, list) and all(isinstance(each, dict) for each in value):
        for number, each in enumerate(value, 1):
            yield from _flat(f"{name}.{number}", each)
    elif isinstance(value, list) and all(isinstance(each, str) for each in value):
        yield name, redacted(value)
    else:
        yield name, _plain(value)


def _plain(value: Any) -> Any:
    """Return a setting as JSON has it."""
    if isinstance(value, (str, bool, int, float)) or value is None:
        return value
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(each) for each in value]
    return str(value)


def _printable(text: str) -> str:
    return printable(text, MESSAGE_LIMIT)
