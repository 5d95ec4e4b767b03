"""What a daemon with a monitor replies."""

from __future__ import annotations

from typing import Any

#: A moment, in seconds since the epoch: 2026-09-19 17:00:00 UTC.
NOW = 1_789_837_200.0


def session(**known: Any) -> dict[str, Any]:
    """Make a session as ``SESSIONS`` tells it; one that works, but for what is given."""
    return {
        "agent": "claude",
        "id": "11111111-aaaa",
        "directory": "/srv/app",
        "transcript": "/srv/t.jsonl",
        "state": "working",
        "kind": None,
        "since": NOW - 3,
        "due": None,
        "attempts": 0,
        "held": None,
        "needs": None,
        **known,
    }


def entry(event: str, at: float = NOW, **known: Any) -> dict[str, Any]:
    """Make an entry of the ledger as ``LOG`` tells it."""
    return {
        "at": at,
        "event": event,
        "session": "11111111-aaaa",
        "agent": "claude",
        "kind": None,
        **known,
    }
