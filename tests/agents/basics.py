"""What must hold with the agents that tell a limit by a span."""

from __future__ import annotations

import time
from typing import Any

from tests.agents import chat_server
from tests.agents.answers import Answer, Hold, Say
from tests.agents.copilot import Copilot
from tests.agents.opencode import Opencode
from tests.agents.qwen import Qwen
from tests.agents.scenarios import FAR, LONG
from tests.agents.shared_rows import SharedRows
from tests.agents.terminal import Window

#: Seconds by which a reset may differ from the one that was meant: spans are whole seconds.
ROUGHLY = 5


class Basics(SharedRows):
    """
    The rows that these agents have.

    :cvar open_owner: why the session of an open program is left alone.
    :cvar closed: what a session is told as whose window was closed in the middle of a turn.
    """

    agent: Opencode | Copilot | Qwen
    open_owner: str
    closed: str

    def assert_headless(self, *answers: Answer, **expected: Any) -> dict[str, Any]:
        """Run a session without a terminal to its end, and check what is told of it."""
        self.bed.server.answers(*answers)
        self.bed.begin().wait()
        self.bed.daemon(backlog=True, retry=[FAR])
        return self.assert_told(**expected)

    def in_a_turn(self, first: Answer, shown: str) -> Window:
        """Open the agent, and bring it into the middle of a turn."""
        self.bed.server.answers(first, Hold())
        window = self.bed.open(*self.agent.unasked)
        window.type("please do the work")
        self.bed.written(shown)
        return window

    def test_a_finished_session(self) -> None:
        self.assert_headless(Say(), kind="finished", state="stopped")

    def test_a_limit_with_a_stated_reset(self) -> None:
        resets = time.time() + FAR
        told = self.assert_headless(*self.agent.limits(resets), kind="limit", state="waiting")
        self.assertLess(abs(told["due"] - resets), ROUGHLY + time.time() - resets + FAR)

    def test_a_limit_without_a_stated_reset(self) -> None:
        self.assert_headless(*self.agent.limits(None), kind="limit", state="waiting")

    def test_an_overloaded_server(self) -> None:
        self.assert_headless(chat_server.OVERLOADED, kind="transient", state="waiting")

    def test_a_token_that_is_not_valid(self) -> None:
        self.assert_headless(chat_server.UNAUTHORIZED, kind="refused", state="stopped")

    def test_a_full_context(self) -> None:
        text = "prompt is too long: the prompt token count of 210000 exceeds the limit of 128000"
        answer = chat_server.failed(400, text, "context_length_exceeded")
        self.assert_headless(answer, kind="context", state="stopped")

    def test_an_error_of_the_server(self) -> None:
        self.assert_headless(chat_server.INTERNAL, kind="transient", state="waiting")

    def test_two_sessions_in_a_directory(self) -> None:
        self.stopped_at(*self.agent.limits(None))
        limited = self.bed.session()
        self.bed.server.answers(Say())
        self.bed.begin().wait()
        finished = self.bed.session()
        self.bed.daemon(backlog=True, retry=[FAR])
        self.assert_told(limited, kind="limit", state="waiting")
        self.assert_told(finished, kind="finished")

    def test_closed_in_a_turn(self) -> None:
        self.in_a_turn(self.agent.runs(LONG), "time.sleep").close()
        self.bed.daemon(backlog=True)
        self.assert_told(kind=self.closed)

    def stopped_at(self, *answers: Answer) -> None:
        """Run a session without a terminal until an error has stopped it."""
        self.bed.server.answers(*answers)
        self.bed.begin().wait()

    def test_interrupted_in_a_turn(self) -> None:
        window = self.in_a_turn(self.agent.runs(LONG), "time.sleep")
        self.interrupt(window)
        self.bed.daemon(backlog=True)
        self.assert_told(kind="user", state="left")

    def interrupt(self, window: Window) -> None:
        """Interrupt a turn, as a person does."""
        window.keys("C-c")

    def test_killed_in_a_turn(self) -> None:
        self.bed.server.answers(self.agent.runs(LONG), Hold())
        self.bed.begin()
        self.bed.written("time.sleep")
        self.bed.kill()
        self.bed.daemon(backlog=True)
        self.assert_told(kind="died", held="crashes")

    def test_a_question(self) -> None:
        self.in_a_turn(self.agent.asks(), "Left or right?").wait_for("Right")
        self.bed.daemon(backlog=True)
        self.assert_told(kind="asking", state="stopped")

    def test_open_at_a_limit(self) -> None:
        self.bed.server.answers(*self.agent.limits(None))
        window = self.bed.open()
        window.type("please do the work")
        self.bed.written("limit")
        self.bed.daemon(backlog=True)
        self.assert_told(kind="limit", held=self.open_owner)
        self.assertNotIn("started", self.story())

    def test_open_in_a_turn(self) -> None:
        self.in_a_turn(self.agent.runs(LONG), "time.sleep")
        self.bed.daemon(backlog=True)
        self.assert_told(kind=None, state="quiet")

    def test_revived_once(self) -> None:
        limits = self.agent.limits(None)
        self.bed.server.answers(*limits, Say())
        self.bed.daemon()
        self.bed.begin().wait()
        self.assert_event("worked")
        self.assert_told(kind="finished")
        self.assertEqual(self.story().count("started"), 1)
        self.assertEqual(self.agent.prompts(self.bed.records(), "continue"), 1)
        self.assertEqual(len(self.bed.server.asked), len(limits) + 1)
