"""The Messages API of Anthropic, as far as Claude Code uses it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from typing import Any

from tests.agents.answers import Answer, Break, Call, Cut, Fail, Hold, Say
from tests.agents.model_server import ModelServer

#: The status of an error that is no stream's.
STATUSES = {"overloaded_error": 529, "api_error": 500}

_numbers = itertools.count(1)


def _error(error: str, message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": error, "message": message}}


class ClaudeServer(ModelServer):
    """A stand-in for api.anthropic.com."""

    def is_turn(self, method: str, path: str, body: Mapping[str, Any]) -> bool:
        # Titles and summaries of its own are asked for without tools.
        return method == "POST" and path.startswith("/v1/messages?") and bool(body.get("tools"))

    def other(self, path: str, body: Mapping[str, Any]) -> tuple[int, object]:
        if path.startswith("/v1/messages/count_tokens"):
            return 200, {"input_tokens": 100}
        if path.startswith("/v1/messages"):
            title = Say("A title")
            if body.get("stream"):
                return 200, list(self.events(body, title))
            return self.whole(body, title)
        return 404, _error("not_found_error", "Not Found")

    def whole(self, body: Mapping[str, Any], answer: Answer) -> tuple[int, object]:
        if isinstance(answer, Break):
            return STATUSES[answer.code], _error(answer.code, answer.message)
        if isinstance(answer, Call):
            content = {**_call(answer), "input": dict(answer.arguments)}
            return 200, {**_message(body), "content": [content], "stop_reason": "tool_use"}
        content = {"type": "text", "text": getattr(answer, "text", "")}
        return 200, {**_message(body), "content": [content], "stop_reason": "end_turn"}

    def events(self, body: Mapping[str, Any], answer: Answer) -> Iterator[dict[str, Any]]:
        yield {"type": "message_start", "message": _message(body)}
        if isinstance(answer, Break):
            yield _error(answer.code, answer.message)
            return
        if isinstance(answer, Call):
            block = {**_call(answer), "input": {}}
            text = json.dumps(dict(answer.arguments))
            yield from _block(block, {"type": "input_json_delta", "partial_json": text})
            reason = "tool_use"
        elif isinstance(answer, Say | Cut | Hold):
            yield from _block(
                {"type": "text", "text": ""}, {"type": "text_delta", "text": answer.text}
            )
            reason = "end_turn"
        usage = {"output_tokens": 10}
        delta = {"stop_reason": reason, "stop_sequence": None}
        yield {"type": "message_delta", "delta": delta, "usage": usage}
        yield {"type": "message_stop"}


def limited(
    resets: float | None,
    claim: str = "five_hour",
    message: str = "This request would exceed your account's rate limit. Please try again later.",
    **headers: str,
) -> Fail:
    """
    Answer that a usage limit is reached.

    :param resets: when it ends, in seconds since the epoch; None if that is not stated.
    :param claim: which window is full.
    :param headers: further ones, by what follows ``anthropic-ratelimit-unified-``.
    """
    stated = {"status": "rejected", "representative-claim": claim}
    if resets is not None:
        stated["reset"] = str(int(resets))
    stated |= {name.replace("_", "-"): value for name, value in headers.items()}
    prefix = "anthropic-ratelimit-unified-"
    return failed(429, "rate_limit_error", message, **{prefix + k: v for k, v in stated.items()})


def failed(status: int, error: str, message: str, **headers: str) -> Fail:
    """Answer with an error of the API."""
    return Fail(status, _error(error, message), {"x-should-retry": "false", **headers})


OVERLOADED = failed(529, "overloaded_error", "Overloaded")
INTERNAL = failed(500, "api_error", "Internal server error")
UNAUTHORIZED = failed(401, "authentication_error", "Invalid bearer token")
FORBIDDEN = failed(403, "permission_error", "OAuth authentication is currently not allowed")
NO_CREDIT = failed(
    400,
    "invalid_request_error",
    "Your credit balance is too low to access the Anthropic API. "
    "Please go to Plans & Billing to upgrade or purchase credits.",
)
TOO_LONG = failed(
    400, "invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum"
)


def _message(body: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": f"msg_{next(_numbers):024}",
        "type": "message",
        "role": "assistant",
        "model": body.get("model"),
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 100, "output_tokens": 1},
    }


def _call(answer: Call) -> dict[str, Any]:
    return {"type": "tool_use", "id": f"toolu_{next(_numbers):024}", "name": answer.tool}


def _block(block: Mapping[str, Any], delta: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    yield {"type": "content_block_start", "index": 0, "content_block": block}
    yield {"type": "content_block_delta", "index": 0, "delta": delta}
    yield {"type": "content_block_stop", "index": 0}
