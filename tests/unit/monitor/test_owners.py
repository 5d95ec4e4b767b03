from __future__ import annotations

import fcntl
import os
import sys
from dataclasses import replace
from typing import Any
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from palingenesis.monitor.mounts import Mount, is_shared_by_name
from palingenesis.monitor.owners import (
    FIRST_NAMESPACE,
    NOTHING,
    Lock,
    Snapshot,
    Witness,
    parse_locks,
    strongest,
    take_snapshot,
)
from palingenesis.monitor.processes import Process, look_at
from palingenesis.words import Owner
from tests.support.needs import needs_linux
from tests.support.texts import ENCODABLE

CLAUDE = frozenset({"claude"})


class ParsingTests(SynchronousTestCase):
    def test_locks_that_are_held(self) -> None:
        text = (
            "1: FLOCK  ADVISORY  WRITE 1234 08:01:123456 0 EOF\n"
            "2: POSIX  ADVISORY  READ 1234 08:01:1 1073741826 1073742335\n"
            "2: -> FLOCK  ADVISORY  WRITE 1235 08:01:2 0 EOF\n"
            "3: FLOCK  ADVISORY  READ  -1 fe:10:77 0 EOF\n"
        )
        device = os.makedev(8, 1)
        expected = {Lock(device, 123456), Lock(device, 1), Lock(os.makedev(0xFE, 0x10), 77)}
        self.assertEqual(parse_locks(text), expected)

    @given(st.text(ENCODABLE))
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
        self.assertEqual(found.running(CLAUDE, [self.directory]).owner, Owner.PROGRAM)
        self.assertEqual((found.isolated, found.locks), (False, {Lock(os.makedev(8, 1), 5)}))

    def test_the_program_is_known_by_its_file_too(self) -> None:
        self.process(command="a title")
        os.symlink("/opt/claude (deleted)", os.path.join(self.proc, "42/exe"))
        self.assertEqual(self.look().running(CLAUDE, [self.directory]).owner, Owner.PROGRAM)

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
        self.assertEqual(self.look().running(CLAUDE, [self.directory]).owner, Owner.UNKNOWN)
        self.assertEqual(
            self.look().running(frozenset({"codex"}), [self.directory]).owner, Owner.GONE
        )

    def test_a_directory_is_known_by_another_name(self) -> None:
        self.process()
        link = self.mktemp()
        os.symlink(self.directory, link)
        self.assertEqual(self.look().running(CLAUDE, [self.directory + "x"]).owner, Owner.GONE)
        self.assertEqual(self.look().running(CLAUDE, [link]).owner, Owner.PROGRAM)

    def test_a_process_that_ended_meanwhile_is_left_out(self) -> None:
        os.mkdir(os.path.join(self.proc, "42"))
        self.process(43)
        self.assertEqual(set(self.look().processes or ()), {43})

    def test_a_process_that_cannot_be_looked_at_leaves_everything_unknown(self) -> None:
        self.process()
        os.unlink(os.path.join(self.proc, "42/stat"))
        os.mkdir(os.path.join(self.proc, "42/stat"))
        self.assertIsNone(self.look().processes)

    @needs_linux("/proc is Linux's")
    def test_without_proc_everything_is_unknown(self) -> None:
        found = take_snapshot(self.mktemp())
        self.assertIsNone(found.processes)
        self.assertEqual(found.running(CLAUDE, ["/"]).owner, Owner.UNKNOWN)
        self.assertFalse(found.sees_all_of(__file__))

    def test_a_container_may_not_see_everything(self) -> None:
        os.unlink(os.path.join(self.proc, "self/ns/pid"))
        os.symlink("pid:[4026532000]", os.path.join(self.proc, "self/ns/pid"))
        self.assertTrue(self.look().isolated)

    @needs_linux("/proc is Linux's")
    def test_only_command_lines_are_read_of_other_programs(self) -> None:
        self.process()
        self.process(43, command="vim\0x\0")
        found = take_snapshot(self.proc, programs=CLAUDE)
        assert found.processes is not None
        whole = {pid: process.is_whole for pid, process in found.processes.items()}
        self.assertEqual(whole, {42: True, 43: False})

    @needs_linux("on macOS, only processes of our own user are looked at")
    def test_what_another_user_s_command_line_names_is_seen(self) -> None:
        self.process(command="vim\0unlikely-77\0")
        found = take_snapshot(self.proc, uid=os.geteuid() + 1, programs=CLAUDE)
        process = found.mentioning("unlikely-77")
        assert process is not None
        self.assertEqual((process.pid, process.is_ours), (42, False))

    def test_a_text_inside_of_another_is_no_mention(self) -> None:
        self.process(command="less\0/t/unlikely-77.jsonl\0")
        self.assertIsNone(self.look().mentioning("unlikely-77"))

    def test_the_daemon_itself_is_no_mention(self) -> None:
        self.process(os.getpid(), command="x\0unlikely-77\0")
        self.assertIsNone(self.look().mentioning("unlikely-77"))

    def test_our_own_client_proves_nothing(self) -> None:
        self.process(command="/usr/bin/python3\0-m\0palingenesis\0revive\0unlikely-77\0")
        self.process(43, command="python3\0/usr/bin/palingenesis\0revive\0unlikely-77\0")
        self.assertIsNone(self.look().mentioning("unlikely-77"))

    def test_our_own_command_proves_nothing(self) -> None:
        self.process()
        found = take_snapshot(self.proc, commands={6})  # field 6 is the session's leader
        self.assertEqual(found.running(CLAUDE, [self.directory]).owner, Owner.GONE)

    def test_hidden_processes_leave_every_owner_unknown(self) -> None:
        for option, hidden in (("hidepid=invisible", True), ("hidepid=0", False), ("gid=5", False)):
            self.write("self/mountinfo", f"22 1 0:20 / /proc rw shared:5 - proc proc rw,{option}\n")
            found = self.look()
            self.assertEqual(found.hidden, hidden, option)
        self.write("self/mountinfo", "22 1 0:20 / /proc rw - proc proc rw,hidepid=2\n")
        blindness = self.look().blindness(__file__)
        self.assertEqual(blindness, "the processes of other users are hidden (hidepid of /proc)")
        self.write("1/cmdline", "init\0")
        self.assertFalse(self.look().hidden)


