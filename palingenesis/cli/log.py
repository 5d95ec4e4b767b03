"""``palingenesis log``: what happened to the agents' sessions, one line an event."""

from __future__ import annotations

import json
import select
import sys
import time
from collections import Counter

from palingenesis.cli.columns import at_home, cut
from palingenesis.cli.format import complain, counted, is_time
from palingenesis.cli.monitor import LOG, SESSIONS, objects
from palingenesis.client.errors import ClientError
from palingenesis.text import MESSAGE_LIMIT, NAME_LIMIT, printable
from palingenesis.words import Event, Key, Method

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, NoReturn

    from palingenesis.client.blocking import ControlClient

    #: A session, by its agent and its id.
    Name = tuple[str, str]

#: Columns that a directory takes at most.
DIRECTORY_WIDTH = 32
#: Seconds between two questions of ``log -f``.
FOLLOW_INTERVAL = 1.0
#: How much of an id is shown, in characters.
ID_LENGTH = 8


def log_filter(number: int | None, since: float | None, session: str | None) -> list[str]:
    """
    Return the words of a filter of ``LOG``.

    :param number: how many entries; the daemon decides if None.
    :param since: the earliest time, in seconds since the epoch.
    :param session: the beginning of an id.
    """
    if number is not None and since is None and session is None:
        return [str(number)]
    given = {Key.COUNT: number, Key.SINCE: since, Key.SESSION: session}
    return [f"{key}={value}" for key, value in given.items() if value is not None]


def log_lines(client: ControlClient, filters: Sequence[str] = ()) -> list[str]:
    """Describe the last entries, one line each; raises what `list_line` does."""
    entries = objects(client, LOG, *filters)
    is_chosen = any(not each.startswith(f"{Key.COUNT}=") and "=" in each for each in filters)
    nothing = "no such entries" if is_chosen else "nothing has happened to any session"
    return story(entries, _directories(client)) or [nothing]


def follow(client: ControlClient, filters: Sequence[str], as_json: bool) -> NoReturn:
    """
    Print the last entries and then each new one, until interrupted.

    A daemon that stops is waited for, and reported once.

    :param as_json: whether each entry is printed as a line of JSON.
    :raises palingenesis.client.errors.ClientError: when there is no daemon at first.
    """
    entries = objects(client, LOG, *filters)
    chosen = [each for each in filters if each.startswith(f"{Key.SESSION}=")]
    latest = time.time() if not entries else 0.0
    day, complained = "", ""
    shown: set[str] = set()
    while True:
        fresh = [each for each in entries if json.dumps(each) not in shown]
        if fresh and as_json:
            print("\n".join(map(json.dumps, fresh)), flush=True)
        elif fresh:
            lines = story(fresh, _directories(client), day)
            day = _local(fresh[-1].get(Key.AT))[0]
            print("\n".join(lines), flush=True)
        latest = max([latest, *(each[Key.AT] for each in entries if is_time(each.get(Key.AT)))])
        # Only those of the latest time come again.
        shown = {json.dumps(each) for each in entries if each.get(Key.AT) == latest} | (
            shown if not fresh else set()
        )
        _pause()
        try:
            entries = objects(client, LOG, *chosen, f"{Key.SINCE}={latest}")
            complained = ""
        except ClientError as error:
            entries = []
            if str(error) != complained:
                complained = str(error)
                complain(complained)


def _pause() -> None:
    """
    Wait for the next question.

    :raises BrokenPipeError: as soon as the reader of the output has gone: the next entry may be
        hours away.
    """
    waits = select.poll()
    try:
        waits.register(sys.stdout.fileno(), 0)
    except (OSError, ValueError):
        time.sleep(FOLLOW_INTERVAL)
        return
    for _, event in waits.poll(FOLLOW_INTERVAL * 1000):
        if event & (select.POLLERR | select.POLLHUP):
            raise BrokenPipeError
        time.sleep(FOLLOW_INTERVAL)  # A kind of output that cannot be waited for.


def point_in_time(text: str) -> float:
    """
    Convert an argument to a time, in seconds since the epoch.

    A time of day alone is the last one that is past.

    :raises ValueError: if it is neither ``22:00`` nor ``2026-09-19 22:00``.
    """
    now = time.time()
    for form in ("%H:%M", "%H:%M:%S", "%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M"):
        try:
            given = time.strptime(text, form)
        except ValueError:
            continue
        if "%Y" in form:
            return time.mktime((*given[:8], -1))
        today = time.localtime(now)
        for days in (0, 1):
            day = (today.tm_year, today.tm_mon, today.tm_mday - days)
            at = time.mktime((*day, given.tm_hour, given.tm_min, given.tm_sec, 0, 0, -1))
            if at <= now:
                return at
    raise ValueError(f"{text!r} is not a time such as 22:00 or 2026-09-19 22:00")


