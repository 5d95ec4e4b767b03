"""The monitor, with a clock and a world that the tests arrange."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from unittest import mock

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.task import Clock
from twisted.logger import Logger, LogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from palingenesis.monitor import judge, revivals, service, settings
from palingenesis.monitor.agents import AGENTS
from palingenesis.monitor.child import CommandError, ResourceError
from palingenesis.monitor.judge import Judge
from palingenesis.monitor.keeper import Keeper
from palingenesis.monitor.ledger import LEDGER_NAME, Ledger
from palingenesis.monitor.owners import NOTHING, Witness
from palingenesis.monitor.report import last_time
from palingenesis.monitor.revivals import LEAD, RETRY, RETRY_OF_ONE
from palingenesis.monitor.service import Monitor, SteeringError
from palingenesis.monitor.sessions import Identity
from palingenesis.monitor.settings import HomeRevival, Settings
from palingenesis.monitor.times import Times
from palingenesis.words import Event, Kind, Method, Owner
from tests.support.private import private_path
from tests.support.times import StagedTimes
from tests.unit.monitor import fake_world
from tests.unit.monitor.fake_world import FakeWorld

#: Where the clock begins, in seconds since the epoch.
EPOCH = 1_800_000_000.0
CLAUDE = HomeRevival(("claude", "-p", "--resume", "{id}", "{prompt}"))
SETTINGS = Settings(
    interval=5.0,
    quiet=10.0,
    margin=0.0,
    stagger=0.0,
    windows=100,
    at_once=100,
    revive={"claude": CLAUDE, "codex": CLAUDE},
)


class MonitorTestCase(SynchronousTestCase):
    settings = SETTINGS
    clock_class = Clock

    def setUp(self) -> None:
        self.clock = self.clock_class()
        self.clock_was_set = 0.0
        self.directory = private_path(self)
        os.mkdir(self.directory, 0o700)
        self.times = StagedTimes(self.now, self.clock.seconds)
        self.world = FakeWorld(self.times)
        self.events: list[dict[str, Any]] = []
        self.monitor = self.make()
        self.start()

    def now(self) -> float:
        return EPOCH + self.clock.seconds() + self.clock_was_set

    def make(self, settings: Settings | None = None, **more: Any) -> Monitor:
        publisher = LogPublisher(self.events.append)  # type: ignore[arg-type]
        monitor = Monitor(
            settings or self.settings,
            self.directory,
            reactor=self.clock,
            world=self.world,
            log=Logger("palingenesis.monitor", observer=publisher),
            **{"times": self.times, **more},
        )
        self.addCleanup(self.stop, monitor)
        return monitor

    def start(self) -> None:
        self.monitor.startService()
        self.pass_time(1)

    def stop(self, monitor: Monitor) -> None:
        if monitor.running:
            monitor.stopService()

    def fail_twice_at_once(self) -> None:
        """Have the command for a session fail as soon as it is started, twice."""
        self.limited(0)
        for _ in range(2):
            for _ in range(1000):
                if any(start.revival.alive for start in self.world.starts):
                    break
                self.pass_time(5)
            else:
                self.fail("no command is started")
            self.world.starts[-1].revival.finish(1)
            self.pass_time(6)

    def restart(self, settings: Settings | None = None) -> None:
        """Kill the daemon, and start another one."""
        self.stop(self.monitor)
        self.world.restart()
        self.monitor = self.make(settings)
        self.start()

    def pass_time(self, seconds: float, step: float = 1.0) -> None:
        """
        Pass time, in steps of some seconds.

        A step that is longer than the interval delays a tick, as a busy machine does, so that
        days pass quickly.
        """
        whole, rest = divmod(seconds, step)
        for _ in range(int(whole)):
            self.clock.advance(step)
        if rest:
            self.clock.advance(rest)

    def only(self) -> dict[str, Any]:
        (session,) = self.monitor.sessions()
        return session

    def told(self, *keys: str, id: str | None = None) -> tuple[Any, ...]:  # noqa: A002
        named = [each for each in self.monitor.sessions() if each["id"] == id]
        session = named[0] if named else self.only()
        return tuple(session[key] for key in keys)

    def story(self) -> list[str]:
        return [entry["event"] for entry in self.monitor.log(1000)]

    def limited(self, seconds: float = 100.0, session: str = "s", **more: Any) -> None:
        """Have a session hit a limit that ends in some seconds."""
        self.world.write(session, Kind.LIMIT, reset=self.now() + seconds, **more)

    def revive(self) -> Any:
        """Have a session stop at a limit, and wait until its command is started."""
        self.limited()
        self.pass_time(120)
        return self.world.starts[-1].revival

    def logged(self) -> str:
        return "\n".join(
            event["log_format"].format(**event) for event in self.events if event.get("log_format")
        )


class SeeingTests(MonitorTestCase):
    def test_nobody_is_needed_before_anything_was_seen(self) -> None:
        self.assertEqual(self.make().needs_you, 0)

    def test_nothing_is_told_of_nothing(self) -> None:
        self.assertEqual(self.monitor.sessions(), [])
        self.assertEqual(self.monitor.sessions_by_state, {})
        self.assertIsNone(self.monitor.current_session)

    def test_a_session_that_grows_works(self) -> None:
        self.world.write("s", None, progress=True)
        self.pass_time(5)
        self.assertEqual(self.told("state", "kind", "due", "held"), ("working", None, None, None))
        self.assertEqual(self.monitor.sessions_by_state, {"working": 1})
        self.assertEqual(self.monitor.current_session, "/transcripts/s.jsonl")

    def test_a_session_in_the_middle_of_a_turn_is_quiet_while_its_owner_lives(self) -> None:
        self.world.owners["claude", "s"] = Owner.PROGRAM
        self.world.write("s", None, progress=True)
        self.pass_time(60)
        self.assertEqual(self.told("state", "kind"), ("quiet", None))

    def test_a_session_whose_owner_is_unknown_has_not_died(self) -> None:
        self.world.owners["claude", "s"] = Owner.UNKNOWN
        self.world.write("s", None, progress=True)
        self.pass_time(60)
        self.assertEqual(self.told("state", "kind"), ("quiet", None))

    def test_a_session_in_the_middle_of_a_turn_without_owner_has_died(self) -> None:
        self.world.write("s", None, progress=True)
        self.pass_time(60)
        self.assertEqual(self.told("state", "kind", "held"), ("stopped", "died", "crashes"))

    def test_what_grew_after_it_was_read_is_not_taken_for_dead(self) -> None:
        self.world.write("s", None, progress=True)
        self.pass_time(5)
        self.world.on_look.append(lambda: self.world.write("s", Kind.FINISHED, progress=True))
        self.pass_time(9)
        self.world.on_look.clear()
        self.pass_time(30)
        self.assertEqual(self.told("state", "kind"), ("stopped", "finished"))
        self.assertNotIn("stopped", self.story())

    def test_a_waiting_session_whose_program_is_open_says_so_before_it_is_due(self) -> None:
        self.world.owners["claude", "s"] = Owner.PROGRAM
        self.limited(10_000)
        self.pass_time(60)
        self.assertEqual(self.told("state", "held"), ("waiting", "owner-alive"))

    def test_a_session_that_waits_for_a_person_asks(self) -> None:
        self.world.owners["claude", "s"] = Owner.PROGRAM
        self.world.waiting.add("s")
        self.world.write("s", None, progress=True)
        self.pass_time(60)
        self.assertEqual(self.told("state", "kind"), ("stopped", "asking"))

    def test_a_finished_session_is_stopped(self) -> None:
        self.world.write("s", Kind.FINISHED, progress=True)
        self.pass_time(20)
        self.assertEqual(self.told("state", "kind", "held"), ("stopped", "finished", None))

    def test_a_session_that_its_user_ended_is_left(self) -> None:
        self.world.write("s", Kind.USER)
        self.pass_time(20)
        self.assertEqual(self.told("state", "kind"), ("left", "user"))
        self.assertEqual(self.story(), ["left"])

    def test_a_session_that_was_left_at_its_limit_is_not_revived(self) -> None:
        self.limited(100)
        self.pass_time(20)
        self.world.exits["s"] = self.now()
        self.pass_time(400)
        self.assertEqual(self.told("state", "kind"), ("left", "user"))
        self.assertEqual(self.world.starts, [])

    def test_a_session_that_its_user_left_before_its_last_record_goes_on(self) -> None:
        self.world.exits["s"] = self.now()
        self.pass_time(1)
        self.limited(100)
        self.pass_time(400)
        self.assertEqual(len(self.world.starts), 1)

    def test_a_session_that_is_left_at_the_last_moment_is_not_revived(self) -> None:
        self.limited(100)
        self.pass_time(20)
        looks = self.world.looks

        def leave() -> None:
            if self.world.looks > looks:
                self.world.exits["s"] = self.now()

        self.world.on_look.append(leave)
        self.pass_time(400)
        self.assertEqual(self.told("state", "kind"), ("left", "user"))
        self.assertEqual(self.world.starts, [])

    def test_a_limit_is_told_with_its_time(self) -> None:
        self.limited(100)
        due = self.now() + 100
        self.pass_time(20)
        self.assertEqual(
            self.told("state", "kind", "due", "held"), ("waiting", "limit", due, "not-due")
        )
        self.assertEqual(self.monitor.next_revival, due)
        self.assertEqual(self.story(), ["stopped"])

    def test_the_end_of_a_session_is_read_once_it_is_quiet(self) -> None:
        self.limited()
        self.pass_time(6)
        self.assertEqual(self.told("state"), ("working",))
        self.pass_time(10)
        self.assertEqual(self.told("state"), ("waiting",))

    def test_what_has_not_changed_is_not_read_again(self) -> None:
        self.world.write("s", Kind.FINISHED)
        self.pass_time(20)
        reads = self.world.reads
        self.pass_time(600)
        self.assertEqual(self.world.reads, reads)

    def test_processes_are_looked_at_seldom_while_nothing_is_due(self) -> None:
        self.world.write("s", Kind.FINISHED)
        self.limited(10_000, "t")
        self.pass_time(600)
        self.assertLessEqual(self.world.looks, 600 / judge.LOOK + 1)

    def test_of_two_transcripts_of_a_session_the_latest_growth_counts(self) -> None:
        self.limited(1000)
        self.pass_time(20)
        self.world.write("s", Kind.FINISHED, path="/transcripts/again.jsonl", progress=True)
        self.pass_time(20)
        self.assertEqual(self.told("transcript", "kind"), ("/transcripts/again.jsonl", "finished"))

    def test_a_transcript_that_is_gone_drops_its_session(self) -> None:
        self.limited()
        self.pass_time(20)
        self.world.files.clear()
        self.pass_time(200)
        self.assertEqual((self.monitor.sessions(), self.world.starts), ([], []))

    def test_a_transcript_that_cannot_be_read_is_said_once(self) -> None:
        self.world.unreadable.add("/transcripts/s.jsonl")
        self.limited()
        self.pass_time(60)
        self.assertEqual(self.logged().count("/transcripts/s.jsonl: cannot be read"), 1)
        self.assertEqual(self.monitor.sessions(), [])

    def test_a_transcript_that_can_be_read_again_is_told_again(self) -> None:
        self.world.unreadable.add("/transcripts/s.jsonl")
        self.limited(1000)
        self.pass_time(60)
        self.world.unreadable.clear()
        self.pass_time(20)
        self.assertEqual(self.told("kind"), ("limit",))

    def test_the_next_revival_is_the_earliest_and_the_current_session_grew_last(self) -> None:
        for first, second in ((300, 500), (500, 300)):
            self.setUp()
            now = self.now()
            for name, seconds in (("a", first), ("b", second)):
                self.limited(seconds, name)
                self.world.files[f"/transcripts/{name}.jsonl"].written = now - seconds
            self.pass_time(20)
            self.assertEqual(self.monitor.next_revival, now + 300)
            latest = "a" if first < second else "b"
            self.assertEqual(self.monitor.current_session, f"/transcripts/{latest}.jsonl")

    def test_sessions_are_told_latest_first_and_at_most_a_hundred(self) -> None:
        for number in range(120):
            self.world.write(f"s{number}", Kind.FINISHED, at=self.now() - number)
        self.pass_time(20)
        sessions = self.monitor.sessions()
        self.assertEqual([s["id"] for s in sessions], [f"s{number}" for number in range(100)])

    def test_a_question_comes_first_until_it_is_older_than_max_age(self) -> None:
        self.world.write("asks", Kind.ASKING)
        for seconds, ids in ((20, ["asks", "new"]), (self.settings.max_age, ["new", "asks"])):
            self.pass_time(seconds, step=10)
            self.world.write("new", Kind.FINISHED)
            self.pass_time(20)
            self.assertEqual([each["id"] for each in self.monitor.sessions()], ids)

    def test_counts_leave_out_what_is_older_than_max_age(self) -> None:
        self.world.write("old", Kind.FINISHED, at=self.now() - 50_000)
        self.world.write("new", Kind.FINISHED)
        self.pass_time(20)
        self.assertEqual(self.monitor.sessions_by_state, {"stopped": 1})
        self.assertEqual(len(self.monitor.sessions()), 2)

    def test_a_tick_that_fails_is_logged_once_and_the_next_goes_on(self) -> None:
        self.world.homes = self.fail_once_more  # type: ignore[assignment]
        self.pass_time(60)
        self.assertEqual(self.monitor.scan_warning, "a tick failed: on purpose")
        del self.world.homes
        self.limited(1000)
        self.pass_time(30)
        self.assertEqual(self.logged().count("A tick failed"), 1)
        self.assertIsNone(self.monitor.scan_warning)
        self.assertEqual(self.told("kind"), ("limit",))

    def fail_once_more(self, *_: object) -> dict[str, str]:
        raise ZeroDivisionError("on purpose")


class RevivingTests(MonitorTestCase):
    def test_an_attempt_whose_transcript_is_gone_fails_when_its_command_ends(self) -> None:
        revival = self.revive()
        self.world.files.clear()
        self.pass_time(12)
        self.assertEqual(self.story()[-1], "started")
        revival.finish(1)
        self.pass_time(12)
        self.assertEqual(self.story()[-1], "failed")
        self.assertEqual(self.monitor.sessions(), [])

    def test_a_limit_is_revived_when_it_ends_and_not_before(self) -> None:
        self.limited(100)
        due = self.now() + 100
        self.pass_time(99)
        self.assertEqual(self.world.starts, [])
        self.pass_time(10)
        (start,) = self.world.starts
        self.assertGreaterEqual(start.at, due)
        self.assertEqual((start.session.id, start.command), ("s", CLAUDE.run_for(Method.COMMAND)))
        self.assertEqual(self.told("state", "held"), ("reviving", "already-running"))
        self.assertEqual(self.story(), ["stopped", "intent", "started"])
        self.assertEqual(self.monitor.started, 1)

    def test_a_revival_works_when_the_agent_writes(self) -> None:
        revival = self.revive()
        self.world.write("s", None, progress=True)
        self.pass_time(6)
        self.assertEqual(self.story()[-1], "worked")
        self.assertEqual(self.told("state", "attempts"), ("working", 0))
        self.assertEqual(self.monitor.worked, 1)
        self.world.write("s", Kind.FINISHED, progress=True)
        revival.finish()
        self.pass_time(60)
        self.assertEqual(self.told("state", "kind"), ("stopped", "finished"))
        self.assertEqual(len(self.world.starts), 1)

    def test_the_prompt_of_the_revival_itself_proves_nothing(self) -> None:
        self.revive()
        self.world.write("s", None)
        self.pass_time(60)
        self.assertNotIn("worked", self.story())
        self.assertEqual(self.told("state"), ("reviving",))

    def test_exit_status_0_without_a_record_is_a_failed_attempt(self) -> None:
        self.revive().finish(0)
        self.pass_time(6)
        self.assertEqual(self.monitor.log(1)[0]["event"], "failed")
        self.assertEqual(self.monitor.log(1)[0]["exit"], 0)
        self.assertEqual(self.told("state", "attempts", "held"), ("waiting", 1, "not-due"))

    def test_a_failed_attempt_has_what_its_command_left_as_its_reason(self) -> None:
        for kind, reason in (
            (Kind.LIMIT, "a usage limit"),
            (Kind.REFUSED, "the service refused"),
            (Kind.UNKNOWN, None),
            (None, "its prompt has no answer"),
        ):
            self.setUp()
            revival = self.revive()
            self.world.write("s", kind)
            revival.finish(1)
            self.pass_time(60)
            (failed,) = (each for each in self.monitor.log(9) if each["event"] == "failed")
            self.assertEqual(failed.get("reason"), reason, kind)

    def test_a_failed_attempt_that_left_nothing_says_so(self) -> None:
        self.revive().finish(1)
        self.pass_time(6)
        failed = self.monitor.log(1)[0]
        self.assertEqual(failed["reason"], "it ended before it wrote anything in the session")

    def test_a_failed_attempt_is_followed_by_another_after_retry(self) -> None:
        revival = self.revive()
        self.pass_time(30)
        revival.finish(1)
        self.pass_time(290)
        self.assertEqual(len(self.world.starts), 1)
        self.pass_time(30)
        self.assertEqual(len(self.world.starts), 2)
        self.assertEqual(self.monitor.log(2)[0]["attempt"], 2)

    def test_a_failed_attempt_that_left_its_prompt_is_followed_by_another(self) -> None:
        revival = self.revive()
        self.world.write("s", None)
        self.pass_time(30)
        revival.finish(1)
        self.pass_time(60)
        self.assertEqual(self.told("state", "kind", "attempts"), ("waiting", "limit", 1))
        self.pass_time(1000)
        self.assertEqual(len(self.world.starts), 2)

    def test_a_prompt_that_an_attempt_left_is_no_new_stop_after_a_restart(self) -> None:
        revival = self.revive()
        self.world.write("s", None)
        self.pass_time(30)
        revival.finish(1)
        self.pass_time(60)
        self.restart()
        self.pass_time(20)
        self.assertEqual(self.told("state", "kind", "attempts"), ("waiting", "limit", 1))

    def test_a_prompt_that_nobody_saw_the_command_leave_may_be_the_user_s(self) -> None:
        revival = self.revive()
        self.stop(self.monitor)
        self.world.write("s", None)
        revival.finish(1)
        self.restart()
        self.pass_time(4000, step=60)
        self.assertEqual(self.told("kind", "held"), ("died", "crashes"))
        self.assertEqual(len(self.world.starts), 1)

    def assert_is_the_user_s(self, **prompt: Any) -> None:
        """Check that a prompt which stands last when the command ends is not the command's."""
        revival = self.revive()
        self.world.write("s", None, **prompt)
        self.pass_time(30)
        revival.finish(1)
        self.pass_time(4000)
        self.assertEqual(self.told("kind", "held"), ("died", "crashes"))
        self.assertEqual(len(self.world.starts), 1)

    def test_another_text_than_the_command_was_given_is_the_user_s(self) -> None:
        self.assert_is_the_user_s(prompt="the words of a person")

    def test_a_prompt_that_was_typed_while_the_command_ran_is_the_user_s(self) -> None:
        self.assert_is_the_user_s(prompt="continue", typed=True)

    def test_the_text_that_the_command_was_given_is_its_own_after_a_reload(self) -> None:
        revival = self.revive()
        self.world.write("s", None, prompt="continue")
        others = {"claude": replace(CLAUDE, prompt="go on")}
        self.monitor.configure(replace(self.monitor._settings, revive=others))
        self.pass_time(30)
        revival.finish(1)
        self.pass_time(1000)
        self.assertEqual(len(self.world.starts), 2)

    def assert_is_the_command_s(self, argument: str, prompt: str) -> None:
        """Check that a prompt which stands last when the command ends is the command's."""
        own = {"claude": HomeRevival(("claude", "-p", "--resume", "{id}", argument))}
        self.monitor.configure(replace(self.monitor._settings, revive=own))
        revival = self.revive()
        self.world.write("s", None, prompt=prompt)
        self.pass_time(30)
        revival.finish(1)
        self.pass_time(1000)
        self.assertEqual(len(self.world.starts), 2)

    def test_a_text_of_the_command_s_own_is_not_the_user_s(self) -> None:
        """Its prompt is not known: it stands in its arguments, or in a script."""
        self.assert_is_the_command_s("go on", "go on")

    def test_a_text_around_the_prompt_is_not_the_user_s(self) -> None:
        self.assert_is_the_command_s("please {prompt}, and test", "please continue, and test")

    def test_a_prompt_in_a_session_whose_user_is_back_may_be_the_user_s(self) -> None:
        revival = self.revive()
        self.pass_time(30)
        revival.finish(1)
        self.world.write("s", None)
        self.world.owners["claude", "s"] = Owner.PROGRAM
        self.pass_time(10)
        self.world.owners.clear()
        self.pass_time(4000, step=60)
        self.assertEqual(self.story()[-2:], ["failed", "stopped"])
        self.assertEqual(self.told("kind", "held"), ("died", "crashes"))
        self.assertEqual(len(self.world.starts), 1)

    def test_a_prompt_may_be_a_user_s_who_comes_back_while_processes_are_seen(self) -> None:
        def come_back() -> None:
            self.world.on_look.clear()
            self.world.write("s", None)
            self.world.owners["claude", "s"] = Owner.PROGRAM

        revival = self.revive()
        self.pass_time(30)
        revival.finish(1)
        self.world.on_look.append(come_back)
        self.pass_time(10)
        self.world.owners.clear()
        self.pass_time(4000, step=60)
        self.assertEqual(self.told("kind", "held"), ("died", "crashes"))
        self.assertEqual(len(self.world.starts), 1)

    def test_the_same_quick_failure_twice_is_the_end(self) -> None:
        self.fail_twice_at_once()
        self.pass_time(50_000, step=300)
        self.assertEqual(len(self.world.starts), 2)
        self.assertEqual(self.told("state", "held"), ("given-up", "given-up"))
        self.assertEqual(self.story()[-1], "gave-up")

    def test_five_attempts_without_progress_are_the_end(self) -> None:
        self.limited(0)
        for _ in range(5 * 120):
            self.pass_time(30, step=30)
            for start in self.world.starts:
                if start.revival.alive and self.now() - start.at > 60:
                    start.revival.finish(len(self.world.starts))
        self.pass_time(20_000, step=300)
        self.assertEqual(len(self.world.starts), 5)
        self.assertEqual(self.told("state", "attempts"), ("given-up", 5))

    def test_the_same_limit_again_counts_and_waits_for_its_own_reset(self) -> None:
        revival = self.revive()
        self.limited(2000)
        due = self.now() + 2000
        revival.finish(1)
        self.pass_time(60)
        self.assertEqual(self.told("kind", "attempts", "due"), ("limit", 1, due))
        self.assertEqual(self.story()[3:], ["failed", "stopped"])
        self.pass_time(2000)
        self.assertEqual(len(self.world.starts), 2)

    def give_up(self) -> None:
        """Have the session hit a limit until no more attempt is made."""
        self.limited(10)
        for _ in range(12 * 60):
            self.pass_time(60, step=60)
            for start in self.world.starts:
                if start.revival.alive:
                    self.limited(10)
                    start.revival.finish(1)

    def test_an_endless_limit_is_given_up(self) -> None:
        self.give_up()
        self.assertEqual(len(self.world.starts), 5)
        self.assertEqual(self.told("state"), ("given-up",))

    def test_a_given_up_session_that_the_user_took_further_is_revived_again(self) -> None:
        self.give_up()
        self.world.write("s", None, progress=True)
        self.pass_time(10)
        self.limited(100)
        self.pass_time(200)
        self.assertEqual(len(self.world.starts), 6)

    def test_a_transient_error_waits_by_retry(self) -> None:
        self.world.write("s", Kind.TRANSIENT)
        self.pass_time(290)
        self.assertEqual(self.world.starts, [])
        self.pass_time(20)
        self.assertEqual(len(self.world.starts), 1)

    def test_a_hung_revival_is_ended_and_counts_as_failed(self) -> None:
        self.revive()
        self.pass_time(560)
        self.assertEqual(self.story()[-1], "started")
        self.pass_time(60)
        self.assertEqual(self.story()[-2:], ["killed", "failed"])

    def test_growth_keeps_a_revival_from_being_ended(self) -> None:
        self.revive()
        for _ in range(20):
            self.world.write("s", None, progress=True)
            self.pass_time(300, step=30)
        self.assertTrue(self.world.starts[0].revival.alive)

    def test_a_revival_that_worked_and_lives_is_not_doubled(self) -> None:
        self.revive()
        self.world.write("s", None, progress=True)
        self.pass_time(10)
        self.limited(30)
        self.pass_time(300)
        self.assertEqual(len(self.world.starts), 1)
        self.assertEqual(self.told("kind", "held"), ("limit", "already-running"))

    def test_a_daemon_that_comes_after_does_not_double_a_revival_that_lives(self) -> None:
        self.revive()
        self.world.write("s", None, progress=True)
        self.pass_time(10)
        self.limited(30)
        self.restart()
        self.pass_time(300)
        self.assertEqual(len(self.world.starts), 1)

    def test_no_more_than_the_hourly_number_is_started(self) -> None:
        for number in range(8):
            self.limited(10, f"s{number}")
        self.pass_time(600)
        self.assertEqual(len(self.world.starts), 6)
        held = sorted(s["held"] for s in self.monitor.sessions())
        self.assertEqual(held, ["already-running"] * 6 + ["hourly-limit"] * 2)
        for start in self.world.starts:
            self.world.write(start.session.id, Kind.FINISHED, progress=True)
            start.revival.finish()
        self.pass_time(3600, step=60)
        self.assertEqual(len(self.world.starts), 8)

    def test_a_start_for_which_something_is_missing_is_no_attempt_and_said(self) -> None:
        self.world.start_error = ResourceError("/output: no space left on device")
        self.limited(10)
        self.limited(10, "other", agent="codex")
        self.pass_time(3000, step=60)
        self.assertEqual(self.monitor.started, 0)
        self.assertEqual(self.monitor.ledger_warning, "/output: no space left on device")
        self.assertFalse(self.monitor.is_healthy)
        for session in ("s", "other"):
            self.assertEqual(self.told("held", "attempts", id=session), ("ledger", 0))
        self.assertEqual(self.story(), ["stopped", "stopped"])
        nothing = "Nothing is revived: /output: no space left on device"
        self.assertEqual(self.logged().count(nothing), 1)
        self.world.start_error = None
        self.pass_time(RETRY + 5)
        self.assertEqual(self.monitor.started, 2)
        self.assertIsNone(self.monitor.ledger_warning)
        self.assertEqual(self.logged().count("Sessions can be revived again"), 1)

    def test_what_was_missing_at_a_start_is_forgotten_if_nothing_starts_any_more(self) -> None:
        self.world.start_error = ResourceError("no process can be started")
        self.limited(10)
        self.pass_time(30)
        self.monitor.pause("a person")
        self.assertIsNotNone(self.monitor.ledger_warning)
        self.pass_time(2 * RETRY)
        self.assertIsNone(self.monitor.ledger_warning)

    def test_without_a_place_for_output_nothing_starts_and_it_is_said_before(self) -> None:
        self.world.no_output = "/output: not a directory"
        self.pass_time(6)
        self.assertEqual(self.monitor.ledger_warning, "/output: not a directory")
        self.limited(10)
        self.pass_time(3000, step=60)
        self.assertEqual(self.story(), ["stopped"])
        self.assertEqual(self.told("held", "attempts"), ("ledger", 0))
        self.world.no_output = None
        self.pass_time(12)
        self.assertEqual(self.monitor.started, 1)

    def test_a_command_that_cannot_be_executed_is_no_attempt_and_holds_no_other(self) -> None:
        self.world.start_error = CommandError("/bin/claude: Exec format error")
        self.limited(10)
        self.pass_time(60)
        self.world.start_error = None
        self.limited(10, "other")
        self.pass_time(60 + LEAD)
        (start,) = self.world.starts
        self.assertEqual(start.session.id, "other")
        self.assertIn("session s cannot be revived: /bin/claude: Exec format error", self.logged())
        self.assertEqual(self.told("held", "attempts", id="s"), ("no-binary", 0))
        self.assertEqual(self.told("needs", id="s"), ("its program cannot be run",))
        self.assertEqual(self.monitor.needs_you, 1)
        self.assertEqual(self.story()[:4], ["stopped", "intent", "failed", "needs-you"])
        self.pass_time(RETRY_OF_ONE)
        self.assertEqual(len(self.world.starts), 2)

    def test_starts_that_failed_take_nothing_from_the_hour(self) -> None:
        self.restart(replace(self.settings, hourly=1))
        self.world.start_error = CommandError("/bin/claude: Exec format error")
        self.limited(10)
        self.pass_time(3 * RETRY_OF_ONE)
        self.assertGreater(self.story().count("failed"), 1)
        self.world.start_error = None
        self.pass_time(RETRY_OF_ONE)
        self.assertEqual(len(self.world.starts), 1)

    def test_crashes_are_revived_only_where_that_is_asked_for(self) -> None:
        self.world.write("s", None, progress=True)
        self.pass_time(1000)
        self.assertEqual(self.world.starts, [])
        self.restart(Settings(margin=0, stagger=0, crashes=True, revive={"claude": CLAUDE}))
        self.pass_time(30)
        self.assertEqual(len(self.world.starts), 1)

    def test_a_failed_attempt_on_a_crash_is_followed_by_another(self) -> None:
        self.restart(Settings(margin=0, stagger=0, crashes=True, revive={"claude": CLAUDE}))
        self.world.write("s", None, progress=True)
        self.pass_time(340)
        self.world.write("s", None)
        self.pass_time(20)
        self.world.starts[0].revival.finish(1)
        self.pass_time(1000)
        self.assertEqual(len(self.world.starts), 2)

    def test_what_is_being_revived_is_the_current_session(self) -> None:
        self.revive()
        self.world.write("other", None, progress=True)
        self.pass_time(5)
        self.assertEqual(self.monitor.current_session, "/transcripts/s.jsonl")

    def test_what_is_being_revived_is_counted_at_once(self) -> None:
        self.limited(30)
        while not self.world.starts:
            self.pass_time(1)
        self.assertEqual(self.monitor.sessions_by_state, {"reviving": 1})

    def test_what_has_grown_since_the_last_tick_is_not_ended(self) -> None:
        revival = self.revive()
        self.world.write("s", None, progress=True)
        self.pass_time(5)
        # At the next tick it would have been silent for too long.
        self.pass_time(self.settings.stall - 2)
        self.world.write("s", None, progress=True)
        self.pass_time(10)
        self.assertFalse(revival.is_ending)
        self.pass_time(self.settings.stall - 12)
        # Its sub-agents alone, and by a file system whose times are coarse.
        self.world.below["s"] = 1
        self.pass_time(10)
        self.assertFalse(revival.is_ending)


