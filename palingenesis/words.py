"""
The words of the contract: kinds, states, reasons, events and keys, as they are on the wire.

Server, monitor and command line read them from here, so that each word has one spelling. The
members are strings, and are sent as they are.
"""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """How a session stopped, by its last meaningful record."""

    LIMIT = "limit"
    TRANSIENT = "transient"
    CONTEXT = "context"
    REFUSED = "refused"
    USER = "user"
    FINISHED = "finished"
    ASKING = "asking"
    DIED = "died"
    CONTINUED = "continued"
    UNKNOWN = "unknown"


#: The kinds after which a session is revived.
REVIVABLE = frozenset({Kind.LIMIT, Kind.TRANSIENT, Kind.DIED})


class State(StrEnum):
    """What a session is doing."""

    WORKING = "working"
    QUIET = "quiet"
    STOPPED = "stopped"
    WAITING = "waiting"
    REVIVING = "reviving"
    LEFT = "left"
    GIVEN_UP = "given-up"


class Reason(StrEnum):
    """Why a session is not revived, in the order in which they are checked."""

    PAUSED = "paused"
    NO_METHOD = "no-method"
    NOT_THE_KEEPER = "not-the-keeper"
    LEDGER = "ledger"
    KIND = "kind"
    CRASHES = "crashes"
    ON_HOLD = "on-hold"
    PROJECT = "project"
    GIVEN_UP = "given-up"
    NEWER_RECORD = "newer-record"
    TOO_FAR = "too-far"
    TOO_OLD = "too-old"
    WINDOWS = "windows"
    SPEND = "spend"
    NOT_DUE = "not-due"
    HOURS = "hours"
    ALREADY_RUNNING = "already-running"
    OWNER_ALIVE = "owner-alive"
    OWNER_UNKNOWN = "owner-unknown"
    DIRECTORY = "directory"
    ATTEMPTS = "attempts"
    AT_ONCE = "at-once"
    HOURLY_LIMIT = "hourly-limit"
    NO_BINARY = "no-binary"


class Event(StrEnum):
    """What an entry of the ledger records."""

    STOPPED = "stopped"
    INTENT = "intent"
    STARTED = "started"
    WORKED = "worked"
    FAILED = "failed"
    GAVE_UP = "gave-up"
    LEFT = "left"
    ENDED = "ended"
    KILLED = "killed"
    CONTINUED = "continued"
    NEEDS_YOU = "needs-you"
    ON_HOLD = "on-hold"
    RELEASED = "released"
    ASKED = "asked"
    PAUSED = "paused"
    RESUMED = "resumed"
    KEPT = "kept"
    DIGEST = "digest"


class Method(StrEnum):
    """How a session is brought back."""

    #: Another process, if nobody has the session.
    COMMAND = "command"
    #: The open program's own way to be handed a prompt.
    QUEUE = "queue"
    #: Keys for the open program's terminal.
    TYPE_INTO = "type_into"


class Owner(StrEnum):
    """What can write to a session now; only `GONE` proves that nothing can."""

    GONE = "gone"
    PROGRAM = "program"
    SERVER = "server"
    UNKNOWN = "unknown"


class DaemonWord(StrEnum):
    """The states of ``twistd palingenesis`` in `STATUS`; an application may have others."""

    MONITORING = "monitoring"
    PAUSED = "paused"


class Outcome(StrEnum):
    """How a request ended."""

    OK = "ok"
    #: The daemon would not carry it out.
    REFUSED = "refused"
    #: The handler raised, or its result is unfit.
    FAILED = "failed"
    #: The handler took too long.
    TIMEOUT = "timeout"
    #: There is no such command.
    UNKNOWN = "unknown"
    #: An argument is missing, one too many or malformed.
    ARGUMENT = "argument"


class Rejection(StrEnum):
    """Why a client is rejected."""

    LIMIT = "limit"
    PERMISSION = "permission"
    STOPPING = "stopping"


class Key(StrEnum):
    """The keys of the replies to STATUS, SESSIONS, LOG and INSPECT, and the labels of metrics."""

    # STATUS
    STATE = "state"
    UPTIME_SECS = "uptime_secs"
    CURRENT_SESSION = "current_session"
    SAVES_COUNT = "saves_count"
    TOTAL_RESUMES = "total_resumes"
    PID = "pid"
    VERSION = "version"
    SESSIONS = "sessions"
    NEEDS_YOU = "needs_you"
    KNOWN_SESSIONS = "known_sessions"
    NEXT_REVIVAL = "next_revival"
    KEEPER = "keeper"
    LEDGER = "ledger"
    SCAN = "scan"
    # SESSIONS
    AGENT = "agent"
    ID = "id"
    DIRECTORY = "directory"
    TRANSCRIPT = "transcript"
    KIND = "kind"
    SINCE = "since"
    DUE = "due"
    UNTIL = "until"
    ATTEMPTS = "attempts"
    HELD = "held"
    NEEDS = "needs"
    HOME = "home"
    VARIABLES = "variables"
    OWNER = "owner"
    WHO = "who"
    METHOD = "method"
    DOUBT = "doubt"
    OUTPUT = "output"
    # LOG
    AT = "at"
    EVENT = "event"
    SESSION = "session"
    ATTEMPT = "attempt"
    EXIT = "exit"
    BY = "by"
    REASON = "reason"
    SECONDS = "seconds"
    SUCCESSOR = "successor"
    COUNT = "count"
    # INSPECT
    CONFIGURATION = "configuration"
    PATH = "path"
    EXISTS = "exists"
    MISTAKE = "mistake"
    AGENTS = "agents"
    MONITORED = "monitored"
    COMMANDS = "commands"
    COMMAND = "command"
    PROGRAM = "program"
    TROUBLE = "trouble"
    STATE_DIRECTORY = "state_directory"
    NOTIFY = "notify"
    WEB = "web"
    LISTENING = "listening"
    FAILURES = "failures"
    PAUSED = "paused"
    # Metrics, beside those above
    OUTCOME = "outcome"


#: The keys that every STATUS has, in their order.
STATUS_KEYS = (Key.STATE, Key.UPTIME_SECS, Key.CURRENT_SESSION, Key.SAVES_COUNT, Key.TOTAL_RESUMES)
#: The value of ``ledger`` in STATUS if nothing is wrong.
OK_WORD = "ok"
