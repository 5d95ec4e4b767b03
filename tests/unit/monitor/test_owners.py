from __future__ import annotations

import fcntl
import os
import sys

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from palingenesis.monitor import owners
from palingenesis.monitor.owners import FIRST_NAMESPACE, Lock, Mount, Processes
from palingenesis.words import Owner

CLAUDE = frozenset({"claude"})
STAT = "42 (a) b (c) S " + " ".join(str(n) for n in range(4, 53))


class ParsingTests(SynchronousTestCase):
    def test_a_command_may_have_any_name(self) -> None:
        self.assertEqual(owners.parse_stat(STAT), ("a) b (c", "S", "22"))

    def test_half_a_stat_tells_nothing(self) -> None:
        for text in ("", "42 (a", "42 (a) S 1 2", ")"):
            self.assertIsNone(owners.parse_stat(text))

    def test_locks_that_are_held(self) -> None:
        text = (
            "1: FLOCK  ADVISORY  WRITE 1234 08:01:123456 0 EOF\n"
            "2: POSIX  ADVISORY  WRITE 1234 08:01:1 0 EOF\n"
            "2: -> FLOCK  ADVISORY  WRITE 1235 08:01:2 0 EOF\n"
            "3: FLOCK  ADVISORY  READ  -1 fe:10:77 0 EOF\n"
        )
        expected = {Lock(os.makedev(8, 1), 123456), Lock(os.makedev(0xFE, 0x10), 77)}
        self.assertEqual(owners.parse_locks(text), expected)

    def test_mounts(self) -> None:
        text = (
            "22 27 0:21 / /proc rw,relatime - proc proc rw\n"
            "36 35 98:0 /mnt1 /mnt/a\\040b rw,noatime master:1 - ext3 /dev/root rw\n"
            "nonsense\n"
        )
        expected = (
            Mount("/proc", "proc", os.makedev(0, 21)),
            Mount("/mnt/a b", "ext3", os.makedev(98, 0)),
        )
        self.assertEqual(owners.parse_mountinfo(text), expected)

    def test_mounts_on_macos(self) -> None:
        text = (
            "/dev/disk3s1s1 on / (apfs, sealed, local, read-only, journaled)\n"
            "//you@server/share on /Volumes/a (b) (smbfs, nodev, nosuid, mounted by you)\n"
        )
        expected = (Mount("/", "apfs"), Mount("/Volumes/a (b)", "smbfs"))
        self.assertEqual(owners.parse_mount(text), expected)

    def test_processes_on_macos(self) -> None:
        text = (
            "    1     0 Ss   /sbin/launchd\n"
            "  501   501 S+   /usr/local/bin/node /usr/local/bin/claude --resume x\n"
            "  502   501 Z    claude\n"
            "  503   501 S    /opt/homebrew/bin/codex exec\n"
        )
        found = owners.parse_ps(text, 501)
        self.assertEqual(found[501], {"node", "claude"})
        self.assertEqual(found[503], {"codex"})
        self.assertEqual(set(found), {501, 503})

    def test_directories_on_macos(self) -> None:
        text = "p501\nfcwd\nn/Users/you/app\np502\nfcwd\nn/private/tmp (denied)\nnrelative\n"
        found = owners.parse_lsof(text)
        self.assertEqual(found, {501: "/Users/you/app", 502: "/private/tmp (denied)"})

    @given(st.text())
    def test_any_text_is_parsed(self, text: str) -> None:
        for told in (text, text * 30):
            self.assertIn(type(owners.parse_stat(told)), (tuple, type(None)))
            self.assertIsInstance(owners.parse_locks(told), frozenset)
            self.assertIsInstance(owners.parse_mountinfo(told), tuple)
            self.assertIsInstance(owners.parse_mount(told), tuple)
            self.assertIsInstance(owners.parse_ps(told, 0), dict)
            self.assertIsInstance(owners.parse_lsof(told), dict)

    def test_names_of_commands(self) -> None:
        for arguments, name in (
            (["claude", "-p"], "claude"),
            (["/home/you/.local/bin/claude"], "claude"),
            (["node", "/usr/bin/claude"], "claude"),
            (["/usr/bin/node", "--max-old-space-size=8192", "/usr/bin/claude"], "claude"),
            (["node", "/usr/lib/node_modules/@anthropic-ai/claude-code/cli.js"], "claude-code"),
            (["python3.11", "/x/claude"], "claude"),
            (["bun", "claude"], "claude"),
        ):
            self.assertIn(name, owners.names_of(arguments), arguments)

    def test_an_agent_s_name_as_an_argument_is_no_agent(self) -> None:
        for arguments in (["vim", "claude"], ["python3", "script.py", "claude"], [], [""]):
            self.assertNotIn("claude", owners.names_of(arguments), arguments)


