"""Whose process is at the other end of a real loopback connection."""

from __future__ import annotations

import errno
import os
import socket

from twisted.trial.unittest import SynchronousTestCase

from palingenesis.web import owner
from palingenesis.web.owner import OwnerUnknown, owner_of
from tests.support.needs import needs_linux


class ConnectionTestCase(SynchronousTestCase):
    def connect(self, family: int, host: str, to: str | None = None) -> None:
        listening = socket.create_server((host, 0), family=family)
        self.addCleanup(listening.close)
        port = listening.getsockname()[1]
        client_family = socket.AF_INET6 if to and ":" in to else family
        self.client = socket.socket(client_family)
        self.addCleanup(self.client.close)
        self.client.connect((to or host, port))
        self.accepted, _ = listening.accept()
        self.addCleanup(self.accepted.close)

    def owner(self) -> int:
        # As Twisted tells them: the address and the port.
        client, server = self.accepted.getpeername(), self.accepted.getsockname()
        return owner_of(client[:2], server[:2])


class OwnerMixin(ConnectionTestCase):
    """What holds however the kernel is asked."""

    def test_a_connection_of_ours_is_known_over_ipv4(self) -> None:
        self.connect(socket.AF_INET, "127.0.0.1")
        self.assertEqual(self.owner(), os.geteuid())

    def test_a_connection_of_ours_is_known_over_ipv6(self) -> None:
        try:
            self.connect(socket.AF_INET6, "::1")
        except OSError as error:
            self.skipTest(f"no IPv6 here: {error}")
        self.assertEqual(self.owner(), os.geteuid())

    def test_a_connection_of_ours_is_known_over_ipv4_from_a_socket_of_ipv6(self) -> None:
        try:
            self.connect(socket.AF_INET, "127.0.0.1", "::ffff:127.0.0.1")
        except OSError as error:
            self.skipTest(f"no IPv6 here: {error}")
        self.assertEqual(self.owner(), os.geteuid())

    def test_a_connection_of_ours_is_known_after_a_half_close(self) -> None:
        self.connect(socket.AF_INET, "127.0.0.1")
        self.client.shutdown(socket.SHUT_WR)
        self.assertEqual(self.owner(), os.geteuid())

    def test_a_closed_end_is_nobody_s_and_not_root_s(self) -> None:
        self.connect(socket.AF_INET, "127.0.0.1")
        self.client.close()
        self.assertRaises(OwnerUnknown, self.owner)

    def test_the_server_s_own_end_is_not_mistaken_for_the_client_s(self) -> None:
        self.connect(socket.AF_INET, "127.0.0.1")
        client, server = self.accepted.getpeername(), self.accepted.getsockname()
        self.assertRaises(OwnerUnknown, owner_of, (client[0], 1), server)


@needs_linux("macOS does not tell whose a TCP connection is")
class OneConnectionTests(OwnerMixin):
    """The kernel is asked for one connection, and no table is read."""

    def setUp(self) -> None:
        self.patch(owner, "_look_up", self.fail)


@needs_linux("macOS does not tell whose a TCP connection is")
class TablesTests(OwnerMixin):
    """The kernel cannot be asked for one connection, so its tables are read."""

    def setUp(self) -> None:
        def refuse(*_: object) -> None:
            raise OSError(errno.EPROTONOSUPPORT, "no sock_diag")

        self.patch(owner, "_ask", refuse)

    def test_a_row_of_a_connection_that_is_being_made_does_not_count(self) -> None:
        table = self.mktemp()
        row = "0: 0100007F:0FA0 0100007F:1DE6 {} 00:0 00:0 0 {} 0 {} 1 0"
        self.patch(owner, "_TABLES", (table,))

        def told(state: str, uid: int, inode: int) -> int:
            with open(table, "w", encoding="ascii") as file:
                file.write(f"header\n{row.format(state, uid, inode)}\n")
            return owner_of(("127.0.0.1", 4000), ("127.0.0.1", 7654))

        self.assertEqual(told("01", 1000, 7), 1000)
        self.assertRaises(OwnerUnknown, told, "02", 1000, 7)
        self.assertRaises(OwnerUnknown, told, "01", 0, 0)
        self.assertRaises(OwnerUnknown, told, "06", 0, 0)


@needs_linux("macOS does not tell whose a TCP connection is")
class ModuleTests(OwnerMixin):
    """The kernel lacks the module that would tell, and finds no connection at all."""

    def setUp(self) -> None:
        self.patch(owner, "_ask", lambda *_: None)


del OwnerMixin
