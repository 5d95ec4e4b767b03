"""
What a simulated macOS proves about owners, revivals and the ledger.

The processes are a table, the files are real ones of this machine, and libSystem answers as
xnu's source says; see `tests.support.darwin`.
"""

from __future__ import annotations

import ctypes
import errno
import os
import time
from typing import Any

from palingenesis import darwin
from palingenesis.monitor import machine
from palingenesis.monitor.agents.claude import Claude
from palingenesis.monitor.agents.codex import Codex
from palingenesis.monitor.ledger import file as ledger_file
from palingenesis.monitor.mounts import is_shared_at, read_mounts
from palingenesis.monitor.owners import Snapshot, take_snapshot
from palingenesis.monitor.processes import is_alive, is_led_by, look_at, ours
from palingenesis.monitor.sessions import Identity
from palingenesis.words import Owner
from tests.support.darwin import FakeLibrary, FakeProcess, SimulatedMacTestCase

OTHER = os.geteuid() + 1
#: Where Claude's desktop application keeps its command, after anthropics/claude-code.
APPLICATION = b"/Users/me/Library/Application Support/Claude/claude-code/2.1.121/claude"


class MacTestCase(SimulatedMacTestCase):
    """
    A test with a directory of an odd name.

    :ivar here: that directory.
    """

    def setUp(self) -> None:
        super().setUp()
        self.here = os.path.join(os.path.abspath(self.mktemp()), "Größe und mehr")
        os.makedirs(self.here)

    def snapshot(self, **fields: Any) -> Snapshot:
        """Take a snapshot of one process with these fields, which is in the directory."""
        self.processes[42] = FakeProcess(**{"directory": self.here, **fields})
        return take_snapshot()


