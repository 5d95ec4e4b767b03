"""What the records of a session prove about an attempt to bring it back."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from palingenesis.monitor import revivals
from palingenesis.monitor.ledger import Attempt, Stop
from palingenesis.monitor.revive import Ended
from palingenesis.monitor.running_attempt import Running
from palingenesis.monitor.sessions import Verdict
from palingenesis.monitor.settings import HomeRevival
from palingenesis.words import Kind, Method
from tests.unit.monitor.test_listing import make_session

AT = 1000.0
STOP = Stop("claude", "s", "stop", Kind.LIMIT, "/t", "/d")
ENDED = Ended(0, False, False)
NAMED = HomeRevival(("claude", "{id}", "{prompt}"), ("queue", "{id}", "{prompt}"), prompt="go on")


def running(method: Method | None = None, **more: Any) -> Running:
    return Running(Attempt(STOP, 1, AT, method=method), None, **more)


def verdict(kind: Kind | None = None, key: str = "new", **more: Any) -> Verdict:
    return Verdict(kind, key, **more)


class ProgressTests(SynchronousTestCase):
    def progressed(self, progress: float | None, key: str = "new", **more: Any) -> bool:
        session = make_session("s")
        session.verdict = verdict(key=key, progress=progress)
        return revivals._progressed(running(**more), session, AT + 60)

    def test_a_record_of_this_attempt_is_progress(self) -> None:
        for before, progress, found in (
            (None, AT - 5, True),
            (AT - 5, AT - 5, False),
            (AT - 5, AT + 5, True),
            (None, None, False),
        ):
            self.assertEqual(self.progressed(progress, began_here=True, before=before), found)
        self.assertFalse(self.progressed(AT + 5, key="stop", began_here=True))

    def test_of_another_daemon_s_attempt_only_its_time_tells(self) -> None:
        for progress, found in ((AT - 1, False), (AT, False), (AT + 1, True), (None, False)):
            self.assertEqual(self.progressed(progress), found)


class CutTests(SynchronousTestCase):
    """A turn of our own message that was cut off before any answer."""

    def is_cut(self, method: Method | None = Method.QUEUE, **changed: Any) -> bool:
        session = make_session("s")
        known = {"kind": Kind.USER, "last_prompt": "go on", "last_prompt_at": AT + 1}
        session.verdict = verdict(**{**known, **changed})
        return revivals._is_cut(running(method, named=NAMED), session)

    def test_the_end_of_our_own_message_without_an_answer(self) -> None:
        self.assertTrue(self.is_cut())
        self.assertTrue(self.is_cut(progress=AT))

    def test_any_other_end_of_a_turn_is_no_cut(self) -> None:
        for changed in (
            {"method": None},
            {"method": Method.TYPE_INTO},
            {"kind": Kind.LIMIT},
            {"last_prompt": "another"},
            {"last_prompt": None},
            {"last_prompt_at": AT - 1},
            {"last_prompt_at": None},
            {"progress": AT + 1},
            {"progress": AT + 2},
        ):
            self.assertFalse(self.is_cut(**changed), changed)


class ReasonTests(SynchronousTestCase):
    """Why what was handed over has failed."""

    def why(self, attempt: Running, found: Verdict | None = None) -> str | None:
        session = make_session("s")
        if found is not None:
            session.verdict = found
        return revivals._why(attempt, None if found is None else session)

    def test_what_was_not_handed_over(self) -> None:
        no_queue = "its queue took no message; its version may have none"
        for method, ended, reason in (
            (None, ENDED, None),
            (Method.QUEUE, None, None),
            (Method.QUEUE, ENDED, no_queue),
            (Method.TYPE_INTO, ENDED, None),
        ):
            self.assertEqual(self.why(running(method, ended=ended)), reason)

    def test_what_was_handed_over(self) -> None:
        same, new = verdict(Kind.LIMIT, "stop"), verdict(Kind.LIMIT)
        for method, gone, found, reason in (
            (None, None, None, "nothing new came"),
            (None, None, same, "nothing new came"),
            (Method.QUEUE, None, same, "its message was not sent"),
            (Method.QUEUE, 5.0, same, "its program ended before it took the message"),
            (Method.QUEUE, 5.0, new, "it was taken, and no answer came"),
            (None, None, verdict(progress=AT), "it was taken, and no answer came"),
            (None, None, verdict(progress=AT + 1), "a person went on with it"),
            (None, None, verdict(Kind.LIMIT, "stop", progress=AT + 1), "nothing new came"),
        ):
            attempt = running(method, handed_over=True, gone=gone, ended=ENDED)
            self.assertEqual(self.why(attempt, found), reason)

    def test_an_exit_status_in_words(self) -> None:
        words = [revivals._shown(status) for status in (0, -9, None)]
        self.assertEqual(words, ["exit 0", "exit -9", "exit unknown"])


class PromptTests(SynchronousTestCase):
    def test_a_transcript_that_ends_with_a_prompt_has_its_key(self) -> None:
        session = make_session("s")
        session.verdict = verdict()
        self.assertEqual(revivals.prompt_in(session), "new")
        session.verdict = verdict(Kind.LIMIT)
        self.assertIsNone(revivals.prompt_in(session))

    def test_a_prompt_that_no_command_gave_is_a_person_s(self) -> None:
        script = HomeRevival(("wake", "{id}"), prompt="go on")
        for prompt, typed, named, found in (
            ("go on", False, NAMED, False),
            (" go on\n", False, NAMED, False),
            ("another", False, NAMED, True),
            ("another", False, script, False),
            ("another", False, None, False),
            ("another", True, None, True),
            (None, True, NAMED, True),
            (None, False, NAMED, False),
        ):
            session = make_session("s")
            session.verdict = verdict(prompt=prompt, last_typed=typed)
            given = revivals._is_given(session, named)
            self.assertEqual(given is False, found, (prompt, typed))

    def test_a_prompt_is_ours_only_if_that_is_certain(self) -> None:
        own = HomeRevival(("claude", "{id}", "go on"))
        within = HomeRevival(("sh", "-c", "claude '{prompt}, please'"), prompt="go on")
        for prompt, named, found in (
            ("go on\n", NAMED, True),
            ("another", NAMED, False),
            ("go on", own, True),
            ("another", own, False),
            ("go on, please", within, True),
            ("please", within, False),
            ("go on", None, False),
            (None, NAMED, False),
        ):
            session = make_session("s")
            session.verdict = verdict(prompt=prompt)
            given = revivals._is_given(session, named)
            self.assertEqual(given is True, found, (prompt, named))

    def test_an_attempt_has_given_its_prompt_since_it_began(self) -> None:
        attempt = running(named=NAMED)
        for text, at, found in (
            ("go on", AT, True),
            ("go on", AT - 1, False),
            ("go on", None, False),
            ("another", AT, False),
            (None, AT, False),
        ):
            self.assertEqual(attempt.has_given(text, at), found)

    def test_an_attempt_runs_until_its_command_ends_or_what_it_was_handed_to(self) -> None:
        for ended, handed_over, runs in (
            (None, False, True),
            (ENDED, False, False),
            (ENDED, True, True),
        ):
            self.assertEqual(running(ended=ended, handed_over=handed_over).runs, runs)
        self.assertIsNone(running().output)
