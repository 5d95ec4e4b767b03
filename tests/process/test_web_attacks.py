"""
Attacks on the daemon's web door by a program of another user of the machine.

The attacker has more than it can get: the token, the key of a session, and the door's address.
Nothing is read, nothing changes, and the daemon's own user is served all the while.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import socket
import struct
from collections.abc import Callable
from typing import Any

from tests.process.test_web import free_port
from tests.process.test_web_daemon import DaemonWebTestCase
from tests.support.checkout import ROOT
from tests.support.needs import needs_linux, needs_root
from tests.support.patience import PATIENCE, wait_until
from tests.support.processes import Process
from tests.support.sockets import accepts, own_addresses, read_all
from tests.support.users import NOBODY, as_user

#: unshare(2): a user namespace of its own, in which a process is root.
CLONE_NEWUSER = 0x10000000
PR_SET_DUMPABLE = 4  # prctl(2)


def exchange(
    address: tuple[str, int], data: bytes, source: str | None = None, family: int = socket.AF_INET
) -> str:
    """Send bytes from an address, half-close, and return what comes back."""
    with socket.socket(family) as connection:
        connection.settimeout(PATIENCE)
        if source is not None:
            connection.bind((source, 0))
        connection.connect(address)
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        return read_all(connection).decode("latin-1")


class AttackTestCase(DaemonWebTestCase):
    """
    A door that a browser's session may change something through.

    :ivar process: the daemon.
    :ivar key: the key of a session.
    """

    process: Process
    key: str

    def setUp(self) -> None:
        super().setUp()
        self.process = self.start(self.http + "control = true\n")
        wait_until(lambda: accepts(self.local), "the door listens")
        self.key = self.log_in(self.said("web").splitlines()[0])

    def data(
        self,
        method: str = "POST",
        path: str = "/api/v1/pause",
        key: str | None = None,
        *headers: str,
        body: str = "",
    ) -> bytes:
        """Render the request that the page would send, by default with the session's key."""
        host = f"127.0.0.1:{self.port}"
        lines = [
            f"{method} {path} HTTP/1.1",
            f"Host: {host}",
            f"Origin: http://{host}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            "Connection: close",
            f"Authorization: Bearer {self.key if key is None else key}",
            *headers,
        ]
        return "\r\n".join([*lines, "", body]).encode()

    def assert_kept_out(self, reply: Any, *statuses: int) -> None:
        """Assert that a reply is a problem, tells nothing, and that nothing has changed."""
        text = str(reply)
        match = re.match(r"HTTP/1\.1 (\d+)", text)
        self.assertIn(int(match[1]) if match else 0, statuses or (403,), text)
        for word in ("monitoring", "uptime_secs", self.token, self.key):
            self.assertNotIn(word, text)
        self.assert_nothing_changed()

    def assert_nothing_changed(self) -> None:
        status, body = self.get("/api/v1/status", self.token)
        self.assertEqual((status, json.loads(body)["state"]), (200, "monitoring"))
        self.assertNotIn("PAUSE by", self.process.log)

    def as_nobody(self, do: Callable[[], object]) -> Any:
        return as_user(NOBODY, do)


