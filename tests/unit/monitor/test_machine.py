from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from palingenesis.monitor import machine


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
