"""Which processes of this machine are seen."""

from __future__ import annotations

import os
import subprocess

from twisted.trial.unittest import SynchronousTestCase

from palingenesis.monitor.owners import take_snapshot
from palingenesis.monitor.processes import Process
from palingenesis.words import Owner


class MachineTests(SynchronousTestCase):
    def test_a_process_is_seen_until_it_ends(self) -> None:
        directory = os.path.abspath(self.mktemp())
        os.mkdir(directory)
        commands = frozenset({"cat"})
        with subprocess.Popen(["cat"], cwd=directory, stdin=subprocess.PIPE) as child:
            process = (take_snapshot().processes or {}).get(child.pid)
            running = take_snapshot().running(commands, directory)
        self.assertIsInstance(process, Process)
        self.assertEqual(running, Owner.PROGRAM)
        self.assertEqual(take_snapshot().running(commands, directory), Owner.GONE)
