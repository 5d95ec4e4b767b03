"""
The contract on the wire: commands and replies, parsed and rendered.

Both ends use it, so it is pure and imports little: neither ``dataclasses`` nor
``typing``, each of which would cost the command line milliseconds of its start.
"""

from __future__ import annotations

import json
from collections import namedtuple
from enum import StrEnum

from palingenesis.text import NAME_LIMIT, printable
from palingenesis.words import STATUS_KEYS, Key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any, NamedTuple, Self

#: The longest request line, in bytes, its end-of-line not counted.
REQUEST_LIMIT = 512
#: The longest reply, in bytes, its end-of-line counted.
REPLY_LIMIT = 65_536
#: The largest count, and the longest uptime in seconds: the largest signed 64-bit number.
COUNT_LIMIT = 2**63 - 1
#: The longest message of an ``ERR:`` reply, in bytes.
ERROR_LIMIT = 400
#: The longest state, in characters.
STATE_LIMIT = NAME_LIMIT

OK = b"OK\n"
#: How the ``ERR:`` reply to an unknown command begins.
UNKNOWN = "Unknown command"

_plain_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
_ascii_json = json.JSONEncoder(allow_nan=False).encode


class Command(StrEnum):
    """The commands that every daemon has; an application may add its own."""

    STATUS = "STATUS"
    PAUSE = "PAUSE"
    RESUME = "RESUME"
    RELOAD = "RELOAD"
    HELP = "HELP"


class BadStatus(ValueError):
    """
    A status that breaks the contract: a key missing, or of the wrong type.

    :ivar reason: which key, and why.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Unfit(ValueError):
    """
    A value that cannot be a reply: it is not fit for JSON, or too long.

    :ivar reason: why not.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


if TYPE_CHECKING:

    class _Fields(NamedTuple):
        state: str
        uptime_secs: int | None
        current_session: str | None
        saves_count: int
        total_resumes: int
        extra: Mapping[str, Any]
else:
    _Fields = namedtuple("DaemonStatus", (*STATUS_KEYS, "extra"))


class DaemonStatus(_Fields):
    """
    The reply to ``STATUS``: an immutable value, checked when it is made.

    :param state: what the daemon is doing: a printable string of 1 to `STATE_LIMIT`
        characters, such as ``monitoring``, ``paused`` or a word of the application's own.
    :param uptime_secs: whole seconds since the daemon started; if None, the service fills
        in the time since it started.
    :param current_session: the session that the daemon works on, or None.
    :param saves_count: number of revivals that worked.
    :param total_resumes: number of revivals that were started.
    :param extra: further keys, each value fit for JSON; they follow the five above and may
        not replace them.
    :raises BadStatus: if a value is of the wrong type, or out of range.
    """

    __slots__ = ()

    def __new__(
        cls,
        state: str,
        uptime_secs: int | None = None,
        current_session: str | None = None,
        saves_count: int = 0,
        total_resumes: int = 0,
        extra: Mapping[str, Any] | None = None,
    ) -> Self:
        if state.__class__ is not str:
            if not isinstance(state, str):
                raise BadStatus("state is not a string")
            # The member of an enumeration for example: only its text counts.
            state = str.__str__(state)
        if not (0 < len(state) <= STATE_LIMIT and state.isprintable()):
            raise BadStatus(f"state is not a printable string of 1 to {STATE_LIMIT} characters")
        if uptime_secs is not None:
            _check_count(Key.UPTIME_SECS, uptime_secs)
        _check_count(Key.SAVES_COUNT, saves_count)
        _check_count(Key.TOTAL_RESUMES, total_resumes)
        if current_session is not None and not isinstance(current_session, str):
            raise BadStatus("current_session is neither a string nor null")
        if extra is None:
            extra = {}
        elif not all(key.__class__ is str and key not in STATUS_KEYS for key in extra):
            raise BadStatus("an extra key is no string, or one of the contract's own")
        return super().__new__(
            cls, state, uptime_secs, current_session, saves_count, total_resumes, extra
        )

    @classmethod
    def _make(cls, iterable: Iterable[Any]) -> Self:  # type: ignore[override]
        # _replace calls this: a changed status is checked like a new one.
        return cls(*iterable)


def _check_count(name: str, value: object) -> None:
    if type(value) is not int or not 0 <= value <= COUNT_LIMIT:
        raise BadStatus(f"{name} is not a whole number from 0 to {COUNT_LIMIT}")


