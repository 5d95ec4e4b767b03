from __future__ import annotations

from typing import Any
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from palingenesis.monitor import roster as roster_module
from palingenesis.monitor.roster import Roster
from palingenesis.monitor.times import Times
from palingenesis.words import Kind
from tests.unit.monitor.fake_world import FakeWorld

OWN = "/home/.claude/projects/-home-s/s.jsonl"
BACKUP = "/home/.claude/projects/-home-s.bak/s.jsonl"
FORGED = "/home/.claude/projects/-tmp-forged/s.jsonl"


class GrowthTests(SynchronousTestCase):
    def test_a_transcript_that_has_grown_is_of_the_session_that_is_known(self) -> None:
        world = FakeWorld(Times())
        roster = Roster(world, Times(), [].append)
        known = []
        for _ in range(2):
            world.write("s", Kind.LIMIT)
            with mock.patch.object(world, "read", wraps=world.read) as read:
                list(roster.scan(world.homes(None), 1e12))
            known.append(read.call_args.args[2])
        self.assertEqual(known, [None, roster.sessions["claude", "s"].identity])

    def test_a_session_is_read_again_only_if_its_transcript_has_changed(self) -> None:
        world = FakeWorld(Times())
        roster = Roster(world, Times(), [].append)
        world.write("s", Kind.LIMIT)
        list(roster.scan(world.homes(None), 1e12))
        before = roster.sessions["claude", "s"]
        self.assertIs(roster.refresh(before), before)
        world.write("s", Kind.TRANSIENT, key="later")
        found = roster.refresh(before)
        assert found is not None
        self.assertEqual(found.verdict.kind, Kind.TRANSIENT)
        self.assertIs(roster.sessions["claude", "s"], found)
        world.files.clear()
        self.assertIsNone(roster.refresh(found))


class MemoryTests(SynchronousTestCase):
    """Which sessions are forgotten if there are many."""

    def setUp(self) -> None:
        self.patch(roster_module, "KEPT", 2)
        self.world = FakeWorld(Times())
        self.roster = Roster(self.world, Times(), [].append)
        self.now = Times().wall()

    def kept(self, *ages: float) -> set[str]:
        for age in ages:
            self.world.write(f"s{age:.0f}", Kind.LIMIT).written = self.now - age
        list(self.roster.scan(self.world.homes(None), 1000.0))
        return {name for _, name in self.roster.sessions}

    def test_old_ones_are_forgotten_while_there_are_more_than_are_kept(self) -> None:
        self.assertEqual(self.kept(10, 2000, 3000, 4000), {"s10", "s2000"})
        self.assertEqual(self.kept(20), {"s10", "s20"})

    def test_those_that_grew_lately_are_all_kept(self) -> None:
        self.assertEqual(self.kept(10, 20, 30, 2000), {"s10", "s20", "s30"})

    def test_few_are_kept_however_old_they_are(self) -> None:
        self.assertEqual(self.kept(5000, 6000), {"s5000", "s6000"})


class TwoTranscriptsTests(SynchronousTestCase):
    """Two transcripts of one session."""

    def setUp(self) -> None:
        self.world = FakeWorld(Times())
        self.warnings: list[str] = []
        self.roster = Roster(self.world, Times(), self.warnings.append)
        self.write(OWN)

    def write(self, path: str, at: float = 1000.0, key: str = "limit", **more: Any) -> None:
        self.world.write("s", Kind.LIMIT, path=path, at=at, key=key, reset=5000.0, **more)

    def elected(self) -> tuple[str, Kind | None]:
        for _ in self.roster.scan(self.world.homes(None), 1e12):
            pass
        session = self.roster.sessions["claude", "s"]
        return session.path, session.verdict.kind

    def test_a_copy_changes_nothing(self) -> None:
        self.write(BACKUP, 2000.0)
        self.assertEqual(self.elected(), (OWN, Kind.LIMIT))
        self.assertEqual(self.warnings, [])

    def test_an_older_copy_changes_nothing(self) -> None:
        self.write(BACKUP, 500.0, "older")
        self.assertEqual(self.elected(), (OWN, Kind.LIMIT))

    def test_a_newer_end_in_another_file_leaves_the_end_unknown(self) -> None:
        self.write(BACKUP, 2000.0, "newer")
        self.assertEqual(self.elected(), (OWN, Kind.UNKNOWN))
        self.assertIn(BACKUP, self.warnings[0])

    def test_another_directory_leaves_the_end_unknown_whatever_its_end_is(self) -> None:
        for key in ("limit", "newer"):
            self.write(FORGED, 2000.0, key, directory="/tmp/forged")
            self.assertEqual(self.elected()[1], Kind.UNKNOWN)
        self.assertEqual(len(set(self.warnings)), 1)

    def test_a_forged_file_whose_folder_is_not_its_directory_s_does_not_win(self) -> None:
        self.write(BACKUP, 2000.0, directory="/tmp/forged")
        self.assertEqual(self.elected(), (OWN, Kind.LIMIT))
        self.assertEqual(self.roster.sessions["claude", "s"].identity.directory, "/home/s")

    def test_the_end_is_known_again_when_the_other_file_is_gone(self) -> None:
        self.write(FORGED, 2000.0, directory="/tmp/forged")
        self.elected()
        del self.world.files[FORGED]
        self.assertEqual(self.elected(), (OWN, Kind.LIMIT))

    def test_a_doubt_stays_one_session_until_it_grows(self) -> None:
        self.write(FORGED, 2000.0, directory="/tmp/forged")
        self.elected()
        before = self.roster.sessions["claude", "s"]
        self.world.write("other", None)
        self.elected()
        self.assertIs(self.roster.sessions["claude", "s"], before)
        self.assertIs(self.roster.refresh(before), before)
