"""The contract on the wire, with real clients of the real daemon."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

from tests.support.cases import ProcessTestCase
from tests.support.measures import descriptors, median_seconds, memory, processor_time
from tests.support.needs import needs_linux, needs_root
from tests.support.patience import PATIENCE, in_background, wait_until
from tests.support.processes import (
    Process,
    program,
)
from tests.support.replies import TIMED_OUT, TOO_LONG
from tests.support.sockets import (
    read_all,
    send_all,
)
from tests.support.users import NOBODY


class ContractTestCase(ProcessTestCase):
    """Served by a port of our own, which has a fast lane."""

    def serve(self, limits: dict[str, float] | None = None, **how: object) -> Process:
        """Start ``twistd palingenesis``."""
        content = "".join(f"{name} = {value}\n" for name, value in (limits or {}).items())
        return self.place.daemon("--config", self.place.write("c.toml", content), **how)

    def application(self, limits: dict[str, float] | None = None, **behaviour: object) -> Process:
        """Start an application whose handlers behave as they are told to."""
        return self.place.application(limits, **behaviour)


class WithoutLane:
    """Served by Twisted's own port and transports, which the same protocol has to do with."""

    def serve(self, limits: dict[str, float] | None = None) -> Process:
        return self.application(limits)

    def application(self, limits: dict[str, float] | None = None, **behaviour: object) -> Process:
        return self.place.application(limits, f"unix:{self.place.socket}", **behaviour)


class ClientTests(ContractTestCase):
    """Clients that are slow, rude or many."""

    def test_four_hundred_that_keep_it_waiting_slow_nobody_down(self):
        self.serve({"timeout": 1.5})
        began = time.monotonic()
        clients = [self.connect() for _ in range(400)]
        silent, partial, dribbling, never_reading = (clients[i::4] for i in range(4))
        for client in partial:
            client.sendall(b"STAT")
        for client in never_reading:
            client.sendall(b"STATUS\n" * 100)

        def dribble(over: threading.Event) -> None:
            while not over.wait(0.2):
                for client in dribbling:
                    send_all(client, b"x")

        with in_background(dribble):
            self.assertLess(median_seconds(self.assert_serves), 0.5)
            for client in silent + partial + dribbling:
                self.assertEqual(read_all(client).removesuffix(b"[reset]"), TIMED_OUT)
            took = time.monotonic() - began
        # The deadline is one for the whole line: bytes that dribble in do not move it.
        self.assertGreater(took, 1.4)
        self.assertLess(took, 15)
        for client in never_reading:
            self.assertTrue(read_all(client).startswith(b'{"state": '))
        self.assert_serves()

    @needs_linux("descriptors are counted in /proc")
    def test_clients_that_keep_it_waiting_are_gone_by_the_deadline(self):
        daemon = self.serve({"timeout": 0.5})
        self.assert_serves()
        before = len(descriptors(daemon.pid))
        for request in (b"", b"STAT", b"x" * 600, b"STATUS\nSTATUS\n", b"\n\n"):
            for _ in range(10):
                send_all(self.connect(), request)
        wait_until(lambda: len(descriptors(daemon.pid)) <= before, "all connections are closed")
        self.assert_no_traceback(daemon)

    def test_a_client_beyond_the_limit_has_its_error_at_once(self):
        daemon = self.serve({"max_connections": 5})
        within = [self.connect() for _ in range(5)]
        began = time.monotonic()
        for _ in range(20):
            self.assertEqual(read_all(self.connect()), b"ERR: Too many connections\n")
        self.assertLess(time.monotonic() - began, 4)
        for client in within:
            client.sendall(b"STATUS\n")
            self.assertTrue(read_all(client).startswith(b'{"state": '))
        self.assert_serves()
        self.assert_no_traceback(daemon)

    def test_every_split_of_a_command_is_the_same_command(self):
        self.serve()
        command = b"STATUS\r\n"
        for cuts in itertools.product((False, True), repeat=len(command) - 1):
            parts, rest = [], command
            for position in reversed([i + 1 for i, cut in enumerate(cuts) if cut]):
                parts.insert(0, rest[position:])
                rest = rest[:position]
            client = self.connect()
            for part in [rest, *parts]:
                client.send(part)
            answer = read_all(client)
            self.assertTrue(answer.startswith(b'{"state": "monitoring"'), (cuts, answer))
            client.close()

    def test_what_is_no_command_is_answered_with_one_printable_line(self):
        daemon = self.serve()
        for request in (
            b"\0STATUS\n",
            b"STATUS\0\n",
            b"\xff\xfe\n",
            b"\x1b[2J\x1b]0;title\x07\n",
            "a\u2028b\u2029c\n".encode(),
            "\u202eSUTATS\n".encode(),
            "\u017ftatus\n".encode(),
            "\uff33TATUS\n".encode(),
            b"STATUS now\n",
            b"STATUS\rPAUSE\n",
            b"\n",
            b"\r\n",
            b"\x7f\x80\x9b\n",
            b"x" * 512 + b"\n",
        ):
            answer = self.ask(request)
            self.assertTrue(answer.startswith(b"ERR: Unknown command: "), (request, answer))
            self.assertEqual(answer.count(b"\n"), 1, (request, answer))
            self.assertTrue(answer.decode().rstrip("\n").isprintable(), (request, answer))
            self.assertLess(len(answer), 400)
        self.assert_no_traceback(daemon)

    def test_a_line_that_is_too_long_is_told_so_without_its_end(self):
        self.serve()
        for size in (513, 65536, 2 * 1024 * 1024):
            self.assertEqual(self.ask(b"x" * size), TOO_LONG)
        client = self.connect()
        client.sendall(b"x" * 513)
        self.assertEqual(read_all(client), TOO_LONG)

    @needs_linux("memory is read from /proc")
    def test_long_lines_take_no_memory(self):
        daemon = self.serve()
        for _ in range(100):
            self.ask(b"x" * 10_000)
            self.assert_serves()
        before = memory(daemon.pid, "VmHWM")
        line = b"x" * 2 * 1024 * 1024
        clients = [self.connect() for _ in range(20)]
        senders = [
            threading.Thread(target=send_all, args=(client, line), daemon=True)
            for client in clients
        ]
        for sender in senders:
            sender.start()
        for client, sender in zip(clients, senders, strict=True):
            self.assertEqual(read_all(client).removesuffix(b"[reset]"), TOO_LONG)
            sender.join(PATIENCE)
        self.assertLess(memory(daemon.pid, "VmHWM") - before, 2 * 1024 * 1024)
        self.assert_serves()

    def test_only_the_first_of_a_thousand_commands_is_run(self):
        daemon = self.serve()
        self.assertEqual(self.ask(b"PAUSE\n" + b"RESUME\n" * 999), b"OK\n")
        self.assertIn(b'"paused"', self.ask())
        self.assertNotIn("RESUME", daemon.log)

    @needs_linux("memory and descriptors are read from /proc")
    def test_nothing_is_left_of_five_thousand_commands(self):
        daemon = self.serve()
        requests = (b"STATUS\n", b"STATUS\n", b"PAUSE\n", b"RELOAD\n", b"nonsense\n")
        for number in range(1000):
            self.ask(requests[number % len(requests)])
        files, resident = len(descriptors(daemon.pid)), memory(daemon.pid)
        for number in range(5000):
            self.ask(requests[number % len(requests)])
        # Twisted's own transports close a turn after the client has seen the end.
        wait_until(lambda: len(descriptors(daemon.pid)) <= files, "all connections are closed")
        self.assertLess(memory(daemon.pid) - resident, 1024 * 1024)
        self.assert_no_traceback(daemon)


