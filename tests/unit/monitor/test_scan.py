from __future__ import annotations

import errno
import os
import shutil
import time
from unittest import mock

from twisted.internet.task import Clock
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from palingenesis.monitor import scan
from palingenesis.monitor.files import STRIDE, Bounds, Walk
from palingenesis.monitor.homes import Home
from palingenesis.monitor.scan import DORMANT, STALE, TURN, Change, Scans
from tests.support.times import StagedTimes

NOBODY = 65534


class ScanTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.home = os.path.abspath(self.mktemp())
        self.warnings: list[str] = []
        self.scans = self.make_scans()
        os.makedirs(os.path.join(self.home, "projects"))

    def make_scans(self, **limits: int) -> Scans:
        return Scans(self.warnings.append, bounds=Bounds(**limits))

    def write(self, name: str, content: str = "{}\n") -> str:
        path = os.path.join(self.home, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "a") as file:
            file.write(content)
        return path

    def home_of(self, agent: str) -> Home:
        return Home(agent, agent, self.home)

    def scan(self, agent: str = "claude") -> list[Change]:
        changes = self.scans.changes([self.home_of(agent)])
        return [change for change in changes if change is not None]

    def found(self, agent: str = "claude") -> list[str]:
        return sorted(os.path.relpath(change.transcript, self.home) for change in self.scan(agent))

    def test_a_first_scan_reports_every_transcript(self) -> None:
        names = ["projects/-a/1.jsonl", "projects/-a/2.jsonl", "projects/-b/3.jsonl"]
        for name in names:
            self.write(name)
        self.assertEqual(self.found(), names)

    def test_codex_keeps_its_transcripts_by_the_day(self) -> None:
        name = "sessions/2026/09/21/rollout-2026-09-21T05-00-00-x.jsonl"
        self.write(name)
        self.write(name + ".zst")
        self.write("sessions/2026/09/21/other.jsonl")
        self.write("sessions/rollout-x.jsonl")
        self.assertEqual(self.found("codex"), [name])

    def test_a_second_scan_reports_nothing_that_has_not_changed(self) -> None:
        self.write("projects/-a/1.jsonl")
        self.scan()
        self.assertEqual(self.scan(), [])

    def test_growth_is_reported(self) -> None:
        path = self.write("projects/-a/1.jsonl")
        self.write("projects/-a/2.jsonl")
        self.scan()
        self.write("projects/-a/1.jsonl")
        (change,) = self.scan()
        assert change.stamp is not None
        self.assertEqual(
            (change.home.agent, change.transcript, change.stamp.size), ("claude", path, 6)
        )

    def test_another_file_of_the_same_size_is_reported(self) -> None:
        path = self.write("projects/-a/1.jsonl")
        status = os.stat(path)
        self.scan()
        other = self.write("other")
        os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
        os.replace(other, path)
        self.assertEqual(len(self.scan()), 1)

    def test_a_transcript_that_is_gone_is_reported_once(self) -> None:
        path = self.write("projects/-a/1.jsonl")
        self.scan()
        os.unlink(path)
        self.assertEqual(self.scan(), [Change(self.home_of("claude"), path, None)])
        self.assertEqual(self.scan(), [])

    def test_the_transcripts_of_an_agent_that_is_left_out_are_gone(self) -> None:
        path = self.write("projects/-a/1.jsonl")
        self.scan()
        self.assertEqual(list(self.scans.changes({})), [Change(self.home_of("claude"), path, None)])

    def test_a_directory_that_appears_later_counts(self) -> None:
        os.rmdir(os.path.join(self.home, "projects"))
        self.assertEqual(self.found(), [])
        self.write("projects/-a/1.jsonl")
        self.assertEqual(self.found(), ["projects/-a/1.jsonl"])
        self.assertEqual(self.warnings, [])

    def test_a_transcript_that_is_forgotten_is_reported_anew(self) -> None:
        path = self.write("projects/-a/1.jsonl")
        self.scan()
        self.scans.forget(path)
        self.assertEqual(len(self.scan()), 1)

    def test_what_is_no_file_or_lies_deeper_is_left_out(self) -> None:
        self.write("projects/-a/1/subagents/2.jsonl")
        self.write("projects/top.jsonl")
        self.write("projects/-a/notes.txt")
        os.mkdir(os.path.join(self.home, "projects/-a/3.jsonl"))
        os.mkfifo(os.path.join(self.home, "projects/-a/4.jsonl"))
        self.assertEqual(self.found(), [])

    def test_a_link_to_a_file_is_not_followed(self) -> None:
        self.write("projects/-a/1.jsonl")
        os.symlink("..", os.path.join(self.home, "projects/-a/circle"))
        os.symlink("1.jsonl", os.path.join(self.home, "projects/-a/2.jsonl"))
        self.assertEqual(self.found(), ["projects/-a/1.jsonl"])

    def test_a_project_s_directory_may_be_a_link(self) -> None:
        self.write("elsewhere/1.jsonl")
        for name in ("-a", "-b"):
            os.symlink("../elsewhere", os.path.join(self.home, "projects", name))
        os.symlink("../nowhere", os.path.join(self.home, "projects/-c"))
        (name,) = self.found()
        self.assertIn(name, ("projects/-a/1.jsonl", "projects/-b/1.jsonl"))
        self.assertEqual(self.warnings, [])

    def test_a_directory_and_a_link_to_it_are_one(self) -> None:
        self.write("projects/-b/1.jsonl")
        for name in ("-a", "-c"):
            os.symlink("-b", os.path.join(self.home, "projects", name))
        self.assertEqual(self.found(), ["projects/-b/1.jsonl"])

    def test_a_link_to_another_user_s_directory_is_warned_about(self) -> None:
        if os.geteuid() != 0:
            raise SkipTest("only root gives directories away")
        self.write("elsewhere/1.jsonl")
        os.chown(os.path.join(self.home, "elsewhere"), NOBODY, NOBODY)
        os.symlink("../elsewhere", os.path.join(self.home, "projects/-a"))
        self.assertEqual(self.found(), [])
        self.assertIn("projects/-a: leads to a directory of another user", self.warnings[0])

    def test_the_agent_s_own_directory_may_be_a_link(self) -> None:
        self.write("elsewhere/-a/1.jsonl")
        os.rmdir(os.path.join(self.home, "projects"))
        os.symlink("elsewhere", os.path.join(self.home, "projects"))
        self.assertEqual(self.found(), ["projects/-a/1.jsonl"])

    def test_links_in_a_circle_are_warned_about(self) -> None:
        os.rmdir(os.path.join(self.home, "projects"))
        os.symlink("projects", os.path.join(self.home, "projects"))
        self.assertEqual([self.found(), self.found()], [[], []])
        self.assertEqual(len(set(self.warnings)), 1)

    def test_names_that_are_no_text(self) -> None:
        path = os.path.join(os.fsencode(self.home), b"projects", b"-\xff\n")
        os.mkdir(path)
        with open(os.path.join(path, b"\xfe.jsonl"), "w"):
            pass
        self.assertEqual(len(self.scan()), 1)

    def test_another_user_s_transcripts_are_left_alone_and_warned_about(self) -> None:
        if os.geteuid() != 0:
            raise SkipTest("only root gives files away")
        for name in ("projects/-a/1.jsonl", "projects/-a/2.jsonl"):
            os.chown(self.write(name), NOBODY, NOBODY)
        self.write("projects/-a/3.jsonl")
        self.assertEqual([self.found(), self.found()], [["projects/-a/3.jsonl"], []])
        self.assertEqual(len(set(self.warnings)), 1)
        self.assertIn("another user", self.warnings[0])

    def test_a_directory_that_cannot_be_read_is_warned_about(self) -> None:
        self.write("projects/-a/1.jsonl")
        self.write("projects/-b/2.jsonl")
        for path in (self.home, os.path.dirname(self.home)):
            os.chmod(path, 0o755)
        os.chmod(os.path.join(self.home, "projects/-a"), 0)
        self.addCleanup(os.chmod, os.path.join(self.home, "projects/-a"), 0o700)
        if os.geteuid() == 0:
            os.chown(os.path.join(self.home, "projects/-b/2.jsonl"), NOBODY, NOBODY)
            os.seteuid(NOBODY)
            self.addCleanup(os.seteuid, 0)
            try:
                os.listdir(os.path.join(self.home, "projects"))
            except OSError:
                raise SkipTest("another user cannot reach the test's directory") from None
        self.scans = self.make_scans()
        self.assertEqual([self.found(), self.found()], [["projects/-b/2.jsonl"], []])
        self.assertEqual(len(set(self.warnings)), 1)
        self.assertIn("cannot be read: Permission denied", self.warnings[0])

    def test_a_directory_with_too_many_names_is_cut_short_and_warned_about(self) -> None:
        self.scans = self.make_scans(directory=10)
        for n in range(30):
            self.write(f"projects/-a/{n}.jsonl")
        self.write("projects/-b/1.jsonl")
        self.assertEqual([len(self.scan()), len(self.scan())], [11, 0])
        self.assertEqual(len(set(self.warnings)), 1)
        self.assertIn("more than 10 files", self.warnings[0])

    def test_too_many_names_in_all_are_cut_short_and_warned_about(self) -> None:
        self.scans = self.make_scans(walk=10)
        for n in range(30):
            self.write(f"projects/-{n}/1.jsonl")
        self.scan()
        self.scan()
        self.assertEqual(len(set(self.warnings)), 1)
        self.assertIn(f"{self.home}: more than 10 files", self.warnings[0])

    def test_a_home_with_too_many_names_hides_nothing_of_another(self) -> None:
        self.scans = self.make_scans(walk=10)
        for n in range(30):
            self.write(f"projects/-{n}/1.jsonl")
        first, self.home = self.home_of("claude"), os.path.abspath(self.mktemp())
        paths = [self.write(f"sessions/2026/11/27/rollout-{n}.jsonl") for n in range(5)]
        homes = [first, self.home_of("codex")]
        self.assertEqual(self.found_in(homes, "codex"), paths)
        self.assertEqual([first.directory in warning for warning in set(self.warnings)], [True])
        os.unlink(paths[0])
        self.assertEqual(self.found_in(homes, "codex"), paths[:1])

    def found_in(self, homes: list[Home], name: str) -> list[str]:
        """Scan several homes, and return what has changed in one of them."""
        changes = [change for change in self.scans.changes(homes) if change is not None]
        return sorted(change.transcript for change in changes if change.home.name == name)

    def test_a_scan_that_is_cut_short_takes_nothing_for_gone_that_is_there(self) -> None:
        paths = [self.write(f"projects/-a/{n}.jsonl") for n in range(5)]
        self.scan()
        os.unlink(paths[0])
        self.scans._bounds = Bounds(directory=0)
        self.assertEqual(self.scan(), [Change(self.home_of("claude"), paths[0], None)])

    def test_a_scan_pauses_after_so_many_names(self) -> None:
        for n in range(3 * STRIDE):
            self.write(f"projects/-a/{n}.txt")
        self.assertEqual(list(self.scans.changes([self.home_of("claude")])), [None] * 3)

    def test_a_scan_pauses_while_it_reports_what_is_gone(self) -> None:
        for n in range(2 * STRIDE):
            self.write(f"projects/-a/{n}.jsonl")
        self.scan()
        self.assertEqual(list(self.scans.changes({})).count(None), 2)

    def test_a_scan_that_is_given_up_is_finished_by_the_next(self) -> None:
        for n in range(5):
            self.write(f"projects/-a/{n}.jsonl")
        changes = self.scans.changes([self.home_of("claude")])
        first = next(change for change in changes if change is not None)
        rest = self.scan()
        self.assertEqual(len({first.transcript, *(change.transcript for change in rest)}), 5)
        self.assertEqual(len(rest), 4)


