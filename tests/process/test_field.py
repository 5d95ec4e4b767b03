"""What went wrong in other daemons with sockets, PID files and locks, tried on this one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from palingenesis.cli.exit_status import Exit
from palingenesis.procfs import arguments_of
from tests.support.cases import COMMAND, ProcessTestCase
from tests.support.checkout import PROGRAMS
from tests.support.needs import needs_linux
from tests.support.patience import PATIENCE, wait_until
from tests.support.processes import read_pid, twistd_command
from tests.support.sockets import identity


class PidFileTests(ProcessTestCase):
    def test_a_second_start_that_fails_leaves_the_first_one_s_pid_file(self) -> None:
        """Supervisor/supervisor#613."""
        self.place.daemon()
        before = read_pid(self.place.pidfile)
        second = self.place.twistd()
        self.assert_refused(second, "stop that one first")
        self.assertEqual(read_pid(self.place.pidfile), before)
        self.assert_serves()

    def test_a_pid_file_of_a_snapshot_whose_pid_is_another_process_s_is_replaced(self) -> None:
        """gofixpoint/amika#268, moby/moby#46988."""
        Path(self.place.pidfile).write_text(f"{os.getpid()}\n")
        os.utime(self.place.pidfile, (1, 1))
        daemon = self.place.daemon()
        self.assertEqual(read_pid(self.place.pidfile), daemon.pid)


class SocketFileTests(ProcessTestCase):
    def test_a_umask_that_lets_nobody_in_changes_neither_mode_nor_umask(self) -> None:
        """benoitc/gunicorn#160, tmux/tmux#5506."""
        daemon = self.place.daemon(umask=0o777)
        self.assertEqual(identity(self.place.socket)[2] & 0o777, 0o600)
        if sys.platform == "linux":
            text = Path(f"/proc/{daemon.pid}/status").read_text()
            self.assertIn("Umask:\t0777", text)

    def test_a_child_that_exits_leaves_the_socket(self) -> None:
        """benoitc/gunicorn#1298, pgagroal/pgagroal#741."""
        daemon = self.place.spawn(
            [*twistd_command(), "--pidfile=", "-noy", str(PROGRAMS / "exiting.py")],
            environment={"TEST_SOCKET": self.place.socket},
        )
        daemon.wait_for_log("Listening on")
        before = identity(self.place.socket)
        for _ in range(3):
            self.assertEqual(self.ask(b"LEAVE\n"), b"OK\n")
        self.assertEqual(identity(self.place.socket), before)
        self.assert_serves()

    def test_a_lock_file_of_any_content_stops_no_start(self) -> None:
        """patroni/patroni#3115, PostgresApp/PostgresApp#361."""
        for content in ("", f"{os.getpid()}\n", "nonsense\0"):
            Path(f"{self.place.socket}.lock").write_text(content)
            daemon = self.place.daemon()
            self.assert_serves()
            self.assert_stops_cleanly(daemon)


class SignalTests(ProcessTestCase):
    def test_a_reload_while_the_daemon_starts_is_carried_out_when_it_runs(self) -> None:
        """avahi/avahi#73, OpenIPC/firmware#2369."""
        daemon = self.place.spawn([*COMMAND, "start", "--foreground"])
        # As early as the command has become twistd, which knows nothing of the plugin yet.
        wait_until(lambda: "-n" in arguments_of(daemon.pid), "twistd runs")
        daemon.send(signal.SIGHUP)
        daemon.wait_for_log("RELOAD by the daemon itself: OK")
        self.assert_serves()

    @needs_linux("the mask is read from /proc")
    def test_a_signal_mask_that_was_inherited_is_undone(self) -> None:
        """What daemon(7) asks for; util-linux/util-linux#4014 has a brother of it."""
        signals = [signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP]
        daemon = self.place.daemon(
            preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, signals)
        )
        daemon.send(signal.SIGHUP)
        daemon.wait_for_log("RELOAD by the daemon itself: OK")
        self.assertIn("SigBlk:\t0000000000000000", Path(f"/proc/{daemon.pid}/status").read_text())


