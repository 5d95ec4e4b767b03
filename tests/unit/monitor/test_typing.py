"""Open programs whose prompt is typed, with a clock and a world that the tests arrange."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred

from palingenesis.cli.open_programs import open_program
from palingenesis.monitor import service
from palingenesis.monitor import settings as settings_module
from palingenesis.monitor.case import SELF_RESUME
from palingenesis.monitor.homes import Home
from palingenesis.monitor.judge import LOOK
from palingenesis.monitor.revivals import GONE, RECORD, RETRY_OF_ONE
from palingenesis.monitor.service import SteeringError
from palingenesis.monitor.sessions import Identity
from palingenesis.monitor.settings import HomeRevival
from palingenesis.words import Kind, Owner
from tests.programs.nights import Writes
from tests.unit.monitor.fake_world import FakeTyping, home_of
from tests.unit.monitor.test_service import SETTINGS, ClockWithThreads, MonitorTestCase

COMMAND = ("claude", "-p", "--resume", "{id}", "{prompt}")
#: Seconds until the reset of a limit, and some more.
RESET, SOON = 100, 160


class TypingTestCase(MonitorTestCase):
    settings = replace(
        SETTINGS, revive={"claude": HomeRevival(COMMAND, type_into=True, prompt="go on")}
    )

    def setUp(self) -> None:
        self.patch(settings_module, "TYPES", True)
        super().setUp()
        self.world.prompt = "go on"
        self.open()

    def open(self, owner: Owner = Owner.PROGRAM) -> None:
        """Have the session's program live."""
        self.world.owners["claude", "s"] = owner

    def close(self) -> None:
        """End the session's program."""
        self.world.owners.pop(("claude", "s"), None)

    def begun(self) -> FakeTyping:
        """Have the prompt be typed after a limit."""
        self.limited(RESET)
        self.pass_time(SOON)
        (typing,) = self.world.typings
        return typing

    def sent(self) -> None:
        """Have the prompt be typed and sent."""
        self.begun().finish()
        self.pass_time(5)

    def hold(self) -> None:
        """Have a person want the session to be left alone."""
        self.monitor._ledger.hold("claude", "s", "a test")

    def reasons(self, event: str) -> list[Any]:
        return [each.get("reason") for each in self.monitor.log(1000) if each["event"] == event]


class DueTests(TypingTestCase):
    def test_a_prompt_is_typed_after_the_reset(self) -> None:
        self.limited(RESET)
        self.pass_time(RESET / 2)
        self.assertEqual(self.told("method", "held", "state"), ("type_into", "not-due", "waiting"))
        self.assertEqual(self.world.typings, [])
        self.pass_time(SOON)
        (typing,) = self.world.typings
        self.assertEqual(typing.prompt, "go on")
        self.assertEqual(self.told("state"), ("reviving",))
        (intent,) = (each for each in self.monitor.log(100) if each["event"] == "intent")
        self.assertEqual(intent["method"], "type_into")
        self.assertEqual(self.world.starts, [])

    def test_a_program_that_goes_on_by_itself_has_ten_minutes(self) -> None:
        self.limited(RESET, goes_on=True)
        self.pass_time(RESET + SELF_RESUME - 30)
        self.assertEqual(self.told("method", "held", "state"), ("type_into", "not-due", "waiting"))
        self.assertEqual(self.world.typings, [])
        self.pass_time(60)
        self.assertEqual(len(self.world.typings), 1)

    def test_a_command_does_not_wait_for_a_program_that_is_gone(self) -> None:
        self.close()
        self.limited(RESET, goes_on=True)
        self.pass_time(SOON)
        self.assertEqual(len(self.world.starts), 1)

    def test_only_a_limit_is_typed_after(self) -> None:
        self.world.write("s", Kind.TRANSIENT)
        self.pass_time(4000, step=60)
        self.assertEqual(self.told("method", "held"), ("command", "owner-alive"))
        self.assertEqual(self.told("doubt"), ("a prompt is typed after a limit only",))
        self.assertEqual(self.world.typings, [])
        self.close()
        self.pass_time(LOOK + 5)
        self.assertEqual(self.told("doubt"), (None,))

    def test_nothing_is_typed_for_a_server(self) -> None:
        self.open(Owner.SERVER)
        self.limited(RESET)
        self.pass_time(SOON)
        self.assertEqual(self.told("method", "held"), ("command", "owner-alive"))
        self.assertEqual(
            self.told("doubt"), ("a prompt is typed into a program at a terminal only",)
        )
        self.assertEqual(self.world.typings, [])

    def test_nothing_is_typed_on_another_system_than_linux(self) -> None:
        self.patch(settings_module, "TYPES", False)
        self.limited(RESET)
        self.pass_time(SOON)
        self.assertEqual(self.told("method", "held"), ("command", "owner-alive"))
        self.assertEqual(self.told("doubt"), ("a prompt is typed on Linux only",))
        self.assertIn("; a prompt is typed on", open_program(self.only(), self.now()) or "")
        self.assertEqual(self.world.typings, [])

    def test_no_reason_is_given_for_a_session_that_nothing_is_done_for(self) -> None:
        self.world.write("s", None)
        self.world.waiting.add("s")
        self.pass_time(SOON)
        self.assertEqual(self.told("kind", "owner", "doubt"), ("asking", "program", None))

    def test_nothing_is_typed_while_paused(self) -> None:
        self.monitor.pause("a test")
        self.limited(RESET)
        self.pass_time(SOON)
        self.assertEqual(self.world.typings, [])
        self.monitor.resume("a test")
        self.pass_time(LOOK)
        self.assertEqual(len(self.world.typings), 1)

    def test_nothing_is_typed_for_a_session_on_hold(self) -> None:
        self.limited(RESET)
        self.pass_time(5)
        self.hold()
        self.pass_time(SOON)
        self.assertEqual(self.world.typings, [])


