"""GitHub Copilot CLI, as it really is."""

from __future__ import annotations

from tests.agents import basics
from tests.agents.copilot import Copilot


class CopilotTests(basics.Basics):
    kind = Copilot
    open_owner = "owner-alive"
    closed = "died"
