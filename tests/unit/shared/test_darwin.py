"""
What macOS's kernel is asked, on a simulated platform: none of these tests runs on a Mac.

The structures come from xnu's headers, the samples from public sources, and libSystem is a
table of processes in `tests.support.darwin`.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import shutil
import signal
import socket
import struct
import tempfile
import unicodedata
from typing import Any
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from palingenesis import darwin
from palingenesis.darwin import (
    ClientSocket,
    Kernel,
    KqueueProcess,
    OpenFile,
    file_system,
    is_locked,
    parse_arguments,
    peer,
    same_name,
    same_start,
    sync,
)
from tests.support import darwin as simulated
from tests.support.darwin import FakeConnection, FakeLibrary, FakeProcess, command_line

#: Nobody of these tests.
OTHER = os.geteuid() + 1
LISTENING = 2


class LayoutTests(SynchronousTestCase):
    """The formats of the module, beside the structures that the headers declare."""

    def offset(self, structure: Any, *names: str) -> int:
        at = 0
        for name in names:
            at += getattr(structure, name).offset
            structure = dict(structure._fields_)[name]
        return at

    def test_each_format_has_the_size_of_its_structure(self) -> None:
        for layout, structure in (
            (darwin._BSDINFO, simulated.BsdInfo),
            (darwin._SHORTINFO, simulated.ShortInfo),
            (darwin._VNODE_PATH, simulated.VnodeInfoPath),
            (darwin._FILEINFO, simulated.FileInfo),
            (darwin._FDINFO, simulated.FdInfo),
            (darwin._SOCKET, simulated.SocketFdInfo),
            (darwin._STATFS, simulated.StatFs),
            (darwin._XUCRED, simulated.XUCred),
            (darwin._FLOCK, simulated.FLock),
        ):
            self.assertEqual(layout.size, ctypes.sizeof(structure), structure)

    def test_the_sizes_are_those_of_the_headers(self) -> None:
        """As libc's bindings for Rust and psutil assert them on real Macs."""
        sizes = [
            ctypes.sizeof(structure)
            for structure in (
                *(simulated.BsdInfo, simulated.ShortInfo, simulated.VinfoStat),
                *(simulated.VnodePathInfo, simulated.VnodeFdInfo, simulated.SocketFdInfo),
                *(simulated.UnSockInfo, simulated.StatFs),
                *(simulated.XUCred, simulated.FLock, simulated.ExternProc, simulated.KInfoProc),
            )
        ]
        self.assertEqual(
            sizes, [136, 64, 136, 2352, 1200, 792, 528, 2168, 76, 24, 296, darwin._KINFO_SIZE]
        )

    def test_the_fields_of_credentials_and_of_a_file_system_are_where_the_headers_have_them(
        self,
    ) -> None:
        credentials = simulated.XUCred(cr_version=1, cr_uid=501, cr_ngroups=2)
        credentials.cr_groups[0], credentials.cr_groups[15] = 20, 12
        unpacked = darwin._XUCRED.unpack(bytes(credentials))
        self.assertEqual(unpacked, (1, 501, 2, 20, *[0] * 14, 12))
        mounted = simulated.StatFs(f_type=26, f_flags=0x1000, f_fssubtype=1, f_fstypename=b"apfs")
        self.assertEqual(darwin._STATFS.unpack(bytes(mounted)), (0x1000, b"apfs".ljust(16, b"\0")))
        lock = simulated.FLock(l_start=1, l_len=2, l_pid=-1, l_type=3, l_whence=1)
        self.assertEqual(darwin._FLOCK.unpack(bytes(lock)), (1, 2, -1, 3, 1))

    def test_the_socket_s_fields_are_where_the_header_has_them(self) -> None:
        self.assertEqual(self.offset(simulated.SocketFdInfo, "soi_options"), 24 + 164)
        self.assertEqual(self.offset(simulated.SocketFdInfo, "soi_kind"), 24 + 232)
        self.assertEqual(self.offset(simulated.SocketFdInfo, "pri_un", "unsi_addr"), 24 + 240 + 16)