class DoubtTests(TypingTestCase):
    def test_a_doubt_is_shown_before_the_reset(self) -> None:
        self.world.doubts["s"] = "its pane is in copy mode"
        self.limited(RESET)
        self.pass_time(RESET / 2)
        self.assertEqual(
            self.told("method", "held", "state", "doubt"),
            ("type_into", "owner-alive", "waiting", "its pane is in copy mode"),
        )

    def test_a_doubt_keeps_the_keys_from_being_pressed_until_it_is_gone(self) -> None:
        self.world.doubts["s"] = "its pane is in copy mode"
        self.limited(RESET)
        self.pass_time(SOON)
        self.assertEqual(self.world.typings, [])
        self.assertNotIn("intent", self.story())
        self.world.doubts.clear()
        self.pass_time(LOOK + 5)
        self.assertEqual(len(self.world.typings), 1)
        self.assertEqual(self.told("doubt"), (None,))

    def test_a_person_is_called_after_ten_minutes(self) -> None:
        self.world.doubts["s"] = "it is suspended"
        self.limited(RESET)
        self.pass_time(RESET + SELF_RESUME + LOOK)
        need = "its open program does not go on: it is suspended"
        self.assertEqual(self.reasons("needs-you"), [need])
        self.assertEqual(self.told("needs"), (need,))

    def test_a_doubt_about_a_program_that_nobody_knew_of(self) -> None:
        """A daemon that has just started plans a command: it has not looked at processes yet."""
        self.world.doubts["s"] = "it does not run in tmux"
        self.limited(RESET)
        self.pass_time(RESET / 2)
        self.monitor.stopService()
        self.clock.advance(SOON)
        self.restart()
        self.pass_time(5)
        self.assertEqual(self.told("method", "held"), ("type_into", "owner-alive"))
        self.assertNotIn("intent", self.story())
        self.assertEqual(self.world.typings, [])

    def test_a_doubt_between_the_plan_and_the_intent(self) -> None:
        """It is asked once more, immediately before."""
        self.limited(RESET)
        self.pass_time(RESET / 2)
        self.assertEqual(self.told("doubt"), (None,))
        self.world.doubts["s"] = "a person used its terminal"
        self.pass_time(SOON)
        self.assertEqual(self.world.typings, [])

    def test_a_question_that_fails_is_a_doubt_about_its_session_alone(self) -> None:
        def fails(*_: object) -> None:
            raise RuntimeError("cannot be")

        self.patch(self.world, "doubt_of_typing", fails)
        self.limited(RESET)
        self.world.write("t", Kind.LIMIT, reset=self.now() + RESET)
        self.pass_time(SOON)
        self.assertEqual(self.told("doubt", id="s"), ("/home/s: cannot be",))
        self.assertEqual(self.told("state", id="t"), ("reviving",))