@needs_root
@needs_linux("macOS does not tell whose a TCP connection is")
class OtherUserTests(AttackTestCase):
    def test_the_token_and_a_session_s_key_are_worth_nothing_to_another_user(self) -> None:
        address = ("127.0.0.1", self.port)
        for method, path in (
            ("GET", "/api/v1/status"),
            ("GET", "/api/v1/sessions"),
            ("GET", "/api/v1/log"),
            ("GET", "/api/v1/report"),
            ("GET", "/api/v1/events"),
            ("GET", "/metrics"),
            ("POST", "/api/v1/pause"),
            ("POST", "/api/v1/commands/HOLD"),
        ):
            for key in (self.key, self.token):
                data = self.data(method, path, key)
                reply = self.as_nobody(lambda data=data: exchange(address, data))
                self.assert_kept_out(reply)

    def test_no_source_address_hides_the_user(self) -> None:
        # Any process may connect to the loopback from each address of the machine.
        sources = ["127.0.0.2", "127.255.255.254", *own_addresses()]
        for source in sources:
            data = self.data()
            reply = self.as_nobody(
                lambda data=data, source=source: exchange(("127.0.0.1", self.port), data, source)
            )
            self.assert_kept_out(reply)

    def test_an_ipv6_socket_does_not_hide_the_user(self) -> None:
        address, data = ("::ffff:127.0.0.1", self.port), self.data()
        reply = self.as_nobody(lambda: exchange(address, data, family=socket.AF_INET6))
        self.assert_kept_out(reply)

    def test_a_port_of_ipv6_s_loopback_is_guarded_in_the_same_way(self) -> None:
        port = free_port()
        places = self.http.replace("listen = [", f'listen = ["[::1]:{port}", ')
        self.configure(places + "control = true\n")
        self.ask(b"RELOAD\n")
        address = ("::1", port)
        read = self.data("GET", "/api/v1/status", self.token)
        self.assertIn('"monitoring"', exchange(address, read, family=socket.AF_INET6))
        for data in (self.data(), read):
            self.assert_kept_out(
                self.as_nobody(lambda data=data: exchange(address, data, family=socket.AF_INET6))
            )

    def test_the_root_of_another_user_namespace_is_not_root(self) -> None:
        data = self.data()

        def as_root_of_its_own() -> str:
            libc = ctypes.CDLL(None, use_errno=True)
            # Having changed its user, the process may not write its own map otherwise.
            libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
            if libc.unshare(CLONE_NEWUSER) != 0:
                return f"HTTP/1.1 403 {os.strerror(ctypes.get_errno())}"
            with open("/proc/self/uid_map", "w", encoding="ascii") as file:
                file.write(f"0 {NOBODY} 1")
            return exchange(("127.0.0.1", self.port), data)

        self.assert_kept_out(self.as_nobody(as_root_of_its_own))

    def test_a_client_that_closes_or_resets_at_once_is_not_taken_for_another(self) -> None:
        data = self.data()

        def hit_and_run() -> None:
            for number in range(50):
                connection = socket.create_connection(("127.0.0.1", self.port))
                connection.sendall(data)
                if number % 2:
                    # A close by a reset, socket(7).
                    linger = struct.pack("ii", 1, 0)
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                connection.close()

        self.process.send(19)
        self.as_nobody(hit_and_run)
        self.process.send(18)
        self.assert_nothing_changed()
        self.assert_no_traceback(self.process)

    def test_a_code_that_another_user_has_seen_opens_nothing_for_it(self) -> None:
        code = self.said("web").splitlines()[0].partition("#code=")[2]
        data = self.data("POST", "/api/v1/login", body=json.dumps({"code": code}))
        address = ("127.0.0.1", self.port)
        self.assert_kept_out(self.as_nobody(lambda: exchange(address, data)))
        # The code is not spent.
        self.assertIn('{"key": ', exchange(address, data))

    def test_headers_of_proxies_speak_for_nobody(self) -> None:
        claims = (
            "X-Forwarded-For: 127.0.0.1",
            "X-Real-IP: 127.0.0.1",
            "Forwarded: for=127.0.0.1;host=127.0.0.1",
            "X-Remote-User: root",
            "X-Forwarded-Host: 127.0.0.1",
        )
        data = self.data("POST", "/api/v1/pause", None, *claims)
        address = ("127.0.0.1", self.port)
        self.assert_kept_out(self.as_nobody(lambda: exchange(address, data)))
        line = b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n"
        self.assert_kept_out(self.as_nobody(lambda: exchange(address, line + data)), 400)

    def test_wrong_keys_of_another_user_throttle_nobody(self) -> None:
        data = self.data("GET", "/api/v1/status", "a-guess")
        address = ("127.0.0.1", self.port)

        def guess() -> list[str]:
            return [exchange(address, data)[:12] for _ in range(30)]

        self.assertEqual(set(self.as_nobody(guess)), {"HTTP/1.1 403"})
        self.assertEqual(self.get("/api/v1/status", "wrong")[0], 401)

    def test_connections_of_another_user_keep_out_nobody(self) -> None:
        request = self.data("GET", "/api/v1/status").replace(b"Connection: close\r\n", b"")
        # A socket belongs to the user that has made it, whoever holds it.
        os.seteuid(NOBODY)
        try:
            for number in range(100):
                connection = socket.create_connection(("127.0.0.1", self.port), PATIENCE)
                self.addCleanup(connection.close)
                connection.sendall(request[: 5 * number])
        finally:
            os.seteuid(0)
        self.assert_nothing_changed()

    def test_the_port_is_not_shared_while_the_daemon_has_it(self) -> None:
        def squat() -> list[str]:
            said = []
            for host in ("127.0.0.1", "0.0.0.0"):
                for option in (0, socket.SO_REUSEADDR, socket.SO_REUSEPORT):
                    with socket.socket() as squatter:
                        if option:
                            squatter.setsockopt(socket.SOL_SOCKET, option, 1)
                        try:
                            squatter.bind((host, self.port))
                            squatter.listen()
                            said.append("listens")
                        except OSError as error:
                            said.append(os.strerror(error.errno or 0))
            return said

        self.assertEqual(set(self.as_nobody(squat)), {"Address already in use"})

    def test_a_key_that_a_squatter_collected_is_worth_nothing_after_a_restart(self) -> None:
        self.process.kill()
        with socket.create_server(("127.0.0.1", self.port)) as squatter:
            # The page is still open, and asks again and again.
            page = socket.create_connection(("127.0.0.1", self.port), PATIENCE)
            with page, squatter.accept()[0] as accepted:
                page.sendall(self.data("GET", "/api/v1/events"))
                stolen = accepted.recv(65_536).decode().partition("Bearer ")[2].split()[0]
        self.process = self.start(self.http + "control = true\n")
        wait_until(lambda: accepts(self.local), "the door listens")
        self.assert_kept_out(exchange(("127.0.0.1", self.port), self.data(key=stolen)), 401)

    def test_no_token_key_or_code_is_on_a_command_line(self) -> None:
        secrets = [self.token.encode(), self.key.encode()]
        seen = b""
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as file:
                    seen += file.read()
            except OSError:
                continue
        for secret in secrets:
            self.assertNotIn(secret, seen)

    def test_the_token_s_file_the_socket_and_the_browser_s_file_are_closed(self) -> None:
        for directory in (self.place.directory, self.place.runtime, self.place.state):
            os.chmod(directory, 0o755)

        def read_token() -> str:
            return self.token

        def connect() -> None:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(self.local)

        for attempt in (read_token, connect):
            self.assertIn("PermissionError", self.as_nobody(attempt))
        os.chmod(self.place.state, 0o700)

    def test_a_wide_socket_opens_no_page_and_revives_nothing_for_another_user(self) -> None:
        for directory in (self.place.directory, self.place.runtime):
            os.chmod(directory, 0o755)
        self.configure(self.http + 'mode = "0666"\n')
        self.ask(b"RELOAD\n")
        wait_until(lambda: os.stat(self.local).st_mode & 0o777 == 0o666, "the socket is wide")

        def send(name: str, argument: str) -> str:
            body = json.dumps({"arguments": [argument]})
            data = self.data("POST", f"/api/v1/commands/{name}", "", body=body)
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(PATIENCE)
                connection.connect(self.local)
                connection.sendall(data)
                return read_all(connection).decode()

        for name, argument in (("WEB", "open"), ("WEB", "revoke"), ("REVIVE", "any-session")):
            reply = self.as_nobody(lambda name=name, argument=argument: send(name, argument))
            self.assertIn("HTTP/1.1 409 ", reply)
            self.assertIn("nly the daemon's own user and root", reply)
        self.assertEqual(self.get("/api/v1/status", self.key)[0], 200)

    def test_a_wide_socket_lets_everybody_in_or_those_in_users_alone(self) -> None:
        for directory in (self.place.directory, self.place.runtime):
            os.chmod(directory, 0o755)

        def ask() -> str:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(PATIENCE)
                connection.connect(self.local)
                connection.sendall(b"GET /api/v1/status HTTP/1.0\r\n\r\n")
                return read_all(connection).decode()

        for users, status in (("[]", 200), (f"[{NOBODY + 1}]", 403), (f"[{NOBODY}]", 200)):
            self.configure(f'{self.http}mode = "0666"\nusers = {users}\n')
            self.ask(b"RELOAD\n")
            wait_until(lambda: os.stat(self.local).st_mode & 0o777 == 0o666, "the socket is wide")
            self.assertIn(f" {status} ", self.as_nobody(ask).splitlines()[0], users)

    def test_another_user_can_have_the_other_address_of_localhost(self) -> None:
        # So no page tells a reader to send the token to that name.
        def squat() -> None:
            socket.create_server(("::1", self.port), family=socket.AF_INET6).close()

        self.assertIsNone(self.as_nobody(squat))
        pages = [
            ROOT / "README.rst",
            *(ROOT / "docs").glob("*.rst"),
            *(ROOT / "examples").glob("*.*"),
        ]
        for page in pages:
            self.assertNotRegex(page.read_text(), "localhost:[0-9]", page.name)


