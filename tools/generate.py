"""
Write the completions, the manual page and the example of a LaunchAgent.

Run it after a change of the command line or of a setting; a test fails until then. The ``dev``
extra has the tools, in the versions that the files are from.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterable
from functools import partial

import shtab
from argparse_manpage.manpage import Manpage

from palingenesis import __version__, config
from palingenesis.cli.exit_status import Exit
from palingenesis.cli.launchd import launch_agent
from palingenesis.cli.main import COMMANDS
from palingenesis.cli.parser import ENVIRONMENT, make_parser
from palingenesis.monitor import settings
from palingenesis.monitor.agents import AGENTS
from palingenesis.monitor.notify import CHOICES, DEFAULT_EVENTS
from palingenesis.web.settings import HTTPSettings

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

SHELLS = {
    "bash": "palingenesis/cli/completions/palingenesis.bash",
    "zsh": "palingenesis/cli/completions/_palingenesis",
    "fish": "palingenesis/cli/completions/palingenesis.fish",
}
MANUAL = "man/palingenesis.1"
LAUNCH_AGENT = "examples/launchd/palingenesis.plist"

FILES = (
    (
        "$XDG_RUNTIME_DIR/palingenesis.sock",
        "The socket, and beside it its lock, palingenesis.sock.lock. Other places are, in this "
        "order: --socket; $PALINGENESIS_SOCKET; `socket` in the configuration; and without "
        "$XDG_RUNTIME_DIR, /run/user/UID if it exists, else /tmp/palingenesis-UID.",
    ),
    (
        "$XDG_RUNTIME_DIR/palingenesis.pid",
        "The PID file of `start`. With --socket, its name is the socket's.",
    ),
    ("~/.config/palingenesis/config.toml", "The configuration."),
    (
        "~/.local/state/palingenesis",
        "The state directory: ledger.jsonl, the monitor's memory, and ledger.jsonl.1, the file "
        "before it; output, what revived agents print; twistd.log, the log of `start`; http-token, "
        "what programs send over HTTP. Other places are, in this order: --state; "
        "$PALINGENESIS_STATE; palingenesis in $XDG_STATE_HOME.",
    ),
)

EXAMPLES = (
    ("palingenesis start", "Start the daemon in the background."),
    ("palingenesis status --watch", "Show its status until Ctrl-C."),
    ("palingenesis sessions", "Show the sessions of agents and what they wait for."),
    (
        "palingenesis --socket /run/user/1000/jobs.sock send FLUSH queue",
        "Send a command of an application's own.",
    ),
    ('echo STATUS | nc -N -U "$(palingenesis path)"', "Ask without this command."),
)

#: The keys of tables whose settings have another shape, or no docstring.
HOMES = {
    "agent": f"the agent whose sessions are there: {', '.join(AGENTS)}",
    "directory": "the path of the directory",
}
REVIVE = {
    "command": "a list of a program, which takes up a session that nobody has, and its arguments; "
    "{id}, {prompt} and {directory} are replaced",
    "queue": "the same for a program that hands the prompt to the open one",
    "type_into": 'where the prompt is typed into the open program, on Linux: "tmux"',
    "prompt": f"what {{prompt}} stands for (default: {settings.PROMPT})",
    "environment": "a table of further environment variables",
    "environment_file": "a file of NAME=value lines that nobody else may read, for the same",
    "hourly": "the most that are brought back in an hour (default: that of [sessions])",
}
PROJECTS = {
    "directory": "the path of a directory; all below it belongs to it",
    "revive": "whether sessions are brought back there (default: true)",
    "prompt": "what {prompt} stands for there (default: that of the home)",
    "environment": "a table of further environment variables there",
}
NOTIFY = {
    "command": "a list of a program and its arguments; it gets the event on its standard input",
    "events": f"a list of the events for which it is run: {', '.join(CHOICES)} "
    f"(default: {', '.join(each for each in CHOICES if CHOICES[each] in DEFAULT_EVENTS)})",
    "digest": 'the local time at which it gets the first lines of the report, such as "07:00" '
    "(default: never)",
}
#: The keys that are written otherwise than the value that they set, or whose docstring is short.
WRITTEN = {
    "socket": "the path of the socket; a relative one is relative to the file (default: the one "
    "in the runtime directory)",
    "mode": 'permission bits of the socket, octal, such as "0600"; bits beyond the owner\'s let '
    "other users in",
    "log_level": f"the lowest level that is logged: {', '.join(config.LOG_LEVELS)}",
    "hours": 'the local time of day within which commands are started, such as "22:00-08:00" '
    "(default: always)",
    "listen": 'where to listen: "unix:PATH", "127.0.0.1:PORT", "[::1]:PORT", or a list of these',
}


def generate() -> dict[str, str]:
    """Make each file's text, by its path below the root."""
    texts = {path: _completion(shell) for shell, path in SHELLS.items()}
    texts[MANUAL] = _manual()
    texts[LAUNCH_AGENT] = launch_agent('"$HOME/.local/bin/palingenesis"')
    return texts