class KernelTests(SynchronousTestCase):
    """A simulated table of processes."""

    def setUp(self) -> None:
        self.here = self.mktemp()
        os.mkdir(self.here)
        self.here = os.path.abspath(self.here)

    def kernel(self, **fields: Any) -> Kernel:
        return Kernel(FakeLibrary({0: FakeProcess(uid=0), 42: FakeProcess(**fields)}))

    def test_every_process_but_the_kernel_s_own_is_listed(self) -> None:
        processes = {pid: FakeProcess() for pid in range(3000)}
        self.assertEqual(Kernel(FakeLibrary(processes)).pids(), list(range(1, 3000)))

    def test_a_process_of_any_user_is_known_by_its_first_facts(self) -> None:
        found = self.kernel(uid=OTHER, comm=b"2.1.121").process(42)
        self.assertEqual(found, (42, 1, 42, OTHER, 20, "2.1.121", False, False))

    def test_a_living_process_has_not_ended(self) -> None:
        self.assertFalse(self.kernel().has_ended(42))

    def test_a_zombie_has_ended(self) -> None:
        self.assertTrue(self.kernel(status=5).has_ended(42))

    def test_a_stopped_process_is_known(self) -> None:
        self.assertTrue(self.kernel(status=4).process(42).stopped)

    def test_a_process_that_is_gone_has_ended(self) -> None:
        self.assertTrue(self.kernel().has_ended(43))

    def test_a_process_that_cannot_be_asked_has_not_ended(self) -> None:
        kernel = self.kernel()
        self.patch(kernel._library, "proc_pidinfo", lambda *_: 0)
        self.assertFalse(kernel.has_ended(42))

    def test_the_start_has_microseconds(self) -> None:
        self.assertEqual(self.kernel(started=(1789029118, 7)).started(42), 1789029118000007)

    def test_the_environment_is_apart_from_the_arguments(self) -> None:
        kernel = self.kernel(environment=(b"HOME=/Users/m\xe9", b"EMPTY="))
        self.assertEqual(kernel.environment(42), [os.fsdecode(b"HOME=/Users/m\xe9"), "EMPTY="])

    def test_the_kernel_s_own_strings_are_no_variables(self) -> None:
        """There may be no NUL of padding before them."""
        for length in range(8):
            variable = b"A=" + b"x" * length
            kernel = self.kernel(environment=(variable,))
            self.assertEqual(kernel.environment(42), [variable.decode()])

    def test_a_program_that_the_system_restricts_has_no_environment(self) -> None:
        self.assertEqual(self.kernel(environment=()).environment(42), [])

    def test_the_environment_of_another_user_s_process_is_denied(self) -> None:
        self.assertRaises(OSError, self.kernel(uid=OTHER).environment, 42)

    def test_the_start_of_another_user_s_process_is_known_too(self) -> None:
        kernel = self.kernel(uid=OTHER, started=(1789029118, 7))
        self.assertEqual(kernel.started(42), 1789029118000007)

    def test_another_user_s_process_that_ends_meanwhile_is_gone(self) -> None:
        kernel = self.kernel(uid=OTHER)
        self.patch(kernel._library, "sysctl", FakeLibrary({}).sysctl)
        self.assertRaises(ProcessLookupError, kernel.started, 42)

    def test_the_start_of_a_zombie_is_no_process_s(self) -> None:
        self.assertRaises(ProcessLookupError, self.kernel(status=5).started, 42)

    def test_the_directory_is_known_by_its_identity_and_not_by_its_name(self) -> None:
        link = f"{self.here}-link"
        os.symlink(self.here, link)
        found = self.kernel(directory=self.here).directory(42)
        self.assertEqual(found.path, self.here)
        self.assertTrue(found.is_file(os.stat(link)))
        self.assertFalse(found.is_file(os.stat("/")))

    def test_a_device_number_is_compared_by_its_32_bits(self) -> None:
        """CPython returns ``st_dev`` with a sign, the structure has none."""
        found = os.stat_result((0, 7, -2, 0, 0, 0, 0, 0, 0, 0))
        self.assertTrue(OpenFile("", 0xFFFFFFFE, 7, False).is_file(found))

    def test_a_directory_that_cannot_be_read_is_an_error(self) -> None:
        self.assertRaises(PermissionError, self.kernel(directory=None).directory, 42)

    def test_an_answer_of_another_size_is_an_error(self) -> None:
        """So a later macOS with another layout is never misread."""
        kernel = self.kernel()
        self.patch(kernel._library, "proc_pidinfo", lambda *_: 135)
        error = self.assertRaises(OSError, kernel.started, 42)
        self.assertIn("135 bytes and not 136", str(error))

    def test_the_program_is_found_where_it_is(self) -> None:
        path = "/Users/me/Äpp/versions/2.1.121".encode()
        self.assertEqual(self.kernel(program=path).program(42), os.fsdecode(path))

    def test_the_program_of_a_process_that_is_gone_is_an_error(self) -> None:
        self.assertRaises(ProcessLookupError, self.kernel().program, 43)

    def test_arguments_with_blanks_stay_apart(self) -> None:
        program = b"/Users/me/Library/Application Support/Claude/claude-code/2.1.121/claude"
        kernel = self.kernel(program=program, arguments=(program, b"-p", b"go on, please"))
        self.assertEqual(
            kernel.arguments(42),
            (os.fsdecode(program), [os.fsdecode(program), "-p", "go on, please"]),
        )

    def test_the_arguments_of_one_process_are_never_another_s(self) -> None:
        library = FakeLibrary(
            {1: FakeProcess(arguments=(b"claude", b"x" * 900)), 2: FakeProcess(arguments=(b"a",))}
        )
        kernel = Kernel(library)
        kernel.arguments(1)
        self.assertEqual(kernel.arguments(2)[1], ["a"])

    def test_the_arguments_of_another_user_s_process_are_denied(self) -> None:
        error = self.assertRaises(OSError, self.kernel(uid=OTHER).arguments, 42)
        self.assertEqual(error.errno, errno.EINVAL)

    def test_open_files_tell_whether_they_are_written(self) -> None:
        read, written = os.path.join(self.here, "read"), os.path.join(self.here, "written")
        for path in (read, written):
            with open(path, "wb"):
                pass
        found = self.kernel(files=((read, False), (written, True))).files(42)
        self.assertEqual([(file.path, file.written) for file in found], [(read, 0), (written, 1)])
        self.assertTrue(found[1].is_file(os.stat(written)))

    def test_a_file_closed_meanwhile_is_left_out(self) -> None:
        kernel = self.kernel(files=((self.here, False),))

        def closed(*_: Any) -> int:
            ctypes.set_errno(errno.EBADF)
            return 0

        self.patch(kernel._library, "proc_pidfdinfo", closed)
        self.assertEqual(kernel.files(42), [])

    def test_a_process_without_open_files_has_none(self) -> None:
        self.assertEqual(self.kernel().files(42), [])

    def test_more_files_than_the_first_buffer_has_room_for_are_found(self) -> None:
        self.assertEqual(len(self.kernel(files=((self.here, False),) * 500).files(42)), 500)


