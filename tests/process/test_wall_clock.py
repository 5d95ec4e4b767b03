"""The daemon under a wall clock that somebody sets, libfaketime(3)."""

from __future__ import annotations

import glob
import os
import socket

from tests.support.cases import ProcessTestCase
from tests.support.patience import PATIENCE
from tests.support.processes import Process
from tests.support.sockets import read_all

LIBRARIES = glob.glob("/usr/lib/*/faketime/libfaketime.so.1")


class WallClockTests(ProcessTestCase):
    """Deadlines and checks go by the monotonic clock."""

    if not LIBRARIES:
        skip = "needs Debian's faketime"

    def daemon(self, timeout: float, reactor: str = "default") -> Process:
        self.set_clock("+0")
        self.place.write("c.toml", f"timeout = {timeout}")
        return self.place.daemon(
            "--config",
            self.place.path("c.toml"),
            before=("-n", f"--reactor={reactor}"),
            environment={
                "LD_PRELOAD": LIBRARIES[0],
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
                "FAKETIME_NO_CACHE": "1",
                "FAKETIME_TIMESTAMP_FILE": self.place.path("clock"),
            },
        )

    def accepted(self) -> socket.socket:
        """Connect, and see that the daemon knows of it: clients are accepted in turn."""
        connection = self.connect()
        self.assert_serves()
        return connection

    def set_clock(self, offset: str) -> None:
        self.place.write("clock", f"{offset}\n")

    def test_a_clock_that_is_set_back_holds_up_no_deadline(self) -> None:
        for reactor in "default", "select", "asyncio":
            with self.subTest(reactor=reactor):
                daemon = self.daemon(timeout=1, reactor=reactor)
                connection = self.accepted()
                self.set_clock("-3600")
                self.assertEqual(read_all(connection), b"ERR: Connection timeout\n")
                self.assertEqual(daemon.stop(), 0)

    def test_a_socket_that_is_deleted_under_a_clock_that_was_set_back_is_bound_anew(self) -> None:
        daemon = self.daemon(timeout=PATIENCE)
        self.set_clock("-3600")
        os.unlink(self.place.socket)
        daemon.wait_for_log("was deleted: bound it anew")
        self.assert_serves()

    def test_a_clock_that_is_set_forward_cuts_nobody_off(self) -> None:
        daemon = self.daemon(timeout=PATIENCE)
        connection = self.accepted()
        self.set_clock("+3600")
        self.assert_serves()
        connection.sendall(b"STATUS\n")
        self.assertTrue(read_all(connection).endswith(b"}\n"))
        self.assertTrue(daemon.running)
