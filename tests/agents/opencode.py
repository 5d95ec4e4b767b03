"""opencode in the test bed."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

from tests.agents import chat_server
from tests.agents.agent import Agent
from tests.agents.answers import Answer, Call

#: How often it asks again by itself.
RETRIES = 5


class Opencode(Agent):
    """opencode."""

    name = "opencode"
    server = chat_server.ChatServer
    transcripts = ".local/share/opencode/opencode.db"
    empty = "Ask anything"
    #: What lets it run tools on a terminal without a question.
    unasked = ()

    def environment(self, port: int) -> Mapping[str, str]:
        return {
            "OPENCODE_DISABLE_AUTOUPDATE": "1",
            "OPENCODE_DISABLE_MODELS_FETCH": "1",
            "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
            "OPENCODE_DISABLE_DEFAULT_PLUGINS": "1",
        }

    def files(self, port: int, project: str) -> Mapping[str, str]:
        model = {"name": "m", "tool_call": True, "limit": {"context": 200000, "output": 8192}}
        provider = {
            "npm": "@ai-sdk/openai-compatible",
            "name": "bed",
            "options": {"baseURL": f"http://127.0.0.1:{port}/v1", "apiKey": "any"},
            "models": {"m": model},
        }
        known = {
            "provider": {"bed": provider},
            "model": "bed/m",
            "small_model": "bed/m",
            "autoupdate": False,
            "share": "disabled",
            # A full context would be compacted again and again.
            "compaction": {"auto": False},
        }
        return {".config/opencode/opencode.json": json.dumps(known)}

    def headless(self, prompt: str) -> list[str]:
        return ["run", prompt]

    def resumed(self, session: str) -> list[str]:
        return ["--session", session]

    def limited(self, resets: float | None) -> Answer:
        stated = {} if resets is None else {"retry_after": f"{resets - time.time():.0f}"}
        return chat_server.failed(429, "Rate limit reached for requests", **stated)

    def limits(self, resets: float | None) -> list[Answer]:
        again = chat_server.failed(429, "Too many requests", **chat_server.AT_ONCE)
        return [*[again] * RETRIES, self.limited(resets)]

    def runs(self, command: str) -> Answer:
        return Call("bash", {"command": command, "description": "Run it"})

    def asks(self) -> Answer:
        options = [{"label": side, "description": side} for side in ("Left", "Right")]
        question = {"question": "Left or right?", "header": "Side", "options": options}
        return Call("question", {"questions": [question]})

    def identity(self, records: Sequence[Mapping[str, Any]]) -> str:
        return str(records[-1]["session_id"])

    def read(self, path: str) -> list[dict[str, Any]]:
        """Read the messages and their parts, in order."""
        query = (
            "SELECT m.session_id, m.data, p.data FROM message AS m"
            " LEFT JOIN part AS p ON p.message_id = m.id ORDER BY m.time_created, m.id, p.id"
        )
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            try:
                rows = connection.execute(query).fetchall()
            except sqlite3.OperationalError:
                return []  # its tables are not made yet
        return [
            {"session_id": session, "message": json.loads(data), "part": json.loads(part or "{}")}
            for session, data, part in rows
        ]

    def text(self, path: str) -> str:
        return json.dumps(self.read(path), ensure_ascii=False)

    def close(self, path: str) -> None:
        """Close a database as a process does that ends well."""
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("SELECT count(*) FROM session").fetchone()

    def failed(self, records: Sequence[Mapping[str, Any]]) -> bool:
        return "error" in records[-1]["message"]

    def prompts(self, records: Sequence[Mapping[str, Any]], text: str) -> int:
        return sum(
            record["message"]["role"] == "user"
            and record["part"].get("text") in (text, f'"{text}"')
            for record in records
        )
