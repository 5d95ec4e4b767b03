"""What the process gets that waits for the daemon to start."""

from __future__ import annotations

import os
import socket

from twisted.internet.defer import fail
from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from palingenesis.daemon.starter import Starter, take_starter
from palingenesis.starting import INTERRUPT, STARTER_VARIABLE


class StarterTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.start, theirs = socket.socketpair()
        self.addCleanup(self.start.close)
        self.start.settimeout(0)
        self.environment = {STARTER_VARIABLE: str(theirs.detach()), "HOME": "/"}
        self.starter = take_starter(self.environment)
        self.addCleanup(self.starter.close)

    def received(self) -> bytes:
        return self.start.recv(4096)

    def test_a_daemon_that_serves_reports_its_pid_and_hangs_up(self) -> None:
        self.assertTrue(self.starter.ready())
        self.assertEqual(self.received(), f"READY={os.getpid()}\n".encode())
        self.assertEqual(self.received(), b"")

    def test_a_reason_is_one_printable_line(self) -> None:
        self.starter.fail("there is\na directory")
        self.assertEqual(self.received(), b"FAILED=there is\\na directory\n")
        self.assertEqual(self.received(), b"")

    def test_an_interrupted_start_is_not_told_that_the_daemon_serves(self) -> None:
        self.start.send(INTERRUPT)
        self.assertFalse(self.starter.ready())
        # It waits for the end of the process.
        self.assertRaises(BlockingIOError, self.received)

    def test_errors_in_the_log_are_sent_until_the_daemon_serves(self) -> None:
        Logger().error("out of {what}", what="luck")
        self.assertEqual(self.received(), b"ERROR=out of luck\n")
        fail(RuntimeError("out of memory")).addErrback(
            lambda failure: Logger().failure("unhandled", failure)
        )
        self.assertEqual(self.received(), b"ERROR=RuntimeError: out of memory\n")
        self.flushLoggedErrors(RuntimeError)
        self.starter.ready()
        self.received()
        Logger().error("later")
        self.assertEqual(self.received(), b"")

    def test_a_start_that_no_longer_waits_does_not_matter(self) -> None:
        self.start.close()
        self.starter.warn("careful")
        self.assertTrue(self.starter.ready())

    def test_an_agent_inherits_neither_the_variable_nor_the_socket(self) -> None:
        self.assertEqual(self.environment, {"HOME": "/"})
        assert self.starter._connection is not None
        self.assertFalse(self.starter._connection.get_inheritable())


class NoStarterTests(SynchronousTestCase):
    def test_a_variable_that_names_no_socket_is_dropped(self) -> None:
        with open(os.devnull, "rb") as file:
            for value in ("", "x", "-1", "99999999", str(file.fileno())):
                environment = {STARTER_VARIABLE: value}
                starter = take_starter(environment)
                self.addCleanup(starter.close)
                self.assertFalse(starter)
                self.assertEqual(environment, {})

    def test_without_one_a_daemon_serves_all_the_same(self) -> None:
        starter = Starter(None)
        self.assertFalse(starter.interrupted)
        self.assertTrue(starter.ready())
