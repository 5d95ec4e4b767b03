"""Texts for people: safe to print, and cut to one of three lengths; and times of day."""

from __future__ import annotations

import time

#: The most of a name, or of what a client sent, that is shown, in characters.
NAME_LIMIT = 60
#: The most of a value that is shown, in characters.
VALUE_LIMIT = 200
#: The most of a whole message that is shown, in characters.
MESSAGE_LIMIT = 1000
#: Seconds for which a time of day alone, and for which the name of its day, says when it is.
_DAY, _WEEK = 86_400, 6 * 86_400


def printable(text: str | bytes, limit: int = VALUE_LIMIT) -> str:
    """
    Make a text safe to print on one line of a terminal.

    Undecodable bytes and every character that is not printable (controls, line
    separators, bidirectional overrides) become backslash escapes. A text of more than
    ``limit`` characters is cut, and ends in ``...``.
    """
    if isinstance(text, bytes):
        # One byte becomes at most four characters, so this cuts nothing that is shown.
        text = text[: 4 * limit + 4].decode("utf-8", "backslashreplace")
    if not text.isprintable():
        text = "".join(
            character
            if character.isprintable()
            else character.encode("unicode_escape").decode("ascii")
            for character in text[: limit + 1]
        )
    return text if len(text) <= limit else text[: limit - 3] + "..."


def clock(at: float, now: float, offset: int | None = None) -> str:
    """
    Return a time of day, with its day if it is more than a day away.

    :param at: in seconds since the epoch, as ``now`` is.
    :param offset: the zone, in seconds east of UTC; the local zone if None.
    """
    away = abs(at - now)
    form = "%H:%M" if away < _DAY else "%a %H:%M" if away < _WEEK else "%d %b %H:%M"
    return time.strftime(form, time.localtime(at) if offset is None else time.gmtime(at + offset))


def in_short(error: OSError) -> str:
    """Return the meaning of a system error in a few words, such as ``permission denied``."""
    return (error.strerror or str(error)).lower()
