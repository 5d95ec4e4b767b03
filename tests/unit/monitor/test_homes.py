"""The homes of agents, and the right to revive the sessions of one."""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from palingenesis.monitor import homes, machine
from palingenesis.monitor.agents import AGENTS
from palingenesis.monitor.homes import Home, HomeLock, HomeLocks, default_homes
from palingenesis.monitor.mounts import Mount
from tests.support.needs import needs_linux


class HomeTests(SynchronousTestCase):
    def test_a_named_home_is_named_to_its_agent(self) -> None:
        self.assertEqual(Home("claude", "claude", "/a").environment, {})
        named = Home("work", "claude", "/a", is_named=True)
        self.assertEqual(named.environment, {"CLAUDE_CONFIG_DIR": "/a"})

    def test_each_agent_has_a_default_home(self) -> None:
        found = default_homes({"HOME": "/h", "CODEX_HOME": "/x"})
        self.assertEqual(found.keys(), AGENTS.keys())
        self.assertEqual(found["codex"], Home("codex", "codex", "/x"))
        self.assertEqual(found["claude"], Home("claude", "claude", "/h/.claude"))

    def test_a_transcript_is_in_the_home_above_it(self) -> None:
        home = Home("claude", "claude", "/home/.claude")
        self.assertTrue(home.holds("/home/.claude/projects/-a/1.jsonl"))
        self.assertFalse(home.holds("/home/.claude-work/projects/-a/1.jsonl"))

    def test_other_homes_are_named_like_it_or_by_the_environment(self) -> None:
        base = os.path.abspath(self.mktemp())
        for name in (
            *(".claude/projects", ".claude-work/projects", ".claude_b/projects"),
            *(".claude.c/projects", ".claudette/projects", ".claude-empty", "named"),
        ):
            os.makedirs(os.path.join(base, name))
        home = Home("claude", "claude", os.path.join(base, ".claude"))
        like = [os.path.join(base, name) for name in (".claude-work", ".claude.c", ".claude_b")]
        named = {"CLAUDE_CONFIG_DIR": os.path.join(base, "named")}
        nothing = {"CLAUDE_CONFIG_DIR": os.path.join(base, "none")}
        self.assertEqual(list(home.others(nothing)), like)
        self.assertEqual(list(home.others(named)), [os.path.join(base, "named"), *like])
        missing = Home("claude", "claude", os.path.join(base, "none", ".claude"))
        self.assertEqual(list(missing.others(nothing)), [])

    def test_an_agent_without_directories_of_transcripts_has_no_homes_like_it(self) -> None:
        base = os.path.abspath(self.mktemp())
        os.makedirs(os.path.join(base, "opencode-work"))
        home = Home("opencode", "opencode", os.path.join(base, "opencode"))
        self.assertEqual(list(home.others({"OPENCODE_DB": os.path.join(base, "x", "a.db")})), [])


class HomeLockTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = os.path.realpath(self.mktemp())
        os.mkdir(self.directory)
        self.home = Home("claude", "claude", self.directory)

    def locks(self) -> HomeLocks:
        locks = HomeLocks()
        self.addCleanup(locks.release)
        return locks

    def test_a_home_is_kept_by_one_daemon(self) -> None:
        first, second = self.locks(), self.locks()
        first.take([self.home])
        second.take([self.home])
        self.assertIs(first.keeper_of(self.home), True)
        self.assertEqual(second.keeper_of(self.home), os.getpid())
        expected = f"another daemon (pid {os.getpid()}) keeps it"
        self.assertIn(expected, second.warning_of(self.home) or "")

    @needs_linux("/proc is Linux's")
    def test_a_keeper_that_the_kernel_does_not_name_is_another_daemon(self) -> None:
        first, second = self.locks(), self.locks()
        first.take([self.home])
        table = machine.table
        self.patch(machine, "table", lambda path: None if "locks" in path else table(path))
        second.take([self.home])
        warning = f"{self.directory}: another daemon keeps it"
        self.assertEqual(second.warning_of(self.home), warning)
        self.assertIsNone(second.keeper_of(self.home))

    def test_a_home_that_is_gone_is_let_go(self) -> None:
        locks = self.locks()
        before = os.listdir("/dev/fd")
        locks.take([self.home])
        os.rmdir(self.directory)
        locks.take([self.home])
        self.assertIsNone(locks.keeper_of(self.home))
        self.assertEqual(os.listdir("/dev/fd"), before)

    def test_a_home_that_is_refused_leaves_no_descriptor_open(self) -> None:
        self.locks().take([self.home])
        before = os.listdir("/dev/fd")
        self.locks().take([self.home])
        self.assertEqual(os.listdir("/dev/fd"), before)

    def test_nothing_is_written_into_the_home(self) -> None:
        os.chmod(self.directory, 0o500)
        self.locks().take([self.home])
        self.assertEqual(os.listdir(self.directory), [])

    def test_a_home_that_another_daemon_kept_is_taken_over(self) -> None:
        first, second = self.locks(), self.locks()
        self.assertEqual(first.take([self.home]), [])
        second.take([self.home])
        first.release()
        self.assertEqual(second.take([self.home]), [self.home])
        self.assertEqual(second.take([self.home]), [])

    def test_a_home_that_is_no_longer_monitored_is_let_go(self) -> None:
        first, second = self.locks(), self.locks()
        first.take([self.home])
        first.take([])
        second.take([self.home])
        self.assertIs(second.keeper_of(self.home), True)

    def test_a_directory_put_in_the_place_of_the_home_is_taken_anew(self) -> None:
        locks = self.locks()
        locks.take([self.home])
        os.rename(self.directory, f"{self.directory}.old")
        os.mkdir(self.directory)
        other = HomeLock(self.directory)
        self.assertTrue(other.take())
        locks.take([self.home])
        self.assertIsNot(locks.keeper_of(self.home), True)
        other.release()
        locks.take([self.home])
        self.assertIs(locks.keeper_of(self.home), True)

    @needs_linux("macOS asks the path itself for its file system")
    def test_a_home_on_a_shared_file_system_is_never_kept(self) -> None:
        self.patch(homes, "read_mounts", lambda: (Mount("/", "nfs4"),))
        locks = self.locks()
        locks.take([self.home])
        self.assertIsNot(locks.keeper_of(self.home), True)
        self.assertIn("other machines may share its file system", locks.warning_of(self.home) or "")

    def test_a_home_that_is_not_there_is_no_warning(self) -> None:
        locks = self.locks()
        missing = Home("codex", "codex", f"{self.directory}-missing")
        locks.take([missing])
        self.assertEqual((locks.keeper_of(missing), locks.warning_of(missing)), (None, None))
