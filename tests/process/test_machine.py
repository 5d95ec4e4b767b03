"""The programs that say what the kernel of macOS does not."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from palingenesis.monitor import machine


class ProgramTests(SynchronousTestCase):
    def test_a_program_that_hangs_is_given_up(self) -> None:
        self.assertIsNone(machine.run("/bin/sleep", "60", timeout=0.05))

    def test_a_program_that_is_not_there(self) -> None:
        self.assertIsNone(machine.run("/nonexistent/ps"))

    def test_what_a_program_prints(self) -> None:
        self.assertEqual(machine.run("/bin/echo", "a"), "a\n")
