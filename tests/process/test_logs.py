"""Log files that are rotated by hand, by twistd and by logrotate(8)."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

from tests.support.cases import ProcessTestCase
from tests.support.patience import wait_until
from tests.support.processes import Process, read_pid, twistd_command


class BackgroundTests(ProcessTestCase):
    """A daemon in the background, whose log file is twistd's."""

    def setUp(self) -> None:
        super().setUp()
        self.log = Path(self.place.path("log", "twistd.log"))
        self.log.parent.mkdir()
        starter = self.place.twistd(before=(f"--logfile={self.log}",))
        self.assertEqual(starter.wait(), 0, starter.stderr)

    def assert_logs_to(self, path: Path) -> None:
        self.ask(b"PAUSE\n")
        wait_until(lambda: "PAUSE by" in path.read_text(), f"a line in {path}")

    def test_sigusr1_rotates_the_log_file(self) -> None:
        self.assert_logs_to(self.log)
        os.kill(read_pid(self.place.pidfile), signal.SIGUSR1)
        kept = self.log.with_name("twistd.log.1")
        wait_until(kept.exists, "the old file is kept")
        self.assertIn("PAUSE by", kept.read_text())
        self.assert_logs_to(self.log)

    def test_copytruncate_makes_no_hole(self) -> None:
        self.assert_logs_to(self.log)
        os.truncate(self.log, 0)
        self.ask(b"RESUME\n")
        wait_until(lambda: "RESUME by" in self.log.read_text(), "a line")
        self.assertNotIn(b"\0", self.log.read_bytes())

    def test_a_file_that_was_moved_and_made_anew_is_reopened_by_sigusr1(self) -> None:
        """What logrotate(8) does with ``create`` and a ``postrotate`` that sends the signal."""
        moved = self.log.rename(self.log.with_name("moved.log"))
        self.log.touch()
        os.kill(read_pid(self.place.pidfile), signal.SIGUSR1)
        wait_until(self.log.with_name("twistd.log.1").exists, "the file is reopened")
        before = moved.read_text()
        self.assert_logs_to(self.log)
        self.assertEqual(moved.read_text(), before)


class ForegroundTests(ProcessTestCase):
    """A daemon in the foreground, whose output somebody appends to a file."""

    def test_copytruncate_loses_no_line_and_makes_no_hole(self) -> None:
        log = Path(self.place.path("log"))
        command = [*twistd_command(), "--pidfile=", "-n", "palingenesis"]
        with log.open("ab") as output:
            child = subprocess.Popen(command, stdout=output, env=self.place.environment())
        self.addCleanup(child.wait)
        self.addCleanup(child.kill)
        wait_until(lambda: "Listening on" in log.read_text(), "it listens")
        os.truncate(log, 0)
        self.ask(b"PAUSE\n")
        wait_until(lambda: "PAUSE by" in log.read_text(), "a line")
        self.assertNotIn(b"\0", log.read_bytes())

    def test_sigusr1_does_not_end_a_daemon_in_the_foreground(self) -> None:
        daemon: Process = self.place.daemon()
        daemon.send(signal.SIGUSR1)
        daemon.wait_for_log("Received SIGUSR1")
        self.assert_serves()
