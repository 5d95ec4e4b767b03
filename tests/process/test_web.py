"""The web door over real sockets: other users, squatters, restarts and slow clients."""

from __future__ import annotations

import http.client
import json
import os
import socket
import struct
from typing import Any

from palingenesis.web.keys import TOKEN_NAME
from tests.support.cases import ProcessTestCase
from tests.support.needs import needs_linux, needs_root
from tests.support.patience import PATIENCE, wait_until
from tests.support.processes import Process, program
from tests.support.sockets import accepts, ask, read_all
from tests.support.users import NOBODY, as_user


def free_port() -> int:
    """Return a port of the loopback that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


class WebTestCase(ProcessTestCase):
    """
    A test of a real door.

    :ivar port: its port.
    :ivar token: its token.
    """

    def setUp(self) -> None:
        super().setUp()
        self.port = free_port()
        self.directory = self.place.path("state")
        os.mkdir(self.directory, 0o700)
        self.local = os.path.join(self.place.runtime, "http.sock")

    def start(self) -> Process:
        process = self.place.spawn(
            program("web_door", self.directory, f"127.0.0.1:{self.port}", f"unix:{self.local}")
        )
        process.wait_for_log(f"HTTP is (not )?served at unix:{self.local}")
        wait_until(lambda: accepts(self.local), "the door listens")
        return process

    @property
    def token(self) -> str:
        with open(os.path.join(self.directory, TOKEN_NAME), encoding="ascii") as file:
            return file.read().strip()

    def control(self, line: bytes) -> Any:
        reply = ask(os.path.join(self.directory, "control.sock"), line)
        return None if reply == b"OK\n" else json.loads(reply)

    @property
    def state(self) -> str:
        return str(self.control(b"STATUS\n")["state"])

    def request(
        self,
        method: str = "GET",
        path: str = "/api/v1/status",
        key: str | None = None,
        body: str | None = None,
        **headers: str,
    ) -> tuple[int, str]:
        """Send a request over TCP, and return the status code and the body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            if key is not None:
                headers["Authorization"] = f"Bearer {key}"
            connection.request(method, path, body, headers)
            reply = connection.getresponse()
            return reply.status, reply.read().decode()
        finally:
            connection.close()

    def session(self) -> str:
        """Log in as a browser does, and return the session's key."""
        status, body = self.request(
            "POST",
            "/api/v1/login",
            body=json.dumps({"code": self.control(b"CODE\n")}),
            Origin=f"http://127.0.0.1:{self.port}",
            **{"Content-Type": "application/json"},
        )
        self.assertEqual(status, 200, body)
        return str(json.loads(body)["key"])

    def change(self, key: str) -> int:
        status, _ = self.request(
            "POST", "/api/v1/pause", key, Origin=f"http://127.0.0.1:{self.port}"
        )
        return status


