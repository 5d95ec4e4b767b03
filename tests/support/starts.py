"""A test case for ``palingenesis start`` and ``stop``, as a person types them."""

from __future__ import annotations

import json
import os
import subprocess

from palingenesis.cli.exit_status import Exit
from tests.support.cases import COMMAND, ProcessTestCase
from tests.support.patience import PATIENCE
from tests.support.processes import program


class StartStopTestCase(ProcessTestCase):
    """
    A test of a daemon that the command starts in the background.

    :ivar work: the current directory of the command.
    """

    def setUp(self) -> None:
        super().setUp()
        self.work = self.place.path("work")
        os.mkdir(self.work)

    def run_command(
        self, *arguments: str, umask: int = -1, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run the command to its end, with further environment variables."""
        return subprocess.run(
            [*COMMAND, *arguments],
            cwd=self.work,
            env=self.place.environment(**variables),
            umask=umask,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )

    def started(self, *arguments: str) -> int:
        """Start the daemon, and return its pid."""
        done = self.run_command(*arguments, "start")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return int(done.stdout.removeprefix("started: pid ").partition(",")[0])

    def run_with(self, program_name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the command with one of the tests' programs in the place of twistd."""
        return self.run_program("starting", program_name, *arguments)

    def run_program(self, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one of the tests' programs to its end."""
        return subprocess.run(
            program(name, *arguments),
            cwd=self.work,
            env=self.place.environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )

    def daemon_pid(self) -> int:
        """Ask the daemon for its pid."""
        return int(json.loads(self.ask())["pid"])

    def assert_fails(
        self, done: subprocess.CompletedProcess[str], status: Exit, *told: str
    ) -> None:
        """Check that a command has failed with one line on standard error."""
        self.assertEqual((done.returncode, done.stdout), (status, ""), done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        self.assertNotIn("Traceback", done.stderr)
        for text in told:
            self.assertIn(text, done.stderr)
