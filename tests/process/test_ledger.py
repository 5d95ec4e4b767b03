"""The ledger of a daemon that is killed between any two of its calls of the system."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from palingenesis.monitor.ledger import Ledger
from palingenesis.monitor.times import Times
from tests.support.checkout import PROGRAMS

WRITER = str(PROGRAMS / "ledger_writer.py")


class KilledTests(SynchronousTestCase):
    def killed_at(self, step: int, rotation: int) -> list[str]:
        directory = os.path.join(os.path.abspath(self.mktemp()), "state")
        done = subprocess.run(
            [sys.executable, WRITER, directory, str(step), str(rotation)],
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        told = done.stdout.split()
        ledger = Ledger(directory, Times())
        self.assertIsNone(ledger.open(), step)
        counts = [told.count(name) for name in ("intent", "started", "worked")]
        kept = [len(ledger.sums.intents), ledger.sums.started, ledger.sums.worked]
        ledger.close()
        # A line may be on the disk that the daemon did not live to hear of.
        self.assertTrue(
            all(know <= keep <= know + 1 for know, keep in zip(counts, kept, strict=True)),
            f"step {step}: {counts} known, {kept} kept",
        )
        shutil.rmtree(directory)
        return told

    def test_nothing_known_is_forgotten(self) -> None:
        step = 0
        while "done" not in self.killed_at(step, 1024 * 1024):
            step += 1
        self.assertGreater(step, 20)

    def test_nothing_known_is_forgotten_while_files_are_rotated(self) -> None:
        step = 8
        while "done" not in self.killed_at(step, 600):
            step += 2
        self.assertGreater(step, 40)