class WordsTests(SynchronousTestCase):
    """An owner in words."""

    def test_what_has_a_session(self) -> None:
        for witness, who in (
            (NOTHING, None),
            (Witness(Owner.PROGRAM, 4242, "claude", "pts/3"), "pid 4242 (claude) at pts/3"),
            (Witness(Owner.PROGRAM, 4242, "claude"), "pid 4242 (claude)"),
            (Witness(Owner.PROGRAM), "a program"),
            (Witness(Owner.SERVER, 17433, "Codex's server"), "Codex's server, pid 17433"),
            (Witness(Owner.SERVER), "a server"),
            (Witness.unknown("why"), "why"),
        ):
            self.assertEqual(witness.who, who)

    def test_the_strongest_word_counts(self) -> None:
        alive, unknown = Witness(Owner.SERVER), Witness.unknown("why")
        for witnesses, expected in (
            ((), NOTHING),
            ((NOTHING, unknown, Witness.unknown("more")), unknown),
            ((unknown, NOTHING, alive), alive),
        ):
            self.assertIs(strongest(witnesses), expected)

    def test_an_owner_at_a_terminal_is_named_with_it(self) -> None:
        process = Process(42, "1", ("/usr/bin/claude",), terminal="pts/3", directory="/x")
        witness = Snapshot({42: process}).running(CLAUDE, ["/x"])
        self.assertEqual(witness.who, "pid 42 (claude) at pts/3")


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

    @needs_linux("macOS asks the path itself for its file system")
    def test_a_network_file_system(self) -> None:
        for kind in ("nfs4", "cifs", "9p", "virtiofs", "fuse.sshfs", "fuse", "smbfs"):
            self.assertFalse(self.sees(kind), kind)

    def test_a_container_s_own_file_system(self) -> None:
        self.assertTrue(self.sees("overlay", isolated=True))

    def test_a_volume_that_a_container_shares(self) -> None:
        self.assertFalse(self.sees("ext4", isolated=True, root=1))

    @needs_linux("macOS asks the path itself for its file system")
    def test_a_file_system_that_no_device_tells_is_found_by_its_path(self) -> None:
        directory = os.path.dirname(os.path.realpath(__file__))
        for kind, expected in (("btrfs", True), ("nfs", False)):
            mounts = (Mount("/", "ext4"), Mount(directory, kind), Mount(directory + "x", "ext4"))
            self.assertEqual(Snapshot({}, mounts=mounts).sees_all_of(__file__), expected)

    def test_no_table_of_mounts(self) -> None:
        self.assertFalse(Snapshot({}).sees_all_of(__file__))

    def test_a_path_on_a_file_system_that_may_not_answer_is_not_asked_for(self) -> None:
        mounts = (Mount("/", "ext4"), Mount("/nfs", "nfs4"), Mount("/nfs/disk", "ext4"))
        for path, shared in (("/nfs/x", True), ("/nfsx", False), ("/nfs/disk/x", False)):
            self.assertEqual(is_shared_by_name(path, mounts), shared, path)
        self.patch(os.path, "samefile", lambda *_: self.fail("it was asked for"))
        snapshot = Snapshot({}, mounts=mounts)
        self.assertFalse(snapshot.is_same("/nfs/x", "/home"))
        self.assertTrue(snapshot.is_same("/nfs/x", "/nfs/x"))
        process = Process(42, "1", directory="/home", link="/proc/42/cwd")
        self.assertFalse(snapshot.is_in(process, "/nfs/x"))

    def test_a_file_in_no_directory(self) -> None:
        self.assertFalse(Snapshot({}, mounts=()).sees_all_of("/nonexistent/x"))

    @needs_linux("macOS asks the path itself for its file system")
    def test_why_not_every_process_is_seen(self) -> None:
        device = os.stat(os.path.dirname(__file__)).st_dev
        mounts = (Mount("/", "ext4", device),)
        shared = (Mount("/", "nfs4", device),)
        for snapshot, why in (
            (Snapshot({}, mounts=mounts), None),
            (Snapshot(None, mounts=mounts), "the processes of this machine cannot be listed"),
            (
                Snapshot({}, mounts=mounts, hidden=True),
                "the processes of other users are hidden (hidepid of /proc)",
            ),
            (Snapshot({}), "the file systems of this machine cannot be listed"),
            (
                Snapshot({}, mounts=mounts, isolated=True),
                "programs outside of this container may share its directory",
            ),
            (Snapshot({}, mounts=shared), "other machines may share its file system"),
        ):
            self.assertEqual(snapshot.blindness(__file__), why)
        unread = "/nonexistent cannot be read: No such file or directory"
        self.assertEqual(Snapshot({}).blindness("/nonexistent/x"), unread)


