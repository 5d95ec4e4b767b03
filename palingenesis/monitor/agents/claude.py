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
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import tzinfo
from functools import partial

from palingenesis.monitor import files
from palingenesis.monitor.agents import claude_screen
from palingenesis.monitor.agents.agent import UNREAD, Agent, InputLine, Step, What
from palingenesis.monitor.owners import NOTHING, Owners, Snapshot, Witness, strongest
from palingenesis.monitor.processes import Process, look_at
from palingenesis.monitor.resets import reset_in, stated
from palingenesis.monitor.sessions import Identity, Verdict, identified
from palingenesis.monitor.tmux import Doubt
from palingenesis.monitor.transcript import (
    TEXT_LIMIT,
    Growth,
    Record,
    cost_of,
    field,
    growth_of,
    mapping,
    number,
    opened,
    timestamp,
)
from palingenesis.text import NAME_LIMIT, in_short, printable
from palingenesis.words import Kind, Owner

#: Files of sub-agents that are looked at for growth.
_SUBAGENTS = 1000
#: Names in the registry, entries of the dead that are read, jobs, and bytes of one of them.
_ENTRIES = 20_000
_DEAD_ENTRIES = 100
_JOBS = 1000
_ENTRY_SIZE = 64 * 1024
#: What it may take to parse such a file; see `cost_of`.
_FILE_COST = 4 * _ENTRY_SIZE
#: Characters of a directory that are in the name of its folder; of more, a hash follows.
_FOLDER_LIMIT = 200
_NO_NAME = re.compile(r"[^A-Za-z0-9]")