class ProcTests(SynchronousTestCase):
    """The look at Linux's /proc, at one that the test made."""

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

    def look(self) -> Processes:
        if sys.platform != "linux":
            raise SkipTest("macOS has no /proc")
        return owners.look(self.proc)

    def test_a_process_of_ours(self) -> None:
        self.process()
        found = self.look()
        self.assertTrue(found.alive(42, "22"))
        self.assertEqual(found.running(CLAUDE, self.directory), Owner.PROGRAM)
        self.assertEqual((found.isolated, found.locks), (False, {Lock(os.makedev(8, 1), 5)}))

    def test_a_pid_that_is_used_again_is_another_process(self) -> None:
        self.process()
        self.assertFalse(self.look().alive(42, "21"))

    def test_a_zombie_does_not_live(self) -> None:
        self.process(state="Z")
        self.assertFalse(self.look().alive(42))

    def test_a_process_of_another_user_is_not_ours(self) -> None:
        self.process()
        found = owners.look(self.proc, uid=os.geteuid() + 1)
        self.assertFalse(found.alive(42))

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
        self.assertEqual(set(self.look().living or ()), {43})

    def test_a_process_that_cannot_be_looked_at_leaves_everything_unknown(self) -> None:
        self.process()
        os.unlink(os.path.join(self.proc, "42/stat"))
        os.mkdir(os.path.join(self.proc, "42/stat"))
        self.assertIsNone(self.look().living)

    def test_without_proc_everything_is_unknown(self) -> None:
        found = owners.look(self.mktemp())
        self.assertIsNone(found.living)
        self.assertEqual(found.running(CLAUDE, "/"), Owner.UNKNOWN)
        self.assertFalse(found.sees_all_of(__file__))

    def test_a_container_may_not_see_everything(self) -> None:
        os.unlink(os.path.join(self.proc, "self/ns/pid"))
        os.symlink("pid:[4026532000]", os.path.join(self.proc, "self/ns/pid"))
        self.assertTrue(self.look().isolated)


class ToolTests(SynchronousTestCase):
    """The look with macOS's programs, at what they would print."""

    PS = "501 7 S /usr/local/bin/claude\n502 8 S claude\n"
    LSOF = "p501\nfcwd\nn/Users/you/app\n"
    MOUNT = "/dev/disk1 on / (apfs, local)\n"

    def look(self, ps: str | None, lsof: str | None, mount: str | None) -> Processes:
        printed = {"ps": ps, "lsof": lsof, "mount": mount}
        self.patch(owners, "_run", lambda path, *_: printed[os.path.basename(path)])
        return owners._look_with_tools(7)

    def test_a_process_and_its_directory(self) -> None:
        found = self.look(self.PS, self.LSOF, self.MOUNT)
        self.assertEqual(found.running(CLAUDE, "/Users/you/app"), Owner.PROGRAM)
        self.assertEqual(found.running(CLAUDE, "/Users/you"), Owner.GONE)
        self.assertTrue(found.sees_all_of("/bin/sh"))
        self.assertEqual(set(found.living or ()), {501})

    def test_any_start_time_is_taken_for_the_process_s(self) -> None:
        self.assertTrue(self.look(self.PS, self.LSOF, self.MOUNT).alive(501, "777"))

    def test_without_lsof_no_directory_is_known(self) -> None:
        found = self.look(self.PS, None, self.MOUNT)
        self.assertEqual(found.running(CLAUDE, "/Users/you"), Owner.UNKNOWN)

    def test_without_ps_nothing_is_known(self) -> None:
        self.assertIsNone(self.look(None, self.LSOF, self.MOUNT).living)

    def test_without_mount_no_transcript_is_known_to_be_ours_alone(self) -> None:
        self.assertFalse(self.look(self.PS, self.LSOF, None).sees_all_of("/bin/sh"))

    def test_a_program_that_hangs_is_given_up(self) -> None:
        self.patch(owners, "TOOL_TIMEOUT", 0.05)
        self.assertIsNone(owners._run("/bin/sleep", "60"))

    def test_a_program_that_is_not_there(self) -> None:
        self.assertIsNone(owners._run("/nonexistent/ps"))

    def test_what_a_program_prints(self) -> None:
        self.assertEqual(owners._run("/bin/echo", "a"), "a\n")


