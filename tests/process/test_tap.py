"""The command line of ``twistd palingenesis``."""

from __future__ import annotations

import os
import subprocess

from palingenesis import __version__
from palingenesis.daemon import tap
from tests.support.patience import PATIENCE
from tests.support.processes import twistd_command
from tests.support.taps import TapTestCase


class CommandLineTests(TapTestCase):
    def twistd(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*twistd_command(), "-n", "--pidfile=", "palingenesis", *words],
            check=False,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            cwd=self.directory,
            env=dict(os.environ),
        )

    def test_help_names_every_option_and_makes_nothing(self):
        done = self.twistd("--help")
        self.assertEqual(done.returncode, 0, done.stderr)
        for name, *_ in tap.Options.optParameters:
            self.assertIn(f"--{name}=", done.stdout)
        self.assertLessEqual(max(map(len, done.stdout.splitlines())), 80)
        self.assertEqual(os.listdir(self.directory), [])

    def test_version_is_this_ones(self):
        done = self.twistd("--version")
        self.assertEqual((done.returncode, done.stdout), (0, f"palingenesis {__version__}\n"))

    def test_an_unknown_option_is_told_and_makes_nothing(self):
        done = self.twistd("--sockte", self.path)
        self.assertEqual(done.returncode, 1)
        self.assertIn("sockte", done.stdout + done.stderr)
        self.assertNotIn("Traceback", done.stderr)
        self.assertEqual(os.listdir(self.directory), [])
