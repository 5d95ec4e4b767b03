"""A PID file and the process that it names."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.support.pidfiles import PidFileTestCase
from tests.support.place import Place


class ClearTests(PidFileTestCase):
    def other_process(self) -> int:
        process = subprocess.Popen(
            [sys.executable, "-c", "import sys; print(flush=True); sys.stdin.read()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.addCleanup(process.wait)
        for stream in process.stdin, process.stdout:
            assert stream is not None
            self.addCleanup(stream.close)
        assert process.stdout is not None
        process.stdout.readline()
        return process.pid

    def test_a_dead_process_that_was_not_reaped_serves_nobody(self) -> None:
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        self.addCleanup(os.waitpid, pid, 0)
        # Until it is dead, without reaping it.
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        self.write(f"{pid}\n")
        self.assertFalse(self.is_kept())

    def test_a_pid_that_nobody_has_any_more_is_a_dead_daemon_s(self) -> None:
        with subprocess.Popen([sys.executable, "-c", ""]) as process:
            process.wait()
        self.write(f"{process.pid}\n")
        self.assertFalse(self.is_kept())

    def test_a_process_that_is_no_daemon_does_not_keep_it(self) -> None:
        self.write(f"{self.other_process()}\n")
        self.assertFalse(self.is_kept())

    def test_a_twistd_keeps_its_own_file(self) -> None:
        place = Place(self)
        daemon = place.daemon()
        self.path = place.pidfile
        self.write(f"{daemon.pid}")
        self.assertTrue(self.is_kept())

    def test_a_twistd_does_not_keep_the_file_of_another(self) -> None:
        daemon = Place(self).daemon()
        self.write(f"{daemon.pid}")
        self.assertFalse(self.is_kept())
