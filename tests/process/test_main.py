"""The ``palingenesis`` command, as the processes that people start."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading

from twisted.trial.unittest import SynchronousTestCase

from palingenesis import __version__
from palingenesis.cli.exit_status import Exit
from palingenesis.cli.main import COMMANDS, main
from tests.support.cases import COMMAND, CommandTestCase
from tests.support.checkout import ROOT
from tests.support.imports import SLOW_IMPORTS
from tests.support.impostors import (
    STATUS_LINE,
    TREATMENTS,
    answer,
    by_command,
    impostor,
    say_nothing,
)
from tests.support.needs import needs_root
from tests.support.patience import PATIENCE
from tests.support.processes import program
from tests.support.sockets import leave_stale
from tests.support.users import NOBODY, as_user


class StatusTests(CommandTestCase):
    def test_people_see_each_value_on_a_line(self) -> None:
        self.listen(answer(STATUS_LINE))
        done = self.run_command("status", "--socket", self.path)
        self.assertEqual(done.returncode, 0)
        self.assertEqual(
            done.stdout.decode(),
            "state    paused\n"
            "uptime   1 day 2 hours\n"
            "session  build é\n"
            "saves    1\n"
            "resumes  2\n"
            'queue    [1, "two"]\n'
            f"socket   {self.path}\n",
        )
        self.assertEqual(done.stderr, b"")

    def test_programs_see_the_daemons_own_line(self) -> None:
        self.listen(answer(STATUS_LINE))
        self.assertEqual(self.run_command("status", "--json").stdout, STATUS_LINE)

    def test_a_session_cannot_drive_the_terminal(self) -> None:
        nasty = json.loads(STATUS_LINE) | {"current_session": "\x1b[2J\n\u202e", "\x07": "\x9b"}
        line = json.dumps(nasty, ensure_ascii=False).encode() + b"\n"
        self.listen(answer(line))
        self.assertIn(rb"session  \x1b[2J\n\u202e", self.run_command("status").stdout)
        plain = self.run_command("status", "--json").stdout
        self.assertEqual(json.loads(plain), nasty)
        self.assertTrue(plain.rstrip(b"\n").decode("ascii").isprintable())

    def test_a_terminal_that_knows_only_ascii_is_no_trouble(self) -> None:
        self.listen(answer(STATUS_LINE))
        done = self.run_command("status", variables={"PYTHONIOENCODING": "ascii"})
        self.assertIn(rb"session  build \xe9", done.stdout)

    def test_options_may_stand_before_the_command_and_after_it(self) -> None:
        with impostor(self.place.path("a"), answer(STATUS_LINE)):
            for arguments in (
                ("--socket", self.place.path("a"), "status"),
                ("status", "--socket", self.place.path("a")),
                ("--socket", "/none", "status", f"--socket={self.place.path('a')}"),
                ("--timeout", "30", "status", "--json", "--socket", self.place.path("a")),
            ):
                self.assertEqual(self.run_command(*arguments).returncode, 0, arguments)


class ActionTests(CommandTestCase):
    def test_each_says_what_is_done(self) -> None:
        self.listen(by_command({b"PAUSE\n": b"OK\n", b"RESUME\n": b"OK\n", b"RELOAD\n": b"OK\n"}))
        for command, word in (("pause", "paused"), ("resume", "resumed"), ("reload", "reloaded")):
            done = self.run_command(command)
            self.assertEqual((done.returncode, done.stdout), (0, f"{word}\n".encode()))


class FailureTests(CommandTestCase):
    def test_no_socket(self) -> None:
        said = self.assert_fails(Exit.NOT_RUNNING, "status")
        self.assertIn(f"no daemon is running at {self.path}: there is no socket; start it", said)

    def test_a_stale_socket(self) -> None:
        leave_stale(self.path)
        self.assertIn("its socket is stale", self.assert_fails(Exit.NOT_RUNNING, "pause"))

    def test_no_directory(self) -> None:
        path = self.place.path("none", "p.sock")
        said = self.assert_fails(Exit.NOT_RUNNING, "--socket", path, "resume")
        self.assertIn(f"the directory {self.place.path('none')} does not exist", said)

    @needs_root
    def test_a_socket_of_somebody_else(self) -> None:
        self.listen(answer(STATUS_LINE))
        os.chmod(self.place.directory, 0o755)
        os.chmod(self.place.runtime, 0o755)
        os.chmod(self.path, 0o600)

        def run() -> tuple[int, str]:
            with contextlib.redirect_stderr(io.StringIO()) as said:
                return int(main(["--socket", self.path, "status"])), said.getvalue()

        status, said = as_user(NOBODY, run)
        self.assertEqual(status, Exit.NO_ANSWER)
        self.assertRegex(said, r"\Apalingenesis: [^\n]+\n\Z")
        self.assertIn("permission denied: it belongs to root (mode 0600)", said)

    def test_each_treatment(self) -> None:
        for name, (treat, command, kind) in TREATMENTS.items():
            timeout = "0.3" if kind.__name__ == "TimedOut" else str(PATIENCE)
            status = Exit.ERROR_REPLY if kind.__name__ == "ErrorReply" else Exit.NO_ANSWER
            with self.subTest(name), impostor(self.path, treat):
                self.assert_fails(status, "--timeout", timeout, command)
            os.unlink(self.path)

    def test_a_path_that_is_too_long(self) -> None:
        said = self.assert_fails(Exit.USAGE, "status", "--socket", "/" + "x" * 200)
        self.assertIn("too long for a Unix socket", said)

    def test_a_broken_configuration(self) -> None:
        os.makedirs(self.place.path(".config", "palingenesis"))
        self.place.write(".config/palingenesis/config.toml", "socket =")
        self.assertIn("config.toml", self.assert_fails(Exit.USAGE, "status"))

    def test_mistakes_of_usage_are_told_on_one_line(self) -> None:
        for arguments in (
            (),
            ("no-such-command",),
            ("pause", "--json"),
            ("status", "\x1b[2J"),
            ("--timeout", "0", "status"),
            ("--timeout", "nan", "status"),
            ("status", "--watch", "soon"),
        ):
            said = self.assert_fails(Exit.USAGE, *arguments)
            self.assertTrue(said.rstrip("\n").isprintable(), said)


class DaemonTests(CommandTestCase):
    def test_a_daemon_from_its_start_to_its_end(self) -> None:
        daemon = self.place.daemon()
        self.assertIn(b"state    monitoring\n", self.run_command("status").stdout)
        for command in ("pause", "pause"):
            self.assertEqual(self.run_command(command).returncode, 0)
        self.assertEqual(json.loads(self.run_command("status", "--json").stdout)["state"], "paused")
        self.assertEqual(self.run_command("resume").returncode, 0)
        self.assertEqual(self.run_command("reload").returncode, 0)
        os.makedirs(self.place.path(".config", "palingenesis"))
        self.place.write(".config/palingenesis/config.toml", "nonsense = 1")
        # The client reads it too, unless it knows the path from elsewhere.
        said = self.assert_fails(Exit.ERROR_REPLY, "reload", "--socket", self.path)
        self.assertIn("error reply to RELOAD from the daemon", said)
        daemon.send(signal.SIGSTOP)
        self.assert_fails(Exit.NO_ANSWER, "--socket", self.path, "--timeout", "0.3", "status")
        daemon.send(signal.SIGCONT)
        daemon.kill()
        said = self.assert_fails(Exit.NOT_RUNNING, "--socket", self.path, "status")
        self.assertIn("stale", said)


class OutputTests(CommandTestCase):
    def test_a_closed_pipe_is_no_reason_to_talk(self) -> None:
        self.listen(answer(STATUS_LINE))
        for arguments in (("status",), ("status", "--json"), ("status", "--watch"), ("--help",)):
            readable, writable = os.pipe()
            os.close(readable)
            with os.fdopen(writable, "wb") as pipe:
                done = self.run_command(
                    *arguments, capture_output=False, stdout=pipe, stderr=subprocess.PIPE
                )
            self.assertEqual((done.returncode, done.stderr), (Exit.CLOSED_PIPE, b""), arguments)

    def test_an_output_closed_from_the_start_is_no_trouble(self) -> None:
        self.listen(answer(STATUS_LINE))
        for options in ((), ("--json",)):
            shell = ["sh", "-c", 'exec "$@" >&-', "sh", *COMMAND, "status", *options]
            done = subprocess.run(shell, env=self.environment(), stderr=subprocess.PIPE)
            self.assertEqual((done.returncode, done.stderr), (0, b""))

    def test_errors_never_go_to_standard_output(self) -> None:
        shell = ["sh", "-c", 'exec "$@" 2>&-', "sh", *COMMAND, "status"]
        done = subprocess.run(shell, env=self.environment(), stdout=subprocess.PIPE)
        self.assertEqual((done.returncode, done.stdout), (Exit.NOT_RUNNING, b""))

    def test_a_full_disk_is_told(self) -> None:
        if not os.path.exists("/dev/full"):
            self.skipTest("there is no /dev/full")
        self.listen(answer(STATUS_LINE))
        with open("/dev/full", "wb") as full:
            done = self.run_command(
                "status", capture_output=False, stdout=full, stderr=subprocess.PIPE
            )
        self.assertEqual(done.returncode, Exit.NO_ANSWER)
        self.assertIn(b"palingenesis: cannot write the answer: No space left", done.stderr)

    def test_ctrl_c_ends_it_quietly(self) -> None:
        asked = threading.Event()

        def tell_and_wait(connection) -> None:
            connection.recv(100)
            asked.set()
            say_nothing(connection)

        self.listen(tell_and_wait)
        process = self.place.spawn([*COMMAND, "status"], environment={"PYTHONPATH": str(ROOT)})
        self.assertTrue(asked.wait(PATIENCE))
        self.assertEqual(process.stop(signal.SIGINT), Exit.INTERRUPTED)
        self.assertEqual((process.log, process.stderr), ("", ""))


class HelpTests(CommandTestCase):
    def test_it_lists_every_command_and_exit_status(self) -> None:
        told = self.run_command("--help").stdout.decode()
        for name, command in COMMANDS.items():
            self.assertRegex(told, rf"{name} +{command.summary}\n")
        for status in Exit:
            self.assertRegex(told, rf"  {int(status)} +{re.escape(status.meaning)}\n")

    def test_each_command_has_its_own(self) -> None:
        for name in COMMANDS:
            told = self.run_command(name, "--help").stdout.decode()
            self.assertTrue(told.startswith(f"usage: palingenesis {name} "), told)
            self.assertIn("--socket PATH", told)

    def test_the_version_is_the_packages(self) -> None:
        self.assertEqual(
            self.run_command("--version").stdout.decode(), f"palingenesis {__version__}\n"
        )


class SpeedTests(CommandTestCase):
    def test_a_status_imports_nothing_slow(self) -> None:
        self.listen(answer(STATUS_LINE))
        done = subprocess.run(
            program("imported", "palingenesis.__main__:run", "status", isolated=True),
            env=self.environment(),
            capture_output=True,
            timeout=PATIENCE,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(set(SLOW_IMPORTS) & set(done.stderr.decode().split()), set())


class ConsoleScriptTests(CommandTestCase):
    def test_the_installed_command_is_the_same(self) -> None:
        script = os.path.join(os.path.dirname(sys.executable), "palingenesis")
        if not os.path.exists(script):
            self.skipTest("palingenesis is not installed for this Python")
        self.listen(answer(STATUS_LINE))
        done = subprocess.run(
            [script, "status"], env=self.environment(), capture_output=True, timeout=PATIENCE
        )
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        self.assertEqual(done.stdout, self.run_command("status").stdout)


class ExitTests(SynchronousTestCase):
    def test_the_table_is_the_contract(self) -> None:
        self.assertEqual([int(status) for status in Exit], [0, 1, 2, 3, 4, 130, 141])
