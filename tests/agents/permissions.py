"""The permissions that the handbook shows, with the real agents: what they allow, and what not."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence

from palingenesis.monitor.agents import AGENTS
from tests.agents.answers import Say
from tests.agents.case import AgentTestCase
from tests.support.checkout import ROOT
from tests.support.pages import blocks, section

PAGE = ROOT / "docs" / "permissions.rst"
#: What the script of ``npm test`` leaves in the project.
PROJECT = json.dumps({"scripts": {"test": "touch tested"}})


class Permissions(AgentTestCase):
    """
    A session that has ended goes on with the permissions that the handbook shows.

    :cvar title: the section of the handbook.
    :cvar allowed: a command that makes the file ``tested``.
    :cvar forbidden: a command that makes the file ``forbidden``.
    """

    title: str
    allowed = "npm test"
    forbidden = """python3 -c 'open("forbidden", "w")'"""

    def shown(self, language: str) -> str:
        """Return the block of the agent's section in a language."""
        (text,) = blocks(PAGE, language, section(PAGE, self.title))
        return text

    def apply(self) -> None:
        """Do what the handbook shows."""
        raise NotImplementedError

    def command(self) -> Sequence[str]:
        """Return the command that revives, as the configuration has it."""
        return (self.agent.name, *AGENTS[self.agent.name].preset)

    def exists(self, name: str) -> bool:
        return os.path.exists(os.path.join(self.bed.project, name))

    def test_the_permissions_of_the_handbook(self) -> None:
        self.bed.server.answers(Say())
        self.bed.begin().wait()
        values = {"id": self.bed.session(), "prompt": "continue", "directory": self.bed.project}
        self.bed.write(PROJECT, "home", "app", "package.json")
        self.apply()
        calls = [self.agent.runs(command) for command in (self.allowed, self.forbidden)]
        self.bed.server.answers(*calls, Say())
        _, *arguments = (word.format(**values) for word in self.command())
        done = self.bed.run(*arguments)
        done.wait()
        said = f"{done.log}\n{done.stderr}"
        self.assertTrue(self.exists("tested"), said)
        self.assertFalse(self.exists("forbidden"), said)

    def _note(self, passed: bool) -> None:
        """Note nothing: this is no situation of a session."""
