"""The Responses API of OpenAI, as far as Codex uses it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from typing import Any

from tests.agents.answers import Answer, Break, Call, Cut, Fail, Hold, Say
from tests.agents.model_server import ModelServer

_numbers = itertools.count(1)


def _error(code: str, message: str) -> dict[str, Any]:
    return {"error": {"type": code, "code": code, "message": message}}


class CodexServer(ModelServer):
    """A stand-in for api.openai.com."""

    def is_turn(self, method: str, path: str, body: Mapping[str, Any]) -> bool:
        # Titles are asked for in a format of their own.
        formatted = "format" in (body.get("text") or {})
        return method == "POST" and path == "/v1/responses" and not formatted

    def other(self, path: str, body: Mapping[str, Any]) -> tuple[int, object]:
        if path == "/v1/responses":
            return 200, list(self.events(body, Say("A title")))
        return 404, _error("not_found", "Not Found")

    def whole(self, body: Mapping[str, Any], answer: Answer) -> tuple[int, object]:
        raise NotImplementedError("Codex always asks for a stream")

    def events(self, body: Mapping[str, Any], answer: Answer) -> Iterator[dict[str, Any]]:
        number = next(_numbers)
        response: dict[str, Any] = {"id": f"resp_{number:024}"}
        yield {"type": "response.created", "response": response}
        if isinstance(answer, Break):
            error = {"code": answer.code, "message": answer.message}
            failed = {**response, "status": "failed", "error": error}
            yield {"type": "response.failed", "response": failed}
            return
        if isinstance(answer, Call):
            item: dict[str, Any] = {
                "type": "function_call",
                "id": f"fc_{number:024}",
                "call_id": f"call_{number:024}",
                "name": answer.tool,
                **({"namespace": answer.namespace} if answer.namespace else {}),
                "arguments": json.dumps(dict(answer.arguments)),
            }
        elif isinstance(answer, Say | Cut | Hold):
            item = {
                "type": "message",
                "id": f"msg_{number:024}",
                "role": "assistant",
                "content": [{"type": "output_text", "text": answer.text}],
            }
        yield {"type": "response.output_item.added", "item": item}
        yield {"type": "response.output_item.done", "item": item}
        usage = {
            "input_tokens": 100,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 10,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 110,
        }
        yield {"type": "response.completed", "response": {**response, "usage": usage}}


def limited(resets: float | None, plan: str = "plus", weekly: float = 40.0) -> Fail:
    """
    Answer that a usage limit is reached.

    :param resets: when it ends, in seconds since the epoch; None if that is not stated.
    :param weekly: percent of the longer window that are used.
    """
    error: dict[str, Any] = {
        "type": "usage_limit_reached",
        "message": "The usage limit has been reached",
        "plan_type": plan,
    }
    headers = {}
    if resets is not None:
        error["resets_at"] = int(resets)
        headers = {
            "x-codex-primary-used-percent": "100",
            "x-codex-primary-window-minutes": "300",
            "x-codex-primary-reset-at": str(int(resets)),
            "x-codex-secondary-used-percent": str(weekly),
            "x-codex-secondary-window-minutes": "10080",
            "x-codex-secondary-reset-at": str(int(resets) + 90_000),
        }
    return Fail(429, {"error": error}, headers)


def failed(status: int, code: str, message: str) -> Fail:
    """Answer with an error of the API."""
    return Fail(status, _error(code, message))


INTERNAL = failed(500, "server_error", "The server had an error while processing your request")
OVERLOADED = failed(503, "server_is_overloaded", "The server is overloaded")
UNAUTHORIZED = failed(401, "invalid_api_key", "Incorrect API key provided")
FORBIDDEN = failed(403, "forbidden", "Country, region, or territory not supported")
NO_CREDIT = Break(
    "insufficient_quota",
    "You exceeded your current quota, please check your plan and billing details.",
)
NOT_INCLUDED = Fail(429, {"error": {"type": "usage_not_included", "message": "Not included"}})
TOO_LONG = Break(
    "context_length_exceeded",
    "Your input exceeds the context window of this model. Please adjust your input and try again.",
)
