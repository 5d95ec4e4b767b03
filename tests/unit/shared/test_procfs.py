"""Who is at the other end of a socket."""

from __future__ import annotations

import errno
import io
import os
import socket
import struct
import sys
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from palingenesis import procfs
from palingenesis.procfs import (
    Credentials,
    arguments_of,
    client_in_words,
    command_of,
    directory_of,
    environment_of,
    has_ended,
    is_stopped,
    parse_stat,
    peer_credentials,
    process_stat,
    user_in_words,
)
from tests.support.darwin import FakeConnection, FakeProcess, SimulatedMacTestCase
from tests.support.needs import needs_linux


class CredentialsTests(SynchronousTestCase):
    def pair(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        self.addCleanup(theirs.close)
        return ours

    def test_the_kernel_tells_who_connected(self) -> None:
        self.assertEqual(
            peer_credentials(self.pair()), Credentials(os.getpid(), os.geteuid(), os.getegid())
        )

    def test_of_a_socket_that_is_no_unix_socket_nothing_is_known(self) -> None:
        listening = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listening.close)
        client = socket.create_connection(listening.getsockname())
        self.addCleanup(client.close)
        accepted, _ = listening.accept()
        self.addCleanup(accepted.close)
        self.assertIsNone(peer_credentials(accepted))

    def test_a_process_that_the_kernel_does_not_name_has_no_pid_in_words(self) -> None:
        told = [
            client_in_words(peer) for peer in (Credentials(7, 1000, 1000), Credentials(0, 0, -1))
        ]
        self.assertEqual(told, ["uid 1000, pid 7", "uid 0"])

    def test_of_a_closed_socket_nothing_is_known(self) -> None:
        ours = self.pair()
        ours.close()
        self.assertIsNone(peer_credentials(ours))

    def test_the_directory_is_where_a_process_is(self) -> None:
        self.assertEqual(directory_of(os.getpid()), os.getcwd())

    @needs_linux("macOS is asked by LOCAL_PEERCRED, see MacTests")
    def test_other_systems_do_not_tell(self) -> None:
        self.patch(procfs, "_SO_PEERCRED", None)
        self.assertIsNone(peer_credentials(self.pair()))

    @needs_linux("macOS is asked by LOCAL_PEERCRED, see MacTests")
    def test_the_last_uid_before_nobody_s_is_somebody(self) -> None:
        class Other:
            def getsockopt(self, *_: int) -> bytes:
                return (7).to_bytes(4, sys.byteorder) + b"\xfe\xff\xff\xff" + b"\xff\xff\xff\xff"

        self.patch(procfs, "_SO_PEERCRED", 17)
        self.assertEqual(peer_credentials(Other()), Credentials(7, 0xFFFFFFFE, 0xFFFFFFFF))

    def test_credentials_read_as_the_process_and_its_command(self) -> None:
        self.assertEqual(
            str(Credentials(os.getpid(), 1000, 1000)),
            f"pid {os.getpid()} ({command_of(os.getpid())}), uid 1000",
        )

    def test_a_process_that_is_gone_has_no_command(self) -> None:
        gone = 2**31 - 1
        self.assertEqual(
            str(Credentials(gone, 1000, 1000)), f"pid {gone} (command unknown), uid 1000"
        )

    def test_a_process_of_another_pid_namespace_is_in_another_container(self) -> None:
        self.assertEqual(
            str(Credentials(0, 1000, 1000)), "a process in another container, uid 1000"
        )


class CommandTests(SynchronousTestCase):
    def command(self, name: bytes) -> str | None:
        path = self.mktemp()
        with open(path, "wb") as file:
            file.write(name)
        procfs.open = lambda _, **how: open(path, **how)  # type: ignore[attr-defined]  # noqa: SIM115
        self.addCleanup(delattr, procfs, "open")
        return command_of(1)

    @needs_linux("it is read from /proc; macOS's kernel is asked in MacTests")
    def test_a_command_is_named(self) -> None:
        self.assertEqual(self.command(b"twistd\n"), "twistd")

    @needs_linux("it is read from /proc; macOS's kernel is asked in MacTests")
    def test_a_command_that_drives_a_terminal_is_escaped(self) -> None:
        self.assertEqual(self.command(b"\x1b[2J\n\xff)\n"), r"\x1b[2J\n\xff)")

    def test_a_process_that_is_not_there_has_none(self) -> None:
        self.assertIsNone(command_of(0))

    @needs_linux("it is read from /proc; macOS's kernel is asked in MacTests")
    def test_a_long_name_is_cut(self) -> None:
        self.assertEqual(self.command(b"x" * 100), "x" * 57 + "...")


