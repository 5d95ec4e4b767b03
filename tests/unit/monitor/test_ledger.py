"""What follows from the ledger's entries, and how they are recorded and shown."""

from __future__ import annotations

import os

from palingenesis.monitor.ledger import (
    Attempt,
    Entry,
    LedgerError,
)
from palingenesis.monitor.ledger.history import SESSIONS_LIMIT, Sums
from palingenesis.words import Event, Kind
from tests.support.ledgers import START, LedgerTestCase, stop


class SumsTests(LedgerTestCase):
    def test_a_started_command_counts_as_a_resume_and_a_worked_one_as_a_save(self) -> None:
        self.run_once(stop(key="a"), "failed")
        self.run_once(stop(key="a"), "worked")
        again = self.opened()
        self.assertEqual((again.sums.started, again.sums.worked), (2, 1))

    def test_an_intent_that_never_started_is_no_resume(self) -> None:
        self.ledger.failed(self.ledger.intent(stop()))
        self.assertEqual(self.opened().sums.started, 0)

    def test_an_intent_is_taken_back_in_its_own_home(self) -> None:
        """Another home may have one at the very same time."""
        self.ledger.intent(stop(session="two", key="b"), home="work")
        attempt = self.ledger.intent(stop(key="a"), home="claude")
        self.ledger.not_started(attempt, "claude", "no process")
        for ledger in (self.ledger, self.opened()):
            starts = [len(ledger.starts(home)) for home in ("work", "claude")]
            self.assertEqual(starts, [1, 0])

    def test_an_intent_whose_command_could_not_be_started_is_no_attempt(self) -> None:
        self.run_once(stop(key="a"), "failed")
        attempt = self.ledger.intent(stop(key="a"), home="claude")
        self.assertEqual((attempt.attempt, len(self.ledger.starts("claude"))), (2, 2))
        self.ledger.not_started(attempt, "claude", "no process")
        for ledger in (self.ledger, self.opened()):
            history = ledger.history("claude", "one")
            self.assertEqual((history.attempts, history.open), (1, None))
            self.assertEqual((ledger.sums.started, len(ledger.starts("claude"))), (1, 1))
        (entry,) = self.ledger.last(1)
        self.assertEqual((entry["event"], entry["reason"]), ("failed", "not started: no process"))
        again = self.ledger.intent(stop(key="a"))
        self.ledger.started(again, 42, "7@boot", "/o/1.log")
        self.assertEqual(self.opened().history("claude", "one").attempts, 2)

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

    def test_each_limit_is_a_window_and_another_attempt_for_it_is_none(self) -> None:
        self.run_once(stop(key="a"), found="a prompt")
        self.run_once(stop(key="a prompt"), found="another prompt")
        self.run_once(stop(key="another prompt"), "worked")
        self.assertEqual(self.opened().history("claude", "one").windows, 1)
        self.run_once(stop(key="b"))
        self.assertEqual(self.opened().history("claude", "one").windows, 2)

    def test_what_is_no_limit_is_no_window(self) -> None:
        self.run_once(stop(key="a", kind=Kind.TRANSIENT), "worked")
        self.assertEqual(self.opened().history("claude", "one").windows, 0)

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
        self.assertEqual(self.opened().starts("claude"), [self.times.now - 1801])

    def test_a_clock_that_is_set_back_changes_no_order(self) -> None:
        self.ledger.pause("uid 0")
        self.times.now -= 86400
        self.ledger.resume("uid 0")
        self.run_once(stop())
        again = self.opened()
        self.assertEqual((again.paused, len(again.starts("claude"))), (False, 1))

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


class ForgettingTests(LedgerTestCase):
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


class LaterEventTests(LedgerTestCase):
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


class UnfinishedTests(LedgerTestCase):
    def test_an_open_attempt_has_all_that_finds_its_command_again(self) -> None:
        self.ledger.started(self.ledger.intent(stop()), 42, "7@boot", "/o/1.log")
        expected = Attempt(stop(), 1, START, 42, "7@boot", "/o/1.log")
        self.assertEqual(self.opened().unfinished(), [expected])

    def test_an_intent_that_did_not_start_has_no_pid(self) -> None:
        self.ledger.intent(stop())
        self.assertEqual(self.opened().unfinished(), [Attempt(stop(), 1, START)])

    def test_an_outcome_closes_the_attempt(self) -> None:
        self.run_once(stop())
        self.assertEqual(self.opened().unfinished(), [])

    def test_a_session_has_one_intent_at_a_time(self) -> None:
        self.ledger.intent(stop())
        self.assertRaises(ValueError, self.ledger.intent, stop(key="b"))


