"""Test cases that start the real programs."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from palingenesis.cli.exit_status import Exit
from tests.support.checkout import ROOT
from tests.support.impostors import Impostor, Treatment
from tests.support.patience import PATIENCE
from tests.support.place import Place
from tests.support.processes import Process
from tests.support.sockets import ask, connect

COMMAND = [sys.executable, "-m", "palingenesis"]


class ProcessTestCase(SynchronousTestCase):
    """
    A test of the real process.

    :ivar place: where its processes run.
    """

    def setUp(self) -> None:
        self.place = Place(self)

    def connect(self, path: str | None = None) -> socket.socket:
        """Connect to the daemon; closed at the end of the test."""
        connection = connect(path or self.place.socket)
        self.addCleanup(connection.close)
        return connection

    def ask(self, request: bytes = b"STATUS\n", path: str | None = None) -> bytes:
        """Send a request to the daemon, and return all that comes back."""
        return ask(path or self.place.socket, request)

    def assert_serves(self, path: str | None = None) -> None:
        """Check that the daemon answers STATUS as the contract says."""
        answer = self.ask(path=path)
        self.assertTrue(answer.endswith(b"}\n"), answer)
        self.assertIn(json.loads(answer)["state"], ("monitoring", "paused"))

    def assert_no_traceback(self, process: Process) -> None:
        """Check that nothing unforeseen has been logged."""
        for text in (process.log, process.stderr):
            self.assertNotIn("Traceback", text)
            self.assertNotIn("Unhandled", text)

    def assert_refused(self, process: Process, *told: str) -> None:
        """Check that a start has failed, and has said so in one line."""
        self.assertEqual(process.wait(), 1, process.log + process.stderr)
        self.assertEqual(process.stderr.count("\n"), 1, process.stderr)
        for text in told:
            self.assertIn(text, process.stderr)
        self.assertNotIn("Traceback", process.log)

    def assert_stops_cleanly(self, process: Process) -> None:
        """Check that SIGTERM ends the daemon well, and only the lock file is left."""
        self.assertEqual(process.stop(), 0, process.log + process.stderr)
        self.assert_no_traceback(process)
        self.assertFalse(os.path.lexists(self.place.socket))
        self.assertFalse(os.path.lexists(self.place.pidfile))


class CommandTestCase(ProcessTestCase):
    """
    A test of the ``palingenesis`` command.

    :ivar path: the default path of the socket.
    """

    def setUp(self) -> None:
        super().setUp()
        self.path = self.place.socket

    def listen(self, treat: Treatment) -> Impostor:
        """Listen in the daemon's place until the test is over."""
        listening = Impostor(self.path, treat)
        self.addCleanup(listening.close)
        return listening

    def environment(self, **further: str) -> dict[str, str]:
        """Make the environment of a command that belongs here."""
        # Unbuffered, argparse would swallow what goes wrong with the output.
        return self.place.environment(
            **{"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "", **further}
        )

    def run_command(
        self, *arguments: str, variables: Mapping[str, str] | None = None, **how: Any
    ) -> subprocess.CompletedProcess[bytes]:
        """Run the command to its end; `how` is what `subprocess.run` takes."""
        return subprocess.run(
            [*COMMAND, *arguments],
            env=self.environment(**variables or {}),
            **{"capture_output": True, "timeout": PATIENCE, **how},
        )

    def assert_fails(self, status: Exit, *arguments: str, **how: Any) -> str:
        """Check that it fails as people expect, and return what it says."""
        done = self.run_command(*arguments, **how)
        said: str = done.stderr.decode()
        self.assertEqual((done.returncode, done.stdout), (status, b""), said)
        self.assertRegex(said, r"\Apalingenesis: [^\n]+\n\Z")
        return said
