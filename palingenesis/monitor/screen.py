"""
A terminal's screen: its cells and its cursor, as ``capture-pane -e`` of tmux(1) prints them.

The letters alone prove too little: a suggestion and a line that a person has typed differ only in
how they are drawn.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

#: What changes how characters are drawn; another sequence, such as a link; or a character.
_PARTS = re.compile(
    r"\x1b\[(?P<drawn>[0-9;:]*)m"
    r"|\x1b\[[0-9;:?<=>]*[ -/]*[@-~]"
    r"|\x1b\].*?(?:\x07|\x1b\\)"
    r"|\x1b."
    r"|(?P<character>.)",
    re.DOTALL,
)
#: The parameters of a color that is given by its number or by its parts.
_COLORS = frozenset({"38", "48", "58"})


class Cell(NamedTuple):
    """
    A character on the screen.

    :ivar dim: whether it is drawn faintly.
    :ivar reverse: whether its colors are exchanged, as a program draws a cursor of its own.
    """

    character: str
    dim: bool = False
    reverse: bool = False


@dataclass(frozen=True, slots=True)
class Screen:
    """
    What a terminal shows at one moment.

    :ivar rows: its rows, from the top; blanks at the end of a row may be missing.
    :ivar width: columns.
    :ivar cursor: the column and the row of the terminal's cursor, from 0.
    :ivar cursor_shown: whether that cursor is visible.
    """

    rows: tuple[tuple[Cell, ...], ...]
    width: int
    cursor: tuple[int, int]
    cursor_shown: bool = False

    @property
    def height(self) -> int:
        """Rows."""
        return len(self.rows)

    def text(self, row: int) -> str:
        """Return the characters of a row; nothing if there is no such row."""
        if not 0 <= row < self.height:
            return ""
        return "".join(cell.character for cell in self.rows[row])


def cells_of(capture: str, height: int) -> tuple[tuple[Cell, ...], ...]:
    """
    Return the rows of a captured screen.

    :param height: how many rows the terminal has; what is missing is empty.
    """
    rows: list[tuple[Cell, ...]] = []
    dim = reverse = False
    # How a character is drawn goes on over the end of a row.
    for line in capture.split("\n")[:height]:
        row = []
        for part in _PARTS.finditer(line):
            if (character := part["character"]) is not None:
                row.append(Cell(character, dim, reverse))
            elif (drawn := part["drawn"]) is not None:
                dim, reverse = _drawn(drawn, dim=dim, reverse=reverse)
        rows.append(tuple(row))
    rows += [()] * (height - len(rows))
    return tuple(rows)


def _drawn(parameters: str, *, dim: bool, reverse: bool) -> tuple[bool, bool]:
    """Return whether characters are dim and reversed from here on; SGR of console_codes(4)."""
    rest = iter(parameters.split(";"))
    for parameter in rest:
        if parameter in _COLORS:
            # 38;5;N or 38;2;R;G;B: none of the numbers means anything else.
            for _ in range({"5": 1, "2": 3}.get(next(rest, ""), 0)):
                next(rest, "")
        elif parameter in ("", "0"):
            dim = reverse = False
        elif parameter in ("2", "22"):
            dim = parameter == "2"
        elif parameter in ("7", "27"):
            reverse = parameter == "7"
    return dim, reverse
