"""
Codex: its rollouts, its locks, and what their records mean.

The records are the events of openai/codex, of which those that tell of a turn's life are
looked at; limits as saaranshM/unsnooze#20, #27 and #28 report them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import tzinfo
from itertools import islice

from palingenesis.monitor.owners import Processes, home_of
from palingenesis.monitor.resets import reset_in, stated
from palingenesis.monitor.sessions import Identity, Verdict, identified
from palingenesis.monitor.transcript import Record, field, mapping, number, timestamp
from palingenesis.words import Kind, Owner

#: Compressed rollouts (``.jsonl.zst``) are old ones.
TRANSCRIPTS = "sessions/[0-9]*/[0-9]*/[0-9]*/rollout-*.jsonl"
COMMANDS = frozenset({"codex"})

#: From so many percent on, a window counts as full.
FULL = 99.0
#: Records looked through for the one that decides, and behind it for figures and progress.
_DEPTH = 200

_ERRORS = {
    "context_window_exceeded": Kind.CONTEXT,
    "server_overloaded": Kind.TRANSIENT,
    "http_connection_failed": Kind.TRANSIENT,
    "response_stream_connection_failed": Kind.TRANSIENT,
    "response_stream_disconnected": Kind.TRANSIENT,
    "response_too_many_failed_attempts": Kind.TRANSIENT,
    "internal_server_error": Kind.TRANSIENT,
    "unauthorized": Kind.REFUSED,
    "session_budget_exceeded": Kind.REFUSED,
}
_LIMIT = "usage_limit_exceeded"
#: Items that the agent wrote, its tools' results among them.
_WORK = frozenset(
    {
        "reasoning",
        "function_call",
        "function_call_output",
        "custom_tool_call",
        "custom_tool_call_output",
        "local_shell_call",
        "web_search_call",
    }
)
_QUESTION = "request_user_input"


def home(environment: Mapping[str, str]) -> str:
    """Tell which directory Codex keeps its files in."""
    return home_of(environment, "CODEX_HOME", ".codex")


def wanted(line: bytes) -> bool:
    """Tell cheaply whether a line may hold a record that is looked at."""
    return b'"event_msg"' in line or b'"response_item"' in line


def identity(records: Iterable[Record]) -> Identity | None:
    """Take the session from the first record; a sub-agent's rollout has none."""
    for record in records:
        if record.value is None:
            if field(record.beginning, "type") != "session_meta":
                return None
            return identified(field(record.beginning, "id"), field(record.beginning, "cwd"))
        if record.value.get("type") == "session_meta":
            meta = mapping(record.value.get("payload"))
            if "subagent" in mapping(meta.get("source")):
                return None
            return identified(meta.get("id"), meta.get("cwd"))
    return None


def verdict(records: Iterable[Record], local: tzinfo | None = None) -> Verdict:
    """
    Judge by the newest event of a turn's life; what a user asked since then begins a turn.

    Items without such an event are the middle of a turn whose beginning is out of reach.
    """
    reader = iter(records)
    newest: Record | None = None
    asked = question = False
    progress: float | None = None
    for record in islice(reader, _DEPTH):
        name = _name(record)
        if name is None:
            continue
        if progress is None:
            progress = _progressed(record)
        if name in ("task_started", "task_complete", "turn_aborted"):
            break
        if newest is None:
            newest = record
            question = name == "function_call" and _payload(record).get("name") == _QUESTION
        asked |= _asks(record)
    else:
        if newest is None:
            return Verdict(Kind.UNKNOWN, "")
        kind = Kind.ASKING if question else None
        return Verdict(kind, _key(newest), _at(newest), progress=progress)
    if name == "turn_aborted":
        return Verdict(Kind.USER, _key(record), _at(record), progress=progress)
    if name == "task_started" or asked:
        latest = newest or record
        kind = Kind.ASKING if question else None
        decided = Verdict(kind, _key(latest), _at(latest))
    else:
        decided = Verdict(Kind.FINISHED, _key(record), _at(record))
    error = _payload(record).get("error")
    failed = decided.kind is Kind.FINISHED and bool(error)
    windows: float | None = None
    if failed or progress is None:
        found, windows = _behind(reader)
        progress = progress if progress is not None else found
    if failed:
        kind, reset = _error(mapping(error), decided.at, windows, local)
        decided = replace(decided, kind=kind, reset=reset)
    return replace(decided, progress=progress)


def owners(home: str, processes: Processes) -> Locks:
    """Look at the locks that living processes hold."""
    return Locks(home, processes)