_QUESTIONS = frozenset({"AskUserQuestion", "ExitPlanMode"})
_INTERRUPTED = frozenset(
    {"[Request interrupted by user]", "[Request interrupted by user for tool use]"}
)
#: A line of the history that holds nothing but a command to leave, or to begin a new session.
_LEAVING = re.compile(rb'"display"\s*:\s*"\s*/(?:exit|quit|clear|reset|new)\s*"')
_EXIT = re.compile(r"<command-name>\s*/(?:exit|quit)\s*</command-name>")
#: What a person does without the model: the output of a command, and the command itself.
_OUTPUT = re.compile(r"\s*<(?:local-command-(?:stdout|stderr|caveat)|bash-(?:input|std\w+))>")
_COMMAND = re.compile(r"\s*<command-(?:name|message)>")
#: The result of a tool that the program kills when it ends itself, or by a signal.
_KILLED = re.compile(r"\s*(?:Error: )?Exit code 1(?:37|43)\b")
#: What the program notes about going on by itself when a limit ends.
_CONTINUING = ("Usage limit reset", "Usage limit available again")
#: What it notes when it does not. Any other notice behind a limit says that it does: its words
#: can be changed from afar.
_STAYING = re.compile(
    r"Press enter to continue|will not resume on its own|did not resume on its own"
    r"|Automatic continue (?:stopped|was turned off)",
    re.IGNORECASE,
)
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
    "model_not_found": Kind.REFUSED,
}
#: What an error is in detail: it says more than its code.
_DETAILS = {
    **dict.fromkeys(
        (
            "api_key_auth_disabled",
            "consent_unanswered",
            "invalid_credential_header",
            "long_context_credits_required",
            "model_requires_usage_credits",
            "network_edge_blocked",
            "no_allowed_fallback",
            "oauth_refresh_store_refused",
            "org_disabled_credential",
            "provider_credentials",
            "stored_login_refused",
        ),
        Kind.REFUSED,
    ),
    **dict.fromkeys(("autocompact_thrashing", "message_over_context_limit"), Kind.CONTEXT),
    **dict.fromkeys(("empty_completion", "no_response", "stream_idle_timeout"), Kind.TRANSIENT),
}
_STATUSES = {
    **dict.fromkeys((401, 402, 403), Kind.REFUSED),
    413: Kind.CONTEXT,
    **dict.fromkeys((*range(500, 505), 529), Kind.TRANSIENT),
}
_CONTEXT = re.compile(r"prompt is too long|context window limit", re.IGNORECASE)
#: What ``waitingFor`` of the registry says of a permission (2.1.150 to 2.1.332).
_PERMISSIONS = frozenset({"permission prompt", "sandbox request", "worker request"})
#: A limit that no waiting cures, unless a reset is stated beside it.
_REFUSED = re.compile(
    r"out of usage|monthly spend limit|credit balance is too low|not logged in"
    r"|oauth (?:access )?token has expired|extra usage is required|seat type doesn.t include"
    r"|requires? usage credits|usage credits required|API Error: 40[123]\b",
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
#: What may stand between the end of a turn and a notice behind it.
_NOTES = frozenset({What.TURN_OVER, What.GOES_ON, What.STAYS})
_BESIDE = _NOTES | {What.OUTPUT, What.LOCAL}


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
    wanted = re.compile(rb'"type"\s*:\s*"(?:assistant|user|system|continued-in)"')
    preset = ("-p", "--resume", "{id}", "{prompt}")

    def identity(self, records: Iterable[Record]) -> Identity | None:
        """Return the session of the first record that names one; a sub-agent's file has none."""
        for record in records:
            session, directory, sidechain = (
                _value(record, name) for name in ("sessionId", "cwd", "isSidechain")
            )
            if session is not None and directory is not None:
                return None if sidechain is True else identified(session, directory)
        return None

    def step(self, record: Record, local: tzinfo | None) -> Step | None:
        """
        Return what a record reports.

        Left out are the records of sub-agents, retries (``api_error``), compactions, and what
        the program writes itself when a session is resumed ("No response requested.") or when
        it ends in the middle of a turn.
        """
        return None if _is_skipped(record) else _step(record, local)

    def verdict(self, steps: Iterable[Step]) -> Verdict:
        """
        Judge by the newest step that is not what a person did without the model.

        Older versions may write a prompt after its error: then the error, which is younger by
        its timestamp, decides. A notice of the program's, such as that of a sub-agent's end,
        begins a turn, and does not change how a turn before it failed or was ended.
        """
        turn_over = printed = False
        goes_on: bool | None = None
        notice: Step | None = None
        rest = iter(steps)
        for step in rest:
            if step.what is What.NOTICE:
                notice = notice or step
                continue
            if notice is not None and step.what not in _BESIDE:
                failed = step.kind is not None and not step.progress
                return (step if failed else notice).verdict()
            match step.what:
                case What.GOES_ON | What.STAYS if goes_on is None:
                    goes_on = step.what is What.GOES_ON
                case What.GOES_ON | What.STAYS:
                    pass
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
                    verdict = step.verdict()
                    return replace(verdict, goes_on=verdict.kind is Kind.LIMIT and bool(goes_on))
        return UNREAD if notice is None else notice.verdict()

    def growth(self, home: str, session: Identity, transcript: str) -> Growth:  # noqa: ARG002
        """Return the growth of the transcript and of the sub-agents' files beside it."""
        below = os.path.join(os.path.dirname(transcript), session.id, "subagents")
        walk = files.Walk(lambda _: None, files.Bounds(directory=_SUBAGENTS))
        found = [each for each in walk.files(below, "*.jsonl") if each is not None]
        stamps = [(path, status.st_size, status.st_mtime_ns) for path, status in found]
        return growth_of(self.stamp(transcript), stamps)

    def is_own(self, transcript: str, session: Identity) -> bool:
        """Return whether a transcript is named by its session, in a folder of its directory's."""
        folder, name = os.path.split(transcript)
        if name != f"{session.id}.jsonl":
            return False
        # Of characters beyond U+FFFF, each of the two UTF-16 units is replaced.
        expected = _NO_NAME.sub(
            lambda found: "--" if found[0] > "\uffff" else "-", session.directory
        )
        found = os.path.basename(folder)
        if len(expected) <= _FOLDER_LIMIT:
            return found == expected
        return found.startswith(f"{expected[:_FOLDER_LIMIT]}-")

    def owners(self, home: str, snapshot: Snapshot) -> Registry:
        """Read the registry of living processes."""
        return Registry(home, snapshot, self.programs)

    def input_line(self, home: str, session: Identity) -> InputLine:
        """Return the input line of the one program that says it is idle in a session."""
        entry, process = _only(home, session)
        if entry.status != "idle":
            status = printable(entry.status or "unknown", NAME_LIMIT)
            raise Doubt(f"it does not say that it is idle (its status: {status})")
        if entry.kind not in (None, "interactive"):
            raise Doubt("it is a session in the background")
        vim = claude_screen.uses_vim(home, session.directories, process.arguments)
        return InputLine(
            entry.pid,
            process.start or "",
            partial(claude_screen.doubt_of_empty, vim=vim),
            partial(claude_screen.doubt_of_typed, vim=vim),
        )


@dataclass(frozen=True, slots=True)
class Entry:
    """
    What Claude Code writes of one of its processes, in ``sessions/<pid>.json``.

    The file is removed when the program exits, and left behind by a kill.

    :ivar start: when the process started: field 22 of proc_pid_stat(5), or on macOS a date in
        UTC; None if the entry does not say.
    :ivar kind: whether it is on a terminal or in the background.
    """

    pid: int
    session: str | None = None
    directory: str | None = None
    start: str | None = None
    status: str | None = None
    kind: str | None = None
    waiting_for: str | None = None


class Registry(Owners):
    """
    Which sessions have a living process, by the registry, the supervisor and the processes.

    ``/resume`` inside the program may leave an old session in an entry
    (anthropics/claude-code#37737), so an entry with the session's directory counts as well.

    The supervisor of the sessions in the background starts the process of each one again, some
    seconds after it has ended, until its job is stopped.

    :param home: the home, whose ``history.jsonl`` has what was typed: most sessions that are left
        by ``/exit`` have no record of it in their transcripts.
    :param programs: the names of the program; see `Agent`.
    """

    def __init__(self, home: str, snapshot: Snapshot, programs: frozenset[str]) -> None:
        super().__init__(snapshot)
        self._programs = programs
        self._home = home
        self._directory = os.path.join(home, "sessions")
        self._exits: dict[str, float] | None = None
        self._asking: dict[str, str | None] | None = None
        self._dead: list[int] = []
        self._living: list[tuple[Entry, Process]] = []
        self._every_job: list[Job] | None = None
        self._doubt: Witness = NOTHING
        self._read_living()
        self._supervisor = self._living_supervisor()

    def witnessed(self, session: Identity, transcript: str) -> Witness:
        """Return what has a session, by an entry, the supervisor, or a process's directory."""
        for entry, process in self._living:
            if session.id == entry.session or self._is_in(entry, session):
                return Witness.of(process)
        running = self.snapshot.running(
            self._programs, session.directories, transcript, leave_out=_is_supervisor
        )
        return strongest((running, self._supervised(session), self._doubt))

    def is_asking(self, session: Identity) -> bool:
        """Return whether the session's process said last that it waits for a person."""
        return session.id in self._waiting()

    def wants_permission(self, session: Identity) -> bool:
        """Return whether what the session's process waits for is a permission."""
        return self._waiting().get(session.id) in _PERMISSIONS

    def _waiting(self) -> dict[str, str | None]:
        """Return for what the processes of sessions wait, by the session's id."""
        if self._asking is None:
            entries = [entry for entry, _ in self._living]
            entries += filter(None, map(self._entry_of_the_dead, self._newest_dead()))
            self._asking = {
                each.session: each.waiting_for
                for each in entries
                if each.session and each.status == "waiting"
            }
        return self._asking

    def has_left(self, session: Identity, since: float) -> bool:
        """
        Return whether a session was left after its last record.

        That is by a command that was typed in it, or by ``claude stop``.
        """
        if self._exits is None:
            self._exits = _exits(os.path.join(self._home, "history.jsonl"))
        if self._exits.get(session.id, since) > since:
            return True
        job = self._job(session.id[:8])
        return job is not None and job.is_of(session) and job.stopped and job.at > since

    def _is_in(self, entry: Entry, session: Identity) -> bool:
        return entry.directory is not None and any(
            self.snapshot.is_same(entry.directory, each) for each in session.directories
        )

    def _read_living(self) -> None:
        """Read the entries of the processes that live."""
        try:
            names = files.names_in(self._directory, _ENTRIES)
        except FileNotFoundError:
            return
        except OSError as error:
            self._doubt = Witness.unknown(f"{self._directory} cannot be read: {in_short(error)}")
            self.warnings.append(f"{self._doubt.reason}; no session of this home is revived")
            return
        for name in names:
            if (pid := _pid_in(name)) is None:
                continue
            process = self.snapshot.process(pid)
            if process is None:
                self._dead.append(pid)
                continue
            path = os.path.join(self._directory, name)
            try:
                entry = _entry(path, process.pid)
            except FileNotFoundError:
                continue
            except (OSError, ValueError, RecursionError):
                self._cannot_read(path, process)
                continue
            if self.snapshot.is_alive(entry.pid, entry.start):
                self._living.append((entry, process))

    def _cannot_read(self, path: str, process: Process) -> None:
        """Note an entry of a living process that says nothing."""
        if self._programs.isdisjoint(process.names):
            self.warnings.append(f"{path} cannot be read; it is ignored: its process is no agent's")
        else:
            self._doubt = Witness.unknown(f"{path} cannot be read, and its process lives")
            self.warnings.append(f"{self._doubt.reason}; no session of this home is revived")

    def _newest_dead(self) -> list[int]:
        times = []
        for pid in self._dead:
            try:
                times.append((os.lstat(self._path(pid)).st_mtime, pid))
            except OSError:
                continue
        return [pid for _, pid in sorted(times, reverse=True)[:_DEAD_ENTRIES]]

    def _path(self, pid: int) -> str:
        return os.path.join(self._directory, f"{pid}.json")

    def _entry_of_the_dead(self, pid: int) -> Entry | None:
        """Read an entry whose process does not live, if that waited for a person."""
        try:
            with files.opened(self._path(pid)) as descriptor:
                if b'"waiting"' not in os.read(descriptor, _ENTRY_SIZE):
                    return None
            return _entry(self._path(pid), pid)
        except (OSError, ValueError, RecursionError):
            return None

    def _living_supervisor(self) -> Witness | None:
        """Return the supervisor if it lives; it may if its file cannot be read."""
        path = os.path.join(self._home, "daemon.status.json")
        try:
            value = _object(path)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError):
            return Witness.unknown(f"{path} cannot be read")
        pid, start = value.get("supervisorPid"), value.get("supervisorProcStart")
        if not isinstance(pid, int) or isinstance(pid, bool) or not 0 < pid < 2**31:
            return None
        if not self.snapshot.is_alive(pid, str(start) if start else None):
            return None
        return Witness(Owner.SERVER, pid, "Claude's supervisor")

    def _supervised(self, session: Identity) -> Witness:
        """Return whether the supervisor would start a session's process again."""
        if self._supervisor is None:
            return NOTHING
        jobs = self._jobs()
        if jobs is None:
            return Witness.unknown(f"{os.path.join(self._home, 'jobs')} cannot be read")
        if any(job.is_of(session) and not job.stopped for job in jobs):
            return self._supervisor
        return NOTHING

    def _jobs(self) -> list[Job] | None:
        """Return the jobs of the supervisor; None if they cannot be listed."""
        if self._every_job is None:
            try:
                names = files.names_in(os.path.join(self._home, "jobs"), _JOBS)
            except FileNotFoundError:
                names = []
            except OSError:
                return None
            self._every_job = [job for job in map(self._job, names) if job is not None]
        return self._every_job

    def _job(self, name: str) -> Job | None:
        """Read a job of the supervisor's, ``jobs/<name>/state.json``; None if there is none."""
        path = os.path.join(self._home, "jobs", name, "state.json")
        try:
            value = _object(path)
            written = os.lstat(path).st_mtime
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError, RecursionError):
            return Job(name)
        if value.get("backend") not in ("daemon", None):
            return None
        sessions = [value.get(key) for key in ("sessionId", "resumeSessionId")]
        return Job(
            name,
            frozenset(each for each in sessions if isinstance(each, str)),
            value.get("state") == "stopped",
            timestamp(value.get("updatedAt")) or written,
        )


