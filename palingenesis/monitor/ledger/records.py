"""The records of the ledger: the fields of an entry, and the line of the file that holds it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, is_dataclass
from enum import Enum
from functools import cache
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from palingenesis.words import Event, Key, Kind, Method

#: Integers from here on are not exact in every reader of JSON; RFC 8259, section 6.
_INTEGER_LIMIT = 2**53
#: The keys of `LOG` that each entry has, and those that it has if they apply.
_ALWAYS = (Key.AT, Key.EVENT, Key.SESSION, Key.AGENT, Key.KIND)
_IF_KNOWN = (
    Key.ATTEMPT,
    Key.PID,
    Key.EXIT,
    Key.DUE,
    Key.BY,
    Key.REASON,
    Key.SECONDS,
    Key.SUCCESSOR,
    Key.METHOD,
    Key.OUTPUT,
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Stop:
    """
    One stop of one session, identified by agent, session and key.

    :ivar key: the key of the transcript's record that shows the stop.
    """

    agent: str
    session: str
    key: str
    kind: Kind | None
    transcript: str
    directory: str


@dataclass(frozen=True, slots=True)
class Entry:
    """
    One line of the ledger; times are in seconds since the epoch.

    :ivar attempt: the number of the attempt since the session's last progress, from 1.
    :ivar exit: a command's exit status, negative for a signal; None if it is unknown.
    :ivar due: when the session may go on.
    :ivar by: the client that asked for it.
    :ivar key: the key of the transcript's record that shows the stop.
    :ivar began: the start time of the process ``pid``, as `processes.Process` has it.
    :ivar output: the path of the file that takes the command's output.
    :ivar fresh: whether the session made progress between the stop before and this one.
    :ivar quick: whether a command ended soon after its start and left no record.
    :ivar home: the name of the home in which a session is about to be revived, or was not.
    :ivar method: how it is revived; None for a command.
    :ivar person: whether a person wrote in the session since the intent before this one.
    :ivar found: the key of the last record that a failed command left in the transcript.
    :ivar waited: whether the attempt after a failed one needs no further wait.
    :ivar unstarted: whether the command of a failed one was never started.
    :ivar reason: why a command is killed or could not be started, why an attempt has failed, or
        what a session needs.
    :ivar seconds: how long a command that worked ran.
    :ivar successor: the id under which a session goes on.
    """

    at: float
    event: Event
    session: str | None = None
    agent: str | None = None
    kind: Kind | None = None
    attempt: int | None = None
    pid: int | None = None
    exit: int | None = None
    due: float | None = None
    by: str | None = None
    key: str | None = None
    transcript: str | None = None
    directory: str | None = None
    began: str | None = None
    output: str | None = None
    fresh: bool | None = None
    quick: bool | None = None
    found: str | None = None
    waited: bool | None = None
    unstarted: bool | None = None
    home: str | None = None
    method: Method | None = None
    person: bool | None = None
    reason: str | None = None
    seconds: float | None = None
    successor: str | None = None

    @property
    def stop(self) -> Stop:
        """The stop that it is about; what it does not tell is empty."""
        agent, session, key = self.agent or "", self.session or "", self.key or ""
        return Stop(agent, session, key, self.kind, self.transcript or "", self.directory or "")

    def line(self) -> bytes:
        """Return the entry as a line of the file, newline included."""
        return render({name: value for name, value in asdict(self).items() if value is not None})

    def public(self) -> dict[str, Any]:
        """Return the entry as `LOG` shows it."""
        shown: dict[str, Any] = {key.value: getattr(self, key) for key in _ALWAYS}
        for key in _IF_KNOWN:
            value = getattr(self, key)
            if value not in (None, "") or (key is Key.EXIT and self.event is Event.FAILED):
                shown[key.value] = value
        return shown


def render(value: Mapping[str, Any]) -> bytes:
    """Return an object as a line of the file, newline included."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def objects(content: bytes) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects of a file, line by line; anything else in it is left out."""
    for line in content.split(b"\n"):
        try:
            value = json.loads(line.decode()) if line.strip() else None
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            yield value


def restored(kind: type[T], value: object) -> T | None:
    """
    Return the dataclass that a JSON object holds; None if any of its fields is of a wrong type.

    Fields that the dataclass does not have are ignored.
    """
    try:
        made: T = _restored(kind, value)
    except (TypeError, ValueError):
        return None
    return made


def _restored(kind: Any, value: Any) -> Any:
    """Return a value as its annotation says; raises TypeError or ValueError if it is not one."""
    arguments = get_args(kind)
    match get_origin(kind):
        case origin if origin is UnionType:
            return None if value is None else _restored(arguments[0], value)
        case origin if origin is list:
            return [_restored(arguments[0], each) for each in _checked(list, value)]
        case origin if origin is tuple:
            pairs = zip(arguments, _checked(list, value), strict=True)
            return tuple(_restored(each, part) for each, part in pairs)
    if is_dataclass(kind):
        return _made(kind, _checked(dict, value))
    if issubclass(kind, Enum):
        return kind(value)
    return _number(kind, value) if kind in (int, float) else _checked(kind, value)


def _made(kind: Any, value: dict[str, Any]) -> Any:
    known = {name: each for name, each in _annotations(kind).items() if name in value}
    return kind(**{name: _restored(each, value[name]) for name, each in known.items()})


@cache
def _annotations(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _checked(kind: type, value: Any) -> Any:
    if type(value) is not kind:
        raise TypeError(kind)
    return value


def _number(kind: type, value: Any) -> Any:
    if type(value) is float and kind is float and math.isfinite(value):
        return value
    if abs(_checked(int, value)) >= _INTEGER_LIMIT:
        raise ValueError(value)
    return kind(value)
