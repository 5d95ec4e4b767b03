"""``palingenesis config init``: a first configuration file, with what is found on this system."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys

from palingenesis.cli.exit_status import Exit
from palingenesis.cli.format import complain
from palingenesis.cli.launchd import LABEL, install
from palingenesis.cli.open_programs import FITTING
from palingenesis.cli.programs import find
from palingenesis.cli.questions import agrees, is_running
from palingenesis.monitor.agents import AGENTS
from palingenesis.monitor.homes import default_homes
from palingenesis.text import MESSAGE_LIMIT, in_short, printable
from palingenesis.trust import make_private, write_new
from palingenesis.words import Method

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from palingenesis.cli.programs import Found

_HEAD = """\
# The configuration of palingenesis. Every key may be left out; a `#` begins a comment.
# `palingenesis config check` finds mistakes, `palingenesis reload` applies changes, and
# `palingenesis config show` shows every value. The manual, palingenesis(1), has every key.
"""
_UNASKED = """\

# Take the `#` away from the lines of an agent to have its sessions brought back. Until then
# they are only monitored.
"""
_NOTIFY = """\

# The command that notifies you; the event is on its standard input.
# [notify]
# command = {command}
"""
_POST = ("notify", "post", "--as", "ntfy", "https://ntfy.sh/your-own-topic")
_OTHER = """\

# Another home of {agent}, that of another account. It is monitored only if it is named.
# [homes.{name}]
# agent = "{agent}"
# directory = {directory}
"""
_ABSENT = """\

# {name}: no program was found. Name the path of it to have its sessions brought back.
"""


def init(path: str) -> Exit:
    """
    Write a configuration file, unless there is one.

    A command is only named if a person says so: on a terminal, that is asked. Else the lines
    that name commands are comments.
    """
    if os.path.lexists(path):
        complain(f"{path}: exists; `palingenesis config edit` changes it")
        return Exit.USAGE
    found = {name: find(name, os.environ) for name in AGENTS}
    homes = {name: os.path.isdir(agent.home(os.environ)) for name, agent in AGENTS.items()}
    programs = {name: program for name, program in found.items() if program}
    for name, program in found.items():
        print(f"{name}: {_printable(program.path) if program else 'no program found'}")
    named = _asked(programs)
    text = "".join(_text(found, homes, named))
    try:
        make_private(os.path.dirname(path), os.geteuid(), "set XDG_CONFIG_HOME")
        write_new(path, text)
    except OSError as error:
        complain(f"{path}: cannot be written: {in_short(error)}")
        return Exit.USAGE
    print(f"wrote {_printable(path)}")
    if not named:
        print("no command is named in it, so sessions would only be monitored")
        print("next: palingenesis config edit")
        return Exit.DONE
    starts = sys.platform == "darwin" and _starts_at_each_log_in()
    if not starts:
        print(f"next: palingenesis {'reload' if is_running() else 'start'}")
    return Exit.DONE


def _starts_at_each_log_in() -> bool:
    """Ask a person whether launchd starts the daemon, and write what it needs for that."""
    if not agrees("start the daemon at each log-in?", default=False):
        return False
    try:
        path = install()
    except FileExistsError as error:
        print(_printable(f"{error.filename}: exists, and is left as it is"))
        return False
    except OSError as error:
        complain(f"{error.filename}: cannot be written: {in_short(error)}")
        return False
    print(f"wrote {_printable(path)}, which starts {LABEL} at each log-in")
    print(_printable(f"next: launchctl bootstrap gui/{os.getuid()} {shlex.quote(path)}"))
    return True


def _asked(programs: Mapping[str, Found]) -> bool:
    """Ask a person whether sessions are brought back; not without a terminal."""
    if not programs or not (sys.stdin.isatty() and sys.stdout.isatty()):
        return False
    agents = " and ".join(programs)
    return agrees(f"bring sessions of {agents} back when their limit is over?", default=True)


def _text(
    found: Mapping[str, Found | None], homes: Mapping[str, bool], named: bool
) -> Iterator[str]:
    yield _HEAD
    if not named:
        yield _UNASKED
    for name, program in found.items():
        if program is not None:
            yield "\n"
            for line in _revive(name, program):
                yield f"{'' if named or line.startswith('#') else '# '}{line}\n"
        elif homes[name]:
            yield _ABSENT.format(name=name)
            for line in _revive(name, None):
                yield f"# {line}\n"
        yield from _other_homes(name, program)
    yield _NOTIFY.format(command=_toml([*_ourselves(), *_POST]))


def _other_homes(agent: str, program: Found | None) -> Iterator[str]:
    """Yield comments that name the further homes of an agent, those of other accounts."""
    default = default_homes(os.environ)[agent]
    for directory in default.others(os.environ):
        if os.path.realpath(directory) != os.path.realpath(default.directory):
            name = re.sub(r"[^a-z0-9]+", "-", os.path.basename(directory).lower()).strip("-")[:32]
            yield _OTHER.format(agent=agent, name=name, directory=_toml(directory))
            for line in _revive(agent, program, name):
                yield f"# {line.removeprefix('# ')}\n"


def _revive(name: str, program: Found | None, home: str | None = None) -> Iterator[str]:
    command = [f"/path/to/{name}" if program is None else program.path, *AGENTS[name].preset]
    yield f"[revive.{home or name}]"
    yield f"command = {_toml(command)}"
    if queue := AGENTS[name].queue_preset:
        yield "# This hands the prompt to a session whose program is open, too."
        yield f"# queue = {_toml([command[0], *queue])}"
    if program is not None and program.search_path is not None:
        yield "# Its interpreter is not where a daemon that no shell has started looks."
        yield f"environment = {{ PATH = {_toml(program.search_path)} }}"
    if FITTING.get(name) is Method.TYPE_INTO and sys.platform == "linux":
        yield "# In tmux, this types the prompt into an open program that does not go on by itself."
        yield '# type_into = "tmux"'


def _ourselves() -> list[str]:
    """Return how this very command is run by a daemon that has another ``PATH``."""
    script = os.path.join(os.path.dirname(sys.executable), "palingenesis")
    return [script] if os.access(script, os.X_OK) else [sys.executable, "-m", "palingenesis"]


def _toml(value: object) -> str:
    # A basic string of TOML has the escapes of JSON, but no halves of a pair.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _printable(text: str) -> str:
    return printable(text, MESSAGE_LIMIT)
