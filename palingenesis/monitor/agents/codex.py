"""
Codex: its rollouts, its locks, and what their records mean.

The records are the events of openai/codex that report a turn's life; limits are as
saaranshM/unsnooze#20, #27 and #28 report them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import tzinfo
from functools import cached_property, lru_cache
from itertools import islice

from palingenesis.monitor import database, files
from palingenesis.monitor.agents.agent import UNREAD, Agent, Step, What
from palingenesis.monitor.owners import NOTHING, Owners, Snapshot, Witness, strongest
from palingenesis.monitor.processes import Process
from palingenesis.monitor.resets import reset_in, stated
from palingenesis.monitor.sessions import Identity, Verdict, identified
from palingenesis.monitor.transcript import (
    TEXT_LIMIT,
    Growth,
    Record,
    Transcript,
    field,
    growth_of,
    mapping,
    number,
    opened,
    timestamp,
)
from palingenesis.words import Kind, Owner

#: A window counts as full from so many percent on.
FULL = 99.0
_SERVER = "Codex's server"
#: Commands of Codex that hold a session and have no person before them.
_NOT_INTERACTIVE = frozenset({"exec", "e", "review", "app-server", "exec-server", "mcp-server"})
#: How the server is called that runs the sessions of Codex's own terminals.
_MANAGED = "--managed-daemon"
#: The database of the messages that wait, and the columns by which it is known.
_QUEUE = "queue_1.sqlite"
_OTHER_QUEUE = re.compile(r"queue_(?!1\.)[0-9]+\.sqlite")
#: A database that every version makes beside the queue; both are elsewhere if ``sqlite_home`` or
#: ``CODEX_SQLITE_HOME`` says so.
_BESIDE_QUEUE = re.compile(r"state_[0-9]+\.sqlite")
_QUEUE_TABLES = {"queued_items": {"thread_id", "payload_json", "queue_order"}}
_QUEUED = "SELECT DISTINCT thread_id FROM queued_items LIMIT ?"
#: Sessions for which messages wait that are looked at.
_QUEUED_LIMIT = 10_000
#: Rollouts that are looked at for sub-agents.
_SUBAGENTS = 1000
#: Steps that are looked through for the one that decides, and behind it for figures.
_DEPTH = 200

_ERRORS = {
    "context_window_exceeded": Kind.CONTEXT,
    "server_overloaded": Kind.TRANSIENT,
    "internal_server_error": Kind.TRANSIENT,
    "rate_limit_exceeded": Kind.TRANSIENT,
    "flex_unavailable": Kind.TRANSIENT,
    "unauthorized": Kind.REFUSED,
    "session_budget_exceeded": Kind.REFUSED,
    "usage_not_included": Kind.REFUSED,
}
_LIMIT = "usage_limit_exceeded"
#: Errors of the connection, with the status of the server's answer if there was one.
_CONNECTION = frozenset(
    {
        "http_connection_failed",
        "response_stream_connection_failed",
        "response_stream_disconnected",
        "response_too_many_failed_attempts",
    }
)
_STATUSES = {
    400: Kind.UNKNOWN,
    401: Kind.REFUSED,
    402: Kind.REFUSED,
    403: Kind.REFUSED,
}
_LATER = re.compile(r"hit your usage limit.*try again (?:later|at|in)\b", re.IGNORECASE | re.DOTALL)
#: What no reset of a window cures, though it has a limit's code.
_NOT_INCLUDED = re.compile(r"to use codex with your chatgpt plan|quota exceeded", re.IGNORECASE)
#: What an error without a code of its own says.
_REFUSED = re.compile(r"(?:unexpected|last) status:? 40[123]\b|quota exceeded", re.IGNORECASE)
_TRANSIENT = re.compile(
    r"stream disconnected before completion|unexpected status (?:429|5[0-9]{2})\b"
    r"|request timed out|error sending request|exceeded retry limit|connection failed"
    r"|error while reading the server response|at capacity|experiencing high demand",
    re.IGNORECASE,
)
#: Items that the agent writes, its tools' results among them.
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
#: What stands at the beginning or at the end of a turn.
_BORDERS = frozenset({What.TURN_BEGUN, What.END, What.LIMIT, What.TURN_OVER})
_SAID = frozenset({"agent_message", "agent_reasoning"})
_CALLS = frozenset({"function_call", "custom_tool_call", "local_shell_call"})
_QUESTION = "request_user_input"


class Codex(Agent):
    """Codex."""

    name = "codex"
    programs = frozenset({"codex", "codex.js"})
    home_variable = "CODEX_HOME"
    own_variables = frozenset({"CODEX_SANDBOX", "CODEX_SANDBOX_NETWORK_DISABLED"})
    home_name = ".codex"
    #: Compressed rollouts (``.jsonl.zst``) are old ones.
    transcripts = "sessions/[0-9]*/[0-9]*/[0-9]*/rollout-*.jsonl"
    preset = ("exec", "resume", "--skip-git-repo-check", "{id}", "{prompt}")
    queue_preset = ("queue", "--thread", "{id}", "--message", "{prompt}")

    def directory(self, transcript: Transcript) -> object:
        """Return the directory of the newest turn."""
        turns = transcript.last(lambda line: b'"turn_context"' in line)
        newest = next((turn for turn in turns if _type(turn) == "turn_context"), None)
        return None if newest is None else _payload(newest).get("cwd")

    def is_own(self, transcript: str, session: Identity) -> bool:
        """Return whether a rollout is named by its session."""
        return transcript.endswith(f"-{session.id}.jsonl")

    def is_wanted(self, line: bytes) -> bool:
        """Return cheaply whether a line may hold a meaningful record."""
        return b'"event_msg"' in line or b'"response_item"' in line

    def identity(self, records: Iterable[Record]) -> Identity | None:
        """Return the session of the first record; a sub-agent's rollout has none."""
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

    def step(self, record: Record, local: tzinfo | None) -> Step | None:
        """Return what a record reports; figures that are all null report nothing."""
        return _unparsed(record) if record.value is None else _step(record, local)

    def verdict(self, steps: Iterable[Step]) -> Verdict:
        """
        Judge by the newest step of a turn's life; a prompt since then begins a turn.

        Work without such a step is the middle of a turn whose beginning is out of reach.
        """
        rest = iter(steps)
        newest: Step | None = None
        asked = False
        for step in islice(rest, _DEPTH):
            match step.what:
                case What.FIGURES:
                    continue
                case What.TURN_BEGUN:
                    return (newest or step).verdict()
                case What.END | What.LIMIT | What.TURN_OVER:
                    if newest is not None and asked and step.kind is not Kind.USER:
                        return newest.verdict()
                    return _ended(step, rest).verdict()
                case What.PROMPT:
                    asked = True
            newest = newest or step
        return UNREAD if newest is None else newest.verdict()

    def growth(self, home: str, session: Identity, transcript: str) -> Growth:
        """Return the growth of the rollout and of its sub-agents' rollouts of the newest day."""
        walk = files.Walk(lambda _: None, files.Bounds(directory=_SUBAGENTS))
        found = walk.files(_newest_day(os.path.join(home, "sessions")), "rollout-*.jsonl")
        stamps = [
            (path, status.st_size, status.st_mtime_ns)
            for path, status in filter(None, found)
            if path != transcript and _parent(path) == session.id
        ]
        return growth_of(self.stamp(transcript), stamps)

    def owners(self, home: str, snapshot: Snapshot) -> Locks:
        """Read the locks that living processes hold."""
        return Locks(home, snapshot)


