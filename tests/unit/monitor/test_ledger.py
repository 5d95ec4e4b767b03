"""The ledger: sums that survive everything, and lines that lose only themselves."""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
import tempfile
from typing import Any
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from palingenesis.monitor.ledger import (
    LEDGER_NAME,
    Attempt,
    Entry,
    Ledger,
    LedgerError,
    Stop,
    file,
    ledger,
)
from palingenesis.monitor.ledger.history import SESSIONS_LIMIT, Sums
from palingenesis.monitor.ledger.records import render
from palingenesis.monitor.times import Times
from palingenesis.words import Event, Kind

START = 1_700_000_000.0


def stop(session: str = "one", key: str = "a", kind: Kind = Kind.LIMIT) -> Stop:
    return Stop("claude", session, key, kind, f"/t/{session}.jsonl", "/home/you/app")


class SetTimes(Times):
    """A wall clock that a test sets."""

    def __init__(self, now: float) -> None:
        self.now = now

    def wall(self) -> float:
        return self.now


class LedgerCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = os.path.join(os.path.abspath(self.mktemp()), "state")
        self.path = os.path.join(self.directory, LEDGER_NAME)
        self.times = SetTimes(START)
        self.ledger = self.opened()

    def unopened(self) -> Ledger:
        ledger = Ledger(self.directory, self.times)
        self.addCleanup(ledger.close)
        return ledger

    def opened(self) -> Ledger:
        ledger = self.unopened()
        self.assertIsNone(ledger.open())
        return ledger

    def content(self) -> bytes:
        with open(self.path, "rb") as source:
            return source.read()

    def run_once(self, the_stop: Stop, outcome: str = "failed", **known: Any) -> Attempt:
        attempt = self.ledger.intent(the_stop)
        self.ledger.started(attempt, 42, "7@boot", "/o/1.log")
        getattr(self.ledger, outcome)(attempt, **known)
        return attempt

    def full(self, times: int = 1000) -> Any:
        """Let the disk be full for so many writes."""
        real, left = os.write, [times]

        def write(descriptor: int, data: Any) -> int:
            if left[0] > 0:
                left[0] -= 1
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(descriptor, data)

        return mock.patch.object(file.os, "write", write)


