"""What ``palingenesis doctor`` finds."""

from __future__ import annotations

import os
import signal
import sys

from palingenesis.cli import doctor
from palingenesis.cli.exit_status import Exit
from tests.support.cases import CommandTestCase
from tests.support.impostors import answer
from tests.support.needs import needs_linux, needs_root
from tests.support.patience import PATIENCE
from tests.support.sockets import leave_stale


class DoctorTests(CommandTestCase):
    def examine(self, status: Exit, *arguments: str, **variables: str) -> dict[str, str]:
        """Run it, and return what it says by label."""
        done = self.run_command("doctor", *arguments, variables=variables)
        self.assertEqual((done.returncode, done.stderr), (status, b""))
        return {line[:11].strip(): line[11:] for line in done.stdout.decode().splitlines()}

    @needs_linux
    def test_a_daemon_that_is_well(self) -> None:
        daemon = self.place.daemon()
        found = self.examine(Exit.DONE)
        self.assertEqual(
            list(found),
            ["path", "directory", "socket", "listener", "answer", "plugin", "verdict"],
        )
        self.assertEqual(found["path"], f"{self.path}, by $XDG_RUNTIME_DIR")
        self.assertRegex(found["directory"], rf"^{self.place.runtime}: private \(mode 0700, owner ")
        self.assertRegex(found["socket"], "^srw-------, owner ")
        self.assertRegex(found["listener"], rf"^pid {daemon.pid} \(.+\), uid {os.geteuid()}$")
        self.assertRegex(found["answer"], r"^monitoring, after \d+\.\d ms$")
        self.assertRegex(found["plugin"], "^visible to .*twistd$")
        self.assertEqual(found["verdict"], "the daemon is well")

    def test_the_rule_that_led_to_the_path_is_told(self) -> None:
        path = self.place.path("p.sock")
        found = self.examine(Exit.NOT_RUNNING, "--socket", path)
        self.assertEqual(found["path"], f"{path}, by --socket")
        found = self.examine(Exit.NOT_RUNNING, PALINGENESIS_SOCKET=path)
        self.assertEqual(found["path"], f"{path}, by $PALINGENESIS_SOCKET")

    @needs_linux
    def test_a_stopped_daemon_is_told_from_a_slow_one(self) -> None:
        daemon = self.place.daemon()
        daemon.send(signal.SIGSTOP)
        found = self.examine(Exit.NO_ANSWER, "--timeout", "0.3")
        self.assertIn(f"stopped, `kill -CONT {daemon.pid}` lets it go on", found["listener"])
        self.assertIn("none: waited 0.3 s", found["answer"])
        self.assertIn("no reply from the daemon", found["verdict"])
        self.assertNotIn("doctor", found["verdict"])

    def test_no_daemon(self) -> None:
        found = self.examine(Exit.NOT_RUNNING)
        self.assertEqual(found["socket"], "no such file or directory")
        self.assertEqual(found["answer"], "none: there is no socket")
        self.assertNotIn("listener", found)

    def test_no_directory(self) -> None:
        found = self.examine(Exit.NOT_RUNNING, "--socket", self.place.path("none", "p.sock"))
        self.assertIn("no such file or directory", found["directory"])

    def test_a_directory_that_is_a_file(self) -> None:
        path = os.path.join(self.place.write("file", ""), "p.sock")
        found = self.examine(Exit.NOT_RUNNING, "--socket", path)
        self.assertIn("is not a directory", found["directory"])

    def test_a_stale_socket(self) -> None:
        leave_stale(self.path)
        found = self.examine(Exit.NOT_RUNNING)
        self.assertTrue(found["socket"].startswith("s"), found)
        self.assertIn("its socket is stale", found["verdict"])

    def test_an_answer_that_makes_no_sense(self) -> None:
        self.listen(answer(b"what?\n"))
        found = self.examine(Exit.NO_ANSWER, "--timeout", str(PATIENCE))
        self.assertIn("it sent 'what?'", found["verdict"])

    def test_a_refusal_has_the_status_of_a_refusal(self) -> None:
        self.listen(answer(b"ERR: Permission denied\n"))
        found = self.examine(Exit.ERROR_REPLY)
        self.assertIn("Permission denied", found["verdict"])

    def test_a_directory_that_is_open_is_told(self) -> None:
        for mode, told in (
            (0o755, "open to others, so the socket's own mode decides"),
            (0o777, "others can replace what is in it"),
            (0o1777, "open to others, so the socket's own mode decides"),
        ):
            os.chmod(self.place.runtime, mode)
            self.assertIn(told, self.examine(Exit.NOT_RUNNING)["directory"])

    @needs_root
    def test_a_directory_of_somebody_else_is_told(self) -> None:
        os.chown(self.place.runtime, 1, 1)
        self.assertIn(
            "its owner can replace what is in it", self.examine(Exit.NOT_RUNNING)["directory"]
        )

    def test_a_path_that_cannot_be_used_is_a_mistake_of_usage(self) -> None:
        self.assertIn(
            "too long", self.assert_fails(Exit.USAGE, "doctor", "--socket", "/" + "x" * 200)
        )


class PluginTests(CommandTestCase):
    def twistd(self, script: str) -> str:
        """Put another twistd beside a Python that is ours from now on."""
        path = self.place.write("twistd", f"#!/bin/sh\n{script}\n")
        os.chmod(path, 0o755)
        self.patch(sys, "executable", self.place.path("python"))
        return path

    def test_a_twistd_without_the_plugin_is_told(self) -> None:
        path = self.twistd("echo '    procmon   Watch processes, not palingenesis'")
        self.assertEqual(
            doctor.examine_plugin()[0],
            f"not visible to {path}: install palingenesis for the same Python",
        )

    def test_a_twistd_that_does_not_run_is_told(self) -> None:
        path = self.place.path("twistd")
        self.twistd("")
        with open(path, "wb") as file:
            file.write(b"\x7fELF, not really")
        self.assertIn("not known: ", doctor.examine_plugin()[0])

    def test_no_twistd_is_told(self) -> None:
        self.patch(sys, "executable", self.place.path("python"))
        self.patch(os, "environ", {"PATH": self.place.directory})
        self.assertEqual(doctor.examine_plugin()[0], "not known: there is no twistd on the PATH")
