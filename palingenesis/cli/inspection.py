"""What only the daemon knows about its monitor, as ``palingenesis doctor`` shows it."""

from __future__ import annotations

import json
import os
import time

from palingenesis import __version__
from palingenesis.cli.columns import at_home
from palingenesis.cli.format import PLAIN, RED, YELLOW, keeper_in_words
from palingenesis.cli.monitor import INSPECT, SESSIONS, is_unknown, objects
from palingenesis.cli.open_programs import open_program
from palingenesis.client.errors import ClientError, ErrorReply
from palingenesis.paths import home_directory
from palingenesis.text import printable
from palingenesis.words import OK_WORD, Key, Method, Owner

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from palingenesis.client.blocking import ControlClient

    #: A label, a value, and the value's colour.
    Row = tuple[str, str, str]


#: Sessions whose owners are named.
_NAMED = 5


def inspection(client: ControlClient) -> Iterator[Row]:
    """Ask a daemon about its monitor; yields nothing if it has none."""
    try:
        inspected = client.send(INSPECT)
    except ClientError as error:
        if not (isinstance(error, ErrorReply) and is_unknown(error)):
            yield "monitor", printable(f"not known: {error.reason}"), YELLOW
        return
    if isinstance(inspected, dict):
        yield from rows(inspected)
        yield from _owners(client)
    else:
        yield "monitor", "not known: the reply to INSPECT is not an object", YELLOW


def _owners(client: ControlClient) -> Iterator[Row]:
    """Yield what has each of the most urgent sessions, and what will be done for it."""
    try:
        sessions = objects(client, SESSIONS)
    except ClientError:
        return  # Another row shows what is wrong with the daemon.
    now = time.time()
    had = [each for each in sessions if isinstance(each.get(Key.WHO), str)]
    for session in had[:_NAMED]:
        directory = at_home(str(session.get(Key.DIRECTORY)))
        has_it = "is unknown: " if session.get(Key.OWNER) == Owner.UNKNOWN else ""
        sentence = open_program(session, now) or f"{has_it}{session[Key.WHO]}"
        text = f"{session.get(Key.AGENT)} in {directory}: {sentence}"
        yield Key.OWNER, printable(text), PLAIN
    if len(had) > _NAMED:
        yield Key.OWNER, f"{len(had) - _NAMED} more: `palingenesis sessions --json`", PLAIN


def agents_in_words(agents: dict[str, dict[str, Any]]) -> str:
    """
    Describe where each agent's sessions are looked for, or why they are not.

    :param agents: what ``INSPECT`` replies.
    :raises AttributeError, KeyError, TypeError: when it replies something else.
    """
    words, missing = [], []
    names = {
        os.path.realpath(known[Key.DIRECTORY]): name
        for name, known in agents.items()
        if known[Key.MONITORED]
    }
    for agent, known in agents.items():
        if known[Key.MONITORED]:
            words.append(f"{agent} in {at_home(known[Key.DIRECTORY])}")
        elif other := names.get(os.path.realpath(known[Key.DIRECTORY])):
            words.append(f"{agent} as {other}")
        elif known[Key.EXISTS]:
            words.append(f"not {agent}, since `agents` in [sessions] leaves it out")
        else:
            missing.append(agent)
    if missing:
        words.append(f"no directory of {', '.join(missing)}")
    return printable("; ".join(words)) or "none"


def rows(inspected: dict[str, Any]) -> Iterator[Row]:
    """Yield a row for each value of an inspection; one that is not known here as it came."""
    for key, value in inspected.items():
        show = _SHOWN.get(key)
        try:
            shown = list(show(value)) if show else [(key, value, PLAIN)]
        except (AttributeError, KeyError, TypeError, ValueError):
            # Another version of the daemon may have another form for it.
            shown = [(key, value, PLAIN)]
        for label, text, colour in shown:
            yield printable(label), _words(text), colour


