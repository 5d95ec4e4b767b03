"""What the machine says in text: the kernel's tables on Linux, and programs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping

#: Bytes of a table of mounts or locks.
TABLE_LIMIT = 4 * 1024 * 1024
#: Seconds that ps(1) may take.
TOOL_TIMEOUT = 5.0


def table(path: str) -> str | None:
    """Return a whole table of the kernel's; None if it cannot be read, or is too long."""
    try:
        with open(path, "rb") as file:
            content = file.read(TABLE_LIMIT)
    except OSError:
        return None
    return os.fsdecode(content) if len(content) < TABLE_LIMIT else None


def run(
    *command: str, environment: Mapping[str, str] | None = None, timeout: float = TOOL_TIMEOUT
) -> str | None:
    """
    Return what a program prints; None if it cannot be run, or takes too long.

    :param environment: its environment; that of this process if None.
    :param timeout: seconds that it may take.
    """
    try:
        done = subprocess.run(  # noqa: S603 - an argument list of our own
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=timeout,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return os.fsdecode(done.stdout)