class RunningTests(MacTestCase):
    def running(self, snapshot: Snapshot, directory: str | None = None) -> Owner:
        return snapshot.running(Claude.programs, [directory or self.here]).owner

    def test_a_program_whose_path_has_blanks_is_found(self) -> None:
        found = self.snapshot(program=APPLICATION, arguments=(APPLICATION, b"--resume"))
        self.assertEqual(self.running(found), Owner.PROGRAM)

    def test_a_program_named_by_its_version_is_found(self) -> None:
        path = b"/Users/me/.local/share/claude/versions/2.1.121"
        found = self.snapshot(comm=b"2.1.121", program=path, arguments=(path,))
        self.assertEqual(self.running(found), Owner.PROGRAM)

    def test_a_program_that_wrote_its_title_over_its_arguments_is_found(self) -> None:
        node = b"/opt/homebrew/bin/node"
        found = self.snapshot(comm=b"node", program=node, arguments=(b"claude", b"", b""))
        self.assertEqual(self.running(found), Owner.PROGRAM)

    def test_a_script_below_an_interpreter_is_found(self) -> None:
        script = b"/opt/homebrew/lib/node_modules/@anthropic-ai/claude-code/cli.js"
        found = self.snapshot(comm=b"node", program=b"/x/node", arguments=(b"node", script))
        self.assertEqual(self.running(found), Owner.PROGRAM)

    def test_a_directory_is_the_same_under_any_of_its_names(self) -> None:
        """As ``/tmp`` and ``/private/tmp``, or a name composed and decomposed."""
        link = f"{self.here}-link"
        os.symlink(self.here, link)
        self.assertEqual(self.running(self.snapshot(), link), Owner.PROGRAM)

    def test_in_another_directory_the_session_is_gone(self) -> None:
        self.assertEqual(self.running(self.snapshot(), os.path.dirname(self.here)), Owner.GONE)

    def test_without_such_a_program_the_session_is_gone(self) -> None:
        found = self.snapshot(comm=b"zsh", program=b"/bin/zsh", arguments=(b"-zsh",))
        self.assertEqual(self.running(found), Owner.GONE)

    def test_a_program_whose_directory_cannot_be_read_is_unknown(self) -> None:
        self.assertEqual(self.running(self.snapshot(directory=None)), Owner.UNKNOWN)

    def test_a_program_whose_arguments_cannot_be_read_is_unknown(self) -> None:
        """Even in another directory: it may name the session."""
        self.patch(FakeLibrary, "sysctl", self.deny)
        other = os.path.dirname(self.here)
        self.assertEqual(self.running(self.snapshot(), other), Owner.UNKNOWN)

    def deny(self, *_: Any) -> int:
        ctypes.set_errno(errno.EINVAL)
        return -1

    def test_a_program_whose_directory_has_no_name_is_unknown(self) -> None:
        """As one that was deleted, while a new one of its name may be the session's."""
        self.assertEqual(self.running(self.snapshot(is_nameless=True)), Owner.UNKNOWN)

    def test_a_directory_that_cannot_be_looked_at_leaves_the_owner_unknown(self) -> None:
        """As one below a folder that macOS protects, under another name than the kernel's."""
        found = self.snapshot(directory=os.path.dirname(self.here))
        stat = os.stat
        for number, owner in (
            *((errno.EPERM, Owner.UNKNOWN), (errno.EACCES, Owner.UNKNOWN)),
            *((errno.ENOENT, Owner.GONE), (errno.ENOTDIR, Owner.GONE)),
        ):

            def fail(path: Any, *, error: int = number, **how: Any) -> os.stat_result:
                if path == self.here:
                    raise OSError(error, os.strerror(error))
                return stat(path, **how)

            self.patch(os, "stat", fail)
            self.assertEqual(self.running(found), owner, number)

    def test_a_program_on_a_volume_that_was_forced_off_lives(self) -> None:
        """The kernel says ESRCH of its path, proc_pidpath(3)."""
        found = self.snapshot(program=b"", arguments=(b"claude",))
        self.assertEqual(self.running(found), Owner.PROGRAM)

    def test_a_program_elsewhere_that_writes_to_the_transcript_has_the_session(self) -> None:
        transcript = os.path.join(self.here, "x.jsonl")
        with open(transcript, "w"):
            pass
        elsewhere = os.path.dirname(self.here)
        for written, owner in ((True, Owner.PROGRAM), (False, Owner.GONE)):
            found = self.snapshot(directory=elsewhere, files=((transcript, written),))
            witness = found.running(Claude.programs, [self.here], transcript)
            self.assertEqual(witness.owner, owner, written)

    def test_a_program_that_hides_its_files_is_unknown(self) -> None:
        self.patch(FakeLibrary, "proc_pidfdinfo", self.deny_files)
        found = self.snapshot(directory=os.path.dirname(self.here), files=((self.here, True),))
        witness = found.running(Claude.programs, [self.here], os.path.join(self.here, "x"))
        self.assertEqual(witness.owner, Owner.UNKNOWN)

    def deny_files(self, *_: Any) -> int:
        ctypes.set_errno(errno.EPERM)
        return 0

    def test_our_own_command_s_processes_have_no_other_session(self) -> None:
        """They are known by their session's leader, getsid(2)."""
        self.processes[42] = FakeProcess(directory=self.here, leader=41)
        self.assertEqual(self.running(take_snapshot(commands={41})), Owner.GONE)
        self.assertEqual(self.running(take_snapshot(commands={40})), Owner.PROGRAM)

    def test_our_own_client_below_a_framework_s_python_proves_nothing(self) -> None:
        """Such a Python writes its own path over the first argument, ``pythonw.c`` of CPython."""
        python = b"/opt/homebrew/Frameworks/Python.framework/Python.app/Contents/MacOS/Python"
        line = (python, b"/opt/homebrew/bin/palingenesis", b"revive", b"unlikely-77")
        found = self.snapshot(comm=b"Python", program=python, arguments=line)
        self.assertIsNone(found.mentioning("unlikely-77"))

    def test_another_program_that_cannot_be_read_is_none_of_the_agent_s(self) -> None:
        found = self.snapshot(comm=b"Finder", program=b"/x/Finder", directory=None)
        self.processes[42] = FakeProcess(comm=b"Finder", program=b"/x/Finder", arguments=(b"F",))
        self.assertEqual(self.running(take_snapshot()), Owner.GONE, found)

    def test_a_zombie_has_no_session(self) -> None:
        self.assertEqual(self.running(self.snapshot(status=5)), Owner.GONE)

    def test_another_user_s_program_proves_nothing(self) -> None:
        self.assertEqual(self.running(self.snapshot(uid=OTHER)), Owner.GONE)

    def test_if_no_process_can_be_listed_every_owner_is_unknown(self) -> None:
        self.processes.clear()
        self.assertEqual(self.running(take_snapshot()), Owner.UNKNOWN)