def configuration(found: dict[str, Any]) -> Iterator[Row]:
    """
    Yield what a start of the daemon would make of the configuration file.

    :param found: as ``INSPECT`` replies it.
    """
    path = found[Key.PATH]
    if found[Key.MISTAKE]:
        yield "config", f"{path}: {found[Key.MISTAKE]}", RED
        yield "restart", "would fail over the configuration", RED
    elif found[Key.EXISTS]:
        yield "config", f"{path}: valid", PLAIN
    elif path is None:
        yield "config", "none, since no home directory is known", PLAIN
    else:
        yield "config", f"none at {path}", PLAIN


def _agents(agents: dict[str, dict[str, Any]]) -> Iterator[tuple[str, object, str]]:
    monitored = any(known[Key.MONITORED] for known in agents.values())
    yield Key.AGENTS, agents_in_words(agents), PLAIN if monitored else YELLOW
    if os.path.isdir(os.path.join(home_directory() or os.devnull, ".gemini")):
        yield "gemini", "not monitored: why its sessions stop is not on disk", PLAIN


def _commands(commands: dict[str, dict[str, Any]]) -> Iterator[tuple[str, object, str]]:
    if not commands:
        yield "revival", "no command is named, so no session is revived", PLAIN
    for name, command in commands.items():
        home, _, method = name.partition(".")
        words = " ".join(command[Key.COMMAND])
        if command[Key.TROUBLE]:
            yield "revival", f"of {name} would fail: {command[Key.TROUBLE]}", RED
        elif method == Method.QUEUE:
            yield "handed", f"to an open {home} by {words}", PLAIN
        elif method == Method.TYPE_INTO:
            yield "typed", f"into the terminal of an open {home}, in tmux", PLAIN
        else:
            yield "revival", f"of {home} by {words}", PLAIN
        if command[Key.PROGRAM]:
            yield Key.PROGRAM, at_home(command[Key.PROGRAM]), PLAIN


def _notify(notify: dict[str, Any] | None) -> Iterator[tuple[str, object, str]]:
    if notify is None:
        return
    if notify[Key.TROUBLE]:
        yield Key.NOTIFY, f"nobody is notified: {notify[Key.TROUBLE]}", RED
    else:
        yield Key.NOTIFY, " ".join(notify[Key.COMMAND]), PLAIN


def _state_directory(path: str) -> Iterator[tuple[str, object, str]]:
    yield Key.STATE, at_home(path), PLAIN


def _keeper(keeper: object) -> Iterator[tuple[str, object, str]]:
    yield Key.KEEPER, keeper_in_words(keeper), PLAIN if keeper is True else YELLOW


def _ledger(trouble: str) -> Iterator[tuple[str, object, str]]:
    yield Key.LEDGER, trouble, PLAIN if trouble == OK_WORD else RED


def _paused(paused: bool) -> Iterator[tuple[str, object, str]]:
    if paused:
        yield Key.PAUSED, "yes; `palingenesis resume` ends the pause", YELLOW


def _version(version: str) -> Iterator[tuple[str, object, str]]:
    if version != __version__:
        text = f"{version}, but {__version__} is installed here; restart the daemon"
        yield Key.VERSION, text, YELLOW


def _web(web: dict[str, Any]) -> Iterator[tuple[str, object, str]]:
    served, failures = web[Key.LISTENING], web[Key.FAILURES]
    if served:
        yield Key.WEB, ", ".join(served), PLAIN
    elif not failures:
        yield Key.WEB, "closed; `palingenesis web` opens it", PLAIN
    for place, why in failures.items():
        yield Key.WEB, f"not at {place}: {why}", YELLOW


_SHOWN: dict[str, Callable[[Any], Iterator[tuple[str, object, str]]]] = {
    # The row of the listener has it.
    Key.PID: lambda _: iter(()),
    Key.CONFIGURATION: configuration,
    Key.AGENTS: _agents,
    Key.COMMANDS: _commands,
    Key.NOTIFY: _notify,
    Key.STATE_DIRECTORY: _state_directory,
    Key.KEEPER: _keeper,
    Key.LEDGER: _ledger,
    Key.PAUSED: _paused,
    Key.WEB: _web,
    Key.VERSION: _version,
}


def _words(value: object) -> str:
    return printable(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
