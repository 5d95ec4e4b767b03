"""What others can change is not trusted: by a real daemon of root's, and of another user's."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from typing import Any

from twisted.trial.unittest import SkipTest

from tests.support.cases import COMMAND, ProcessTestCase
from tests.support.needs import needs_root
from tests.support.patience import PATIENCE
from tests.support.processes import Process, twistd_command
from tests.support.users import NOBODY


class TrustTestCase(ProcessTestCase):
    """
    A daemon whose configuration names a file of each kind, each in a directory of its own.

    :cvar uid: whose daemon it is.
    """

    uid = os.geteuid()

    def setUp(self) -> None:
        super().setUp()
        os.makedirs(self.place.path(".claude", "projects"))
        self.state = self.place.path("kept", "state")
        for name in ("settings", "secrets", "agents", "told", "kept"):
            os.mkdir(self.place.path(name), 0o700)
        self.secrets = self.place.write("secrets/agent.env", "MINE=yes\n")
        self.agent = self.program("agents/agent")
        self.told = self.program("told/tell")
        self.config = self.place.write(
            "settings/c.toml",
            f"[revive.claude]\ncommand = {json.dumps([self.agent, '{id}'])}\n"
            f"environment_file = {json.dumps(self.secrets)}\n"
            f"[notify]\ncommand = {json.dumps([self.told])}\n",
        )
        for directory, _, files in os.walk(self.place.directory):
            for path in (directory, *(os.path.join(directory, each) for each in files)):
                os.chown(path, self.uid, self.uid)

    def program(self, name: str) -> str:
        path = self.place.write(name, "#!/bin/sh\nexit 0\n")
        os.chmod(path, 0o700)
        return path

    def start(self) -> Process:
        how = {} if self.uid == os.geteuid() else self.other_user
        return self.place.twistd("--config", self.config, "--state", self.state, **how)

    @property
    def other_user(self) -> dict[str, Any]:
        """How `subprocess` starts a process of the daemon's user, if that is not this one."""
        return {"user": self.uid, "group": self.uid, "extra_groups": []}

    def doctor(self) -> tuple[dict[str, str], int]:
        """Return the rows of doctor, by their labels, and its exit status."""
        done = subprocess.run(
            [*COMMAND, "doctor"],
            env=self.place.environment(PYTHONDONTWRITEBYTECODE="1"),
            cwd="/",
            capture_output=True,
            timeout=PATIENCE,
        )
        self.assertEqual(done.stderr, b"")
        rows: dict[str, str] = {}
        for line in done.stdout.decode().splitlines():
            rows.setdefault(line[:11].strip(), line[11:])
        return rows, done.returncode

    def opened(self, path: str) -> list[tuple[str, int, str]]:
        """Return a file and its directory, each with the mode that opens it and what is told."""
        mode = stat.S_IMODE(os.stat(path).st_mode) | 0o066
        directory = os.path.dirname(path)
        return [
            (path, mode, f"{path} can be written to by all (mode {mode:04o})"),
            (directory, 0o777, f"{directory} can be written to by all (mode 0777)"),
        ]

    def troubles(self) -> dict[str, str]:
        """Return what the daemon itself finds wrong with each file, by the row that has it."""
        known = json.loads(self.ask(b"INSPECT\n"))
        return {
            "config": known["configuration"]["mistake"] or "",
            "revival": known["commands"]["claude"]["trouble"] or "",
            "notify": known["notify"]["trouble"] or "",
        }

    def check_at_run_time(self) -> None:
        """Open each file, and its directory, to all under a daemon that runs."""
        self.start().wait_for_log("Listening on")
        self.assertEqual(set(self.troubles().values()), {""})
        for path, row in (
            (self.config, "config"),
            (self.secrets, "config"),
            (self.agent, "revival"),
            (self.told, "notify"),
        ):
            for place, mode, told in self.opened(path):
                closed = stat.S_IMODE(os.stat(place).st_mode)
                os.chmod(place, mode)
                reply, troubles = self.ask(b"RELOAD\n").decode(), self.troubles()
                os.chmod(place, closed)
                if place == self.secrets:
                    # What all can write to is refused as what all can read is.
                    told = f"{path}: others may read it; run chmod 600 on it"
                if row == "config":
                    self.assertIn(told, reply)
                    self.assertTrue(reply.startswith("ERR: "), reply)
                self.assertIn(told, troubles[row])
        self.assertEqual(self.ask(b"RELOAD\n"), b"OK\n")

    def check_at_the_start(self) -> None:
        """Open the configuration and what is above it to all, and start a daemon."""
        for place, mode, told in self.opened(self.config):
            closed = stat.S_IMODE(os.stat(place).st_mode)
            os.chmod(place, mode)
            self.assert_refused(self.start(), told)
            os.chmod(place, closed)
        above = os.path.dirname(self.state)
        os.mkdir(self.state)
        os.chown(self.state, self.uid, self.uid)
        for place in (self.state, above):
            os.chmod(place, 0o777)
            self.assert_refused(self.start(), f"{place} can be written to by all (mode 0777)")
            self.assertEqual(os.listdir(self.state), [])
            os.chmod(place, 0o700)


class OwnTests(TrustTestCase):
    def test_what_others_can_change_is_refused_at_run_time(self) -> None:
        self.check_at_run_time()

    def test_what_others_can_change_is_refused_at_the_start(self) -> None:
        self.check_at_the_start()

    def test_doctor_has_a_red_row_for_each(self) -> None:
        self.start().wait_for_log("Listening on")
        rows, status = self.doctor()
        self.assertEqual(status, 0, rows)
        for path in (self.agent, self.told, self.config):
            os.chmod(os.path.dirname(path), 0o777)
        rows, status = self.doctor()
        self.assertEqual(status, 1)
        for path, row in ((self.config, "config"), (self.agent, "revival"), (self.told, "notify")):
            self.assertIn(f"{os.path.dirname(path)} can be written to by all (mode", rows[row])
        os.chmod(os.path.dirname(self.config), 0o700)
        os.chmod(os.path.dirname(self.secrets), 0o777)
        self.assertIn(f"{self.secrets}: others could name variables", self.doctor()[0]["config"])


@needs_root
class OtherUserTests(TrustTestCase):
    uid = NOBODY

    def setUp(self) -> None:
        super().setUp()
        try:
            tried = self.place.spawn([*twistd_command(), "--version"], cwd="/", **self.other_user)
        except PermissionError:
            raise SkipTest("another user cannot run twistd") from None
        if tried.wait() != 0:
            raise SkipTest("another user cannot run this Python")

    def test_what_others_can_change_is_refused_at_run_time(self) -> None:
        self.check_at_run_time()

    def test_what_others_can_change_is_refused_at_the_start(self) -> None:
        self.check_at_the_start()


@needs_root
class RootTests(TrustTestCase):
    def test_root_accepts_only_what_is_root_s(self) -> None:
        self.start().wait_for_log("Listening on")
        for path, row in ((self.config, "config"), (self.secrets, "config")):
            os.chown(path, NOBODY, NOBODY)
            self.assertTrue(self.ask(b"RELOAD\n").startswith(b"ERR: "))
            self.assertIn(path, self.troubles()[row])
            os.chown(path, 0, 0)
        for path, row in ((self.agent, "revival"), (self.told, "notify")):
            os.chown(path, NOBODY, NOBODY)
            self.assertIn(f"{path} belongs to uid {NOBODY}", self.troubles()[row])
            os.chown(path, 0, 0)
        self.assertEqual(set(self.troubles().values()), {""})
