"""The words of the contract: each is a string literal in ``words`` alone."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from enum import StrEnum

from twisted.trial.unittest import SynchronousTestCase

from palingenesis import words
from tests.support.house import PACKAGE, modules, part

#: The parts that may not have the words as literals.
PARTS = {"server"}
#: The modules of other parts that may not have them either.
MODULES = {f"{PACKAGE}.wire", f"{PACKAGE}.testing"}


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
            for text in literals(tree)
            if text in known
        }
        self.assertEqual(found, set())