def story(
    entries: Sequence[dict[str, Any]], directories: Mapping[Name, str], day: str = ""
) -> list[str]:
    """
    Describe entries of the ledger in order, in local time, with the date if the day changes.

    :param entries: as ``LOG`` lists them.
    :param directories: where the sessions were started, as far as that is known.
    :param day: the date of the entry before them.
    """
    names = _names(entries, directories)
    lines = []
    for entry in entries:
        date, clock = _local(entry.get(Key.AT))
        if date != day:
            day = date
            lines.append(date)
        event = _text(entry, Key.EVENT)
        describe = _EVENTS.get(event)
        text = event if describe is None else describe(entry)
        lines.append("  ".join(filter(None, (clock, names[_name(entry)], text))))
    return lines


def _directories(client: ControlClient) -> dict[Name, str]:
    """Ask where the sessions were started, which the ledger does not hold."""
    try:
        sessions = objects(client, SESSIONS)
    except ClientError:
        # Their ids distinguish the sessions too.
        return {}
    return {
        (_text(each, Key.AGENT), _text(each, Key.ID)): each[Key.DIRECTORY]
        for each in sessions
        if isinstance(each.get(Key.DIRECTORY), str)
    }


def _names(
    entries: Sequence[dict[str, Any]], directories: Mapping[Name, str]
) -> dict[Name | None, str]:
    """Name each session by its directory; by its id too if two are in the same one."""
    sessions = dict.fromkeys(name for entry in entries if (name := _name(entry)))
    shown = {
        name: f"{name[0]} {cut(at_home(directories[name]), DIRECTORY_WIDTH)}"
        for name in sessions
        if name in directories
    }
    times = Counter(shown.values())
    names: dict[Name | None, str] = {None: ""}
    for name in sessions:
        text = shown.get(name, name[0])
        names[name] = text if times[text] == 1 else f"{text} {name[1][:ID_LENGTH]}"
    return names


def _name(entry: dict[str, Any]) -> Name | None:
    if entry.get(Key.SESSION) is None:
        return None
    return _text(entry, Key.AGENT), _text(entry, Key.SESSION)


def _stopped(entry: dict[str, Any]) -> str:
    text = f"stopped: {_text(entry, Key.KIND)}"
    due = entry.get(Key.DUE)
    if not is_time(due):
        return text
    date, clock = _local(due)
    today = date == _local(entry.get(Key.AT))[0]
    return f"{text}, due {clock}" if today else f"{text}, due {date} {clock}"


def _started(entry: dict[str, Any]) -> str:
    if entry.get(Key.METHOD) == Method.TYPE_INTO:
        return f"{_revival(entry)} has typed its prompt"
    return f"{_revival(entry)} started, pid {_text(entry, Key.PID)}"


def _begins(entry: dict[str, Any]) -> str:
    method = entry.get(Key.METHOD)
    how = "" if method is None else f", by `{_text(entry, Key.METHOD)}`"
    return f"{_revival(entry)} begins{how}"


def _failed(entry: dict[str, Any]) -> str:
    text = _because(f"{_revival(entry)} failed")(entry)
    if not entry.get(Key.REASON) or entry.get(Key.EXIT):
        text += _exit(entry)
    return text + _output(entry)


def _exit(entry: dict[str, Any]) -> str:
    status = entry.get(Key.EXIT)
    if type(status) is not int:
        return " (exit unknown)"
    return f" (signal {-status})" if status < 0 else f" (exit {status})"


def _output(entry: dict[str, Any]) -> str:
    path = entry.get(Key.OUTPUT)
    return f"; output in {printable(at_home(path), MESSAGE_LIMIT)}" if isinstance(path, str) else ""


def _gave_up(entry: dict[str, Any]) -> str:
    attempts = entry.get(Key.ATTEMPT)
    return f"gave up after {counted(attempts, Key.ATTEMPT)}" if type(attempts) is int else "gave up"


def _by(word: str) -> Callable[[dict[str, Any]], str]:
    return lambda entry: word if entry.get(Key.BY) is None else f"{word} by {_text(entry, Key.BY)}"


def _because(word: str) -> Callable[[dict[str, Any]], str]:
    return lambda entry: (
        word if entry.get(Key.REASON) is None else f"{word}: {_text(entry, Key.REASON)}"
    )


def _revival(entry: dict[str, Any]) -> str:
    return f"revival {_text(entry, Key.ATTEMPT)}"


#: How each event is described; one that is not here is shown by its name.
_EVENTS: dict[str, Callable[[dict[str, Any]], str]] = {
    Event.STOPPED: _stopped,
    Event.INTENT: _begins,
    Event.STARTED: _started,
    Event.WORKED: lambda entry: f"{_revival(entry)} worked",
    Event.FAILED: _failed,
    Event.GAVE_UP: _gave_up,
    Event.LEFT: lambda _: "left by its user",
    Event.ENDED: lambda entry: f"{_revival(entry)} ended{_exit(entry)}",
    Event.KILLED: _because("revival killed"),
    Event.CONTINUED: lambda _: "goes on under another id",
    Event.NEEDS_YOU: _because("needs you"),
    Event.ON_HOLD: _by("on hold"),
    Event.RELEASED: _by(Event.RELEASED),
    Event.ASKED: _by("revival asked for"),
    Event.DIGEST: lambda _: "the digest is sent",
    Event.KEPT: lambda _: "this daemon revives in a further home from now on",
    Event.PAUSED: _by(Event.PAUSED),
    Event.RESUMED: _by(Event.RESUMED),
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
