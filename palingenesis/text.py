"""Texts for people: safe to print, and cut to one of three lengths."""

from __future__ import annotations

#: The most of a name, or of what a client sent, that is shown, in characters.
NAME_LIMIT = 60
#: The most of a value that is shown, in characters.
VALUE_LIMIT = 200
#: The most of a whole message that is shown, in characters.
MESSAGE_LIMIT = 1000


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


def in_short(error: OSError) -> str:
    """Return the meaning of a system error in a few words, such as ``permission denied``."""
    return (error.strerror or str(error)).lower()
