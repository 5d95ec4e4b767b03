from __future__ import annotations

import fcntl
import os
import sys

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from palingenesis.monitor.mounts import Mount
from palingenesis.monitor.owners import (
    FIRST_NAMESPACE,
    Lock,
    Snapshot,
    parse_locks,
    take_snapshot,
)
from palingenesis.monitor.processes import look_at
from palingenesis.words import Owner
from tests.support.needs import needs_linux

CLAUDE = frozenset({"claude"})


class ParsingTests(SynchronousTestCase):
    def test_locks_that_are_held(self) -> None:
        text = (
            "1: FLOCK  ADVISORY  WRITE 1234 08:01:123456 0 EOF\n"
            "2: POSIX  ADVISORY  WRITE 1234 08:01:1 0 EOF\n"
            "2: -> FLOCK  ADVISORY  WRITE 1235 08:01:2 0 EOF\n"
            "3: FLOCK  ADVISORY  READ  -1 fe:10:77 0 EOF\n"
        )
        expected = {Lock(os.makedev(8, 1), 123456), Lock(os.makedev(0xFE, 0x10), 77)}
        self.assertEqual(parse_locks(text), expected)

    @given(st.text())
    def test_any_text_is_parsed(self, text: str) -> None:
        self.assertIsInstance(parse_locks(text * 30), frozenset)


