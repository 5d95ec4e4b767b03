"""Lines that a test waits for."""

from __future__ import annotations

from collections.abc import Callable
from typing import IO, AnyStr


def next_line(file: IO[AnyStr], is_wanted: Callable[[AnyStr], bool]) -> AnyStr:
    """Read up to a line that is wanted, and return it; fail if the file ends before."""
    seen: list[AnyStr] = []
    while line := file.readline():
        if is_wanted(line):
            return line
        seen.append(line)
    raise AssertionError(f"the end came after {seen[-20:]!r}")
