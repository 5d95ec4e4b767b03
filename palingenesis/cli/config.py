"""``palingenesis config``: write, show, check and edit the configuration file."""

from __future__ import annotations

import os
import sys

from palingenesis.cli.exit_status import Exit
from palingenesis.cli.format import complain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Iterator, Mapping
    from typing import Any

    from palingenesis.config import Config
    from palingenesis.monitor.settings import Settings

_ACTIONS = (
    ("init", "write a configuration file with what is found on this system"),
    ("show", "show each value, and where it comes from"),
    ("check", "check the file, and report every mistake in it"),
    ("edit", "edit the file with $EDITOR, and check it"),
    ("path", "print the path of the file"),
)
#: The editor if neither variable names one, by POSIX.
_EDITOR = "vi"


def add_options(parser: ArgumentParser) -> None:
    """Add the actions of ``config`` to its parser."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for action, summary in _ACTIONS:
        description = f"{summary[0].upper()}{summary[1:]}."
        added = actions.add_parser(action, help=summary, description=description)
        if action == "check":
            added.add_argument(
                "file", metavar="FILE", nargs="?", help="the file (default: the daemon's own)"
            )
            added.add_argument(
                "--json", action="store_true", help="print a JSON object: mistakes and warnings"
            )
        elif action == "show":
            added.add_argument(
                "--json", action="store_true", help="print a JSON object: key to value and source"
            )


def run(options: Namespace) -> Exit:
    """Carry out ``config``."""
    from palingenesis.paths import config_file
    from palingenesis.words import Key

    path = getattr(options, "file", None) or config_file()
    if path is None:
        complain("no home directory is known, so there is no configuration file; set HOME")
        return Exit.USAGE
    if options.action == "init":
        from palingenesis.cli.config_init import init

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
            print(f"none at {_printable(path)}, so the defaults hold; `palingenesis config init`")
        return Exit.DONE
    return check(path, options.json)


def check(path: str, as_json: bool = False) -> Exit:
    """
    Report each mistake in a file, and warn of what would not work on this system.

    :param as_json: whether all of that is one object.
    """
    from palingenesis.config import ConfigError, check_trusted
    from palingenesis.monitor.settings import settings_of

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
        complain(_printable(f"{path}: {mistake}"))
    for warning in warned:
        complain(_printable(f"warning: {warning}"))
    if mistakes:
        return Exit.USAGE
    print(f"{_printable(path)}: valid")
    return Exit.DONE


def _print_json(path: str, mistakes: list[str], warned: list[str]) -> None:
    import json

    from palingenesis.words import Key

    print(json.dumps({Key.PATH: path, "mistakes": mistakes, "warnings": warned}))


def read(path: str) -> Config:
    """
    Read a configuration file as the daemon does.

    :raises palingenesis.config.ConfigError: if there is a mistake in it.
    """
    from palingenesis.config import load_config
    from palingenesis.monitor import settings
    from palingenesis.web.settings import TABLES as HTTP_TABLES

    return load_config(path, {**settings.TABLES, **HTTP_TABLES}, settings.check_whole)


def read_trusted(path: str) -> Config:
    """
    Read a configuration file as a start of the daemon does.

    :raises palingenesis.config.ConfigError: if there is a mistake in it, or others can change it.
    """
    from palingenesis.config import check_trusted

    check_trusted(path, os.geteuid())
    return read(path)


def warnings(settings: Settings, inherited: Mapping[str, str]) -> Iterator[str]:
    """Yield what a valid configuration names and this system does not have."""
    from palingenesis.cli.open_programs import FITTING
    from palingenesis.words import Method

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
    from palingenesis.monitor.homes import default_homes

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
    from palingenesis.monitor import child
    from palingenesis.monitor.child import CommandError

    try:
        child.find_program(program, child.child_environment(inherited, added))
    except CommandError as error:
        yield f"{key}: {error}"


def show(path: str, given: str | None, as_json: bool) -> Exit:
    """
    Show each value, and where it comes from.

    :param given: the path of the socket on the command line, if any.
    """
    import json

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
    import shlex
    import subprocess

    from palingenesis.cli.questions import ask, is_running
    from palingenesis.text import in_short

    # A link to nothing is one that an editor can follow, and `init` does not.
    if not os.path.lexists(path):
        complain(_printable(f"{path}: no such file; `palingenesis config init` writes it"))
        return Exit.USAGE
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or _EDITOR
    try:
        status = subprocess.run([*shlex.split(editor), path], check=False).returncode  # noqa: S603
    except (OSError, ValueError) as error:
        reason = in_short(error) if isinstance(error, OSError) else str(error)
        complain(_printable(f"cannot run the editor {editor}: {reason}; set EDITOR"))
        return Exit.USAGE
    if status:
        complain(_printable(f"the editor {editor} ended with exit status {status}"))
        return Exit.USAGE
    if (checked := check(path)) is not Exit.DONE:
        return checked
    if not is_running():
        print("next: palingenesis start")
    elif sys.stdin.isatty() and sys.stdout.isatty():
        if ask("make the daemon read it now? [Y/n] ") in ("", "y", "yes"):
            from palingenesis.client.blocking import ControlClient

            ControlClient().reload()
            print("reloaded")
    else:
        print("next: palingenesis reload")
    return Exit.DONE


def _values(path: str, given: str | None) -> Iterator[tuple[str, tuple[Any, str]]]:
    """Yield each key with its value, in which no secret is left, and its source."""
    from palingenesis.config import DEFAULTS, KEYS, parse, read_file
    from palingenesis.locate import locate_socket
    from palingenesis.monitor.settings import SESSIONS_KEYS, settings_of
    from palingenesis.paths import STATE_VARIABLE, state_directory
    from palingenesis.words import Key

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
    from palingenesis.redacted import HIDDEN, redacted

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
    from palingenesis.text import MESSAGE_LIMIT, printable

    return printable(text, MESSAGE_LIMIT)