class SilentTerminalTests(TypingTestCase):
    """A program's terminal about which the system does not answer."""

    clock_class = ClockWithThreads

    def setUp(self) -> None:
        super().setUp()
        self.hung: list[Callable[[], None]] = []
        self.patch(service, "Thread", self.thread)

    def thread(self, *, target: Callable[[], None], daemon: bool) -> Any:
        assert daemon
        # The first question is about the terminal, the others are about directories.
        return SimpleNamespace(start=target if self.hung else lambda: self.hung.append(target))

    def test_no_other_session_waits_for_a_terminal_that_hangs(self) -> None:
        self.limited(RESET)
        self.world.write("t", Kind.LIMIT, reset=self.now() + RESET)
        self.pass_time(RESET + 2 * service.DOUBT_PATIENCE + SOON)
        self.assertEqual(self.told("state", id="t"), ("reviving",))
        self.assertIn("does not answer", str(self.told("doubt", id="s")))
        self.assertEqual((len(self.hung), self.world.typings), (1, []))


class AskingTests(TypingTestCase):
    """How often, and of which programs, it is asked whether a prompt can be typed."""

    def setUp(self) -> None:
        super().setUp()
        self.asked: list[float] = []
        found = self.world.doubt_of_typing

        def ask(home: Home, session: Identity) -> str | None:
            self.asked.append(self.now())
            return found(home, session)

        self.world.doubt_of_typing = ask  # type: ignore[method-assign]

    def test_a_doubt_is_asked_for_at_most_every_half_minute(self) -> None:
        self.world.doubts["s"] = "its pane is in copy mode"
        self.limited(RESET)
        self.pass_time(RESET + 1000)
        self.assertGreater(len(self.asked), 20)
        for before, after in pairwise(self.asked):
            self.assertGreaterEqual(after - before, LOOK)

    def test_only_of_a_program_is_it_asked(self) -> None:
        only_typed = HomeRevival(type_into=True, prompt="go on")
        self.monitor.configure(replace(self.settings, revive={"claude": only_typed}))
        for owner in (Owner.UNKNOWN, Owner.SERVER, Owner.GONE):
            self.open(owner)
            self.limited(RESET)
            self.pass_time(RESET + 100)
            self.assertEqual(self.told("owner"), (owner.value,))
            self.assertEqual(self.asked, [])

    def test_only_by_the_daemon_that_keeps_its_home(self) -> None:
        other = self.world.view()
        other.home_locks.take([home_of("claude")])
        self.world.holders["/home/.claude"] = other.home_locks
        self.limited(RESET)
        self.pass_time(RESET + 100)
        self.assertEqual(self.told("held"), ("not-the-keeper",))
        self.assertEqual(self.asked, [])


class AskedTests(TypingTestCase):
    """A person wants the prompt to be typed now."""

    NAME = "4f1c"

    def setUp(self) -> None:
        super().setUp()
        self.world.owners["claude", self.NAME] = Owner.PROGRAM

    def limit(self, seconds: float) -> None:
        self.limited(seconds, self.NAME)
        self.pass_time(LOOK + 5)

    def give_up(self) -> None:
        """Have its prompt stand in the terminal."""
        self.limit(RESET)
        self.pass_time(SOON)
        self.world.typings[-1].finish("a menu is open")
        self.pass_time(5)
        self.assertEqual(self.told("state"), ("given-up",))

    def ask(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self.monitor.revive(self.NAME, "a person"))

    def assert_refused(self, doubt: str) -> None:
        before = len(self.world.typings)
        error = self.failureResultOf(self.ask(), SteeringError).value
        self.assertEqual(str(error), f"claude session {self.NAME}: owner-alive: {doubt}")
        self.assertNotIn("asked", self.story())
        self.assertEqual(len(self.world.typings), before)

    def test_a_prompt_is_typed_before_the_reset(self) -> None:
        self.limit(10_000)
        self.successResultOf(self.ask())
        self.assertEqual(len(self.world.typings), 1)

    def test_what_is_in_doubt_now(self) -> None:
        self.limit(10_000)
        self.assertEqual(self.told("doubt"), (None,))
        self.world.doubts[self.NAME] = "its pane is in copy mode"
        self.assert_refused("its pane is in copy mode")

    def test_what_was_in_doubt_before(self) -> None:
        self.world.doubts[self.NAME] = "its pane is in copy mode"
        self.limit(10_000)
        self.assertEqual(self.told("doubt"), ("its pane is in copy mode",))
        self.world.doubts.clear()
        self.successResultOf(self.ask())
        self.assertEqual(len(self.world.typings), 1)

    def test_what_is_in_doubt_of_a_session_that_is_given_up(self) -> None:
        self.give_up()
        self.world.doubts[self.NAME] = "its input line is not empty"
        self.assert_refused("its input line is not empty")

    def test_what_a_key_was_not_pressed_for_a_moment_ago(self) -> None:
        self.limit(RESET)
        self.pass_time(SOON)
        self.world.typings[-1].finish("its pane has just changed", typed=False)
        self.pass_time(5)
        self.successResultOf(self.ask())
        self.assertEqual(len(self.world.typings), 2)

    def test_a_session_that_is_given_up_and_in_no_doubt(self) -> None:
        self.give_up()
        self.successResultOf(self.ask())
        self.assertEqual(len(self.world.typings), 2)


