"""
Claude Code: its transcripts, its registry of living processes, and what their records mean.

Nothing of the format is documented. What stands here was reported in public: the fields of
errors in anthropics/claude-code#11429 and #42053, null stop reasons in #20222, prompts that
stay too long in #23377, the registry in #37737.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import tzinfo

from palingenesis.monitor import files
from palingenesis.monitor.agents.agent import UNREAD, Agent, Owners, Step, What
from palingenesis.monitor.owners import Snapshot
from palingenesis.monitor.resets import reset_in, stated
from palingenesis.monitor.sessions import Identity, Verdict, identified
from palingenesis.monitor.transcript import Record, field, mapping, number, opened, timestamp
from palingenesis.words import Kind, Owner

#: Files of sub-agents that are looked at for growth.
_SUBAGENTS = 1000
#: Entries of the registry that are looked at, and bytes of one.
_ENTRIES = 2000
_ENTRY_SIZE = 64 * 1024

_TYPES = re.compile(rb'"type"\s*:\s*"(?:assistant|user|system|continued-in)"')
_QUESTIONS = frozenset({"AskUserQuestion", "ExitPlanMode"})
_INTERRUPTED = frozenset(
    {"[Request interrupted by user]", "[Request interrupted by user for tool use]"}
)
#: A line of the history that holds nothing but a command to leave.
_LEAVING = re.compile(rb'"display"\s*:\s*"\s*/(?:exit|quit)\s*"')
_EXIT = re.compile(r"<command-name>\s*/(?:exit|quit)\s*</command-name>")
#: What a person does without the model: the output of a command, and the command itself.
_OUTPUT = re.compile(r"\s*<(?:local-command-(?:stdout|stderr|caveat)|bash-(?:input|std\w+))>")
_COMMAND = re.compile(r"\s*<command-(?:name|message)>")
#: What the program notes about going on by itself when a limit ends.
_CONTINUING = "Usage limit reset"
_CANCELLED = re.compile(r"automatic continue cancelled|exited during the wait", re.IGNORECASE)
_COMPACTION = "Error during compaction: "

_ERRORS = {
    "rate_limit": Kind.LIMIT,
    "overloaded": Kind.TRANSIENT,
    "server_error": Kind.TRANSIENT,
    "authentication_failed": Kind.REFUSED,
    "oauth_org_not_allowed": Kind.REFUSED,
    "account_on_hold": Kind.REFUSED,
    "billing_error": Kind.REFUSED,
    "verification_required": Kind.REFUSED,
    "cloud_credential_error": Kind.REFUSED,
}
_STATUSES = {
    **dict.fromkeys((401, 402, 403), Kind.REFUSED),
    **dict.fromkeys((*range(500, 505), 529), Kind.TRANSIENT),
}
_CONTEXT = re.compile(r"prompt is too long|context window limit", re.IGNORECASE)
#: A limit that no waiting cures, unless a reset is stated beside it.
_REFUSED = re.compile(
    r"out of usage|monthly spend limit|credit balance is too low|not logged in"
    r"|oauth (?:access )?token has expired|extra usage is required|seat type doesn.t include"
    r"|requires? usage credits|usage credits required",
    re.IGNORECASE,
)
_LIMIT = re.compile(
    r"usage limit reached|limit reached|hit your [\w -]{0,40}limit|out of extra usage",
    re.IGNORECASE,
)
_HIT = re.compile(r"hit your [\w -]{0,40}limit|usage limit reached", re.IGNORECASE)
_BUSY = re.compile(r"temporarily limiting requests", re.IGNORECASE)
#: The words of the transport, for errors without a code.
_TRANSIENT = re.compile(
    r"API Error: 5[0-9]{2}\b|api_error|\bconnection\b|\bsocket\b|timed out|stream idle"
    r"|unable to connect|fetch failed|ECONN[A-Z]+|ETIMEDOUT|ENOTFOUND|EAI_AGAIN",
    re.IGNORECASE,
)
_TEXT_LIMIT = 16 * 1024


class Claude(Agent):
    """Claude Code."""

    name = "claude"
    programs = frozenset({"claude", "claude.exe", "claude-code", "claude-agent-sdk"})
    home_variable = "CLAUDE_CONFIG_DIR"
    own_variables = frozenset(
        {
            *("CLAUDECODE", "CLAUDE_CODE_ENTRYPOINT", "CLAUDE_CODE_SSE_PORT"),
            "CLAUDE_CODE_CHILD_SESSION",
        }
    )
    home_name = ".claude"
    #: Deeper files are those of sub-agents and tools; the directory's name is cut and hashed.
    transcripts = "projects/*/*.jsonl"

    def is_wanted(self, line: bytes) -> bool:
        """Return cheaply whether a line may hold a meaningful record."""
        return _TYPES.search(line) is not None

    def identity(self, records: Iterable[Record]) -> Identity | None:
        """Return the session of the first record that names one; a sub-agent's file has none."""
        for record in records:
            session, directory, sidechain = (
                _value(record, name) for name in ("sessionId", "cwd", "isSidechain")
            )
            if session is not None and directory is not None:
                return None if sidechain is True else identified(session, directory)
        return None

    def meaningful(self, records: Iterable[Record], local: tzinfo | None = None) -> Iterator[Step]:
        """
        Yield what the records report.

        Left out are the records of sub-agents, retries (``api_error``), compactions, and what
        the program writes itself when a session is resumed ("No response requested.").
        """
        for record in records:
            step = None if _is_skipped(record) else _step(record, local)
            if step is not None:
                yield step

    def verdict(self, steps: Iterable[Step]) -> Verdict:
        """
        Judge by the newest step that is not what a person did without the model.

        Older versions may write a prompt after its error: then the error, which is younger by
        its timestamp, decides.
        """
        turn_over = printed = False
        rest = iter(steps)
        for step in rest:
            match step.what:
                case What.TURN_OVER:
                    turn_over = True
                case What.OUTPUT:
                    printed = True
                case What.LOCAL:
                    printed = False
                case What.COMMAND if printed:
                    printed = False
                case What.REPLY if turn_over:
                    # Some versions leave out how a reply ends (anthropics/claude-code#20222).
                    return replace(step.verdict(), kind=Kind.FINISHED)
                case What.PROMPT | What.COMMAND:
                    return _in_order(step, rest).verdict()
                case _:
                    return step.verdict()
        return UNREAD

    def growth(self, home: str, session: Identity, transcript: str) -> Hashable:  # noqa: ARG002
        """Return the stamps of the transcript and of the sub-agents' files beside it."""
        below = os.path.join(os.path.dirname(transcript), session.id, "subagents")
        walk = files.Walk(lambda _: None, directory_limit=_SUBAGENTS, walk_limit=_SUBAGENTS)
        found = [each for each in walk.files(below, "*.jsonl") if each is not None]
        stamps = [(path, status.st_size, status.st_mtime_ns) for path, status in found]
        return self.stamp(transcript), tuple(sorted(stamps))

    def owners(self, home: str, snapshot: Snapshot) -> Registry:
        """Read the registry of living processes."""
        try:
            entries = list(_entries(os.path.join(home, "sessions")))
        except FileNotFoundError:
            entries = []
        except OSError:
            return Registry(home, [], snapshot, whole=False)
        return Registry(home, entries, snapshot)


