"""Tables of results, drawn for a terminal or for reStructuredText."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median
from textwrap import fill

#: Columns of a line of reStructuredText, tables apart.
WIDTH = 95


@dataclass
class Table:
    """A section's results: rows of cells, and remarks to print below them."""

    title: str
    header: tuple[str, ...]
    rows: list[tuple[str, ...]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def row(self, *cells: str) -> None:
        """Add a row."""
        self.rows.append(cells)

    def absent_row(self, *cells: str) -> None:
        """Add a row for something that could not be measured: its name, then `absent`."""
        blanks = len(self.header) - len(cells) - 1
        self.row(*cells, "absent", *["-"] * blanks)

    def text(self) -> str:
        """Draw it for a terminal."""
        return "\n".join([self.title, "", *self._drawn(), *self._remarks()])

    def rst(self) -> str:
        """Draw it as a reStructuredText table with a title."""
        lines = [f".. table:: {self.title}", "", *(f"   {line}" for line in self._drawn())]
        return "\n".join([*lines, *self._remarks()])

    def _drawn(self) -> list[str]:
        """Draw a simple table of reStructuredText, which is plain to read as well."""
        lines = [self.header, *self.rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        rule = "  ".join("=" * width for width in widths)
        cells = [
            "  ".join(
                cell.rjust(width) if index else cell.ljust(width)
                for index, (cell, width) in enumerate(zip(line, widths, strict=True))
            )
            for line in lines
        ]
        return [rule, cells[0], rule, *cells[1:], rule]

    def _remarks(self) -> list[str]:
        return [line for note in self.notes for line in ("", wrapped(note))]


def wrapped(text: str, indent: str = "") -> str:
    """Break a paragraph into lines, all but the first one indented."""
    return fill(
        text, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def quotients(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Divide round by round, so that both values of a ratio saw the same machine."""
    return [a / b for a, b in zip(above, below, strict=True)]


def ratio(above: Sequence[float], below: Sequence[float]) -> str:
    """Show the median of the rounds' ratios, and the least and the greatest."""
    values = quotients(above, below)
    return f"{median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def middle(values: Iterable[float], form: str) -> str:
    """Show the median in a format such as ``,.0f``."""
    return format(median(values), form)