class OutcomeTests(TypingTestCase):
    def test_a_typed_prompt_has_worked_once_the_agent_answers(self) -> None:
        self.sent()
        self.assertEqual(self.story()[-2:], ["intent", "started"])
        self.world.write("s", None)
        self.pass_time(5)
        self.assertEqual(self.told("state"), ("reviving",))
        self.world.write("s", None, progress=True)
        self.pass_time(5)
        self.assertEqual(self.story()[-1], "worked")
        self.world.write("s", Kind.FINISHED, progress=True)
        self.pass_time(20)
        self.assertEqual(self.story()[-1], "ended")
        self.assertEqual(self.told("state", "kind"), ("stopped", "finished"))
        self.assertEqual(self.monitor.started, 1)

    def test_no_record_within_its_time_is_the_end_for_this_stop(self) -> None:
        self.sent()
        self.pass_time(RECORD - 10)
        self.assertEqual(self.told("state"), ("reviving",))
        self.pass_time(20)
        self.assertEqual(self.story()[-3:], ["gave-up", "needs-you", "failed"])
        self.assertEqual(self.told("state"), ("given-up",))
        self.assertIn("its prompt was typed", self.told("needs")[0])
        self.pass_time(4000, step=60)
        self.assertEqual(len(self.world.typings), 1)

    def test_text_that_was_not_sent_is_left_and_never_typed_again(self) -> None:
        self.begun().finish("a menu is open")
        self.pass_time(5)
        self.assertEqual(self.story()[-3:], ["gave-up", "needs-you", "failed"])
        (need,) = self.reasons("needs-you")
        self.assertIn("stands in its terminal, and was not sent: a menu is open", need)
        self.assertEqual(self.told("needs"), (need,))
        self.pass_time(4000, step=60)
        self.assertEqual(len(self.world.typings), 1)

    def test_a_call_for_a_person_was_heard_before(self) -> None:
        """What stands in a terminal is said all the same."""
        self.world.doubts["s"] = "it is suspended"
        self.limited(RESET)
        self.pass_time(RESET + SELF_RESUME + LOOK)
        self.world.doubts.clear()
        self.pass_time(LOOK + 5)
        self.world.typings[0].finish("a menu is open")
        self.pass_time(5)
        self.assertEqual(len(self.reasons("needs-you")), 2)
        self.assertIn("was not sent", self.told("needs")[0])

    def test_another_limit_is_a_stop_of_its_own(self) -> None:
        self.sent()
        self.limited(1000)
        self.pass_time(20)
        self.assertEqual(self.story()[-2:], ["failed", "stopped"])
        self.assertEqual(self.told("state", "attempts"), ("waiting", 1))
        self.pass_time(1100)
        self.assertEqual(len(self.world.typings), 2)

    def test_a_person_who_went_on_just_then(self) -> None:
        """The records that follow are not because of the prompt."""
        self.sent()
        self.world.prompt = "I go on"
        self.world.write("s", None, progress=True)
        self.pass_time(20)
        self.assertNotIn("worked", self.story())
        self.world.write("s", Kind.FINISHED, progress=True)
        self.pass_time(20)
        self.assertEqual(self.reasons("failed"), ["a person went on with it"])

    def test_the_user_ends_the_turn(self) -> None:
        self.sent()
        self.world.write("s", Kind.USER)
        self.pass_time(20)
        self.assertEqual(self.told("state"), ("left",))
        self.pass_time(4000, step=60)
        self.assertEqual(len(self.world.typings), 1)

    def test_the_program_ends_before_it_answers(self) -> None:
        """Then the command takes the session up."""
        self.sent()
        self.world.write("s", None)
        self.close()
        self.pass_time(GONE + LOOK + 10)
        self.assertEqual(self.reasons("failed"), ["it was taken, and no answer came"])
        self.pass_time(60)
        self.assertEqual(len(self.world.starts), 1)
        self.assertEqual(len(self.world.typings), 1)

    def test_the_program_ends_before_it_answers_a_person(self) -> None:
        """Then the person knows of it."""
        self.sent()
        self.world.prompt = "I go on"
        self.world.write("s", None)
        self.close()
        self.pass_time(4000, step=60)
        self.assertEqual(self.told("kind", "held"), ("died", "crashes"))
        self.assertEqual(self.world.starts, [])