@dataclass(frozen=True, slots=True)
class Job:
    """
    A session in the background, as its supervisor has it.

    :ivar name: the first eight characters of the session's id.
    :ivar sessions: the ids that it names: its own, and that of the session it goes on with.
    :ivar at: when its state was written, in seconds since the epoch.
    """

    name: str
    sessions: frozenset[str] = frozenset()
    stopped: bool = False
    at: float = 0.0

    def is_of(self, session: Identity) -> bool:
        """Return whether it is a session's."""
        return session.id in self.sessions or (
            not self.sessions and session.id.startswith(self.name)
        )


def _is_supervisor(process: Process) -> bool:
    # It stays in the directory in which the first session in the background was started.
    return process.arguments[1:3] == ("daemon", "run")


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


def _object(path: str) -> dict[str, object]:
    """
    Read a file of one JSON object.

    :raises OSError: if it cannot be read.
    :raises ValueError: if it holds no object, or more than `_ENTRY_SIZE` bytes.
    """
    with files.opened(path) as descriptor:
        content = os.read(descriptor, _ENTRY_SIZE + 1)
    fits = len(content) <= _ENTRY_SIZE and cost_of(content) <= _FILE_COST
    value = json.loads(content) if fits else None
    if not isinstance(value, dict):
        raise ValueError(f"{path}: no JSON object")
    return value