class ClientWithoutLaneTests(WithoutLane, ClientTests):
    """The same clients, without the fast path."""


class DescriptorTests(ContractTestCase):
    """A process that has no file descriptors left."""

    @needs_linux("processor time is read from /proc")
    def test_a_process_out_of_descriptors_waits_and_recovers(self):
        daemon = self.serve({"timeout": 60}, files=64)
        clients = []
        for _ in range(200):
            client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.addCleanup(client.close)
            client.setblocking(False)
            try:
                client.connect(self.place.socket)
            except BlockingIOError:
                # The backlog is full.
                continue
            clients.append(client)
        self.assertGreater(len(clients), 64)
        daemon.wait_for_log("Clients have to wait")
        before = processor_time(daemon.pid)
        time.sleep(1.5)
        self.assertLess(processor_time(daemon.pid) - before, 0.5)
        self.assertLess(daemon.log.count("\n"), 12, daemon.log)
        for client in clients:
            client.close()
        self.assert_serves()
        self.assertLess(daemon.log.count("\n"), 16, daemon.log)
        self.assert_stops_cleanly(daemon)

    def test_a_stop_while_out_of_descriptors_is_clean(self):
        daemon = self.serve({"timeout": 60}, files=64)
        for _ in range(100):
            self.connect()
        daemon.wait_for_log("Clients have to wait")
        self.assert_stops_cleanly(daemon)

    def test_a_socket_deleted_while_out_of_descriptors_is_bound_anew_later(self):
        daemon = self.serve({"timeout": 60}, files=64)
        clients = [self.connect() for _ in range(100)]
        daemon.wait_for_log("Clients have to wait")
        os.unlink(self.place.socket)
        daemon.wait_for_log("No client can connect|Traceback")
        for client in clients:
            client.close()
        daemon.wait_for_log("was deleted: bound it anew")
        self.assert_serves()
        self.assert_stops_cleanly(daemon)