class RegistryTests(MacTestCase):
    """A registry's entry: a pid, and the start of its process as a date."""

    started = (1789029118, 400_000)

    def test_a_living_process_of_that_start_is_the_one(self) -> None:
        found = self.snapshot(started=self.started)
        self.assertTrue(found.is_alive(42, "Thu Sep 10 08:31:58 2026"))

    def test_a_process_that_has_the_pid_since_is_another(self) -> None:
        found = self.snapshot(started=(1789029199, 0))
        self.assertFalse(found.is_alive(42, "Thu Sep 10 08:31:58 2026"))

    def test_a_start_in_another_form_may_be_that_of_any_process(self) -> None:
        self.assertTrue(self.snapshot().is_alive(42, "yesterday"))

    def test_another_user_s_process_of_that_start_is_the_one(self) -> None:
        found = self.snapshot(uid=OTHER, started=self.started)
        self.assertTrue(found.is_alive(42, "Thu Sep 10 08:31:58 2026"))
        self.assertFalse(found.is_alive(42, "Thu Sep 10 08:35:58 2026"))

    def test_a_pid_without_a_process_is_none(self) -> None:
        self.assertFalse(self.snapshot().is_alive(43, "Thu Sep 10 08:31:58 2026"))


class LockTests(MacTestCase):
    """The lock of a session of Codex, asked by ``F_GETLK``."""

    def setUp(self) -> None:
        super().setUp()
        self.lock = os.path.join(self.here, "x.lock")
        with open(self.lock, "wb"):
            pass

    def holder(self, answer: bool | OSError) -> Owner:
        def is_locked(_path: str) -> bool:
            if isinstance(answer, OSError):
                raise answer
            return answer

        self.patch(darwin, "is_locked", is_locked)
        return self.snapshot(comm=b"codex").holder(self.lock).owner

    def test_a_lock_that_is_held_has_an_owner(self) -> None:
        self.assertEqual(self.holder(True), Owner.PROGRAM)

    def test_a_lock_that_is_free_has_none(self) -> None:
        self.assertEqual(self.holder(False), Owner.GONE)

    def test_no_lock_has_none(self) -> None:
        self.assertEqual(self.holder(FileNotFoundError()), Owner.GONE)

    def test_a_lock_that_cannot_be_asked_is_unknown(self) -> None:
        self.assertEqual(self.holder(PermissionError()), Owner.UNKNOWN)

    def test_a_server_has_the_session_whose_transcript_it_writes(self) -> None:
        transcript = os.path.join(self.here, "rollout-x.jsonl")
        with open(transcript, "w"):
            pass
        line = (b"codex", b"app-server")
        for files, owner in (((), Owner.GONE), (((transcript, True),), Owner.SERVER)):
            found = self.snapshot(comm=b"codex", arguments=line, directory="/", files=files)
            owners = Codex().owners(self.here, found)
            session = Identity("x", self.here)
            self.assertEqual(owners.witnessed(session, transcript).owner, owner, files)

    def test_the_agent_s_own_programs_are_found_beside_it(self) -> None:
        found = self.snapshot(comm=b"codex", program=b"/x/codex", arguments=(b"codex",))
        self.assertEqual(found.running(Codex.programs, [self.here]).owner, Owner.PROGRAM)