class SumsTests(LedgerCase):
    def test_a_started_command_counts_as_a_resume_and_a_worked_one_as_a_save(self) -> None:
        self.run_once(stop(key="a"), "failed")
        self.run_once(stop(key="a"), "worked")
        again = self.opened()
        self.assertEqual((again.sums.started, again.sums.worked), (2, 1))

    def test_an_intent_that_never_started_is_no_resume(self) -> None:
        self.ledger.failed(self.ledger.intent(stop()))
        self.assertEqual(self.opened().sums.started, 0)

    def test_an_attempt_that_worked_counts_as_started_without_a_record_of_its_start(self) -> None:
        self.ledger.worked(self.ledger.intent(stop()))
        sums = self.opened().sums
        self.assertEqual((sums.started, sums.worked), (1, 1))

    def test_an_adopted_intent_counts_as_started_once(self) -> None:
        self.ledger.intent(stop())
        again = self.opened()
        (attempt,) = again.unfinished()
        again.started(attempt, 42, "7@boot", "/o/1.log")
        again.started(attempt, 42, "7@boot", "/o/1.log")
        again.worked(attempt)
        self.assertEqual(self.opened().sums.started, 1)

    def test_attempts_count_until_one_works(self) -> None:
        self.run_once(stop(key="a"))
        self.run_once(stop(key="b"))
        self.assertEqual(self.opened().history("claude", "one").attempts, 2)
        self.run_once(stop(key="b"), "worked")
        self.assertEqual(self.opened().history("claude", "one").attempts, 0)

    def test_a_new_stop_without_progress_keeps_the_attempts(self) -> None:
        self.run_once(stop(key="a"))
        self.ledger.stopped(stop(key="b"), START)
        self.assertEqual(self.opened().history("claude", "one").attempts, 1)

    def test_a_new_stop_after_progress_forgets_attempts_and_giving_up(self) -> None:
        self.run_once(stop(key="a"))
        self.ledger.gave_up(stop(key="a"))
        self.ledger.stopped(stop(key="b"), START, fresh=True)
        history = self.opened().history("claude", "one")
        self.assertEqual((history.attempts, history.given_up), (0, False))

    def test_giving_up_survives_a_restart(self) -> None:
        self.run_once(stop())
        self.ledger.gave_up(stop())
        self.assertTrue(self.opened().history("claude", "one").given_up)

    def test_the_same_quick_failure_twice_in_a_row_is_counted(self) -> None:
        self.run_once(stop(), status=1, quick=True)
        self.run_once(stop(), status=1, quick=True)
        self.assertEqual(self.opened().history("claude", "one").quick, 2)

    def test_another_exit_begins_the_row_again(self) -> None:
        self.run_once(stop(), status=1, quick=True)
        self.run_once(stop(), status=2, quick=True)
        self.assertEqual(self.opened().history("claude", "one").quick, 1)

    def test_a_slow_failure_ends_the_row(self) -> None:
        self.run_once(stop(), status=1, quick=True)
        self.run_once(stop(), status=1)
        self.assertEqual(self.opened().history("claude", "one").quick, 0)

    def test_sessions_of_different_agents_are_different(self) -> None:
        self.run_once(stop())
        self.assertEqual(self.ledger.history("codex", "one").attempts, 0)

    def test_pause_survives_a_restart_until_resume(self) -> None:
        self.ledger.pause("uid 0")
        self.assertTrue(self.opened().paused)
        self.ledger.resume("uid 0")
        self.assertFalse(self.opened().paused)

    def test_starts_are_those_of_the_last_hour(self) -> None:
        self.run_once(stop())
        self.times.now += 1800
        self.run_once(stop())
        self.times.now += 1801
        self.assertEqual(self.opened().starts(), 1)

    def test_a_clock_that_is_set_back_changes_no_order(self) -> None:
        self.ledger.pause("uid 0")
        self.times.now -= 86400
        self.ledger.resume("uid 0")
        self.run_once(stop())
        again = self.opened()
        self.assertEqual((again.paused, again.starts()), (False, 1))

    def test_a_first_time_ahead_of_now_is_corrected_for_good(self) -> None:
        self.times.now = START - 86400
        self.assertIsNone(self.ledger.open())
        self.times.now += 5
        self.assertEqual(self.ledger.sums.first_at, START - 86400)
        self.assertEqual(self.opened().sums.first_at, START - 86400)

    def test_a_restart_corrects_a_first_time_ahead_of_now(self) -> None:
        self.times.now = START - 86400
        self.assertEqual(self.opened().sums.first_at, START - 86400)

    def test_a_stop_is_written_once(self) -> None:
        self.ledger.stopped(stop(), START)
        before = self.content()
        self.ledger.stopped(stop(), START + 5)
        self.opened().stopped(stop(), START)
        self.assertEqual(self.content(), before)

    def test_a_user_who_left_is_written_once(self) -> None:
        self.ledger.left(stop())
        before = self.content()
        self.opened().left(stop())
        self.assertEqual(self.content(), before)


