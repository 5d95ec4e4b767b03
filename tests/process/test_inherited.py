"""Sockets that an init system hands to the real daemon."""

from __future__ import annotations

import os
import shutil
import signal

from tests.support.activation import INHERITED, activated_twistd
from tests.support.cases import ProcessTestCase
from tests.support.patience import wait_until
from tests.support.processes import Process, twistd_command, wait_for_end
from tests.support.sockets import (
    ask,
    identity,
    listen_at,
    read_all,
)


class InheritedTests(ProcessTestCase):
    """A socket that was bound by somebody else, who goes on to own it."""

    def setUp(self) -> None:
        super().setUp()
        self.listening = listen_at(self.place.socket, backlog=64)
        self.addCleanup(self.listening.close)
        os.chmod(self.place.socket, 0o640)
        self.before = identity(self.place.socket)

    def inheriting(self, *before: str) -> Process:
        number = self.listening.fileno()
        return self.place.twistd(
            INHERITED,
            before=before,
            program=activated_twistd(number),
            pass_fds=(number,),
        )

    def test_an_inherited_socket_is_served_and_left_as_it_was(self):
        daemon = self.inheriting("-n")
        daemon.wait_for_log("Listening on")
        for _ in range(3):
            self.assert_serves()
        self.assertEqual(daemon.stop(), 0)
        self.assert_no_traceback(daemon)
        self.assertEqual(identity(self.place.socket), self.before)
        self.assertEqual(self.place.leftovers, ["run", "run/palingenesis.sock"])

    def test_an_inherited_socket_accepts_for_whoever_inherits_it_next(self):
        first = self.inheriting("-n")
        first.wait_for_log("Listening on")
        self.assertEqual(first.stop(), 0)
        waiting = self.connect()
        waiting.sendall(b"STATUS\n")
        self.inheriting("-n").wait_for_log("Listening on")
        self.assertTrue(read_all(waiting).startswith(b'{"state": '))
        self.assert_serves()

    def test_an_inherited_socket_is_served_by_a_daemonised_process(self):
        started = self.inheriting()
        self.assertEqual(started.wait(), 0, started.stderr)
        self.assert_serves()
        with open(self.place.pidfile, encoding="ascii") as file:
            pid = int(file.read())
        os.kill(pid, signal.SIGTERM)
        wait_for_end(pid)
        self.assertEqual(identity(self.place.socket), self.before)

    def test_a_killed_daemon_leaves_it_as_it_was(self):
        daemon = self.inheriting("-n")
        daemon.wait_for_log("Listening on")
        daemon.kill()
        os.unlink(self.place.pidfile)
        self.inheriting("-n").wait_for_log("Listening on")
        self.assert_serves()
        self.assertEqual(identity(self.place.socket), self.before)

    def test_a_socket_that_was_meant_for_another_process_is_refused(self):
        # sd_listen_fds(3): the variables are inherited further than they are meant.
        number = self.listening.fileno()
        refused = self.place.twistd(
            INHERITED,
            program=activated_twistd(number, "parent"),
            pass_fds=(number,),
        )
        self.assert_refused(refused, INHERITED.partition("=")[2])

    def test_systemd_itself_activates_it(self):
        activate = shutil.which("systemd-socket-activate")
        if activate is None:
            self.skipTest("needs systemd-socket-activate(1)")
        path = os.path.join(self.place.runtime, "activated.sock")
        daemon = self.place.twistd(
            INHERITED, program=[activate, "--listen", path, "--fdname=control", *twistd_command()]
        )
        wait_until(lambda: os.path.lexists(path), "systemd has made the socket")
        self.assertIn(b'"state"', wait_until(lambda: self.try_to_ask(path), "it listens"))
        self.assertEqual(daemon.stop(), 0)
        self.assertTrue(os.path.lexists(path))

    def try_to_ask(self, path: str) -> bytes:
        try:
            return ask(path)
        except ConnectionRefusedError:
            return b""
