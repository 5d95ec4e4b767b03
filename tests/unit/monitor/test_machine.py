from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from palingenesis.monitor import machine


class ProgramTests(SynchronousTestCase):
    def test_a_program_that_hangs_is_given_up(self) -> None:
        self.patch(machine, "TOOL_TIMEOUT", 0.05)
        self.assertIsNone(machine.run("/bin/sleep", "60"))

    def test_a_program_that_is_not_there(self) -> None:
        self.assertIsNone(machine.run("/nonexistent/ps"))

    def test_what_a_program_prints(self) -> None:
        self.assertEqual(machine.run("/bin/echo", "a"), "a\n")


class TableTests(SynchronousTestCase):
    def test_a_table_that_is_not_there(self) -> None:
        self.assertIsNone(machine.table(self.mktemp()))

    def test_a_table_that_is_too_long_is_none(self) -> None:
        path = self.mktemp()
        with open(path, "w") as file:
            file.write("12345")
        self.assertEqual(machine.table(path), "12345")
        self.patch(machine, "TABLE_LIMIT", 5)
        self.assertIsNone(machine.table(path))