class ForgettingTests(LedgerCase):
    def add(self, sums: Sums, count: int) -> None:
        for number in range(count):
            sums.add(Entry(START, Event.STOPPED, str(number), "claude", key="a"))

    def test_the_sessions_of_the_oldest_entries_are_forgotten_first(self) -> None:
        sums = Sums()
        self.add(sums, SESSIONS_LIMIT + 2)
        sums.add(Entry(START, Event.STOPPED, "0", "claude", key="b"))
        sums.forget(())
        self.assertEqual(len(sums.sessions), SESSIONS_LIMIT)
        known = [("claude", str(number)) in sums.sessions for number in range(4)]
        self.assertEqual(known, [True, False, False, True])

    def test_an_open_attempt_is_never_forgotten(self) -> None:
        sums = Sums()
        sums.add(Entry(START, Event.INTENT, "open", "claude", key="a", attempt=1))
        self.add(sums, SESSIONS_LIMIT)
        sums.forget(())
        self.assertIn(("claude", "open"), sums.sessions)

    def test_600_needed_sessions_do_not_push_each_other_out(self) -> None:
        """A loop of claude -p makes them; each tick would record their stops anew."""
        names = [("claude", str(number)) for number in range(600)]
        for _ in range(2):
            for _, session in names:
                self.ledger.stopped(stop(session))
            self.ledger.forget(names)
        self.assertEqual(len(self.content().splitlines()), 1 + 600)

    def test_what_is_needed_survives_a_restart(self) -> None:
        names = [("claude", str(number)) for number in range(600)]
        for _, session in names:
            self.ledger.stopped(stop(session))
        self.assertEqual(list(self.opened().sums.sessions), names)


class LaterEventTests(LedgerCase):
    def test_the_seconds_of_commands_that_worked_are_summed_once_each(self) -> None:
        first = self.run_once(stop(key="a"), "worked")
        self.ledger.ended(first, 0, 60.0)
        self.ledger.ended(first, 0, 60.0)
        self.ledger.ended(self.run_once(stop(key="b"), "worked"), -15, 30.5)
        self.assertEqual(self.opened().sums.seconds, 90.5)

    def test_the_seconds_of_a_command_that_failed_do_not_count(self) -> None:
        self.ledger.ended(self.run_once(stop()), 1, 60.0)
        self.assertEqual(self.opened().sums.seconds, 0.0)

    def test_a_command_that_has_ended_is_not_looked_for_after_a_restart(self) -> None:
        attempt = self.run_once(stop(), "worked")
        self.assertIsNotNone(self.opened().history("claude", "one").last)
        self.ledger.ended(attempt, 0, 60.0)
        self.assertIsNone(self.opened().history("claude", "one").last)

    def test_why_a_command_is_killed_survives_a_restart(self) -> None:
        attempt = self.ledger.intent(stop())
        self.ledger.started(attempt, 42, "7@boot", "/o/1.log")
        self.ledger.killed(attempt, "stall")
        (again,) = self.opened().unfinished()
        self.assertEqual(again.killed, "stall")

    def test_a_session_that_goes_on_under_another_id_has_a_successor(self) -> None:
        self.ledger.continued(stop(), "two")
        before = self.content()
        again = self.opened()
        again.continued(stop(), "two")
        self.assertEqual(again.history("claude", "one").successor, "two")
        self.assertEqual(self.content(), before)

    def test_a_person_is_called_once_for_each_stop(self) -> None:
        keys = ("a", "a", "b")
        news = [self.opened().needs_you(stop(key=key), "a question") for key in keys]
        self.assertEqual(news, [True, False, True])

    def test_a_hold_survives_a_restart_until_it_is_released(self) -> None:
        self.ledger.hold("claude", "one", "uid 0")
        again = self.opened()
        self.assertTrue(again.history("claude", "one").on_hold)
        again.release("claude", "one", "uid 0")
        self.assertFalse(self.opened().history("claude", "one").on_hold)

    def test_a_hold_that_changes_nothing_is_not_written(self) -> None:
        before = self.content()
        self.ledger.release("claude", "one", "uid 0")
        self.assertEqual(self.content(), before)
        self.ledger.hold("claude", "one", "uid 0")
        before = self.content()
        self.ledger.hold("claude", "one", "uid 0")
        self.assertEqual(self.content(), before)

    def test_a_session_on_hold_is_never_forgotten(self) -> None:
        self.ledger.hold("claude", "one", "uid 0")
        self.ledger.sums.forget((), 0)
        self.assertTrue(self.ledger.history("claude", "one").on_hold)

    def test_a_revival_that_a_person_asked_for_is_wanted_until_its_intent(self) -> None:
        self.ledger.asked(stop(), "uid 0")
        again = self.opened()
        self.assertEqual(again.history("claude", "one").asked, "a")
        again.intent(stop())
        self.assertIsNone(self.opened().history("claude", "one").asked)

    def test_a_hold_after_it_takes_a_wish_back(self) -> None:
        self.ledger.asked(stop(), "uid 0")
        self.ledger.hold("claude", "one", "uid 0")
        self.assertIsNone(self.opened().history("claude", "one").asked)

    def test_log_shows_their_reasons(self) -> None:
        attempt = self.run_once(stop(), "worked")
        self.ledger.killed(attempt, "stall")
        self.ledger.ended(attempt, -15, 60.0)
        self.ledger.continued(stop(), "two")
        killed, ended, continued = self.ledger.last(3)
        self.assertEqual(killed["reason"], "stall")
        self.assertEqual((ended["exit"], ended["seconds"]), (-15, 60.0))
        self.assertEqual(continued["successor"], "two")


