"""Open programs that are handed their prompt, with a clock and a world that the tests arrange."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NoReturn
from unittest import mock

from palingenesis.monitor.child import CommandError
from palingenesis.monitor.forecast import Forecast, Outlook
from palingenesis.monitor.ledger import Ledger
from palingenesis.monitor.revive import QUICK
from palingenesis.monitor.settings import HomeRevival
from palingenesis.words import Event, Kind, Owner
from tests.unit.monitor.fake_world import Start
from tests.unit.monitor.test_service import SETTINGS, MonitorTestCase

COMMAND = ("codex", "exec", "resume", "{id}", "{prompt}")
QUEUE = ("codex", "queue", "--thread", "{id}", "--message", "{prompt}")
#: Seconds after the reset at which the tests look again: there were ticks and a look since.
SOON = 60


class QueueTestCase(MonitorTestCase):
    settings = replace(
        SETTINGS, revive={"codex": HomeRevival(COMMAND, QUEUE)}, attempts=3, retry=(300.0,)
    )

    def open(self, owner: Owner = Owner.PROGRAM, *, interactive: bool = True) -> None:
        """Have the session's program live."""
        self.world.owners["codex", "s"] = owner
        (self.world.interactive.add if interactive else self.world.interactive.discard)("s")

    def close(self) -> None:
        """End the session's program."""
        self.world.owners.pop(("codex", "s"), None)

    def write(self, kind: Kind | None, **more: Any) -> None:
        self.world.write("s", kind, agent="codex", **more)

    def begun(self, status: int = 0, *, queued: bool | None = True) -> Start:
        """Have an open program be handed its prompt after its limit, and that command end."""
        self.open()
        self.limited(30, agent="codex")
        self.pass_until_started()
        (start,) = self.world.starts
        self.world.queue["s"] = queued if not status else False
        start.revival.finish(status)
        self.pass_time(5)
        return start

    def pass_until_started(self, number: int = 1) -> None:
        """Pass time until so many commands were started."""
        for _ in range(1000):
            if len(self.world.starts) == number:
                return
            self.pass_time(1)
        self.fail(f"no {number} starts")

    def prompted(self, kind: Kind | None) -> None:
        """Have the transcript show our own prompt, and how its turn ended."""
        self.write(kind)
        path = "/transcripts/s.jsonl"
        file = self.world.files[path]
        verdict = replace(
            file.verdict, prompt="continue", last_prompt="continue", last_prompt_at=self.now()
        )
        self.world.files[path] = replace(file, verdict=verdict)

    def methods(self) -> list[str]:
        """Return the first word of each command's arguments, in order."""
        return [start.command.arguments[1] for start in self.world.starts]

    def reasons(self, event: str) -> list[Any]:
        return [each.get("reason") for each in self.monitor.log(1000) if each["event"] == event]