def _parent(transcript: str) -> str | None:
    """Return the id of the session whose sub-agent has a rollout; None if no sub-agent has it."""
    try:
        meta = _meta(transcript)
    except OSError:
        return None
    subagent = mapping(mapping(meta.get("source")).get("subagent"))
    parent = mapping(subagent.get("thread_spawn")).get("parent_thread_id")
    return parent if isinstance(parent, str) else None


@lru_cache(maxsize=_SUBAGENTS)
def _meta(transcript: str) -> dict[str, object]:
    """
    Return what the first record of a rollout says of its session.

    :raises OSError: if it cannot be read.
    """
    with opened(transcript) as file:
        first = next(file.first(), None)
    if first is None or first.value is None:
        beginning = b"" if first is None else first.beginning
        return {name: field(beginning, name) for name in ("source", "originator")}
    return mapping(first.value.get("payload"))


def _newest_day(directory: str) -> str:
    """Return the newest of the directories by year, month and day."""
    for _ in range(3):
        try:
            directory = os.path.join(directory, max(files.names_in(directory, _SUBAGENTS)))
        except (OSError, ValueError):
            break
    return directory


class Locks(Owners):
    """
    Which sessions have a living process, by its lock and by the processes.

    A server (``codex app-server``) runs the sessions of several directories and stays in its
    first one, so its directory proves nothing. It locks its sessions since 0.150. One of an
    editor's may have a session that has no lock.
    """

    def __init__(self, home: str, snapshot: Snapshot) -> None:
        super().__init__(snapshot)
        self._home = home

    def witnessed(self, session: Identity, transcript: str) -> Witness:
        """
        Return what has a session, by the processes in its directory, or else by its lock.

        Only the lock proves that an interactive program has this very session.
        """
        running = self.snapshot.running(
            Codex.programs, session.directories, transcript, leave_out=_is_server
        )
        lock = os.path.join(self._home, "thread-writer-locks", f"{session.id}.lock")
        holder = self.snapshot.holder(lock, Codex.programs)
        if holder.pid is not None and self._is_server(holder.pid):
            holder = replace(holder, owner=Owner.SERVER, program=_SERVER, terminal=None)
        if holder.lives and self._is_taking_messages(holder):
            return replace(self._terminal_of(holder, session), is_interactive=True)
        if running.lives:
            return running
        unlocked = NOTHING if os.path.lexists(lock) else self._without_lock(transcript)
        return strongest((holder, running, unlocked))

    def _terminal_of(self, holder: Witness, session: Identity) -> Witness:
        """Return the program that a person knows, if a server runs its turns, else the holder."""
        if holder.terminal is not None:
            return holder
        found = [
            each
            for each in self.snapshot.named(Codex.programs)
            if each.is_ours
            and _is_terminal(each)
            and any(self.snapshot.is_in(each, directory) for directory in session.directories)
        ]
        # Of several, nobody knows which one it is; the last of one is no interpreter's.
        return Witness.of(found[-1]) if len({each.terminal for each in found}) == 1 else holder

    def _is_taking_messages(self, holder: Witness) -> bool:
        """Return whether the holder of a lock is interactive; not every system names it."""
        if holder.pid is not None:
            process = self.snapshot.process(holder.pid)
            return process is not None and process.is_ours and _is_interactive(process)
        found = [each for each in self.snapshot.named(Codex.programs) if each.is_ours]
        return bool(found) and all(map(_is_interactive, found))

    def is_queued(self, session: Identity) -> bool | None:
        """Return whether a message waits for a session in the queue, as this look found it."""
        return None if self._queued is None else session.id in self._queued

    @cached_property
    def _queued(self) -> frozenset[object] | None:
        """The ids of the sessions for which messages wait; None if they are unknown."""
        try:
            names = files.names_in(self._home, files.BOUNDS.directory)
            if any(_OTHER_QUEUE.fullmatch(name) for name in names):
                return None
            with database.opened(os.path.join(self._home, _QUEUE)) as opened:
                opened.check(_QUEUE_TABLES)
                rows = opened.rows(_QUEUED, _QUEUED_LIMIT)
        except database.Missing:
            return frozenset() if any(map(_BESIDE_QUEUE.fullmatch, names)) else None
        except (database.Unreadable, OSError):
            return None
        return None if len(rows) == _QUEUED_LIMIT else frozenset(row[0] for row in rows)

    def _without_lock(self, transcript: str) -> Witness:
        """Return what has a session that has no lock."""
        found = self.snapshot.named(Codex.programs)
        servers = [process for process in found if process.is_ours and _is_server(process)]
        for process in servers:
            server = Witness(Owner.SERVER, process.pid, _SERVER)
            if self.snapshot.writes_to(process, transcript):
                return server
            if process.files is None or self.snapshot.writes_to(process, transcript) is None:
                return Witness.unknown(f"{server.who}, may have it")
        if _is_editors(transcript):
            for process in found:
                if process.is_ours:
                    who = Witness.of(process).who
                    return Witness.unknown(f"an editor's server may have it: {who}")
        return NOTHING

    def _is_server(self, pid: int) -> bool:
        process = self.snapshot.process(pid)
        return process is not None and _is_server(process)


