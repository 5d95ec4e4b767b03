"""The settings of the monitor: their keys, defaults and checks."""

from __future__ import annotations

import os
import re
import reprlib
import stat
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from palingenesis.config import Collector, Mistakes, check_count, check_seconds
from palingenesis.monitor import files
from palingenesis.monitor.agents import AGENTS
from palingenesis.monitor.homes import Home
from palingenesis.monitor.notify import CHOICES, DEFAULT_EVENTS
from palingenesis.monitor.revive import PLACEHOLDERS, Command, gives
from palingenesis.paths import expand_home
from palingenesis.text import NAME_LIMIT, printable
from palingenesis.trust import distrusted
from palingenesis.words import Event, Method

#: Takes a key and its value; returns the value to use, or raises ``ValueError``.
Check = Callable[[str, object], Any]

#: Whether a program's terminal can be known here: by its environment, proc_pid_environ(5).
TYPES = sys.platform == "linux"
#: The most seconds that can be set: some thirty years.
MOST_SECONDS = 1e9
#: Characters of a prompt that is typed, and those that it cannot begin with: what they begin is
#: a command, a menu or a note, and no prompt.
TYPED_LIMIT = 200
NOT_TYPED = ("/", "!", "#", "@")
#: What ``{prompt}`` stands for by default.
PROMPT = "continue"

#: Bytes of a file of variables.
_ENVIRONMENT_SIZE = 64 * 1024
_HOME_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_TIME = "(?:[01][0-9]|2[0-3]):[0-5][0-9]"
_NOTHING: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class HomeRevival:
    """
    How the sessions of a home are brought back.

    :ivar command: the program that takes up a session which nobody has, and its arguments;
        empty if none is named.
    :ivar queue: the program that hands an open one the prompt, likewise.
    :ivar type_into: whether the prompt is typed into the terminal of an open program, on Linux.
    :ivar prompt: what ``{prompt}`` stands for.
    :ivar environment: what is added to the daemon's environment for both.
    :ivar hourly: the most commands started in an hour there; None for that of ``[sessions]``.
    """

    command: tuple[str, ...] = ()
    queue: tuple[str, ...] = ()
    type_into: bool = False
    prompt: str = PROMPT
    environment: Mapping[str, str] = field(default_factory=dict)
    hourly: int | None = None

    @property
    def methods(self) -> tuple[Method, ...]:
        """The methods that are named."""
        named = {
            Method.COMMAND: self.command,
            Method.QUEUE: self.queue,
            Method.TYPE_INTO: self.type_into and TYPES,
        }
        return tuple(method for method, value in named.items() if value)

    def run_for(self, method: Method) -> Command | None:
        """Return what a method runs; None if it runs nothing."""
        arguments = {Method.COMMAND: self.command, Method.QUEUE: self.queue}.get(method)
        return Command(arguments, self.prompt, self.environment) if arguments else None

    def gives(self, method: Method, text: str) -> bool | None:
        """Return whether a method gives a prompt of this text; None if it cannot be known."""
        command = self.run_for(method)
        return text.strip() == self.prompt.strip() if command is None else gives(command, text)


