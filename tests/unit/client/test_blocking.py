"""The blocking client, against listeners that misbehave and the real daemon."""

from __future__ import annotations

import errno
import os
import pickle
import socket
import threading
import time

from palingenesis.client import blocking
from palingenesis.client.blocking import ControlClient, Deadline, converse
from palingenesis.client.errors import (
    ClientError,
    ErrorReply,
    InvalidReply,
    NoDirectory,
    NoSocket,
    NotASocket,
    NotRunning,
    PermissionDenied,
    SocketPathError,
    StaleSocket,
    TimedOut,
    connect_error,
)
from palingenesis.client.exchange import Exchange
from palingenesis.locate import Location
from palingenesis.wire import REPLY_LIMIT, Command, DaemonStatus
from palingenesis.words import DaemonWord
from tests.support.clients import BlockingClientTestCase
from tests.support.impostors import (
    STATUS_LINE,
    TREATMENTS,
    answer,
    by_command,
    fill_backlog,
    never_end,
)
from tests.support.needs import needs_linux
from tests.support.patience import PATIENCE
from tests.support.sockets import leave_stale, listen_at


class AnswerTests(BlockingClientTestCase):
    def test_a_status_is_a_value(self) -> None:
        self.listen(answer(STATUS_LINE))
        self.assertEqual(
            self.client().status(),
            DaemonStatus(DaemonWord.PAUSED, 93784, "build é", 1, 2, {"queue": [1, "two"]}),
        )

    def test_the_line_of_a_status_is_as_it_came(self) -> None:
        self.listen(answer(STATUS_LINE))
        self.assertEqual(self.client().status_line(), STATUS_LINE)

    def test_each_action_sends_its_command(self) -> None:
        self.listen(by_command({b"PAUSE\n": b"OK\n", b"RESUME\n": b"OK\n", b"RELOAD\n": b"OK\n"}))
        calls = self.client()
        self.assertIsNone(calls.pause())
        self.assertIsNone(calls.resume())
        self.assertIsNone(calls.reload())

    def test_the_longest_status_is_read_whole(self) -> None:
        start = b'{"state":"paused","uptime_secs":1,"current_session":null,"saves_count":1,'
        start += b'"total_resumes":2,"long":"'
        line = start + b"x" * (REPLY_LIMIT - len(start) - 3) + b'"}\n'
        self.listen(answer(line))
        self.assertEqual(self.client().status_line(), line)

    def test_what_follows_the_first_line_is_nothing(self) -> None:
        self.listen(answer(b"OK\nERR: no\n"))
        self.client().pause()

    def test_a_reply_is_read_though_the_command_could_not_be_sent(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX)
        with ours:
            with theirs:
                theirs.sendall(b"ERR: Too many connections\n")
            exchange = Exchange(self.client().location, "PAUSE")
            converse(ours, exchange, Deadline(PATIENCE))
        error = self.assertRaises(ErrorReply, exchange.done)
        self.assertEqual(error.message, "Too many connections")

    def test_a_reply_is_read_though_the_connection_was_reset(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX)
        with ours:
            with theirs:
                ours.sendall(b"unread")
                theirs.sendall(b"half an ans")
            exchange = Exchange(self.client().location, "PAUSE")
            converse(ours, exchange, Deadline(PATIENCE))
        error = self.assertRaises(InvalidReply, exchange.done)
        self.assertEqual(error.received, b"half an ans")


class BadAnswerTests(BlockingClientTestCase):
    def test_an_error_tells_how_long_it_waited(self) -> None:
        self.listen(TREATMENTS["says nothing"][0])
        error = self.assertRaises(TimedOut, self.client(0.2).status)
        self.assertEqual(error.timeout, 0.2)
        self.assertIn("waited 0.2 s", str(error))

    def test_a_refusal_has_the_daemons_message(self) -> None:
        self.listen(answer("ERR: not \x1b[31mtoday é\n".encode()))
        error = self.assertRaises(ErrorReply, self.client().reload)
        self.assertEqual((error.command, error.message), (Command.RELOAD, r"not \x1b[31mtoday é"))
        self.assertIn("error reply to RELOAD", str(error))

    def test_what_was_not_understood_is_kept(self) -> None:
        self.listen(answer(b"what?\n"))
        error = self.assertRaises(InvalidReply, self.client().status)
        self.assertEqual(error.received, b"what?\n")
        self.assertIn("it sent 'what?'", str(error))

    def test_no_more_than_the_limit_is_read(self) -> None:
        self.listen(never_end)
        error = self.assertRaises(InvalidReply, self.client().status)
        self.assertEqual(len(error.received), REPLY_LIMIT)

    def test_every_error_survives_pickling(self) -> None:
        for error in (
            NoSocket("/p", "reason", "advice"),
            PermissionDenied("/p", "reason", "advice", 7),
            TimedOut("/p", 5.0),
            TimedOut("/p", 5.0, "PAUSE", "advice"),
            ErrorReply("/p", Command.PAUSE, "no"),
            InvalidReply("/p", b"\xff\n"),
        ):
            copy = pickle.loads(pickle.dumps(error))
            self.assertEqual(vars(copy), vars(error))
            self.assertEqual(str(copy), str(error))


