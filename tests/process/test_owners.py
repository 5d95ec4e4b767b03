"""Which processes of this machine are seen to have a session."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from palingenesis.monitor.agents import AGENTS
from palingenesis.monitor.owners import take_snapshot
from palingenesis.monitor.processes import Process, look_at
from palingenesis.monitor.sessions import Identity
from palingenesis.words import Owner
from tests.support.needs import needs_linux
from tests.support.users import NOBODY, as_user

SESSION = "0b9f4a52-6f4e-4d0a-9d4b-2f6f6c1f7a10"
PROGRAMS = frozenset[str]().union(*(agent.programs for agent in AGENTS.values()))
#: On macOS, ``/bin/sh`` becomes another program.
SHELL = "/bin/sh" if sys.platform == "linux" else "/bin/bash"
#: A shell's script that says that it runs, and ends with its input.
WAIT = "echo; read line"


class MachineTests(SynchronousTestCase):
    def test_a_process_is_seen_until_it_ends(self) -> None:
        directory = os.path.abspath(self.mktemp())
        os.mkdir(directory)
        commands = frozenset({"cat"})
        with subprocess.Popen(["cat"], cwd=directory, stdin=subprocess.PIPE) as child:
            process = (take_snapshot().processes or {}).get(child.pid)
            running = take_snapshot().running(commands, [directory]).owner
        self.assertIsInstance(process, Process)
        self.assertEqual(running, Owner.PROGRAM)
        self.assertEqual(take_snapshot().running(commands, [directory]).owner, Owner.GONE)


class LivingProgramTests(SynchronousTestCase):
    """A living program beside its session's transcript, as the agents run it."""

    def setUp(self) -> None:
        self.home, self.directory, self.elsewhere = (self.make_directory() for _ in range(3))
        os.mkdir(os.path.join(self.home, "sessions"))
        self.transcript = os.path.join(self.home, f"{SESSION}.jsonl")
        with open(self.transcript, "w"):
            pass
        self.session = Identity(SESSION, self.directory)

    def make_directory(self) -> str:
        path = os.path.abspath(self.mktemp())
        os.mkdir(path)
        os.chmod(path, 0o755)
        return path

    def program(self, name: str, of: str = SHELL) -> str:
        """Copy a program to a name of its own."""
        path = os.path.join(self.make_directory(), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        shutil.copy(os.path.realpath(of), path)
        return path

    def start(self, *command: str, cwd: str | None = None, **how: Any) -> subprocess.Popen[bytes]:
        """Start a program that waits, and wait until it runs."""
        child = subprocess.Popen(
            command,
            cwd=cwd or self.elsewhere,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            **how,
        )
        self.addCleanup(child.__exit__, None, None, None)
        self.addCleanup(child.kill)
        assert child.stdout is not None
        self.assertEqual(child.stdout.readline(), b"\n")
        return child

    def who(self, agent: str = "claude") -> str | None:
        owners = AGENTS[agent].owners(self.home, take_snapshot(programs=PROGRAMS))
        return owners.witness(self.session, self.transcript).who

    def check_seen(self, child: subprocess.Popen[bytes], agent: str = "claude") -> None:
        """Check that a program is named while it lives, and no longer."""
        self.assertIn(f"pid {child.pid} ", self.who(agent) or "")
        child.kill()
        child.wait()
        self.assertNotIn(str(child.pid), self.who(agent) or "")

    def test_a_version_s_file(self) -> None:
        path = self.program("claude/versions/2.1.270")
        self.check_seen(self.start(path, "-c", WAIT, cwd=self.directory))

    def test_the_name_on_windows(self) -> None:
        path = self.program("claude.exe")
        self.check_seen(self.start(path, "-c", WAIT, cwd=self.directory))

    def test_a_title_with_more_than_the_name(self) -> None:
        child = self.start("claude bg-spare", "-c", WAIT, executable="/bin/sh", cwd=self.directory)
        self.check_seen(child)

    def test_a_title_that_says_nothing(self) -> None:
        path = self.program("claude")
        self.check_seen(self.start("a title", "-c", WAIT, executable=path, cwd=self.directory))

    def test_node_with_the_development_kit(self) -> None:
        script = os.path.join(self.make_directory(), "@anthropic-ai/claude-agent-sdk/cli.js")
        os.makedirs(os.path.dirname(script))
        with open(script, "w") as file:
            file.write(WAIT)
        self.check_seen(self.start(self.program("node"), script, cwd=self.directory))

    def test_a_worktree_that_the_newest_record_names(self) -> None:
        path = self.program("claude")
        child = self.start(path, "-c", WAIT)
        self.assertNotIn(str(child.pid), self.who() or "")
        self.session = self.session.moved(self.elsewhere)
        self.check_seen(child)

    def test_a_directory_by_another_name(self) -> None:
        link = os.path.join(self.make_directory(), "link")
        os.symlink(self.directory, link)
        self.session = Identity(SESSION, link)
        self.check_seen(self.start(self.program("claude"), "-c", WAIT, cwd=self.directory))

    def test_the_transcript_s_path_in_a_command_line(self) -> None:
        self.check_seen(self.start("/bin/sh", "-c", WAIT, "x", "--resume", self.transcript))

    def test_the_session_s_id_in_a_command_line(self) -> None:
        self.check_seen(self.start("/bin/sh", "-c", WAIT, "x", f"--resume={SESSION}"))

    @needs_linux("on macOS, only processes of our own user are looked at")
    def test_the_id_in_another_user_s_command_line(self) -> None:
        self.as_root()
        self.check_seen(self.start("/bin/sh", "-c", WAIT, "x", SESSION, user=NOBODY))

    def test_another_user_s_program_elsewhere_proves_nothing(self) -> None:
        self.as_root()
        child = self.start("claude", "-c", WAIT, executable="/bin/sh", user=NOBODY)
        self.assertNotIn(str(child.pid), self.who() or "")

    def test_another_user_s_process_in_the_registry(self) -> None:
        self.as_root()
        child = self.start("/bin/sh", "-c", WAIT, user=NOBODY)
        process = look_at(child.pid)
        assert process is not None
        entry = {"pid": child.pid, "sessionId": SESSION, "cwd": "/", "procStart": process.start}
        with open(os.path.join(self.home, "sessions", f"{child.pid}.json"), "w") as file:
            json.dump(entry, file)
        self.check_seen(child)

    def test_the_transcript_is_open_for_writing(self) -> None:
        path, opened = self.program("codex"), {"TRANSCRIPT": self.transcript}
        child = self.start(path, "-c", f"exec 3>>$TRANSCRIPT; {WAIT}", env=opened)
        self.assertIn(f"pid {child.pid} ", self.who("codex") or "")
        child.kill()
        child.wait()
        reader = self.start(path, "-c", f"exec 3<$TRANSCRIPT; {WAIT}", env=opened)
        self.assertNotIn(str(reader.pid), self.who("codex") or "")

    def test_a_server_that_writes_to_a_session_without_a_lock(self) -> None:
        with open(os.path.join(self.elsewhere, "app-server"), "w") as script:
            script.write(f"exec 3>>{self.transcript}; {WAIT}")
        child = self.start(self.program("codex"), "app-server")
        self.assertEqual(self.who("codex"), f"Codex's server, pid {child.pid}")

    @needs_linux("what may be run and not read hides nothing on macOS")
    def test_a_program_that_hides_what_it_does(self) -> None:
        uid = NOBODY if os.geteuid() == 0 else os.geteuid()
        directory = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, directory)
        os.chmod(directory, 0o755)
        path = shutil.copy(os.path.realpath("/bin/sh"), os.path.join(directory, "claude"))
        # What may be run and not read may not be looked into: ptrace(2).
        os.chmod(path, 0o111)
        how = {} if uid == os.geteuid() else {"user": uid}
        child = self.start(path, "-c", WAIT, cwd="/", **how)
        found = as_user(uid, self.hidden_owner)
        self.assertEqual(found, ["unknown", f"pid {child.pid} (claude) hides what it does"])

    def hidden_owner(self) -> list[str | None]:
        snapshot = take_snapshot(programs=PROGRAMS)
        found = snapshot.running(AGENTS["claude"].programs, ["/nonexistent"])
        return [found.owner, found.who]

    def as_root(self) -> None:
        if os.geteuid() != 0:
            raise SkipTest("only root can be two users")