@dataclass(frozen=True, slots=True)
class Project:
    """
    What the configuration says of a directory and all below it.

    :ivar revive: whether sessions are brought back there.
    :ivar prompt: what ``{prompt}`` stands for there; None for that of the home.
    :ivar environment: what is added to the environment of commands there.
    """

    directory: str
    revive: bool = True
    prompt: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)

    def holds(self, directory: str) -> bool:
        """Return whether a directory is this one, or below it."""
        return directory == self.directory or directory.startswith(os.path.join(self.directory, ""))

    def changed(self, revival: HomeRevival) -> HomeRevival:
        """Return how the sessions of a home are brought back here."""
        return replace(
            revival,
            prompt=revival.prompt if self.prompt is None else self.prompt,
            environment={**revival.environment, **self.environment},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """
    The monitor's settings; times in seconds.

    :ivar agents: the agents to monitor; None for each agent whose directory exists.
    :ivar interval: the time between two ticks.
    :ivar quiet: the time without growth after which a session's end is read.
    :ivar margin: the time added to a stated reset.
    :ivar stagger: the longest time added to spread sessions, by their ids.
    :ivar max_age: the time past the reset, or past the stop if no reset is stated, after which
        a session is not revived.
    :ivar retry: the waits before each attempt if no reset is stated; the last one repeats.
    :ivar attempts: the most attempts for one stop without progress.
    :ivar hourly: the most commands started in an hour, in each home.
    :ivar stall: the time without growth after which a revival is ended.
    :ivar stall_tool: the same while a call of a tool is under way.
    :ivar windows: after how many resets a session is brought back since a person last wrote in it.
    :ivar hours: the local time of day within which commands are started, in minutes since
        midnight from and to; None for always.
    :ivar spend: whether a session is brought back whose next turn costs more than its plan.
    :ivar at_once: the most commands that run in a home.
    :ivar outputs: how many files of commands' output are kept.
    :ivar crashes: whether sessions that died in the middle of a turn are revived.
    :ivar backlog: whether sessions that stopped before the first start are revived.
    :ivar homes: the homes of ``[homes]``, by their names.
    :ivar revive: how sessions are brought back, by home; a home without it is only monitored.
    :ivar notify: the command that notifies a person, with its arguments; empty for none.
    :ivar notify_events: the events for which it is run.
    :ivar digest: the hour and minute at which it gets the report's first lines; None for never.
    """

    agents: tuple[str, ...] | None = None
    interval: float = 5.0
    quiet: float = 10.0
    margin: float = 90.0
    stagger: float = 60.0
    max_age: float = 43_200.0
    retry: tuple[float, ...] = (300.0, 900.0, 1800.0, 3600.0)
    attempts: int = 5
    hourly: int = 6
    stall: float = 600.0
    stall_tool: float = 21_600.0
    windows: int = 2
    hours: tuple[int, int] | None = None
    spend: bool = False
    at_once: int = 4
    outputs: int = 20
    crashes: bool = False
    backlog: bool = False
    homes: Mapping[str, Home] = field(default_factory=dict)
    revive: Mapping[str, HomeRevival] = field(default_factory=dict)
    projects: tuple[Project, ...] = ()
    notify: tuple[str, ...] = ()
    notify_events: frozenset[Event] = DEFAULT_EVENTS
    digest: tuple[int, int] | None = None

    def hourly_of(self, home: str) -> int:
        """Return the most commands started in an hour in a home."""
        revival = self.revive.get(home)
        return self.hourly if revival is None or revival.hourly is None else revival.hourly

    def revival_of(self, home: str, directory: str) -> HomeRevival | None:
        """Return how the sessions of a home are brought back in a directory; None if not at all."""
        revival, project = self.revive.get(home), self.project_of(directory)
        return revival if revival is None or project is None else project.changed(revival)

    def project_of(self, directory: str) -> Project | None:
        """Return the project with the longest directory that a directory is in; None if none."""
        fitting = [each for each in self.projects if each.holds(directory)]
        return max(fitting, key=lambda each: len(each.directory), default=None)


def settings_of(checked: Mapping[str, Any]) -> Settings:
    """Return the settings of tables that :data:`TABLES` has checked."""
    whole = {name: checked[name] for name in ("homes", "revive", "projects") if name in checked}
    return Settings(**checked.get("sessions", _NOTHING), **whole, **checked.get("notify", _NOTHING))


def check_whole(written: Mapping[str, object], tables: Mapping[str, Any]) -> None:
    """
    Check what the tables say of each other.

    :param written: the tables as they are in the file.
    :param tables: those of them without a mistake, checked.
    :raises ValueError: if a command is given for a home that there is not, two homes are the same
        directory, or a project's prompt cannot be typed where prompts are typed.
    """
    homes = [*AGENTS, *_keys(written.get("homes"))]
    collector = Collector()
    for key in _keys(written.get("revive")):
        with collector:
            if key not in homes:
                shown = printable(key, NAME_LIMIT)
                known = ", ".join(homes)
                raise ValueError(f"revive.{shown}: no home of this name (known: {known})")
    places: dict[str, str] = {}
    for key, home in tables.get("homes", _NOTHING).items():
        with collector:
            other = places.setdefault(os.path.realpath(home.directory), key)
            if other != key:
                raise ValueError(f"homes.{key}.directory: is that of [homes.{other}] too")
    if any(revival.type_into for revival in tables.get("revive", _NOTHING).values()):
        for number, project in enumerate(tables.get("projects", ()), 1):
            with collector:
                if project.prompt is not None:
                    check_typed(f"projects.{number}.prompt", project.prompt)
    collector.raise_all()


def _keys(table: object) -> Iterable[str]:
    return table if isinstance(table, dict) else ()


def _sessions(name: str, table: object) -> dict[str, Any]:
    """Check the table ``[sessions]``."""
    return _check_table(name, table, _SESSIONS)


def _homes(name: str, table: object) -> dict[str, Home]:
    """Check the tables ``[homes.NAME]``."""
    return _check_each(name, table, lambda key: partial(_home, key))


def _revive(name: str, table: object) -> dict[str, HomeRevival]:
    """Check the tables ``[revive.HOME]``; whether there is such a home is for `check_whole`."""
    return _check_each(name, table, lambda _: _home_revival)


def _projects(name: str, value: object) -> tuple[Project, ...]:
    """Check the tables ``[[projects]]``."""
    if not isinstance(value, list):
        raise ValueError(f"{name}: expected tables [[{name}]], not {_type_of(value)}")
    numbered = {str(number): table for number, table in enumerate(value, 1)}
    return tuple(_check_each(name, numbered, lambda _: _project).values())


def _notify(name: str, table: object) -> dict[str, Any]:
    """Check the table ``[notify]``, and return it by the names that `Settings` has for it."""
    checks = {"command": _arguments, "events": _events, "digest": _time_of_day}
    checked = _check_table(name, table, checks)
    if "command" not in checked:
        raise ValueError(f"{name}.command: missing; give a program and its arguments")
    names = {"command": "notify", "events": "notify_events", "digest": "digest"}
    return {names[key]: value for key, value in checked.items()}


#: The monitor's tables in a configuration file, by name, and their checks.
TABLES: Mapping[str, Check] = {
    "sessions": _sessions,
    "homes": _homes,
    "revive": _revive,
    "projects": _projects,
    "notify": _notify,
}


def _check_each(name: str, table: object, check_of: Callable[[str], Check]) -> dict[str, Any]:
    """
    Check each value in a table.

    :param check_of: returns a key's check; raises ValueError if there must be no such key.
    """
    if not isinstance(table, dict):
        # The value is not shown: it may have an environment in it, with secrets.
        raise ValueError(f"{name}: expected a table [{name}], not {_type_of(table)}")
    checked = {}
    collector = Collector()
    for key, value in table.items():
        with collector:
            checked[key] = check_of(key)(f"{name}.{printable(key, NAME_LIMIT)}", value)
    collector.raise_all()
    return checked


def _check_table(
    name: str, table: object, checks: Mapping[str, Check], *needed: str
) -> dict[str, Any]:
    """Check a table whose keys are known; `needed` are those that it must have."""

    def check_of(key: str) -> Check:
        if key not in checks:
            known = ", ".join(checks)
            raise ValueError(f"{name}: unknown key {reprlib.repr(key)} (known: {known})")
        return checks[key]

    checked = _check_each(name, table, check_of)
    if missing := set(needed) - checked.keys():
        raise ValueError(f"{name}.{min(missing)}: missing")
    return checked


def _project(where: str, table: object) -> Project:
    checks: Mapping[str, Check] = {
        "directory": _directory,
        "revive": _flag,
        "prompt": _text,
        "environment": _environment,
    }
    return Project(**_check_table(where, table, checks, "directory"))


def _home(key: str, where: str, table: object) -> Home:
    if _HOME_NAME.fullmatch(key) is None:
        raise ValueError(f"{where}: a name has 1 to 32 of the characters a-z, 0-9, - and _")
    if key in AGENTS:
        raise ValueError(f"{where}: the name of an agent is its default home's; choose another")
    checks: Mapping[str, Check] = {"agent": _agent, "directory": _directory}
    home = _check_table(where, table, checks, *checks)
    return Home(key, home["agent"], home["directory"], is_named=True)


def _home_revival(name: str, table: object) -> HomeRevival:
    checks: Mapping[str, Check] = {
        "command": _command,
        "queue": _command,
        "type_into": _terminal,
        "prompt": _text,
        "environment": _environment,
        "environment_file": _environment_file,
        "hourly": check_count,
    }
    checked = _check_table(name, table, checks)
    from_file = checked.pop("environment_file", _NOTHING)
    environment = {**from_file, **checked.pop("environment", _NOTHING)}
    revival = HomeRevival(**checked, environment=environment)
    if not (revival.command or revival.queue or revival.type_into):
        raise ValueError(f"{name}.command: missing; give a program and its arguments")
    if revival.type_into:
        check_typed(f"{name}.prompt", revival.prompt)
    return revival


def check_typed(name: str, prompt: str) -> None:
    """
    Check a prompt that is typed into a terminal.

    :raises ValueError: if it may be more or something else than one line for the model.
    """
    if not prompt.strip() or prompt != prompt.strip() or not prompt.isprintable():
        raise ValueError(f"{name}: a prompt that is typed is one line of printable characters")
    if len(prompt) > TYPED_LIMIT:
        raise ValueError(f"{name}: a prompt that is typed has at most {TYPED_LIMIT} characters")
    if prompt.startswith(NOT_TYPED):
        known = " ".join(NOT_TYPED)
        raise ValueError(f"{name}: a prompt that is typed begins with none of {known}")


def _terminal(name: str, value: object) -> bool:
    if value != "tmux":
        raise _unexpected(name, '"tmux"', value)
    return True


def _command(name: str, value: object) -> tuple[str, ...]:
    """Check that a command is about the session that it is run for, and no other."""
    arguments = _arguments(name, value)
    found = [word for each in arguments[1:] for word in re.findall(r"\{([a-z_]*)\}", each)]
    known = ", ".join(f"{{{each}}}" for each in PLACEHOLDERS)
    mistakes = [
        f"{name}: unknown placeholder {{{word}}} (known: {known})"
        for word in dict.fromkeys(found)
        if word not in PLACEHOLDERS
    ]
    if "id" not in found:
        mistakes.append(f"{name}: {{id}} is missing, so it would revive another session")
    mistakes += [
        f"{name}: {argument} takes the newest session, not the one of {{id}}"
        for argument in arguments[1:]
        if argument in ("--continue", "--last")
    ]
    if mistakes:
        raise Mistakes(mistakes)
    return arguments


def _environment_file(name: str, value: object) -> Mapping[str, str]:
    """Read ``NAME=value`` lines from a file of our user that nobody else may read."""
    path = _directory(name, value)
    try:
        with files.opened(path) as descriptor:
            status = os.fstat(descriptor)
            content = os.read(descriptor, _ENVIRONMENT_SIZE + 1)
    except OSError as error:
        raise ValueError(f"{name}: {path}: {error.strerror}") from None
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
        raise ValueError(f"{name}: {path}: not a file of the daemon's user")
    if status.st_mode & 0o077:
        raise ValueError(f"{name}: {path}: others may read it; run chmod 600 on it")
    if reason := distrusted(path, status.st_uid):
        raise ValueError(f"{name}: {path}: others could name variables in it: {reason}")
    if len(content) > _ENVIRONMENT_SIZE:
        raise ValueError(f"{name}: {path}: larger than {_ENVIRONMENT_SIZE} bytes")
    variables = {}
    for number, line in enumerate(os.fsdecode(content).splitlines(), 1):
        variable, equals, text = line.strip().partition("=")
        if variable and not variable.startswith("#"):
            if not equals or not variable.isidentifier() or "\0" in text:
                raise ValueError(f"{name}: {path}: line {number} is not NAME=value")
            variables[variable] = text
    return variables


def _hours(name: str, value: object) -> tuple[int, int]:
    if not isinstance(value, str) or re.fullmatch(f"{_TIME}-{_TIME}", value) is None:
        raise _unexpected(name, 'a time of day to another, such as "22:00-08:00"', value)
    begin, end = (int(each[:2]) * 60 + int(each[3:]) for each in value.split("-"))
    if begin == end:
        raise _unexpected(name, "two different times of day", value)
    return begin, end


_seconds = partial(check_seconds, least=0, most=MOST_SECONDS)
_some_seconds = partial(_seconds, above=True)


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise _unexpected(name, "true or false", value)
    return value


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name}: expected a text, not {_type_of(value)}")
    if "\0" in value:
        raise ValueError(f"{name}: expected a text without NUL")
    return value


