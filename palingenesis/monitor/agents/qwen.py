"""
Qwen Code: its chats, its registry of living processes, and what their records mean.

Seen in Qwen Code 0.24.4. What it shares with Claude Code, its registry and how a session names
itself, is read by the same class.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from datetime import tzinfo

from palingenesis.monitor.agents.agent import STATUSES, UNREAD, Agent, Step, What
from palingenesis.monitor.agents.claude import Claude
from palingenesis.monitor.resets import TEXT_LIMIT, reset_in
from palingenesis.monitor.sessions import Identity, Verdict
from palingenesis.monitor.transcript import Record, field, mapping, timestamp
from palingenesis.words import Kind

_ERROR = "qwen-code.api_error"
#: What stands in the id of a person's prompt, and of none of its own requests.
_PROMPT = "########"
_QUESTIONS = frozenset({"ask_user_question", "exit_plan_mode"})
_CONTEXT = re.compile(
    r"maximum context length|context window|prompt is too long|input is too long", re.IGNORECASE
)
#: A limit that no waiting cures.
_REFUSED = re.compile(
    r"insufficient_quota|exceeded your current quota|free allocated quota exceeded|billing",
    re.IGNORECASE,
)
_TRANSIENT = re.compile(
    r"\bconnection\b|\bsocket\b|timed? ?out|fetch failed|terminated|UND_ERR_[A-Z]+|ECONN[A-Z]+"
    r"|ETIMEDOUT|ENOTFOUND|EAI_AGAIN",
    re.IGNORECASE,
)


class Qwen(Claude):
    """Qwen Code."""

    name = "qwen"
    programs = frozenset({"qwen", "qwen-code"})
    home_variable = "QWEN_HOME"
    home_name = ".qwen"
    transcripts = "projects/*/chats/*.jsonl"
    wanted = re.compile(rb'"type"\s*:\s*"(?:assistant|user|tool_result)"|"qwen-code\.api_error"')
    preset = ("--resume", "{id}", "-p", "{prompt}")
    #: Its screen is not the one of Claude Code.
    input_line = Agent.input_line

    def is_own(self, transcript: str, session: Identity) -> bool:
        """Return whether a transcript is named by its session."""
        return os.path.basename(transcript) == f"{session.id}.jsonl"

    def step(self, record: Record, local: tzinfo | None) -> Step | None:
        """Return what a record reports."""
        return _unparsed(record) if record.value is None else _step(record, local)

    def verdict(self, steps: Iterable[Step]) -> Verdict:
        """Judge by the newest step; whether an error is the last one, only its process shows."""
        return next((step.verdict() for step in steps), UNREAD)


def _unparsed(record: Record) -> Step | None:
    """Return what a record reports that is too long to be parsed."""
    kind = field(record.beginning, "type")
    if kind not in ("user", "assistant", "tool_result"):
        return None
    return Step(What.PROMPT if kind == "user" else What.WORK, f"@{record.end}", None)


def _step(record: Record, local: tzinfo | None) -> Step | None:
    """Return what a record reports; None for every other record."""
    value = mapping(record.value)
    key, at = _key(record), timestamp(value.get("timestamp"))
    match value.get("type"):
        case "user":
            return Step(What.PROMPT, key, at, prompt=_prompt(value))
        case "tool_result" if mapping(value.get("toolCallResult")).get("status") == "cancelled":
            return Step(What.END, key, at, Kind.USER)
        case "tool_result":
            return Step(What.WORK, key, at, progress=True)
        case "assistant":
            return _reply(value, key, at)
        case "system":
            event = mapping(mapping(value.get("systemPayload")).get("uiEvent"))
            if event.get("event.name") == _ERROR and _PROMPT in str(event.get("prompt_id")):
                return Step(What.END, key, at, *_failure(event, at, local))
    return None


def _reply(value: dict[str, object], key: str, at: float | None) -> Step:
    """Return what a reply of the model's reports."""
    calls = [part.get("functionCall") for part in _parts(value)]
    names = {str(mapping(call).get("name")) for call in calls if call is not None}
    if names:
        kind = None if _QUESTIONS.isdisjoint(names) else Kind.ASKING
        return Step(What.WORK, key, at, kind, progress=True, calling=True)
    whole = isinstance(value.get("usageMetadata"), dict)
    return Step(What.END, key, at, Kind.FINISHED if whole else Kind.UNKNOWN, progress=whole)


def _failure(
    event: dict[str, object], at: float | None, local: tzinfo | None
) -> tuple[Kind, float | None]:
    """Return what an error means, and when a limit ends."""
    status, message = event.get("status_code"), event.get("error_message")
    text = message[:TEXT_LIMIT] if isinstance(message, str) else ""
    if _CONTEXT.search(text):
        return Kind.CONTEXT, None
    kind = STATUSES.get(status, Kind.UNKNOWN) if isinstance(status, int) else None
    if kind is Kind.LIMIT:
        return (Kind.REFUSED, None) if _REFUSED.search(text) else (kind, reset_in(text, at, local))
    if kind is None and _TRANSIENT.search(f"{text} {event.get('error_type')}"[:TEXT_LIMIT]):
        kind = Kind.TRANSIENT
    return kind or Kind.UNKNOWN, None


def _prompt(value: dict[str, object]) -> str | None:
    texts = [part.get("text") for part in _parts(value)]
    return texts[0] if len(texts) == 1 and isinstance(texts[0], str) else None


def _parts(value: dict[str, object]) -> list[dict[str, object]]:
    parts = mapping(value.get("message")).get("parts")
    return [mapping(part) for part in parts] if isinstance(parts, list) else []


def _key(record: Record) -> str:
    key = mapping(record.value).get("uuid")
    if isinstance(key, str) and re.fullmatch(r"[0-9A-Za-z-]{8,64}", key):
        return key
    return f"@{record.end}"
