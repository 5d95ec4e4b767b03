"""Claude Code, as it really is."""

from __future__ import annotations

from tests.agents import scenarios
from tests.agents.claude import ClaudeCode


class ClaudeTests(scenarios.Scenarios):
    kind = ClaudeCode
