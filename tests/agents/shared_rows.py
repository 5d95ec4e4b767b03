"""Rows that every agent can show in the same way."""

from __future__ import annotations

from tests.agents.answers import Say
from tests.agents.case import AgentTestCase


class SharedRows(AgentTestCase):
    """What does not depend on the agent."""

    def test_blanks_and_letters_in_a_directory(self) -> None:
        directory = self.bed.make("home", "mein Büro", "日本 'x' [a]*")
        self.bed.server.answers(Say())
        self.bed.begin(directory=directory).wait()
        self.bed.daemon(backlog=True)
        self.assert_told(kind="finished", directory=directory)
