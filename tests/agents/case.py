"""A test of the real daemon beside a real agent."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.agents.agent import Agent
from tests.agents.bed import BEDS, Bed
from tests.agents.expected import fault
from tests.agents.install import VERSIONS, NotInstalled, installed
from tests.support.patience import PATIENCE, wait_until

#: Names the version of an agent that is tried: ``claude@2.1.150``.
VERSION = "AGENT_VERSION"
#: Names a file to which each test adds what it has seen, as a line of JSON.
ROWS = "PALINGENESIS_AGENTS_ROWS"
#: How a row fails that is not passed yet.
EXPECTED_ERRORS = (AssertionError, LookupError, TypeError)
#: Seconds to wait for what is not expected to come.
BRIEFLY = 8.0


def version_of(agent: str) -> str:
    """Return the version of an agent that is to be tried: the newest, if none is named."""
    named, _, version = os.environ.get(VERSION, "").partition("@")
    return version if named == agent and version else VERSIONS[agent][0]


class Passed(Exception):
    """A row is passed that was not expected to be: it has to leave ``expected.py``."""


class AgentTestCase(SynchronousTestCase):
    """
    A test with one agent, in a bed of its own.

    :cvar kind: the agent's class; None for a class that others inherit from.
    :cvar situation: what the names of its rows begin with.
    :ivar agent: the agent.
    :ivar bed: where it lives.
    """

    kind: type[Agent]
    situation = ""

    def __init__(self, methodName: str = "runTest") -> None:  # noqa: N803
        super().__init__(methodName)
        self.agent = self.kind(version_of(self.kind.name))
        self._told: dict[str, Any] = {}
        self._name = methodName
        self._fault = fault(self.agent.name, self.agent.version, methodName)
        self._patience = PATIENCE
        if self._fault is not None:
            self.todo = (EXPECTED_ERRORS, self._fault)
            self._patience = BRIEFLY

    def setUp(self) -> None:
        if BEDS not in os.environ:
            raise SkipTest("python -m tests.agents.run shuts the agents off, and runs this")
        try:
            program = installed(self.agent.name, self.agent.version)
        except NotInstalled as missing:
            raise SkipTest(missing.reason) from None
        self.bed = Bed(self, self.agent, program)
        setattr(self, self._name, self._noted(getattr(self, self._name)))

    def needs(self, release: tuple[int, ...], otherwise: str) -> None:
        """Skip the test with an older version, and say why."""
        if self.agent.release < release:
            raise SkipTest(otherwise)

    def _noted(self, test: Callable[[], None]) -> Callable[[], None]:
        """Wrap a test, so that its outcome and what the daemon told are noted."""

        @functools.wraps(test)
        def noted() -> None:
            try:
                test()
            except SkipTest:
                raise
            except BaseException:
                self._note(passed=False)
                raise
            self._note(passed=True)
            # Not as an unexpected success, which trial cannot report from its workers.
            if self._fault is not None:
                raise Passed(f"take this row out of tests/agents/expected.py: {self._fault}")

        return noted

    def _note(self, passed: bool) -> None:
        path = os.environ.get(ROWS)
        if path is not None:
            row = {
                "agent": self.agent.name,
                "version": self.agent.version,
                "row": self.situation + self._name.removeprefix("test_").replace("_", " "),
                "passed": passed,
                "fault": self._fault,
                **{key: self._told.get(key) for key in ("kind", "state", "held")},
            }
            with open(path, "a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")

    def told(self, session: str | None = None) -> dict[str, Any]:
        """Return what SESSIONS tells of a session, by default of the only one; else nothing."""
        entries = self.bed.reply("SESSIONS")
        found = [entry for entry in entries if session in (None, entry["id"])]
        return found[0] if len(found) == 1 else {}

    def assert_told(self, session: str | None = None, **expected: Any) -> dict[str, Any]:
        """Wait until SESSIONS tells what is expected of a session, and return all of it."""

        def is_so() -> dict[str, Any] | None:
            self._told = self.told(session)
            return self._told if expected.items() <= self._told.items() else None

        try:
            return wait_until(is_so, f"{expected}", self._patience) or {}
        except AssertionError as error:
            raise AssertionError(f"{error}; told: {self.bed.reply('SESSIONS')}") from None

    def story(self, session: str | None = None) -> list[str]:
        """Return the events that LOG tells, the oldest first."""
        entries = self.bed.reply("LOG 1000")
        return [e["event"] for e in entries if session in (None, e.get("session"))]

    def assert_event(self, event: str, times: int = 1) -> None:
        """Wait until LOG tells an event so many times."""
        try:
            what = f"{times} times {event}"
            wait_until(lambda: self.story().count(event) >= times, what, self._patience)
        except AssertionError as error:
            raise AssertionError(f"{error}; told: {self.bed.reply('LOG 1000')}") from None

    def assert_asked(self, times: int) -> None:
        """Wait until the model server has been asked for so many turns."""
        wait_until(lambda: len(self.bed.server.asked) >= times, f"{times} requests for a turn")
