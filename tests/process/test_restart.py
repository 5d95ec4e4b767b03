"""``palingenesis restart``, and what ``start``, ``stop`` and ``restart`` tell programs."""

from __future__ import annotations

import json
import os
from typing import Any

from palingenesis.cli.exit_status import Exit
from tests.support.cases import CommandTestCase


class RestartTests(CommandTestCase):
    def told(self, *arguments: str) -> dict[str, Any]:
        """Run a command that succeeds, and return the object that it prints."""
        done = self.run_command(*arguments, "--json")
        self.assertEqual((done.returncode, done.stderr), (Exit.DONE, b""))
        told: dict[str, Any] = json.loads(done.stdout)
        return told

    def test_a_daemon_has_the_same_options_afterwards(self) -> None:
        config = self.place.write("other.toml", "timeout = 3\n")
        socket, state = self.place.path("other.sock"), self.place.path("state")
        chosen = ("--config", config, "--state", state)
        first = self.told("--socket", socket, "start", *chosen)
        self.assertEqual(first, {"pid": first["pid"], "socket": socket})
        self.assertEqual(self.told("--socket", socket, "start")["pid"], first["pid"])
        second = self.told("--socket", socket, "restart")
        self.assertEqual(second["socket"], socket)
        self.assertNotEqual(second["pid"], first["pid"])
        known = self.run_command("--socket", socket, "send", "INSPECT").stdout
        inspected = json.loads(known)
        self.assertEqual(inspected["configuration"]["path"], config)
        self.assertEqual(inspected["state_directory"], state)
        self.assertEqual(self.told("--socket", socket, "stop"), second)
        self.assertFalse(os.path.lexists(socket))

    def test_a_daemon_that_start_has_not_started_is_left_alone(self) -> None:
        daemon = self.place.daemon()
        said = self.assert_fails(Exit.NO_ANSWER, "restart")
        self.assertIn("restart it as it was started", said)
        self.assertTrue(daemon.running)

    def test_without_a_daemon_there_is_nothing_to_restart(self) -> None:
        self.assert_fails(Exit.NOT_RUNNING, "restart")

    def test_a_socket_that_was_configured_since_is_the_one_afterwards(self) -> None:
        first = self.told("start")
        moved = self.place.path("moved.sock")
        os.makedirs(self.place.path(".config", "palingenesis"), 0o700)
        self.place.write(".config/palingenesis/config.toml", f'socket = "{moved}"\n')
        said = self.assert_fails(Exit.NOT_RUNNING, "restart")
        self.assertIn(f"listens at {first['socket']}", said)
        second = self.told("--socket", first["socket"], "restart")
        self.assertEqual(second["socket"], moved)
        self.assertEqual(self.told("stop"), second)

    def test_a_socket_that_was_given_outlives_one_that_is_configured(self) -> None:
        os.makedirs(self.place.path(".config", "palingenesis"), 0o700)
        socket, other = self.place.path("given.sock"), self.place.path("other.sock")
        self.told("--socket", socket, "start")
        self.place.write(".config/palingenesis/config.toml", f'socket = "{other}"\n')
        self.assertEqual(self.told("--socket", socket, "restart")["socket"], socket)
        self.told("--socket", socket, "stop")

    def test_a_daemon_is_not_stopped_for_a_configuration_that_it_cannot_start_with(self) -> None:
        self.told("start")
        os.makedirs(self.place.path(".config", "palingenesis"), 0o700)
        path = self.place.write(".config/palingenesis/config.toml", "typo = 1\n")
        said = self.assert_fails(Exit.USAGE, "restart")
        self.assertIn("unknown key 'typo'", said)
        self.assertIn("is left running", said)
        self.place.write(".config/palingenesis/config.toml", "")
        os.chmod(path, 0o666)
        self.assertIn("mode 0666", self.assert_fails(Exit.USAGE, "restart"))
        self.told("stop")