def _pid_in(name: str) -> int | None:
    """Return the pid of the process whose entry has this name; None if it is no entry's."""
    stem, extension = os.path.splitext(name)
    fits = extension == ".json" and stem.isascii() and stem.isdigit() and len(stem) < 10
    return int(stem) if fits else None


def _entry(path: str, pid: int) -> Entry:
    """
    Read an entry.

    :raises OSError: if it cannot be read.
    :raises ValueError: if it names neither a session nor a directory.
    """
    entry = _object(path)
    session, directory, status, kind, waiting_for = (
        given if isinstance(given := entry.get(name), str) else None
        for name in ("sessionId", "cwd", "status", "kind", "waitingFor")
    )
    if not session and not directory:
        raise ValueError(f"{path}: names no session")
    # A number of ticks on Linux, a date in UTC on macOS.
    start = str(entry["procStart"]) if entry.get("procStart") else None
    return Entry(pid, session, directory, start, status, kind, waiting_for)


def _only(home: str, session: Identity) -> tuple[Entry, Process]:
    """
    Return the entry of the one living process that has a session, and the process.

    :raises Doubt: if there is none, or there are several.
    """
    directory = os.path.join(home, "sessions")
    found = []
    try:
        for name in files.names_in(directory, _ENTRIES):
            if (pid := _pid_in(name)) is None or (process := look_at(pid)) is None:
                continue
            with suppress(FileNotFoundError):
                entry = _entry(os.path.join(directory, name), pid)
                if entry.session == session.id and entry.start == process.start:
                    found.append((entry, process))
    except (OSError, ValueError, RecursionError):
        raise Doubt(f"{directory} cannot be read") from None
    if len(found) != 1:
        raise Doubt("several programs have it" if found else "its program is not in the registry")
    return found[0]


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
    if _is_notice(value) and value.get("queueTranscriptOnly") is True:
        return True  # the model does not get it
    return value.get("isCompactSummary") is True or _at_the_end(value)


