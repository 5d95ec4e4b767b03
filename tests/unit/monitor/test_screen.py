"""Captured screens, as cells."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from palingenesis.monitor.screen import Cell, Screen, cells_of


class CellsTests(SynchronousTestCase):
    def row(self, line: str) -> tuple[Cell, ...]:
        return cells_of(line, 1)[0]

    def drawn(self, line: str) -> list[tuple[bool, bool]]:
        return [(cell.dim, cell.reverse) for cell in self.row(line)]

    def test_characters_are_plain_at_first(self) -> None:
        self.assertEqual(self.row("ab"), (Cell("a"), Cell("b")))

    def test_dim_and_reverse_begin_and_end(self) -> None:
        line = "\x1b[2ma\x1b[7mb\x1b[22mc\x1b[27md\x1b[2;7me\x1b[mf\x1b[7mg\x1b[0mh"
        expected = [(True, False), (True, True), (False, True), (False, False), (True, True)]
        expected += [(False, False), (False, True), (False, False)]
        self.assertEqual(self.drawn(line), expected)

    def test_a_color_is_neither(self) -> None:
        for color in (
            *("38;5;2", "48;5;7", "58;5;2", "38;2;7;2;7", "48;2;2;7;2", "58;2;2;2;2"),
            *("38", "38;5", "38;2;7", "38;9", "1", "4"),
        ):
            self.assertEqual(self.drawn(f"\x1b[{color}ma"), [(False, False)], color)

    def test_what_follows_a_color_counts(self) -> None:
        for line, drawn in (
            ("38;5;1;2", (True, False)),
            ("48;2;1;1;1;7", (False, True)),
            ("2;38;5;0", (True, False)),
            ("7;58;2;0;0;0", (False, True)),
            ("7;2;1", (True, True)),
        ):
            self.assertEqual(self.drawn(f"\x1b[{line}ma"), [drawn], line)

    def test_a_color_ends_nothing(self) -> None:
        self.assertEqual(self.drawn("\x1b[2m\x1b[38;5;0ma\x1b[39mb"), [(True, False)] * 2)

    def test_what_is_drawn_goes_on_in_the_next_row(self) -> None:
        self.assertEqual(cells_of("\x1b[2ma\nb", 2)[1], (Cell("b", dim=True),))

    def test_other_sequences_are_no_characters(self) -> None:
        line = "\x1b]8;;https://example.org\x1b\\a\x1b]8;;\x07b\x1b[4:3mc\x1b(Bd\x1b[?25he"
        self.assertEqual("".join(cell.character for cell in self.row(line)), "abcBde")

    def test_missing_rows_are_empty(self) -> None:
        self.assertEqual(cells_of("a\n", 3), ((Cell("a"),), (), ()))

    def test_rows_beyond_the_terminal_are_left_out(self) -> None:
        self.assertEqual(len(cells_of("a\nb\nc", 2)), 2)

    def test_a_row_that_there_is_not_has_no_text(self) -> None:
        screen = Screen(cells_of("a\nb", 2), 80, (0, 0))
        self.assertEqual([screen.text(row) for row in (-1, 0, 1, 2)], ["", "a", "b", ""])
