"""The words of the contract are spelled in one module, and the others take them from there."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from twisted.trial.unittest import SynchronousTestCase

from palingenesis import words
from tests.support.house import PACKAGE, modules, part

WORDS = {
    member.value
    for kind in (
        *(words.Kind, words.State, words.Reason, words.Event),
        *(words.Method, words.Owner, words.DaemonWord, words.Key),
    )
    for member in kind
}

#: The parts in which no word is a string literal.
PARTS = {"cli", "daemon"}

#: The modules that define what is typed, or what a label says: the options of the command line and
#: of twistd, the rows of `doctor`, and the environment.
TYPED = {
    f"{PACKAGE}.cli.main",
    f"{PACKAGE}.cli.parser",
    f"{PACKAGE}.cli.doctor",
    f"{PACKAGE}.daemon.tap",
}


def data(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield the expressions that a word of the contract may be in: keys, arguments, operands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript):
            yield node.slice
        elif isinstance(node, ast.Compare):
            yield node.left
            yield from node.comparators
        elif isinstance(node, ast.Dict):
            yield from (key for key in node.keys if key is not None)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name):
            yield from node.args


def spelled(tree: ast.AST) -> set[str]:
    """Return the words that are string literals in a module's data."""
    return {
        constant.value
        for expression in data(tree)
        for constant in ast.walk(expression)
        if isinstance(constant, ast.Constant)
        and isinstance(constant.value, str)
        and constant.value in WORDS
    }


class WordsTests(SynchronousTestCase):
    def test_a_word_of_the_contract_is_no_literal_elsewhere(self) -> None:
        found = {
            f"{module} spells {word!r}"
            for module, tree in modules().items()
            if part(module) in PARTS and module not in TYPED
            for word in spelled(tree)
        }
        self.assertEqual(found, set())

    def test_a_literal_would_be_found(self) -> None:
        for source in ("x['state']", "x.get('keeper')", "x == 'limit'", "{'held': 1}"):
            with self.subTest(source=source):
                self.assertEqual(len(spelled(ast.parse(source))), 1)