class UntypedTests(TypingTestCase):
    """No key was pressed: that was no attempt, as a command that could not be started is none."""

    def untyped(self, doubt: str = "its pane has just changed") -> None:
        self.begun().finish(doubt, typed=False)
        self.pass_time(5)

    def test_an_untyped_prompt_is_tried_again_after_a_while(self) -> None:
        self.untyped()
        self.assertEqual(
            self.told("state", "held", "doubt", "attempts"),
            ("stopped", "owner-alive", "its pane has just changed", 0),
        )
        self.assertEqual(self.reasons("failed"), ["not started: its pane has just changed"])
        self.pass_time(RETRY_OF_ONE - 10)
        self.assertEqual(len(self.world.typings), 1)
        self.pass_time(LOOK + 20)
        self.assertEqual(len(self.world.typings), 2)
        self.world.typings[-1].finish()
        self.pass_time(5)
        self.assertEqual(self.story()[-2:], ["intent", "started"])

    def test_an_untyped_prompt_costs_no_attempt_and_no_start_of_the_hour(self) -> None:
        self.limited(RESET)
        for number in range(1, 3 * self.settings.attempts):
            self.pass_time(RETRY_OF_ONE + LOOK + 200, step=5)
            self.assertEqual(len(self.world.typings), number)
            self.world.typings[-1].finish("its pane has just changed", typed=False)
            self.pass_time(5)
            self.assertEqual(self.told("attempts"), (0,))
            self.assertEqual(self.monitor._ledger.starts("claude"), [])
        self.assertNotIn("gave-up", self.story())
        self.assertEqual(self.monitor.started, 0)

    def test_a_person_is_called_once_if_it_has_not_gone_on_within_its_time(self) -> None:
        self.untyped()
        self.assertNotIn("needs-you", self.story())
        self.pass_time(RETRY_OF_ONE - 10)
        need = "its open program does not go on: its pane has just changed"
        self.assertEqual(self.reasons("needs-you"), [need])

    def test_a_newer_stop_is_not_in_that_doubt(self) -> None:
        typing = self.begun()
        self.limited(RESET)
        typing.finish("the transcript has a newer record", typed=False)
        self.pass_time(RESET + 20)
        self.assertEqual(len(self.world.typings), 2)

    def test_a_program_that_ends_meanwhile_leaves_it_to_a_command(self) -> None:
        self.untyped()
        self.close()
        self.pass_time(LOOK + 10)
        self.assertEqual(len(self.world.starts), 1)

    def test_the_prompt_of_an_earlier_attempt_is_no_stop_of_its_own(self) -> None:
        only_typed = HomeRevival(type_into=True, prompt="go on")
        self.monitor.configure(replace(self.settings, revive={"claude": only_typed}))
        self.sent()
        self.world.write("s", None, prompt="go on", typed=True)
        self.close()
        self.pass_time(GONE + LOOK)
        self.open()
        self.pass_time(LOOK)
        self.assertEqual(self.reasons("failed"), ["it was taken, and no answer came"])
        self.assertEqual(len(self.world.typings), 2)
        self.world.typings[-1].finish("its pane has just changed", typed=False)
        self.pass_time(5)
        self.restart()
        self.pass_time(LOOK + 5)
        self.assertEqual(self.told("kind"), ("limit",))
        self.assertEqual(len(self.world.typings), 3)


