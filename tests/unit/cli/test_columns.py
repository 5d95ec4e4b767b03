"""Texts in the columns of a terminal."""

from __future__ import annotations

import os

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from palingenesis.cli.columns import MARKS_LIMIT, at_home, cut, padded, width, wrapped

PRINTABLE = st.text(st.sampled_from("abé日本\u0301 /.-"), max_size=60)


class WidthTests(SynchronousTestCase):
    def test_wide_characters_take_two_columns_and_combining_ones_none(self) -> None:
        for text, columns in (("", 0), ("app", 3), ("日本", 4), ("e\u0301", 1), ("ﾃ", 1)):
            self.assertEqual(width(text), columns, text)

    def test_characters_that_are_drawn_over_others_take_none(self) -> None:
        for text, columns in (("a\u20dd", 1), ("\u1100\u1161\u11a8", 2), ("\u2764\ufe0f", 1)):
            self.assertEqual(width(text), columns, ascii(text))

    def test_padding_counts_columns(self) -> None:
        self.assertEqual(padded("日", 4), "日  ")


class CutTests(SynchronousTestCase):
    def test_a_text_that_fits_is_left_whole(self) -> None:
        self.assertEqual(cut("~/src/app", 9), "~/src/app")

    def test_more_of_the_end_is_kept_than_of_the_beginning(self) -> None:
        self.assertEqual(cut("~/customers/north/service", 18), "~/cus...th/service")

    def test_marks_that_are_piled_up_are_left_out(self) -> None:
        self.assertEqual(cut("e" + "\u0301" * 900, 9), "e" + "\u0301" * MARKS_LIMIT)

    @given(PRINTABLE, st.integers(3, 40))
    def test_what_is_cut_fits(self, text: str, columns: int) -> None:
        self.assertLessEqual(width(cut(text, columns)), columns)


class WrapTests(SynchronousTestCase):
    def test_lines_are_broken_at_spaces(self) -> None:
        self.assertEqual(wrapped("limit; due in 2 hours", 13), ["limit; due in", "2 hours"])

    def test_a_word_that_is_too_wide_is_cut(self) -> None:
        self.assertEqual(wrapped("a 0123456789012 b", 9), ["a", "01...9012", "b"])

    @given(PRINTABLE, st.integers(3, 40))
    def test_every_line_fits(self, text: str, columns: int) -> None:
        for line in wrapped(text, columns):
            self.assertLessEqual(width(line), columns)

    @given(st.lists(st.text("ab", min_size=1, max_size=5), min_size=1))
    def test_no_word_that_fits_is_lost(self, words: list[str]) -> None:
        self.assertEqual(" ".join(wrapped(" ".join(words), 5)).split(), words)


class HomeTests(SynchronousTestCase):
    def at_home(self, path: str, home: str = "/home/you") -> str:
        self.patch(os, "environ", {"HOME": home})
        return at_home(path)

    def test_the_home_directory_is_shortened(self) -> None:
        self.assertEqual(self.at_home("/home/you"), "~")
        self.assertEqual(self.at_home("/home/you/src/app"), "~/src/app")

    def test_another_directory_with_the_same_beginning_is_not(self) -> None:
        self.assertEqual(self.at_home("/home/young/app"), "/home/young/app")

    def test_a_home_in_the_root_is_shortened_too(self) -> None:
        self.assertEqual(self.at_home("/app", home="/"), "~/app")

    def test_a_path_cannot_drive_the_terminal(self) -> None:
        self.assertEqual(self.at_home("/a\x1b[2J\u202e"), r"/a\x1b[2J\u202e")
