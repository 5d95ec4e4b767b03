"""Which processes of this machine are seen."""

from __future__ import annotations

import os
import subprocess

from twisted.trial.unittest import SynchronousTestCase

from palingenesis.monitor import owners
from palingenesis.monitor.owners import Process
from palingenesis.words import Owner


class MachineTests(SynchronousTestCase):
    def test_a_process_is_seen_until_it_ends(self) -> None:
        directory = os.path.abspath(self.mktemp())
        os.mkdir(directory)
        commands = frozenset({"cat"})
        with subprocess.Popen(["cat"], cwd=directory, stdin=subprocess.PIPE) as child:
            process = (owners.look().living or {}).get(child.pid)
            running = owners.look().running(commands, directory)
        self.assertIsInstance(process, Process)
        self.assertEqual(running, Owner.PROGRAM)
        self.assertEqual(owners.look().running(commands, directory), Owner.GONE)