class UnreadTestCase(SynchronousTestCase):
    """
    :cvar agent: whose transcripts are written.
    :cvar top: the directory of them all.
    :cvar name: the name of one below it.
    """

    agent = "claude"
    top = "projects"
    name = "-a/1.jsonl"

    def setUp(self) -> None:
        # When a directory is read again follows from its path, which a test does not choose.
        self.patch(scan, "crc32", lambda _: 2**31)
        self.home = os.path.abspath(self.mktemp())
        self.clock = Clock()
        self.began = time.time()
        times = StagedTimes(lambda: self.began + self.clock.seconds(), self.clock.seconds)
        self.scans = Scans(self.fail, times)
        self.old = self.write(self.name)
        self.settle()

    def path(self, name: str) -> str:
        return os.path.join(self.home, self.top, name)

    def write(self, name: str, age: float = 2 * DORMANT) -> str:
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "a") as file:
            file.write("{}\n")
        then = self.began + self.clock.seconds() - age
        os.utime(path, (then, then))
        return path

    def settle(self) -> None:
        """Date all directories back, and scan twice: now, and when all were read in turn."""
        for top, _, _ in os.walk(self.home):
            os.utime(top, (self.began - 60, self.began - 60))
        self.scan()
        self.clock.advance(TURN)
        self.scan()

    def scan(self, *homes: Home) -> list[str]:
        """Scan five seconds later, and return the transcripts that have changed."""
        self.clock.advance(5)
        changes = self.scans.changes(homes or [Home(self.agent, self.agent, self.home)])
        return [change.transcript for change in changes if change is not None]