class ReachTests(SynchronousTestCase):
    """Whether every process that may write to a transcript is seen."""

    def sees(self, kind: str, *, isolated: bool = False, root: int | None = None) -> bool:
        device = os.stat(os.path.dirname(__file__)).st_dev
        processes = Processes(
            {},
            mounts=(Mount("/", kind, device),),
            isolated=isolated,
            root=device if root is None else root,
        )
        return processes.sees_all_of(__file__)

    def test_a_local_file_system(self) -> None:
        for kind in ("ext4", "btrfs", "apfs", "overlay", "tmpfs", "fuseblk", "fuse.gocryptfs"):
            self.assertTrue(self.sees(kind), kind)

    def test_a_network_file_system(self) -> None:
        for kind in ("nfs4", "cifs", "9p", "virtiofs", "fuse.sshfs", "fuse", "smbfs"):
            self.assertFalse(self.sees(kind), kind)

    def test_a_container_s_own_file_system(self) -> None:
        self.assertTrue(self.sees("overlay", isolated=True))

    def test_a_volume_that_a_container_shares(self) -> None:
        self.assertFalse(self.sees("ext4", isolated=True, root=1))

    def test_a_file_system_that_no_device_tells_is_found_by_its_path(self) -> None:
        directory = os.path.dirname(os.path.realpath(__file__))
        for kind, expected in (("btrfs", True), ("nfs", False)):
            mounts = (Mount("/", "ext4"), Mount(directory, kind), Mount(directory + "x", "ext4"))
            self.assertEqual(Processes({}, mounts=mounts).sees_all_of(__file__), expected)

    def test_no_table_of_mounts(self) -> None:
        self.assertFalse(Processes({}).sees_all_of(__file__))

    def test_a_file_in_no_directory(self) -> None:
        self.assertFalse(Processes({}, mounts=()).sees_all_of("/nonexistent/x"))


class LockTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = self.mktemp()
        with open(self.path, "w"):
            pass
        self.status = os.stat(self.path)

    def holder(self, *locks: Lock, isolated: bool = False) -> Owner:
        return Processes({}, frozenset(locks), isolated=isolated).holder(self.path)

    def test_a_lock_is_known_by_device_and_inode(self) -> None:
        lock = Lock(self.status.st_dev, self.status.st_ino)
        self.assertEqual(self.holder(lock, isolated=True), Owner.PROGRAM)
        self.assertEqual(self.holder(), Owner.GONE)

    def test_the_same_inode_on_another_device_proves_nothing(self) -> None:
        lock = Lock(self.status.st_dev + 1, self.status.st_ino)
        self.assertEqual(self.holder(lock), Owner.UNKNOWN)

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
            self.assertEqual(owners.look().holder(path), Owner.PROGRAM)
        self.assertNotEqual(owners.look().holder(path), Owner.PROGRAM)
