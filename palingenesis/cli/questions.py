"""What a person at the terminal is asked, and whether there is a daemon to ask about."""

from __future__ import annotations

import sys


def ask(question: str) -> str:
    """Ask a person at the terminal; the answer is empty at the end of the input."""
    print(question, end="", flush=True)
    return sys.stdin.readline().strip().lower()


def is_running() -> bool:
    """Return whether a daemon answers at the default place."""
    from palingenesis.client.blocking import ControlClient
    from palingenesis.client.errors import ClientError

    try:
        ControlClient().status()
    except ClientError:
        return False
    return True
