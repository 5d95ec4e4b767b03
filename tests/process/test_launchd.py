"""The LaunchAgent of the examples: what it starts. launchd itself is only on macOS."""

from __future__ import annotations

import json
import os
import plistlib
import shutil
import sys
from pathlib import Path
from typing import Any

from tests.support.cases import ProcessTestCase
from tests.support.checkout import ROOT
from tests.support.patience import wait_until

AGENT = ROOT / "examples" / "launchd" / "palingenesis.plist"


class LaunchAgentTests(ProcessTestCase):
    def setUp(self) -> None:
        super().setUp()
        with AGENT.open("rb") as file:
            self.agent: dict[str, Any] = plistlib.load(file)

    def test_a_launch_agent_has_no_key_that_launchd_does_not_know(self) -> None:
        """launchd ignores a key that it does not know; these are of launchd.plist(5)."""
        self.assertEqual(
            set(self.agent),
            {
                *("Label", "ProgramArguments", "EnvironmentVariables", "RunAtLoad", "KeepAlive"),
                *("ThrottleInterval", "ProcessType", "SoftResourceLimits"),
            },
        )

    def test_launchd_starts_the_daemon_again_only_if_it_has_failed(self) -> None:
        self.assertEqual(self.agent["KeepAlive"], {"SuccessfulExit": False})

    def test_programs_are_looked_for_where_installers_put_them(self) -> None:
        """launchd expands no home directory, so the shell adds it."""
        home = Path(self.place.directory)
        program = home / ".local/bin/palingenesis"
        program.parent.mkdir(parents=True)
        (home / "Library/Logs").mkdir(parents=True)
        program.write_text('#!/bin/sh\necho "$PATH"\n')
        program.chmod(0o700)
        path = self.agent["EnvironmentVariables"]["PATH"]
        daemon = self.place.spawn(self.agent["ProgramArguments"], {"PATH": path})
        self.assertEqual(daemon.wait(), 0)
        log = home / "Library/Logs/palingenesis.log"
        self.assertEqual(log.read_text(), f"{home}/.local/bin:{path}\n")

    def test_what_it_runs_serves_and_ends_with_success(self) -> None:
        home = Path(self.place.directory)
        (home / ".local/bin").mkdir(parents=True)
        (home / "Library/Logs").mkdir(parents=True)
        program = shutil.which("palingenesis", path=os.path.dirname(sys.executable))
        assert program is not None
        (home / ".local/bin/palingenesis").symlink_to(program)
        # launchd gives little more than the HOME.
        variables = {"LANG": "C.UTF-8", "PATH": self.agent["EnvironmentVariables"]["PATH"]}
        daemon = self.place.spawn(
            self.agent["ProgramArguments"],
            variables,
            files=self.agent["SoftResourceLimits"]["NumberOfFiles"],
        )
        wait_until(lambda: os.path.lexists(self.place.socket), "it listens")
        # The shell has become the daemon, so launchd's signals reach it.
        self.assertEqual(json.loads(self.ask())["pid"], daemon.pid)
        self.assertEqual(daemon.stop(), 0)
        self.assertIn("Listening on", (home / "Library/Logs/palingenesis.log").read_text())
