"""``palingenesis start`` and ``stop``, as a person types them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys

from palingenesis.cli.exit_status import Exit
from palingenesis.procfs import has_ended
from tests.support.activation import INHERITED, activated_twistd
from tests.support.cases import COMMAND
from tests.support.needs import needs_linux, needs_root
from tests.support.patience import PATIENCE, wait_until
from tests.support.processes import program, read_pid, wait_for_end
from tests.support.sockets import listen_at
from tests.support.starts import StartStopTestCase
from tests.support.users import NOBODY


class StartTests(StartStopTestCase):
    def test_a_daemon_answers_when_start_returns_with_its_pid_and_socket(self) -> None:
        done = self.run_command("start")
        self.assert_serves()
        pid = read_pid(os.path.join(self.place.runtime, "palingenesis.pid"))
        self.assertEqual(done.stdout, f"started: pid {pid}, socket {self.place.socket}\n")

    def test_a_start_writes_nothing_into_the_current_directory(self) -> None:
        self.started()
        self.run_command("stop")
        self.assertEqual(os.listdir(self.work), [])

    def test_the_log_of_a_start_is_in_the_state_directory(self) -> None:
        state = self.place.path("state")
        done = self.run_command("start", "--state", state)
        self.assertEqual(done.returncode, 0, done.stderr)
        with open(os.path.join(state, "twistd.log"), encoding="utf-8") as log:
            self.assertIn("Listening on", log.read())

    def test_a_socket_of_another_name_has_a_pid_file_of_that_name(self) -> None:
        path = self.place.path("jobs.sock")
        pid = self.started("--socket", path)
        self.assertEqual(read_pid(os.path.join(self.place.runtime, "jobs.pid")), pid)
        self.assert_serves(path)

    def test_a_path_that_a_terminal_would_obey_is_shown_in_escapes(self) -> None:
        os.mkdir(self.place.path("a\nb\x1b[2J"), 0o700)
        path = self.place.path("a\nb\x1b[2J", "s.sock")
        for said in "started", "already running":
            done = self.run_command("--socket", path, "start")
            self.assertRegex(done.stdout, rf"\A{said}: [^\n]*/a\\nb\\x1b\[2J/s\.sock\n\Z")

    def test_a_second_start_says_that_it_runs_already(self) -> None:
        pid = self.started()
        done = self.run_command("start")
        self.assertEqual(
            (done.returncode, done.stdout),
            (0, f"already running: pid {pid}, socket {self.place.socket}\n"),
        )

    def test_after_a_kill_it_starts_and_says_no_more_than_that(self) -> None:
        pid = self.started()
        os.kill(pid, signal.SIGKILL)
        wait_for_end(pid)
        self.assertNotEqual(self.started(), pid)

    def test_a_relative_configuration_file_is_found_from_where_it_was_named(self) -> None:
        with open(os.path.join(self.work, "c.toml"), "w", encoding="utf-8") as file:
            file.write('socket = "named.sock"\n')
        done = self.run_command("start", "--config", "c.toml")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assert_serves(os.path.join(self.work, "named.sock"))

    def test_a_mistake_in_the_configuration_is_told_in_one_line(self) -> None:
        self.place.write("c.toml", "timeout = -1\n")
        done = self.run_command("start", "--config", self.place.path("c.toml"))
        self.assert_fails(done, Exit.USAGE, "c.toml", "timeout", "-1")

    def test_a_path_that_cannot_be_a_socket_s_is_told_in_one_line(self) -> None:
        self.assert_fails(self.run_command("--socket", "x" * 200, "start"), Exit.USAGE, "too long")

    def test_a_path_that_something_else_has_is_told_in_one_line(self) -> None:
        os.mkdir(self.place.socket)
        self.assert_fails(self.run_command("start"), Exit.USAGE, "there is a directory")

    def test_a_state_directory_that_is_a_file_is_told_in_one_line(self) -> None:
        path = self.place.write("state", "")
        done = self.run_command("start", "--state", path)
        self.assert_fails(done, Exit.USAGE, path)

    def test_a_daemon_that_does_not_answer_is_told_at_the_timeout(self) -> None:
        frozen = listen_at(self.place.socket)
        self.addCleanup(frozen.close)
        done = self.run_command("--timeout", "0.5", "start")
        self.assert_fails(done, Exit.NO_ANSWER, "0.5 s")

    def test_a_start_works_with_no_twistd_on_the_path(self) -> None:
        done = self.run_command("start", PATH="/usr/bin:/bin")
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_a_current_directory_that_is_gone_is_told_in_one_line(self) -> None:
        gone = self.place.path("gone")
        os.mkdir(gone)
        done = subprocess.run(
            [
                "sh",
                "-c",
                'rmdir "$PWD" && exec "$@"',
                "sh",
                *COMMAND,
                "start",
                "--config",
                "c.toml",
            ],
            cwd=gone,
            env=self.place.environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        self.assert_fails(done, Exit.USAGE, "current directory")

    def test_of_several_starts_at_once_each_names_the_same_daemon(self) -> None:
        starts = [self.place.spawn([*COMMAND, "start"], cwd=self.work) for _ in range(4)]
        self.assertEqual([start.wait() for start in starts], [0] * 4)
        told = sorted(start.log for start in starts)
        where = f"pid {self.daemon_pid()}, socket {self.place.socket}\n"
        self.assertEqual(told, [f"already running: {where}"] * 3 + [f"started: {where}"])

    def test_a_pid_file_of_a_daemon_with_another_socket_is_told_in_one_line(self) -> None:
        for name in "one", "other":
            os.mkdir(self.place.path(name))
        pid = self.started("--socket", self.place.path("one", "s.sock"))
        done = self.run_command("--socket", self.place.path("other", "s.sock"), "start")
        self.assert_fails(done, Exit.USAGE, f"pid {pid}", "s.pid")

    def test_a_start_that_fails_in_the_background_is_told_with_its_reason(self) -> None:
        gone = self.place.path("gone")
        os.mkdir(gone)
        path = os.path.join(gone, "s.sock")
        done = self.run_with("twistd_unable_to_bind", gone, "--", "--socket", path, "start")
        self.assert_fails(done, Exit.USAGE, f"cannot listen on {path}: no such file or directory")

    def test_a_daemon_that_dies_at_once_is_told_with_its_last_error(self) -> None:
        done = self.run_with("twistd_dying", "loudly", "--", "start")
        self.assert_fails(done, Exit.NOT_RUNNING, "RuntimeError: out of luck", "twistd.log")

    def test_an_error_of_an_earlier_daemon_is_not_told_again(self) -> None:
        self.run_with("twistd_dying", "loudly", "--", "start")
        done = self.run_with("twistd_dying", "silently", "--", "start")
        self.assert_fails(done, Exit.NOT_RUNNING, "it gave no reason")

    def test_a_long_reason_of_a_start_that_fails_in_the_background_is_shown_whole(self) -> None:
        gone = self.place.path("gone")
        os.mkdir(gone)
        path = os.path.join(gone, "a-long-name-" * 4, "s.sock")
        os.mkdir(os.path.dirname(path))
        done = self.run_with("twistd_unable_to_bind", gone, "--", "--socket", path, "start")
        self.assert_fails(done, Exit.USAGE, path, "no such file or directory", "choose another")

    def test_what_fails_before_the_daemon_s_own_code_is_the_last_line_of_twistd(self) -> None:
        done = self.run_with("twistd_failing", "--", "start")
        self.assert_fails(done, Exit.NOT_RUNNING, "ImportError: zope is broken")
        # It has died before it had a log.
        self.assertNotIn("twistd.log", done.stderr)

    def test_an_interrupt_leaves_no_daemon_that_is_half_started(self) -> None:
        begun = self.place.path("begun")
        os.mkfifo(begun)
        start = self.place.spawn(program("starting", "twistd_interrupted", begun, "--", "start"))
        with open(begun, encoding="ascii") as file:
            file.read()
        start.send(signal.SIGINT)
        self.assertEqual(start.wait(), Exit.INTERRUPTED)
        self.assertEqual((start.log, start.stderr), ("", ""))
        self.assertEqual(self.place.strays(), [])
        self.assertFalse(os.path.lexists(self.place.socket))

    def test_an_interrupt_that_comes_too_late_says_which_daemon_runs(self) -> None:
        start = self.place.spawn(program("start_interrupted"))
        self.assertEqual(start.wait(), Exit.INTERRUPTED)
        pid = self.daemon_pid()
        self.assertIn(f"the daemon runs, pid {pid}; `palingenesis stop` stops it", start.stderr)

    def test_a_daemon_that_is_slow_to_start_is_told_at_the_timeout(self) -> None:
        done = self.run_command("--timeout", "0.01", "start")
        self.assert_fails(done, Exit.NO_ANSWER, "0.01 s", "twistd.log")

    def test_in_the_foreground_a_path_that_is_given_goes_before_an_inherited_socket(self) -> None:
        listening = listen_at(self.place.path("inherited.sock"))
        self.addCleanup(listening.close)
        number = listening.fileno()
        start = [*COMMAND, "--socket", self.place.path("given.sock"), "start", "--foreground"]
        daemon = self.place.spawn(
            program("launcher", "child", str(number), *start), pass_fds=[number]
        )
        daemon.wait_for_log("Listening on")
        self.assert_serves(self.place.path("given.sock"))

    def test_in_the_foreground_a_socket_meant_for_another_process_is_not_served(self) -> None:
        listening = listen_at(self.place.path("inherited.sock"))
        self.addCleanup(listening.close)
        number = listening.fileno()
        daemon = self.place.spawn(
            program("launcher", "parent", str(number), *COMMAND, "start", "--foreground"),
            pass_fds=[number],
        )
        daemon.wait_for_log("Listening on")
        self.assert_serves()

    def test_in_the_foreground_it_logs_where_it_was_started(self) -> None:
        daemon = self.place.spawn([*COMMAND, "start", "--foreground"], cwd=self.work)
        daemon.wait_for_log("Listening on")
        self.assert_serves()
        self.assertEqual(daemon.stop(), 0)
        self.assertEqual(os.listdir(self.work), [])


class ChangedSocketTests(StartStopTestCase):
    """The configuration names another socket while the daemon runs."""

    def setUp(self) -> None:
        super().setUp()
        os.makedirs(self.place.path(".config", "palingenesis"), 0o700)
        self.old, self.new = self.place.path("old.sock"), self.place.path("new.sock")
        self.configure(self.old)

    def configure(self, socket: str) -> None:
        self.place.write(".config/palingenesis/config.toml", f'socket = "{socket}"\n')

    def test_every_command_names_the_place_of_the_daemon(self) -> None:
        pid = self.started()
        self.configure(self.new)
        for command in ("status", "reload", "stop", "pause"):
            done = self.run_command(command)
            self.assert_fails(done, Exit.NOT_RUNNING, self.new, f"pid {pid} ", self.old)
        done = self.run_command("doctor")
        self.assertIn(f"listens at {self.old}", done.stdout)

    def test_a_start_shows_a_line_that_stops_the_old_daemon(self) -> None:
        pid = self.started()
        self.configure(self.new)
        done = self.run_command("start")
        line = f"palingenesis --socket {self.old} stop"
        self.assert_fails(done, Exit.USAGE, f"pid {pid}", self.new, f"`{line}`")
        done = self.run_command(*line.split()[1:])
        self.assertEqual((done.returncode, done.stdout), (0, f"stopped: pid {pid}\n"))
        self.started()
        self.assert_serves(self.new)

    def test_a_daemon_that_stops_leaves_no_record(self) -> None:
        self.started()
        record = os.path.join(self.place.state, "socket")
        self.assertTrue(os.path.exists(record))
        self.assertEqual(self.run_command("stop").returncode, 0)
        self.assertFalse(os.path.exists(record))


class StopTests(StartStopTestCase):
    def test_the_path_is_free_when_the_command_returns(self) -> None:
        pid = self.started()
        done = self.run_command("stop")
        self.assertEqual((done.returncode, done.stdout), (0, f"stopped: pid {pid}\n"))
        self.assertFalse(os.path.lexists(self.place.socket))
        self.assertTrue(has_ended(pid))
        self.started()

    @needs_linux("macOS has no pidfd_open(2)")
    def test_where_pidfd_open_is_forbidden_it_stops_the_daemon_too(self) -> None:
        for error in ("EPERM", "ENOSYS"):
            pid = self.started()
            done = self.run_program("stop_without_pidfd", error, "stop")
            self.assertEqual((done.returncode, done.stdout), (0, f"stopped: pid {pid}\n"))
            self.assertTrue(has_ended(pid))

    def test_a_forwarder_in_front_of_the_daemon_is_left_alone(self) -> None:
        pid = self.started()
        path = self.place.path("forward.sock")
        forwarder = self.place.spawn(program("forwarding", path, self.place.socket))
        wait_until(lambda: os.path.lexists(path), "it listens")
        done = self.run_command("--socket", path, "stop")
        told = f"pid {forwarder.pid} answers for a daemon with pid {pid}"
        self.assert_fails(done, Exit.NO_ANSWER, told)
        self.assertTrue(forwarder.running)
        self.assert_serves()

    def test_without_a_daemon_it_says_so(self) -> None:
        self.assert_fails(self.run_command("stop"), Exit.NOT_RUNNING, "no daemon is running")

    def test_a_daemon_in_the_foreground_is_stopped_as_well(self) -> None:
        daemon = self.place.daemon()
        self.assertEqual(self.run_command("stop").returncode, 0)
        self.assertEqual(daemon.wait(), 0)

    def test_a_daemon_that_does_not_end_is_named_and_never_killed(self) -> None:
        application = self.place.application(pause=("never", None))
        client = self.connect()
        client.sendall(b"PAUSE\n")
        application.wait_for_log("pause begins")
        done = self.run_command("--timeout", "0.2", "stop")
        self.assert_fails(
            done, Exit.NO_ANSWER, f"pid {application.pid}", "SIGTERM but has not exited"
        )
        self.assertEqual(application.wait(), 0)

    def test_a_daemon_with_too_many_clients_is_stopped_as_well(self) -> None:
        config = self.place.write("c.toml", "max_connections = 1\n")
        daemon = self.place.daemon("--config", config)
        client = self.connect()
        client.sendall(b"STAT")
        wait_until(lambda: self.ask().startswith(b"ERR: Too many"), "there is no room")
        self.assertEqual(self.run_command("stop").returncode, 0)
        self.assertEqual(daemon.wait(), 0)

    def test_a_stopped_daemon_is_told_at_the_timeout_and_not_signalled(self) -> None:
        daemon = self.place.daemon()
        daemon.send(signal.SIGSTOP)
        done = self.run_command("--timeout", "0.5", "stop")
        self.assert_fails(done, Exit.NO_ANSWER, "0.5 s")
        daemon.send(signal.SIGCONT)
        self.assert_serves()

    @needs_linux("macOS names the process that has used the socket last")
    def test_under_activation_it_says_why_it_does_nothing(self) -> None:
        listening = listen_at(self.place.socket)
        self.addCleanup(listening.close)
        daemon = self.place.twistd(
            INHERITED,
            program=activated_twistd(listening.fileno()),
            pass_fds=[listening.fileno()],
        )
        daemon.wait_for_log("Listening on")
        done = self.run_command("stop")
        self.assert_fails(done, Exit.NO_ANSWER, f"pid {os.getpid()}", "service manager")
        self.assertTrue(daemon.running)

    @needs_root
    def test_another_user_s_daemon_is_left_alone(self) -> None:
        os.chmod(self.place.directory, 0o711)
        os.chmod(self.place.runtime, 0o777)
        os.seteuid(NOBODY)
        try:
            listening = listen_at(self.place.socket)
        finally:
            os.seteuid(0)
        self.addCleanup(listening.close)
        # A directory that all can write to would be refused.
        os.chmod(self.place.runtime, 0o700)
        self.assert_fails(self.run_command("stop"), Exit.NO_ANSWER, "belongs to")

    @needs_root
    @needs_linux("PID namespaces are Linux's")
    def test_a_daemon_in_another_container_is_left_alone(self) -> None:
        if shutil.which("unshare") is None:
            self.skipTest("unshare is not installed")
        daemon = self.place.daemon()
        done = subprocess.run(
            ["unshare", "--pid", "--fork", *COMMAND, "stop"],
            env=self.place.environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        self.assert_fails(done, Exit.NO_ANSWER, "in another container")
        self.assertTrue(daemon.running)

    def test_something_that_is_no_daemon_is_not_signalled(self) -> None:
        listening = listen_at(self.place.socket)
        self.addCleanup(listening.close)
        child = subprocess.Popen(
            [sys.executable, "-c", _NONSENSE, str(listening.fileno())],
            pass_fds=[listening.fileno()],
        )
        self.addCleanup(child.wait)
        self.assert_fails(self.run_command("stop"), Exit.NO_ANSWER, "nonsense")


_NONSENSE = (
    "import socket, sys; c, _ = socket.socket(fileno=int(sys.argv[1])).accept(); "
    "c.recv(99); c.sendall(b'nonsense\\n')"
)
