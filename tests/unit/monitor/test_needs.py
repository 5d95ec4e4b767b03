"""When a person is called, and in which words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from palingenesis.cli import open_programs
from palingenesis.cli.open_programs import open_program
from palingenesis.monitor import settings as settings_module
from palingenesis.monitor.case import SELF_RESUME
from palingenesis.monitor.gate import assess
from palingenesis.monitor.judge import LOOK
from palingenesis.monitor.ledger import Attempt
from palingenesis.monitor.needs import needs
from palingenesis.monitor.settings import HomeRevival
from palingenesis.words import Kind, Method, Owner
from tests.unit.monitor.fake_world import FakeOwners
from tests.unit.monitor.test_case import NOW, RUNNING, free, hours_of_now
from tests.unit.monitor.test_service import SETTINGS, MonitorTestCase


class NeedsTests(MonitorTestCase):
    def calls(self) -> list[str]:
        """Return for what a person was called."""
        return [each["reason"] for each in self.monitor.log(1000) if each["event"] == "needs-you"]

    def assert_needs(self, words: str | None) -> None:
        self.assertEqual(self.told("needs"), (words,))
        self.assertEqual(self.calls(), [] if words is None else [words])
        self.assertEqual(f": needs-you ({words})" in self.logged(), words is not None)

    def test_what_waiting_does_not_cure(self) -> None:
        for kind, words in (
            (Kind.ASKING, "an answer"),
            (Kind.REFUSED, "billing or log-in"),
            (Kind.CONTEXT, "a new session, its context is full"),
        ):
            self.world.write("s", kind)
            self.pass_time(20)
            self.assertEqual(self.told("needs"), (words,))
        self.assertEqual(len(self.calls()), 3)

    def test_a_question_that_only_the_process_knows_of(self) -> None:
        self.world.write("s", None)
        self.world.waiting.add("s")
        self.world.owners["claude", "s"] = Owner.PROGRAM
        self.pass_time(60)
        self.assert_needs("an answer")

    def test_a_permission_that_only_the_process_knows_of(self) -> None:
        self.patch(FakeOwners, "wants_permission", lambda *_: True)
        self.world.write("s", None)
        self.world.waiting.add("s")
        self.world.owners["claude", "s"] = Owner.PROGRAM
        self.pass_time(60)
        self.assert_needs("permission")

    def test_a_program_that_asks_and_ends_is_open_no_longer(self) -> None:
        self.world.write("s", None)
        self.world.waiting.add("s")
        self.world.owners["claude", "s"] = Owner.PROGRAM
        self.pass_time(60)
        self.assertEqual(self.told("kind", "owner"), ("asking", "program"))
        self.world.owners.clear()
        self.pass_time(LOOK + 10)
        self.assertEqual(self.told("kind", "owner"), ("asking", "gone"))
        looks = self.world.looks
        self.pass_time(600)
        self.assertEqual(self.world.looks, looks)

    def test_a_permission_that_the_records_tell_of(self) -> None:
        for kind in (Kind.ASKING, Kind.REFUSED):
            file = self.world.write("s", kind)
            file.verdict = replace(file.verdict, permission=True)
            self.pass_time(20)
            self.assertEqual(self.told("needs"), ("permission",))

    def test_a_person_is_called_once_a_stop_even_after_a_restart(self) -> None:
        self.world.write("s", Kind.REFUSED)
        self.pass_time(60)
        self.restart()
        self.pass_time(60)
        self.assert_needs("billing or log-in")
        self.world.write("s", Kind.REFUSED)
        self.pass_time(60)
        self.assertEqual(len(self.calls()), 2)

    def test_nothing_while_a_session_works_waits_or_has_finished(self) -> None:
        for kind, reset in ((None, None), (Kind.LIMIT, 5000.0), (Kind.FINISHED, None)):
            self.world.write("s", kind, reset=reset and self.now() + reset)
            self.pass_time(20)
            self.assert_needs(None)

    def test_a_directory_a_program_and_a_reset_that_keep_it_from_going_on(self) -> None:
        self.world.bad_directories.add("/home/s")
        self.limited(0)
        self.pass_time(60)
        self.assert_needs("its directory cannot be used")
        self.world.bad_directories.clear()
        self.world.no_program = True
        self.pass_time(60)
        self.assertEqual(self.told("needs"), ("its program cannot be run",))
        # That is the same stop.
        self.assertEqual(len(self.calls()), 1)
        self.limited(9 * 86400)
        self.pass_time(60)
        self.assertEqual(self.calls()[1:], ["its reset is over 8 days away"])

    def test_an_open_program_that_does_not_go_on_after_its_reset(self) -> None:
        self.world.owners["claude", "s"] = Owner.PROGRAM
        self.limited(100)
        self.pass_time(600)
        self.assert_needs(None)
        self.pass_time(120)
        self.assert_needs("its open program does not go on")

    def test_an_open_program_whose_limit_states_no_end(self) -> None:
        """It has its time from the stop on: nothing says when it could go on."""
        self.world.owners["claude", "s"] = Owner.PROGRAM
        self.world.write("s", Kind.LIMIT)
        self.pass_time(580)
        self.assert_needs(None)
        self.pass_time(60)
        self.assert_needs("its open program does not go on")

    def test_another_session_of_the_account_states_when_the_limit_ends(self) -> None:
        self.world.owners["claude", "s"] = Owner.PROGRAM
        self.world.write("s", Kind.LIMIT)
        self.pass_time(60)
        self.limited(2000, "other")
        self.pass_time(2000 + 580)
        self.assertEqual(self.told("needs", id="s"), (None,))
        self.pass_time(60)
        self.assertEqual(self.calls(), ["its open program does not go on"])

    def test_a_program_that_may_be_open_and_does_not_go_on(self) -> None:
        self.world.owners["claude", "s"] = Owner.UNKNOWN
        self.limited(100)
        self.pass_time(600)
        self.assert_needs(None)
        self.pass_time(120)
        self.assert_needs("it does not go on, and its program may be open")

    def test_a_session_that_is_given_up_has_called_by_that(self) -> None:
        self.fail_twice_at_once()
        self.assertEqual(self.told("needs"), ("given up",))
        self.assertEqual(self.calls(), [])

    def test_nothing_for_a_stop_from_before_the_first_start(self) -> None:
        self.world.write("s", Kind.REFUSED, at=self.now() - 1000)
        self.pass_time(60)
        self.assert_needs(None)

    def test_nothing_for_a_session_on_hold(self) -> None:
        self.monitor._ledger.hold("claude", "s", "a test")
        self.world.write("s", Kind.REFUSED)
        self.pass_time(60)
        self.assert_needs(None)


class StuckTests(SynchronousTestCase):
    """Whether an open program is let be after its limit, by its method and what holds it."""

    def needs(self, revival: HomeRevival, owner: Owner | None, **changes: Any) -> str | None:
        self.patch(settings_module, "TYPES", True)
        seen = {each: changes.pop(each, None) for each in ("doubt", "is_queued")}
        case = free(revive={"claude": revival}, owner=owner, **changes)
        session = case.session
        session.doubt, session.is_queued = seen["doubt"], bool(seen["is_queued"])
        session.is_interactive = True
        session.verdict = replace(session.verdict, reset=NOW - SELF_RESUME - 1)
        return needs(case, assess(case))

    def test_the_method_decides_whether_an_open_program_is_stuck(self) -> None:
        command = HomeRevival(("a", "{id}"))
        queue, types = replace(command, queue=("b", "{id}")), replace(command, type_into=True)
        stuck = "its open program does not go on"
        later: dict[str, Any] = {"hours": hours_of_now(90)}
        for revival, owner, changes, need in (
            (command, Owner.PROGRAM, {}, stuck),
            (command, Owner.SERVER, {}, stuck),
            (command, Owner.GONE, {}, None),
            (command, None, {}, None),
            (command, Owner.PROGRAM, {"kind": Kind.TRANSIENT}, None),
            (queue, Owner.PROGRAM, {}, None),
            (queue, Owner.PROGRAM, later, None),
            (queue, Owner.PROGRAM, {"is_queued": True}, stuck),
            (types, Owner.PROGRAM, {}, None),
            (types, Owner.PROGRAM, later, None),
            (types, Owner.PROGRAM, {"doubt": "it is suspended"}, f"{stuck}: it is suspended"),
            # What was in doubt of a program says nothing of a server.
            (types, Owner.SERVER, {"doubt": "it is suspended"}, stuck),
            (types, Owner.GONE, {"doubt": "it is suspended"}, None),
        ):
            with self.subTest(methods=revival.methods, owner=owner, **changes):
                self.assertEqual(self.needs(revival, owner, **changes), need)


class MessageTests(SynchronousTestCase):
    def test_when_a_message_was_not_taken(self) -> None:
        later = SELF_RESUME + 1
        for method, key, owner, seconds, called in (
            (Method.QUEUE, "key", Owner.PROGRAM, later, True),
            (Method.QUEUE, "key", Owner.SERVER, later, True),
            (Method.QUEUE, "key", Owner.UNKNOWN, later, True),
            (Method.QUEUE, "key", Owner.GONE, later, False),
            (Method.QUEUE, "key", None, later, False),
            (Method.QUEUE, "key", Owner.PROGRAM, SELF_RESUME - 1, False),
            (Method.QUEUE, "of another stop", Owner.PROGRAM, later, False),
            (None, "key", Owner.PROGRAM, later, False),
        ):
            with self.subTest(method=method, key=key, owner=owner, seconds=seconds):
                case = free(owner=owner, running=RUNNING)
                stop = replace(RUNNING.attempt.stop, key=key)
                case.history.open = Attempt(stop, 1, NOW - seconds, method=method)
                case.session.is_queued = True
                need = "its message waits in the queue" if called else None
                self.assertEqual(needs(case, assess(case)), need)


class WatchOnlyTests(MonitorTestCase):
    """No method is named, as in a configuration that nobody has written yet."""

    settings = replace(SETTINGS, revive={})

    def test_an_open_program_is_shown_before_its_reset_and_a_person_called_after_it(self) -> None:
        self.world.owners["claude", "s"] = Owner.PROGRAM
        self.limited(100)
        self.pass_time(50)
        self.assertEqual(self.told("owner", "held", "needs"), ("program", "no-method", None))
        # Nothing is typed elsewhere.
        self.patch(open_programs.sys, "platform", "linux")
        said = open_program(self.only(), self.now()) or ""
        self.assertIn("nothing will be done; name `type_into` in [revive.claude]", said)
        self.pass_time(700)
        self.assertEqual(self.told("needs"), ("its open program does not go on",))
        self.assertEqual(self.story(), ["stopped", "needs-you"])

    def test_a_program_that_ends_calls_nobody(self) -> None:
        self.world.owners["claude", "s"] = Owner.PROGRAM
        self.limited(100)
        self.pass_time(50)
        self.world.owners.clear()
        self.pass_time(LOOK + 5)
        self.assertEqual(self.told("owner"), ("gone",))
        self.pass_time(700)
        self.assertEqual(self.story(), ["stopped"])

    def test_nothing_is_looked_for_once_nothing_can_go_on(self) -> None:
        self.world.write("s", Kind.FINISHED)
        self.pass_time(20)
        looks = self.world.looks
        self.pass_time(3600, step=10)
        self.assertEqual(self.world.looks, looks)