class ListenerTests(SynchronousTestCase):
    """Who listens at a path, on a simulated platform."""

    def setUp(self) -> None:
        # A socket's path is short, and trial's directory is not.
        self.directory = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.directory, True)
        self.path = os.path.join(self.directory, "c.sock")

    def found(self, name: str, options: int = LISTENING) -> int | None:
        process = FakeProcess(listens=((os.fsencode(name), options),))
        library = FakeLibrary({1: FakeProcess(uid=OTHER), 41: FakeProcess(), 42: process})
        listener = Kernel(library).listener(self.path)
        return listener and listener.pid

    def test_a_listener_is_found(self) -> None:
        self.assertEqual(self.found(self.path), 42)

    def test_a_listener_is_found_under_another_name_of_the_directory(self) -> None:
        """As ``/tmp`` is a link to ``/private/tmp``."""
        link = f"{self.directory}-link"
        os.symlink(self.directory, link)
        self.addCleanup(os.unlink, link)
        self.assertEqual(self.found(os.path.join(link, "c.sock")), 42)

    def test_a_listener_is_found_whose_directory_is_gone(self) -> None:
        os.rmdir(self.directory)
        self.assertEqual(self.found(self.path), 42)

    def test_our_own_process_is_left_out_of_the_listeners(self) -> None:
        """It may have a socket whose file was replaced, and take the path back."""
        process = FakeProcess(listens=((os.fsencode(self.path), LISTENING),))
        self.assertIsNone(Kernel(FakeLibrary({os.getpid(): process})).listener(self.path))

    def test_a_listener_elsewhere_is_none(self) -> None:
        self.assertIsNone(self.found(os.path.join(self.directory, "d.sock")))

    def test_an_accepted_connection_is_no_listener(self) -> None:
        self.assertIsNone(self.found(self.path, options=0))

    def test_a_path_of_104_bytes_needs_no_nul(self) -> None:
        name = "/" + "x" * 103
        self.path = name
        self.assertEqual(self.found(name), 42)

    def denied(self, *denied: int) -> Kernel:
        """Make a table of processes of which the open files of these cannot be listed."""
        library = FakeLibrary({41: FakeProcess(), 42: FakeProcess()})

        def deny(pid: int, flavour: int, *rest: Any) -> int:
            if flavour == 1 and pid in denied:
                ctypes.set_errno(errno.EPERM)
                return 0
            return FakeLibrary.proc_pidinfo(library, pid, flavour, *rest)

        self.patch(library, "proc_pidinfo", deny)
        return Kernel(library)

    def test_if_no_process_of_our_user_can_be_read_that_is_an_error(self) -> None:
        """As in a sandbox."""
        self.assertRaises(PermissionError, self.denied(41, 42).listener, self.path)

    def test_a_process_that_alone_cannot_be_read_is_no_daemon(self) -> None:
        self.assertIsNone(self.denied(42).listener(self.path))