class ProcTests(SynchronousTestCase):
    """A snapshot from Linux's /proc, here one that the test made."""

    def setUp(self) -> None:
        self.proc = self.mktemp()
        self.directory = os.path.abspath(self.mktemp())
        os.mkdir(self.directory)
        os.makedirs(os.path.join(self.proc, "self/ns"))
        os.symlink(FIRST_NAMESPACE, os.path.join(self.proc, "self/ns/pid"))
        self.write("self/mountinfo", "27 1 8:1 / / rw - ext4 /dev/sda1 rw\n")
        self.write("locks", "1: FLOCK ADVISORY WRITE 1 08:01:5 0 EOF\n")

    def write(self, name: str, content: str) -> None:
        path = os.path.join(self.proc, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write(content)

    def process(self, pid: int = 42, state: str = "S", command: str = "claude\0-p\0") -> None:
        self.write(f"{pid}/stat", f"{pid} (x) {state} " + " ".join(map(str, range(4, 53))))
        self.write(f"{pid}/cmdline", command)
        os.symlink(self.directory, os.path.join(self.proc, f"{pid}/cwd"))

    def look(self) -> Snapshot:
        if sys.platform != "linux":
            raise SkipTest("macOS has no /proc")
        return take_snapshot(self.proc)

    def test_a_process_of_ours(self) -> None:
        self.process()
        found = self.look()
        self.assertTrue(found.is_alive(42, "22"))
        self.assertEqual(found.running(CLAUDE, self.directory), Owner.PROGRAM)
        self.assertEqual((found.isolated, found.locks), (False, {Lock(os.makedev(8, 1), 5)}))

    def test_the_program_is_known_by_its_file_too(self) -> None:
        self.process(command="a title")
        os.symlink("/opt/claude (deleted)", os.path.join(self.proc, "42/exe"))
        self.assertEqual(self.look().running(CLAUDE, self.directory), Owner.PROGRAM)

    def test_a_pid_that_is_used_again_is_another_process(self) -> None:
        self.process()
        self.assertFalse(self.look().is_alive(42, "21"))

    def test_a_zombie_does_not_live(self) -> None:
        self.process(state="Z")
        self.assertFalse(self.look().is_alive(42))

    def test_a_process_of_another_user_is_not_ours(self) -> None:
        self.process()
        found = take_snapshot(self.proc, uid=os.geteuid() + 1)
        self.assertFalse(found.is_alive(42))

    def test_a_process_whose_directory_cannot_be_read_proves_nothing(self) -> None:
        self.process()
        os.unlink(os.path.join(self.proc, "42/cwd"))
        self.assertEqual(self.look().running(CLAUDE, self.directory), Owner.UNKNOWN)
        self.assertEqual(self.look().running(frozenset({"codex"}), self.directory), Owner.GONE)

    def test_a_directory_is_known_by_another_name(self) -> None:
        self.process()
        link = self.mktemp()
        os.symlink(self.directory, link)
        self.assertEqual(self.look().running(CLAUDE, self.directory + "x"), Owner.GONE)
        self.assertEqual(self.look().running(CLAUDE, link), Owner.PROGRAM)

    def test_a_process_that_ended_meanwhile_is_left_out(self) -> None:
        os.mkdir(os.path.join(self.proc, "42"))
        self.process(43)
        self.assertEqual(set(self.look().processes or ()), {43})

    def test_a_process_that_cannot_be_looked_at_leaves_everything_unknown(self) -> None:
        self.process()
        os.unlink(os.path.join(self.proc, "42/stat"))
        os.mkdir(os.path.join(self.proc, "42/stat"))
        self.assertIsNone(self.look().processes)

    @needs_linux
    def test_without_proc_everything_is_unknown(self) -> None:
        found = take_snapshot(self.mktemp())
        self.assertIsNone(found.processes)
        self.assertEqual(found.running(CLAUDE, "/"), Owner.UNKNOWN)
        self.assertFalse(found.sees_all_of(__file__))

    def test_a_container_may_not_see_everything(self) -> None:
        os.unlink(os.path.join(self.proc, "self/ns/pid"))
        os.symlink("pid:[4026532000]", os.path.join(self.proc, "self/ns/pid"))
        self.assertTrue(self.look().isolated)


class ReachTests(SynchronousTestCase):
    """Whether every process that may write to a transcript is seen."""

    def sees(self, kind: str, *, isolated: bool = False, root: int | None = None) -> bool:
        device = os.stat(os.path.dirname(__file__)).st_dev
        snapshot = Snapshot(
            {},
            mounts=(Mount("/", kind, device),),
            isolated=isolated,
            root=device if root is None else root,
        )
        return snapshot.sees_all_of(__file__)

    def test_a_local_file_system(self) -> None:
        for kind in ("ext4", "btrfs", "apfs", "overlay", "tmpfs", "fuseblk", "fuse.gocryptfs"):
            self.assertTrue(self.sees(kind), kind)

    @needs_linux
    def test_a_network_file_system(self) -> None:
        for kind in ("nfs4", "cifs", "9p", "virtiofs", "fuse.sshfs", "fuse", "smbfs"):
            self.assertFalse(self.sees(kind), kind)

    def test_a_container_s_own_file_system(self) -> None:
        self.assertTrue(self.sees("overlay", isolated=True))

    def test_a_volume_that_a_container_shares(self) -> None:
        self.assertFalse(self.sees("ext4", isolated=True, root=1))

    @needs_linux
    def test_a_file_system_that_no_device_tells_is_found_by_its_path(self) -> None:
        directory = os.path.dirname(os.path.realpath(__file__))
        for kind, expected in (("btrfs", True), ("nfs", False)):
            mounts = (Mount("/", "ext4"), Mount(directory, kind), Mount(directory + "x", "ext4"))
            self.assertEqual(Snapshot({}, mounts=mounts).sees_all_of(__file__), expected)

    def test_no_table_of_mounts(self) -> None:
        self.assertFalse(Snapshot({}).sees_all_of(__file__))

    def test_a_file_in_no_directory(self) -> None:
        self.assertFalse(Snapshot({}, mounts=()).sees_all_of("/nonexistent/x"))


class LockTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = self.mktemp()
        with open(self.path, "w"):
            pass
        self.status = os.stat(self.path)

    def holder(self, *locks: Lock, isolated: bool = False) -> Owner:
        return Snapshot({}, frozenset(locks), isolated=isolated).holder(self.path)

    @needs_linux
    def test_a_lock_is_known_by_device_and_inode(self) -> None:
        lock = Lock(self.status.st_dev, self.status.st_ino)
        self.assertEqual(self.holder(lock, isolated=True), Owner.PROGRAM)
        self.assertEqual(self.holder(), Owner.GONE)

    @needs_linux
    def test_the_same_inode_on_another_device_proves_nothing(self) -> None:
        lock = Lock(self.status.st_dev + 1, self.status.st_ino)
        self.assertEqual(self.holder(lock), Owner.UNKNOWN)

    @needs_linux
    def test_a_container_does_not_see_the_locks_of_others(self) -> None:
        self.assertEqual(self.holder(isolated=True), Owner.UNKNOWN)

    def test_a_lock_file_that_cannot_be_looked_at(self) -> None:
        self.path = os.path.join(self.path, "x")
        self.assertEqual(self.holder(), Owner.UNKNOWN)


class MachineTests(SynchronousTestCase):
    """This machine, with real locks."""

    def test_a_lock_is_seen_until_it_is_let_go(self) -> None:
        if sys.platform != "linux":
            raise SkipTest("only Linux tells of locks")
        path = self.mktemp()
        with open(path, "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            self.assertEqual(take_snapshot().holder(path), Owner.PROGRAM)
        self.assertNotEqual(take_snapshot().holder(path), Owner.PROGRAM)

    def test_another_user_s_process_is_known_by_its_start_time(self) -> None:
        if sys.platform != "linux":
            raise SkipTest("macOS lists no start times")
        own = look_at(os.getpid())
        assert own is not None
        others = take_snapshot(uid=os.geteuid() + 1)
        self.assertTrue(others.is_alive(own.pid, own.start))
        self.assertFalse(others.is_alive(own.pid, "1"))
        self.assertFalse(others.is_alive(own.pid))
