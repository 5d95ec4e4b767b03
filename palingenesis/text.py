"""Texts for people: safe to print, and cut to one of three lengths."""

from __future__ import annotations

#: How much of a name, or of something a client sent, is shown, in characters.
NAME_LIMIT = 60
#: How much of a value is shown, in characters.
VALUE_LIMIT = 200
#: How much of a whole message is shown, in characters.
MESSAGE_LIMIT = 1000


def printable(text: str | bytes, limit: int = VALUE_LIMIT) -> str:
    """
    Make a text safe to print on one line of a terminal.

    Undecodable bytes and every character that is not printable (controls, line
    separators, bidirectional overrides) become backslash escapes. A text of more than
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


def in_short(error: OSError) -> str:
    """Say in two words what an error of the system means: ``permission denied``."""
    return (error.strerror or str(error)).lower()