class LogTests(LedgerTestCase):
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
                ("started", {"attempt", "pid", "output"}),
                ("failed", {"attempt", "exit", "pid", "output"}),
                ("paused", {"by"}),
            ],
        )

    def test_a_start_and_a_failure_say_where_the_output_is(self) -> None:
        attempt = self.ledger.intent(stop())
        self.ledger.started(attempt, 77, "1", "/var/o/1.log")
        attempt = self.ledger.history("claude", "one").open or attempt
        self.ledger.failed(attempt, 1)
        outputs = [each.get("output") for each in self.ledger.last(3)]
        self.assertEqual(outputs, [None, "/var/o/1.log", "/var/o/1.log"])

    def test_log_shows_an_unknown_exit_as_null(self) -> None:
        self.run_once(stop())
        self.assertIsNone(self.ledger.last(1)[0]["exit"])

    def test_log_shows_the_last_entries_oldest_first(self) -> None:
        self.run_once(stop())
        self.assertEqual([each["event"] for each in self.ledger.last(2)], ["started", "failed"])

    def test_the_last_0_entries_are_none(self) -> None:
        self.run_once(stop())
        self.assertEqual(self.ledger.last(0), [])


class HourTests(LedgerTestCase):
    """The intents of the last hour, by home."""

    def test_an_intent_counts_for_an_hour_in_its_home(self) -> None:
        self.ledger.intent(stop(), home="claude")
        for ledger in (self.ledger, self.opened()):
            self.assertEqual(ledger.sums.starts("claude", START + 3599), [START])
            self.assertEqual(ledger.sums.starts("claude", START - 3599), [START])
            for now in (START + 3600, START - 3600):
                self.assertEqual(ledger.sums.starts("claude", now), [])
            self.assertEqual(ledger.sums.starts("codex", START), [])

    def test_an_intent_of_no_home_counts_in_each(self) -> None:
        self.ledger.intent(stop())
        for home in ("claude", "codex"):
            self.assertEqual(self.opened().sums.starts(home, START), [START])


class RecordedTests(LedgerTestCase):
    def test_an_observer_hears_of_each_entry(self) -> None:
        seen: list[Entry] = []
        self.ledger.observer = seen.append
        self.run_once(stop())
        self.ledger.kept("/h")
        self.assertEqual(
            [each.event for each in seen],
            [Event.INTENT, Event.STARTED, Event.FAILED, Event.KEPT],
        )
        for ledger in (self.ledger, self.opened()):
            self.assertEqual(ledger.sums.entries, 4)

    def test_a_home_is_kept_from_the_time_of_its_entry_on(self) -> None:
        self.ledger.kept("/h")
        for ledger in (self.ledger, self.opened()):
            self.assertEqual(ledger.sums.kept, {"/h": START})

    def test_a_failure_is_quick_only_if_that_is_said(self) -> None:
        for quick, count in ((True, 1), (True, 2), (False, 0)):
            attempt = self.ledger.intent(stop())
            self.ledger.started(attempt, 42, "7@boot", "/o/1.log")
            self.ledger.failed(attempt, 1, **({"quick": True} if quick else {}))
            self.assertEqual(self.opened().history("claude", "one").quick, count)


class SecondDaemonTests(LedgerTestCase):
    def test_a_second_daemon_reads_what_the_keeper_writes(self) -> None:
        self.run_once(stop())
        second = self.unopened()
        self.assertIsNone(second.read())
        self.assertEqual(second.sums, self.ledger.sums)

    def test_a_second_daemon_writes_nothing(self) -> None:
        second = self.unopened()
        second.read()
        before = self.content()
        self.assertRaises(LedgerError, second.intent, stop())
        second.pause("uid 0")
        self.assertEqual((self.content(), second.paused, self.ledger.paused), (before, True, False))

    def test_a_second_daemons_own_pause_is_written_when_it_takes_over(self) -> None:
        second = self.unopened()
        second.pause("uid 7")
        self.ledger.close()
        self.assertIsNone(second.open())
        self.assertTrue(self.opened().paused)
        self.assertEqual(second.last(1)[0]["by"], "uid 7")

    def test_the_keepers_pause_holds_when_another_daemon_takes_over(self) -> None:
        self.ledger.pause("uid 0")
        second = self.unopened()
        second.read()
        second.resume("uid 0")
        self.assertFalse(second.paused)
        second.open()
        self.assertTrue(second.paused)

    def test_an_unknown_intent_of_the_keeper_before_is_adopted(self) -> None:
        """Its command may run: only what this daemon failed to write was never started."""
        second = self.unopened()
        second.read()
        self.ledger.intent(stop())
        self.assertIsNone(second.open())
        self.assertEqual(second.unfinished(), [Attempt(stop(), 1, START)])

    def test_a_ledger_that_does_not_exist_yet_is_no_warning(self) -> None:
        os.unlink(self.path)
        self.assertIsNone(self.unopened().read())

    def test_why_a_ledger_cannot_be_read_is_said(self) -> None:
        os.unlink(self.path)
        os.mkdir(self.path)
        warning = self.unopened().read()
        self.assertIn("cannot read the ledger", warning or "")
        self.assertIn(self.path, warning or "")