@dataclass(frozen=True, slots=True)
class Entry:
    """
    What Claude Code writes of one of its processes, in ``sessions/<pid>.json``.

    The file is removed when the program exits, and left behind by a kill.

    :ivar start: when the process started: field 22 of proc_pid_stat(5), or on macOS a date in
        UTC; None if the entry does not say.
    :ivar readable: whether the entry could be read.
    """

    pid: int
    session: str | None = None
    directory: str | None = None
    start: str | None = None
    status: str | None = None
    readable: bool = True


class Registry(Owners):
    """
    Which sessions have a living process, by the registry and by the processes.

    ``/resume`` inside the program may leave an old session in an entry
    (anthropics/claude-code#37737), so an entry with the session's directory counts as well.

    :param home: the home, whose ``history.jsonl`` has what was typed: most sessions that are left
        by ``/exit`` have no record of it in their transcripts.
    :param whole: whether every entry could be looked at.
    """

    def __init__(
        self, home: str, entries: Sequence[Entry], snapshot: Snapshot, *, whole: bool = True
    ) -> None:
        super().__init__(snapshot)
        self._history = os.path.join(home, "history.jsonl")
        self._exits: dict[str, float] | None = None
        self._living = [e for e in entries if snapshot.is_alive(e.pid, e.start)]
        self._unreadable = not whole or any(not e.readable for e in self._living)
        self._asking = {e.session for e in entries if e.session and e.status == "waiting"}

    def witnessed(self, session: Identity) -> Owner:
        """Return who has a session, by an entry, or else by the processes in its directory."""
        for entry in self._living:
            if session.id == entry.session or session.directory == entry.directory:
                return Owner.PROGRAM
        if self._unreadable:
            return Owner.UNKNOWN
        return self.snapshot.running(Claude.programs, session.directory)

    def is_asking(self, session: Identity) -> bool:
        """Return whether the session's process said last that it waits for a person."""
        return session.id in self._asking

    def has_left(self, session: Identity, since: float) -> bool:
        """Return whether ``/exit`` or ``/quit`` was typed in a session after its last record."""
        if self._exits is None:
            self._exits = _exits(self._history)
        return self._exits.get(session.id, since) > since