class LivingTests(SynchronousTestCase):
    """Which process a pid names in a snapshot."""

    def test_a_process_that_was_not_read_whole_is_looked_at(self) -> None:
        brief = Process(42, None, ("vim",), is_whole=False, is_ours=False)
        whole = Process(42, "1", ("vim",), leader=40)
        snapshot = Snapshot({42: brief, 43: Process(43, "2")}, look_at={42: whole}.get)
        self.assertEqual(snapshot.process(42), replace(whole, is_ours=False))
        self.assertEqual(snapshot.process(43), Process(43, "2"))
        self.assertIsNone(snapshot.process(44))

    def test_another_user_s_process_is_not_listed_but_may_live(self) -> None:
        for listed in ({}, None):
            snapshot = Snapshot(listed, look_at={44: Process(44, "1")}.get)
            self.assertEqual(snapshot.process(44), Process(44, "1", is_ours=False))
            self.assertIsNone(snapshot.process(45))

    def test_a_process_of_our_own_command_is_none(self) -> None:
        process = Process(42, "1", leader=40)
        self.assertIsNone(Snapshot({42: process}, commands={40}).process(42))
        self.assertEqual(Snapshot({42: process}, commands={42}).process(42), process)

    def test_a_process_that_names_a_session_and_has_ended_since_counts(self) -> None:
        brief = Process(42, None, ("vim", "unlikely-77"), is_whole=False)
        self.assertEqual(Snapshot({42: brief}).mentioning("unlikely-77"), brief)
        whole = Process(42, "1", ("vim", "unlikely-77"), leader=40)
        look_at = {42: whole}.get
        snapshot = Snapshot({42: brief}, look_at=look_at)
        self.assertEqual(snapshot.mentioning("other", "unlikely-77"), whole)
        ours = Snapshot({42: brief}, look_at=look_at, commands={40})
        self.assertIsNone(ours.mentioning("unlikely-77"))


