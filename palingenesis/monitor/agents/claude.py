"""
Claude Code: its transcripts, its registry of living processes, and what their records mean.

Nothing of the format is documented. What stands here was told in public: the fields of
errors in anthropics/claude-code#11429 and #42053, null stop reasons in #20222, prompts that
stay too long in #23377, the registry in #37737.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import tzinfo
from itertools import islice

from palingenesis.monitor.owners import Processes, bounded, home_of
from palingenesis.monitor.resets import reset_in, stated
from palingenesis.monitor.sessions import Identity, Verdict, identified
from palingenesis.monitor.transcript import Record, field, mapping, number, timestamp
from palingenesis.words import Kind, Owner

#: Deeper files are those of sub-agents and tools; the directory's name is cut and hashed.
TRANSCRIPTS = "projects/*/*.jsonl"
COMMANDS = frozenset({"claude", "claude-code"})

#: Records looked through, behind the one that decides, for the last progress.
_PROGRESS_DEPTH = 200
#: Entries of the registry that are looked at, and bytes of one.
_ENTRIES = 2000
_ENTRY_SIZE = 64 * 1024

_TYPES = re.compile(rb'"type"\s*:\s*"(?:assistant|user|system)"')
_QUESTIONS = frozenset({"AskUserQuestion", "ExitPlanMode"})
_INTERRUPTED = frozenset(
    {"[Request interrupted by user]", "[Request interrupted by user for tool use]"}
)
_EXIT = re.compile(r"<command-name>\s*/(?:exit|quit)\s*</command-name>")
#: What the user does without the model: the output of a command, and the command itself.
_OUTPUT = re.compile(r"\s*<(?:local-command-(?:stdout|stderr|caveat)|bash-(?:input|std\w+))>")
_COMMAND = re.compile(r"\s*<command-(?:name|message)>")

_ERRORS = {
    "rate_limit": Kind.LIMIT,
    "overloaded": Kind.TRANSIENT,
    "server_error": Kind.TRANSIENT,
    "authentication_failed": Kind.REFUSED,
    "oauth_org_not_allowed": Kind.REFUSED,
    "account_on_hold": Kind.REFUSED,
    "billing_error": Kind.REFUSED,
}
_CONTEXT = re.compile(r"prompt is too long", re.IGNORECASE)
_REFUSED = re.compile(
    r"out of usage credits|monthly spend limit|credit balance is too low|not logged in"
    r"|oauth (?:access )?token has expired",
    re.IGNORECASE,
)
_LIMIT = re.compile(
    r"usage limit reached|limit reached|hit your [\w -]{0,40}limit|out of extra usage",
    re.IGNORECASE,
)
_TRANSIENT = re.compile(
    r"API Error: (?:500|529)\b|request timed out|unable to connect to API", re.IGNORECASE
)
_TEXT_LIMIT = 16 * 1024


def home(environment: Mapping[str, str]) -> str:
    """Tell which directory Claude Code keeps its files in."""
    return home_of(environment, "CLAUDE_CONFIG_DIR", ".claude")


def wanted(line: bytes) -> bool:
    """Tell cheaply whether a line may hold a meaningful record."""
    return _TYPES.search(line) is not None


def identity(records: Iterable[Record]) -> Identity | None:
    """Take the session of the first record that names one; a sub-agent's file has none."""
    for record in records:
        session, directory, sidechain = (
            _value(record, name) for name in ("sessionId", "cwd", "isSidechain")
        )
        if session is not None and directory is not None:
            return None if sidechain is True else identified(session, directory)
    return None


def verdict(records: Iterable[Record], local: tzinfo | None = None) -> Verdict:
    """
    Judge by the newest meaningful record that decides.

    A retry (``api_error``) and an announcement to go on (``informational``) are no stops: the
    record before them decides, and whether the owner lives. So it is with what the user did
    without the model, with compactions, and with the assistant's records that the program
    writes itself ("No response requested.") when a session is resumed.
    """
    reader = iter(records)
    continues = turn_over = local_command = False
    decided = Verdict(Kind.UNKNOWN, "")
    for record in reader:
        if _skipped(record):
            continue
        type_ = _value(record, "type")
        if type_ == "system":
            subtype = _value(record, "subtype")
            continues |= subtype == "informational" and _announces(record)
            turn_over |= subtype == "turn_duration"
            if subtype != "local_command":
                continue
        if type_ in ("user", "system"):
            words = _words(record)
            command = _COMMAND.match(words) is not None
            if command and _EXIT.search(words):
                decided = Verdict(Kind.USER, _key(record), _at(record), left=True)
                break
            if _OUTPUT.match(words):
                local_command = words.lstrip().startswith("<local-command-std")
                continue
            if type_ == "system" or (local_command and command):
                local_command = False
                continue
        decided = _judged(record, turn_over, local)
        break
    else:
        return decided
    progress = _progressed(record)
    if progress is None:
        older = (_progressed(record) for record in islice(reader, _PROGRESS_DEPTH))
        progress = next((at for at in older if at is not None), None)
    return replace(decided, continues=continues, progress=progress)