class DoorTests(WebTestCase):
    def test_the_door_answers_over_tcp_and_over_a_unix_socket(self) -> None:
        self.start()
        status, body = self.request(key=self.token)
        self.assertEqual((status, json.loads(body)["state"]), (200, "monitoring"))
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(self.local)
            connection.sendall(b"POST /api/v1/pause HTTP/1.0\r\n\r\n")
            connection.shutdown(socket.SHUT_WR)
            self.assertIn(b'"paused"', read_all(connection))

    def test_the_unix_socket_is_ours_alone_and_goes_with_the_daemon(self) -> None:
        process = self.start()
        self.assertEqual(os.stat(self.local).st_mode & 0o777, 0o600)
        self.assertEqual(process.stop(), 0)
        self.assertFalse(os.path.lexists(self.local))
        self.assert_no_traceback(process)

    def test_a_unix_socket_that_was_deleted_is_bound_anew(self) -> None:
        process = self.start()
        with socket.socket(socket.AF_UNIX) as before:
            before.connect(self.local)
            os.unlink(self.local)
            process.wait_for_log(f"{self.local} was deleted: bound it anew")
            self.assertTrue(accepts(self.local))
            # Existing connections stay open.
            before.sendall(b"GET /api/v1/status HTTP/1.0\r\n\r\n")
            self.assertIn(b'"monitoring"', read_all(before))
        self.assertEqual(process.stop(), 0)
        self.assertFalse(os.path.lexists(self.local))

    def test_a_stop_ends_a_stream_as_http_has_it(self) -> None:
        process = self.start()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        self.addCleanup(connection.close)
        connection.request(
            "GET", "/api/v1/events", headers={"Authorization": f"Bearer {self.token}"}
        )
        stream = connection.getresponse()
        self.assertEqual(stream.readline(), b"id: 0\n")
        process.send(15)
        # An IncompleteRead would say that something is missing.
        self.assertIn(b"event: status\n", stream.read())
        self.assertEqual(process.wait(), 0)

    def test_a_forked_child_keeps_neither_the_places_nor_the_clients(self) -> None:
        process = self.start()
        idle = socket.create_connection(("127.0.0.1", self.port), PATIENCE)
        self.addCleanup(idle.close)
        idle.sendall(b"HEAD /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self.assertIn(b"200 OK", idle.recv(4096))
        child = self.control(b"FORK\n")
        process.kill()
        os.kill(child, 0)
        self.assertEqual(idle.recv(1), b"")
        self.assertNotIn("not served", self.start().log)

    def test_what_was_missed_comes_after_a_restart(self) -> None:
        process = self.start()
        self.control(b"EVENT before\n")
        process.kill()
        self.start()
        self.control(b"EVENT after\n")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        self.addCleanup(connection.close)
        headers = {"Authorization": f"Bearer {self.token}", "Last-Event-ID": "1"}
        connection.request("GET", "/api/v1/events", headers=headers)
        stream = connection.getresponse()
        lines = [stream.readline() for _ in range(11)]
        self.assertEqual(lines[8:], [b"id: 2\n", b"event: log\n", b'data: {"event": "after"}\n'])

    def test_sessions_end_with_a_restart_and_the_token_stays(self) -> None:
        process = self.start()
        key, token = self.session(), self.token
        process.kill()
        self.start()
        self.assertEqual(self.request(key=key)[0], 401)
        self.assertEqual(self.request(key=token)[0], 200)

    def test_a_client_that_sends_nothing_or_slowly_keeps_out_nobody(self) -> None:
        self.start()
        slow = []
        for _ in range(80):
            connection = socket.create_connection(("127.0.0.1", self.port), PATIENCE)
            self.addCleanup(connection.close)
            connection.sendall(b"GET / HT")
            slow.append(connection)
        self.assertEqual(self.request(key=self.token)[0], 200)

    def fill_sessions(self, word: str) -> bytes:
        """Make sessions of more bytes than the kernel holds, and return them as they are sent."""
        content = json.dumps([{"id": word, "state": "x" * 8_000_000}])
        with open(os.path.join(self.directory, "sessions.json.new"), "w") as file:
            file.write(content)
        os.rename(file.name, os.path.join(self.directory, "sessions.json"))
        return content.encode() + b"\n"

    def test_a_client_that_reads_slowly_gets_all_of_a_large_reply(self) -> None:
        self.start()
        expected = self.fill_sessions("large")
        request = (
            f"GET /api/v1/sessions HTTP/1.1\r\nHost: localhost\r\n"
            f"Authorization: Bearer {self.token}\r\n\r\n"
        ).encode()
        for family, address in (
            (socket.AF_INET, ("127.0.0.1", self.port)),
            (socket.AF_UNIX, self.local),
        ):
            with socket.socket(family) as connection:
                connection.settimeout(PATIENCE)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                connection.connect(address)
                # Two in one segment, behind which the input ends.
                connection.sendall(2 * request)
                connection.shutdown(socket.SHUT_WR)
                # The others are served meanwhile.
                self.assertEqual(self.request(key=self.token)[0], 200)
                _, first, second = read_all(connection).split(b"HTTP/1.1 200 OK\r\n")
            for reply in (first, second):
                self.assertTrue(reply.partition(b"\r\n\r\n")[2] == expected)

    def test_a_client_that_does_not_read_its_events_is_disconnected(self) -> None:
        process = self.start()
        self.fill_sessions("first")
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as stream:
            stream.sendall(
                f"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n"
                f"Authorization: Bearer {self.token}\r\n\r\n".encode()
            )
            self.assertIn(b"200 OK", stream.recv(4096))
            self.fill_sessions("second")
            process.wait_for_log("does not read: disconnected it")
            # It has no end as HTTP has it.
            self.assertFalse(read_all(stream).endswith(b"0\r\n\r\n"))
        self.assertEqual(self.request(key=self.token)[0], 200)

    def test_clients_that_are_gone_at_once_leave_nothing_behind(self) -> None:
        process = self.start()
        request = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
        for number in range(200):
            with socket.create_connection(("127.0.0.1", self.port)) as connection:
                connection.sendall(request[: number % 50])
                if number % 2:
                    # A close by a reset, socket(7).
                    linger = struct.pack("ii", 1, 0)
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.assertEqual(self.request(key=self.token)[0], 200)
        opened = f"/proc/{process.pid}/fd"
        if os.path.isdir(opened):
            wait_until(lambda: len(os.listdir(opened)) < 30, "the connections are closed")
        self.assert_no_traceback(process)

    def test_a_large_upload_is_told_why_it_is_refused(self) -> None:
        self.start()
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as connection:
            connection.sendall(
                b"POST /api/v1/login HTTP/1.1\r\nHost: localhost\r\n"
                b"Content-Length: 50000\r\n\r\n" + b"x" * 50_000
            )
            self.assertIn(b"413 ", read_all(connection))


@needs_root
@needs_linux("macOS does not tell whose a TCP connection is")
class OtherUserTests(WebTestCase):
    def test_another_user_reads_and_changes_nothing_whatever_the_key(self) -> None:
        self.start()
        key, token = self.session(), self.token
        for each in (key, token, "wrong", None):
            status, body = as_user(NOBODY, lambda each=each: self.request(key=each))
            self.assertEqual(status, 403)
            self.assertNotIn("monitoring", body)
        self.assertEqual(as_user(NOBODY, lambda: self.change(key)), 403)
        self.assertEqual(self.state, "monitoring")
        self.assertEqual(self.change(key), 200)

    def test_another_user_who_has_closed_his_end_is_not_taken_for_root(self) -> None:
        process = self.start()
        key = self.session()
        data = (
            f"POST /api/v1/pause HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n"
            f"Origin: http://127.0.0.1:{self.port}\r\nAuthorization: Bearer {key}\r\n\r\n"
        ).encode()

        def send_and_close() -> None:
            # While the daemon stands still, the end is closed before it looks.
            with socket.create_connection(("127.0.0.1", self.port)) as connection:
                connection.sendall(data)

        process.send(19)
        as_user(NOBODY, send_and_close)
        process.send(18)
        # The daemon answers in the order of what came.
        self.assertEqual(self.request(key=self.token)[0], 200)
        self.assertEqual(self.state, "monitoring")

    def test_health_is_for_everybody(self) -> None:
        self.start()
        status, body = as_user(NOBODY, lambda: self.request(path="/health"))
        self.assertEqual((status, json.loads(body)), (200, {"status": "ok"}))

    def test_the_unix_socket_and_the_token_are_not(self) -> None:
        self.start()
        os.chmod(self.place.directory, 0o755)
        os.chmod(self.place.runtime, 0o755)
        os.chmod(self.directory, 0o755)

        def connect() -> None:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(self.local)

        self.assertIn("PermissionError", as_user(NOBODY, connect))
        self.assertIn("PermissionError", as_user(NOBODY, lambda: self.token))


class SquatterTests(WebTestCase):
    def collect(self, squatter: socket.socket) -> str:
        """Have a program send its token to the squatter, and return what he learns."""
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as program:
            program.sendall(
                b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n"
                b"Authorization: Bearer %s\r\n\r\n" % self.token.encode()
            )
            accepted, _ = squatter.accept()
            with accepted:
                told = accepted.recv(65_536).decode()
        return told.split("Bearer ")[1].split("\r\n")[0]

    def test_a_token_that_was_collected_while_the_daemon_was_down_changes_nothing(self) -> None:
        self.start().kill()
        with socket.create_server(("127.0.0.1", self.port)) as squatter:
            stolen = self.collect(squatter)
        self.start()
        self.assertEqual(stolen, self.token)
        self.assertEqual(self.change(stolen), 403)
        self.assertEqual(self.state, "monitoring")

    def test_the_daemon_runs_on_without_a_port_that_is_taken(self) -> None:
        with socket.create_server(("127.0.0.1", self.port)):
            process = self.start()
            line = process.wait_for_log("HTTP is not served at .*")
            self.assertIn(f"127.0.0.1:{self.port}: address already in use", line)
            self.assertEqual(self.state, "monitoring")
            self.assertTrue(accepts(self.local))
            self.assert_no_traceback(process)
