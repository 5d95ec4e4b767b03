"""The facts about the system, of this one; those of macOS alone are not tried here."""

from __future__ import annotations

import os
import re
import sys
from io import StringIO

from twisted.trial.unittest import SynchronousTestCase

from palingenesis.cli import facts
from palingenesis.cli.exit_status import Exit
from palingenesis.cli.facts import TRIALS, report


class FactsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.printed = StringIO()
        self.patch(sys, "stdout", self.printed)

    @property
    def rows(self) -> list[str]:
        return [
            line for line in self.printed.getvalue().splitlines() if line[:4] in ("yes ", "NO  ")
        ]

    def test_each_fact_holds_here(self) -> None:
        self.assertEqual(report(), Exit.DONE, self.printed.getvalue())
        self.assertEqual([row[:3] for row in self.rows], ["yes"] * len(TRIALS))

    def test_the_versions_come_first(self) -> None:
        report()
        first, second, *_ = self.printed.getvalue().splitlines()
        self.assertRegex(first, r"\Apalingenesis [0-9]+\.[0-9]+")
        self.assertRegex(second, r"\Atwisted [0-9]+\.")

    def test_a_fact_that_does_not_hold_is_counted_and_shown(self) -> None:
        self.patch(facts, "TRIALS", {"gravity": lambda _directory: (False, "none")})
        self.assertNotEqual(report(), Exit.DONE)
        self.assertEqual(self.rows, ["NO  gravity: none"])

    def test_a_trial_that_raises_does_not_hold_and_shows_no_path(self) -> None:
        def fail(directory: str) -> tuple[bool, str]:
            os.mkdir(directory)
            raise AssertionError

        self.patch(facts, "TRIALS", {"gravity": fail})
        report()
        self.assertEqual(self.rows, ["NO  gravity: FileExistsError EEXIST"])

    def test_nothing_private_is_in_a_report(self) -> None:
        report()
        told = self.printed.getvalue()
        self.assertIsNone(re.search(r"pal-|/home|/Users|/root", told), told)
        self.assertNotIn(os.uname().nodename, told)
        self.assertNotIn(str(os.getpid()), re.sub(r"^Linux.*", "", told, flags=re.MULTILINE))
