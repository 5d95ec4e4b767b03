"""``palingenesis log``: what happened to the agents' sessions, told as a story."""

from __future__ import annotations

import time
from collections import Counter

from palingenesis.cli.columns import at_home, cut
from palingenesis.cli.format import counted, is_time
from palingenesis.cli.monitor import LOG, SESSIONS, list_line, objects
from palingenesis.client.errors import ClientError
from palingenesis.text import NAME_LIMIT, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from palingenesis.client.blocking import ControlClient

    #: A session, by its agent and its id.
    Name = tuple[str, str]

#: Columns that a directory takes at most.
DIRECTORY_WIDTH = 32
#: How much of an id is enough to tell it from others, in characters.
ID_LENGTH = 8


def entries_line(client: ControlClient, number: int | None) -> bytes:
    """
    Return the daemon's own line: the last entries of its ledger.

    :param number: how many; the daemon decides where None.
    :raises palingenesis.client.errors.ClientError: when there is none.
    """
    return list_line(client, LOG, *([] if number is None else [str(number)]))


def log_lines(client: ControlClient, number: int | None) -> list[str]:
    """Tell the last entries, a line for each; raises what `entries_line` does."""
    entries = objects(client, LOG, *([] if number is None else [str(number)]))
    return story(entries, _directories(client)) or ["nothing has happened to any session"]


def story(entries: Sequence[dict[str, Any]], directories: Mapping[Name, str]) -> list[str]:
    """
    Tell entries of the ledger in order, in local time, with the date where the day changes.

    :param entries: as ``LOG`` tells them.
    :param directories: where the sessions were started, as far as that is known.
    """
    names = _names(entries, directories)
    lines = []
    day = ""
    for entry in entries:
        date, clock = _local(entry.get("at"))
        if date != day:
            day = date
            lines.append(date)
        event = _text(entry, "event")
        tell = _TOLD.get(event)
        told = event if tell is None else tell(entry)
        lines.append("  ".join(filter(None, (clock, names[_name(entry)], told))))
    return lines


def _directories(client: ControlClient) -> dict[Name, str]:
    """Ask where the sessions were started, which the ledger does not tell."""
    try:
        sessions = objects(client, SESSIONS)
    except ClientError:
        # Their ids tell the sessions apart too.
        return {}
    return {
        (_text(each, "agent"), _text(each, "id")): each["directory"]
        for each in sessions
        if isinstance(each.get("directory"), str)
    }


def _names(
    entries: Sequence[dict[str, Any]], directories: Mapping[Name, str]
) -> dict[Name | None, str]:
    """Name each session by its directory; by its id too where two are in the same one."""
    sessions = dict.fromkeys(name for entry in entries if (name := _name(entry)))
    shown = {
        name: f"{name[0]} {cut(at_home(directories[name]), DIRECTORY_WIDTH)}"
        for name in sessions
        if name in directories
    }
    times = Counter(shown.values())
    names: dict[Name | None, str] = {None: ""}
    for name in sessions:
        told = shown.get(name, name[0])
        names[name] = told if times[told] == 1 else f"{told} {name[1][:ID_LENGTH]}"
    return names


def _name(entry: dict[str, Any]) -> Name | None:
    if entry.get("session") is None:
        return None
    return _text(entry, "agent"), _text(entry, "session")


def _stopped(entry: dict[str, Any]) -> str:
    told = f"stopped: {_text(entry, 'kind')}"
    due = entry.get("due")
    if not is_time(due):
        return told
    date, clock = _local(due)
    return (
        f"{told}, due {clock}"
        if date == _local(entry.get("at"))[0]
        else f"{told}, due {date} {clock}"
    )


def _started(entry: dict[str, Any]) -> str:
    return f"{_revival(entry)} started, pid {_text(entry, 'pid')}"


def _failed(entry: dict[str, Any]) -> str:
    status = entry.get("exit")
    if type(status) is not int:
        return f"{_revival(entry)} failed (exit unknown)"
    if status < 0:
        return f"{_revival(entry)} failed (signal {-status})"
    return f"{_revival(entry)} failed (exit {status})"


def _gave_up(entry: dict[str, Any]) -> str:
    attempts = entry.get("attempt")
    return f"gave up after {counted(attempts, 'attempt')}" if type(attempts) is int else "gave up"


def _by(word: str) -> Callable[[dict[str, Any]], str]:
    return lambda entry: word if entry.get("by") is None else f"{word} by {_text(entry, 'by')}"


def _revival(entry: dict[str, Any]) -> str:
    return f"revival {_text(entry, 'attempt')}"


#: How each event is told; one that is not here is told by its name.
_TOLD: dict[str, Callable[[dict[str, Any]], str]] = {
    "stopped": _stopped,
    "intent": lambda entry: f"{_revival(entry)} begins",
    "started": _started,
    "worked": lambda entry: f"{_revival(entry)} worked",
    "failed": _failed,
    "gave-up": _gave_up,
    "left": lambda _: "left by its user",
    "paused": _by("paused"),
    "resumed": _by("resumed"),
}


def _local(at: object) -> tuple[str, str]:
    """Split a time in seconds since the epoch into the local date and the local time."""
    if not is_time(at):
        return "no date", "--:--:--"
    local = time.localtime(at)
    return time.strftime("%Y-%m-%d", local), time.strftime("%H:%M:%S", local)


def _text(entry: dict[str, Any], key: str) -> str:
    value = entry.get(key)
    return "?" if value is None else printable(str(value), NAME_LIMIT)