class HolderTests(SynchronousTestCase):
    """Who has a locked file open, on a simulated platform."""

    def setUp(self) -> None:
        self.path = os.path.abspath(self.mktemp())
        with open(self.path, "wb"):
            pass
        processes = {41: FakeProcess(), 42: FakeProcess(files=((self.path, True),))}
        self.kernel = Kernel(FakeLibrary(processes))

    def test_a_process_that_has_a_locked_file_open_is_its_holder(self) -> None:
        self.patch(darwin, "is_locked", lambda _path: True)
        holder = self.kernel.holder(self.path)
        assert holder is not None
        self.assertEqual(holder.pid, 42)

    def test_of_several_that_have_it_open_none_is_named(self) -> None:
        """Such as of two starts at once: the one that fails looks at the lock file too."""
        self.patch(darwin, "is_locked", lambda _path: True)
        opened = FakeProcess(files=((self.path, True),))
        kernel = Kernel(FakeLibrary({42: opened, 43: opened}))
        self.assertIsNone(kernel.holder(self.path))

    def test_a_file_that_is_open_and_not_locked_has_none(self) -> None:
        self.patch(darwin, "is_locked", lambda _path: False)
        self.assertIsNone(self.kernel.holder(self.path))


class ArgumentsTests(SynchronousTestCase):
    """What ``KERN_PROCARGS2`` returns, byte by byte."""

    def test_the_padding_behind_the_path_is_no_argument(self) -> None:
        for length in range(1, 17):
            path = b"/" * length
            self.assertEqual(
                parse_arguments(command_line(path, (b"claude", b"", b"-p"), (b"A=b",))),
                (os.fsdecode(path), ["claude", "", "-p"]),
            )

    def test_the_environment_is_never_taken_for_arguments(self) -> None:
        self.assertEqual(parse_arguments(command_line(b"/x", (b"x",), (b"SECRET=1",)))[1], ["x"])

    def test_a_program_that_changed_its_title_has_empty_arguments_left(self) -> None:
        """As libuv's ``uv_set_process_title`` leaves them: the title, then NULs."""
        line = command_line(b"/opt/homebrew/bin/node", (b"claude", b"", b"", b""), (b"A=b",))
        self.assertEqual(parse_arguments(line)[1][0], "claude")

    def test_an_empty_first_argument_is_no_padding(self) -> None:
        """As of a program that has set an empty title: its environment is no argument."""
        for length in range(1, 17):
            line = command_line(b"/" * length, (b"", b"", b"-p"), (b"SECRET=1",))
            self.assertEqual(parse_arguments(line)[1], ["", "", "-p"], length)

    def test_a_program_that_hides_its_arguments_has_its_path_alone(self) -> None:
        """As ``sysctl_procargs_no_read`` of xnu answers, which pads by one NUL."""
        for path in (b"/x/program", b"/usr/libexec/x"):
            line = struct.pack("<i", 1) + path + b"\0\0" + path + b"\0"
            self.assertEqual(parse_arguments(line), (path.decode(), [path.decode()]))

    def test_names_that_are_no_utf_8_are_kept(self) -> None:
        _, words = parse_arguments(command_line(b"/x", (b"x", b"caf\xe9")))
        self.assertEqual(os.fsencode(words[1]), b"caf\xe9")

    def test_a_line_that_was_cut_is_an_error(self) -> None:
        whole = command_line(b"/x", (b"one", b"two"))
        self.assertRaises(OSError, parse_arguments, whole[:-2])

    def test_no_line_is_an_error(self) -> None:
        for data in (b"", b"\1\0\0\0", struct.pack("<i", -1) + b"/x\0x\0"):
            self.assertRaises(OSError, parse_arguments, data)