class HoldingTests(MonitorTestCase):
    def assert_held(self, reason: str, seconds: float = 300) -> None:
        self.limited(100)
        self.pass_time(seconds)
        self.assertEqual(self.told("held"), (reason,))
        self.assertEqual(self.world.starts, [])

    def test_a_living_owner_is_the_reason(self) -> None:
        self.world.owners["claude", "s"] = Owner.PROGRAM
        self.assert_held("owner-alive")
        self.assertEqual(self.told("state", "kind"), ("stopped", "limit"))

    def test_an_owner_of_whom_nothing_is_known(self) -> None:
        self.world.owners["claude", "s"] = Owner.UNKNOWN
        self.assert_held("owner-unknown")

    def test_an_owner_that_dies_later_holds_no_longer(self) -> None:
        self.world.owners["claude", "s"] = Owner.PROGRAM
        self.assert_held("owner-alive")
        self.world.owners.clear()
        self.pass_time(10)
        self.assertEqual(len(self.world.starts), 1)

    def test_an_owner_that_comes_at_the_last_moment(self) -> None:
        self.limited(100)
        self.pass_time(98)
        self.world.owners["claude", "s"] = Owner.PROGRAM
        self.pass_time(60)
        self.assertEqual(self.world.starts, [])

    def test_a_record_that_comes_at_the_last_moment(self) -> None:
        self.limited(100)
        self.pass_time(98)
        self.world.on_look.append(lambda: self.world.write("s", None))
        self.pass_time(6)
        self.world.on_look.clear()
        self.assertEqual(self.world.starts, [])
        self.assertEqual(self.told("state"), ("working",))

    def test_a_home_without_a_command_is_the_reason(self) -> None:
        self.monitor.configure(Settings(margin=0, stagger=0))
        self.assert_held("no-method")
        self.assertEqual(self.told("state"), ("stopped",))

    def test_a_pause_is_the_reason(self) -> None:
        self.assertIsNone(self.monitor.pause("a test"))
        self.assert_held("paused")
        self.assertIsNone(self.monitor.next_revival)

    def test_a_directory_that_is_gone(self) -> None:
        self.world.bad_directories.add("/home/s")
        self.assert_held("directory")
        self.assertEqual(self.logged().count("no such directory"), 1)

    def test_a_program_that_is_missing(self) -> None:
        self.world.no_program = True
        self.assert_held("no-binary")
        self.assertEqual(self.logged().count("no such program"), 1)
        self.assertNotIn("intent", self.story())

    def test_a_reset_that_is_too_far(self) -> None:
        self.limited(9 * 86400)
        self.pass_time(60)
        self.assertEqual(self.told("held"), ("too-far",))

    def test_a_stop_from_before_the_first_start(self) -> None:
        self.limited(100, at=self.now() - 60)
        self.pass_time(300)
        self.assertEqual(self.told("held"), ("too-old",))
        self.assertEqual((self.world.starts, self.story()), ([], []))

    def test_backlog_takes_such_a_stop(self) -> None:
        settings = Settings(margin=0, stagger=0, backlog=True, revive={"claude": CLAUDE})
        self.monitor.configure(settings)
        self.limited(100, at=self.now() - 60)
        self.pass_time(300)
        self.assertEqual(len(self.world.starts), 1)

    def test_what_waiting_does_not_cure(self) -> None:
        for kind in Kind:
            if kind not in (Kind.LIMIT, Kind.TRANSIENT, Kind.DIED):
                self.world.write(kind.value, kind)
        self.pass_time(50_000, step=300)
        self.assertEqual(self.world.starts, [])
        self.assertEqual({s["held"] for s in self.monitor.sessions()}, {None})


