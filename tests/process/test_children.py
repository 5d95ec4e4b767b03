"""What a child of the daemon keeps: neither the path, nor the lock, nor a waiting client."""

from __future__ import annotations

import json
import os
import signal

from palingenesis.pathlock import holder
from palingenesis.procfs import has_ended
from tests.support.activation import activated_twistd
from tests.support.cases import ProcessTestCase
from tests.support.checkout import PROGRAMS
from tests.support.patience import wait_until
from tests.support.processes import Process, kill_if_there, read_pid, twistd_command
from tests.support.sockets import listen_at, read_all

COMMANDS = ("FORK", "POOL", "RUN", "SPAWN")


class ChildrenTests(ProcessTestCase):
    def application(self, *before: str, **variables: str) -> Process:
        command = [*twistd_command(), f"--pidfile={self.place.pidfile}", *before]
        return self.place.spawn(
            [*command, "-y", str(PROGRAMS / "forking.py")],
            environment={"TEST_SOCKET": self.place.socket, **variables},
        )

    def child(self, command: str) -> int:
        """Have the daemon leave a child behind; the reply ends although the child lives."""
        waiting = self.connect()
        reply = self.ask(f"{command}\n".encode())
        self.assertTrue(reply.endswith(b"\n"), reply)
        child = int(json.loads(reply))
        self.addCleanup(kill_if_there, child)
        # Neither has one that was connected when the child began to wait for it.
        waiting.sendall(b"STATUS\n")
        self.assertTrue(read_all(waiting).endswith(b"}\n"))
        self.assertFalse(has_ended(child))
        return child

    def assert_next_start_succeeds(self) -> None:
        # A PID file names a killed daemon for as long as nobody reaps it.
        daemon = self.application("--pidfile=", "-no")
        daemon.wait_for_log("Listening on")
        self.assert_serves()

    def test_a_killed_daemon_s_path_is_free_though_its_child_lives(self) -> None:
        for command in COMMANDS:
            with self.subTest(command=command):
                daemon = self.application("-no")
                daemon.wait_for_log("Listening on")
                child = self.child(command)
                daemon.kill()
                self.assertFalse(has_ended(child))
                self.assertIsNone(holder(f"{self.place.socket}.lock"))
                self.assert_next_start_succeeds()
                self.setUp()

    def test_a_stopped_daemon_s_path_is_free_though_its_child_lives(self) -> None:
        daemon = self.application("-no")
        daemon.wait_for_log("Listening on")
        for command in COMMANDS:
            self.child(command)
        self.assertEqual(daemon.stop(), 0)
        self.assertFalse(os.path.lexists(self.place.socket))
        self.assert_next_start_succeeds()

    def test_a_child_of_a_daemon_that_stops_keeps_no_client_waiting(self) -> None:
        daemon = self.application("-no")
        daemon.wait_for_log("Listening on")
        client = self.connect()
        client.sendall(b"LATE\n")
        self.assert_serves()
        daemon.send(signal.SIGTERM)
        child = int(read_all(client))
        self.addCleanup(kill_if_there, child)
        self.assertEqual(daemon.wait(), 0)
        self.assertFalse(has_ended(child))
        self.assert_next_start_succeeds()

    def assert_no_child_keeps_its_own_client(self, daemon: Process) -> None:
        """Kill the daemon while a client waits for a handler that has forked."""
        client = self.connect()
        # Connections are accepted in turn: once this is answered, the client is in.
        self.assert_serves()
        client.sendall(b"STUCK\n")
        log = daemon.wait_for_log(r"forked \d+")
        child = int(log.rpartition("forked ")[2].split()[0])
        self.addCleanup(kill_if_there, child)
        daemon.kill()
        self.assertIn(read_all(client), (b"", b"[reset]"))
        self.assertFalse(has_ended(child))

    def test_a_killed_daemon_s_client_is_not_kept_by_the_child_it_asked_for(self) -> None:
        daemon = self.application("-no")
        daemon.wait_for_log("Listening on")
        self.assert_no_child_keeps_its_own_client(daemon)

    def test_a_child_keeps_nothing_of_twisted_s_own_port(self) -> None:
        daemon = self.application(
            "-no", TEST_ENDPOINT=f"unix:{self.place.socket}:mode=600", TEST_SOCKET=""
        )
        daemon.wait_for_log("Listening on")
        self.assert_no_child_keeps_its_own_client(daemon)
        self.assertRaises(ConnectionRefusedError, self.connect)

    def test_a_signal_ends_a_child_and_not_the_daemon(self) -> None:
        daemon = self.application("-no")
        daemon.wait_for_log("Listening on")
        for command in COMMANDS:
            child = self.child(command)
            os.kill(child, signal.SIGTERM)
            wait_until(lambda child=child: has_ended(child), f"{command} has ended")
        self.assert_serves()

    def test_a_daemon_with_children_keeps_its_path(self) -> None:
        daemon = self.application("-no")
        daemon.wait_for_log("Listening on")
        for command in COMMANDS:
            kill_if_there(self.child(command))
        self.assert_serves()
        found = holder(f"{self.place.socket}.lock")
        self.assertEqual(found and found.pid, daemon.pid)

    def test_a_daemon_in_the_background_is_whole_and_so_are_its_children(self) -> None:
        starter = self.application(f"--logfile={self.place.path('log')}")
        self.assertEqual(starter.wait(), 0, starter.stderr)
        for command in COMMANDS:
            self.child(command)
        pid = read_pid(self.place.pidfile)
        found = holder(f"{self.place.socket}.lock")
        self.assertEqual(found and found.pid, pid)
        os.kill(pid, signal.SIGKILL)
        self.assert_next_start_succeeds()

    def test_under_activation_the_children_keep_no_client_waiting(self) -> None:
        listening = listen_at(self.place.socket, 10)
        self.addCleanup(listening.close)
        command = activated_twistd(listening.fileno())
        daemon = self.place.spawn(
            [*command, "--pidfile=", "-noy", str(PROGRAMS / "forking.py")],
            environment={
                "TEST_SOCKET": "",
                "TEST_ENDPOINT": "systemd:domain=UNIX:index=0",
            },
            pass_fds=[listening.fileno()],
        )
        daemon.wait_for_log("Listening on")
        for name in COMMANDS:
            self.child(name)
        self.assertEqual(daemon.stop(), 0)

    def test_a_second_start_in_the_background_begins_with_the_holder_s_pid(self) -> None:
        daemon = self.application("-no")
        daemon.wait_for_log("Listening on")
        second = self.place.spawn(
            [
                *twistd_command(),
                f"--pidfile={self.place.path('second.pid')}",
                f"--logfile={self.place.path('second.log')}",
                "-y",
                str(PROGRAMS / "forking.py"),
            ],
            environment={"TEST_SOCKET": self.place.socket},
        )
        self.assertEqual(second.wait(), 1)
        # twistd shows 100 bytes, the exception's class included.
        self.assertRegex(
            second.stderr,
            rf"\AAn error has occurred: b'[\w.]+: pid {daemon.pid} \([\w.]+\), "
            rf"uid {os.geteuid()}, has /",
        )