class UnfinishedTests(LedgerCase):
    def test_an_intent_without_outcome_is_told_with_all_that_finds_its_command(self) -> None:
        self.ledger.started(self.ledger.intent(stop()), 42, "7@boot", "/o/1.log")
        expected = Attempt(stop(), 1, START, 42, "7@boot", "/o/1.log")
        self.assertEqual(self.opened().unfinished(), [expected])

    def test_an_intent_that_did_not_start_has_no_pid(self) -> None:
        self.ledger.intent(stop())
        self.assertEqual(self.opened().unfinished(), [Attempt(stop(), 1, START)])

    def test_an_outcome_finishes_it(self) -> None:
        self.run_once(stop())
        self.assertEqual(self.opened().unfinished(), [])

    def test_a_session_has_one_intent_at_a_time(self) -> None:
        self.ledger.intent(stop())
        self.assertRaises(ValueError, self.ledger.intent, stop(key="b"))


class FileTests(LedgerCase):
    def test_directory_and_file_are_private(self) -> None:
        modes = [stat.S_IMODE(os.stat(each).st_mode) for each in (self.directory, self.path)]
        self.assertEqual(modes, [0o700, 0o600])

    def test_one_json_object_a_line(self) -> None:
        self.run_once(stop(), status=1)
        events = [json.loads(line)["event"] for line in self.content().splitlines()]
        self.assertEqual(events, ["sums", "intent", "started", "failed"])

    def test_an_intent_is_synced_before_it_is_told(self) -> None:
        synced = []
        real = os.fsync

        def fsync(descriptor: int) -> None:
            real(descriptor)
            synced.append(self.content().splitlines()[-1])

        with mock.patch.object(file.os, "fsync", fsync):
            self.ledger.intent(stop())
        self.assertEqual(json.loads(synced[-1])["event"], "intent")

    def test_a_cut_after_any_byte_of_the_last_line_loses_that_line_alone(self) -> None:
        self.run_once(stop())
        before = self.content()
        self.ledger.pause("uid 0")
        line = self.content()[len(before) :]
        self.ledger.close()
        for cut in range(len(line) + 1):
            with open(self.path, "wb") as out:
                out.write(before + line[:cut])
            again = self.opened()
            # All but the newline is the whole line.
            self.assertEqual(again.paused, cut >= len(line) - 1, cut)
            self.assertEqual(again.history("claude", "one").attempts, 1)
            again.intent(stop())
            again.close()
            self.assertEqual(self.opened().history("claude", "one").attempts, 2, cut)

    def test_the_lines_after_a_torn_one_stay_whole(self) -> None:
        with open(self.path, "ab") as out:
            out.write(b'{"at":')
        self.ledger.close()
        again = self.opened()
        again.pause("uid 0")
        again.intent(stop())
        events = [json.loads(line)["event"] for line in self.content().splitlines()[-2:]]
        self.assertEqual(events, ["paused", "intent"])

    def test_every_prefix_of_the_file_can_be_opened(self) -> None:
        self.run_once(stop())
        content = self.content()
        for cut in range(0, len(content), 7):
            with open(self.path, "wb") as out:
                out.write(content[:cut])
            again = self.opened()
            again.intent(stop("other"))
            again.close()
            self.assertEqual(self.opened().history("claude", "other").attempts, 1, cut)

    def test_a_line_of_nonsense_loses_that_line_alone(self) -> None:
        self.run_once(stop())
        lines = self.content().splitlines(keepends=True)
        for nonsense in (b"\xff\xfe\n", b"\0" * 512 + b"\n", b"[1]\n", b"[" * 100_000 + b"\n"):
            with open(self.path, "wb") as out:
                out.write(lines[0] + nonsense + b"".join(lines[1:]))
            self.assertEqual(self.opened().sums.started, 1)

    def test_a_lost_intent_does_not_lose_what_followed(self) -> None:
        self.run_once(stop(), "worked")
        lines = self.content().splitlines(keepends=True)
        with open(self.path, "wb") as out:
            out.write(lines[0] + b"?\n" + b"".join(lines[2:]))
        again = self.opened()
        self.assertEqual((again.sums.started, again.sums.worked), (1, 1))

    def test_a_deleted_ledger_is_made_anew_with_the_sums(self) -> None:
        self.run_once(stop(), "worked")
        os.unlink(self.path)
        self.assertRaises(LedgerError, self.ledger.intent, stop())
        self.ledger.pause("uid 0")
        self.assertIsNone(self.ledger.open())
        again = self.opened()
        self.assertEqual((again.sums.worked, again.paused), (1, True))

    def refused(self) -> str:
        trouble = self.unopened().open()
        self.assertIsNotNone(trouble)
        assert trouble is not None
        self.assertNotIn("\n", trouble)
        return trouble

    def test_a_directory_that_others_can_read_is_refused(self) -> None:
        os.chmod(self.directory, 0o750)
        self.assertIn("chmod 700", self.refused())

    def test_a_fifo_is_refused_without_waiting(self) -> None:
        os.unlink(self.path)
        os.mkfifo(self.path)
        self.assertIn("not a regular file", self.refused())

    def test_a_link_is_refused(self) -> None:
        os.rename(self.path, f"{self.path}.real")
        os.symlink(f"{self.path}.real", self.path)
        self.assertIn("cannot write the ledger", self.refused())

    def test_a_file_that_no_daemon_wrote_so_large_is_refused(self) -> None:
        os.truncate(self.path, file.SIZE_LIMIT + 1)
        self.assertIn("larger than", self.refused())

    @settings(max_examples=50, deadline=None)
    @given(st.binary(max_size=400))
    def test_any_bytes_at_all_can_follow(self, content: bytes) -> None:
        base = render({"at": START, "event": "paused"})
        with open(self.path, "wb") as out:
            out.write(base + content)
        again = self.opened()
        again.intent(stop())
        again.close()
        last = self.opened()
        self.assertEqual(last.history("claude", "one").attempts, 1)
        last.close()