class DormantTests(UnreadTestCase):
    """Transcripts that have not grown for a day, in directories in which nothing appears."""

    def test_nothing_is_asked_about_them(self) -> None:
        asked: list[str] = []
        self.patch(Walk, "_is_over", lambda _walk, directory, _count: asked.append(directory))
        self.clock.advance(TURN)
        self.assertEqual(self.scan(), [])
        self.assertNotIn(self.path("-a"), asked)
        self.clock.advance(STALE)
        self.scan()
        self.assertIn(self.path("-a"), asked)

    def test_a_scan_leaves_no_descriptor_open(self) -> None:
        before = os.listdir("/dev/fd")
        for _ in range(3):
            self.clock.advance(TURN)
            self.scan()
        self.assertEqual(os.listdir("/dev/fd"), before)

    def test_a_scan_pauses_while_it_asks_about_them(self) -> None:
        for number in range(STRIDE + 1):
            self.write(f"-b/{number}.jsonl")
        self.settle()
        self.clock.advance(TURN)
        found = list(self.scans.changes([Home(self.agent, self.agent, self.home)]))
        self.assertEqual(found, [None])

    def test_a_directory_whose_time_does_not_tell_of_a_new_one_is_read_again(self) -> None:
        new = self.write("-a/2.jsonl")
        os.utime(self.path("-a"), (self.began - 60, self.began - 60))
        self.assertEqual(self.scan(), [])
        self.clock.advance(STALE)
        self.assertEqual(self.scan(), [new])

    def test_a_directory_that_cannot_be_looked_at_for_a_moment_is_read_again(self) -> None:
        self.write("-a/1.jsonl", age=0.0)
        self.clock.advance(TURN)
        with mock.patch("os.lstat", side_effect=OSError(errno.ENOMEM, "Cannot allocate memory")):
            self.assertEqual(self.scan(), [])
        self.assertEqual(self.scan(), [self.old])

    def test_a_scan_that_is_given_up_leaves_the_rest_for_the_next(self) -> None:
        young = [self.write(f"-a/{number}.jsonl", age=0.0) for number in range(STRIDE + 2)]
        self.scan()
        self.settle()
        for path in young:
            self.write(os.path.relpath(path, self.path("")), age=-10.0)
        self.clock.advance(TURN)
        changes = self.scans.changes([Home("claude", "claude", self.home)])
        first = next(change for change in changes if change is not None)
        changes.close()
        self.assertEqual(sorted([first.transcript, *self.scan()]), sorted(young))

    def test_a_new_one_is_seen_by_the_next_scan(self) -> None:
        new = self.write("-a/2.jsonl")
        self.assertEqual(self.scan(), [new])
        other = self.write("-b/3.jsonl")
        self.assertEqual(self.scan(), [other])

    def test_a_dormant_transcript_that_grows_again_is_seen_within_a_minute(self) -> None:
        self.write("-a/1.jsonl", age=0.0)
        seen = [self.scan() for _ in range(12)]
        self.assertEqual([changed for changed in seen if changed], [[self.old]])

    def test_a_transcript_that_has_grown_lately_is_seen_by_the_next_scan(self) -> None:
        young = self.write("-a/2.jsonl", age=600.0)
        self.scan()
        self.settle()
        for age in (300.0, 100.0):
            self.write("-a/2.jsonl", age)
            self.assertEqual(self.scan(), [young])
        self.assertEqual(self.scan(), [])

    def test_a_dormant_transcript_that_is_gone_is_seen_by_the_next_scan(self) -> None:
        os.unlink(self.old)
        self.assertEqual(self.scan(), [self.old])
        self.assertEqual(self.scan(), [])

    def test_a_forgotten_transcript_is_reported_by_the_next_scan(self) -> None:
        self.scans.forget(self.old)
        self.assertEqual(self.scan(), [self.old])

    def test_a_transcript_in_a_renamed_home_is_reported_by_the_next_scan(self) -> None:
        self.assertEqual(self.scan(Home("work", "claude", self.home)), [self.old])

    def test_an_agent_that_wants_its_files_whatever_their_directory_says_gets_them(self) -> None:
        self.patch(Walk, "skip", lambda *_: 1)
        walk = Walk(self.fail)
        found = {
            whole: [
                each for each in walk.files(self.home, "projects/*/*.jsonl", whole=whole) if each
            ]
            for whole in (True, False)
        }
        self.assertEqual([path for path, _ in found[True]], [self.old])
        self.assertEqual(found[False], [])

    def test_a_directory_that_was_cut_short_is_read_again(self) -> None:
        self.scans = Scans(lambda _: None, self.scans._times, Bounds(directory=1))
        self.write("-a/2.jsonl")
        self.write("-b/3.jsonl")
        self.settle()
        self.assertEqual(self.scans._directories, {})