def _exits(path: str) -> dict[str, float]:
    """Return when each session was left last, in seconds since the epoch."""
    exits: dict[str, float] = {}
    try:
        with opened(path) as history:
            for record in history.last(lambda line: _LEAVING.search(line) is not None):
                value = mapping(record.value)
                session, at = value.get("sessionId"), number(value.get("timestamp"))
                if isinstance(session, str) and at is not None:
                    exits.setdefault(session, at / 1000)
    except OSError:
        pass  # without a history, only the transcripts say who left
    return exits


def _entries(directory: str) -> Iterator[Entry]:
    for name in files.names_in(directory, _ENTRIES):
        stem, extension = os.path.splitext(name)
        if extension == ".json" and stem.isascii() and stem.isdigit() and len(stem) < 10:
            entry = _entry(os.path.join(directory, name), int(stem))
            if entry is not None:
                yield entry


def _entry(path: str, pid: int) -> Entry | None:
    """Read an entry; None if it is gone."""
    try:
        with files.opened(path) as descriptor:
            value = json.loads(os.read(descriptor, _ENTRY_SIZE))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError):
        return Entry(pid, readable=False)
    entry = mapping(value)
    session, directory, status = (
        given if isinstance(given := entry.get(name), str) else None
        for name in ("sessionId", "cwd", "status")
    )
    # A number of ticks on Linux, a date in UTC on macOS.
    start = str(entry["procStart"]) if entry.get("procStart") else None
    return Entry(pid, session, directory, start, status, readable=bool(session or directory))


def _is_skipped(record: Record) -> bool:
    """Return whether a record is a sub-agent's, bookkeeping, or the program's to itself."""
    if record.value is None:
        # In some versions the first type is that of the message inside.
        known = _value(record, "type") in (None, "user", "assistant", "system", "message")
        return not known or True in (_value(record, "isSidechain"), _value(record, "isMeta"))
    value = record.value
    type_ = value.get("type")
    if type_ not in ("user", "assistant", "system", "continued-in"):
        return True
    meta = type_ != "system" and value.get("isMeta") is True and not _goes_on(value)
    if value.get("isSidechain") is True or meta:
        return True
    if type_ == "assistant":
        return _message(value).get("model") == "<synthetic>" and not _failed(value)
    return value.get("isCompactSummary") is True


def _in_order(prompt: Step, older: Iterator[Step]) -> Step:
    """Return what came last: a prompt, or the end of a turn that stands before it in the file."""
    for step in older:
        if step.key == prompt.parent:
            return prompt
        if step.what is What.TURN_OVER:
            continue
        if step.what is What.END and None not in (step.at, prompt.at):
            return max(prompt, step, key=_moment)
        return prompt
    return prompt


def _moment(step: Step) -> float:
    return step.at or 0.0


def _step(record: Record, local: tzinfo | None) -> Step | None:
    """Return what a record that is not skipped reports."""
    key, at = _key(record), _at(record)
    value, type_ = record.value, _value(record, "type")
    if type_ == "continued-in":
        return Step(What.END, key, at, Kind.CONTINUED)
    if type_ == "system":
        return _of_the_program(record, key, at, local)
    if value is None:
        replied = "assistant" in (type_, _value(record, "role"))
        worked = replied or b'"tool_result"' in record.beginning
        return Step(What.WORK, key, at, progress=worked)
    if type_ == "user":
        return _of_a_person(value, key, at)
    if _failed(value):
        kind, reset = _error(value, at, local)
        spends = mapping(value.get("quotaLimits")).get("isUsingOverage") is True
        return Step(What.END, key, at, kind, reset, spends=spends)
    return _reply(_message(value), key, at)


def _of_the_program(
    record: Record, key: str, at: float | None, local: tzinfo | None
) -> Step | None:
    """Return what a ``system`` record reports."""
    subtype = _value(record, "subtype")
    if subtype == "turn_duration":
        return Step(What.TURN_OVER, key, at)
    content = None if record.value is None else record.value.get("content")
    words = content[:_TEXT_LIMIT] if isinstance(content, str) else ""
    if subtype == "informational":
        if words.startswith(_CONTINUING):
            return Step(What.TURN_BEGUN, key, at)
        # Cancelled by Esc, or by leaving the program while it waited for the reset.
        return Step(What.END, key, at, Kind.USER) if _CANCELLED.search(words) else None
    if subtype != "local_command":
        return None
    if _COMPACTION in words and _HIT.search(words):
        return Step(What.END, key, at, Kind.LIMIT, reset_in(words, at, local))
    return _without_the_model(words, key, at) or Step(What.LOCAL, key, at)