class PausingTests(MonitorTestCase):
    def test_a_pause_holds_what_was_planned_and_resume_plans_afresh(self) -> None:
        self.limited(100)
        self.pass_time(50)
        self.monitor.pause("a test")
        self.assertEqual(self.told("state", "held"), ("stopped", "paused"))
        self.assertEqual(self.monitor.sessions_by_state, {"stopped": 1})
        self.pass_time(300)
        self.assertEqual(self.world.starts, [])
        self.monitor.resume("a test")
        self.pass_time(6)
        self.assertEqual(len(self.world.starts), 1)

    def test_a_pause_survives_a_restart(self) -> None:
        self.monitor.pause("a test")
        self.restart()
        self.assertTrue(self.monitor.paused)
        self.limited(10)
        self.pass_time(100)
        self.assertEqual(self.world.starts, [])

    def test_the_ledger_tells_who_paused(self) -> None:
        self.monitor.pause("uid 1000")
        self.monitor.resume("uid 1001")
        told = [(entry["event"], entry["by"]) for entry in self.monitor.log()]
        self.assertEqual(told, [("paused", "uid 1000"), ("resumed", "uid 1001")])

    def test_a_pause_that_cannot_be_written_pauses_all_the_same(self) -> None:
        os.rename(
            os.path.join(self.directory, LEDGER_NAME), os.path.join(self.directory, "elsewhere")
        )
        os.mkdir(os.path.join(self.directory, LEDGER_NAME))
        trouble = self.monitor.pause("a test")
        self.assertIn(LEDGER_NAME, trouble or "")
        self.assertTrue(self.monitor.paused)
        self.assertIsNotNone(self.monitor.ledger_warning)


