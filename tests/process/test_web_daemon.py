"""The daemon's web door: ``[http]``, ``palingenesis web`` and ``palingenesis metrics``."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import select
import signal
import socket
import sys
from typing import Any
from unittest import skipUnless

from prometheus_client.parser import text_string_to_metric_families

from palingenesis.cli.exit_status import Exit
from palingenesis.web.keys import TOKEN_NAME
from palingenesis.web.settings import DEFAULT_PORT
from tests.process.test_web import free_port
from tests.support.cases import CommandTestCase
from tests.support.impostors import answer, impostor
from tests.support.lines import next_line
from tests.support.needs import needs_linux, needs_root
from tests.support.patience import PATIENCE, wait_until
from tests.support.processes import Process
from tests.support.sockets import accepts, connect, read_all
from tests.support.users import NOBODY, as_user

#: What opens a file for a person.
OPENER = "open" if sys.platform == "darwin" else "xdg-open"


class DaemonWebTestCase(CommandTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.port = free_port()
        self.local = os.path.join(self.place.runtime, "http.sock")

    def configure(self, text: str) -> str:
        return self.place.write("config.toml", text)

    def start(self, text: str = "", **how: Any) -> Process:
        return self.place.daemon("--config", self.configure(text), **how)

    @property
    def http(self) -> str:
        return f'[http]\nlisten = ["127.0.0.1:{self.port}", "unix:{self.local}"]\n'

    @property
    def token(self) -> str:
        with open(os.path.join(self.place.state, TOKEN_NAME), encoding="ascii") as file:
            return file.read().strip()

    def get(self, path: str, key: str | None = None, port: int | None = None) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=PATIENCE)
        try:
            headers = {} if key is None else {"Authorization": f"Bearer {key}"}
            connection.request("GET", path, headers=headers)
            reply = connection.getresponse()
            return reply.status, reply.read().decode()
        finally:
            connection.close()

    def local_request(self, line: str) -> bytes:
        with connect(self.local) as connection:
            connection.sendall(f"{line} HTTP/1.0\r\n\r\n".encode())
            return read_all(connection)

    def said(self, *arguments: str, **how: Any) -> str:
        done = self.run_command(*arguments, **how)
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        return done.stdout.decode()

    def is_open(self, port: int | None = None) -> bool:
        try:
            socket.create_connection(("127.0.0.1", port or self.port), PATIENCE).close()
        except ConnectionRefusedError:
            return False
        return True

    def log_in(self, url: str) -> str:
        address, _, code = url.partition("/#code=")
        port = int(address.rpartition(":")[2])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        self.addCleanup(connection.close)
        connection.request(
            "POST",
            "/api/v1/login",
            json.dumps({"code": code}),
            {"Content-Type": "application/json", "Origin": address},
        )
        reply = connection.getresponse()
        self.assertEqual(reply.status, 200)
        return str(json.loads(reply.read())["key"])


class ConfigurationTests(DaemonWebTestCase):
    def test_without_it_no_module_of_the_web_is_there(self) -> None:
        process = self.place.twistd(environment={"PYTHONPROFILEIMPORTTIME": "1"})
        process.wait_for_log("Listening on")
        self.assert_serves()
        self.assertEqual(process.stop(), 0)
        imported = set(re.findall(r"\| +([\w.]+)$", process.stderr, re.MULTILINE))
        self.assertIn("palingenesis.daemon.web", imported)
        self.assertEqual({name for name in imported if name.startswith("twisted.web")}, set())
        ours = {name for name in imported if name.startswith("palingenesis.web.")}
        self.assertEqual(ours, {"palingenesis.web.settings"})

    def test_the_door_is_open_at_the_configured_place(self) -> None:
        self.start(self.http)
        wait_until(lambda: accepts(self.local), "the door listens")
        self.assertEqual(self.get("/health"), (200, '{"status": "ok"}\n'))
        self.assertEqual(self.get("/api/v1/status")[0], 401)
        for path in ("status", "sessions", "log", "commands"):
            status, body = self.get(f"/api/v1/{path}", self.token)
            self.assertEqual(status, 200, path)
            json.loads(body)
        self.assertIn(b'"paused"', self.local_request("POST /api/v1/pause"))

    def test_what_steers_a_session_may_be_run_by_a_browser_s_session(self) -> None:
        self.start(self.http + "control = true\n")
        url = self.said("web").splitlines()[0]
        key = self.log_in(url)
        for name in ("HOLD", "RELEASE", "REVIVE", "END"):
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
            self.addCleanup(connection.close)
            connection.request(
                "POST",
                f"/api/v1/commands/{name}",
                json.dumps({"arguments": ["no-such-session"]}),
                {
                    "Authorization": f"Bearer {key}",
                    "Content-Type": "application/json",
                    "Origin": f"http://127.0.0.1:{self.port}",
                },
            )
            reply = connection.getresponse()
            # The daemon has looked for the session.
            self.assertEqual(reply.status, 409, reply.read())

    def test_the_log_has_the_pause_with_its_number(self) -> None:
        self.start(self.http)
        wait_until(lambda: accepts(self.local), "the door listens")
        with connect(self.local) as connection:
            connection.sendall(b"GET /api/v1/events HTTP/1.1\r\nHost: x\r\n\r\n")
            events = connection.makefile("rb")
            next_line(events, lambda line: line.startswith(b"event: sessions"))
            self.ask(b"PAUSE\n")
            line = next_line(events, lambda line: line.startswith(b"id: "))
            number = int(line[4:])
            self.assertEqual(events.readline(), b"event: log\n")
            self.assertEqual(json.loads(events.readline()[6:])["event"], "paused")
        self.ask(b"RESUME\n")
        with connect(self.local) as connection:
            connection.sendall(
                b"GET /api/v1/events HTTP/1.1\r\nHost: x\r\nLast-Event-ID: %d\r\n\r\n" % number
            )
            events = connection.makefile("rb")
            while events.readline() != b"id: %d\n" % (number + 1):
                pass
            events.readline()
            self.assertEqual(json.loads(events.readline()[6:])["event"], "resumed")

    def test_the_numbers_of_the_log_go_on_after_a_restart(self) -> None:
        process = self.start(self.http)
        for line in (b"PAUSE\n", b"RESUME\n", b"PAUSE\n"):
            self.ask(line)
        process.kill()
        self.start(self.http)
        wait_until(lambda: accepts(self.local), "the door listens")
        with connect(self.local) as connection:
            connection.sendall(
                b"GET /api/v1/events HTTP/1.1\r\nHost: x\r\nLast-Event-ID: 1\r\n\r\n"
            )
            events = connection.makefile("rb")
            numbers = []
            while len(numbers) < 3:
                line = events.readline()
                if line.startswith(b"id: "):
                    numbers.append(int(line[4:]))
        self.assertEqual(numbers, [1, 2, 3])

    def test_a_reload_opens_moves_and_closes_it(self) -> None:
        self.start()
        self.assertFalse(self.is_open())
        other = free_port()
        for text, is_open, other_is_open in (
            (f'[http]\nlisten = "127.0.0.1:{self.port}"\n', True, False),
            (f'[http]\nlisten = "127.0.0.1:{other}"\n', False, True),
            ("", False, False),
        ):
            self.configure(text)
            self.ask(b"RELOAD\n")
            wait_until(
                lambda a=is_open, b=other_is_open: (self.is_open(), self.is_open(other)) == (a, b),
                "the door has moved",
            )

    def test_a_reload_ends_no_session_of_a_browser_and_changes_what_it_may(self) -> None:
        self.start(self.http)
        url = self.said("web").splitlines()[0]
        key = self.log_in(url)
        self.configure(self.http + "control = true\n")
        self.ask(b"RELOAD\n")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        self.addCleanup(connection.close)
        connection.request(
            "POST",
            "/api/v1/pause",
            headers={
                "Authorization": f"Bearer {key}",
                "Origin": f"http://127.0.0.1:{self.port}",
            },
        )
        self.assertEqual(connection.getresponse().status, 200)

    def test_a_port_that_is_closed_ends_the_sessions(self) -> None:
        self.assert_moving_ends_sessions("")

    def test_a_port_that_is_closed_ends_the_sessions_also_if_the_mode_changes(self) -> None:
        self.assert_moving_ends_sessions('mode = "0660"\n')

    def assert_moving_ends_sessions(self, more: str) -> None:
        # A page that is still open asks the port again and again, whoever listens there then.
        self.start(f'[http]\nlisten = "127.0.0.1:{self.port}"\n')
        key = self.log_in(self.said("web").splitlines()[0])
        self.assertEqual(self.get("/api/v1/status", key)[0], 200)
        other = free_port()
        self.configure(f'[http]\nlisten = "127.0.0.1:{other}"\n{more}')
        self.ask(b"RELOAD\n")
        wait_until(lambda: self.is_open(other), "the door has moved")
        wait_until(
            lambda: self.get("/api/v1/status", key, other)[0] == 401, "the session has ended"
        )

    def test_an_address_of_elsewhere_is_one_line_that_says_how_else(self) -> None:
        process = self.place.twistd("--config", self.configure('[http]\nlisten = "0.0.0.0:80"\n'))
        self.assertEqual(process.wait(), 1)
        for word in ("http.listen", "ssh -L", "reverse proxy"):
            self.assertIn(word, process.stderr)
        self.assertEqual(process.stderr.count("\n"), 1)

    def test_a_token_s_file_that_others_can_read_is_told_and_the_daemon_runs_on(self) -> None:
        os.mkdir(self.place.state, 0o700)
        path = os.path.join(self.place.state, TOKEN_NAME)
        with open(path, "w", encoding="ascii") as file:
            file.write("t" * 43)
        os.chmod(path, 0o644)
        process = self.start(self.http)
        process.wait_for_log(f"HTTP is not served over TCP: {path}: can be read")
        self.assert_serves()
        self.assertFalse(self.is_open())
        self.assertIn(b"200 OK", self.local_request("GET /api/v1/status"))
        self.assert_no_traceback(process)

    def test_a_reload_closes_the_ports_whose_token_others_can_read(self) -> None:
        process = self.start(self.http + "control = true\n")
        key = self.log_in(self.said("web").splitlines()[0])
        path = os.path.join(self.place.state, TOKEN_NAME)
        os.chmod(path, 0o644)
        self.configure(self.http)
        self.ask(b"RELOAD\n")
        wait_until(lambda: not self.is_open(), "the port is closed")
        self.assertIn(b"200 OK", self.local_request("GET /api/v1/status"))
        refused = self.assert_fails(Exit.ERROR_REPLY, "web")
        self.assertIn("can be read or written by other users", refused)
        failures = json.loads(self.local_request("POST /api/v1/commands/WEB").split(b"\r\n\r\n")[1])
        self.assertEqual(list(failures["failures"]), [f"127.0.0.1:{self.port}"])
        os.remove(path)
        self.ask(b"RELOAD\n")
        wait_until(self.is_open, "the port is open again")
        self.assertEqual(self.get("/api/v1/access", self.token)[0], 200)
        self.assertEqual(self.get("/api/v1/access", key)[0], 401)
        self.assert_no_traceback(process)


class CommandTests(DaemonWebTestCase):
    def test_web_opens_the_page_with_a_code_and_closes_it_again(self) -> None:
        self.start()
        first, second = self.said("web").splitlines()
        match = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/#code=([\w-]{43})", first)
        assert match is not None, first
        self.assertIn("once", second)
        port = int(match[1])
        self.assertEqual(self.get("/health", port=port)[0], 200)
        self.assertEqual(self.said("web", "--close"), "closed\n")
        wait_until(lambda: not self.is_open(port), "the page is closed")

    def test_the_page_is_at_another_port_if_the_usual_one_is_taken(self) -> None:
        with socket.socket() as taken:
            with contextlib.suppress(OSError):
                # Else somebody has it already.
                taken.bind(("127.0.0.1", DEFAULT_PORT))
                taken.listen()
            self.start()
            port = int(self.said("web").split("/#")[0].rpartition(":")[2])
            self.assertNotEqual(port, DEFAULT_PORT)
            self.assertEqual(self.get("/health", port=port)[0], 200)

    def test_over_ssh_it_says_what_to_type_at_home(self) -> None:
        self.start(f'[http]\nlisten = "127.0.0.1:{self.port}"\n')
        said = self.said("web", variables={"SSH_CONNECTION": "10.0.0.1 4000 10.0.0.2 22"})
        self.assertIn(f"ssh -L {self.port}:127.0.0.1:{self.port} 10.0.0.2", said)

    def test_a_code_is_in_no_log(self) -> None:
        process = self.start()
        code = self.said("web").splitlines()[0].partition("#code=")[2]
        self.assertNotIn(code, process.wait_for_log("WEB open by uid"))

    def test_a_page_that_is_configured_is_closed_there(self) -> None:
        self.start(self.http)
        said = self.assert_fails(Exit.ERROR_REPLY, "web", "--close")
        self.assertIn("http.listen", said)
        self.assertTrue(self.is_open())

    def test_revoke_ends_sessions(self) -> None:
        self.start()
        self.said("web")
        self.assertEqual(self.said("web", "--revoke"), "ended 0 sessions\n")

    def test_json_has_the_address_of_the_page(self) -> None:
        self.start()
        self.assertEqual(set(json.loads(self.said("web", "--json"))), {"address", "url"})
        self.assertEqual(json.loads(self.said("web", "--close", "--json"))["listening"], [])

    @needs_linux("macOS always has a display")
    def test_open_without_a_display_says_so(self) -> None:
        self.start()
        done = self.run_command("web", "--open", variables={"DISPLAY": "", "WAYLAND_DISPLAY": ""})
        self.assertEqual(done.returncode, 0)
        self.assertIn(b"no browser is started", done.stderr)

    def open_with(self, script: str) -> tuple[str, str]:
        """Type ``web --open`` with such an opener, and return the address and the errors."""
        self.start()
        path = self.place.write(OPENER, f"#!/bin/sh\n{script}\n")
        os.chmod(path, 0o755)
        programs = os.pathsep.join((os.path.dirname(path), os.environ["PATH"]))
        done = self.run_command("web", "--open", variables={"DISPLAY": ":9", "PATH": programs})
        self.assertEqual(done.returncode, 0)
        return done.stdout.decode().splitlines()[0], done.stderr.decode()

    def test_open_gives_the_browser_a_file_that_is_ours_alone_and_no_code(self) -> None:
        seen = self.place.path("seen")
        url, said = self.open_with(f'(echo "$@"; ls -l "$1" | cut -c1-10; cat "$1") > {seen}')
        self.assertEqual(said, "")
        with open(seen, encoding="utf-8") as file:
            arguments, mode, content = file.read().split("\n", 2)
        self.assertNotIn("code=", arguments)
        self.assertEqual(mode, "-rw-------")
        self.assertIn(url, content)

    def test_a_browser_that_does_not_start_is_one_line(self) -> None:
        _, said = self.open_with("exit 3")
        self.assertRegex(
            said, rf"^palingenesis: the browser cannot be started: {OPENER} .* 3; .*\n$"
        )

    def test_a_browser_that_stays_keeps_nobody_waiting(self) -> None:
        pid = self.place.path("pid")
        _, said = self.open_with(f"echo $$ > {pid}; exec sleep 600")
        self.assertEqual(said, "")
        with open(pid, encoding="ascii") as file:
            os.kill(int(file.read()), signal.SIGTERM)

    def test_metrics_are_prometheus_without_a_port(self) -> None:
        self.start()
        self.ask(b"PAUSE\n")
        families = {f.name: f for f in text_string_to_metric_families(self.said("metrics"))}
        for name in (
            "build_info",
            "start_time_seconds",
            "paused",
            "connections",
            "commands",
            "command_seconds",
            "rejected",
            "sessions",
            "stops",
            "revivals",
            "revived_seconds",
            "next_revival_timestamp_seconds",
            "scan_seconds",
            "ledger_ok",
        ):
            self.assertIn(f"palingenesis_{name}", families)
        (paused,) = families["palingenesis_paused"].samples
        self.assertEqual(paused.value, 1)

    def test_doctor_says_where_it_is_served_and_why_not(self) -> None:
        with socket.create_server(("127.0.0.1", self.port)):
            self.start(self.http)
            wait_until(lambda: accepts(self.local), "the door listens")
            said = self.run_command("doctor").stdout.decode()
        self.assertRegex(said, rf"(?m)^web .*unix:{self.local}")
        self.assertRegex(said, rf"not at 127\.0\.0\.1:{self.port}: address already in use")

    @needs_root
    def test_another_user_opens_nothing_however_wide_the_mode_is(self) -> None:
        os.chmod(self.place.directory, 0o755)
        os.chmod(self.place.runtime, 0o755)
        self.start('mode = "0666"\n')
        reply = as_user(NOBODY, lambda: self.ask(b"WEB open\n").decode())
        self.assertIn("Only the daemon's own user and root", reply)


class ImpostorTests(CommandTestCase):
    """What is printed if something else listens at the socket."""

    def test_a_reply_of_another_kind_is_one_line_and_nothing_of_it_is_printed_raw(self) -> None:
        escape = rb"\u001b[2J"
        url = b'{"address": "127.0.0.1:1", "url": "http://127.0.0.1:1/%s"}\n'
        for arguments, reply in (
            (["web"], b"OK\n"),
            (["web"], b'{"address": 1}\n'),
            (["web"], url % escape),
            (["web", "--open"], url % rb"\"><script>"),
            (["web", "--close"], b'{"listening": null}\n'),
            (["web", "--revoke"], b'{"sessions": "%s"}\n' % escape),
            (["metrics"], b'{"a": "%s"}\n' % escape),
            (["metrics"], b"OK\n"),
        ):
            with impostor(self.place.socket, answer(reply)):
                said = self.assert_fails(Exit.NO_ANSWER, *arguments)
            self.assertIn("invalid reply", said)
            self.assertNotIn("\x1b", said)
            os.unlink(self.place.socket)


class StopTests(DaemonWebTestCase):
    def test_a_stop_closes_everything(self) -> None:
        process = self.start(self.http)
        wait_until(lambda: accepts(self.local), "the door listens")
        idle = socket.create_connection(("127.0.0.1", self.port), PATIENCE)
        self.addCleanup(idle.close)
        idle.sendall(b"HEAD /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self.assertIn(b"200 OK", idle.recv(4096))
        self.assertEqual(process.stop(signal.SIGTERM), 0)
        self.assert_no_traceback(process)
        self.assertFalse(os.path.lexists(self.local))
        self.assertEqual(idle.recv(1), b"")


class ReactorTests(DaemonWebTestCase):
    """The same on each of the reactors that a user may choose."""

    def serve(self, reactor: str) -> None:
        process = self.start(self.http, before=("-n", "--reactor", reactor))
        wait_until(lambda: accepts(self.local), "the door listens")
        request = (
            f"GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\n"
            f"Authorization: Bearer {self.token}\r\n\r\n"
        ).encode()
        for address in (("127.0.0.1", self.port), self.local):
            family = socket.AF_INET if isinstance(address, tuple) else socket.AF_UNIX
            with socket.socket(family) as connection:
                connection.settimeout(PATIENCE)
                connection.connect(address)
                # One after the other, then several in one segment.
                for _ in range(3):
                    connection.sendall(request)
                    self.assertIn(b"200 OK", connection.recv(65_536))
                connection.sendall(3 * request)
                connection.shutdown(socket.SHUT_WR)
                self.assertEqual(read_all(connection).count(b'"monitoring"'), 3)
        with connect(self.local) as stream:
            stream.sendall(b"GET /api/v1/events HTTP/1.1\r\nHost: x\r\n\r\n")
            events = stream.makefile("rb")
            next_line(events, lambda line: line.startswith(b"event: sessions"))
            self.ask(b"PAUSE\n")
            next_line(events, lambda line: line.startswith(b"event: log"))
            self.assertEqual(process.stop(signal.SIGTERM), 0)
            self.assertTrue(events.read().endswith(b"0\r\n\r\n"))
        self.assert_no_traceback(process)

    @skipUnless(hasattr(select, "epoll"), "there is no epoll(7)")
    def test_the_door_is_served_on_epoll(self) -> None:
        self.serve("epoll")

    @skipUnless(hasattr(select, "poll"), "there is no poll(2)")
    def test_the_door_is_served_on_poll(self) -> None:
        self.serve("poll")

    def test_the_door_is_served_on_select(self) -> None:
        self.serve("select")

    def test_the_door_is_served_on_asyncio(self) -> None:
        self.serve("asyncio")