def _is_server(process: Process) -> bool:
    # Its arguments follow the program's name, or an interpreter's and the program's.
    return "app-server" in process.arguments[1:3]


def _is_terminal(process: Process) -> bool:
    """Return whether a process is Codex at a terminal, with a person before it."""
    return process.terminal is not None and _NOT_INTERACTIVE.isdisjoint(process.arguments)


def _is_interactive(process: Process) -> bool:
    """Return whether a process is Codex at a terminal, or its server."""
    return _is_terminal(process) or (_is_server(process) and _MANAGED in process.arguments)


def _is_editors(transcript: str) -> bool:
    """Return whether an editor has begun a session, or may have."""
    try:
        meta = _meta(transcript)
    except OSError:
        return True
    return meta.get("source") == "vscode" and meta.get("originator") != "codex-tui"


def _ended(end: Step, behind: Iterator[Step]) -> Step:
    """
    Return the end of a turn; if a window was full in this turn, it is a limit until its reset.

    The figures of earlier turns say nothing about this one.
    """
    if end.what is What.END:
        return end
    for step in islice(behind, _DEPTH):
        if step.what is What.COMPACTED and end.what is What.TURN_OVER:
            break  # that was all the turn was for
        if step.what is What.FIGURES:
            reset = stated(step.reset, end.at)
            if reset is None:
                return end
            return replace(end, kind=Kind.LIMIT, reset=reset, window=step.window)
        if step.what in _BORDERS:
            break
    return end