class Locks:
    """Which sessions have a living process, by its lock and by the processes."""

    def __init__(self, home: str, processes: Processes) -> None:
        self._directory = os.path.join(home, "thread-writer-locks")
        self._processes = processes

    def owner(self, identity: Identity) -> Owner:
        """Tell whether a process of this session lives."""
        running = self._processes.running(COMMANDS, identity.directory)
        if running is Owner.PROGRAM:
            return running
        holder = self._processes.holder(os.path.join(self._directory, f"{identity.id}.lock"))
        return holder if holder is not Owner.GONE else running

    def asking(self, identity: Identity) -> bool:  # noqa: ARG002
        """Tell False: a process of Codex notes nowhere that it waits."""
        return False


def _behind(reader: Iterator[Record]) -> tuple[float | None, float | None]:
    """Find the last progress and the last reset of a full window, behind a record."""
    progress: float | None = None
    figures: tuple[float | None] | None = None
    for record in islice(reader, _DEPTH):
        if progress is None:
            progress = _progressed(record)
        if figures is None:
            figures = _figures(record)
        if progress is not None and figures is not None:
            break
    return progress, figures[0] if figures is not None else None


def _figures(record: Record) -> tuple[float | None] | None:
    """
    Take the latest reset among the windows that are full; None where no figures are stated.

    The last record of this kind may have none at all (saaranshM/unsnooze#20).
    """
    payload = _payload(record)
    if payload.get("type") != "token_count":
        return None
    limits = mapping(payload.get("rate_limits"))
    windows = [mapping(limits.get(name)) for name in ("primary", "secondary")]
    if all(number(window.get("resets_at")) is None for window in windows):
        return None
    full = [
        number(w.get("resets_at")) for w in windows if (number(w.get("used_percent")) or 0) >= FULL
    ]
    return (max((reset for reset in full if reset is not None), default=None),)


def _error(
    error: dict[str, object], at: float | None, windows: float | None, local: tzinfo | None
) -> tuple[Kind, float | None]:
    """
    Tell what an error means, and when a limit ends.

    The code of a limit also stands for a plan that is used up, which no waiting cures: only
    a stated reset makes it a limit (saaranshM/unsnooze#28).
    """
    info = error.get("codex_error_info")
    if isinstance(info, dict) and len(info) == 1:
        info = next(iter(info))
    if info == _LIMIT:
        reset = stated(windows, at)
        if reset is None:
            message = error.get("message")
            reset = reset_in(message if isinstance(message, str) else "", at, local)
        return (Kind.LIMIT, reset) if reset is not None else (Kind.REFUSED, None)
    return (_ERRORS.get(info, Kind.UNKNOWN) if isinstance(info, str) else Kind.UNKNOWN), None


def _name(record: Record) -> str | None:
    """Tell what an event or an item is; None for every other record."""
    if record.value is None:
        # Nothing but an item becomes so long.
        return (
            "" if field(record.beginning, "type") in ("response_item", "event_msg", None) else None
        )
    if record.value.get("type") not in ("event_msg", "response_item"):
        return None
    name = _payload(record).get("type")
    return name if isinstance(name, str) and name != "token_count" else None


def _asks(record: Record) -> bool:
    """Tell whether a user's prompt is in a record, not what Codex itself says in a user's name."""
    payload = _payload(record)
    if payload.get("type") == "user_message":
        return True
    if payload.get("type") != "message" or payload.get("role") != "user":
        return False
    content = payload.get("content")
    first = mapping(content[0]) if isinstance(content, list) and content else {}
    text = first.get("text")
    return not (isinstance(text, str) and text.lstrip().startswith(("<", "# AGENTS.md")))


def _progressed(record: Record) -> float | None:
    """Tell when the agent did something that is no error."""
    if record.value is None:
        worked = any(b'"%s"' % name.encode() in record.beginning for name in _WORK)
        return _at(record) if worked else None
    payload = _payload(record)
    name = payload.get("type")
    worked = (
        (isinstance(name, str) and name in _WORK)
        or (name == "message" and payload.get("role") == "assistant")
        or name in ("agent_message", "agent_reasoning")
        or (name == "task_complete" and not payload.get("error"))
    )
    return _at(record) if worked else None


def _payload(record: Record) -> dict[str, object]:
    return mapping(record.value.get("payload")) if record.value is not None else {}


def _at(record: Record) -> float | None:
    if record.value is None:
        return timestamp(field(record.beginning, "timestamp"))
    return timestamp(record.value.get("timestamp"))


def _key(record: Record) -> str:
    at = _at(record)
    return f"@{record.end}" if at is None else f"{at:.3f}@{record.end}"
