"""What breaks the package on purpose, in a small checkout of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tools import mutants

FILES = {
    "palingenesis/__init__.py": "",
    "palingenesis/server/__init__.py": "",
    "palingenesis/server/a.py": (
        "seen = 1\nunseen = 1\nspins = 0\ndef spin():\n    while spins:\n        pass\n"
    ),
    "tests/__init__.py": "",
    "tests/unit/__init__.py": "",
    "tests/unit/server/__init__.py": "",
    "tests/unit/server/test_a.py": (
        "from unittest import TestCase\n"
        "from palingenesis.server import a\n"
        "class Tests(TestCase):\n"
        "    def test_seen(self):\n"
        "        self.assertEqual(a.seen, 1)\n"
        "        a.spin()\n"
    ),
}


class MutantTests(SynchronousTestCase):
    def setUp(self) -> None:
        if shutil.which("git") is None:
            raise SkipTest("git is not installed")
        self.root = tempfile.mkdtemp(prefix="pal-")
        self.addCleanup(shutil.rmtree, self.root)
        self.copies = os.path.join(self.root, "copies")
        self.checkout = os.path.join(self.root, "checkout")
        for name, text in FILES.items():
            path = os.path.join(self.checkout, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        subprocess.run(["git", "init", "-q"], cwd=self.checkout, check=True)

    def test_what_a_test_sees_is_noticed_and_the_checkout_stays_as_it_is(self) -> None:
        drawn = mutants.draw(self.checkout, 2, 1, ["server"])
        results = os.path.join(self.root, "results")
        drawn.chosen[:] = [
            c for c in mutants.draw(self.checkout, 9, 1, ["server"]).chosen if c.line < 3
        ]
        mutants.try_all(self.checkout, drawn, results, 2, again=False, processes=False)
        lines, share = mutants.report(drawn, mutants.kept_results(results))
        self.assertEqual(share, 0.5)
        self.assertIn("survived: palingenesis/server/a.py:2: constant: 1 -> 2", lines)
        for name, text in FILES.items():
            with open(os.path.join(self.checkout, name), encoding="utf-8") as file:
                self.assertEqual(file.read(), text)

    def test_a_change_that_never_ends_is_ended_and_the_next_one_is_tried(self) -> None:
        of_line = {c.line: c for c in mutants.draw(self.checkout, 9, 1, ["server"]).chosen}
        copy = mutants.Copy(self.checkout, self.copies)
        source = FILES["palingenesis/server/a.py"].encode()
        results = [
            copy.attempt(of_line[line], source, limit, processes=False)["result"]
            for line, limit in ((3, 5), (2, 120))
        ]
        self.assertEqual(results, ["timeout", "survived"])

    def test_tests_that_fail_with_nothing_changed_are_told(self) -> None:
        with open(os.path.join(self.checkout, "palingenesis/server/a.py"), "w") as file:
            file.write("seen = 2\n")
        drawn = mutants.draw(self.checkout, 1, 1, ["server"])
        results = os.path.join(self.root, "results")
        error = self.assertRaises(
            SystemExit, mutants.try_all, self.checkout, drawn, results, 1, False, False
        )
        self.assertIn("tests.unit.server.test_a.Tests.test_seen", str(error))