class HandingOverTests(QueueTestCase):
    def test_an_open_program_is_handed_its_prompt_after_its_reset(self) -> None:
        self.open()
        self.limited(100, agent="codex")
        self.pass_time(SOON)
        self.assertEqual(self.told("method", "held", "state"), ("queue", "not-due", "waiting"))
        self.assertEqual(self.world.starts, [])
        self.pass_time(SOON)
        (start,) = self.world.starts
        self.assertEqual(start.command.arguments, QUEUE)
        self.assertEqual(self.told("state"), ("reviving",))
        (intent,) = (each for each in self.monitor.log(100) if each["event"] == "intent")
        self.assertEqual(intent["method"], "queue")

    def test_a_message_has_worked_once_the_agent_answers(self) -> None:
        self.begun()
        self.assertEqual(self.told("state"), ("reviving",))
        self.write(None)
        self.pass_time(5)
        self.assertNotIn("worked", self.story())
        self.write(None, progress=True)
        self.pass_time(5)
        self.assertEqual(self.story()[-1], "worked")
        self.pass_time(600)
        self.write(Kind.FINISHED, progress=True)
        self.pass_time(20)
        (ended,) = (each for each in self.monitor.log(100) if each["event"] == "ended")
        self.assertGreaterEqual(ended["seconds"], 600.0)
        self.assertEqual(self.told("state", "kind"), ("stopped", "finished"))
        self.assertEqual(len(self.world.starts), 1)

    def test_a_message_keeps_its_prompt_if_that_of_the_configuration_changes(self) -> None:
        self.begun()
        changed = HomeRevival(COMMAND, QUEUE, prompt="go on now")
        self.monitor.configure(replace(self.settings, revive={"codex": changed}))
        self.pass_time(5)
        self.world.prompt = "continue"
        self.write(None, progress=True)
        self.pass_time(5)
        self.assertEqual(self.story()[-1], "worked")

    def test_a_message_of_other_words_than_the_prompt_s_is_known(self) -> None:
        for queue, prompt, taken in (
            ((*QUEUE[:-1], "please go on"), "continue", "please go on"),
            (QUEUE, "continue\n", "continue"),
            ((*QUEUE[:-1], "{prompt}, please"), "continue", "continue, please"),
        ):
            self.monitor.configure(
                replace(self.settings, revive={"codex": HomeRevival(COMMAND, queue, prompt=prompt)})
            )
            self.open()
            self.limited(30, agent="codex")
            self.pass_until_started(len(self.world.starts) + 1)
            self.world.starts[-1].revival.finish(0)
            self.pass_time(5)
            self.world.prompt = taken
            self.write(None, progress=True)
            self.pass_time(5)
            self.assertEqual(self.story()[-1], "worked", taken)
            self.write(Kind.FINISHED, progress=True)
            self.pass_time(20)

    def test_a_person_who_goes_on_while_it_waits(self) -> None:
        self.begun()
        self.world.prompt = "I go on"
        self.write(None, progress=True)
        self.pass_time(60)
        self.assertNotIn("worked", self.story())
        self.write(Kind.FINISHED, progress=True)
        self.pass_time(20)
        self.assertEqual(self.reasons("failed"), ["a person went on with it"])
        self.assertEqual(self.told("state", "kind"), ("stopped", "finished"))
        self.assertEqual(len(self.world.starts), 1)

    def test_another_limit_is_a_stop_of_its_own(self) -> None:
        self.begun(queued=False)
        self.limited(1000, agent="codex")
        self.pass_time(20)
        self.assertEqual(self.story()[-2:], ["failed", "stopped"])
        self.assertEqual(self.told("state", "attempts"), ("waiting", 1))
        self.pass_time(900)
        self.assertEqual(len(self.world.starts), 1)
        self.pass_time(100)
        self.assertEqual(self.methods(), ["queue", "queue"])

    def test_only_an_interactive_program_is_handed_a_prompt(self) -> None:
        for owner in (Owner.PROGRAM, Owner.SERVER):
            self.open(owner, interactive=False)
            self.limited(30, agent="codex")
            self.pass_time(SOON)
            self.assertEqual(self.told("method", "held"), ("command", "owner-alive"))
            self.assertEqual(self.told("doubt"), ("it is not known to take a message",))
            self.assertEqual(self.world.starts, [])

    def test_the_agent_s_own_server_is_handed_a_message(self) -> None:
        self.open(Owner.SERVER)
        self.limited(30, agent="codex")
        self.pass_time(SOON)
        self.assertEqual(self.methods(), ["queue"])

    def test_a_session_that_nobody_has_is_revived_by_the_command(self) -> None:
        self.limited(30, agent="codex")
        self.pass_time(SOON)
        self.assertEqual(self.methods(), ["exec"])

    def test_a_pause_just_before(self) -> None:
        self.open()
        self.limited(30, agent="codex")

        def pause() -> None:
            self.monitor.pause("a person")

        self.world.on_look.append(pause)
        self.pass_time(SOON)
        self.assertEqual(self.world.starts, [])
        self.assertEqual(self.told("held"), ("paused",))

    def test_a_person_who_types_just_before(self) -> None:
        self.open()
        self.limited(30, agent="codex")
        self.pass_time(20)

        def type_something() -> None:
            if self.now() >= self.only()["due"]:
                self.world.on_look.clear()
                self.write(None)

        self.world.on_look.append(type_something)
        self.pass_time(SOON)
        self.assertEqual(self.world.on_look, [])
        self.assertEqual(self.world.starts, [])

    def test_a_message_that_waits_already(self) -> None:
        self.world.queue["s"] = True
        self.open()
        self.limited(30, agent="codex")
        self.pass_time(SOON)
        self.assertEqual(self.world.starts, [])
        self.assertEqual(self.told("method", "held"), ("queue", "owner-alive"))
        self.pass_time(600)
        self.assertEqual(self.told("needs"), ("its open program does not go on",))
        self.close()
        self.pass_time(SOON)
        self.assertEqual(self.methods(), ["exec"])


