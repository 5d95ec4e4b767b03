"""The words of the contract: each is a string literal in ``words`` alone."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from enum import StrEnum

from twisted.trial.unittest import SynchronousTestCase

from palingenesis import words
from tests.support.house import PACKAGE, modules, part

#: The parts that may not have the words as literals.
PARTS = {"server", "monitor"}
#: The modules of those parts that may: formats of agents, and keys of the configuration.
EXEMPT = tuple(f"{PACKAGE}.monitor.{name}" for name in ("agents", "pretend", "settings"))
#: A placeholder of the configuration, a directory's name, or what a person reads, that is
#: spelled like a word.
OTHERS = {
    f"{PACKAGE}.monitor.needs: 'permission'",
    *(f"{PACKAGE}.monitor.revive: {text!r}" for text in ("id", "directory", "output")),
}
#: The modules of other parts that may not have them either.
MODULES = {f"{PACKAGE}.wire", f"{PACKAGE}.testing"}

#: The parts that have some of the words as labels and options too, but not in their data.
DATA_PARTS = {"cli", "daemon", "web"}
#: The modules of those parts that name options, commands of the command line, labels and fields.
NAMING = {
    f"{PACKAGE}.cli.main",
    f"{PACKAGE}.cli.parser",
    f"{PACKAGE}.cli.doctor",
    f"{PACKAGE}.daemon.options",
    f"{PACKAGE}.web.settings",
}
#: The event of a stream that is spelled like a key.
STREAMED = f"{PACKAGE}.web.events: 'sessions'"


def all_words() -> set[str]:
    """Return each word that an enumeration of ``words`` has."""
    return {
        str(member)
        for enumeration in vars(words).values()
        if isinstance(enumeration, type) and issubclass(enumeration, StrEnum)
        for member in enumeration
    } | {words.OK_WORD}


def literals(tree: ast.AST) -> Iterator[str]:
    """Return the string literals of a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


class WordTests(SynchronousTestCase):
    def test_no_word_of_the_contract_is_a_literal_where_words_are_read(self) -> None:
        known = all_words()
        self.assertLessEqual({"monitoring", "limit", "given-up", "saves_count"}, known)
        found = {
            f"{module}: {text!r}"
            for module, tree in modules().items()
            if part(module) in PARTS or module in MODULES
            if not module.startswith(EXEMPT)
            for text in literals(tree)
            if text in known
        }
        self.assertEqual(found, OTHERS)


def data(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield the expressions that hold data: subscripts, operands, keys, cases and arguments."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript):
            yield node.slice
        elif isinstance(node, ast.Compare):
            yield from (node.left, *node.comparators)
        elif isinstance(node, ast.Dict):
            yield from (key for key in node.keys if key is not None)
        elif isinstance(node, ast.Call):
            yield from node.args
        elif isinstance(node, ast.MatchValue):
            yield node.value


def spelled(tree: ast.AST) -> set[str]:
    """Return the words that are literals in a module's data."""
    known = all_words()
    return {text for each in data(tree) for text in literals(each) if text in known}


class DataTests(SynchronousTestCase):
    def test_no_word_of_the_contract_is_a_literal_in_the_data_of_cli_daemon_and_web(self) -> None:
        found = {
            f"{module}: {word!r}"
            for module, tree in modules().items()
            if part(module) in DATA_PARTS and module not in NAMING
            for word in spelled(tree)
        }
        self.assertEqual(found, {STREAMED})

    def test_a_literal_in_data_would_be_found(self) -> None:
        for source in (
            "x['state']",
            "x.get('keeper')",
            "x == 'limit'",
            "{'held': 1}",
            "match x:\n    case 'failed': pass",
        ):
            with self.subTest(source=source):
                self.assertEqual(len(spelled(ast.parse(source))), 1)