def owners(home: str, processes: Processes) -> Registry:
    """Look into the registry of living processes."""
    try:
        entries = list(_entries(os.path.join(home, "sessions")))
    except FileNotFoundError:
        entries = []
    except OSError:
        return Registry([], processes, whole=False)
    return Registry(entries, processes)


@dataclass(frozen=True, slots=True)
class Entry:
    """
    What Claude Code wrote of one of its processes, in ``sessions/<pid>.json``.

    It is removed at a clean end and left behind by a kill.

    :ivar start: when the process started, as proc_pid_stat(5) tells in field 22; None where
        the entry does not tell.
    :ivar readable: whether the entry could be read.
    """

    pid: int
    session: str | None = None
    directory: str | None = None
    start: str | None = None
    status: str | None = None
    readable: bool = True


class Registry:
    """
    Which sessions have a living process, by the registry and by the processes.

    ``/resume`` inside the program may leave an old session in an entry
    (anthropics/claude-code#37737), so one with the session's directory counts as well.

    :param whole: whether every entry could be looked at.
    """

    def __init__(
        self, entries: Sequence[Entry], processes: Processes, *, whole: bool = True
    ) -> None:
        self._processes = processes
        self._living = [e for e in entries if processes.alive(e.pid, e.start)]
        self._unreadable = not whole or any(not e.readable for e in self._living)
        self._asking = {e.session for e in entries if e.session and e.status == "waiting"}

    def owner(self, identity: Identity) -> Owner:
        """Tell whether a process of this session lives."""
        for entry in self._living:
            if identity.id == entry.session or identity.directory == entry.directory:
                return Owner.PROGRAM
        if self._unreadable:
            return Owner.UNKNOWN
        return self._processes.running(COMMANDS, identity.directory)

    def asking(self, identity: Identity) -> bool:
        """Tell whether the session's process said last that it waits for a person."""
        return identity.id in self._asking


def _entries(directory: str) -> Iterator[Entry]:
    for name in bounded(directory, _ENTRIES):
        stem, extension = os.path.splitext(name)
        if extension == ".json" and stem.isascii() and stem.isdigit() and len(stem) < 10:
            entry = _entry(os.path.join(directory, name), int(stem))
            if entry is not None:
                yield entry


def _entry(path: str, pid: int) -> Entry | None:
    """Read an entry; None where it is gone."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            value = json.loads(os.read(descriptor, _ENTRY_SIZE))
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError):
        return Entry(pid, readable=False)
    entry = mapping(value)
    session, directory, status = (
        given if isinstance(given := entry.get(name), str) else None
        for name in ("sessionId", "cwd", "status")
    )
    told = str(entry.get("procStart"))
    start = told if told.isascii() and told.isdigit() else None
    return Entry(pid, session, directory, start, status, readable=bool(session or directory))


def _value(record: Record, name: str) -> object:
    if record.value is not None:
        return record.value.get(name)
    return field(record.beginning, name)


def _skipped(record: Record) -> bool:
    """Tell whether a record is a sub-agent's, bookkeeping, or the program talking to itself."""
    if record.value is None:
        # In some versions the first type is that of the message inside.
        known = _value(record, "type") in (None, "user", "assistant", "system", "message")
        return not known or True in (_value(record, "isSidechain"), _value(record, "isMeta"))
    value = record.value
    type_ = value.get("type")
    if type_ not in ("user", "assistant", "system"):
        return True
    if value.get("isSidechain") is True or (type_ != "system" and value.get("isMeta") is True):
        return True
    if type_ == "assistant":
        return _message(value).get("model") == "<synthetic>" and not _failed(value)
    return value.get("isCompactSummary") is True