class ForecastTests(QueueTestCase):
    """The report without a daemon looks at what has a session, as the daemon does."""

    def forecast(self) -> Outlook:
        entries, sums = self.monitor._ledger.entries(), self.monitor._ledger.sums
        stop = next(each for each in reversed(entries) if each.event is Event.STOPPED)
        forecast = Forecast(self.settings, sums, entries, self.world.view(), self.times)
        found = forecast.outlook(stop)
        self.assertEqual(found, self.monitor._outlook(stop))
        return found

    def test_an_open_program_will_be_handed_its_prompt(self) -> None:
        self.open()
        self.limited(3000, agent="codex")
        self.pass_time(SOON)
        self.assertEqual(self.forecast(), (None, self.only()["due"], "a program"))

    def test_a_message_that_waits_already(self) -> None:
        self.world.queue["s"] = True
        self.open()
        self.limited(3000, agent="codex")
        self.pass_time(SOON)
        self.assertEqual(self.forecast(), ("its agent still runs", None, "a program"))

    def test_a_program_that_takes_no_message(self) -> None:
        self.open(interactive=False)
        self.limited(3000, agent="codex")
        self.pass_time(SOON)
        self.assertEqual(self.forecast(), ("its agent still runs", None, "a program"))

    def test_a_message_that_was_handed_over(self) -> None:
        self.begun()
        self.assertEqual(self.forecast(), (None, None, "a program"))


