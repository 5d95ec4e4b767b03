"""The monitor's words, each with what it means and what to do."""

from __future__ import annotations

from palingenesis.words import Kind, Reason

#: The kinds of a stop that need an explanation.
KINDS: dict[str, str] = {
    Kind.TRANSIENT: "an error of the service or of the network",
    Kind.CONTEXT: "the context is exhausted; begin a new session",
    Kind.REFUSED: "the service refuses: look at the billing, the credit or the log-in",
    Kind.USER: "its user interrupted or left it, so it is left alone",
    Kind.ASKING: "a question waits for you; answer it in the agent",
    Kind.DIED: "it ended in the middle of a turn, and its process is gone",
    Kind.CONTINUED: "it goes on under another id; look for the newer session of its directory",
    Kind.UNKNOWN: "how it ended cannot be read; look at it in the agent",
}

#: Why a session is not revived, in the gate's order. ``{tables}`` stands for the tables of
#: the configuration that would name a command.
REASONS: dict[str, str] = {
    Reason.PAUSED: "the monitor is paused; `palingenesis resume` ends the pause",
    Reason.NO_METHOD: "no command is named; name one in {tables}, and the session is revived when "
    "it is due, unless there is another reason not to",
    Reason.NOT_THE_KEEPER: "another daemon of yours revives; `palingenesis doctor` names it",
    Reason.LEDGER: "nothing can be recorded or started; `palingenesis doctor` shows why",
    Reason.KIND: "waiting does not cure this stop; continue the session yourself",
    Reason.CRASHES: "a crash may be a closed terminal; `crashes = true` in [sessions] revives it",
    Reason.ON_HOLD: "you want it left alone; `palingenesis release` ends that",
    Reason.PROJECT: "`revive = false` in [[projects]] leaves its directory alone",
    Reason.GIVEN_UP: "its revivals failed; `palingenesis log` shows how; continue it yourself",
    Reason.NEWER_RECORD: "its transcript has grown since; it is judged again at the next scan",
    Reason.TOO_FAR: "its reset is more than 8 days ahead; continue it yourself then",
    Reason.TOO_OLD: "it is past `max_age` in [sessions], or from before the monitor's first start "
    "(`backlog`); continue it yourself",
    Reason.WINDOWS: "it was brought back after `windows` resets since you last wrote in it; write "
    "in it, or run `palingenesis revive`",
    Reason.SPEND: "going on costs more than the plan; `spend = true` in [sessions] allows it",
    Reason.NOT_DUE: "it is revived when it is due; there is nothing to do",
    Reason.HOURS: "it is outside `hours` in [sessions]; it is revived when they begin",
    Reason.ALREADY_RUNNING: "its revival is running; there is nothing to do",
    Reason.OWNER_ALIVE: "its agent still runs; continue it there, or end the agent to have it "
    "revived",
    Reason.OWNER_UNKNOWN: "it is unknown whether its agent still runs (a container, a network file "
    "system, an unreadable entry); continue it yourself",
    Reason.DIRECTORY: "its directory is gone or not yours; restore it",
    Reason.ATTEMPTS: "it has used up its `attempts` in [sessions]; continue it yourself",
    Reason.AT_ONCE: "another session of its home goes first, or `at_once` in [sessions] run; it "
    "follows",
    Reason.HOURLY_LIMIT: "`hourly` in [sessions] is reached; it is revived within the hour",
    Reason.NO_BINARY: "its command's program is not found; `palingenesis doctor` names it; install "
    "it",
}