def _arguments(name: str, value: object) -> tuple[str, ...]:
    # A command is not shown either: it may have a secret among its arguments.
    expected = f"{name}: expected a list of a program and its arguments"
    if not isinstance(value, list):
        raise ValueError(f"{expected}, not {_type_of(value)}")
    if not value or not value[0] or not all(isinstance(e, str) and "\0" not in e for e in value):
        raise ValueError(f"{expected}, each of them a text without NUL")
    return tuple(value)


def _environment(name: str, value: object) -> Mapping[str, str]:
    # No value is shown: it may be a secret.
    if not isinstance(value, dict):
        raise ValueError(f"{name}: expected a table of names and texts, not {_type_of(value)}")
    for key, text in value.items():
        # Nor is what follows a "=" that belongs into the file without quotes.
        variable, equals, _ = key.partition("=")
        where = f"{name}.{printable(variable, NAME_LIMIT)}"
        if equals or not key or "\0" in key:
            raise ValueError(f"{where}: expected the name of a variable, without = or NUL")
        _text(where, text)
    return value


def _agent(name: str, value: object) -> str:
    if not isinstance(value, str) or value not in AGENTS:
        raise _unexpected(name, f"one of {', '.join(AGENTS)}", value)
    return value


def _directory(name: str, value: object) -> str:
    path = expand_home(_text(name, value))
    if not os.path.isabs(path):
        raise _unexpected(name, "an absolute path, or one that begins with ~/", value)
    return os.path.normpath(path)


