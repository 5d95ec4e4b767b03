"""
GitHub Copilot CLI: its event logs, its locks, and what the events mean.

Seen in Copilot CLI 1.0.102, whose package has a schema of its events; limits are as
github/copilot-cli#2336 and #2144 report them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from datetime import tzinfo

from palingenesis.monitor import files
from palingenesis.monitor.agents.agent import STATUSES, UNREAD, Agent, Step, What
from palingenesis.monitor.owners import Owners, Snapshot, Witness, strongest
from palingenesis.monitor.resets import reset_in
from palingenesis.monitor.sessions import Identity, Verdict, identified
from palingenesis.monitor.transcript import TEXT_LIMIT, Record, field, mapping, timestamp
from palingenesis.text import in_short
from palingenesis.words import Kind

#: Names that are looked at in a session's directory.
_NAMES = 2000
_IN_USE = re.compile(r"inuse\.([0-9]{1,9})\.(?:lock|hold)")
#: The tools by which it asks a person.
_QUESTIONS = frozenset({"ask_user", "exit_plan_mode"})

_ERRORS = {
    "rate_limit": Kind.LIMIT,
    "quota": Kind.REFUSED,
    "authentication": Kind.REFUSED,
    "authorization": Kind.REFUSED,
    "policy": Kind.REFUSED,
    "context_limit": Kind.CONTEXT,
}
_CONTEXT = re.compile(r"prompt as too long|context window", re.IGNORECASE)
#: What it says after its own retries, and the words of the transport.
_TRANSIENT = re.compile(
    r"; retried [0-9]+ times|connection|\bsocket\b|timed? ?out|fetch failed|unexpected EOF"
    r"|ECONN[A-Z]+|ETIMEDOUT|ENOTFOUND|EAI_AGAIN",
    re.IGNORECASE,
)


class Copilot(Agent):
    """GitHub Copilot CLI."""

    name = "copilot"
    programs = frozenset({"copilot", "copilot.exe"})
    home_variable = "COPILOT_HOME"
    home_name = ".copilot"
    transcripts = "session-state/*/events.jsonl"
    wanted = re.compile(
        rb'"type"\s*:\s*"(?:user\.message|assistant\.(?:turn_start|turn_end|message)|abort'
        rb"|session\.error|tool\.execution_(?:start|complete)"
        rb'|(?:permission|user_input|elicitation|exit_plan_mode)\.(?:requested|completed))"'
    )
    preset = ("--resume={id}", "-p", "{prompt}")

    def is_own(self, transcript: str, session: Identity) -> bool:
        """Return whether the events are in the session's directory."""
        return os.path.basename(os.path.dirname(transcript)) == session.id

    def identity(self, records: Iterable[Record]) -> Identity | None:
        """Return the session of the first event."""
        for record in records:
            if record.value is None:
                if field(record.beginning, "type") != "session.start":
                    return None
                names = ("sessionId", "cwd")
                return identified(*(field(record.beginning, name) for name in names))
            if record.value.get("type") == "session.start":
                data = mapping(record.value.get("data"))
                return identified(data.get("sessionId"), mapping(data.get("context")).get("cwd"))
        return None

    def step(self, record: Record, local: tzinfo | None) -> Step | None:
        """
        Return what an event reports; one of a sub-agent reports nothing.

        Left out is the end of the program too: it ends like that after a failed turn, after
        ``/exit`` and with its terminal.
        """
        return _unparsed(record) if record.value is None else _step(record, local)

    def verdict(self, steps: Iterable[Step]) -> Verdict:
        """
        Judge by the newest event, and by what was asked in the same turn without an answer.

        A turn without a tool's call is the last one of its prompt.
        """
        newest: Step | None = None
        over = False
        answered: set[str | None] = set()
        for step in steps:
            newest = newest or step
            match step.what:
                case What.END if newest is step:
                    return step.verdict()
                case What.REPLY if over:
                    return Step(What.END, step.key, step.at, Kind.FINISHED).verdict()
                case What.TURN_OVER if newest is step:
                    over = True
                    continue
                case What.OUTPUT:
                    answered.add(step.parent)
                case What.WORK if step.kind is Kind.ASKING and step.parent not in answered:
                    return step.verdict()
                case What.PROMPT | What.TURN_BEGUN | What.END:
                    break
            over = False
        return UNREAD if newest is None else newest.verdict()

    def owners(self, home: str, snapshot: Snapshot) -> InUse:
        """Read the locks that living processes hold."""
        return InUse(home, snapshot)


