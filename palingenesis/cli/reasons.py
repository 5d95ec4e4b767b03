"""The monitor's words, each with what it means and what to do."""

from __future__ import annotations

#: The kinds of a stop that do not explain themselves.
KINDS = {
    "transient": "an error that passes: an overloaded server, or the network",
    "context": "the context is exhausted; begin a new session",
    "refused": "the service refuses: look at the billing, the credit or the log-in",
    "user": "its user interrupted or left it, so it is left alone",
    "asking": "a question waits for a person; answer it in the agent",
    "died": "it ended in the middle of a turn, and its process is gone",
    "continued": "it goes on under another id; look for the newer session of its directory",
    "unknown": "how it ended cannot be read; look at it in the agent",
}

#: The gate's reasons not to revive a session, in the gate's order. ``{tables}`` stands for the
#: tables of the configuration that would name a command.
REASONS = {
    "paused": "the monitor is paused; `palingenesis resume` ends that",
    "no-method": "no command is named; name one in {tables}, and the session is revived when "
    "it is due, unless something else holds it",
    "not-the-keeper": "another daemon of yours revives; `palingenesis doctor` names it",
    "ledger": "the ledger cannot be written; `palingenesis doctor` says why",
    "kind": "waiting does not cure this stop; continue the session yourself",
    "crashes": "a crash may be a closed terminal; `crashes = true` in [sessions] revives it",
    "given-up": "its revivals failed; `palingenesis log` tells how; continue it yourself",
    "newer-record": "its transcript has grown since; it is judged again at the next look",
    "too-far": "its reset is more than 8 days ahead; continue it yourself then",
    "too-old": "it is past `max_age` in [sessions], or from before the monitor's first start "
    "(`backlog`); continue it yourself",
    "not-due": "it is revived when it is due; nothing is to be done",
    "already-running": "its revival is under way; nothing is to be done",
    "owner-alive": "its agent still runs; continue it there, or end the agent to have it revived",
    "owner-unknown": "whether its agent still runs cannot be told (a container, a network file "
    "system, an unreadable entry); continue it yourself",
    "directory": "its directory is gone or not yours; restore it",
    "attempts": "it has had all its `attempts` in [sessions]; continue it yourself",
    "hourly-limit": "`hourly` in [sessions] is reached; it is revived within the hour",
    "no-binary": "its command's program is not found; `palingenesis doctor` names it; install it",
}