def _agents(name: str, value: object) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_listed(name, value, AGENTS)))


def _events(name: str, value: object) -> frozenset[Event]:
    return frozenset(CHOICES[each] for each in _listed(name, value, CHOICES))


def _listed(name: str, value: object, known: Collection[str]) -> list[str]:
    """Check that a value is a list of known words."""
    if not isinstance(value, list) or not all(
        isinstance(each, str) and each in known for each in value
    ):
        raise _unexpected(name, f"a list of {', '.join(known)}", value)
    return value


def _time_of_day(name: str, value: object) -> tuple[int, int]:
    if not isinstance(value, str) or re.fullmatch(_TIME, value) is None:
        raise _unexpected(name, 'a time of day, such as "07:00"', value)
    return int(value[:2]), int(value[3:])


def _retry(name: str, value: object) -> tuple[float, ...]:
    if not isinstance(value, list) or not value:
        raise _unexpected(name, "a list of at least one number of seconds", value)
    return tuple(_seconds(name, each) for each in value)


_SESSIONS: Mapping[str, Check] = {
    "agents": _agents,
    "interval": _some_seconds,
    "quiet": _seconds,
    "margin": _seconds,
    "stagger": _seconds,
    "max_age": _seconds,
    "retry": _retry,
    "attempts": check_count,
    "hourly": check_count,
    "stall": _some_seconds,
    "stall_tool": _some_seconds,
    "windows": check_count,
    "hours": _hours,
    "spend": _flag,
    "at_once": check_count,
    "outputs": check_count,
    "crashes": _flag,
    "backlog": _flag,
}


#: The keys of the table ``[sessions]``.
SESSIONS_KEYS = tuple(_SESSIONS)


def _unexpected(name: str, expected: str, value: object) -> ValueError:
    return ValueError(f"{name}: expected {expected}, not {reprlib.repr(value)}")


def _type_of(value: object) -> str:
    """Return what TOML calls a value's type, with its article."""
    names = {dict: "a table", list: "a list", str: "a text", bool: "true or false"}
    return names.get(
        type(value), "a number" if isinstance(value, int | float) else "a date or time"
    )
