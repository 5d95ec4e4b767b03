"""The Chat Completions API of OpenAI, as far as other agents use it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from typing import Any

from tests.agents.answers import Answer, Call, Cut, Fail, Hold, Say
from tests.agents.model_server import ModelServer

_numbers = itertools.count(1)


class ChatServer(ModelServer):
    """A stand-in for a provider of a user's own."""

    def is_turn(self, method: str, path: str, body: Mapping[str, Any]) -> bool:
        # Titles are asked for without tools.
        return method == "POST" and path == "/v1/chat/completions" and bool(body.get("tools"))

    def other(self, path: str, body: Mapping[str, Any]) -> tuple[int, object]:
        if path == "/v1/chat/completions":
            if body.get("stream"):
                return 200, list(self.events(body, Say("A title")))
            return self.whole(body, Say("A title"))
        return 404, {"error": {"message": "Not Found"}}

    def events(self, body: Mapping[str, Any], answer: Answer) -> Iterator[dict[str, Any]]:
        number = next(_numbers)
        delta: dict[str, Any] = {}
        reason = "stop"
        if isinstance(answer, Call):
            function = {"name": answer.tool, "arguments": json.dumps(dict(answer.arguments))}
            call = {"index": 0, "id": f"call_{number}", "type": "function", "function": function}
            delta, reason = {"tool_calls": [call]}, "tool_calls"
        elif isinstance(answer, Say | Cut | Hold):
            delta = {"content": answer.text}
        yield _chunk(body, number, {"role": "assistant", "content": ""})
        yield _chunk(body, number, delta)
        yield {**_chunk(body, number, {}, reason), "usage": _USAGE}

    def whole(self, body: Mapping[str, Any], answer: Answer) -> tuple[int, object]:
        text = answer.text if isinstance(answer, Say | Hold) else ""
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        reply = {"id": "chat", "object": "chat.completion", "created": 1, "model": body["model"]}
        return 200, {**reply, "choices": [choice], "usage": _USAGE}


_USAGE = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}


def failed(status: int, message: str, code: str = "x", **headers: str) -> Fail:
    """Answer with an error."""
    error = {"message": message, "type": code, "code": code}
    return Fail(status, {"error": error}, {k.replace("_", "-"): v for k, v in headers.items()})


#: What an agent waits before it tries again.
AT_ONCE = {"retry_after_ms": "1"}
OVERLOADED = failed(529, "Overloaded", "overloaded_error", **AT_ONCE)
INTERNAL = failed(500, "Internal server error", "server_error", **AT_ONCE)
UNAUTHORIZED = failed(401, "Incorrect API key provided", "invalid_api_key")


def _chunk(
    body: Mapping[str, Any], number: int, delta: Mapping[str, Any], reason: str | None = None
) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    chunk = {"id": f"chat{number}", "object": "chat.completion.chunk", "created": 1}
    return {**chunk, "model": body.get("model"), "choices": [choice]}