class InUse(Owners):
    """
    Which sessions have a living process, by its files beside the events, and by the processes.

    ``inuse.<pid>.lock`` names it, and it holds a lock on ``inuse.<pid>.hold``. Both stay behind
    when it is killed.
    """

    def __init__(self, home: str, snapshot: Snapshot) -> None:
        super().__init__(snapshot)
        self._directory = os.path.join(home, "session-state")

    def witnessed(self, session: Identity, transcript: str) -> Witness:
        """Return what has a session, by the processes in its directory, or else by its locks."""
        found = [self.snapshot.running(Copilot.programs, session.directories, transcript)]
        directory = os.path.join(self._directory, session.id)
        try:
            names = files.names_in(directory, _NAMES)
        except FileNotFoundError:
            names = []
        except OSError as error:
            return Witness.unknown(f"{directory} cannot be read: {in_short(error)}")
        living = {process.pid: process for process in self.snapshot.named(Copilot.programs)}
        for name in names:
            if (used := _IN_USE.fullmatch(name)) is None:
                continue
            if int(used[1]) in living:
                return Witness.of(living[int(used[1])])
            if name.endswith(".hold"):
                path = os.path.join(directory, name)
                found.append(self.snapshot.holder(path, Copilot.programs))
        return strongest(found)


def _unparsed(record: Record) -> Step | None:
    """Return what an event reports that is too long to be parsed: a prompt, or work."""
    if field(record.beginning, "agentId") is not None:
        return None
    is_prompt = field(record.beginning, "type") == "user.message"
    return Step(What.PROMPT if is_prompt else What.WORK, f"@{record.end}", None)


def _step(record: Record, local: tzinfo | None) -> Step | None:
    """Return what an event reports; None for every other record."""
    value = mapping(record.value)
    name, data = value.get("type"), mapping(value.get("data"))
    if not isinstance(name, str) or value.get("agentId") is not None:
        return None
    key, at = _key(value.get("id"), record.end), timestamp(value.get("timestamp"))
    match name:
        case "user.message":
            return Step(What.PROMPT, key, at, prompt=_text(data.get("content")))
        case "assistant.turn_start":
            return Step(What.TURN_BEGUN, key, at)
        case "assistant.turn_end":
            return Step(What.TURN_OVER, key, at)
        case "assistant.message":
            calls = bool(data.get("toolRequests"))
            what = What.WORK if calls else What.REPLY
            return Step(what, key, at, progress=True, calling=calls)
        case "abort":
            user = data.get("reason") != "autopilot_credit_limit"
            return Step(What.END, key, at, Kind.USER if user else Kind.REFUSED)
        case "session.error":
            return Step(What.END, key, at, *_failure(data, at, local))
        case "tool.execution_start":
            asking = _text(data.get("toolName")) in _QUESTIONS
            call = _text(data.get("toolCallId"))
            kind = Kind.ASKING if asking else None
            return Step(What.WORK, key, at, kind, parent=call, calling=True)
        case "tool.execution_complete":
            return Step(What.OUTPUT, key, at, progress=True, parent=_text(data.get("toolCallId")))
    subject, _, event = name.rpartition(".")
    if subject in ("permission", "user_input", "elicitation", "exit_plan_mode"):
        request = _text(data.get("requestId"))
        if event == "requested":
            needed = subject == "permission"
            return Step(What.WORK, key, at, Kind.ASKING, parent=request, permission=needed)
        return Step(What.OUTPUT, key, at, parent=request)
    return None


def _failure(
    data: dict[str, object], at: float | None, local: tzinfo | None
) -> tuple[Kind, float | None]:
    """Return what an error means, and when a limit ends; a quota is one if that is stated."""
    name, status, message = data.get("errorType"), data.get("statusCode"), data.get("message")
    text = message[:TEXT_LIMIT] if isinstance(message, str) else ""
    kind = _ERRORS.get(name) if isinstance(name, str) else None
    if kind is None and _CONTEXT.search(text):
        kind = Kind.CONTEXT
    if kind is None and isinstance(status, int):
        kind = STATUSES.get(status, Kind.UNKNOWN)
    if kind is Kind.LIMIT or name == "quota":
        reset = reset_in(text, at, local)
        return (Kind.LIMIT if reset is not None else kind or Kind.UNKNOWN), reset
    if kind is None and _TRANSIENT.search(text):
        kind = Kind.TRANSIENT
    return kind or Kind.UNKNOWN, None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _key(key: object, end: int) -> str:
    if isinstance(key, str) and re.fullmatch(r"[0-9A-Za-z-]{8,64}", key):
        return key
    return f"@{end}"
