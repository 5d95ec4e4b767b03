"""Qwen Code, as it really is."""

from __future__ import annotations

from typing import Any

from tests.agents import basics, permissions
from tests.agents.answers import Answer, Fail, Say
from tests.agents.qwen import Qwen
from tests.agents.scenarios import FAR
from tests.agents.terminal import Window

#: Statuses after which it asks again by itself, for minutes.
ASKS_AGAIN = frozenset({429, 500, 529})


class QwenTests(basics.Basics):
    kind = Qwen
    agent: Qwen
    open_owner = "owner-alive"
    closed = "died"

    def assert_headless(self, *answers: Answer, **expected: Any) -> dict[str, Any]:
        last = answers[-1]
        if not (isinstance(last, Fail) and last.status in ASKS_AGAIN):
            return super().assert_headless(*answers, **expected)
        self.stopped_at(*answers)
        self.bed.daemon(backlog=True, retry=[FAR])
        return self.assert_told(**expected)

    def stopped_at(self, *answers: Answer) -> None:
        """Run a session without a terminal until an error, and end it before it asks again."""
        self.bed.server.answers(*answers)
        self.bed.begin()
        self.bed.written("qwen-code.api_error")
        self.bed.kill()

    def interrupt(self, window: Window) -> None:
        window.keys("Escape")

    def test_revived_once(self) -> None:
        self.stopped_at(*self.agent.limits(None))
        self.bed.server.answers(Say())
        asked = len(self.bed.server.asked)
        self.bed.daemon(backlog=True)
        self.assert_event("worked")
        self.assert_told(kind="finished")
        self.assertEqual(self.story().count("started"), 1)
        self.assertEqual(self.agent.prompts(self.bed.records(), "continue"), 1)
        self.assertGreater(len(self.bed.server.asked), asked)


class PermissionsTests(permissions.Permissions):
    kind = Qwen
    title = "Qwen Code"

    def apply(self) -> None:
        self.bed.write(self.shown("json"), "home", "app", ".qwen", "settings.json")
