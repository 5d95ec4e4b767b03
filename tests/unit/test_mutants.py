"""What breaks the package on purpose: the changes, the draw, the tests of each, the report."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter

from twisted.trial.unittest import SynchronousTestCase

from tools import mutants
from tools.mutants import Change, Draw

SOURCE = b'''\
"""A module."""
from __future__ import annotations
from typing import TYPE_CHECKING, cast
if TYPE_CHECKING:
    LIMIT = 1

def called(given: "int" = 1) -> "str":
    """A function."""
    log.info("a text for people", given=given)
    return cast("int", f"text {given + 1}")
'''


def changed(source: str) -> list[str]:
    """List what a line of source becomes, each time with one change."""
    found, _ = mutants.changes("m.py", source.encode())
    return [change.apply(source.encode()).decode() for change in found]


class CheckoutTestCase(SynchronousTestCase):
    """A directory that is laid out as the checkout is."""

    def setUp(self) -> None:
        self.root = tempfile.mkdtemp(prefix="pal-")
        self.addCleanup(shutil.rmtree, self.root)

    def write(self, path: str, text: str = "") -> None:
        path = os.path.join(self.root, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)


class ChangeTests(SynchronousTestCase):
    def test_a_comparison_takes_in_its_border_or_turns_round(self) -> None:
        self.assertEqual(changed("a < b"), ["(a <= b)"])
        self.assertEqual(changed("a == b"), ["(a != b)"])
        self.assertEqual(changed("a is not b"), ["(a is b)"])

    def test_arithmetic_and_logic_turn_round(self) -> None:
        self.assertEqual(changed("a + b"), ["(a - b)"])
        self.assertEqual(changed("a and b"), ["(a or b)"])
        self.assertEqual(changed("not a"), ["(a)"])
        self.assertEqual(changed("a += b"), ["a -= b"])

    def test_a_constant_becomes_another_of_its_type(self) -> None:
        self.assertEqual(changed("a = 1"), ["a = 2"])
        self.assertEqual(changed("a = True"), ["a = False"])
        self.assertEqual(changed("a = 'b'"), ["a = ''"])
        self.assertEqual(changed("a = b''"), ["a = b'x'"])

    def test_a_condition_is_always_so_or_never(self) -> None:
        self.assertEqual(changed("if a: b"), ["if False: b", "if True: b"])
        self.assertEqual(changed("[a for a in b if a]")[0], "[a for a in b if False]")

    def test_a_call_is_left_out(self) -> None:
        self.assertEqual(changed("a()"), ["pass"])
        self.assertEqual(changed("b = a(c, d)"), ["b = (c)"])
        self.assertEqual(changed("b = a()"), ["b = None"])

    def test_an_awaited_call_is_left_out_whole(self) -> None:
        self.assertEqual(changed("async def f():\n    await a()"), ["async def f():\n    pass"])

    def test_a_place_after_letters_of_several_bytes_is_found(self) -> None:
        self.assertEqual(changed("b = 'é' + 1")[-1], "b = 'é' + 2")

    def test_what_is_for_people_or_type_checkers_is_left_out(self) -> None:
        found, left = mutants.changes("m.py", SOURCE)
        self.assertEqual(
            [change.what for change in found],
            [
                "constant: 1 -> 2",
                'call: log.info("a text for people", given=given) -> pass',
                'call: cast("int", f"text {given + 1}") -> (\'int\')',
            ],
        )
        kinds = {"docstring": 2, "annotation": 3, "TYPE_CHECKING": 3, "log text": 1, "f-string": 3}
        self.assertEqual(left, kinds)

    def test_a_change_that_gives_the_same_bytecode_changes_nothing(self) -> None:
        change = Change("m.py", 1, 4, 5, "1", "(1)", "constant")
        self.assertTrue(mutants.changes_nothing(change, b"a = 1\n"))

    def test_a_change_of_a_value_of_another_type_changes_something(self) -> None:
        change = Change("m.py", 1, 4, 5, "1", "True", "constant")
        self.assertFalse(mutants.changes_nothing(change, b"a = 1\n"))


class DrawTests(CheckoutTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.write("palingenesis/server/a.py", "a = 1\nb = 2\nc = 3\nd = 4\n")
        self.write("palingenesis/server/deep/b.py", "a = 1\n")
        self.write("palingenesis/cli/c.py", "a = 1\n")

    def test_every_module_of_a_part_is_drawn_from_and_no_other(self) -> None:
        drawn = mutants.draw(self.root, 100, 1, ["server"])
        self.assertEqual(
            Counter(change.path for change in drawn.chosen),
            {"palingenesis/server/a.py": 4, "palingenesis/server/deep/b.py": 1},
        )

    def test_a_seed_gives_the_same_draw_each_time(self) -> None:
        first, again = (mutants.draw(self.root, 3, 7, ["server"]) for _ in range(2))
        self.assertEqual(first, again)
        self.assertEqual(len(first.chosen), 3)

    def test_what_a_person_found_to_change_nothing_is_left_out(self) -> None:
        self.write(
            "tools/equivalent.txt", "palingenesis/server/a.py: constant: 1 -> 2  # why not\n"
        )
        drawn = mutants.draw(self.root, 100, 1, ["server"])
        self.assertEqual(
            [str(c) for c in drawn.same], ["palingenesis/server/a.py:1: constant: 1 -> 2"]
        )
        self.assertEqual(len(drawn.chosen), 4)


class StageTests(CheckoutTestCase):
    def setUp(self) -> None:
        super().setUp()
        for module in (
            "unit/server/test_a",
            "unit/server/test_a_more",
            "unit/server/test_agents",
            "unit/server/test_b",
            "unit/shared/test_a",
            "process/test_a",
            "process/test_c",
        ):
            self.write(f"tests/{module}.py")

    def test_a_modules_own_tests_come_first_and_its_own_of_processes_last(self) -> None:
        self.assertEqual(
            mutants.stages(self.root, "palingenesis/server/a.py"),
            [
                ["tests.unit.server.test_a", "tests.unit.server.test_a_more"],
                ["tests.unit.server.test_agents", "tests.unit.server.test_b"],
                ["tests.unit.shared.test_a"],
                ["tests.process.test_a"],
            ],
        )

    def test_a_module_without_tests_has_those_of_its_package(self) -> None:
        first, *_ = mutants.stages(self.root, "palingenesis/server/agents/new.py")
        self.assertEqual(first, ["tests.unit.server.test_agents"])

    def test_a_package_has_the_tests_that_are_named_for_it(self) -> None:
        first, *_ = mutants.stages(self.root, "palingenesis/server/agents/__init__.py")
        self.assertEqual(first, ["tests.unit.server.test_agents"])

    def test_a_module_that_no_test_is_named_for_has_its_parts(self) -> None:
        first, *_ = mutants.stages(self.root, "palingenesis/server/new.py")
        self.assertEqual(len(first), 4)


class ResultTests(CheckoutTestCase):
    def setUp(self) -> None:
        super().setUp()
        source = b"a = 1\nb = 2\n"
        found, left = mutants.changes("m.py", source)
        self.drawn = Draw(found, [], left, {"m.py": source})

    def keep(self, *results: str) -> str:
        path = os.path.join(self.root, "results")
        with open(path, "w", encoding="utf-8") as file:
            for change, result in zip(self.drawn.chosen, results, strict=False):
                key = change.key(self.drawn.sources["m.py"])
                file.write(f'{{"key": "{key}", "result": "{result}", "processes": false}}\n')
        return path

    def report(self, *results: str) -> tuple[list[str], float]:
        return mutants.report(self.drawn, mutants.kept_results(self.keep(*results)))

    def test_a_timeout_counts_as_noticed(self) -> None:
        lines, share = self.report("noticed", "timeout")
        self.assertEqual(share, 1)
        self.assertIn("2 of 2 noticed (1 by a timeout): 100.0%", lines)

    def test_each_survivor_is_named_with_its_line(self) -> None:
        lines, share = self.report("noticed", "survived")
        self.assertEqual(share, 0.5)
        self.assertIn("survived: m.py:2: constant: 2 -> 3", lines)

    def test_what_is_not_tried_yet_counts_neither_way(self) -> None:
        lines, share = self.report("noticed")
        self.assertEqual(share, 1)
        self.assertIn("1 not tried yet", lines)

    def test_a_result_of_another_text_of_the_module_does_not_count(self) -> None:
        path = self.keep("noticed", "noticed")
        self.drawn.sources["m.py"] += b"c = 3\n"
        lines, _ = mutants.report(self.drawn, mutants.kept_results(path))
        self.assertIn("2 not tried yet", lines)

    def test_a_line_that_was_cut_short_is_no_result(self) -> None:
        path = self.keep("noticed", "survived")
        with open(path, "rb+") as file:
            file.truncate(os.path.getsize(path) - 5)
        self.assertEqual(len(mutants.kept_results(path)), 1)

    def test_nothing_is_tried_once_all_is_known(self) -> None:
        path = self.keep("noticed", "survived")
        missing = os.path.join(self.root, "missing")
        mutants.try_all(missing, self.drawn, path, 1, again=False, processes=False)
        for again, processes in (True, False), (False, True):
            self.assertRaises(
                FileNotFoundError,
                *(mutants.try_all, missing, self.drawn, path, 1, again, processes),
            )