class OtherUserTests(ContractTestCase):
    """Clients of other users, and a daemon that became another one."""

    @needs_root
    def test_another_user_is_rejected_though_the_mode_was_loosened_by_hand(self):
        daemon = self.place.daemon()
        os.chmod(self.place.directory, 0o755)
        os.chmod(self.place.runtime, 0o755)
        self.assertEqual(self.ask_as(NOBODY), "PermissionError")
        os.chmod(self.place.socket, 0o666)
        self.assertEqual(
            self.ask_as(NOBODY), "ERR: Permission denied: not the daemon's own user, nor root\n"
        )
        daemon.wait_for_log(f"Rejected a client of another user: .*uid {NOBODY}")
        self.assert_serves()

    @needs_root
    def test_another_user_is_served_where_the_mode_lets_it_in(self):
        daemon = self.place.daemon("--mode", "0666")
        os.chmod(self.place.directory, 0o755)
        os.chmod(self.place.runtime, 0o755)
        self.assertIn('"state"', self.ask_as(NOBODY))
        self.assertNotIn("Rejected", daemon.log)

    @needs_root
    def test_a_daemon_that_became_another_user_serves_that_one_and_root(self):
        os.chmod(self.place.directory, 0o755)
        os.chown(self.place.runtime, NOBODY, NOBODY)
        daemon = self.place.daemon(
            before=("-n", "--uid", str(NOBODY), "--gid", str(NOBODY)),
            environment={"HOME": self.place.runtime},
        )
        self.assertEqual(os.lstat(self.place.socket).st_uid, NOBODY)
        self.assert_serves()
        self.assertIn('"state"', self.ask_as(NOBODY))
        self.assertEqual(daemon.stop(), 0)
        self.assertFalse(os.path.lexists(self.place.socket))

    def ask_as(self, uid: int) -> str:
        done = subprocess.run(
            program("other_user", self.place.socket, str(uid)),
            check=False,
            # Where coverage is measured, that user has nowhere to write it to.
            env={},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        self.assertEqual(done.stderr, "")
        return done.stdout


class HandlerTests(ContractTestCase):
    """An application's own handlers, which may be slow, wrong or stuck."""

    def test_a_half_close_before_a_slow_handler_is_done_loses_nothing(self):
        self.application(get_status=("slow", 0.5), pause=("slow", 0.5))
        clients = []
        for request in (b"STATUS", b"STATUS\n", b"PAUSE", b"PAUSE\nmore"):
            client = self.connect()
            client.sendall(request)
            client.shutdown(socket.SHUT_WR)
            clients.append(client)
        answers = [read_all(client) for client in clients]
        for answer in answers[:2]:
            self.assertEqual(json.loads(answer)["uptime_secs"], 1)
            self.assertTrue(answer.endswith(b"}\n"))
        self.assertEqual(answers[2:], [b"OK\n"] * 2)

    def test_a_handler_that_awaits_keeps_its_own_client_beside_another(self):
        daemon = self.application(flush=("meet", 2))
        first = self.connect()
        first.sendall(b"FLUSH\n")
        daemon.wait_for_log("flush begins")
        command = [sys.executable, "-m", "palingenesis", "--socket", self.place.socket]
        second = self.place.spawn([*command, "send", "FLUSH"])
        self.assertEqual(second.wait(), 0)
        replies = [json.loads(read_all(first)), json.loads(second.log)]
        self.assertEqual(replies, [[os.getpid()] * 2, [second.pid] * 2])

    @needs_linux("descriptors are counted in /proc")
    def test_a_client_that_vanishes_does_not_undo_its_command(self):
        daemon = self.application(pause=("slow", 0.5))
        self.ask()
        before = len(descriptors(daemon.pid))
        client = self.connect()
        client.sendall(b"PAUSE\n")
        daemon.wait_for_log("pause begins")
        client.close()
        daemon.wait_for_log(r"PAUSE by uid \d+, pid \d+: OK")
        self.assertEqual(daemon.log.count("pause is done"), 1)
        self.assertEqual(daemon.log.count("PAUSE by"), 1)
        wait_until(lambda: len(descriptors(daemon.pid)) <= before, "the connection is closed")
        self.assert_stops_cleanly(daemon)

    def test_a_handler_that_raises_is_logged_and_told_in_one_line(self):
        daemon = self.application(
            pause=("raise", "secret"), get_status=("raise", "secret"), resume=("refuse", "no\nway")
        )
        for command in (b"PAUSE", b"STATUS"):
            answer = self.ask(command + b"\n")
            self.assertEqual(answer, b"ERR: %s failed; the daemon's log says why\n" % command)
        self.assertEqual(self.ask(b"RESUME\n"), b"ERR: no\\nway\n")
        self.assertEqual(daemon.wait_for_log("RuntimeError: secret", 2).count("Traceback"), 2)
        self.assertEqual(self.ask(b"RELOAD\n"), b"OK\n")

    def test_a_status_that_is_none_is_told_in_one_line(self):
        for nonsense in (None, ["monitoring", 1, None, 0, 0, {}]):
            daemon = self.application(get_status=("answer", nonsense))
            self.assertEqual(self.ask(), b"ERR: STATUS failed; the daemon's log says why\n")
            daemon.wait_for_log("no DaemonStatus")
            self.assertEqual(self.ask(b"PAUSE\n"), b"OK\n")
            daemon.kill()

    def test_a_handler_that_never_answers_is_given_up_and_the_rest_goes_on(self):
        daemon = self.application({"handler_timeout": 0.5}, pause=("never", None))
        self.assertEqual(self.ask(b"PAUSE\n"), b"ERR: PAUSE is not done after 0.5 seconds\n")
        self.assertTrue(self.ask().startswith(b'{"state": '))
        self.assert_stops_cleanly(daemon)

    def test_reloads_are_carried_out_one_after_the_other(self):
        daemon = self.application(reload_config=("slow", 0.1))
        clients = [self.connect() for _ in range(4)]
        for client in clients:
            client.sendall(b"RELOAD\n")
        daemon.send(signal.SIGHUP)
        for client in clients:
            self.assertEqual(read_all(client), b"OK\n")
        log = daemon.wait_for_log("reload_config is done", 5)
        steps = re.findall("reload_config (begins|is done)", log)
        self.assertEqual(steps, ["begins", "is done"] * 5)
        daemon.wait_for_log("RELOAD by the daemon itself: OK")

    def test_a_handler_that_exits_ends_nothing(self):
        daemon = self.application(flush=("exit", 3), pause=("exit", 3))
        for command in (b"FLUSH", b"PAUSE"):
            answer = self.ask(command + b"\n")
            self.assertEqual(answer, b"ERR: %s failed; the daemon's log says why\n" % command)
        self.assert_serves()
        daemon.wait_for_log("SystemExit: 3", 2)
        self.assertEqual(daemon.stop(), 0)

    def test_a_handler_that_stops_the_service_has_its_reply(self):
        for request in ((b"FLUSH\n",), (b"FLU", b"SH\n")):
            daemon = self.application(flush=("stop", None))
            client = self.connect()
            for part in request:
                client.sendall(part)
            self.assertEqual(read_all(client), b'{"flushed": []}\n')
            self.assertEqual(daemon.stop(), 0)

    def test_a_command_under_way_is_answered_before_the_daemon_stops(self):
        daemon = self.application(flush=("slow", 0.5))
        client = self.connect()
        client.sendall(b"FLUSH mail\n")
        daemon.wait_for_log("flush begins")
        daemon.send(signal.SIGTERM)
        self.assertEqual(json.loads(read_all(client)), {"flushed": ["mail"]})
        self.assertEqual(daemon.wait(), 0)

    def test_an_own_command_is_like_one_that_is_built_in(self):
        daemon = self.application()
        for request, answer in (
            (b"FLUSH\n", b'{"flushed": []}\n'),
            (b" flush \t mail \r\nPAUSE\n", b'{"flushed": ["mail"]}\n'),
            ("FLUSH pöst\n".encode(), '{"flushed": ["pöst"]}\n'.encode()),
            (b"FLUSH".ljust(512, b" ") + b"\n", b'{"flushed": []}\n'),
            (b"FLUSH".ljust(513, b" ") + b"\n", TOO_LONG),
            (b"FLUSH \xff\n", b"ERR: FLUSH [QUEUE]: the argument is not UTF-8\n"),
        ):
            self.assertEqual(self.ask(request), answer)
        self.assertEqual(
            json.loads(self.ask(b"HELP\n"))["FLUSH [QUEUE]"], "drop what waits in a queue"
        )
        daemon.wait_for_log(r"FLUSH mail by uid \d+, pid \d+: OK")

    def test_a_late_outcome_of_an_own_command_is_logged(self):
        daemon = self.application({"handler_timeout": 0.3}, flush=("slow", 0.6))
        self.assertEqual(self.ask(b"FLUSH\n"), b"ERR: FLUSH is not done after 0.3 seconds\n")
        daemon.wait_for_log(r"FLUSH by uid \d+, pid \d+: OK \(late\)")


class HandlerWithoutLaneTests(WithoutLane, HandlerTests):
    """The same handlers, without the fast path."""