class OwnershipTests(SynchronousTestCase):
    def setUp(self) -> None:
        if os.geteuid() != 0:
            self.skipTest("needs root")
        # The way to trial's own directory may be closed to another user.
        self.directory = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.directory)

    def as_nobody(self) -> str:
        ledger = Ledger(self.directory, Times())
        self.addCleanup(ledger.close)
        os.seteuid(65534)
        try:
            return ledger.open() or "no trouble"
        finally:
            os.seteuid(0)

    def test_a_directory_of_another_user_is_refused(self) -> None:
        self.assertIn("belongs to uid 0", self.as_nobody())

    def test_a_directory_without_leave_to_write_is_said(self) -> None:
        os.chown(self.directory, 65534, 65534)
        os.chmod(self.directory, 0o500)
        self.assertIn("Permission denied", self.as_nobody())

    def test_a_ledger_of_another_user_is_refused(self) -> None:
        os.chown(self.directory, 65534, 65534)
        path = os.path.join(self.directory, LEDGER_NAME)
        with open(path, "wb"):
            os.chmod(path, 0o644)
        self.assertIn("the ledger belongs to uid 0", self.as_nobody())


class FullDiskTests(LedgerCase):
    def test_nothing_is_promised(self) -> None:
        with self.full():
            self.assertRaises(LedgerError, self.ledger.intent, stop())
        self.assertIn("No space left", self.ledger.warning or "")
        self.assertRaises(LedgerError, self.ledger.intent, stop())

    def test_nothing_is_promised_if_there_is_room_for_the_intent_alone(self) -> None:
        before = self.content()
        real = os.write

        def write(descriptor: int, data: Any) -> int:
            if len(data) > 4096:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(descriptor, data)

        with mock.patch.object(file.os, "write", write):
            self.assertRaises(LedgerError, self.ledger.intent, stop())
        self.assertEqual(self.content(), before)

    def test_a_pause_counts_all_the_same_and_is_written_later(self) -> None:
        with self.full():
            self.assertIn("No space left", self.ledger.pause("uid 0") or "")
            self.assertTrue(self.ledger.paused)
            self.assertIsNotNone(self.ledger.open())
            self.assertFalse(self.opened_elsewhere().paused)
        self.assertIsNone(self.ledger.open())
        self.assertTrue(self.opened_elsewhere().paused)

    def test_a_pause_is_promised_as_soon_as_the_disk_has_room(self) -> None:
        """ipfs/kubo#5300: there, the error stayed until a restart."""
        with self.full():
            self.assertIn("No space left", self.ledger.pause("uid 0") or "")
        self.assertIsNone(self.ledger.pause("uid 0"))
        self.assertTrue(self.opened_elsewhere().paused)

    def opened_elsewhere(self) -> Ledger:
        other = self.unopened()
        other.read()
        return other

    def test_a_start_and_its_outcome_are_written_later_and_counted_once(self) -> None:
        attempt = self.ledger.intent(stop())
        with self.full():
            self.ledger.started(attempt, 42, "7@boot", "/o/1.log")
            self.ledger.worked(attempt)
        self.assertEqual((self.ledger.sums.started, self.ledger.sums.worked), (1, 1))
        self.ledger.open()
        for sums in (self.ledger.sums, self.opened().sums):
            self.assertEqual((sums.started, sums.worked), (1, 1))

    def test_an_entry_that_arrived_although_its_sync_failed_counts_once(self) -> None:
        attempt = self.ledger.intent(stop())
        failing = OSError(errno.EIO, os.strerror(errno.EIO))
        with mock.patch.object(file.os, "fsync", side_effect=failing):
            self.ledger.started(attempt, 42, "7@boot", "/o/1.log")
        self.ledger.open()
        self.ledger.failed(attempt)
        again = self.opened()
        self.assertEqual((again.sums.started, again.history("claude", "one").attempts), (1, 1))

    def test_an_intent_that_arrived_although_its_sync_failed_is_a_failed_attempt(self) -> None:
        failing = OSError(errno.EIO, os.strerror(errno.EIO))
        with mock.patch.object(file.os, "fsync", side_effect=failing):
            self.assertRaises(LedgerError, self.ledger.intent, stop())
        self.ledger.open()
        self.assertEqual(self.ledger.unfinished(), [])
        self.assertEqual(self.opened().unfinished(), [])

    def test_half_a_line_does_not_swallow_the_next(self) -> None:
        real = os.write

        def write(descriptor: int, data: Any) -> int:
            if len(data) < 20:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(descriptor, bytes(data[: len(data) - 10]))

        with mock.patch.object(file.os, "write", write):
            self.ledger.pause("uid 0")
        self.ledger.open()
        self.assertTrue(self.opened().paused)

    def test_the_probe_leaves_nothing_behind(self) -> None:
        with self.full():
            self.ledger.pause("uid 0")
        self.ledger.open()
        self.assertNotIn(b"  ", self.content())


