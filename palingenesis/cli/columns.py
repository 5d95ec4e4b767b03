"""Texts in the columns of a terminal, where some characters take two columns and some none."""

from __future__ import annotations

import os
import sys
import unicodedata

from palingenesis.text import MESSAGE_LIMIT, printable

#: The columns that every terminal has.
WIDTH = 80
#: What stands for the part of a text that is left out.
GAP = "..."
#: The most characters without a width that are kept after one another: no script has more.
MARKS_LIMIT = 4


def terminal_columns() -> int:
    """Return the columns of the terminal that is printed on; `WIDTH` if there is none."""
    try:
        # A terminal may not know its size: 0.
        return os.get_terminal_size(sys.stdout.fileno()).columns or WIDTH
    except (OSError, ValueError):
        return WIDTH


def width(text: str) -> int:
    """Count the columns that a printable text takes (UAX #11)."""
    if text.isascii():
        return len(text)
    return sum(_width(character) for character in text)


def padded(text: str, columns: int) -> str:
    """Fill a text up with spaces."""
    return text + " " * (columns - width(text))


def cut(text: str, columns: int) -> str:
    """Leave out the middle of a text that is too wide: the end of a path says most."""
    text = _without_piles(text)
    if width(text) <= columns:
        return text
    head = _start(text, (columns - len(GAP)) // 3)
    tail = _start(text[::-1], columns - len(GAP) - width(head))[::-1]
    return head + GAP + tail


def wrapped(text: str, columns: int) -> list[str]:
    """Break a text into lines at its spaces; a word that is too wide is cut in the middle."""
    lines: list[str] = []
    line = ""
    for word in text.split(" "):
        longer = f"{line} {word}" if line else word
        if line and width(longer) > columns:
            lines.append(line)
            longer = word
        line = cut(longer, columns)
    return [*lines, line]


def at_home(path: str) -> str:
    """Make a path printable, with ``~`` for the home directory."""
    home = os.path.expanduser("~")
    if path == home or path.startswith(f"{home.rstrip('/')}/"):
        path = f"~{path[len(home.rstrip('/')) :]}"
    return printable(path, MESSAGE_LIMIT)


def _start(text: str, columns: int) -> str:
    end = 0
    for character in text:
        columns -= _width(character)
        if columns < 0:
            break
        end += 1
    return text[:end]


def _without_piles(text: str) -> str:
    """Leave out marks that are piled up on one character: a row has no more than it shows."""
    if text.isascii():
        return text
    kept = []
    marks = 0
    for character in text:
        marks = 0 if _width(character) else marks + 1
        if marks <= MARKS_LIMIT:
            kept.append(character)
    return "".join(kept)


def _width(character: str) -> int:
    # Marks, and the vowels and last consonants of a Korean syllable, are drawn over what is
    # before them, as wcwidth(3) has it.
    if unicodedata.category(character) in ("Mn", "Me") or "\u1160" <= character <= "\u11ff":
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
