"""Real clients that are rejected, and more of them at once than a small backlog holds."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from typing import Any

from palingenesis.server.protocol import REJECTED_LIMIT
from palingenesis.server.transport import BACKLOG
from tests.support.cases import ProcessTestCase
from tests.support.descriptors import allow_descriptors
from tests.support.needs import needs_root
from tests.support.patience import PATIENCE
from tests.support.processes import Process
from tests.support.sockets import connect, read_all
from tests.support.users import NOBODY, as_user

TOO_MANY = b"ERR: Too many connections\n"


class LateWriterTests(ProcessTestCase):
    """A client that writes only after it was rejected reads why, and gets no broken pipe."""

    def serve(self, limits: dict[str, float] | None = None, **behaviour: Any) -> Process:
        return self.place.application(limits, **behaviour)

    def crowded(self) -> None:
        self.serve({"max_connections": 1})
        self.connect()
        # Connections are accepted in turn: once this one is told, the first one is in.
        self.assertEqual(self.ask(), TOO_MANY)

    def test_a_client_beyond_the_limit_that_writes_late_has_its_error(self) -> None:
        self.crowded()
        for _ in range(10):
            client = self.connect()
            self.assertEqual(client.recv(len(TOO_MANY)), TOO_MANY)
            client.sendall(b"STATUS\n")
            self.assertEqual(read_all(client), b"")

    def test_socat_shows_it_each_time(self) -> None:
        if shutil.which("socat") is None:
            self.skipTest("socat is not installed")
        self.crowded()
        for _ in range(5):
            done = subprocess.run(
                ["sh", "-c", f"(sleep 0.05; echo STATUS) | socat - UNIX:{self.place.socket}"],
                capture_output=True,
                timeout=PATIENCE,
            )
            self.assertEqual((done.stdout, done.stderr), (TOO_MANY, b""))

    @needs_root
    def test_another_user_s_client(self) -> None:
        self.serve()
        os.chmod(self.place.directory, 0o755)
        os.chmod(self.place.runtime, 0o755)
        os.chmod(self.place.socket, 0o666)

        def converse() -> str:
            with connect(self.place.socket) as client:
                first = client.recv(4096)
                client.sendall(b"PAUSE\n")
                return (first + read_all(client)).decode()

        self.assertTrue(as_user(NOBODY, converse).startswith("ERR: Permission denied: "))

    def test_a_client_of_a_daemon_that_stops(self) -> None:
        application = self.serve(pause=("never", None))
        busy, idle = self.connect(), self.connect()
        busy.sendall(b"PAUSE\n")
        application.wait_for_log("pause begins")
        application.send(signal.SIGTERM)
        stopping = b"ERR: The daemon is stopping\n"
        self.assertEqual(idle.recv(len(stopping)), stopping)
        idle.sendall(b"STATUS\n")
        self.assertEqual(read_all(idle), b"")
        self.assertEqual(application.wait(), 0)

    def test_those_that_stay_are_bounded_in_number_and_time(self) -> None:
        self.serve({"max_connections": 1, "timeout": 1.0})
        holder = self.connect()
        self.assertEqual(self.ask(), TOO_MANY)
        stay = [self.connect() for _ in range(REJECTED_LIMIT + 20)]
        for client in stay:
            self.assertEqual(read_all(client), TOO_MANY)
        self.assertEqual(read_all(holder), b"ERR: Connection timeout\n")
        self.assert_serves()


class LateWriterWithoutLaneTests(LateWriterTests):
    """The same on Twisted's own port."""

    def serve(self, limits: dict[str, float] | None = None, **behaviour: Any) -> Process:
        return self.place.application(limits, f"unix:{self.place.socket}:mode=600", **behaviour)


class BurstTests(ProcessTestCase):
    CLIENTS = 2000

    def test_two_thousand_at_once_lose_nothing(self) -> None:
        self.assertEqual(BACKLOG, 4096)
        somaxconn = "/proc/sys/net/core/somaxconn"
        if os.path.exists(somaxconn):
            with open(somaxconn, encoding="ascii") as file:
                if int(file.read()) < self.CLIENTS:
                    self.skipTest("net.core.somaxconn cuts the backlog shorter")
        allow_descriptors(self, self.CLIENTS)
        daemon = self.place.application({"max_connections": 4000, "timeout": 60.0})
        # Stopped, it accepts nobody: the backlog alone has to hold them all.
        daemon.send(signal.SIGSTOP)
        clients = []
        for _ in range(self.CLIENTS):
            client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.addCleanup(client.close)
            client.settimeout(PATIENCE)
            client.connect(self.place.socket)
            clients.append(client)
        daemon.send(signal.SIGCONT)
        for client in clients:
            client.sendall(b"STATUS\n")
        for client in clients:
            self.assertTrue(read_all(client).endswith(b"}\n"))

    def test_clients_that_come_all_the_time_are_all_answered(self) -> None:
        self.place.application({"max_connections": 4000})
        answers: list[bytes] = []

        def ask_often() -> None:
            answers.extend(self.ask() for _ in range(100))

        threads = [threading.Thread(target=ask_often) for _ in range(10)]
        begin = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        self.assertEqual(len(answers), 1000, f"after {time.monotonic() - begin:.0f} s")
        self.assertEqual({answer[-2:] for answer in answers}, {b"}\n"})