def _of_a_person(value: dict[str, object], key: str, at: float | None) -> Step:
    """Return what a ``user`` record reports: words of a person's, or a tool's result."""
    message = _message(value)
    content = value.get("content")
    words = content[:_TEXT_LIMIT] if isinstance(content, str) else _text(message)
    result = any(mapping(block).get("type") == "tool_result" for block in _blocks(message))
    # A resume itself writes the result of a call that was interrupted.
    worked = result and "toolDenialKind" not in value
    if (step := _without_the_model(words, key, at)) is not None:
        return replace(step, progress=worked)
    interrupted = "interruptedMessageId" in value or words.strip() in _INTERRUPTED
    kind = Kind.USER if interrupted else None
    what = What.COMMAND if _COMMAND.match(words) else What.WORK if result else What.PROMPT
    parent = value.get("parentUuid")
    # A prompt that was typed says so.
    given = what is What.PROMPT and value.get("promptSource") in (None, "sdk")
    return Step(
        what,
        key,
        at,
        kind,
        progress=worked,
        parent=parent if isinstance(parent, str) else None,
        prompt=words if given else None,
    )


def _without_the_model(words: str, key: str, at: float | None) -> Step | None:
    """Return what a person did without the model; None if the words are not about that."""
    if _COMMAND.match(words) and _EXIT.search(words):
        return Step(What.END, key, at, Kind.USER)
    if _OUTPUT.match(words):
        printed = words.lstrip().startswith("<local-command-std")
        return Step(What.OUTPUT if printed else What.LOCAL, key, at)
    return None


def _reply(message: dict[str, object], key: str, at: float | None) -> Step:
    """Return what a reply of the model's reports."""
    blocks = [mapping(block) for block in _blocks(message)]
    calls = [str(block.get("name")) for block in blocks if block.get("type") == "tool_use"]
    reason = message.get("stop_reason")
    kind = Kind.UNKNOWN
    if not _QUESTIONS.isdisjoint(calls):
        kind = Kind.ASKING
    elif calls or reason in ("tool_use", "pause_turn"):
        return Step(What.WORK, key, at, progress=True, calling=bool(calls))
    elif reason is None:
        said = any(block.get("type") == "text" for block in blocks)
        return Step(What.REPLY if said else What.WORK, key, at, progress=True)
    elif reason in ("end_turn", "stop_sequence"):
        kind = Kind.FINISHED
    elif reason == "model_context_window_exceeded":
        kind = Kind.CONTEXT
    return Step(What.END, key, at, kind, progress=True)


def _error(
    value: dict[str, object], at: float | None, local: tzinfo | None
) -> tuple[Kind, float | None]:
    """Return what an error of the API means, and when a limit ends."""
    text = _text(_message(value))
    error = value.get("error")
    kind = _ERRORS.get(error) if isinstance(error, str) else None
    reset = stated(number(mapping(value.get("quotaLimits")).get("resetsAt")), at)
    if reset is None:
        reset = reset_in(text, at, local)
    if _CONTEXT.search(text):
        # A compaction that failed at a limit works when the limit ends.
        return (Kind.LIMIT, reset) if _HIT.search(text) else (Kind.CONTEXT, None)
    if kind is Kind.LIMIT and reset is not None:
        return Kind.LIMIT, reset
    if kind is Kind.REFUSED or value.get("resendCannotCure") is True:
        return Kind.REFUSED, None
    if kind is Kind.LIMIT and _BUSY.search(text):
        return Kind.TRANSIENT, None
    if kind is None and reset is not None and _LIMIT.search(text):
        return Kind.LIMIT, reset
    if _REFUSED.search(text):
        return Kind.REFUSED, None
    if kind is None:
        kind = _by_status(value)
    if kind is None and _TRANSIENT.search(text):
        kind = Kind.TRANSIENT
    return kind or Kind.UNKNOWN, None


def _by_status(value: dict[str, object]) -> Kind | None:
    """Return what an error means whose code does not say it."""
    status = value.get("apiErrorStatus")
    kind = _STATUSES.get(status) if isinstance(status, int) else None
    return Kind.TRANSIENT if value.get("apiErrorIsTransient") is True else kind


def _goes_on(value: dict[str, object]) -> bool:
    """Return whether a record is the prompt with which the program goes on by itself."""
    return mapping(value.get("origin")).get("kind") == "auto-continuation"


def _failed(value: dict[str, object]) -> bool:
    return value.get("isApiErrorMessage") is True


def _value(record: Record, name: str) -> object:
    if record.value is not None:
        return record.value.get(name)
    return field(record.beginning, name)


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