def _completion(shell: str) -> str:
    parser = make_parser(COMMANDS)
    for each in (parser, *_commands(parser)):
        for action in each._actions:
            if action.dest == "socket":
                action.complete = shtab.FILE  # type: ignore[attr-defined]
    text = shtab.complete(parser, shell)
    return "\n".join(line.rstrip() for line in text.strip().splitlines()) + "\n"


def _manual() -> str:
    parser = make_parser(COMMANDS)
    # A manual has sections for these, and its own way to break lines.
    parser.epilog = None
    for command in _commands(parser):
        command.description = None
        command.formatter_class = partial(argparse.HelpFormatter, width=1000)
    page = Manpage(parser, format="single-commands-section")
    page.description = "control the daemon that brings sessions of coding agents back"
    page.manual = "User Commands"
    page.source = f"palingenesis {__version__}"
    page.date = ""
    page.add_section("exit status", "=", _terms((int(status), status.meaning) for status in Exit))
    page.add_section("environment", "=", _terms(ENVIRONMENT))
    page.add_section("files", "=", _terms(FILES))
    page.add_section("configuration", "=", _configuration())
    page.add_section("examples", "=", _terms(EXAMPLES))
    page.add_section("see also", "=", ".BR twistd (1)")
    return str(page)


def _configuration() -> str:
    """Describe every key of the configuration file, by the docstrings of the settings."""
    tables = {
        "Keys of the file itself:": [
            pair
            for key in config.KEYS
            for pair in _keys(
                [key], config.DEFAULTS.limits if key in config.Limits._fields else config.DEFAULTS
            )
        ],
        "Keys of [sessions]; times are in seconds:": _keys(settings._SESSIONS, settings.Settings()),
        "Keys of [homes.NAME], a further directory of an agent's sessions:": HOMES.items(),
        "Keys of [revive.HOME]; an agent's default home has its name:": REVIVE.items(),
        "Keys of [[projects]]; the longest directory that fits counts:": PROJECTS.items(),
        "Keys of [notify]:": NOTIFY.items(),
        "Keys of [http]:": _keys(HTTPSettings._fields, HTTPSettings()),
    }
    parts = ["The file is TOML, and every key may be left out.\n"]
    for title, keys in tables.items():
        parts.append(f".P\n{title}\n{_terms(keys)}\n")
    return "".join(parts)


def _keys(checks: Iterable[str], defaults: object) -> list[tuple[str, str]]:
    meanings = _meanings(type(defaults)) | WRITTEN
    return [(key, f"{meanings[key]}{_default(getattr(defaults, key), key)}") for key in checks]


def _default(value: object, key: str) -> str:
    if value is None:
        return ""
    if isinstance(value, tuple):
        value = list(value) or "none"
    shown = f"{value:04o}" if key == "mode" else str(value).lower()
    return f" (default: {shown})"


def _meanings(described: type) -> dict[str, str]:
    """Read the meaning of each attribute in a class's docstring."""
    found = re.findall(
        r":(?:ivar|param) (\w+): (.*?)(?=\n *:|\n *$)", described.__doc__ or "", re.DOTALL
    )
    texts = {name: " ".join(text.split()).rstrip(".") for name, text in found}
    return {
        name: re.sub("; None for (.*)", r" (default: \1)", text).replace("`", "")
        for name, text in texts.items()
    }


def _terms(pairs: Iterable[tuple[object, str]]) -> str:
    text = "\n".join(f".TP\n.B {name}\n{meaning}" for name, meaning in pairs)
    return text.replace("\\", r"\e").replace("-", r"\-").replace('"', r"\(dq")


def _commands(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return list(action.choices.values())
    raise LookupError("no commands")


def main() -> None:
    """Write the files."""
    for path, text in generate().items():
        whole = os.path.join(ROOT, path)
        os.makedirs(os.path.dirname(whole), exist_ok=True)
        with open(whole, "w", encoding="utf-8") as file:
            file.write(text)


if __name__ == "__main__":
    main()
