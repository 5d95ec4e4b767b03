"""The ``palingenesis`` command, as the processes that people start."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import zipapp

from twisted.trial.unittest import SynchronousTestCase

from palingenesis import __version__
from palingenesis.cli.exit_status import Exit
from palingenesis.cli.main import COMMANDS, main
from tests.support.cases import COMMAND, CommandTestCase
from tests.support.checkout import ROOT
from tests.support.house import reachable
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


class StatusOfAnApplicationTests(CommandTestCase):
    LINE = (
        b'{"state": "draining", "uptime_secs": 7, "current_session": null, "saves_count": 0, '
        b'"total_resumes": 0, "jobs": 3}\n'
    )

    def test_rows_about_sessions_are_left_out_where_there_are_none(self) -> None:
        self.listen(answer(self.LINE))
        self.assertEqual(
            self.run_command("status").stdout.decode(),
            f"state    draining\nuptime   7 seconds\njobs     3\nsocket   {self.path}\n",
        )

    def test_a_single_revival_is_reason_enough_for_the_rows(self) -> None:
        for key in ("saves_count", "total_resumes"):
            with impostor(
                self.path, answer(self.LINE.replace(f'"{key}": 0'.encode(), f'"{key}": 1'.encode()))
            ):
                self.assertIn(b"session  none\n", self.run_command("status").stdout)
            os.unlink(self.path)


class SendTests(CommandTestCase):
    def test_a_reply_is_printed_as_it_came(self) -> None:
        for reply in (b"OK\n", b'"OK"\n', b"7\n", '{"a":  [1, "é"]}\n'.encode(), b"null\n"):
            with impostor(self.path, by_command({b"flush a b\n": reply})):
                done = self.run_command("send", "flush", "a b")
            self.assertEqual((done.returncode, done.stdout, done.stderr), (0, reply, b""))
            os.unlink(self.path)

    def test_a_reply_cannot_drive_the_terminal(self) -> None:
        self.listen(answer('"\x9b2J\u202e"\n'.encode()))
        self.assertEqual(self.run_command("send", "TEXT").stdout, b'"\\u009b2J\\u202e"\n')

    def test_an_error_goes_to_standard_error(self) -> None:
        self.listen(answer(b"ERR: FLUSH needs QUEUE\n"))
        said = self.assert_fails(Exit.ERROR_REPLY, "send", "FLUSH")
        self.assertIn(f"error reply to FLUSH from the daemon at {self.path}: FLUSH needs", said)

    def test_a_reply_that_is_no_json_is_no_answer(self) -> None:
        self.listen(answer(b"seven\n"))
        self.assert_fails(Exit.NO_ANSWER, "send", "COUNT")

    def test_what_is_not_one_line_of_512_bytes_is_a_mistake_of_usage(self) -> None:
        for arguments in (("A\nB",), ("A", "b\nc"), ("A", "x" * 511)):
            self.assert_fails(Exit.USAGE, "send", *arguments)
        self.listen(by_command({b"A " + b"x" * 510 + b"\n": b"OK\n"}))
        self.assertEqual(self.run_command("send", "A", "x" * 510).returncode, 0)

    def test_an_argument_may_begin_with_a_dash(self) -> None:
        self.listen(by_command({b"FLUSH --all\n": b"OK\n"}))
        self.assertEqual(self.run_command("send", "FLUSH", "--", "--all").stdout, b"OK\n")

    def test_a_time_out_says_that_the_command_may_still_be_carried_out(self) -> None:
        self.listen(say_nothing)
        for arguments, name in ((("send", "FLUSH"), "FLUSH"), (("pause",), "PAUSE")):
            said = self.assert_fails(Exit.NO_ANSWER, "--timeout", "0.2", *arguments)
            self.assertIn(f"may still carry out {name}", said)


class CommandsTests(CommandTestCase):
    LINE = b'{"STATUS": "show it", "FLUSH QUEUE": "drop \\u001b[2J what waits"}\n'

    def test_people_see_a_table(self) -> None:
        self.listen(by_command({b"HELP\n": self.LINE}))
        self.assertEqual(
            self.run_command("commands").stdout.decode(),
            "STATUS       show it\nFLUSH QUEUE  drop \\x1b[2J what waits\n",
        )

    def test_programs_see_an_object(self) -> None:
        self.listen(by_command({b"HELP\n": self.LINE}))
        shown = self.run_command("commands", "--json").stdout
        self.assertEqual(json.loads(shown), json.loads(self.LINE))
        self.assertTrue(shown.rstrip(b"\n").decode("ascii").isprintable())


class PathTests(CommandTestCase):
    def test_the_path_and_nothing_else_is_printed(self) -> None:
        odd = os.path.join(self.place.directory, "s\udcff \u202e.sock")
        for arguments, path in (((), self.path), (("--socket", odd), odd)):
            done = self.run_command("path", *arguments)
            self.assertEqual(
                (done.returncode, done.stdout, done.stderr), (0, os.fsencode(path) + b"\n", b"")
            )


class CompletionScriptTests(CommandTestCase):
    def test_a_zip_archive_has_them_too(self) -> None:
        archive = self.place.path("archive")
        shutil.copytree(
            ROOT / "palingenesis",
            os.path.join(archive, "palingenesis"),
            ignore=shutil.ignore_patterns("__pycache__"),
        )
        zipapp.create_archive(archive, f"{archive}.pyz", main="palingenesis.__main__:run")
        for arguments in (["completion", "bash"], ["status"]):
            done = subprocess.run(
                [sys.executable, "-S", f"{archive}.pyz", *arguments],
                env=self.place.environment(),
                capture_output=True,
                timeout=PATIENCE,
            )
            outside = self.run_command(*arguments)
            self.assertEqual(
                (done.returncode, done.stdout, done.stderr),
                (outside.returncode, outside.stdout, outside.stderr),
            )
        self.assertEqual(done.returncode, Exit.NOT_RUNNING)

    def test_each_shell_has_one(self) -> None:
        for shell, word in (
            ("bash", b"complete -o"),
            ("zsh", b"#compdef"),
            ("fish", b"complete -c"),
        ):
            done = self.run_command("completion", shell)
            self.assertEqual((done.returncode, done.stderr), (0, b""))
            self.assertIn(word, done.stdout)

    def test_another_shell_is_a_mistake_of_usage(self) -> None:
        self.assertIn("csh", self.assert_fails(Exit.USAGE, "completion", "csh"))


class ActionTests(CommandTestCase):
    def test_each_says_what_is_done(self) -> None:
        self.listen(by_command({b"PAUSE\n": b"OK\n", b"RESUME\n": b"OK\n", b"RELOAD\n": b"OK\n"}))
        for command, word in (("pause", "paused"), ("resume", "resumed"), ("reload", "reloaded")):
            done = self.run_command(command)
            self.assertEqual((done.returncode, done.stdout), (0, f"{word}\n".encode()))


class FailureTests(CommandTestCase):
    def test_a_missing_socket_is_an_error(self) -> None:
        said = self.assert_fails(Exit.NOT_RUNNING, "status")
        self.assertIn(f"no daemon is running at {self.path}: there is no socket; start it", said)

    def test_a_stale_socket_is_an_error(self) -> None:
        leave_stale(self.path)
        self.assertIn("its socket is stale", self.assert_fails(Exit.NOT_RUNNING, "pause"))

    def test_a_missing_directory_is_an_error(self) -> None:
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

    def test_each_treatment_of_a_client_is_an_error(self) -> None:
        for name, (treat, command, kind) in TREATMENTS.items():
            timeout = "0.3" if kind.__name__ == "TimedOut" else str(PATIENCE)
            status = Exit.ERROR_REPLY if kind.__name__ == "ErrorReply" else Exit.NO_ANSWER
            with self.subTest(name), impostor(self.path, treat):
                self.assert_fails(status, "--timeout", timeout, command)
            os.unlink(self.path)

    def test_a_path_that_is_too_long(self) -> None:
        said = self.assert_fails(Exit.USAGE, "status", "--socket", "/" + "x" * 200)
        self.assertIn("too long for a Unix socket", said)

    def configure(self, text: str) -> None:
        os.makedirs(self.place.path(".config", "palingenesis"))
        self.place.write(".config/palingenesis/config.toml", text)

    def test_a_socket_in_the_configuration_that_is_no_path(self) -> None:
        self.configure("socket = 3")
        self.assertIn("config.toml", self.assert_fails(Exit.USAGE, "status"))

    def test_other_mistakes_in_the_configuration_do_not_hide_the_daemon(self) -> None:
        self.configure(f'socket = "{self.place.path("own.sock")}"\ntimeout = "soon"\nodd = 1\n')
        self.path = self.place.path("own.sock")
        self.listen(by_command({b"STATUS\n": STATUS_LINE, b"PAUSE\n": b"OK\n"}))
        for command in ("status", "pause"):
            self.assertEqual(self.run_command(command).returncode, 0)

    def test_the_advice_for_the_default_place_starts_the_daemon(self) -> None:
        self.assertIn("`palingenesis start`", self.assert_fails(Exit.NOT_RUNNING, "status"))
        leave_stale(self.path)
        self.assertIn("`palingenesis start`", self.assert_fails(Exit.NOT_RUNNING, "status"))

    def test_the_advice_for_a_socket_that_was_named_starts_nothing_of_ours(self) -> None:
        for path in (self.place.path("app.sock"), self.place.path("none", "app.sock"), self.path):
            if path == self.path:
                leave_stale(path)
            for arguments, variables in (
                (("--socket", path), {}),
                ((), {"PALINGENESIS_SOCKET": path}),
            ):
                said = self.assert_fails(
                    Exit.NOT_RUNNING, *arguments, "status", variables=variables
                )
                self.assertNotIn("palingenesis start", said)
                self.assertNotIn("twistd", said)

    def test_the_advice_after_a_time_out_names_the_socket_that_was_asked(self) -> None:
        path = self.place.path("app 1.sock")
        with impostor(path, say_nothing):
            for command in ("status", "pause"):
                said = self.assert_fails(
                    Exit.NO_ANSWER, "--timeout", "0.2", "--socket", path, command
                )
                self.assertIn(f"`palingenesis --socket '{path}' doctor`", said)

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

    def test_the_status_does_not_depend_on_standard_error(self) -> None:
        for redirection in ("2>/dev/full", "2>&-", "2>/dev/null"):
            for arguments, status in (
                (("status",), Exit.NOT_RUNNING),
                (("--timeout", "0", "status"), Exit.USAGE),
                (("status", "--socket", "x" * 200), Exit.USAGE),
                (("stop",), Exit.NOT_RUNNING),
                (("start", "--config", "/nowhere"), Exit.USAGE),
                (("path",), Exit.DONE),
            ):
                with self.subTest(redirection=redirection, arguments=arguments):
                    shell = ["sh", "-c", f'exec "$@" {redirection}', "sh", *COMMAND, *arguments]
                    done = subprocess.run(shell, env=self.environment(), capture_output=True)
                    self.assertEqual((done.returncode, done.stderr), (status, b""))

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
        self.assertIn(b"palingenesis: cannot write the output: no space left", done.stderr)

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
    def test_the_help_lists_every_command_and_exit_status(self) -> None:
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
    def test_the_command_line_runs_where_nothing_else_is_installed(self) -> None:
        # Without site there is no site-packages: no Twisted.
        reached = sorted(reachable("palingenesis.__main__"))
        done = subprocess.run(
            program("imported", ",".join(reached), isolated=True),
            env=self.environment(),
            capture_output=True,
            timeout=PATIENCE,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertLessEqual(set(reached), set(done.stderr.decode().split()))

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

    def test_what_reads_the_configuration_and_the_ledger_imports_no_twisted(self) -> None:
        os.makedirs(self.place.path(".config", "palingenesis"))
        self.place.write(".config/palingenesis/config.toml", "")
        told = ["config", "check"], ["config", "show"], ["report"], ["doctor", "--json"]
        for arguments in told:
            done = subprocess.run(
                program("imported", "palingenesis.__main__:run", *arguments, isolated=True),
                env=self.environment(),
                capture_output=True,
                timeout=PATIENCE,
            )
            imported = set(done.stderr.decode().split())
            self.assertIn("palingenesis.monitor.settings", imported, arguments)
            self.assertEqual(imported & {"twisted", "zope"}, set(), arguments)


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
