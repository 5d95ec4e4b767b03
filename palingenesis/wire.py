"""
The contract on the wire: commands and replies, parsed and rendered.

Used by both ends, so it is pure and imports little: neither ``dataclasses`` nor
``typing``, each of which would cost the command line a third of its start-up time.
"""

from __future__ import annotations

import json
from collections import namedtuple
from enum import Enum, StrEnum

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any, Self

#: The longest request line, in bytes, its end-of-line not counted.
REQUEST_LIMIT = 512
#: The longest reply, in bytes: what a client reads before it gives up.
REPLY_LIMIT = 65_536
#: The largest count, and the longest uptime in seconds: what fits 64 bits with a sign.
COUNT_LIMIT = 2**63 - 1
#: The longest message of an ``ERR:`` reply, in bytes.
MESSAGE_LIMIT = 400
#: How much of an unknown command is shown, in characters.
ECHO_LIMIT = 60

OK = b"OK\n"

_plain_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
_ascii_json = json.JSONEncoder(allow_nan=False).encode


class Command(Enum):
    """What a client can ask for: one command a connection."""

    STATUS = b"STATUS"
    PAUSE = b"PAUSE"
    RESUME = b"RESUME"
    RELOAD = b"RELOAD"


class State(StrEnum):
    """What the daemon is doing."""

    MONITORING = "monitoring"
    PAUSED = "paused"


class UnknownCommand(ValueError):
    """
    A request line that is none of the commands.

    :ivar line: the line as it was sent.
    """

    def __init__(self, line: bytes) -> None:
        super().__init__(line)
        self.line = line

    def __str__(self) -> str:
        shown = printable(self.line.strip(), ECHO_LIMIT)
        return f"Unknown command: {shown or '(nothing)'}"


class BadStatus(ValueError):
    """
    A status that breaks the contract: a key missing, or of the wrong type.

    :ivar reason: which key, and why.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


_STATES = {state.value: state for state in State}
_COMMANDS = {command.value: command for command in Command}


class DaemonStatus(
    namedtuple(
        "DaemonStatus",
        ("state", "uptime_secs", "current_session", "saves_count", "total_resumes", "extra"),
    )
):
    """
    The answer to ``STATUS``: an immutable value, checked when it is made.

    :param state: monitoring or paused; a plain string of that value will do.
    :param uptime_secs: whole seconds since the daemon started.
    :param current_session: the session now watched, or None.
    :param saves_count: sessions saved since the daemon started.
    :param total_resumes: sessions resumed since the daemon started.
    :param extra: further keys of a daemon's own, each value fit for JSON; they follow
        the five above and may not replace them.
    :raises BadStatus: when a value is of the wrong type, or negative.
    """

    __slots__ = ()

    if TYPE_CHECKING:
        state: State
        uptime_secs: int
        current_session: str | None
        saves_count: int
        total_resumes: int
        extra: Mapping[str, Any]

    def __new__(
        cls,
        state: State | str,
        uptime_secs: int,
        current_session: str | None = None,
        saves_count: int = 0,
        total_resumes: int = 0,
        extra: Mapping[str, Any] | None = None,
    ) -> Self:
        if state.__class__ is not State:
            if not isinstance(state, str) or state not in _STATES:
                raise BadStatus("state is neither monitoring nor paused")
            state = _STATES[state]
        _check_count("uptime_secs", uptime_secs)
        _check_count("saves_count", saves_count)
        _check_count("total_resumes", total_resumes)
        if current_session is not None and not isinstance(current_session, str):
            raise BadStatus("current_session is neither a string nor null")
        if extra is None:
            extra = {}
        elif not all(key.__class__ is str and key not in _FIELDS for key in extra):
            raise BadStatus("an extra key is no string, or one of the contract's own")
        return super().__new__(
            cls, state, uptime_secs, current_session, saves_count, total_resumes, extra
        )

    @classmethod
    def _make(cls, iterable: Iterable[Any]) -> Self:  # type: ignore[override]
        # What _replace calls: a changed status is checked like a new one.
        return cls(*iterable)


_FIELDS = DaemonStatus._fields[:-1]


def _check_count(name: str, value: object) -> None:
    if type(value) is not int or not 0 <= value <= COUNT_LIMIT:
        raise BadStatus(f"{name} is not a whole number from 0 to {COUNT_LIMIT}")


def parse_command(line: bytes) -> Command:
    """
    Tell which command a request line is, its end-of-line included or not.

    White space around it and the case of its ASCII letters do not matter.

    :raises UnknownCommand: for every other line.
    """
    command = _COMMANDS.get(line) or _COMMANDS.get(line.strip().upper())
    if command is None:
        raise UnknownCommand(line)
    return command


def render_status(status: DaemonStatus) -> bytes:
    """
    Render a status as the one line of JSON that answers ``STATUS``.

    :raises BadStatus: when an extra value is not fit for JSON, or the line would be
        longer than `REPLY_LIMIT`.
    """
    state, uptime_secs, current_session, saves_count, total_resumes, extra = status
    try:
        session = "null" if current_session is None else _to_json(current_session)
        further = (
            "".join(f", {_to_json(key)}: {_to_json(extra[key])}" for key in extra) if extra else ""
        )
    except (TypeError, ValueError, RecursionError) as error:
        raise BadStatus(f"not fit for JSON: {error}") from error
    # By hand, because this is what the daemon is asked most: a third of the encoder's time.
    line = (
        f'{{"state": "{state}", "uptime_secs": {uptime_secs}, "current_session": {session}, '
        f'"saves_count": {saves_count}, "total_resumes": {total_resumes}{further}}}\n'
    ).encode()
    if len(line) > REPLY_LIMIT:
        raise BadStatus(f"{len(line)} bytes long, {REPLY_LIMIT} at most")
    return line


def parse_status(line: bytes) -> DaemonStatus:
    """
    Read the line that `render_status` wrote; keys unknown to us land in ``extra``.

    :raises BadStatus: when it is anything else.
    """
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadStatus(f"not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise BadStatus("not a JSON object")
    try:
        values = [fields.pop(name) for name in _FIELDS]
    except KeyError as error:
        raise BadStatus(f"no {error.args[0]}") from None
    return DaemonStatus._make([*values, fields])


def _to_json(value: object) -> str:
    text = _plain_json(value)
    return text if text.isprintable() else _ascii_json(value)


def render_error(message: str) -> bytes:
    """Render an ``ERR:`` reply: one printable line, cut short at `MESSAGE_LIMIT`."""
    text = printable(message, MESSAGE_LIMIT).encode()
    if len(text) > MESSAGE_LIMIT:
        text = text[: MESSAGE_LIMIT - 3].decode(errors="ignore").encode() + b"..."
    return b"ERR: %s\n" % text


def printable(text: str | bytes, limit: int) -> str:
    """
    Make a text safe to print on one line of a terminal.

    Undecodable bytes and every character that is not printable (controls, line
    separators, bidirectional overrides) become backslash escapes; what is longer than
    ``limit`` characters is cut, and ends in ``...``.
    """
    if isinstance(text, bytes):
        # An escape is four characters at most for each byte, so nothing shown is lost.
        text = text[: 4 * limit + 4].decode("utf-8", "backslashreplace")
    if not text.isprintable():
        text = "".join(
            character
            if character.isprintable()
            else character.encode("unicode_escape").decode("ascii")
            for character in text[: limit + 1]
        )
    return text if len(text) <= limit else text[: limit - 3] + "..."
