"""Qwen Code in the test bed."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from tests.agents import chat_server
from tests.agents.agent import Agent
from tests.agents.answers import Answer, Call


class Qwen(Agent):
    """Qwen Code."""

    name = "qwen"
    server = chat_server.ChatServer
    transcripts = ".qwen/projects/*/chats/*.jsonl"
    empty = "Type your message"
    #: What lets it run tools on a terminal without a question.
    unasked = ("--yolo",)

    def environment(self, port: int) -> Mapping[str, str]:
        return {
            "OPENAI_BASE_URL": f"http://127.0.0.1:{port}/v1",
            "OPENAI_API_KEY": "any",
            "OPENAI_MODEL": "m",
        }

    def files(self, port: int, project: str) -> Mapping[str, str]:
        known = {
            "security": {"auth": {"selectedType": "openai"}},
            "privacy": {"usageStatisticsEnabled": False},
            "general": {"disableAutoUpdate": True},
            "memory": {"enableManagedAutoMemory": False},
        }
        return {".qwen/settings.json": json.dumps(known)}

    def headless(self, prompt: str) -> list[str]:
        return ["-p", prompt, *self.unasked]

    def resumed(self, session: str) -> list[str]:
        return ["--resume", session]

    def limited(self, resets: float | None) -> Answer:
        text = "You have hit your rate limit."
        if resets is not None:
            text += f" Please try again in {max(1, resets - time.time()):.0f} seconds."
        return chat_server.failed(429, text, "rate_limited")

    def limits(self, resets: float | None) -> list[Answer]:
        return [self.limited(resets)]

    def runs(self, command: str) -> Answer:
        arguments = {"command": command, "description": "Run it", "is_background": False}
        return Call("run_shell_command", arguments)

    def asks(self) -> Answer:
        options = [{"label": side, "description": side} for side in ("Left", "Right")]
        question = {"question": "Left or right?", "header": "Side", "multiSelect": False}
        return Call("ask_user_question", {"questions": [{**question, "options": options}]})

    def identity(self, records: Sequence[Mapping[str, Any]]) -> str:
        return str(records[0]["sessionId"])

    def failed(self, records: Sequence[Mapping[str, Any]]) -> bool:
        return "api_error" in json.dumps(records)

    def prompts(self, records: Sequence[Mapping[str, Any]], text: str) -> int:
        return sum(
            record["type"] == "user" and record["message"]["parts"] == [{"text": text}]
            for record in records
        )