class RotationTests(LedgerCase):
    def setUp(self) -> None:
        super().setUp()
        self.patch(file, "ROTATION_SIZE", 4000)

    def fill(self) -> None:
        size = 0
        while os.path.getsize(self.path) >= size:
            size = os.path.getsize(self.path)
            self.run_once(stop(), "worked")

    def test_the_sums_are_carried_over(self) -> None:
        self.ledger.pause("uid 0")
        self.run_once(stop("two"), status=1, quick=True)
        self.ledger.gave_up(stop("two"))
        self.ledger.started(self.ledger.intent(stop("three")), 42, "7@boot", "/o/1.log")
        self.fill()
        os.unlink(os.path.join(self.directory, file.OLD_NAME))
        again = self.opened()
        self.assertEqual(again.sums, self.ledger.sums)
        self.assertEqual(again.sums.first_at, START)
        self.assertEqual(len(again.unfinished()), 1)

    def test_the_last_entries_are_told_across_it(self) -> None:
        self.fill()
        self.assertEqual(self.opened().last(12), self.ledger.last(12))

    def test_both_files_are_private(self) -> None:
        self.fill()
        old = os.path.join(self.directory, file.OLD_NAME)
        modes = [stat.S_IMODE(os.stat(each).st_mode) for each in (old, self.path)]
        self.assertEqual(modes, [0o600, 0o600])

    def test_an_unreadable_first_line_is_made_up_for_by_the_old_file(self) -> None:
        self.fill()
        content = self.content().split(b"\n", 1)
        with open(self.path, "wb") as out:
            out.write(b"?\n" + content[1])
        self.assertEqual(self.opened().sums, self.ledger.sums)

    def test_a_wrong_type_in_the_first_line_is_made_up_for_by_the_old_file(self) -> None:
        self.run_once(stop("two"), status=1, quick=True)
        self.fill()
        header, rest = self.content().split(b"\n", 1)
        good = json.loads(header)
        for name, wrong in (
            ("first_at", "1700000000"),
            ("started", 1.5),
            ("paused", 0),
            ("intents", {}),
            ("intents", [None]),
            ("sessions", [["claude", "one"]]),
            ("sessions", [["claude", "one", {"failed_at": "yesterday"}]]),
            ("sessions", [["claude", "one", {"attempts": True}]]),
            ("sessions", [["claude", "one", {"kind": "unheard of"}]]),
            ("sessions", [["claude", "one", {"closed": ["a"]}]]),
            ("sessions", [["claude", "one", {"open": {"attempt": 1, "at": 5}}]]),
        ):
            with open(self.path, "wb") as out:
                out.write(json.dumps({**good, name: wrong}).encode() + b"\n" + rest)
            self.assertEqual(self.opened().sums, self.ledger.sums, f"{name}: {wrong}")

    def test_a_daemon_that_dies_between_any_two_steps_loses_nothing(self) -> None:
        for step in range(6):
            self.ledger = self.opened()
            while os.path.getsize(self.path) < 3900:
                self.run_once(stop(), "worked")
            before, left = self.ledger.sums.worked, [step]

            def dies(name: str, left: list[int] = left) -> Any:
                real = getattr(os, name)

                def call(*arguments: Any) -> Any:
                    left[0] -= 1
                    if left[0] < 0:
                        raise OSError(errno.EIO, os.strerror(errno.EIO))
                    return real(*arguments)

                return mock.patch.object(file.os, name, call)

            with dies("fsync"), dies("replace"):
                self.ledger.pause("uid 0" * 100)
            self.ledger.close()
            again = self.opened()
            self.assertEqual(again.sums.worked, before, step)
            again.resume("uid 0")
            again.close()