class WorkTests(SynchronousTestCase):
    """Whether a program has a session by what it does."""

    def setUp(self) -> None:
        self.here = os.path.abspath(self.mktemp())
        self.files = os.path.join(self.here, "fd")
        os.makedirs(self.files)
        self.transcript = os.path.join(self.here, "s.jsonl")
        with open(self.transcript, "w"):
            pass
        os.symlink(self.transcript, os.path.join(self.files, "3"))

    def witness(self, place: str = "/work", /, **more: Any) -> Witness:
        process = Process(42, "1", ("claude",), **{"directory": "/else", **more})
        mounts = (Mount("/", "ext4"),)
        return Snapshot({42: process}, mounts=mounts).running(CLAUDE, [place], self.transcript)

    def test_a_program_in_the_directory_has_it(self) -> None:
        for directory, owner in (("/else", Owner.PROGRAM), ("/work", Owner.GONE)):
            self.assertEqual(self.witness(directory).owner, owner)

    @needs_linux("descriptors are listed in /proc")
    def test_a_program_that_writes_the_transcript_has_it(self) -> None:
        self.assertEqual(self.witness(files=self.files).pid, 42)
        self.assertEqual(self.witness(files=self.files, is_ours=False).owner, Owner.GONE)
        os.unlink(os.path.join(self.files, "3"))
        self.assertEqual(self.witness(files=self.files).owner, Owner.GONE)
        other = os.path.join(self.here, "other", "s.jsonl")
        os.mkdir(os.path.dirname(other))
        with open(other, "w"):
            pass
        os.symlink(other, os.path.join(self.files, "4"))
        self.assertEqual(self.witness(files=self.files).owner, Owner.GONE)

    @needs_linux("descriptors are listed in /proc")
    def test_a_program_that_hides_what_it_does_is_unknown(self) -> None:
        hides = "pid 42 (claude) hides what it does"
        for more in ({"directory": None}, {"files": self.transcript}):
            self.assertEqual(self.witness(**more), Witness.unknown(hides))
        self.assertEqual(self.witness(directory=None, is_ours=False).owner, Owner.GONE)

    @needs_linux("/proc is Linux's")
    def test_a_directory_that_cannot_be_looked_at_is_unknown(self) -> None:
        loop = os.path.join(self.here, "loop")
        os.symlink("loop", loop)
        may_be = "pid 42 (claude) may be in its directory, which cannot be looked at"
        self.assertEqual(self.witness(loop, link=self.here), Witness.unknown(may_be))

    def test_without_a_list_of_processes_every_owner_is_unknown(self) -> None:
        witness = Snapshot(None).running(CLAUDE, ["/work"])
        why = "the processes of this machine cannot be listed"
        self.assertEqual(witness, Witness.unknown(why))

    def test_files_are_listed_once_a_process(self) -> None:
        process = Process(42, "1", files=self.files)
        snapshot = Snapshot({42: process})
        with mock.patch.object(Process, "open_files", return_value={}) as listed:
            for _ in range(2):
                self.assertIs(snapshot.writes_to(process, self.transcript), False)
        self.assertEqual(listed.call_count, 1)


class LockTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = self.mktemp()
        with open(self.path, "w"):
            pass
        self.status = os.stat(self.path)

    def holder(self, *locks: Lock, isolated: bool = False) -> Owner:
        return Snapshot({}, frozenset(locks), isolated=isolated).holder(self.path).owner

    @needs_linux("macOS lists no locks: it asks for each one, see test_macos")
    def test_a_lock_is_known_by_device_and_inode(self) -> None:
        lock = Lock(self.status.st_dev, self.status.st_ino)
        self.assertEqual(self.holder(lock, isolated=True), Owner.PROGRAM)
        self.assertEqual(self.holder(), Owner.GONE)

    @needs_linux("macOS lists no locks: it asks for each one, see test_macos")
    def test_the_same_inode_on_another_device_proves_nothing(self) -> None:
        lock = Lock(self.status.st_dev + 1, self.status.st_ino)
        self.assertEqual(self.holder(lock), Owner.UNKNOWN)

    @needs_linux("macOS lists no locks: it asks for each one, see test_macos")
    def test_a_container_does_not_see_the_locks_of_others(self) -> None:
        self.assertEqual(self.holder(isolated=True), Owner.UNKNOWN)

    @needs_linux("macOS lists no locks: it asks for each one, see test_macos")
    def test_what_holds_a_lock_is_named_if_it_is_seen(self) -> None:
        process = Process(42, "1", ("codex",))
        for pid, found in ((42, 42), (43, None), (1, 42), (0, None)):
            lock = Lock(self.status.st_dev, self.status.st_ino, pid)
            snapshot = Snapshot(dict.fromkeys((0, 1, 42), process), frozenset({lock}))
            witness = snapshot.holder(self.path)
            self.assertEqual((witness.owner, witness.pid), (Owner.PROGRAM, found))

    @needs_linux("macOS lists no locks: it asks for each one, see test_macos")
    def test_why_nobody_knows_what_holds_a_lock(self) -> None:
        unlisted = Witness.unknown("the locks of this machine cannot be listed")
        self.assertEqual(Snapshot({}).holder(self.path), unlisted)
        self.assertEqual(Snapshot({}).holder(f"{self.path}.none"), NOTHING)
        other = Lock(self.status.st_dev + 1, self.status.st_ino)
        may_be = Witness.unknown(f"{self.path} may be locked")
        self.assertEqual(Snapshot({}, frozenset({other})).holder(self.path), may_be)

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
            self.assertEqual(take_snapshot().holder(path).owner, Owner.PROGRAM)
        self.assertNotEqual(take_snapshot().holder(path).owner, Owner.PROGRAM)

    def test_another_user_s_process_is_known_by_its_start_time(self) -> None:
        if sys.platform != "linux":
            raise SkipTest("macOS lists no start times")
        own = look_at(os.getpid())
        assert own is not None
        others = take_snapshot(uid=os.geteuid() + 1)
        self.assertTrue(others.is_alive(own.pid, own.start))
        self.assertFalse(others.is_alive(own.pid, "1"))
        self.assertFalse(others.is_alive(own.pid))


@needs_linux("PID namespaces are Linux's")
class LockInAContainerTests(SynchronousTestCase):
    """A lock whose holder the kernel does not list here."""

    programs = frozenset({"codex"})

    def setUp(self) -> None:
        self.path = os.path.join(self.mktemp(), "a.lock")
        os.mkdir(os.path.dirname(self.path))
        with open(self.path, "w"):
            pass

    def holder(self, *living: Process, kind: str = "overlay", root: int | None = None) -> Owner:
        device = os.stat(os.path.dirname(self.path)).st_dev
        snapshot = Snapshot(
            {process.pid: process for process in living},
            locks=frozenset(),
            mounts=(Mount("/", kind, device),),
            isolated=True,
            root=device if root is None else root,
        )
        return snapshot.holder(self.path, self.programs).owner

    def test_a_lock_that_can_be_taken_is_free(self) -> None:
        self.assertEqual(self.holder(Process(42, "1", ("bash",), directory="/x")), Owner.GONE)

    def test_a_lock_that_was_tried_can_be_taken_at_once(self) -> None:
        self.holder()
        with open(self.path) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def test_a_lock_that_cannot_be_taken_is_held(self) -> None:
        for operation in (fcntl.LOCK_EX, fcntl.LOCK_SH):
            with open(self.path) as file:
                fcntl.flock(file, operation)
                self.assertEqual(self.holder(), Owner.PROGRAM)

    def test_a_lock_is_not_tried_while_an_agent_lives(self) -> None:
        codex = Process(42, "1", ("codex",), directory="/x")
        self.assertEqual(self.holder(codex), Owner.UNKNOWN)

    def test_a_lock_is_not_tried_on_what_others_share(self) -> None:
        self.assertEqual(self.holder(kind="nfs4"), Owner.UNKNOWN)
        self.assertEqual(self.holder(root=1), Owner.UNKNOWN)

    def test_a_link_is_not_followed(self) -> None:
        os.rename(self.path, f"{self.path}.other")
        os.symlink(f"{self.path}.other", self.path)
        self.assertEqual(self.holder(), Owner.UNKNOWN)

    def test_a_lock_whose_file_is_not_there_is_free(self) -> None:
        os.unlink(self.path)
        self.assertEqual(self.holder(), Owner.GONE)