def _at_the_end(value: dict[str, object]) -> bool:
    """Return whether the program writes a record for its own end: a killed tool's, as a rule."""
    if value.get("interruptedByShutdown") is True:
        return True
    # A tool that was killed otherwise is followed by more, unless the program ends.
    blocks = [mapping(block) for block in _blocks(_message(value))]
    results = [block.get("content") for block in blocks if block.get("type") == "tool_result"]
    words = (value.get("toolUseResult"), *results)
    return bool(results) and any(isinstance(w, str) and _KILLED.match(w) for w in words)


def _in_order(prompt: Step, older: Iterator[Step]) -> Step:
    """Return what came last: a prompt, or the end of a turn that stands before it in the file."""
    for step in older:
        if step.key == prompt.parent:
            return prompt
        if step.what in _NOTES:
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
        figures = mapping(value.get("quotaLimits"))
        window = figures.get("rateLimitType")
        return Step(
            What.END,
            key,
            at,
            kind,
            reset,
            spends=figures.get("isUsingOverage") is True,
            window=window if isinstance(window, str) else None,
        )
    return _reply(_message(value), key, at)


def _of_the_program(
    record: Record, key: str, at: float | None, local: tzinfo | None
) -> Step | None:
    """Return what a ``system`` record reports."""
    subtype = _value(record, "subtype")
    if subtype == "turn_duration":
        return Step(What.TURN_OVER, key, at)
    content = None if record.value is None else record.value.get("content")
    words = content[:TEXT_LIMIT] if isinstance(content, str) else ""
    if subtype == "informational":
        if words.startswith(_CONTINUING):
            return Step(What.TURN_BEGUN, key, at)
        # Cancelled by Esc, or by leaving the program while it waited for the reset.
        if _CANCELLED.search(words):
            return Step(What.END, key, at, Kind.USER)
        return Step(What.STAYS if _STAYING.search(words) else What.GOES_ON, key, at)
    if subtype != "local_command":
        return None
    if _COMPACTION in words and _HIT.search(words):
        return Step(What.END, key, at, Kind.LIMIT, reset_in(words, at, local))
    return _without_the_model(words, key, at) or Step(What.LOCAL, key, at)


