"""What a person at the terminal is asked, and whether there is a daemon to ask about."""

from __future__ import annotations

import sys


def agrees(question: str, default: bool) -> bool:
    """
    Ask a person at the terminal, and return whether the answer is yes.

    :param default: what an empty answer means, as at the end of the input.
    """
    print(f"{question} [{'Y/n' if default else 'y/N'}] ", end="", flush=True)
    answer = sys.stdin.readline().strip().lower()
    return answer in ("y", "yes") or (default and not answer)


def is_running() -> bool:
    """Return whether a daemon answers at the default place."""
    from palingenesis.client.blocking import ControlClient
    from palingenesis.client.errors import ClientError

    try:
        ControlClient().status()
    except ClientError:
        return False
    return True