class OwnDirectoryTests(UnreadTestCase):
    """Transcripts that have a directory each, as Copilot CLI's do."""

    agent = "copilot"
    top = "session-state"
    name = "one/events.jsonl"

    def test_the_directories_of_known_transcripts_are_not_asked_about(self) -> None:
        asked: list[object] = []
        with (
            mock.patch("os.scandir", side_effect=asked.append),
            mock.patch("os.lstat", asked.append),
        ):
            self.assertEqual(self.scan(), [])
        self.assertEqual(asked, [])

    def test_a_new_one_is_seen_by_the_next_scan(self) -> None:
        self.assertEqual(self.scan(), [])
        new = self.write("two/events.jsonl", age=0.0)
        self.assertEqual(self.scan(), [new])

    def test_a_transcript_in_a_directory_from_before_is_seen_by_the_next_scan(self) -> None:
        """A program makes the directory when it starts, and the file at the first prompt."""
        os.mkdir(self.path("two"))
        os.utime(self.path(""), (self.began - 30, self.began - 30))
        for _ in range(2 * int(TURN / 5)):
            self.assertEqual(self.scan(), [])
        new = self.write("two/events.jsonl", age=0.0)
        self.assertEqual([self.scan(), self.scan()], [[new], []])

    def test_a_dormant_transcript_that_grows_again_is_seen_within_a_minute(self) -> None:
        self.write(self.name, age=0.0)
        seen = [self.scan() for _ in range(12)]
        self.assertEqual([changed for changed in seen if changed], [[self.old]])
        self.write(self.name, age=-1.0)
        self.assertEqual(self.scan(), [self.old])

    def test_a_transcript_gone_without_its_directory_is_seen_within_a_minute(self) -> None:
        os.unlink(self.old)
        seen = [self.scan() for _ in range(12)]
        self.assertEqual([changed for changed in seen if changed], [[self.old]])

    def test_a_transcript_whose_directory_is_gone_is_seen_by_the_next_scan(self) -> None:
        shutil.rmtree(os.path.dirname(self.old))
        self.assertEqual([self.scan(), self.scan()], [[self.old], []])

    def test_what_is_no_file_of_ours_is_left_out(self) -> None:
        os.mkdir(self.path("two"))
        os.symlink(self.old, self.path("two/events.jsonl"))
        os.makedirs(self.path("three/events.jsonl"))
        self.write("four")
        self.assertEqual(self.scan(), [])

    def test_a_session_s_directory_may_be_a_link(self) -> None:
        os.mkdir(self.path("../elsewhere"))
        self.write("../elsewhere/events.jsonl")
        os.symlink("../elsewhere", self.path("two"))
        os.symlink("one", self.path("three"))
        self.assertEqual(self.scan(), [self.path("two/events.jsonl")])