class LargeHistoryTests(LedgerCase):
    """Directories may have 4,095 characters, each of which takes up to 12 bytes in JSON."""

    def setUp(self) -> None:
        super().setUp()
        self.patch(file, "ROTATION_SIZE", 4000)

    def revived(self, session: str) -> None:
        long = Stop("claude", session, "a", Kind.LIMIT, "/t", "/" + "\N{OGHAM LETTER BEITH}" * 4000)
        self.ledger.worked(self.ledger.intent(long))

    def test_a_large_first_line_does_not_make_each_entry_rotate_the_file(self) -> None:
        self.revived("one")
        self.ledger.pause("uid 0")
        self.ledger.resume("uid 0")
        self.assertGreater(len(self.content().splitlines()[0]), 4000)
        self.assertEqual(len(self.content().splitlines()), 4)
        self.opened().pause("uid 0")
        self.assertEqual(len(self.content().splitlines()), 5)

    def test_a_first_line_that_is_too_large_leaves_out_the_oldest_histories(self) -> None:
        self.patch(ledger, "HEADER_LIMIT", 100_000)
        for session in "abcdef":
            self.revived(session)
        self.ledger.pause("uid 0")
        kept = [session for _, session in self.opened().sums.sessions]
        self.assertEqual(kept, list("def"))