class NameTests(SynchronousTestCase):
    def test_composed_and_decomposed_letters_are_the_same(self) -> None:
        self.assertTrue(
            same_name("/Users/me/Größe", unicodedata.normalize("NFD", "/Users/me/Größe"))
        )

    def test_case_is_the_same(self) -> None:
        self.assertTrue(same_name("/Users/Me/Projekt", "/users/me/projekt"))

    def test_another_name_is_another(self) -> None:
        self.assertFalse(same_name("/Users/me/a", "/Users/me/b"))


class StartTests(SynchronousTestCase):
    """Dates that Claude Code's registry has had on Macs, beside its ``startedAt``."""

    def test_a_date_in_utc_is_the_start(self) -> None:
        self.assertTrue(same_start("Thu Sep 10 08:31:58 2026", 1789029118_400_000))
        self.assertTrue(same_start("Tue Aug 25 05:53:49 2026", 1787637229_000_000))

    def test_a_day_of_one_digit_may_be_padded(self) -> None:
        self.assertTrue(same_start("Tue Sep  1 00:00:00 2026", 1788220800_000_000))

    def test_a_date_in_another_zone_may_be_the_start(self) -> None:
        self.assertTrue(same_start("Thu Sep 10 14:16:58 2026", 1789029118_000_000))

    def test_a_date_some_seconds_away_is_another_process_s(self) -> None:
        self.assertFalse(same_start("Thu Sep 10 08:32:08 2026", 1789029118_000_000))

    def test_a_date_of_another_day_is_another_process_s(self) -> None:
        self.assertFalse(same_start("Wed Sep  9 08:31:58 2026", 1789029118_000_000))

    def test_what_is_no_date_may_be_any_process_s(self) -> None:
        self.assertTrue(same_start("174097251", 1789029118_000_000))


