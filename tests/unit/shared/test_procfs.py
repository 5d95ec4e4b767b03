"""Who is at the other end of a socket."""

from __future__ import annotations

import os
import socket
import sys
from unittest import skipUnless

from twisted.trial.unittest import SynchronousTestCase

from palingenesis import procfs as peer
from palingenesis.procfs import Credentials, command_of, peer_credentials

on_linux = skipUnless(sys.platform == "linux", "only Linux tells")


class CredentialsTests(SynchronousTestCase):
    def pair(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        self.addCleanup(theirs.close)
        return ours

    @on_linux
    def test_the_kernel_tells_who_connected(self) -> None:
        self.assertEqual(
            peer_credentials(self.pair()), Credentials(os.getpid(), os.geteuid(), os.getegid())
        )

    @on_linux
    def test_of_a_socket_that_is_no_unix_socket_nothing_is_known(self) -> None:
        listening = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listening.close)
        client = socket.create_connection(listening.getsockname())
        self.addCleanup(client.close)
        accepted, _ = listening.accept()
        self.addCleanup(accepted.close)
        self.assertIsNone(peer_credentials(accepted))

    def test_of_a_closed_socket_nothing_is_known(self) -> None:
        ours = self.pair()
        ours.close()
        self.assertIsNone(peer_credentials(ours))

    def test_other_systems_do_not_tell(self) -> None:
        self.patch(peer, "_SO_PEERCRED", None)
        self.assertIsNone(peer_credentials(self.pair()))

    def test_the_last_uid_before_nobody_s_is_somebody(self) -> None:
        class Other:
            def getsockopt(self, *_: int) -> bytes:
                return (7).to_bytes(4, sys.byteorder) + b"\xfe\xff\xff\xff" + b"\xff\xff\xff\xff"

        self.patch(peer, "_SO_PEERCRED", 17)
        self.assertEqual(peer_credentials(Other()), Credentials(7, 0xFFFFFFFE, 0xFFFFFFFF))

    @on_linux
    def test_they_read_as_the_process_and_its_command(self) -> None:
        self.assertEqual(
            str(Credentials(os.getpid(), 1000, 1000)),
            f"pid {os.getpid()} ({command_of(os.getpid())}), uid 1000",
        )

    def test_a_process_that_is_gone_has_no_command(self) -> None:
        self.assertEqual(str(Credentials(0, 1000, 1000)), "pid 0 (command unknown), uid 1000")


class CommandTests(SynchronousTestCase):
    def command(self, name: bytes) -> str | None:
        path = self.mktemp()
        with open(path, "wb") as file:
            file.write(name)
        peer.open = lambda _, **how: open(path, **how)  # type: ignore[attr-defined]  # noqa: SIM115
        self.addCleanup(delattr, peer, "open")
        return command_of(1)

    def test_a_command_is_named(self) -> None:
        self.assertEqual(self.command(b"twistd\n"), "twistd")

    def test_a_command_that_drives_a_terminal_is_escaped(self) -> None:
        self.assertEqual(self.command(b"\x1b[2J\n\xff)\n"), r"\x1b[2J\n\xff)")

    def test_a_process_that_is_not_there_has_none(self) -> None:
        self.assertIsNone(command_of(0))
