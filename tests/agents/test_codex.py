"""Codex, as it really is."""

from __future__ import annotations

from tests.agents import scenarios
from tests.agents.codex import Codex


class CodexTests(scenarios.Scenarios):
    kind = Codex