def render_request(name: str, *arguments: str) -> bytes:
    """
    Render a command and its arguments, joined by blanks, as the line that a client sends.

    :raises ValueError: if they do not make one line of at most `REQUEST_LIMIT` bytes.
    """
    line = " ".join((name, *arguments)).encode("utf-8", "surrogateescape")
    if b"\n" in line:
        raise ValueError("a command and its arguments have to be one line")
    if len(line) > REQUEST_LIMIT:
        raise ValueError(
            f"a command and its arguments are {REQUEST_LIMIT} bytes at most, not {len(line)}"
        )
    return line + b"\n"


def split_request(line: bytes) -> tuple[bytes, bytes]:
    """
    Split a request line into the command's name, in upper case, and what follows it.

    White space around both, and the case of the name's ASCII letters, do not matter.
    """
    name, *rest = line.split(None, 1) or (b"",)
    return name.upper(), rest[0].rstrip() if rest else b""


def render_unknown(line: bytes) -> bytes:
    """Render the reply to a request line that names no command."""
    shown = printable(line.strip(), NAME_LIMIT)
    return render_error(f"{UNKNOWN}: {shown or '(nothing)'}")


def render_value(value: object) -> bytes:
    """
    Render a value as a reply: one line of JSON.

    :raises Unfit: if it is not fit for JSON (NaN, a key that is no string, a type that
        JSON does not have), or the line would be longer than `REPLY_LIMIT`.
    """
    return whole_line(_to_json(value))


def render_status(status: DaemonStatus, uptime_secs: int = 0) -> bytes:
    """
    Render a status as the one line of JSON that answers ``STATUS``.

    :param uptime_secs: the uptime to render if that of the status is None.
    :raises Unfit: if an extra value is not fit for JSON, or the line would be longer
        than `REPLY_LIMIT`.
    """
    before, after = render_around_uptime(status)
    uptime = status.uptime_secs
    return whole_line(f"{before}{uptime_secs if uptime is None else uptime}{after}")


def render_around_uptime(status: DaemonStatus) -> tuple[str, str]:
    """
    Render the text before the uptime and the text after it, without the newline.

    :raises Unfit: if an extra value is not fit for JSON.
    """
    state, _uptime, current_session, saves_count, total_resumes, extra = status
    session = "null" if current_session is None else _to_json(current_session)
    # Without the braces: its keys follow the five.
    further = f", {_to_json(dict(extra))[1:-1]}" if extra else ""
    # By hand, in a quarter of the encoder's time: most requests are for this.
    return (
        f'{{"state": {_to_json(state)}, "uptime_secs": ',
        f', "current_session": {session}, '
        f'"saves_count": {saves_count}, "total_resumes": {total_resumes}{further}}}',
    )


def parse_status(line: bytes) -> DaemonStatus:
    """
    Parse the line that `render_status` made; further keys go into ``extra``.

    :raises BadStatus: if it is anything else.
    """
    fields = _parse_object(line)
    try:
        values = [fields.pop(name) for name in STATUS_KEYS]
    except KeyError as error:
        raise BadStatus(f"no {error.args[0]}") from None
    status = DaemonStatus._make([*values, fields])
    if status.uptime_secs is None:
        raise BadStatus("uptime_secs is null")
    return status


def parse_help(line: bytes) -> dict[str, str]:
    """
    Parse the reply to ``HELP``: usage to summary, in the daemon's order.

    :raises BadStatus: if it is anything else.
    """
    summaries = _parse_object(line)
    if not all(isinstance(summary, str) for summary in summaries.values()):
        raise BadStatus("a summary is no string")
    return summaries


def _parse_object(line: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadStatus(f"not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise BadStatus("not a JSON object")
    return fields


def whole_line(text: str) -> bytes:
    """
    Encode a reply's text, and end it with a newline.

    :raises Unfit: if the line would be longer than `REPLY_LIMIT`.
    """
    line = text.encode() + b"\n"
    if len(line) > REPLY_LIMIT:
        raise Unfit(f"{len(line)} bytes long, {REPLY_LIMIT} at most")
    return line


def _to_json(value: object) -> str:
    try:
        if value.__class__ is not str:
            _check_keys(value)
        text = _plain_json(value)
        return text if text.isprintable() else _ascii_json(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise Unfit(f"not fit for JSON: {error}") from error


def _check_keys(value: object) -> None:
    # The encoder makes strings of other keys, so two keys may become one.
    if isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise TypeError(f"the key {key!r} is no string")
            _check_keys(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            _check_keys(inner)


def render_error(message: str) -> bytes:
    """Render an ``ERR:`` reply: one printable line, cut short at `ERROR_LIMIT`."""
    text = printable(message, ERROR_LIMIT).encode()
    if len(text) > ERROR_LIMIT:
        text = text[: ERROR_LIMIT - 3].decode(errors="ignore").encode() + b"..."
    return b"ERR: %s\n" % text