class JustBeforeAKeyTests(TypingTestCase):
    """What the thread asks before each key."""

    def test_a_key_that_nothing_forbids_is_allowed(self) -> None:
        self.assertIsNone(self.begun().forbids())

    def test_a_pause_forbids_a_key(self) -> None:
        typing = self.begun()
        self.monitor.pause("a test")
        self.assertIn("paused", typing.forbids() or "")

    def test_a_hold_forbids_a_key(self) -> None:
        typing = self.begun()
        self.hold()
        self.assertIn("on hold", typing.forbids() or "")

    def test_a_newer_record_forbids_a_key(self) -> None:
        typing = self.begun()
        self.world.write("s", None)
        self.assertIn("newer record", typing.forbids() or "")

    def test_a_transcript_that_cannot_be_read(self) -> None:
        typing = self.begun()
        self.world.unreadable.add("/transcripts/s.jsonl")
        self.assertIn("Permission denied", typing.forbids() or "")

    def test_a_daemon_that_stops(self) -> None:
        typing = self.begun()
        self.monitor.stopService()
        self.assertIn("stops", typing.forbids() or "")


class RestartedTests(TypingTestCase):
    """A daemon that finds an intent, and does not know whether a key was pressed."""

    def test_nothing_is_typed_again(self) -> None:
        self.begun()
        self.restart()
        self.assertEqual(self.told("state"), ("reviving",))
        self.pass_time(RECORD + 10)
        self.assertEqual(self.story()[-3:], ["gave-up", "needs-you", "failed"])
        self.assertIn("its prompt was typed", self.told("needs")[0])
        self.pass_time(4000, step=60)
        self.assertEqual(len(self.world.typings), 1)
        self.assertEqual(self.world.starts, [])

    def assert_typed_once(self, line: int) -> None:
        """Kill the daemon at a line that it writes once no record has come of a prompt."""
        self.sent()
        killed: list[int] = []
        writes = Writes()
        writes.kill = (line, 0)
        writes.hook(self.monitor._ledger, lambda: killed.append(line))
        self.pass_time(RECORD + 20)
        self.assertEqual(killed, [line])
        self.restart()
        self.pass_time(4000)
        self.assertEqual(self.told("state"), ("given-up",))
        self.assertEqual(len(self.world.typings), 1)

    def test_nothing_is_typed_again_after_a_kill_at_the_first_line_of_a_failure(self) -> None:
        self.assert_typed_once(1)

    def test_nothing_is_typed_again_after_a_kill_at_the_second_line_of_a_failure(self) -> None:
        self.assert_typed_once(2)

    def test_nothing_is_typed_again_after_a_kill_at_the_last_line_of_a_failure(self) -> None:
        self.assert_typed_once(3)

    def test_a_record_that_came_of_it(self) -> None:
        self.sent()
        self.world.write("s", None)
        self.restart()
        self.pass_time(5)
        self.assertEqual(self.told("state"), ("reviving",))
        self.world.write("s", None, progress=True)
        self.pass_time(5)
        self.assertEqual(self.story()[-1], "worked")
        self.assertEqual(len(self.world.typings), 1)

    def test_what_has_worked_ends_once(self) -> None:
        self.sent()
        self.world.write("s", None, progress=True)
        self.pass_time(60)
        self.restart()
        self.pass_time(60)
        self.assertEqual(self.story()[-1], "worked")
        self.world.write("s", Kind.FINISHED, progress=True)
        self.pass_time(20)
        self.restart()
        self.pass_time(20)
        self.assertEqual(self.story()[-2:], ["worked", "ended"])
        (ended,) = (each for each in self.monitor.log(100) if each["event"] == "ended")
        self.assertGreaterEqual(ended["seconds"], 120.0)
        self.assertEqual(self.monitor._ledger.sums.seconds, ended["seconds"])