class OwnUserTests(AttackTestCase):
    """What a program or page without a key may try, whichever user has it."""

    def test_no_spelling_of_a_path_goes_round_the_key(self) -> None:
        for path in (
            "/health/../api/v1/status",
            "/health/%2e%2e/api/v1/status",
            "//api/v1/status",
            "/%61pi/v1/status",
            "/api/v1/status/",
            "/api/v1/status;health",
            "/api/v1/status?/health",
            "/api%2fv1%2fstatus",
            "/API/V1/STATUS",
            "/page.js/../metrics",
            f"http://127.0.0.1:{self.port}/api/v1/status",
            "*",
        ):
            data = self.data("GET", path, "")
            reply = exchange(("127.0.0.1", self.port), data)
            self.assert_kept_out(reply, 400, 401, 404, 405, 429)

    def test_no_other_method_changes_anything(self) -> None:
        override = "X-HTTP-Method-Override: POST"
        for method in ("GET", "HEAD", "OPTIONS", "PUT", "PATCH", "TRACE", "CONNECT", "post"):
            data = self.data(method, "/api/v1/pause", None, override)
            self.assert_kept_out(exchange(("127.0.0.1", self.port), data), 400, 405)

    def test_no_host_that_only_looks_like_ours_is_answered(self) -> None:
        own = f"127.0.0.1:{self.port}".encode()
        for host in (
            b"127.0.0.1.evil.example",
            b"127.0.0.1@evil.example",
            b"evil.example#127.0.0.1",
            b"localhost.evil.example",
            b"0.0.0.0",
            b"[::ffff:192.0.2.1]",
            b"2130706433",
            b"0x7f.1",
            b"127.0.0.1, evil.example",
            b"",
        ):
            data = self.data("POST", "/api/v1/pause").replace(b"Host: " + own, b"Host: " + host)
            self.assert_kept_out(exchange(("127.0.0.1", self.port), data), 421)

    def test_no_origin_but_the_page_s_own_changes_anything(self) -> None:
        own = f"Origin: http://127.0.0.1:{self.port}\r\n".encode()
        for origin in (
            b"Origin: null\r\n",
            b"Origin: http://127.0.0.1\r\n",
            f"Origin: http://localhost:{self.port}\r\n".encode(),
            f"Origin: http://127.0.0.1:{self.port}.evil.example\r\n".encode(),
            b"Origin: file://\r\n",
            own + b"Origin: http://evil.example\r\n",
            own + b"Sec-Fetch-Site: same-site\r\n",
            own + b"Sec-Fetch-Site: none\r\n",
            b"",
        ):
            data = self.data().replace(own, origin)
            self.assert_kept_out(exchange(("127.0.0.1", self.port), data))

    def test_a_body_that_hides_a_second_request_is_refused(self) -> None:
        hidden = self.data()
        host = f"Host: 127.0.0.1:{self.port}\r\n".encode()
        for lengths in (
            b"Content-Length: 0\r\nContent-Length: %d\r\n" % len(hidden),
            b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n" % len(hidden),
            b"Transfer-Encoding: chunked, identity\r\n",
            b"Transfer-Encoding : chunked\r\n",
            b"Content-Length: +5\r\n",
        ):
            data = b"POST /api/v1/login HTTP/1.1\r\n" + host + lengths + b"\r\n" + hidden
            reply = exchange(("127.0.0.1", self.port), data)
            self.assert_kept_out(reply, 400, 403, 413, 501)
            self.assertEqual(reply.count("HTTP/1.1 "), 1)

    def test_no_other_protocol_is_switched_to(self) -> None:
        address = ("127.0.0.1", self.port)
        preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        self.assert_kept_out(exchange(address, preface), 400, 421)
        upgrade = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AA")
        data = self.data("GET", "/api/v1/status", "", *upgrade)
        self.assert_kept_out(exchange(address, data), 400, 401)
        for line in (b"STATUS\n", b"EHLO x\r\n", b"\x16\x03\x01\x00\x05hello"):
            self.assert_kept_out(exchange(address, line) or "HTTP/1.1 400", 400)

    def test_no_reply_sets_a_cookie_or_lets_another_origin_read(self) -> None:
        address = ("127.0.0.1", self.port)
        for path in ("/", "/health", "/api/v1/status", "/metrics", "/nothing"):
            evil = "Origin: http://evil.example"
            data = self.data("GET", path, None, evil, "Cookie: key=" + self.key)
            head = exchange(address, data).partition("\r\n\r\n")[0].lower()
            self.assertNotIn("set-cookie", head)
            self.assertNotIn("access-control", head)
            self.assertIn("cache-control: no-store", head)