def _unparsed(record: Record) -> Step | None:
    """Return what a record reports that is too long to be parsed: nothing but an item is."""
    if field(record.beginning, "type") not in ("response_item", "event_msg", None):
        return None
    worked = any(b'"%s"' % name.encode() in record.beginning for name in _WORK)
    return Step(What.WORK, _key(record), _at(record), progress=worked)


def _step(record: Record, local: tzinfo | None) -> Step | None:
    """Return what an event or an item reports; None for every other record."""
    payload = _payload(record)
    name = payload.get("type")
    if not isinstance(name, str) or _type(record) not in ("event_msg", "response_item"):
        return None
    key, at = _key(record), _at(record)
    if name == "token_count":
        return _figures(payload, key, at)
    if _is_compaction(payload):
        return Step(What.COMPACTED, key, at)
    if name == "task_started":
        return Step(What.TURN_BEGUN, key, at)
    if name == "turn_aborted":
        return Step(What.END, key, at, Kind.USER)
    if name == "task_complete":
        if error := payload.get("error"):
            return _failure(mapping(error), key, at, local)
        if payload.get("last_agent_message") is None:
            # So versions before 0.146 end a turn at a limit too.
            return Step(What.TURN_OVER, key, at, Kind.FINISHED)
        return Step(What.END, key, at, Kind.FINISHED, progress=True)
    if _is_prompt(payload):
        return Step(What.PROMPT, key, at, prompt=_prompt(payload))
    asking = name == "function_call" and payload.get("name") == _QUESTION
    worked = name in _WORK or name in _SAID
    worked |= name == "message" and payload.get("role") == "assistant"
    kind = Kind.ASKING if asking else None
    return Step(What.WORK, key, at, kind, progress=worked, calling=name in _CALLS)