def _of_a_person(value: dict[str, object], key: str, at: float | None) -> Step:
    """Return what a ``user`` record reports: words of a person's, or a tool's result."""
    message = _message(value)
    content = value.get("content")
    words = content[:TEXT_LIMIT] if isinstance(content, str) else _text(message)
    result = any(mapping(block).get("type") == "tool_result" for block in _blocks(message))
    # A resume itself writes the result of a call that was interrupted.
    worked = result and "toolDenialKind" not in value
    if (step := _without_the_model(words, key, at)) is not None:
        return replace(step, progress=worked)
    interrupted = "interruptedMessageId" in value or words.strip() in _INTERRUPTED
    kind = Kind.USER if interrupted else None
    if _is_notice(value):
        return Step(What.NOTICE, key, at)
    what = What.COMMAND if _COMMAND.match(words) else What.WORK if result else What.PROMPT
    parent = value.get("parentUuid")
    return Step(
        what,
        key,
        at,
        kind,
        progress=worked,
        parent=parent if isinstance(parent, str) else None,
        prompt=words if what is What.PROMPT else None,
        # One that was typed says so.
        typed=value.get("promptSource") not in (None, "sdk"),
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
    error, detail = value.get("error"), value.get("apiError")
    kind = _DETAILS.get(detail) if isinstance(detail, str) else None
    if kind is not None:
        return kind, None
    kind = _ERRORS.get(error) if isinstance(error, str) else None
    figures = mapping(value.get("quotaLimits"))
    # Those of a limit that is not reached stand beside other errors.
    reached = figures.get("status") in (None, "rejected")
    reset = stated(number(figures.get("resetsAt")), at) if reached else None
    if kind is Kind.LIMIT and reset is None and _is_busy(value, text):
        return Kind.TRANSIENT, None
    if reset is None:
        reset = reset_in(text, at, local)
    if _CONTEXT.search(text):
        # A compaction that failed at a limit works when the limit ends.
        return (Kind.LIMIT, reset) if _HIT.search(text) else (Kind.CONTEXT, None)
    if kind is Kind.LIMIT and reset is not None:
        return Kind.LIMIT, reset
    if kind is Kind.REFUSED or value.get("resendCannotCure") is True:
        return Kind.REFUSED, None
    if kind is None and reset is not None and _LIMIT.search(text):
        return Kind.LIMIT, reset
    if _REFUSED.search(text):
        return Kind.REFUSED, None
    if kind is None:
        kind = _by_status(value)
    if kind is None and error in (None, "unknown") and _TRANSIENT.search(text):
        kind = Kind.TRANSIENT
    return kind or Kind.UNKNOWN, None


def _is_busy(value: dict[str, object], text: str) -> bool:
    """Return whether the server is busy: that is not the limit of an account."""
    return value.get("apiErrorIsTransient") is True or _BUSY.search(text) is not None


def _by_status(value: dict[str, object]) -> Kind | None:
    """Return what an error means whose code does not say it."""
    status = value.get("apiErrorStatus")
    kind = _STATUSES.get(status) if isinstance(status, int) else None
    return Kind.TRANSIENT if value.get("apiErrorIsTransient") is True else kind


def _goes_on(value: dict[str, object]) -> bool:
    """Return whether a record is the prompt with which the program goes on by itself."""
    return mapping(value.get("origin")).get("kind") == "auto-continuation"


def _is_notice(value: dict[str, object]) -> bool:
    """Return whether a record is a message to the model by the program: a sub-agent has ended."""
    return mapping(value.get("origin")).get("kind") == "task-notification"


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
        return content[:TEXT_LIMIT]
    texts = (mapping(block).get("text") for block in _blocks(message)[:16])
    return "\n".join(text[:TEXT_LIMIT] for text in texts if isinstance(text, str))


def _at(record: Record) -> float | None:
    return timestamp(_value(record, "timestamp"))


def _key(record: Record) -> str:
    uuid = _value(record, "uuid")
    if isinstance(uuid, str) and re.fullmatch(r"[0-9A-Za-z-]{8,64}", uuid):
        return uuid
    return f"@{record.end}"