class MountTests(MacTestCase):
    """The file system of a path, by statfs(2)."""

    def is_shared(self, kind: str, local: bool) -> bool:
        self.patch(darwin, "file_system", lambda _path: (kind, local))
        mounts = read_mounts()
        assert mounts is not None
        return is_shared_at(self.here, 1, mounts)

    def test_a_disk_is_ours_alone(self) -> None:
        self.assertFalse(self.is_shared("apfs", True))

    def test_a_share_is_not(self) -> None:
        self.assertTrue(self.is_shared("smbfs", False))

    def test_what_calls_itself_local_and_is_known_to_be_shared_is_not(self) -> None:
        for kind in ("macfuse", "AppleVirtIOFS", "acfs"):
            self.assertTrue(self.is_shared(kind, True), kind)

    def test_what_cannot_be_asked_is_not(self) -> None:
        def fail(_path: str) -> tuple[str, bool]:
            raise PermissionError

        self.patch(darwin, "file_system", fail)
        self.assertTrue(is_shared_at(self.here, 1, ()))

    def test_a_transcript_on_our_disk_is_seen_by_our_processes_alone(self) -> None:
        self.patch(darwin, "file_system", lambda _path: ("apfs", True))
        self.assertTrue(self.snapshot().sees_all_of(os.path.join(self.here, "x.jsonl")))


class RevivalTests(MacTestCase):
    """Our own revivals, by pid and start."""

    def test_a_revival_is_known_by_its_start_in_microseconds(self) -> None:
        self.snapshot(started=(1789029118, 7), leads=True)
        found = look_at(42)
        assert found is not None
        self.assertEqual((found.began, found.leads), ("1789029118000007", True))
        self.assertTrue(is_alive(42, found.began))

    def test_a_revival_s_children_live_on_in_its_session(self) -> None:
        """Its leader's pid has ended, and a command that goes to the background continues."""
        self.processes[43] = FakeProcess(leader=42)
        self.assertTrue(is_led_by(42))
        self.processes[43] = FakeProcess(leader=41)
        self.assertFalse(is_led_by(42))

    def test_the_age_of_a_process_is_that_of_its_start(self) -> None:
        started = int(time.time()) - 3600
        self.snapshot(started=(started, 0))
        found = look_at(42)
        assert found is not None
        assert found.age is not None
        self.assertTrue(3600 <= found.age < 7200, found.age)

    def test_a_later_process_of_its_pid_is_another(self) -> None:
        self.snapshot(started=(1789029118, 8))
        self.assertFalse(is_alive(42, "1789029118000007"))

    def test_a_revival_is_found_by_its_session_s_id(self) -> None:
        self.snapshot(arguments=(b"claude", b"-p", b"--resume", b"1234-5678"))
        found = [process.pid for process in ours() if process.mentions("1234-5678")]
        self.assertEqual(found, [42])

    def test_if_the_kernel_cannot_be_asked_ps_tells(self) -> None:
        """From a sample of ps(1), in UTC."""
        self.patch(FakeLibrary, "proc_pidinfo", lambda *_: 0)
        asked: list[Any] = []

        def run(*command: str, environment: dict[str, str]) -> str:
            asked.append((command, environment))
            return "Ss      42 Thu Sep 10 08:31:58 2026\n"

        self.patch(machine, "run", run)
        self.processes[42] = FakeProcess()
        found = look_at(42)
        assert found is not None
        self.assertEqual((found.start, found.leads), ("Thu Sep 10 08:31:58 2026", True))
        ((command, environment),) = asked
        # "-o pid=,uid=" would have FreeBSD's ps(1) print one column, with the header ",uid=".
        self.assertEqual(command[1:7], ("-o", "stat=", "-o", "pgid=", "-o", "lstart="))
        self.assertEqual((environment["TZ"], environment["LC_ALL"]), ("UTC0", "en_US.UTF-8"))


class LedgerTests(SimulatedMacTestCase):
    def test_what_is_written_is_synced_to_the_drive(self) -> None:
        synced: list[int] = []
        self.patch(darwin, "sync", synced.append)
        ledger_file.sync(7)
        self.assertEqual(synced, [7])