class PeerTests(SynchronousTestCase):
    """``LOCAL_PEERCRED`` and ``LOCAL_PEERPID``, on a simulated socket."""

    def xucred(self, version: int = 0, groups: int = 2) -> bytes:
        found = simulated.XUCred(cr_version=version, cr_uid=501, cr_ngroups=groups)
        found.cr_groups[:2] = 20, 12
        return bytes(found)

    def test_the_peer_is_known(self) -> None:
        connection: Any = FakeConnection(self.xucred(), 4242)
        self.assertEqual(peer(connection), (4242, 501, 20))

    def test_a_peer_that_has_closed_is_unknown(self) -> None:
        connection: Any = FakeConnection(self.xucred(), None)
        self.assertIsNone(peer(connection))

    def test_credentials_of_another_version_are_unknown(self) -> None:
        connection: Any = FakeConnection(self.xucred(version=1), 4242)
        self.assertIsNone(peer(connection))

    def test_a_socket_that_is_no_unix_socket_has_no_peer(self) -> None:
        listening = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listening.close)
        self.assertIsNone(peer(listening))


class ClientSocketTests(SynchronousTestCase):
    """A connection of macOS, here with the descriptors that Linux's recvmsg(2) installs."""

    def setUp(self) -> None:
        accepted, self.client = socket.socketpair()
        self.connection = ClientSocket(accepted)
        for each in (self.connection, self.client):
            self.addCleanup(each.close)

    def send(self, data: bytes, number: int) -> None:
        passed = struct.pack(f"<{number}i", *[self.client.fileno()] * number)
        self.client.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, passed)])

    def test_the_descriptors_that_a_client_passes_are_closed(self) -> None:
        for number in (1, 3, 253):  # No more fit into a message of Linux.
            before = os.listdir("/dev/fd")
            self.send(b"STATUS\n", number)
            self.assertEqual(self.connection.recv(100), b"STATUS\n")
            self.assertEqual(os.listdir("/dev/fd"), before)

    def test_no_more_is_read_than_asked_for_and_nothing_is_waited_for(self) -> None:
        self.client.sendall(b"PAUSE\n")
        self.assertEqual(self.connection.recv(3, socket.MSG_DONTWAIT), b"PAU")
        self.assertEqual(self.connection.recv(100), b"SE\n")
        self.assertRaises(BlockingIOError, self.connection.recv, 100, socket.MSG_DONTWAIT)
        self.client.close()
        self.assertEqual(self.connection.recv(100), b"")


class LockTests(SynchronousTestCase):
    """``F_GETLK`` of macOS, whose answer is simulated; Linux's does not see flock(2)."""

    def setUp(self) -> None:
        self.path = self.mktemp()
        with open(self.path, "wb"):
            pass
        self.asked: list[tuple[int, bytes]] = []

    def answer(self, kind: int) -> None:
        def ask(_descriptor: int, request: int, argument: bytes) -> bytes:
            self.asked.append((request, argument))
            return struct.pack("<qqihh", 0, 0, -1, kind, 0)

        self.patch(darwin.fcntl, "fcntl", ask)

    def test_a_lock_that_is_held_is_seen(self) -> None:
        self.answer(3)
        self.assertTrue(is_locked(self.path))

    def test_a_shared_lock_is_seen(self) -> None:
        self.answer(1)
        self.assertTrue(is_locked(self.path))

    def test_no_lock_is_none(self) -> None:
        self.answer(2)
        self.assertFalse(is_locked(self.path))

    def test_the_question_is_for_the_whole_file_and_against_any_lock(self) -> None:
        self.answer(2)
        is_locked(self.path)
        self.assertEqual(self.asked, [(7, struct.pack("<qqihh", 0, 0, 0, 3, 0))])

    def test_no_file_is_an_error(self) -> None:
        self.assertRaises(FileNotFoundError, is_locked, f"{self.path}-not")

    def test_a_link_is_not_followed(self) -> None:
        link = f"{self.path}-link"
        os.symlink(os.path.abspath(self.path), link)
        self.assertRaises(OSError, is_locked, link)