@needs_linux("it is read from /proc; macOS's kernel is asked in MacTests")
class ProcessTests(SynchronousTestCase):
    def test_the_fields_begin_with_the_state(self) -> None:
        fields = process_stat(os.getpid())
        self.assertEqual(fields[0], b"R")
        self.assertEqual(fields[1], b"%d" % os.getppid())

    def test_a_command_may_have_any_name(self) -> None:
        fields = parse_stat(b"42 (a) b (c) S 1 42")
        self.assertEqual(fields, [b"a) b (c", b"S", b"1", b"42"])

    def test_half_a_command_has_no_fields(self) -> None:
        for content in (b"", b"42 (a", b"42 a) S 1 2", b")"):
            self.assertEqual(parse_stat(content), [], content)

    def test_the_arguments_are_those_it_was_started_with(self) -> None:
        self.assertEqual(arguments_of(os.getpid()), [os.fsdecode(word) for word in self.raw()])

    def raw(self) -> list[bytes]:
        with open("/proc/self/cmdline", "rb") as file:
            return file.read().split(b"\0")[:-1]

    def test_the_environment_is_the_one_it_was_started_with(self) -> None:
        found = environment_of(os.getpid())
        assert found is not None
        with open("/proc/self/environ", "rb") as file:
            names = {os.fsdecode(each.partition(b"=")[0]) for each in file.read().split(b"\0")}
        self.assertEqual(set(found), names - {""})
        self.assertIsNone(environment_of(2**31 - 1))

    def test_a_process_that_may_not_be_signalled_has_not_ended(self) -> None:
        def refuse(*_: int) -> None:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

        self.patch(os, "kill", refuse)
        self.assertFalse(has_ended(os.getpid()))

    def test_a_process_that_is_gone_has_none(self) -> None:
        self.assertEqual(process_stat(2**31 - 1), [])
        self.assertEqual(arguments_of(2**31 - 1), [])


class MacTests(SimulatedMacTestCase):
    """The same questions, on a simulated macOS."""

    def test_a_process_is_named(self) -> None:
        self.processes[42] = FakeProcess(comm=b"\x1bclaude")
        self.assertEqual(command_of(42), r"\x1bclaude")

    def test_a_process_that_is_gone_has_no_name_and_no_arguments(self) -> None:
        self.assertIsNone(command_of(42))
        self.assertEqual(arguments_of(42), [])
        self.assertIsNone(directory_of(42))
        self.assertFalse(is_stopped(42))

    def test_arguments_stay_apart(self) -> None:
        self.processes[42] = FakeProcess(arguments=(b"/a b/twistd", b"-n"))
        self.assertEqual(arguments_of(42), ["/a b/twistd", "-n"])

    def test_the_environment_is_the_one_it_was_started_with(self) -> None:
        self.processes[42] = FakeProcess(environment=(b"HOME=/Users/me", b"A=b=c"))
        self.assertEqual(environment_of(42), {"HOME": "/Users/me", "A": "b=c"})

    def test_an_environment_that_is_hidden_is_unknown(self) -> None:
        self.processes[42] = FakeProcess(environment=())
        self.processes[43] = FakeProcess(uid=os.geteuid() + 1)
        for pid in (42, 43, 44):
            self.assertIsNone(environment_of(pid))

    def test_a_zombie_has_ended(self) -> None:
        self.processes[os.getpid()] = FakeProcess(status=5)
        self.assertTrue(has_ended(os.getpid()))

    def test_a_living_process_has_not(self) -> None:
        self.processes[os.getpid()] = FakeProcess()
        self.assertFalse(has_ended(os.getpid()))

    def test_a_stopped_process_waits(self) -> None:
        self.processes[42] = FakeProcess(status=4)
        self.assertTrue(is_stopped(42))

    def test_the_directory_is_known(self) -> None:
        here = os.getcwd()
        self.processes[42] = FakeProcess(directory=here)
        self.assertEqual(directory_of(42), here)

    def test_a_peer_is_asked_at_the_level_of_local_sockets(self) -> None:
        connection: Any = FakeConnection(struct.pack("<IIhxx16I", 0, 501, 1, 20, *[0] * 15), 4242)
        self.assertEqual(peer_credentials(connection), Credentials(4242, 501, 20))

    def test_a_peer_that_has_closed_is_unknown(self) -> None:
        connection: Any = FakeConnection(None, None)
        self.assertIsNone(peer_credentials(connection))


class UserTests(SynchronousTestCase):
    """The number of a user, if a user namespace hides the real one."""

    outside = "uid 65534 (in this user namespace, any user from outside it)"

    def named(self, uid: int, *, overflow: str = "65534\n", uid_map: str | None) -> str:
        content = {"/proc/sys/kernel/overflowuid": overflow, "/proc/self/uid_map": uid_map}

        def open_copy(path: str, _mode: str) -> io.BytesIO:
            text = content[path]
            if text is None:
                raise FileNotFoundError(path)
            return io.BytesIO(text.encode())

        procfs.open = open_copy  # type: ignore[attr-defined]
        self.addCleanup(delattr, procfs, "open")
        return user_in_words(uid)

    def test_a_user_from_outside_the_namespace_is_explained(self) -> None:
        self.assertEqual(self.named(65534, uid_map="0 1000 1\n"), self.outside)

    def test_a_user_of_the_namespace_is_a_number(self) -> None:
        self.assertEqual(self.named(0, uid_map="0 1000 1\n"), "uid 0")

    def test_in_the_initial_namespace_nobody_is_a_number(self) -> None:
        self.assertEqual(self.named(65534, uid_map="  0   0 4294967295\n"), "uid 65534")

    def test_without_namespaces_nobody_is_a_number(self) -> None:
        self.assertEqual(self.named(65534, uid_map=None), "uid 65534")