class NotTakenTests(QueueTestCase):
    def test_nothing_is_queued_twice_however_long_it_waits(self) -> None:
        self.begun()
        self.pass_time(4 * 3600, step=60)
        self.assertEqual(len(self.world.starts), 1)
        self.assertEqual(self.told("state"), ("reviving",))

    def test_a_person_is_called_after_ten_minutes(self) -> None:
        for queued, words in (
            (True, "its message waits in the queue"),
            (False, "its message was lost"),
            (None, "its open program does not go on"),
        ):
            with self.subTest(queued=queued):
                self.setUp()
                self.begun(queued=queued)
                self.pass_time(500)
                self.assertEqual(self.told("needs"), (None,))
                self.pass_time(100)
                self.assertEqual(self.told("needs"), (words,))
                self.assertEqual(self.reasons("needs-you"), [words])
                self.pass_time(3600, step=60)
                self.assertEqual(len(self.world.starts), 1)

    def test_a_person_is_called_if_it_is_not_known_whether_the_program_lives(self) -> None:
        for queued, words in (
            (True, "its message waits in the queue"),
            (False, "its message was lost"),
        ):
            with self.subTest(queued=queued):
                self.setUp()
                self.begun(queued=queued)
                self.open(Owner.UNKNOWN)
                self.pass_time(500)
                self.assertEqual(self.reasons("needs-you"), [])
                self.pass_time(100)
                self.assertEqual(self.reasons("needs-you"), [words])
                self.assertEqual(self.told("state", "needs"), ("reviving", words))

    def test_nobody_is_called_for_a_message_that_was_taken(self) -> None:
        self.begun(queued=False)
        for _ in range(10):
            self.prompted(None)
            self.pass_time(100)
        self.assertEqual(self.told("state", "needs"), ("reviving", None))
        self.assertEqual(self.reasons("needs-you"), [])

    def test_nobody_is_called_while_a_command_is_to_follow(self) -> None:
        self.begun()
        self.pass_time(560)
        self.close()
        self.pass_time(100)
        self.assertEqual(self.told("state", "owner"), ("reviving", "gone"))
        self.pass_time(60)
        self.assertEqual(self.methods(), ["queue", "exec"])
        self.assertEqual(self.reasons("needs-you"), [])

    def test_a_program_that_ends_leaves_it_to_a_command(self) -> None:
        for queued in (True, False, None):
            with self.subTest(queued=queued):
                self.setUp()
                self.begun(queued=queued)
                self.close()
                self.pass_time(120)
                self.assertEqual(len(self.world.starts), 1)
                self.pass_time(60)
                self.assertEqual(self.methods(), ["queue", "exec"])
                self.assertEqual(
                    self.reasons("failed"), ["its program ended before it took the message"]
                )

    def test_a_session_that_a_person_begins_beside_it_is_no_successor(self) -> None:
        self.begun()
        self.world.write("new", Kind.FINISHED, agent="codex", directory="/home/s", progress=True)
        self.close()
        self.pass_time(200)
        self.assertEqual(self.methods(), ["queue", "exec"])
        self.assertNotIn("continued", self.story())

    def test_messages_that_nothing_comes_of_keep_no_other_session_waiting(self) -> None:
        self.monitor.configure(replace(self.settings, at_once=1))
        self.begun(queued=False)
        self.world.write("other", Kind.LIMIT, agent="codex", reset=self.now() + 30)
        self.pass_time(300)
        self.assertEqual(len(self.world.starts), 1)
        self.pass_time(400)
        self.assertEqual(self.methods(), ["queue", "exec"])
        self.assertEqual(self.world.starts[1].session.id, "other")

    def test_a_program_that_is_back_within_two_minutes_still_has_it(self) -> None:
        self.begun()
        self.close()
        self.pass_time(90)
        self.open()
        self.pass_time(300)
        self.assertNotIn("failed", self.story())
        self.assertEqual(len(self.world.starts), 1)

    def test_no_second_message_while_the_first_may_wait(self) -> None:
        for queued in (True, None):
            with self.subTest(queued=queued):
                self.setUp()
                self.monitor.configure(replace(self.settings, revive={"codex": ONLY_QUEUE}))
                self.begun(queued=queued)
                self.close()
                self.pass_time(200)
                self.assertEqual(self.story()[-1], "failed")
                self.open()
                self.pass_time(3600, step=60)
                self.assertEqual(len(self.world.starts), 1)
                self.assertEqual(self.told("held"), ("owner-alive",))

    def test_a_program_killed_with_the_prompt_and_no_answer(self) -> None:
        self.begun(queued=False)
        self.prompted(None)
        self.close()
        self.pass_time(200)
        self.assertEqual(self.methods(), ["queue", "exec"])
        self.assertEqual(self.reasons("failed"), ["it was taken, and no answer came"])

    def test_a_program_killed_with_a_person_s_prompt_and_no_answer(self) -> None:
        self.begun(queued=False)
        self.world.prompt = "I go on"
        self.write(None)
        self.close()
        self.pass_time(4000, step=60)
        self.assertEqual(self.methods(), ["queue"])
        self.assertEqual(self.told("kind", "held"), ("died", "crashes"))

    def test_a_turn_that_is_cut_off_after_our_message_is_no_user_s_end(self) -> None:
        # openai/codex#41060
        self.begun(queued=False)
        self.prompted(Kind.USER)
        self.pass_time(20)
        self.assertNotIn("left", self.story())
        self.assertEqual(self.told("kind", "state"), ("limit", "waiting"))
        self.pass_until_started(2)
        self.assertEqual(self.methods(), ["queue", "queue"])
        self.world.starts[-1].revival.finish(0)
        self.prompted(Kind.USER)
        self.pass_time(3600, step=60)
        self.assertEqual(self.told("state"), ("given-up",))
        self.assertEqual(len(self.world.starts), 2)

    def test_a_turn_that_its_user_cuts_off_is_left(self) -> None:
        self.begun(queued=False)
        self.write(Kind.USER)
        self.pass_time(20)
        self.assertEqual(self.told("kind", "state"), ("user", "left"))
        self.assertEqual(self.story()[-1], "left")

    def test_a_turn_that_its_user_cuts_off_after_an_answer_is_left(self) -> None:
        self.begun(queued=False)
        (at,) = [each["at"] for each in self.monitor.log(1000) if each["event"] == "intent"]
        self.prompted(Kind.USER)
        path = "/transcripts/s.jsonl"
        file = self.world.files[path]
        # All in the moment in which it was handed over, as far as a clock of seconds tells.
        verdict = replace(file.verdict, last_prompt_at=at, progress=at)
        self.world.files[path] = replace(file, verdict=verdict)
        self.restart()
        self.pass_time(20)
        self.assertEqual(self.told("kind", "state"), ("user", "left"))


