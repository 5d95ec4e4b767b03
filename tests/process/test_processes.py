"""Processes by pid and start time, from /proc and from ps(1)."""

from __future__ import annotations

import os
import shutil
import subprocess

from twisted.trial.unittest import SynchronousTestCase

from palingenesis.monitor import processes
from tests.support.needs import needs_linux


class LookTests(SynchronousTestCase):
    def running(self, *arguments: str, session: bool = True) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            ["/bin/sh", "-c", "read line", *arguments],
            stdin=subprocess.PIPE,
            start_new_session=session,
        )
        self.addCleanup(process.wait)
        assert process.stdin is not None
        self.addCleanup(process.stdin.close)
        return process

    def test_a_process_is_the_same_at_each_look(self) -> None:
        pid = self.running().pid
        self.assertEqual(processes.look_at(pid), processes.look_at(pid))

    def test_the_leader_of_a_session_is_told_from_others(self) -> None:
        found = [processes.look_at(self.running(session=each).pid) for each in (True, False)]
        self.assertEqual([each and each.leads for each in found], [True, False])

    def test_a_zombie_is_gone(self) -> None:
        process = self.running()
        assert process.stdin is not None
        process.stdin.close()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        self.assertIsNone(processes.look_at(process.pid))

    def test_no_process_is_none(self) -> None:
        self.assertIsNone(processes.look_at(2**31 - 1))


class PsTests(LookTests):
    """The same by ps(1), as on macOS."""

    def setUp(self) -> None:
        if not shutil.which("ps"):
            self.skipTest("needs ps")
        self.patch(processes, "_LINUX", False)

    def test_a_process_of_ours_is_listed(self) -> None:
        process = self.running("--resume=unlikely-77c3")
        self.assertIn(process.pid, [each.pid for each in processes.ours()])

    @needs_linux("macOS's kernel is asked before ps(1)")
    def test_a_ps_that_cannot_be_run_finds_nothing(self) -> None:
        self.patch(processes, "_PS", "/no/such/ps")
        self.assertIsNone(processes.look_at(os.getpid()))
        self.assertEqual(list(processes.ours()), [])