class NamedLevelTests(UnreadTestCase):
    """Transcripts in a directory of a known name below each project's, as Qwen Code's are."""

    agent = "qwen"
    name = "-a/chats/1.jsonl"

    def test_the_project_s_directory_is_not_read(self) -> None:
        with mock.patch("os.scandir", wraps=os.scandir) as read:
            self.assertEqual(self.scan(), [])
        self.assertEqual(
            [call.args for call in read.call_args_list], [(os.path.join(self.home, self.top),)]
        )

    def test_a_new_one_is_seen_by_the_next_scan(self) -> None:
        new = [self.write("-a/chats/2.jsonl"), self.write("-b/chats/3.jsonl")]
        self.write("-b/other/4.jsonl")
        self.assertEqual(sorted(self.scan()), new)

    def test_the_directory_may_be_a_link_to_one_of_ours(self) -> None:
        os.mkdir(self.path("-b"))
        os.symlink("../-a/chats", self.path("-b/chats"))
        self.assertEqual(self.scan(), [self.path("-b/chats/1.jsonl")])

    def test_a_link_to_another_user_s_is_warned_about(self) -> None:
        warnings: list[str] = []
        self.scans = Scans(warnings.append, self.scans._times)
        os.mkdir(self.path("-b"))
        os.symlink("../-a/chats", self.path("-b/chats"))
        with mock.patch("os.geteuid", return_value=os.geteuid() + 1):
            self.scan()
        self.assertIn("leads to a directory of another user", "".join(warnings))