class SyncTests(SynchronousTestCase):
    """``F_FULLFSYNC``, which is simulated."""

    def calls(self, number: int | None) -> list[str]:
        done: list[str] = []

        def full(_descriptor: int, request: int) -> int:
            done.append(f"fcntl {request}")
            if number is not None:
                raise OSError(number, os.strerror(number))
            return 0

        self.patch(darwin.fcntl, "fcntl", full)
        self.patch(darwin.os, "fsync", lambda _descriptor: done.append("fsync"))
        return done

    def test_the_drive_is_asked(self) -> None:
        done = self.calls(None)
        sync(0)
        self.assertEqual(done, ["fcntl 51"])

    def test_a_file_system_without_it_gets_fsync(self) -> None:
        for number in (errno.ENOTSUP, errno.ENOTTY, errno.EINVAL):
            done = self.calls(number)
            sync(0)
            self.assertEqual(done, ["fcntl 51", "fsync"])

    def test_a_disk_that_fails_is_an_error(self) -> None:
        done = self.calls(errno.EIO)
        self.assertRaises(OSError, sync, 0)
        self.assertEqual(done, ["fcntl 51"])


class FakeQueue:
    """kqueue(2), with one process that may end."""

    def __init__(self, living: set[int]) -> None:
        self.living, self.closed, self.waits = living, False, []
        self.watched: list[Any] = []
        self.ends = False

    def control(self, changes: list[Any] | None, size: int, timeout: float | None = None) -> Any:
        for event in changes or []:
            if event[0] not in self.living:
                raise ProcessLookupError(errno.ESRCH, "no such process")
            self.watched.append(event)
        if size:
            self.waits.append(timeout)
        return ["exit"] if size and self.ends else []

    def close(self) -> None:
        self.closed = True


class KqueueProcessTests(SynchronousTestCase):
    """The end of a process by kqueue(2), which is simulated."""

    def setUp(self) -> None:
        self.queue = FakeQueue({42})
        self.killed: list[tuple[int, int]] = []
        # The numbers of sys/event.h.
        for name, value in (
            *(("kqueue", lambda: self.queue), ("kevent", lambda *fields: fields)),
            *(("KQ_FILTER_PROC", -5), ("KQ_EV_ADD", 1), ("KQ_EV_ONESHOT", 16)),
            ("KQ_NOTE_EXIT", 0x80000000),
        ):
            # On a simulated macOS it has them already.
            patcher = mock.patch.object(select, name, value, create=True)
            patcher.start()
            self.addCleanup(patcher.stop)
        self.patch(os, "kill", lambda pid, number: self.killed.append((pid, number)))

    def test_the_process_is_watched_at_once(self) -> None:
        KqueueProcess(42)
        self.assertEqual(self.queue.watched, [(42, -5, 17, 0x80000000)])

    def test_a_process_that_is_gone_is_an_error(self) -> None:
        self.assertRaises(ProcessLookupError, KqueueProcess, 43)
        self.assertTrue(self.queue.closed)

    def test_a_living_process_gets_the_signal(self) -> None:
        self.assertTrue(KqueueProcess(42).terminate())
        self.assertEqual(self.killed, [(42, signal.SIGTERM)])

    def test_a_pid_whose_process_has_ended_gets_no_signal(self) -> None:
        watched = KqueueProcess(42)
        self.queue.ends = True
        self.assertFalse(watched.terminate())
        self.assertEqual(self.killed, [])

    def test_the_end_is_reported_more_than_once(self) -> None:
        """The queue reports it once, as ``EV_ONESHOT`` says."""
        watched = KqueueProcess(42)
        self.queue.ends = True
        self.assertTrue(watched.ends_within(5))
        self.queue.ends = False
        self.assertTrue(watched.ends_within(5))

    def test_a_process_that_goes_on_has_not_ended(self) -> None:
        self.assertFalse(KqueueProcess(42).ends_within(5))
        self.assertEqual(self.queue.waits, [5])


class FileSystemTests(SynchronousTestCase):
    """statfs(2) of macOS, which is simulated."""

    def test_a_disk_is_local(self) -> None:
        library = FakeLibrary({}, {"/Users": (b"apfs", 0x1000 | 0x4000)})
        self.assertEqual(file_system("/Users", library), ("apfs", True))

    def test_a_share_is_not(self) -> None:
        library = FakeLibrary({}, {"/Volumes/team": (b"smbfs", 0x4000)})
        self.assertEqual(file_system("/Volumes/team", library), ("smbfs", False))
