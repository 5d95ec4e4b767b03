"""The page's files: what a browser is sent, and that its words are the daemon's."""

from __future__ import annotations

import re
from importlib.resources import files

from twisted.trial.unittest import SynchronousTestCase

from palingenesis.web.night import MARKS, SEGMENTS
from palingenesis.web.page import PAGE
from palingenesis.words import Event, Kind, Reason, State

#: Bytes of all files together, at most.
SIZE_LIMIT = 60 * 1024
#: The names of the namespaces of SVG and the like, which nothing is fetched from.
_ADDRESS = re.compile(rb"https?://|//[a-z0-9-]+\.[a-z]")


def source(name: str) -> str:
    return PAGE[(name.encode(),)][1].decode()


def keys(table: str) -> set[str]:
    """Return the keys of a table in ``words.js``."""
    body = source("words.js").partition(f"export const {table} = {{")[2].partition("\n};")[0]
    return set(re.findall(r'^  "?([a-z-]+)"?:', body, re.MULTILINE))


def words_of(table: str) -> dict[str, str]:
    """Return a table in ``words.js`` whose values are texts."""
    body = source("words.js").partition(f"export const {table} = {{")[2].partition("\n};")[0]
    return dict(re.findall(r'^  "?([a-z-]+)"?: "(.*)",$', body, re.MULTILINE))


class PageTests(SynchronousTestCase):
    def test_every_file_is_served(self) -> None:
        directory = files("palingenesis.web.page")
        there = {
            each.name
            for each in directory.iterdir()
            if each.name.endswith((".html", ".js", ".css"))
        }
        served = {path[0].decode() or "index.html" for path in PAGE}
        self.assertEqual(served, there)

    def test_the_page_is_at_most_60_kib(self) -> None:
        self.assertLessEqual(sum(len(content) for _, content in PAGE.values()), SIZE_LIMIT)

    def test_the_page_names_no_other_server(self) -> None:
        for path, (_, content) in PAGE.items():
            self.assertIsNone(_ADDRESS.search(content), path)

    def test_text_never_becomes_markup(self) -> None:
        for path, (_, content) in PAGE.items():
            for word in (b"innerHTML", b"outerHTML", b"insertAdjacentHTML", b"document.write"):
                self.assertNotIn(word, content, path)

    def test_the_page_knows_every_word_of_the_daemon(self) -> None:
        for table, words in (("KINDS", Kind), ("REASONS", Reason), ("EVENTS", Event)):
            self.assertEqual(keys(table), {str(word) for word in words}, table)
        for table, told in (
            ("SEGMENTS", SEGMENTS),
            ("MARKS", {key: words for key, (_, words) in MARKS.items()}),
        ):
            self.assertEqual(words_of(table), told, table)
        states = source("words.js").partition("STATES = [")[2].partition("]")[0]
        self.assertEqual(set(re.findall(r'"([a-z-]+)"', states)), {str(word) for word in State})
