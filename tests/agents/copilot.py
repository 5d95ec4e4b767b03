"""GitHub Copilot CLI in the test bed: with a provider of the user's own it needs no log-in."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from tests.agents import chat_server
from tests.agents.agent import Agent
from tests.agents.answers import Answer, Call

#: How often it asks again by itself.
RETRIES = 5


class Copilot(Agent):
    """GitHub Copilot CLI."""

    name = "copilot"
    server = chat_server.ChatServer
    transcripts = ".copilot/session-state/*/events.jsonl"
    empty = "? help"
    #: What lets it run tools on a terminal without a question.
    unasked = ("--allow-all-tools",)

    def environment(self, port: int) -> Mapping[str, str]:
        return {
            "COPILOT_PROVIDER_BASE_URL": f"http://127.0.0.1:{port}/v1",
            "COPILOT_PROVIDER_TYPE": "openai",
            "COPILOT_PROVIDER_API_KEY": "any",
            "COPILOT_MODEL": "m",
            "COPILOT_OFFLINE": "true",
        }

    def files(self, port: int, project: str) -> Mapping[str, str]:
        known = {"trusted_folders": [project], "trustedFolders": [project]}
        return {".copilot/config.json": json.dumps(known)}

    def headless(self, prompt: str) -> list[str]:
        return ["-p", prompt, *self.unasked]

    def resumed(self, session: str) -> list[str]:
        return [f"--resume={session}"]

    def limited(self, resets: float | None) -> Answer:
        text = "You have hit your rate limit."
        if resets is not None:
            text += f" Please try again in {max(1, resets - time.time()):.0f} seconds."
        return chat_server.failed(429, text, "rate_limited")

    def limits(self, resets: float | None) -> list[Answer]:
        # It tries again by itself, if no reset is stated or it is near.
        return [self.limited(resets)] * (1 if resets else 1 + RETRIES)

    def runs(self, command: str) -> Answer:
        return Call("bash", {"command": command, "description": "Run it"})

    def asks(self) -> Answer:
        schema = {
            "type": "object",
            "properties": {"side": {"type": "string", "enum": ["Left", "Right"]}},
            "required": ["side"],
        }
        return Call("ask_user", {"message": "Left or right?", "requestedSchema": schema})

    def identity(self, records: Sequence[Mapping[str, Any]]) -> str:
        return str(records[0]["data"]["sessionId"])

    def failed(self, records: Sequence[Mapping[str, Any]]) -> bool:
        return any(record["type"] == "session.error" for record in records)

    def prompts(self, records: Sequence[Mapping[str, Any]], text: str) -> int:
        return sum(
            record["type"] == "user.message" and record["data"]["content"] == text
            for record in records
        )
