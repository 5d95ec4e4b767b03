"""Each example is run, and asked as its first lines say."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys

from tests.support.cases import COMMAND, ProcessTestCase
from tests.support.checkout import ROOT
from tests.support.patience import PATIENCE, wait_until
from tests.support.processes import Process, twistd_command
from tests.support.sockets import accepts, ask, connect, read_all

EXAMPLES = ROOT / "examples"


class ExampleTestCase(ProcessTestCase):
    def begin(self, command: list[str], name: str, **variables: str) -> Process:
        """Start an example in the place, and wait until its socket takes connections."""
        process = self.place.spawn(command, environment=variables)
        wait_until(lambda: accepts(self.place.path(name)), f"{name} takes connections")
        return process

    def application(self, example: str, name: str) -> Process:
        command = [*twistd_command(), "--pidfile=", "-ny", str(EXAMPLES / example)]
        return self.begin(command, name)

    def program(self, example: str, name: str) -> Process:
        return self.begin([sys.executable, str(EXAMPLES / example)], name)

    def send(self, name: str, line: bytes) -> bytes:
        return ask(self.place.path(name), line)

    def run_program(self, *arguments: str) -> str:
        done = subprocess.run(
            arguments,
            cwd=self.place.directory,
            env=self.place.environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout


class ApplicationTests(ExampleTestCase):
    def test_the_smallest_one_answers(self) -> None:
        self.application("smallest.py", "smallest.sock")
        self.assertTrue(self.send("smallest.sock", b"STATUS\n").startswith(b'{"state": "moni'))

    def test_own_commands_and_an_own_state(self) -> None:
        daemon = self.application("own_commands.py", "jobs.sock")
        self.assertEqual(self.send("jobs.sock", b"FLUSH mail\n"), b'{"dropped": 3}\n')
        self.assertEqual(self.send("jobs.sock", b"FLUSH fax\n"), b"ERR: there is no queue fax\n")
        self.assertEqual(self.send("jobs.sock", b"count\n"), b"1\n")
        for line in b"ADD mail 4\n", b"ADD print\n":
            self.assertEqual(self.send("jobs.sock", line), b"OK\n")
        self.assertEqual(self.send("jobs.sock", b"COUNT\n"), b"6\n")
        self.assertEqual(self.send("jobs.sock", b"ADD\n"), b"ERR: ADD needs QUEUE\n")
        self.assertEqual(self.send("jobs.sock", b"FLUSH mail\n"), b'{"dropped": 4}\n')
        self.assertEqual(self.send("jobs.sock", b"FLUSH print\n"), b'{"dropped": 2}\n')
        self.assertEqual(self.send("jobs.sock", b"ADD print\n"), b"OK\n")
        self.send("jobs.sock", b"PAUSE\n")
        status = json.loads(self.send("jobs.sock", b"STATUS\n"))
        self.assertEqual((status["state"], status["jobs"]), ("draining", 1))
        self.assertEqual(daemon.stop(), 0)

    def test_a_web_server_is_paused(self) -> None:
        self.application("with_web.py", "web.sock")
        path = self.place.path("web-http.sock")
        wait_until(lambda: accepts(path), "the web server listens")

        def get() -> bytes:
            with connect(path) as connection:
                connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
                connection.shutdown(socket.SHUT_WR)
                return read_all(connection)

        self.assertIn(b"200 OK", get())
        self.assertEqual(self.send("web.sock", b"PAUSE\n"), b"OK\n")
        self.assertIn(b"503", get())
        self.assertEqual(json.loads(self.send("web.sock", b"STATUS\n"))["served"], 1)

    def test_a_site_of_its_own(self) -> None:
        self.application("own_site.py", "site-control.sock")
        path = self.place.path("site.sock")
        wait_until(lambda: accepts(path), "the site listens")

        def request(line: str) -> bytes:
            with connect(path) as connection:
                connection.sendall(f"{line} HTTP/1.0\r\n\r\n".encode())
                return read_all(connection)

        self.assertIn(b"\r\n\r\n2 jobs wait\n", request("GET /"))
        self.assertIn(b'"jobs": 2', request("GET /control/api/v1/status"))
        self.assertIn(b" 204 ", request("POST /control/api/v1/commands/FLUSH"))
        self.assertIn(b"\njobs_waiting 0\n", request("GET /control/metrics"))

    def test_a_plain_reactor_serves(self) -> None:
        process = self.program("plain_reactor.py", "plain.sock")
        self.assertEqual(self.send("plain.sock", b"PAUSE\n"), b"OK\n")
        self.assertEqual(process.stop(), 0)
        self.assertFalse(os.path.exists(self.place.path("plain.sock")))

    def test_a_handler_that_awaits_asyncio(self) -> None:
        process = self.program("asyncio_reactor.py", "asyncio.sock")
        self.assertEqual(self.send("asyncio.sock", b"WORK\n"), b'"worked"\n')
        self.assertEqual(process.stop(), 0)

    def test_an_own_plugin_serves(self) -> None:
        plugin = self.place.path("own_plugin")
        shutil.copytree(EXAMPLES / "own_plugin", plugin)
        command = [*twistd_command(), "--pidfile=", "-n", "jobs", "--socket", "jobs.sock"]
        self.begin(command, "jobs.sock", PYTHONPATH=plugin)
        self.assertEqual(self.send("jobs.sock", b"RELOAD\n"), b"OK\n")


class AskingTests(ExampleTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.application("own_commands.py", "jobs.sock")

    def test_a_script_asks_a_daemon(self) -> None:
        told = self.run_program(sys.executable, str(EXAMPLES / "ask_from_script.py"), "jobs.sock")
        self.assertIn("monitoring {'jobs': 4}", told)
        self.assertIn("FLUSH QUEUE: drop what waits in a queue", told)

    def test_from_a_twisted_application(self) -> None:
        told = self.run_program(sys.executable, str(EXAMPLES / "ask_from_twisted.py"), "jobs.sock")
        self.assertEqual(told, "monitoring\n4\n")

    def test_the_command_asks_an_application(self) -> None:
        told = self.run_program(*COMMAND, "--socket", "jobs.sock", "send", "FLUSH", "print")
        self.assertEqual(told, '{"dropped": 1}\n')
