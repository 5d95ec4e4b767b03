"""The agents whose sessions are monitored: a further one is one module, and a name here."""

from __future__ import annotations

from collections.abc import Mapping

from palingenesis.monitor.agents.agent import Agent
from palingenesis.monitor.agents.claude import Claude
from palingenesis.monitor.agents.codex import Codex
from palingenesis.monitor.agents.copilot import Copilot
from palingenesis.monitor.agents.opencode import Opencode
from palingenesis.monitor.agents.qwen import Qwen

#: The agents by the name under which they are configured and shown.
AGENTS: Mapping[str, Agent] = {
    agent.name: agent for agent in (Claude(), Codex(), Opencode(), Copilot(), Qwen())
}
