"""Transcripts as the agents write them, shortened, and files to read them from."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from typing import Any

from palingenesis.monitor.agents import AGENTS
from palingenesis.monitor.sessions import Identity, Verdict

SESSION = "0b9f4a52-6f4e-4d0a-9d4b-2f6f6c1f7a10"
DIRECTORY = "/home/you/app"


def claude(type_: str, text: Any = None, **more: Any) -> dict[str, Any]:
    """Give a record of Claude Code's; a text is its message's content."""
    message = {"role": type_, "content": text, **more.pop("message", {})}
    return {
        "type": type_,
        "uuid": "5d1d3a4e-3c09-4b6e-8d80-5a3b4c1c0d11",
        "timestamp": "2026-09-19T16:59:19.471Z",
        "sessionId": SESSION,
        "cwd": DIRECTORY,
        "isSidechain": False,
        **({} if text is None else {"message": message}),
        **more,
    }


def reply(text: str = "Done.", reason: str | None = "end_turn", **more: Any) -> dict[str, Any]:
    message = {"model": "claude-opus-4-6", "stop_reason": reason}
    return claude("assistant", [{"type": "text", "text": text}], message=message, **more)


def call(name: str, **more: Any) -> dict[str, Any]:
    content = [{"type": "tool_use", "id": "toolu_01", "name": name, "input": {}}]
    message = {"model": "claude-opus-4-6", "stop_reason": "tool_use"}
    return claude("assistant", content, message=message, **more)


def result(text: str = "ok", **more: Any) -> dict[str, Any]:
    content = [{"type": "tool_result", "tool_use_id": "toolu_01", "content": text}]
    return claude("user", content, **more)


def failure(text: str, error: str | None = None, **more: Any) -> dict[str, Any]:
    message = {"model": "<synthetic>", "stop_reason": "stop_sequence"}
    told = {} if error is None else {"error": error}
    content = [{"type": "text", "text": text}]
    return claude("assistant", content, message=message, isApiErrorMessage=True, **{**told, **more})


def codex(type_: str, payload: dict[str, Any], at: str = "2026-09-17T13:45:00.000Z") -> Any:
    return {"timestamp": at, "type": type_, "payload": payload}


def event(name: str, /, **payload: Any) -> Any:
    return codex("event_msg", {"type": name, **payload})


def item(name: str, /, **payload: Any) -> Any:
    return codex("response_item", {"type": name, **payload})


META = codex(
    "session_meta", {"id": SESSION, "cwd": DIRECTORY, "originator": "codex_cli_rs", "source": "cli"}
)


def lines(records: Sequence[Any]) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def judge(agent: str, *records: Any) -> Verdict:
    """Judge records, oldest first, through a real file."""
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "transcript.jsonl")
        with open(path, "wb") as file:
            file.write(lines(records))
        found = AGENTS[agent].read(path, Identity(SESSION, DIRECTORY))
        assert found is not None
        return found[1]