class FailingTests(QueueTestCase):
    def test_a_version_without_a_queue_is_asked_twice(self) -> None:
        self.begun(2)
        words = "its queue took no message; its version may have none"
        self.assertEqual(self.reasons("failed"), [words])
        self.pass_until_started(2)
        self.world.starts[-1].revival.finish(2)
        self.pass_time(5)
        self.pass_time(3600, step=60)
        self.assertEqual(len(self.world.starts), 2)
        self.assertEqual(self.told("state", "needs"), ("given-up", "given up"))

    def test_a_command_that_hangs_is_ended(self) -> None:
        self.open()
        self.limited(30, agent="codex")
        self.pass_time(SOON + 700)
        self.assertIn("killed", self.story())
        self.assertEqual(self.story()[-1], "failed")

    def test_a_program_that_cannot_be_started(self) -> None:
        self.world.start_error = CommandError("codex: Permission denied")
        self.open()
        self.limited(30, agent="codex")
        self.pass_time(SOON)
        self.assertEqual(self.story()[-2:], ["failed", "needs-you"])


class RestartTests(QueueTestCase):
    def test_a_message_that_waits_is_judged_by_the_next_daemon(self) -> None:
        self.begun()
        self.restart()
        self.pass_time(700)
        self.assertEqual(self.told("state"), ("reviving",))
        self.assertEqual(self.told("needs"), ("its message waits in the queue",))
        self.write(None, progress=True)
        self.pass_time(10)
        self.assertEqual(self.story()[-1], "worked")
        self.assertEqual(len(self.world.starts), 1)

    def intend_and_die(self, *arguments: Any) -> NoReturn:
        """Be killed after the intent, as a start is."""
        *_, intend = arguments
        intend()
        self.die()
        raise AssertionError("it lives")

    def test_killed_between_the_intent_and_the_act(self) -> None:
        for queued in (False, True, None):
            with self.subTest(queued=queued):
                self.setUp()
                self.open()
                self.limited(30, agent="codex")
                with mock.patch.object(self.world, "start", self.intend_and_die):
                    self.pass_time(SOON)
                self.assertEqual(self.story()[-1], "intent")
                self.world.queue["s"] = queued
                self.restart()
                self.pass_time(SOON)
                self.assertEqual(self.world.starts, [])
                self.pass_time(300)
                self.assertEqual(self.methods(), ["queue"] if queued is False else [])

    def die(self, *_: object) -> NoReturn:
        """Kill the daemon."""
        self.stop(self.monitor)
        raise KeyboardInterrupt

    def test_a_ledger_that_cannot_be_written(self) -> None:
        self.open()
        self.limited(30, agent="codex")
        with mock.patch.object(Ledger, "intent", side_effect=OSError(28, "No space left")):
            self.pass_time(SOON)
        self.assertEqual(self.world.starts, [])

    def test_a_message_whose_start_was_not_recorded_ends(self) -> None:
        self.open()
        self.limited(30, agent="codex")
        with mock.patch.object(self.world, "start", self.intend_and_die):
            self.pass_time(SOON)
        self.world.queue["s"] = True
        self.restart()
        self.prompted(None)
        self.write(None, progress=True)
        self.pass_time(20)
        self.assertEqual(self.story()[-1], "worked")
        self.restart()
        self.pass_time(20)
        self.write(Kind.FINISHED, progress=True)
        self.pass_time(20)
        self.assertEqual(self.story()[-1], "ended")


