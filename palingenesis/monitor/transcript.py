"""
Transcripts: files of one JSON object a line, read from the end.

A transcript may have gigabytes and single lines of megabytes, so no file is read whole: the time
and the memory that a reading takes have a bound, whatever the file holds.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import islice
from typing import NamedTuple

from palingenesis.monitor import files

#: Characters of a text in a record that are looked at.
TEXT_LIMIT = 16 * 1024
#: Bytes read from the end at first; doubled up to `LAST_WINDOW`.
FIRST_WINDOW = 128 * 1024
LAST_WINDOW = 8 * 1024 * 1024
#: Bytes of the beginning that may have the session's identity.
HEAD_WINDOW = 256 * 1024
#: What is parsed in one reading, and so the longest record that can be, in bytes of text: parsing
#: 2 MiB takes about 10 ms.
PARSE_LIMIT = 2 * 1024 * 1024
#: Bytes of text that take as long to parse as an array or object, and as a value in one.
_PER_CONTAINER = 32
_PER_VALUE = 8
#: Lines that are read from the end, and how many of them may be records; lines that are read
#: from the beginning.
LAST_LINES = 10_000
LAST_RECORDS = 2000
FIRST_LINES = 200
#: Bytes that are kept of a record that is not parsed.
BEGINNING = 4096


class Growth(NamedTuple):
    """
    What there is of a session: its records, and those of its sub-agents.

    :ivar parts: what changes when anything of it grows.
    :ivar at: when anything of it last grew, in seconds since the epoch; 0 if nothing is seen.
    """

    parts: Hashable = ()
    at: float = 0.0


class Stamp(NamedTuple):
    """
    What changes when a session's records do.

    :ivar size: in bytes; it never shrinks while records are only appended.
    :ivar mtime_ns: the time of the last change, in nanoseconds since the epoch.
    """

    device: int
    inode: int
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> Stamp:
        """Make the stamp of a file."""
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def growth_of(stamp: Stamp | None, others: Iterable[tuple[str, int, int]] = ()) -> Growth:
    """
    Return the growth of a transcript and of other files.

    :param others: of each, its path, its size and the time of its last change in nanoseconds.
    """
    others = sorted(others)
    times = [time for _, _, time in others] + ([] if stamp is None else [stamp.mtime_ns])
    return Growth((stamp, *others), max(times, default=0) / 1e9)


class Record(NamedTuple):
    """
    One line of a transcript.

    :ivar end: the offset in bytes just after its newline, which no other record shares.
    :ivar value: the object it holds; None if the line takes too long to be parsed.
    :ivar beginning: the first bytes of a line that is not parsed; empty if they are out of
        reach too.
    """

    end: int
    value: dict[str, object] | None
    beginning: bytes = b""


class Transcript:
    """An open transcript; what is appended after it was opened is not read."""

    def __init__(self, descriptor: int) -> None:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError("not a regular file")
        self._descriptor = descriptor
        self.stamp = Stamp.of(status)

    def first(self) -> Iterator[Record]:
        """Read the first records, oldest first, within `HEAD_WINDOW` bytes."""
        return _records(islice(self._first_lines(), FIRST_LINES))

    def last(self, wanted: Callable[[bytes], bool] | None = None) -> Iterator[Record]:
        """
        Read the last records, newest first, within `LAST_WINDOW` bytes of the end.

        A last line without its newline is left out, and so is a line that holds no JSON object.

        :param wanted: returns whether a line is worth parsing; it is called for each line, and
            must be cheap.
        """
        return islice(_records(islice(self._last_lines(), LAST_LINES), wanted), LAST_RECORDS)

    def _first_lines(self) -> Iterator[tuple[int, bytes, bool]]:
        """Yield each line with the offset of its end, and whether its end was reached."""
        chunk = os.pread(self._descriptor, min(HEAD_WINDOW, self.stamp.size), 0)
        start = 0
        while (newline := chunk.find(b"\n", start)) >= 0:
            yield newline + 1, chunk[start:newline], True
            start = newline + 1
        if start < len(chunk) == HEAD_WINDOW:
            yield 0, chunk[start:], False

    def _last_lines(self) -> Iterator[tuple[int, bytes, bool]]:
        """Yield each line with the offset of its end, and whether its beginning was reached."""
        size = self.stamp.size
        window = FIRST_WINDOW
        upto = size
        complete = False  # whether a newline is known to stand just before `upto`
        while True:
            start = max(0, size - window)
            chunk = os.pread(self._descriptor, upto - start, start)
            if len(chunk) < upto - start:
                return  # its writer has cut it meanwhile; the next scan sees the new size
            end = len(chunk)
            if not complete and (end := chunk.rfind(b"\n") + 1):
                complete = True
            while end > 0 and (newline := chunk.rfind(b"\n", 0, end - 1)) >= 0:
                yield start + end, chunk[newline + 1 : end - 1], True
                end = newline + 1
            if start == 0:
                if end > 0:
                    yield end, chunk[: end - 1], True
                return
            if complete:
                upto = start + end
            if window >= LAST_WINDOW:
                if complete and upto - start > PARSE_LIMIT:
                    yield upto, b"", False
                return
            window *= 2


def _records(
    lines: Iterable[tuple[int, bytes, bool]], wanted: Callable[[bytes], bool] | None = None
) -> Iterator[Record]:
    """Yield what lines hold, within `PARSE_LIMIT`; of each, its end and whether it is whole."""
    budget = PARSE_LIMIT
    for end, line, whole in lines:
        if not whole:
            yield Record(end, None, line[:BEGINNING])
        elif wanted is not None and not wanted(line):
            continue
        elif (cost := cost_of(line)) > budget:
            if line.startswith(b"{"):
                yield Record(end, None, line[:BEGINNING])
        elif (value := _parsed(line)) is not None:
            budget -= cost
            yield Record(end, value)


@contextmanager
def opened(path: str) -> Iterator[Transcript]:
    """
    Open a transcript for reading; see `files.opened`.

    :raises OSError: if it cannot be opened, or is no regular file.
    """
    with files.opened(path) as descriptor:
        yield Transcript(descriptor)


def cost_of(line: bytes) -> int:
    """
    Return what it takes to parse a JSON text, in bytes of plain text.

    Two MiB of nothing but nested arrays take a hundred times as long as a string of that length.
    """
    containers = line.count(b"[") + line.count(b"{")
    return len(line) + _PER_CONTAINER * containers + _PER_VALUE * line.count(b",")


def _parsed(line: bytes) -> dict[str, object] | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def field(beginning: bytes, name: str) -> str | bool | None:
    """
    Return a key's string or truth value in the beginning of a record that is not parsed.

    None if the key is not there. A quote inside a JSON string is escaped, so a match is a key
    and never a text.
    """
    pattern = rb'"%s"\s*:\s*("(?:[^"\\]|\\.)*"|true\b|false\b)' % re.escape(name.encode())
    if (found := re.search(pattern, beginning)) is None:
        return None
    try:
        value: str | bool = json.loads(found[1])
    except ValueError:
        return None
    return value


def mapping(value: object) -> dict[str, object]:
    """Return a value of a record if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def number(value: object) -> float | None:
    """Return a value of a record if it is a positive number below 1e15, else None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if 0 < value < 1e15 else None


def timestamp(value: object) -> float | None:
    """Return the seconds since the epoch of an ISO 8601 time with its zone; None if it is none."""
    if not isinstance(value, str) or len(value) > 40:
        return None
    try:
        moment = datetime.fromisoformat(value)
        return moment.timestamp() if moment.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None