class RestartTests(MonitorTestCase):
    def test_the_same_stop_is_not_acted_on_twice(self) -> None:
        self.revive()
        self.restart()
        self.pass_time(60)
        self.assertEqual(self.told("state"), ("reviving",))
        self.world.write("s", Kind.FINISHED, progress=True)
        self.world.starts[-1].revival.finish()
        self.pass_time(1000)
        self.assertEqual(len(self.world.starts), 1)
        self.assertEqual(self.story(), ["stopped", "intent", "started", "worked", "ended"])

    def test_a_success_while_no_daemon_ran_is_told(self) -> None:
        revival = self.revive()
        self.stop(self.monitor)
        self.clock.advance(60)
        self.world.write("s", Kind.FINISHED, progress=True)
        revival.finish()
        self.restart()
        self.assertIn("worked", self.story())

    def test_a_failure_while_no_daemon_ran_has_an_unknown_exit(self) -> None:
        revival = self.revive()
        self.stop(self.monitor)
        revival.finish(3)
        self.restart()
        last = self.monitor.log(1)[0]
        self.assertEqual((last["event"], last["exit"]), ("failed", None))

    def test_an_intent_without_start_is_found_by_the_session_s_id(self) -> None:
        ledger = os.path.join(self.directory, LEDGER_NAME)
        self.revive()
        self.stop(self.monitor)
        with open(ledger, "rb") as file:
            lines = file.read().splitlines(keepends=True)
        with open(ledger, "wb") as file:
            file.writelines(lines[:-1])
        self.restart()
        self.pass_time(60)
        self.assertEqual(self.story(), ["stopped", "intent", "started"])
        self.assertEqual(self.monitor.started, 1)

    def test_a_stop_while_no_daemon_ran_is_revived(self) -> None:
        self.stop(self.monitor)
        self.clock.advance(60)
        self.limited(30)
        self.clock.advance(600)
        self.restart()
        self.pass_time(10)
        self.assertEqual(len(self.world.starts), 1)

    def test_a_stop_that_is_long_past_due_is_left(self) -> None:
        self.stop(self.monitor)
        self.clock.advance(60)
        self.limited(30)
        self.clock.advance(50_000)
        self.restart()
        self.pass_time(60)
        self.assertEqual((self.told("held"), self.world.starts), (("too-old",), []))

    def test_counts_are_true_after_a_restart(self) -> None:
        self.revive()
        self.world.write("s", None, progress=True)
        self.pass_time(6)
        self.restart()
        self.assertEqual((self.monitor.started, self.monitor.worked), (1, 1))

    def test_a_failed_start_in_the_prompt_s_wake_keeps_the_stop(self) -> None:
        revival = self.revive()
        self.world.write("s", None)
        self.pass_time(30)
        revival.finish(1)
        self.world.start_error = CommandError("no")
        self.pass_time(1000)
        self.assertEqual(self.told("kind", "attempts"), ("limit", 1))