class LogTests(LedgerCase):
    def test_entries_have_the_keys_of_their_event(self) -> None:
        self.ledger.stopped(stop(), START + 60)
        self.run_once(stop(), status=1)
        self.ledger.pause("uid 0")
        keys = {"at", "event", "session", "agent", "kind"}
        extra = [(each["event"], set(each) - keys) for each in self.ledger.last()]
        self.assertEqual(
            extra,
            [
                ("stopped", {"due"}),
                ("intent", {"attempt"}),
                ("started", {"attempt", "pid"}),
                ("failed", {"attempt", "exit", "pid"}),
                ("paused", {"by"}),
            ],
        )

    def test_an_unknown_exit_is_null(self) -> None:
        self.run_once(stop())
        self.assertIsNone(self.ledger.last(1)[0]["exit"])

    def test_the_last_ones_come_oldest_first(self) -> None:
        self.run_once(stop())
        self.assertEqual([each["event"] for each in self.ledger.last(2)], ["started", "failed"])

    def test_none_are_told_where_none_are_asked_for(self) -> None:
        self.run_once(stop())
        self.assertEqual(self.ledger.last(0), [])


class SecondDaemonTests(LedgerCase):
    def test_it_reads_what_the_keeper_writes(self) -> None:
        self.run_once(stop())
        second = self.unopened()
        self.assertIsNone(second.read())
        self.assertEqual(second.sums, self.ledger.sums)

    def test_it_writes_nothing(self) -> None:
        second = self.unopened()
        second.read()
        before = self.content()
        self.assertRaises(LedgerError, second.intent, stop())
        second.pause("uid 0")
        self.assertEqual((self.content(), second.paused, self.ledger.paused), (before, True, False))

    def test_its_own_pause_is_written_when_it_takes_over(self) -> None:
        second = self.unopened()
        second.pause("uid 7")
        self.ledger.close()
        self.assertIsNone(second.open())
        self.assertTrue(self.opened().paused)
        self.assertEqual(second.last(1)[0]["by"], "uid 7")

    def test_the_keepers_pause_holds_when_it_takes_over(self) -> None:
        self.ledger.pause("uid 0")
        second = self.unopened()
        second.read()
        second.resume("uid 0")
        self.assertFalse(second.paused)
        second.open()
        self.assertTrue(second.paused)

    def test_an_intent_of_the_keeper_before_it_is_adopted(self) -> None:
        """Its command may run: only what this daemon failed to write was never started."""
        second = self.unopened()
        second.read()
        self.ledger.intent(stop())
        self.assertIsNone(second.open())
        self.assertEqual(second.unfinished(), [Attempt(stop(), 1, START)])

    def test_no_ledger_yet_is_no_trouble(self) -> None:
        os.unlink(self.path)
        self.assertIsNone(self.unopened().read())