def _judged(record: Record, turn_over: bool, local: tzinfo | None) -> Verdict:
    at, key = _at(record), _key(record)
    value = record.value
    if value is None:
        return Verdict(None, key, at)
    if value["type"] == "user":
        interrupted = "interruptedMessageId" in value or _words(record).strip() in _INTERRUPTED
        return Verdict(Kind.USER if interrupted else None, key, at)
    if _failed(value):
        kind, reset = _error(value, at, local)
        return Verdict(kind, key, at, reset)
    return Verdict(_reply(value, turn_over), key, at)


def _reply(value: dict[str, object], turn_over: bool) -> Kind | None:
    """Tell how the model's reply ended."""
    message = _message(value)
    blocks = [mapping(block) for block in _blocks(message)]
    calls = [str(block.get("name")) for block in blocks if block.get("type") == "tool_use"]
    if not _QUESTIONS.isdisjoint(calls):
        return Kind.ASKING
    reason = message.get("stop_reason")
    if calls or reason in ("tool_use", "pause_turn"):
        return None
    if reason is None:
        # Some versions leave the reason out and say that the turn is over (#20222).
        said = any(block.get("type") == "text" for block in blocks)
        return Kind.FINISHED if turn_over and said else None
    if reason in ("end_turn", "stop_sequence"):
        return Kind.FINISHED
    return Kind.CONTEXT if reason == "model_context_window_exceeded" else Kind.UNKNOWN


def _error(
    value: dict[str, object], at: float | None, local: tzinfo | None
) -> tuple[Kind, float | None]:
    """Tell what an error of the API means, and when a limit ends."""
    text = _text(_message(value))
    error = value.get("error")
    kind = _ERRORS.get(error) if isinstance(error, str) else None
    if _CONTEXT.search(text):
        return Kind.CONTEXT, None
    if kind is Kind.REFUSED or _REFUSED.search(text):
        return Kind.REFUSED, None
    reset = stated(number(mapping(value.get("quotaLimits")).get("resetsAt")), at)
    if reset is None:
        reset = reset_in(text, at, local)
    if kind is Kind.LIMIT or (kind is None and reset is not None and _LIMIT.search(text)):
        return Kind.LIMIT, reset
    if kind is None and _TRANSIENT.search(text):
        kind = Kind.TRANSIENT
    return kind or Kind.UNKNOWN, None


def _failed(value: dict[str, object]) -> bool:
    return value.get("isApiErrorMessage") is True


def _progressed(record: Record) -> float | None:
    """Tell when the agent did something: a reply or a tool's result that is no API error."""
    if _skipped(record):
        return None
    type_ = _value(record, "type")
    if record.value is None:
        replied = "assistant" in (type_, _value(record, "role"))
        worked = replied or b'"tool_result"' in record.beginning
    elif type_ == "assistant":
        worked = not _failed(record.value)
    else:
        blocks = _blocks(_message(record.value))
        worked = any(mapping(block).get("type") == "tool_result" for block in blocks)
    return _at(record) if worked else None


def _announces(record: Record) -> bool:
    return "continuing automatically" in str(_value(record, "content"))[:_TEXT_LIMIT]


def _words(record: Record) -> str:
    """Give what the user typed, or what the program noted of it; empty for a tool's result."""
    if record.value is None:
        return ""
    content = record.value.get("content")  # of a system record
    if isinstance(content, str):
        return content[:_TEXT_LIMIT]
    return _text(_message(record.value))


def _message(value: dict[str, object]) -> dict[str, object]:
    return mapping(value.get("message"))


def _blocks(message: dict[str, object]) -> list[object]:
    content = message.get("content")
    return content if isinstance(content, list) else []


def _text(message: dict[str, object]) -> str:
    content = message.get("content")
    if isinstance(content, str):
        return content[:_TEXT_LIMIT]
    texts = (mapping(block).get("text") for block in _blocks(message)[:16])
    return "\n".join(text[:_TEXT_LIMIT] for text in texts if isinstance(text, str))


def _at(record: Record) -> float | None:
    return timestamp(_value(record, "timestamp"))


def _key(record: Record) -> str:
    uuid = _value(record, "uuid")
    if isinstance(uuid, str) and re.fullmatch(r"[0-9A-Za-z-]{8,64}", uuid):
        return uuid
    return f"@{record.end}"