class ClockTests(MonitorTestCase):
    def test_a_look_after_a_sleep_observes_and_does_not_act(self) -> None:
        self.limited(3600)
        self.pass_time(20)
        self.world.write("other", Kind.FINISHED)
        self.clock_was_set += 6 * 3600
        self.pass_time(5)
        self.assertEqual(self.world.starts, [])
        self.assertEqual(self.monitor.sessions_by_state, {"waiting": 1, "stopped": 1})
        self.pass_time(6)
        self.assertEqual(len(self.world.starts), 1)

    def test_a_clock_that_is_set_back_delays(self) -> None:
        self.limited(100)
        self.pass_time(20)
        self.clock_was_set -= 3600
        self.pass_time(300)
        self.assertEqual(self.world.starts, [])

    def test_a_record_from_the_future_does_not_count_as_progress(self) -> None:
        self.revive()
        self.world.write("s", None, at=self.now() + 86_400, progress=True)
        self.pass_time(30)
        self.assertNotIn("worked", self.story())


class KeeperTests(MonitorTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.stop(self.monitor)
        self.other = Keeper(self.directory)
        self.other.take()
        self.addCleanup(self.other.release)
        self.monitor = self.make()
        self.start()

    def test_a_second_daemon_sees_and_does_not_act(self) -> None:
        self.limited(100)
        self.pass_time(300)
        self.assertEqual(self.told("held", "kind"), ("not-the-keeper", "limit"))
        self.assertEqual(self.monitor.keeper, os.getpid())
        self.assertEqual((self.world.starts, self.story()), ([], []))

    def test_a_daemon_takes_over_when_the_keeper_is_gone(self) -> None:
        self.limited(100)
        self.pass_time(300)
        self.other.release()
        self.pass_time(12)
        self.assertIs(self.monitor.keeper, True)
        self.assertEqual(len(self.world.starts), 1)

    def test_a_daemon_that_takes_over_or_keeps_says_so_once(self) -> None:
        line = "This daemon is the keeper: it revives"
        self.pass_time(30)
        self.assertEqual(self.logged().count(line), 1)
        self.other.release()
        self.pass_time(30)
        self.assertEqual(self.logged().count(line), 2)

    def test_only_the_keeper_of_a_home_steers_its_sessions(self) -> None:
        self.world.write("4f1c-of-a-session", Kind.LIMIT)
        self.pass_time(12)
        error = self.assertRaises(SteeringError, self.monitor.hold, "4f1c", "a test")
        self.assertEqual(
            str(error), "claude session 4f1c-of-a-session: another daemon keeps its home"
        )

    def test_the_pause_of_a_daemon_that_does_not_keep_is_its_own(self) -> None:
        self.assertIsNone(self.monitor.pause("a test"))
        self.assertTrue(self.monitor.paused)
        ledger = Ledger(self.directory, Times())
        ledger.read()
        self.assertFalse(ledger.paused)

    def test_a_daemon_that_does_not_keep_shows_what_the_keeper_writes(self) -> None:
        ledger = Ledger(self.directory, Times())
        ledger.open()
        ledger.pause("the keeper")
        ledger.close()
        self.pass_time(6)
        self.assertEqual(self.story(), ["paused"])
        self.assertTrue(self.monitor.paused)


class ConfiguringTests(MonitorTestCase):
    def test_a_revival_that_is_removed_holds_what_was_planned(self) -> None:
        self.limited(100)
        self.pass_time(50)
        self.monitor.configure(Settings(margin=0, stagger=0))
        self.assertEqual(self.told("held"), ("no-method",))
        self.pass_time(300)
        self.assertEqual(self.world.starts, [])

    def test_what_runs_goes_on(self) -> None:
        self.revive()
        self.monitor.configure(Settings(margin=0, stagger=0))
        self.pass_time(10)
        self.world.write("s", None, progress=True)
        self.pass_time(10)
        self.assertEqual(self.story()[-1], "worked")

    def test_an_agent_that_is_left_out_is_not_told(self) -> None:
        self.limited(1000)
        self.pass_time(20)
        self.monitor.configure(Settings(agents=()))
        self.pass_time(6)
        self.assertEqual(self.monitor.sessions(), [])

    def test_the_outcome_for_an_agent_that_is_left_out_is_told_all_the_same(self) -> None:
        revival = self.revive()
        self.monitor.configure(Settings(agents=()))
        self.pass_time(10)
        self.world.write("s", Kind.FINISHED, progress=True)
        revival.finish()
        self.pass_time(10)
        self.assertIn("worked", self.story())

    def test_each_home_is_looked_into_once_when_a_command_ended(self) -> None:
        for agents in (), ("claude",):
            self.setUp()
            revival = self.revive()
            self.monitor.configure(Settings(agents=agents, interval=5.0))
            revival.finish()
            looks = self.world.looks
            while self.world.looks == looks:
                self.pass_time(1)
            self.assertEqual(sorted(self.world.looked_into), sorted(AGENTS))

    def test_a_margin_moves_what_is_planned(self) -> None:
        self.limited(100)
        due = self.now() + 100
        self.pass_time(50)
        self.monitor.configure(Settings(margin=500, stagger=0, revive={"claude": CLAUDE}))
        self.assertEqual((self.told("due"), self.monitor.next_revival), ((due + 500,), due + 500))

    def test_a_shorter_interval_counts_at_once(self) -> None:
        self.monitor.configure(Settings(interval=1000))
        self.pass_time(10)
        self.monitor.configure(Settings(interval=1, quiet=0))
        self.world.write("s", Kind.FINISHED)
        self.pass_time(3)
        self.assertEqual(self.told("kind"), ("finished",))


class SlicesTests(MonitorTestCase):
    """A tick that takes its time, and gives the reactor turns in between."""

    def setUp(self) -> None:
        super().setUp()
        self.patch(revivals, "LEAD", 0.0)
        self.stop(self.monitor)
        for number in range(30):
            self.limited(100, f"s{number}")
        self.pass_time(200)
        #: What waits for the next turn of the reactor, and the call that stands for it.
        self.turns: list[tuple[Callable[[], object], Any]] = []
        self.call_later = self.clock.callLater
        self.patch(self.clock, "callLater", self.later)
        timer = itertools.count().__next__
        self.times = StagedTimes(self.now, self.clock.seconds, timer)
        self.monitor = self.make()
        self.monitor.startService()
        self.go_on(1)

    def later(self, seconds: float, call: Callable[[], object]) -> Any:
        if seconds:
            return self.call_later(seconds, call)
        self.turns.append((call, self.call_later(1e9, call)))
        return self.turns[-1][1]

    def go_on(self, turns: int | None = None) -> int:
        """Go on with a tick for some turns of the reactor, or to its end; return how many."""
        done = 0
        while self.turns and done != turns:
            call, stand_in = self.turns.pop()
            stand_in.cancel()
            call()
            done += 1
        return done

    def test_each_slice_is_followed_by_a_turn_of_the_reactor(self) -> None:
        self.assertEqual(self.monitor.sessions_by_state, {})
        self.assertGreaterEqual(self.go_on(), 60)
        self.assertEqual(len(self.world.starts), 6)

    def test_no_tick_begins_before_the_last_one_has_ended(self) -> None:
        self.go_on(10)
        self.pass_time(100)
        self.assertEqual(len(self.turns), 1)

    def test_a_stop_in_the_middle_of_a_tick_ends_it(self) -> None:
        self.go_on(40)
        reads = self.world.reads
        self.monitor.stopService()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.pass_time(10)
        self.assertEqual((self.world.reads, self.world.starts), (reads, []))
        self.assertNotIn("failed", self.logged())

    def test_a_pause_in_the_middle_of_a_tick_counts(self) -> None:
        self.go_on(70)
        self.monitor.pause("a test")
        self.go_on()
        self.assertEqual(self.world.starts, [])


class NewIdTests(MonitorTestCase):
    settings = replace(SETTINGS, crashes=True)

    def test_a_session_whose_last_record_is_our_prompt_goes_on_under_its_new_id(self) -> None:
        revival = self.revive()
        self.world.write("s", None, prompt="continue")
        # A crash then would be due at once.
        self.pass_time(400)
        self.world.write("new", Kind.FINISHED, directory="/home/s", progress=True)
        revival.finish(0)
        self.pass_time(3600, step=60)
        self.assertEqual(len(self.world.starts), 1)
        kinds = {each["id"]: each["kind"] for each in self.monitor.sessions()}
        self.assertEqual(kinds, {"s": "continued", "new": "finished"})
        self.assertIn("claude session s: continued (as new)", self.logged())
        self.assertEqual(self.story()[-2:], ["continued", "worked"])

    def test_a_session_that_is_begun_before_a_restart_is_the_one_that_goes_on(self) -> None:
        revival = self.revive()
        self.world.write("new", None, directory="/home/s", progress=True)
        self.pass_time(30)
        self.restart()
        self.pass_time(30)
        self.world.write("new", Kind.FINISHED, directory="/home/s", progress=True)
        revival.finish(0)
        self.pass_time(3600, step=60)
        self.assertEqual(len(self.world.starts), 1)
        self.assertEqual(self.told("kind", id="s"), ("continued",))

    def test_a_session_that_has_stopped_before_is_no_other_that_goes_on(self) -> None:
        self.world.write("old", Kind.REFUSED, directory="/home/s", progress=True)
        self.pass_time(30)
        revival = self.revive()
        self.restart()
        self.world.write("old", Kind.FINISHED, directory="/home/s", progress=True)
        revival.finish(0)
        self.pass_time(3600, step=60)
        self.assertNotIn("continued", self.story())
        self.assertGreater(len(self.world.starts), 1)


class SettledTests(MonitorTestCase):
    """A session about which nothing can change until it grows."""

    def test_a_settled_session_is_judged_no_more(self) -> None:
        self.world.write("s", Kind.FINISHED, progress=True)
        self.pass_time(60)
        self.assertEqual(self.told("kind"), ("finished",))
        with mock.patch.object(Judge, "case_of") as judged:
            self.pass_time(60)
            self.monitor.pause("a person")
        judged.assert_not_called()

    def test_a_bad_session_is_judged_again_when_it_grows(self) -> None:
        self.world.write("s", Kind.FINISHED, progress=True)
        self.pass_time(60)
        self.limited(10)
        self.pass_time(60)
        self.assertEqual(len(self.world.starts), 1)


class WarningTests(MonitorTestCase):
    settings = replace(SETTINGS, notify=("no-such-notifier",), notify_events=frozenset(Event))

    def test_a_warning_that_comes_with_each_event_is_logged_once(self) -> None:
        self.revive()
        self.assertEqual(self.logged().count("no-such-notifier: no such program"), 1)


class BadSessionTests(MonitorTestCase):
    """A session whose judgement fails, beside others."""

    def setUp(self) -> None:
        super().setUp()
        self.patch(fake_world.FakeOwners, "witness", self.witness)

    def witness(self, session: Identity, _transcript: str) -> Witness:
        if session.id == "bad":
            "\N{SNOWMAN}".encode("latin-1")
        return NOTHING

    def test_a_bad_session_is_unknown_and_the_others_are_revived(self) -> None:
        self.limited(10, "bad")
        self.limited(10, "good")
        self.pass_time(60)
        self.assertEqual([start.session.id for start in self.world.starts], ["good"])
        kinds = {each["id"]: each["kind"] for each in self.monitor.sessions()}
        self.assertEqual(kinds, {"bad": "unknown", "good": "limit"})
        self.assertEqual(self.logged().count("claude session bad cannot be judged"), 1)

    def test_a_bad_session_is_judged_again_when_it_grows(self) -> None:
        self.limited(10, "bad")
        self.pass_time(60)
        self.world.write("bad", Kind.FINISHED, progress=True)
        self.pass_time(30)
        self.assertEqual(self.told("kind"), ("finished",))


class SteeringTests(MonitorTestCase):
    """A person holds, releases, revives or ends one session."""

    NAME = "4f1c-of-a-session"
    BY = "uid 1000, pid 4242"

    def refused(self, steer: Callable[[str, str], Any], beginning: str = NAME) -> str:
        error = self.failureResultOf(maybeDeferred(steer, beginning, self.BY), SteeringError)
        return str(error.value)

    def test_a_session_on_hold_is_not_revived_until_it_is_released(self) -> None:
        self.limited(10, self.NAME)
        self.pass_time(5)
        self.monitor.hold("4f1c", self.BY)
        self.restart()
        self.pass_time(100)
        self.assertEqual(self.told("held"), ("on-hold",))
        self.monitor.release(self.NAME, self.BY)
        self.pass_time(10)
        self.assertEqual(len(self.world.starts), 1)
        by = [entry["by"] for entry in self.monitor.log(100) if "by" in entry]
        self.assertEqual(by, [self.BY, self.BY])

    def test_a_session_on_hold_is_not_counted_among_those_that_need_a_person(self) -> None:
        self.world.write(self.NAME, Kind.ASKING)
        self.pass_time(60)
        self.assertEqual((self.told("needs"), self.monitor.needs_you), (("an answer",), 1))
        self.monitor.hold(self.NAME, self.BY)
        self.assertEqual((self.told("needs"), self.monitor.needs_you), ((None,), 0))
        self.pass_time(60)
        self.monitor.release(self.NAME, self.BY)
        self.assertEqual((self.told("needs"), self.monitor.needs_you), (("an answer",), 1))

    def test_a_hold_that_cannot_be_written_says_so(self) -> None:
        self.limited(1000, self.NAME)
        self.pass_time(20)
        path = os.path.join(self.directory, LEDGER_NAME)
        os.rename(path, f"{path}.elsewhere")
        os.mkdir(path)
        self.assertIn(LEDGER_NAME, self.refuse(self.NAME))

    def test_a_beginning_that_several_sessions_have_names_none(self) -> None:
        self.limited(1000, "4f1c-1")
        self.limited(1000, "4f1c-2")
        self.pass_time(20)
        self.assertIn("2 sessions have an id that begins so: 4f1c-1, 4f1c-2", self.refuse("4f1c"))
        self.assertIn("no session has an id that begins so", self.refuse("9999"))
        self.assertIn("at least 4 characters", self.refuse("4f1"))

    def refuse(self, beginning: str) -> str:
        return self.refused(self.monitor.hold, beginning)

    def test_a_session_that_is_not_due_is_revived_at_once(self) -> None:
        self.limited(10_000, self.NAME)
        self.pass_time(20)
        self.successResultOf(Deferred.fromCoroutine(self.monitor.revive(self.NAME, self.BY)))
        self.assertEqual(len(self.world.starts), 1)
        self.assertEqual(self.story()[-3:], ["asked", "intent", "started"])

    def test_a_session_that_works_is_not_revived_and_that_is_said(self) -> None:
        self.world.write(self.NAME, None, progress=True)
        self.pass_time(5)
        self.assertIn("it has not stopped", self.refused(self.monitor.revive))
        self.limited(10, self.NAME)
        self.pass_time(40)
        self.world.write(self.NAME, None, progress=True)
        self.pass_time(20)
        self.assertIn("already-running", self.refused(self.monitor.revive))
        self.assertEqual(len(self.world.starts), 1)

    def test_a_finished_session_is_revived_if_a_person_asks(self) -> None:
        self.world.write(self.NAME, Kind.FINISHED, progress=True)
        self.pass_time(100)
        self.successResultOf(Deferred.fromCoroutine(self.monitor.revive(self.NAME, self.BY)))
        self.assertEqual(len(self.world.starts), 1)

    def test_a_session_whose_program_is_open_is_not_revived(self) -> None:
        self.limited(10_000, self.NAME)
        self.pass_time(20)
        self.world.owners["claude", self.NAME] = Owner.PROGRAM
        self.assertIn("owner-alive", self.refused(self.monitor.revive))
        self.assertNotIn("asked", self.story())
        del self.world.owners["claude", self.NAME]
        self.pass_time(100)
        self.assertEqual(self.world.starts, [])

    def test_nothing_is_revived_while_paused(self) -> None:
        self.limited(10_000, self.NAME)
        self.pass_time(20)
        self.monitor.pause("a test")
        self.assertIn("paused", self.refused(self.monitor.revive))

    def test_a_revival_that_is_ended_is_on_hold_from_then_on(self) -> None:
        self.limited(10, self.NAME)
        self.pass_time(30)
        self.monitor.end("4f1c", self.BY)
        self.assertEqual(self.story()[-2:], ["killed", "on-hold"])
        self.pass_time(300)
        self.assertEqual((self.told("held"), len(self.world.starts)), (("on-hold",), 1))

    def test_what_is_not_running_cannot_be_ended(self) -> None:
        self.limited(1000, self.NAME)
        self.pass_time(20)
        self.assertIn("no revival of it runs", self.refused(self.monitor.end))


class ManyDueTests(MonitorTestCase):
    def test_a_session_goes_first_and_the_others_follow_when_it_worked(self) -> None:
        for number in range(3):
            self.limited(10, f"s{number}")
        self.pass_time(40)
        (first,) = self.world.starts
        self.world.write(first.session.id, None, progress=True)
        self.pass_time(10)
        self.assertEqual(len(self.world.starts), 3)

    def test_the_others_follow_after_a_minute(self) -> None:
        for number in range(3):
            self.limited(10, f"s{number}")
        self.pass_time(60)
        self.assertEqual(len(self.world.starts), 1)
        self.pass_time(30)
        self.assertEqual(len(self.world.starts), 3)

    def test_processes_are_looked_at_for_no_more_than_may_start(self) -> None:
        self.patch(revivals, "LEAD", 0.0)
        for number in range(100):
            self.limited(10, f"s{number}")
        self.pass_time(9)
        looks = self.world.looks
        self.pass_time(6)
        self.assertEqual(len(self.world.starts), 6)
        self.assertLess(self.world.looks - looks, 12)


@implementer(IReactorFromThreads)
class ClockWithThreads(Clock):
    def callFromThread(self, call: Callable[..., object], *arguments: object) -> None:  # noqa: N802
        call(*arguments)


class SilentFileSystemTests(MonitorTestCase):
    """A directory on a file system that does not answer, until a test lets its threads run."""

    clock_class = ClockWithThreads

    def setUp(self) -> None:
        super().setUp()
        self.threads: list[Callable[[], None]] = []
        self.patch(service, "Thread", self.thread)

    def thread(self, *, target: Callable[[], None], daemon: bool) -> Any:
        assert daemon
        return SimpleNamespace(start=lambda: self.threads.append(target))

    def test_a_silent_file_system_holds_its_session_and_the_tick_goes_on(self) -> None:
        self.limited(10)
        self.pass_time(60)
        self.assertEqual(self.told("held"), ("directory",))
        self.world.write("t", Kind.FINISHED)
        self.pass_time(30)
        self.assertEqual(self.monitor.sessions_by_state, {"stopped": 2})

    def test_a_silent_file_system_is_not_asked_again_before_it_answers(self) -> None:
        self.limited(10)
        self.pass_time(600)
        self.assertEqual(len(self.threads), 1)

    def test_a_file_system_is_silent_only_once_it_has_been_waited_for(self) -> None:
        asked = [
            Deferred.fromCoroutine(self.monitor._patiently(answer.__add__, "/home"))
            for answer in ("one: ", "two: ")
        ]
        for thread in self.threads:
            thread()
        self.assertEqual([*map(self.successResultOf, asked)], ["one: /home", "two: /home"])

    def test_a_session_is_revived_once_its_file_system_answers(self) -> None:
        self.limited(10)
        self.pass_time(60)
        for _ in range(10):
            self.pass_time(1)
            for thread in self.threads[:]:
                self.threads.remove(thread)
                thread()
        self.assertEqual(len(self.world.starts), 1)


class SlowLookTests(MonitorTestCase):
    """A world in which it takes long to see who is alive, as on macOS."""

    def setUp(self) -> None:
        super().setUp()
        self.looking: list[tuple[Deferred[Any], Any]] = []
        self.patch(service, "deferToThread", self.later)
        self.world.slow = True  # type: ignore[misc]

    def later(self, do: Any, *arguments: Any) -> Deferred[Any]:
        looking: Deferred[Any] = Deferred()
        self.looking.append((looking, do(*arguments)))
        return looking

    def see(self) -> None:
        looking, seen = self.looking.pop()
        looking.callback(seen)

    def test_a_session_is_revived_by_what_a_thread_has_seen(self) -> None:
        self.limited(10)
        self.pass_time(100)
        self.assertEqual(self.world.starts, [])
        self.see()
        self.assertEqual(len(self.world.starts), 1)

    def test_a_pause_while_a_thread_looks_counts(self) -> None:
        self.limited(10)
        self.pass_time(100)
        self.monitor.pause("a test")
        self.see()
        self.assertEqual(self.world.starts, [])

    def test_a_record_that_comes_while_a_thread_looks_voids_the_plan(self) -> None:
        self.limited(10)
        self.pass_time(100)
        self.world.write("s", Kind.LIMIT, reset=self.now())
        self.see()
        self.assertEqual(self.world.starts, [])

    def test_a_command_that_is_taken_away_while_a_thread_looks_is_not_started(self) -> None:
        self.limited(10)
        self.pass_time(100)
        self.monitor.configure(Settings(margin=0, stagger=0))
        self.see()
        self.assertEqual((self.world.starts, self.told("held")), ([], ("no-method",)))


class TellingTests(MonitorTestCase):
    def test_nothing_of_a_conversation_is_logged(self) -> None:
        self.revive()
        self.assertIn("claude session s: stopped (limit)", self.logged())
        self.assertIn("claude session s: started", self.logged())

    def test_inspect_tells_where_everything_is(self) -> None:
        told = self.monitor.inspect()
        self.assertEqual(
            told["agents"]["claude"],
            {"directory": "/home/.claude", "exists": False, "monitored": True, "keeper": True},
        )
        self.assertEqual(told["commands"]["claude"]["program"], "/bin/claude")
        self.assertEqual(told["state_directory"], self.directory)
        self.assertEqual((told["keeper"], told["ledger"], told["paused"]), (True, "ok", False))

    def test_inspect_tells_every_method_that_is_named(self) -> None:
        queue = HomeRevival(queue=("codex", "queue", "{id}"))
        self.monitor.configure(replace(SETTINGS, revive={"codex": queue}))
        self.assertEqual(
            self.monitor.inspect()["commands"],
            {
                "codex.queue": {
                    "command": ["codex", "queue", "{id}"],
                    "program": "/bin/codex",
                    "trouble": None,
                }
            },
        )

    def test_inspect_tells_what_notifies_and_what_types(self) -> None:
        self.assertIsNone(self.monitor.inspect()["notify"])
        self.patch(settings, "TYPES", True)
        typed = {"claude": HomeRevival(type_into=True)}
        self.monitor.configure(replace(SETTINGS, revive=typed, notify=("notify-send", "x")))
        found = self.monitor.inspect()
        rows = {"claude.type_into": found["commands"].pop("claude.type_into")}
        rows["notify"] = found["notify"]
        self.assertEqual(found["commands"], {})
        self.assertEqual(
            rows,
            {
                "claude.type_into": {"command": ["tmux"], "program": "/bin/tmux", "trouble": None},
                "notify": {
                    "command": ["notify-send", "x"],
                    "program": "/bin/notify-send",
                    "trouble": None,
                },
            },
        )

    def test_inspect_tells_why_a_program_cannot_be_run(self) -> None:
        self.world.no_program = True
        told = self.monitor.inspect()["commands"]["claude"]
        self.assertEqual((told["program"], told["trouble"]), (None, "claude: no such program"))

    def test_a_monitor_stops_at_once_and_leaves_commands_alone(self) -> None:
        self.revive()
        self.monitor.stopService()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertTrue(self.world.starts[0].revival.alive)
        self.assertTrue(Keeper(self.directory).take())


class DigestTests(MonitorTestCase):
    settings = replace(SETTINGS, notify=("true",), notify_events=frozenset(), digest=(7, 0))

    def setUp(self) -> None:
        self.sent: list[str] = []
        super().setUp()

    def note(self, event: Mapping[str, Any], now: float) -> None:  # noqa: ARG002
        self.sent.append(event["summary"])

    def make(self, settings: Settings | None = None, **more: Any) -> Monitor:
        monitor = super().make(settings, **more)
        monitor._notifier.digest = self.note  # type: ignore[method-assign]
        return monitor

    def be_away(self, seconds: float) -> None:
        """Have no daemon for some seconds."""
        self.stop(self.monitor)
        self.clock.advance(seconds)
        self.restart()
        self.pass_time(60)

    def until_seven(self) -> float:
        return last_time((7, 0), self.now()) + 86_400 - self.now()

    def test_the_digest_is_sent_once_a_day_at_its_time(self) -> None:
        self.world.write("s", Kind.REFUSED)
        self.pass_time(self.until_seven() - 60, step=60)
        self.pass_time(40)
        self.assertEqual(self.sent, [])
        self.pass_time(60)
        self.assertEqual(self.sent, ["1 needs you\ns: needs you: billing or log-in"])
        self.clock_was_set -= 3600
        self.pass_time(3700, step=60)
        self.assertEqual(len(self.sent), 1)

    def test_a_restart_sends_no_second_one(self) -> None:
        self.pass_time(self.until_seven() + 60, step=60)
        self.assertEqual(len(self.sent), 1)
        self.be_away(5)
        self.assertEqual(len(self.sent), 1)
        self.assertEqual(self.story(), ["digest"])
        # Nor does another time of the same morning.
        later = replace(self.settings, digest=(8, 0))
        self.stop(self.monitor)
        self.restart(later)
        self.pass_time(3 * 3600, step=60)
        self.assertEqual(len(self.sent), 1)
        self.pass_time(86_400, step=60)
        self.assertEqual(len(self.sent), 2)

    def test_a_missed_digest_is_sent_soon_after_its_time_only(self) -> None:
        self.pass_time(self.until_seven() + 60, step=60)
        self.be_away(self.until_seven() + 3600)
        self.assertEqual(len(self.sent), 2)
        self.be_away(self.until_seven() + 12 * 3600)
        self.assertEqual(len(self.sent), 2)

    def test_the_first_daemon_waits_for_its_time(self) -> None:
        self.pass_time(self.until_seven() - 3600, step=60)
        self.be_away(2 * 3600)
        self.assertEqual(self.sent, [])

    def test_a_reload_sends_none(self) -> None:
        self.monitor.configure(replace(self.settings, digest=(6, 0)))
        self.pass_time(60)
        self.assertEqual(self.sent, [])
