"""What ``palingenesis doctor`` finds."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import sys
from unittest import mock

from palingenesis import locate
from palingenesis.cli import doctor
from palingenesis.cli.exit_status import Exit
from palingenesis.cli.format import PLAIN, RED
from palingenesis.cli.twistd import twistd_command
from palingenesis.pathlock import PathLock
from tests.support.cases import CommandTestCase
from tests.support.impostors import STATUS_LINE, answer, by_command, impostor
from tests.support.needs import needs_root
from tests.support.patience import PATIENCE
from tests.support.sockets import leave_stale, listen_at


class DoctorTestCase(CommandTestCase):
    def examine(self, status: Exit, *arguments: str, **variables: str) -> dict[str, str]:
        """Run it, and return what it says by label."""
        done = self.run_command("doctor", *arguments, variables=variables)
        self.assertEqual((done.returncode, done.stderr), (status, b""))
        return {line[:11].strip(): line[11:] for line in done.stdout.decode().splitlines()}


class DoctorTests(DoctorTestCase):
    def test_a_daemon_that_is_well(self) -> None:
        daemon = self.place.daemon()
        found = self.examine(Exit.ERROR_REPLY)
        self.assertEqual(
            list(found),
            [
                *("path", "directory", "socket", "listener", "answer"),
                *("config", "agents", "revival", "state", "keeper", "ledger"),
                *("scan", "web", "plugin", "lacks", "verdict"),
            ],
        )
        self.assertEqual(found["path"], f"{self.path}, by $XDG_RUNTIME_DIR")
        self.assertRegex(found["directory"], rf"^{self.place.runtime}: private \(mode 0700, owner ")
        self.assertRegex(found["socket"], "^srw-------, owner ")
        self.assertRegex(found["listener"], rf"^pid {daemon.pid} \(.+\), uid {os.geteuid()}$")
        self.assertRegex(found["answer"], r"^monitoring, after \d+\.\d ms$")
        self.assertEqual(found["plugin"], f"works with {sys.executable}")
        self.assertTrue(found["config"].startswith("none at "), found)
        self.assertEqual(
            found["verdict"],
            "the daemon runs, but would bring no session back: no agent's directory is there to "
            "monitor",
        )

    def test_a_daemon_with_another_state_directory_is_named(self) -> None:
        other = self.place.path("other")
        socket = self.place.path("other.sock")
        daemon = self.place.daemon("--socket", socket, "--state", other)
        named = f"The daemon with pid {daemon.pid} keeps another state directory, {other}: "
        self.assertIn(named, self.examine(Exit.NOT_RUNNING)["beside"])
        self.place.pidfile = self.place.path("second.pid")
        self.place.daemon()
        self.assertIn(named, self.examine(Exit.ERROR_REPLY)["beside"])
        # It names the second one, and not itself.
        found = self.examine(Exit.ERROR_REPLY, "--socket", socket)
        self.assertIn(self.place.state, found["beside"])
        self.assertNotIn(other, found["beside"])

    def test_a_daemon_without_its_ledger_is_told_to_revive_nothing(self) -> None:
        os.mkdir(self.place.state, 0o755)
        self.place.daemon()
        found = self.examine(Exit.ERROR_REPLY)
        self.assertIn("the state directory has mode 0755", found["ledger"])
        self.assertIn("no session back: nothing can be recorded or started", found["verdict"])

    def test_the_rule_that_led_to_the_path_is_told(self) -> None:
        path = self.place.path("p.sock")
        found = self.examine(Exit.NOT_RUNNING, "--socket", path)
        self.assertEqual(found["path"], f"{path}, by --socket")
        found = self.examine(Exit.NOT_RUNNING, PALINGENESIS_SOCKET=path)
        self.assertEqual(found["path"], f"{path}, by $PALINGENESIS_SOCKET")

    def test_a_stopped_daemon_is_told_from_a_slow_one(self) -> None:
        daemon = self.place.daemon()
        daemon.send(signal.SIGSTOP)
        found = self.examine(Exit.NO_ANSWER, "--timeout", "0.3")
        self.assertIn(f"stopped, `kill -CONT {daemon.pid}` continues it", found["listener"])
        self.assertIn("none: waited 0.3 s", found["answer"])
        self.assertIn("no reply from the daemon", found["verdict"])
        self.assertNotIn("doctor", found["verdict"])

    def test_a_missing_socket_is_named_in_two_rows(self) -> None:
        found = self.examine(Exit.NOT_RUNNING)
        self.assertEqual(found["socket"], "no such file or directory")
        self.assertEqual(found["answer"], "none: there is no socket")
        self.assertNotIn("listener", found)

    def test_programs_see_one_object(self) -> None:
        done = self.run_command("doctor", "--json")
        self.assertEqual((done.returncode, done.stderr), (Exit.NOT_RUNNING, b""))
        told = json.loads(done.stdout)
        self.assertEqual(told["exit"], Exit.NOT_RUNNING)
        self.assertEqual(told["rows"][0]["label"], "path")
        last = {"label": "verdict", "value": told["verdict"], "level": "bad"}
        self.assertEqual(told["rows"][-1], last)

    def test_a_missing_directory_of_the_socket_is_named(self) -> None:
        found = self.examine(Exit.NOT_RUNNING, "--socket", self.place.path("none", "p.sock"))
        self.assertIn("no such file or directory", found["directory"])

    def test_a_directory_that_is_a_file(self) -> None:
        path = os.path.join(self.place.write("file", ""), "p.sock")
        found = self.examine(Exit.NOT_RUNNING, "--socket", path)
        self.assertIn("is not a directory", found["directory"])

    def test_a_stale_socket_is_named(self) -> None:
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


class PurposeTests(DoctorTestCase):
    """The verdict counts whether a session would come back."""

    def configured(self, program: str, further: str = "") -> dict[str, str]:
        """Start a daemon that has a home and a command, and examine it."""
        os.makedirs(self.place.path(".claude", "projects"), exist_ok=True)
        config = self.place.write(
            "c.toml", f'[revive.claude]\ncommand = ["{program}", "{{id}}"]\n{further}'
        )
        daemon = self.place.daemon("--config", config)
        done = self.run_command("doctor")
        self.assertEqual(done.stderr, b"")
        daemon.stop()
        found = {line[:11].strip(): line[11:] for line in done.stdout.decode().splitlines()}
        return {**found, "status": str(done.returncode)}

    def program(self, body: str) -> str:
        path = self.place.write("agent", f"#!/bin/sh\n{body}\n")
        os.chmod(path, 0o700)
        return path

    def test_a_daemon_that_would_bring_sessions_back_is_the_only_good_one(self) -> None:
        found = self.configured(
            self.program('test "$1 $MINE" = "--version yes"'),
            'environment = { MINE = "yes" }\n',
        )
        self.assertEqual(found["verdict"], "the daemon runs and would bring sessions back")
        self.assertEqual(found["status"], "0")

    def test_a_program_that_does_not_run_is_seen_before_the_night(self) -> None:
        found = self.configured(self.program("echo no node here; exit 127"))
        self.assertIn("the command of claude does not run: ", found["verdict"])
        self.assertIn("exit status 127, and printed: no node here", found["verdict"])
        self.assertEqual(found["status"], "1")

    def test_a_program_that_is_not_there_is_seen_too(self) -> None:
        found = self.configured("/none/agent")
        self.assertIn("/none/agent: no such program", found["verdict"])
        self.assertEqual(found["status"], "1")


class RestartTests(DoctorTestCase):
    def configure(self, text: str) -> None:
        os.makedirs(self.place.path(".config", "palingenesis"), exist_ok=True)
        self.place.write(".config/palingenesis/config.toml", text)

    def test_a_mistake_in_the_configuration_is_told_though_the_daemon_is_well(self) -> None:
        self.listen(answer(STATUS_LINE))
        self.configure('timeout = "soon"')
        found = self.examine(Exit.ERROR_REPLY)
        self.assertRegex(found["config"], r"config\.toml: timeout: expected .*, not 'soon'$")
        self.assertEqual(found["restart"], "would fail over the configuration")
        self.assertEqual(found["verdict"], "the daemon is healthy, but would not start again")

    def test_a_configuration_that_others_can_write_to_is_red(self) -> None:
        self.listen(answer(STATUS_LINE))
        self.configure("timeout = 5")
        os.chmod(self.place.path(".config", "palingenesis", "config.toml"), 0o666)
        found = self.examine(Exit.ERROR_REPLY)
        self.assertIn("can be written to by all (mode 0666)", found["config"])
        self.assertEqual(found["restart"], "would fail over the configuration")

    def test_the_verdict_follows_the_row_that_fails(self) -> None:
        self.patch(doctor, "examine_plugin", lambda: ("does not work", RED))
        self.patch(os, "environ", self.environment())
        self.listen(answer(STATUS_LINE))
        shown = io.StringIO()
        with contextlib.redirect_stdout(shown):
            status = doctor.examine(None, PATIENCE, colour=False)
        self.assertEqual(status, Exit.ERROR_REPLY)
        self.assertIn("the daemon is healthy, but would not start again\n", shown.getvalue())

    def test_a_mode_that_a_restart_changes_is_told(self) -> None:
        self.listen(answer(STATUS_LINE))
        os.chmod(self.path, 0o600)
        self.configure('mode = "0660"')
        found = self.examine(Exit.DONE)
        self.assertIn("changes the socket's mode from 0600 to 0660", found["restart"])
        self.assertEqual(found["verdict"], "the daemon is healthy")

    def test_the_tables_of_the_daemon_are_no_mistake(self) -> None:
        self.configure(
            '[sessions]\nquiet = 5.0\n[revive.claude]\ncommand = ["x", "{id}"]\n[[projects]]\n'
            'directory = "/srv"\n[http]\n[notify]\ncommand = ["x"]\n'
        )
        found = self.examine(Exit.NOT_RUNNING)
        self.assertTrue(found["config"].endswith("config.toml: valid"), found)
        self.assertNotIn("restart", found)

    def test_a_named_socket_needs_neither_configuration_nor_plugin(
        self,
    ) -> None:
        self.configure("odd = 1")
        unknown = b"ERR: Unknown command: INSPECT\n"
        self.listen(by_command({b"STATUS\n": STATUS_LINE, b"INSPECT\n": unknown}))
        for found in (
            self.examine(Exit.DONE, "--socket", self.path),
            self.examine(Exit.DONE, PALINGENESIS_SOCKET=self.path),
        ):
            self.assertEqual(
                list(found), ["path", "directory", "socket", "listener", "answer", "verdict"]
            )


class ProcessesTests(DoctorTestCase):
    def test_a_daemon_that_holds_the_lock_without_a_socket_is_named(self) -> None:
        taken = PathLock(f"{self.path}.lock")
        taken.take()
        self.addCleanup(taken.release)
        found = self.examine(Exit.NOT_RUNNING)
        self.assertIn(f"held by pid {os.getpid()} ", found["lock"])

    def test_a_dead_process_is_never_named(self) -> None:
        readable, writable = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                # The listener ends; its own child has inherited the socket and lives on.
                listening = listen_at(self.path)
                if os.fork() == 0:
                    os.close(writable)
                    os.read(readable, 1)
                    listening.close()
            finally:
                os._exit(0)
        self.addCleanup(os.close, writable)
        os.close(readable)
        os.waitpid(child, 0)
        found = self.examine(Exit.NO_ANSWER, "--timeout", "0.3")
        self.assertEqual(found["listener"], "a process that inherited the socket")
        self.assertNotIn(f"pid {child}", str(found))

    def test_a_daemon_at_the_other_default_place_is_named(self) -> None:
        other = self.place.path("other")
        os.mkdir(other, 0o700)
        self.patch(
            locate,
            "runtime_directories",
            lambda _uid: [(self.place.runtime, "$XDG_RUNTIME_DIR"), (other, "/run/user/UID")],
        )
        self.patch(os, "environ", self.environment())
        path = os.path.join(other, "palingenesis.sock")
        with impostor(path, answer(STATUS_LINE)):
            shown = io.StringIO()
            with contextlib.redirect_stdout(shown):
                status = doctor.examine(None, PATIENCE, colour=False)
        self.assertEqual(status, Exit.NOT_RUNNING)
        self.assertRegex(
            shown.getvalue(), rf"elsewhere  pid {os.getpid()} \(.+\), uid \d+, listens at {path}\n"
        )
        self.assertIn("name that with --socket\n", shown.getvalue())


class PluginTests(CommandTestCase):
    def python(self, script: str) -> str:
        """Have another program pose as this Python from now on."""
        path = self.place.write("python", f"#!/bin/sh\n{script}\n")
        os.chmod(path, 0o755)
        self.patch(sys, "executable", path)
        return path

    def test_the_last_line_of_a_twistd_that_fails_is_shown(self) -> None:
        path = self.python("[ $4 = palingenesis ] && echo Traceback && echo no zope >&2; exit 1")
        self.assertEqual(doctor.examine_plugin(), (f"does not work with {path}: no zope", RED))

    def test_a_twistd_that_fails_without_a_word_is_told(self) -> None:
        path = self.python("exit 3")
        self.assertEqual(
            doctor.examine_plugin(), (f"does not work with {path}: exit status 3", RED)
        )

    def test_a_twistd_that_cannot_be_run_is_told(self) -> None:
        path = self.python("")
        with open(path, "wb") as file:
            file.write(b"\x7fELF, not really")
        self.assertEqual(doctor.examine_plugin(), (f"{path} cannot be run: exec format error", RED))

    def test_a_broken_package_beside_twisted_is_found(self) -> None:
        broken = self.place.path("broken", "zope")
        os.makedirs(broken)
        self.place.write("broken/zope/__init__.py", "raise ImportError('zope is broken')")
        with mock.patch.dict(os.environ, {"PYTHONPATH": os.path.dirname(broken)}):
            shown, _colour = doctor.examine_plugin()
        self.assertIn("ImportError: zope is broken", shown)

    def test_a_twistd_beside_this_python_is_not_trusted(self) -> None:
        path = self.python("exit 0")
        self.place.write("twistd", "#!/bin/sh\nexit 3\n")
        os.chmod(self.place.path("twistd"), 0o755)
        self.assertEqual(twistd_command()[0], path)
        self.assertEqual(doctor.examine_plugin(), (f"works with {path}", PLAIN))

    def test_a_python_that_does_not_know_where_it_is_is_reported(self) -> None:
        self.patch(sys, "executable", None)
        shown, colour = doctor.examine_plugin()
        self.assertEqual(colour, RED)
        self.assertEqual(shown, "python cannot be run: the path of this interpreter is unknown")
