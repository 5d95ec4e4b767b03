"""What a service manager is told, on a notify socket of the test's own."""

from __future__ import annotations

import os
import signal
import socket

from tests.support.cases import ProcessTestCase
from tests.support.needs import needs_linux
from tests.support.patience import PATIENCE


class ReadinessTests(ProcessTestCase):
    def listen(self, address: str) -> socket.socket:
        receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(receiver.close)
        receiver.bind(address)
        receiver.settimeout(PATIENCE)
        return receiver

    def receive(self, receiver: socket.socket) -> dict[str, str]:
        lines = receiver.recv(4096).decode().splitlines()
        return dict(line.partition("=")[::2] for line in lines)  # type: ignore[misc]

    def test_readiness_is_told_once_the_socket_answers(self) -> None:
        path = self.place.path("notify")
        receiver = self.listen(path)
        self.place.twistd(environment={"NOTIFY_SOCKET": path})
        self.assertEqual(
            self.receive(receiver), {"READY": "1", "STATUS": "monitoring; sessions: none"}
        )
        self.assert_serves()

    @needs_linux("abstract sockets are Linux's")
    def test_an_abstract_socket_is_told_as_well(self) -> None:
        receiver = self.listen(f"\0{self.place.directory}")
        self.place.twistd(environment={"NOTIFY_SOCKET": f"@{self.place.directory}"})
        self.assertEqual(self.receive(receiver)["READY"], "1")

    def test_a_reload_is_told_before_and_after_whoever_asks_for_it(self) -> None:
        path = self.place.path("notify")
        receiver = self.listen(path)
        daemon = self.place.twistd(environment={"NOTIFY_SOCKET": path})
        self.receive(receiver)
        for ask in (lambda: daemon.send(signal.SIGHUP), lambda: self.ask(b"RELOAD\n")):
            ask()
            reloading = self.receive(receiver)
            self.assertEqual(reloading["RELOADING"], "1")
            self.assertGreater(int(reloading["MONOTONIC_USEC"]), 0)
            self.assertEqual(self.receive(receiver)["READY"], "1")

    def test_a_reload_that_fails_is_over_as_well(self) -> None:
        path = self.place.path("notify")
        receiver = self.listen(path)
        config = self.place.write("c.toml", "")
        self.place.twistd("--config", config, environment={"NOTIFY_SOCKET": path})
        self.receive(receiver)
        self.place.write("c.toml", "nonsense")
        self.assertTrue(self.ask(b"RELOAD\n").startswith(b"ERR: "))
        self.assertIn("RELOADING", self.receive(receiver))
        self.assertIn("READY", self.receive(receiver))

    def test_a_stop_is_told(self) -> None:
        path = self.place.path("notify")
        receiver = self.listen(path)
        daemon = self.place.twistd(environment={"NOTIFY_SOCKET": path})
        self.receive(receiver)
        self.assertEqual(daemon.stop(), 0)
        self.assertEqual(self.receive(receiver)["STOPPING"], "1")

    def test_the_watchdog_is_told_again_and_again_while_the_reactor_turns(self) -> None:
        path = self.place.path("notify")
        receiver = self.listen(path)
        daemon = self.place.twistd(environment={"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "200000"})
        self.receive(receiver)
        for _ in range(3):
            self.assertEqual(self.receive(receiver)["WATCHDOG"], "1")
        daemon.send(signal.SIGSTOP)
        receiver.settimeout(1)
        with self.assertRaises(TimeoutError):
            for _ in range(10):
                self.receive(receiver)
        daemon.send(signal.SIGCONT)

    def test_a_watchdog_of_another_process_is_not_told(self) -> None:
        path = self.place.path("notify")
        receiver = self.listen(path)
        daemon = self.place.twistd(
            environment={
                "NOTIFY_SOCKET": path,
                "WATCHDOG_USEC": "100000",
                "WATCHDOG_PID": str(os.getpid()),
            }
        )
        self.receive(receiver)
        self.assertEqual(daemon.stop(), 0)
        self.assertEqual(self.receive(receiver)["STOPPING"], "1")

    def test_readiness_reaches_a_manager_that_has_many_messages_to_read(self) -> None:
        path = self.place.path("notify")
        receiver = self.listen(path)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
            other.setblocking(False)
            with self.assertRaises(BlockingIOError):
                while True:
                    other.sendto(b"STATUS=somebody else's", path)
            self.place.daemon(environment={"NOTIFY_SOCKET": path})
            # The reactor turns: readiness has been told, in vain.
            self.assert_serves()
        while "READY" not in self.receive(receiver):
            pass

    def test_a_manager_that_is_gone_costs_nothing(self) -> None:
        daemon = self.place.daemon(environment={"NOTIFY_SOCKET": self.place.path("none")})
        daemon.wait_for_log("Cannot send to the service manager")
        self.assert_serves()
        self.assert_stops_cleanly(daemon)
