"""Codex in the test bed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tests.agents import codex_server
from tests.agents.agent import Agent
from tests.agents.answers import Answer, Call

CONFIGURATION = """\
model = "gpt-5-codex"
model_provider = "bed"
approval_policy = "never"
sandbox_mode = "danger-full-access"
check_for_update_on_startup = false

[notice]
hide_rate_limit_model_nudge = true

# Without a network, it waits 5 s for this at its end.
[analytics]
enabled = false

[model_providers.bed]
name = "bed"
base_url = "http://127.0.0.1:{port}/v1"
env_key = "BED_KEY"
wire_api = "responses"
request_max_retries = 0
stream_max_retries = 0

[projects.{project}]
trust_level = "trusted"
"""


class Codex(Agent):
    """Codex."""

    name = "codex"
    server = codex_server.CodexServer
    transcripts = ".codex/sessions/*/*/*/rollout-*.jsonl"
    empty = "\N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK} "

    def environment(self, port: int) -> Mapping[str, str]:
        return {"BED_KEY": "any"}

    def files(self, port: int, project: str) -> Mapping[str, str]:
        text = CONFIGURATION.format(port=port, project=json.dumps(project))
        return {".codex/config.toml": text}

    def headless(self, prompt: str) -> list[str]:
        return ["exec", "--skip-git-repo-check", prompt]

    def resumed(self, session: str) -> list[str]:
        return ["resume", session]

    def limited(self, resets: float | None) -> Answer:
        return codex_server.limited(resets)

    def runs(self, command: str) -> Answer:
        return Call("exec_command", {"cmd": command})

    def identity(self, records: Sequence[Mapping[str, Any]]) -> str:
        return str(records[0]["payload"]["id"])

    def failed(self, records: Sequence[Mapping[str, Any]]) -> bool:
        events = [record["payload"] for record in records if record["type"] == "event_msg"]
        ends = [event for event in events if event["type"] in ("task_started", "task_complete")]
        if not ends:
            return False
        return ends[-1]["type"] == "task_complete" and ends[-1]["last_agent_message"] is None

    def prompts(self, records: Sequence[Mapping[str, Any]], text: str) -> int:
        content = [{"type": "input_text", "text": text}]
        return sum(
            record["type"] == "response_item"
            and record["payload"].get("role") == "user"
            and record["payload"]["content"] == content
            for record in records
        )