def _figures(payload: dict[str, object], key: str, at: float | None) -> Step | None:
    """
    Return the latest reset among the windows that are full; None if no figures are stated.

    The last record of this kind may have none at all (saaranshM/unsnooze#20).
    """
    limits = mapping(payload.get("rate_limits"))
    windows = [mapping(limits.get(name)) for name in ("primary", "secondary")]
    if all(number(window.get("resets_at")) is None for window in windows):
        return None
    full = [
        number(w.get("resets_at")) for w in windows if (number(w.get("used_percent")) or 0) >= FULL
    ]
    latest = max((reset for reset in full if reset is not None), default=None)
    # Some models have a limit of their own beside that of all: this names the limit.
    window = limits.get("limit_id")
    return Step(
        What.FIGURES, key, at, reset=latest, window=window if isinstance(window, str) else None
    )


def _failure(error: dict[str, object], key: str, at: float | None, local: tzinfo | None) -> Step:
    """
    Return what an error at the end of a turn means.

    The code of a limit also stands for a plan that is used up, which no waiting cures: it is a
    limit if a reset is stated, or the text says to try again (saaranshM/unsnooze#28).
    """
    info, detail = error.get("codex_error_info"), None
    if isinstance(info, dict) and len(info) == 1:
        info, detail = next(iter(info.items()))
    message = error.get("message")
    text = message[:TEXT_LIMIT] if isinstance(message, str) else ""
    if info == _LIMIT:
        if _NOT_INCLUDED.search(text):
            return Step(What.END, key, at, Kind.REFUSED)
        reset = reset_in(text, at, local)
        waits = reset is not None or _LATER.search(text) is not None
        return Step(What.LIMIT, key, at, Kind.LIMIT if waits else Kind.REFUSED, reset)
    kind = _ERRORS.get(info) if isinstance(info, str) else None
    if isinstance(info, str) and info in _CONNECTION:
        status = mapping(detail).get("http_status_code")
        kind = _STATUSES.get(status, Kind.TRANSIENT) if isinstance(status, int) else Kind.TRANSIENT
    if kind is None and info in ("other", None):
        if _REFUSED.search(text):
            kind = Kind.REFUSED
        elif _TRANSIENT.search(text):
            kind = Kind.TRANSIENT
    return Step(What.END, key, at, kind or Kind.UNKNOWN)


def _is_compaction(payload: dict[str, object]) -> bool:
    """Return whether an event says that the context has been made shorter."""
    name, item = payload.get("type"), mapping(payload.get("item"))
    return name == "context_compacted" or (
        name == "item_completed" and item.get("type") == "ContextCompaction"
    )


def _is_prompt(payload: dict[str, object]) -> bool:
    """Return whether a record holds a person's prompt, not what Codex says in their name."""
    if payload.get("type") == "user_message":
        return True
    if payload.get("type") != "message" or payload.get("role") != "user":
        return False
    text = _first(payload).get("text")
    return not (isinstance(text, str) and text.lstrip().startswith(("<", "# AGENTS.md")))


def _prompt(payload: dict[str, object]) -> str | None:
    """Return the text of a prompt; None if it is not plain text."""
    first = _first(payload)
    text = first.get("text") if first else payload.get("message")
    return text[:TEXT_LIMIT] if isinstance(text, str) else None


def _first(payload: dict[str, object]) -> dict[str, object]:
    """Return the first part of a message's content; empty if there is none."""
    content = payload.get("content")
    return mapping(content[0]) if isinstance(content, list) and content else {}


def _type(record: Record) -> object:
    return mapping(record.value).get("type")


def _payload(record: Record) -> dict[str, object]:
    return mapping(mapping(record.value).get("payload"))


def _at(record: Record) -> float | None:
    if record.value is None:
        return timestamp(field(record.beginning, "timestamp"))
    return timestamp(record.value.get("timestamp"))


def _key(record: Record) -> str:
    at = _at(record)
    return f"@{record.end}" if at is None else f"{at:.3f}@{record.end}"