class HandOverCommandTests(QueueTestCase):
    """A command that hands the session to a program of its agent's, and ends."""

    def handed_over(self, status: int = 0) -> None:
        self.limited(30, agent="codex")
        self.pass_until_started()
        self.open(Owner.SERVER, interactive=False)
        self.world.starts[-1].revival.finish(status)
        self.pass_time(5)

    def test_a_command_that_hands_over_is_judged_by_the_records(self) -> None:
        self.handed_over()
        self.assertEqual(self.told("state"), ("reviving",))
        self.pass_time(300)
        self.write(None, progress=True)
        self.pass_time(10)
        self.assertEqual(self.story()[-1], "worked")
        self.write(Kind.FINISHED, progress=True)
        self.pass_time(10)
        self.assertEqual(self.story()[-1], "ended")
        self.assertEqual(len(self.world.starts), 1)

    def test_a_session_that_does_not_grow_after_a_hand_over_has_failed(self) -> None:
        self.handed_over()
        self.pass_time(550)
        self.assertNotIn("failed", self.story())
        self.pass_time(60)
        self.assertEqual(self.reasons("failed"), ["nothing new came"])

    def test_nothing_was_handed_over_if_it_fails_or_nothing_lives(self) -> None:
        self.handed_over(1)
        self.assertEqual(self.story()[-1], "failed")
        self.setUp()
        self.limited(30, agent="codex")
        self.pass_until_started()
        self.world.starts[-1].revival.finish(0)
        self.pass_time(5)
        self.assertEqual(self.story()[-1], "failed")

    def test_nothing_was_handed_over_if_it_ran_for_long(self) -> None:
        """Only a command that ends within seconds hands over: what has it then is a person's."""
        for seconds, event in ((QUICK - 8, "started"), (QUICK + 4, "failed")):
            with self.subTest(seconds=seconds):
                self.setUp()
                self.limited(30, agent="codex")
                self.pass_until_started()
                revival = self.world.starts[-1].revival
                self.pass_time(seconds)
                self.open(Owner.SERVER, interactive=False)
                revival.finish(0)
                self.pass_time(5)
                self.assertEqual(self.story()[-1], event)

    def test_the_user_ends_a_session_that_was_handed_over(self) -> None:
        self.handed_over()
        self.prompted(Kind.USER)
        self.pass_time(20)
        self.assertEqual(self.told("state"), ("left",))

    def test_what_has_it_ends(self) -> None:
        self.handed_over()
        self.pass_time(30)
        self.close()
        self.pass_time(180)
        self.assertEqual(self.story()[-3:], ["failed", "intent", "started"])

    def test_a_restart_does_not_begin_the_count_anew(self) -> None:
        self.handed_over()
        self.pass_time(400)
        self.restart()
        self.pass_time(20)
        self.assertNotIn("failed", self.story())
        self.pass_time(200)
        self.assertIn("failed", self.story())


ONLY_QUEUE = HomeRevival(queue=QUEUE)
