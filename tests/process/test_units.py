"""The units for systemd: sound, and what they start."""

from __future__ import annotations

import configparser
import os
import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path

from tests.support.cases import COMMAND, ProcessTestCase
from tests.support.checkout import ROOT
from tests.support.needs import needs_linux
from tests.support.patience import PATIENCE, wait_until

UNITS = ROOT / "examples" / "systemd"


class UnitTestCase(ProcessTestCase):
    def unit(self, kind: str) -> configparser.RawConfigParser:
        unit = configparser.RawConfigParser(strict=True, delimiters="=", comment_prefixes="#")
        unit.read(UNITS / f"palingenesis.{kind}")
        return unit

    def command(self, key: str) -> list[str]:
        """Return what the service's unit runs, by the command of this checkout."""
        _path, *arguments = shlex.split(self.unit("service").get("Service", key))
        return [*COMMAND, *arguments]

    def manager(self) -> socket.socket:
        """Listen as a service manager does for messages."""
        receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(receiver.close)
        receiver.bind(self.place.path("notify"))
        receiver.settimeout(PATIENCE)
        return receiver


class SoundnessTests(UnitTestCase):
    def test_systemd_accepts_the_units(self) -> None:
        if shutil.which("systemd-analyze") is None:
            self.skipTest("systemd-analyze is not installed")
        binary = Path(self.place.path(".local/bin/palingenesis"))
        binary.parent.mkdir(parents=True)
        shutil.copy(shutil.which("true") or "/bin/true", binary)
        units = [
            str(shutil.copy(UNITS / f"palingenesis.{kind}", self.place.directory))
            for kind in ("socket", "service")
        ]
        done = subprocess.run(
            ["systemd-analyze", "verify", "--user", *units],
            env=self.place.environment(SYSTEMD_LOG_LEVEL="warning"),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        self.assertNotIn("palingenesis", done.stderr)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_every_setting_of_the_hardening_has_its_reason_above_it(self) -> None:
        lines = (UNITS / "palingenesis.service").read_text().splitlines()
        start = next(n for n, line in enumerate(lines) if line.startswith("# Hardening"))
        settings = [n for n in range(start, lines.index("[Install]")) if lines[n][-4:] == "=yes"]
        self.assertTrue(settings)
        for number in settings:
            self.assertTrue(lines[number - 1].startswith("# "), lines[number])


class RunTests(UnitTestCase):
    @needs_linux("macOS does not name the sender of a message")
    def test_the_service_is_the_process_that_tells_it_is_ready(self) -> None:
        # Type=notify with NotifyAccess=main: messages of another process are ignored.
        receiver = self.manager()
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        daemon = self.place.spawn(
            self.command("ExecStart"), {"NOTIFY_SOCKET": self.place.path("notify")}
        )
        message, ancillary, _flags, _address = receiver.recvmsg(4096, socket.CMSG_SPACE(12))
        self.assertIn(b"READY=1", message)
        (sender,) = [int.from_bytes(value[:4], sys.byteorder) for _level, _type, value in ancillary]
        self.assertEqual(sender, daemon.pid)
        self.assert_serves()

    def test_a_reload_tells_by_its_status_whether_the_configuration_is_good(self) -> None:
        path = os.path.join(self.place.directory, ".config/palingenesis/config.toml")
        os.makedirs(os.path.dirname(path))
        self.place.write(path, "")
        self.place.daemon()
        for content, status in (("timeout = 3\n", 0), ("nonsense", 1)):
            self.place.write(path, content)
            done = subprocess.run(
                self.command("ExecReload"),
                env=self.place.environment(),
                capture_output=True,
                timeout=PATIENCE,
            )
            self.assertEqual(done.returncode, status, done.stderr)

    def test_with_the_socket_unit_it_is_ready_once_the_inherited_socket_answers(self) -> None:
        activate = shutil.which("systemd-socket-activate")
        if activate is None:
            self.skipTest("systemd-socket-activate is not installed")
        receiver = self.manager()
        path = self.unit("socket").get("Socket", "ListenStream").replace("%t", self.place.runtime)
        variables = self.place.environment(NOTIFY_SOCKET=self.place.path("notify"))
        daemon = self.place.spawn(
            [
                activate,
                f"--listen={path}",
                # It passes on nothing else but the PATH and the like.
                *(f"--setenv={name}={value}" for name, value in variables.items()),
                *self.command("ExecStart"),
            ]
        )
        # The first client has the daemon started, and waits for it.
        self.assertIn(b'"state"', wait_until(lambda: self.try_to_ask(path), "it listens"))
        self.assertIn(b"READY=1", receiver.recv(4096))
        done = subprocess.run(
            [*COMMAND, "stop"],
            env=self.place.environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        self.assertEqual(done.stdout, f"stopped: pid {daemon.pid}\n", done.stderr)
        self.assertEqual(daemon.wait(), 0)
        self.assertTrue(os.path.lexists(path))

    def try_to_ask(self, path: str) -> bytes:
        try:
            return self.ask(path=path)
        except (ConnectionRefusedError, FileNotFoundError):
            return b""