class OutputTests(ProcessTestCase):
    def test_a_daemon_whose_output_nobody_reads_any_more_serves_on(self) -> None:
        """BasedHardware/omi#7010, systemd/systemd#6620."""
        readable, writable = os.pipe()
        command = [*twistd_command(), "--pidfile=", "-n", "palingenesis"]
        environment = self.place.environment()
        with subprocess.Popen(command, stdout=writable, stderr=writable, env=environment) as daemon:
            self.addCleanup(daemon.kill)
            os.close(writable)
            wait_until(lambda: os.path.exists(self.place.socket), "it listens")
            os.close(readable)
            for request in (b"PAUSE\n", b"RESUME\n", b"RELOAD\n"):
                self.assertEqual(self.ask(request), b"OK\n")
            daemon.send_signal(signal.SIGTERM)
            self.assertEqual(daemon.wait(PATIENCE), 0)

    def test_a_command_that_follows_ends_with_the_reader_of_its_output(self) -> None:
        """Backblaze/B2_Command_Line_Tool#1071, Sherin-SEF-AI/CanLab#24."""
        self.place.daemon()
        self.assertEqual(self.ask(b"PAUSE\n"), b"OK\n")
        command = [*COMMAND, "log", "-f"]
        environment = self.place.environment()
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
        ) as following:
            self.addCleanup(following.kill)
            assert following.stdout is not None
            assert following.stderr is not None
            self.assertNotEqual(following.stdout.readline(), b"")
            following.stdout.close()
            self.assertEqual(following.wait(PATIENCE), Exit.CLOSED_PIPE)
            self.assertEqual(following.stderr.read(), b"")


class DirectoryTests(ProcessTestCase):
    def test_a_directory_in_the_place_of_the_socket_stays_and_is_named(self) -> None:
        """moby/moby#30348."""
        os.mkdir(self.place.socket)
        self.assert_refused(self.place.twistd(), "there is a directory; remove it")
        self.assertEqual(os.listdir(self.place.socket), [])


class ClientTests(ProcessTestCase):
    def run_command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *arguments],
            env=self.place.environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )

    def test_a_daemon_that_does_not_know_a_newer_client_s_command_is_told_of(self) -> None:
        """NetworkConfiguration/dhcpcd#723."""
        self.place.application()
        for command in ("sessions", "log"):
            done = self.run_command(command)
            self.assertEqual((done.returncode, done.stdout), (1, ""))
            self.assertEqual(done.stderr.count("\n"), 1, done.stderr)

    def test_a_start_warns_of_nothing_and_leaves_nothing_open(self) -> None:
        """A developer's shell has every warning be an error."""
        for command in ("start", "status", "stop"):
            done = subprocess.run(
                [*COMMAND, command],
                env=self.place.environment(PYTHONWARNINGS="error", PYTHONDEVMODE="1"),
                capture_output=True,
                text=True,
                timeout=PATIENCE,
            )
            self.assertEqual((done.returncode, done.stderr), (0, ""), command)

    def test_a_stop_of_a_daemon_that_is_suspended_leaves_its_socket(self) -> None:
        """yang1ming/android-harness#5, shisa-ai/shisad#135."""
        daemon = self.place.daemon()
        before = identity(self.place.socket)
        daemon.send(signal.SIGSTOP)
        done = self.run_command("--timeout", "1", "stop")
        self.assertEqual(done.returncode, Exit.NO_ANSWER)
        self.assertIn("it may be stopped, hung or overloaded", done.stderr)
        daemon.send(signal.SIGCONT)
        self.assertEqual(identity(self.place.socket), before)
        self.assert_serves()

    def test_a_hundred_clients_that_never_read_hold_up_nobody(self) -> None:
        """lima-vm/socket_vmnet#173, TragicWarrior/vwm#89."""
        self.place.application({"max_connections": 200})
        for number in range(100):
            client = self.connect()
            if number % 2:
                client.sendall(b"STATUS\n" * 100)
        self.assert_serves()

    def test_a_client_that_goes_in_the_middle_of_its_reply_ends_nobody(self) -> None:
        """marconvcm/sony-device-center#5."""
        daemon = self.place.application()
        for _ in range(50):
            client = self.connect()
            client.sendall(b"STATUS\nmore")
            client.close()
        self.assert_serves()
        self.assertTrue(daemon.running)

    def test_a_daemon_that_was_suspended_with_its_machine_serves_on(self) -> None:
        daemon = self.place.daemon()
        daemon.send(signal.SIGSTOP)
        waiting = self.connect()
        waiting.sendall(b"STATUS\n")
        daemon.send(signal.SIGCONT)
        self.assertTrue(waiting.recv(4096).endswith(b"}\n"))