class NotRunningTests(BlockingClientTestCase):
    def test_a_missing_directory_is_told(self) -> None:
        path = self.place.path("none", "p.sock")
        error = self.assertRaises(NoDirectory, ControlClient(path).status)
        self.assertIn(f"the directory {self.place.path('none')} does not exist", str(error))

    def test_a_directory_that_is_a_file_counts_as_missing(self) -> None:
        path = os.path.join(self.place.write("file", ""), "p.sock")
        self.assertRaises(NoDirectory, ControlClient(path).status)

    def test_a_missing_socket_is_told(self) -> None:
        error = self.assertRaises(NoSocket, self.client().status)
        self.assertIn("there is no socket; start the daemon", str(error))

    def test_a_symbolic_link_to_nothing_is_no_socket(self) -> None:
        os.symlink(self.place.path("nothing"), self.path)
        self.assertRaises(NoSocket, self.client().status)

    def test_a_stale_socket_is_told(self) -> None:
        leave_stale(self.path)
        error = self.assertRaises(StaleSocket, self.client().status)
        self.assertIn("its socket is stale", str(error))

    def test_a_stale_socket_that_is_just_being_removed_is_no_socket(self) -> None:
        asked = Location(self.path, "--socket")
        self.assertIsInstance(connect_error(asked, errno.ECONNREFUSED), NoSocket)

    def test_a_file_in_the_sockets_place_is_not_stale(self) -> None:
        path = self.place.write("file", "")
        error = self.assertRaises(NotASocket, ControlClient(path).status)
        self.assertIn("that is a file, not a socket", str(error))

    def test_a_directory_in_the_sockets_place_is_not_stale(self) -> None:
        error = self.assertRaises(NotASocket, ControlClient(self.place.runtime).status)
        self.assertIn("that is a directory", str(error))

    def test_each_kind_is_not_running(self) -> None:
        for kind in (NoDirectory, NoSocket, NotASocket, StaleSocket):
            self.assertTrue(issubclass(kind, NotRunning))
            self.assertTrue(issubclass(kind, ClientError))

    def test_the_socket_of_something_else_is_told(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
            other.bind(self.path)
            error = self.assertRaises(ClientError, self.client().status)
        self.assertNotIsInstance(error, NotRunning)
        self.assertIn("wrong type", str(error))


@needs_linux("a full backlog makes a client wait on Linux alone")
class BacklogTests(BlockingClientTestCase):
    """On Linux, connecting to a full backlog waits; elsewhere it is refused."""

    def setUp(self) -> None:
        super().setUp()
        self.listening = listen_at(self.path, backlog=0)
        self.addCleanup(self.listening.close)
        for connection in fill_backlog(self.path):
            self.addCleanup(connection.close)

    def test_a_full_backlog_times_out(self) -> None:
        self.assertRaises(TimedOut, self.client(0.2).status)

    def test_a_backlog_that_empties_is_waited_for(self) -> None:
        def serve() -> None:
            while True:
                try:
                    connection, _ = self.listening.accept()
                except OSError:
                    return
                with connection:
                    # Those that filled the backlog sent nothing, and may be closed unread.
                    connection.sendall(STATUS_LINE)

        serving = threading.Thread(target=serve, daemon=True)
        sleep = time.sleep

        def begin_to_serve(seconds: float) -> None:
            if not serving.is_alive():
                serving.start()
            sleep(seconds)

        self.patch(blocking.time, "sleep", begin_to_serve)
        self.assertEqual(self.client().status_line(), STATUS_LINE)
        self.assertTrue(serving.is_alive(), "the backlog was not full")
        self.listening.shutdown(socket.SHUT_RDWR)
        serving.join(PATIENCE)


class LocationTests(BlockingClientTestCase):
    def test_without_a_path_it_is_looked_for(self) -> None:
        self.patch(os, "environ", self.place.environment())
        self.assertEqual(ControlClient().path, self.path)

    def test_a_path_object_will_do(self) -> None:
        class AsPath:
            def __fspath__(self) -> str:
                return "/run/p.sock"

        self.assertEqual(ControlClient(AsPath()).path, "/run/p.sock")

    def test_a_path_that_is_too_long_is_told(self) -> None:
        error = self.assertRaises(SocketPathError, ControlClient, "/" + "x" * 200)
        self.assertIn("too long for a Unix socket", str(error))

    def test_a_broken_configuration_is_told(self) -> None:
        os.makedirs(self.place.path(".config", "palingenesis"))
        self.place.write(".config/palingenesis/config.toml", "socket = 3")
        self.patch(os, "environ", self.place.environment())
        error = self.assertRaises(SocketPathError, ControlClient)
        self.assertRegex(str(error), r"config\.toml: socket: .*path, not 3")

    def test_a_timeout_that_cannot_be_waited_for_is_a_mistake(self) -> None:
        for timeout in (0, -1, float("inf"), float("nan"), 1e9):
            self.assertRaises(ValueError, ControlClient, "/p", timeout)
