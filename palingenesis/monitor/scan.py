"""A scan: which sessions of all agents have changed since the last one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple
from zlib import crc32

from palingenesis.monitor.files import BOUNDS, STRIDE, Bounds, Walk
from palingenesis.monitor.homes import Home
from palingenesis.monitor.times import Times
from palingenesis.monitor.transcript import Stamp

#: Seconds without growth after which a transcript is looked at only every `TURN` seconds.
DORMANT = 86_400.0
TURN = 54.0
#: Seconds after which a directory is read again, whatever its time says.
STALE = 600.0
#: Seconds after which a directory's time shows whether a file has appeared in it since.
_SETTLED = 3.0


class Change(NamedTuple):
    """
    A session that is new, has changed, or is gone.

    :ivar home: where it is.
    :ivar transcript: by what the agent finds the session again: a path, for most agents.
    :ivar stamp: what changes with it; None if it is gone.
    """

    home: Home
    transcript: str
    stamp: Stamp | None


@dataclass(slots=True)
class _Directory:
    """
    A directory that was read to its end.

    :ivar stamp: what changes when a file appears in it or goes: not when one grows.
    :ivar stale: when it is read again whatever its stamp is, in seconds of a clock that is never
        set back.
    :ivar due: when all its transcripts are looked at again, by the same clock.
    :ivar transcripts: those in it, and those that may appear below it.
    :ivar awake: those of them that have grown within `DORMANT` seconds, or may appear soon.
    """

    path: str
    stamp: tuple[int, int, int]
    stale: float
    due: float
    transcripts: list[str] = field(default_factory=list)
    awake: list[str] = field(default_factory=list)

    def stamps(self, whole: bool) -> Iterator[tuple[str, Stamp | None]]:
        """Yield its transcripts, or those that are awake, with their stamps."""
        for transcript in self.transcripts if whole else self.awake:
            try:
                yield transcript, Stamp.of(os.lstat(transcript))
            except FileNotFoundError:
                yield transcript, None
            except OSError:
                # It is read again, which tells why.
                self.stale = 0.0
                return


class Scans:
    """
    Scans, one after the other, of which each knows what the last one has found.

    A directory in which nothing has appeared is not read again before `STALE` seconds: of its
    transcripts, only those that have grown lately are looked at, and all of them every `TURN`
    seconds.

    :param warn: called with one line, at each scan, for everything that keeps it from being whole.
    """

    def __init__(
        self, warn: Callable[[str], None], times: Times | None = None, bounds: Bounds = BOUNDS
    ) -> None:
        self._warn = warn
        self._times = times or Times()
        self._bounds = bounds
        self._homes: tuple[Home, ...] = ()
        self._known: dict[str, tuple[Home, Stamp]] = {}
        #: What is known, by the directory whose reading finds it, and the other way round.
        self._within: dict[str, set[str]] = {}
        self._place: dict[str, str] = {}
        self._directories: dict[str, _Directory] = {}

    def changes(self, homes: Iterable[Home]) -> Iterator[Change | None]:
        """
        Scan once, in steps of some tenths of a millisecond.

        A scan may be given up at any step; the next one continues from what was yielded.

        :returns: yields every change, and None for a pause.
        """
        homes = tuple(homes)
        if homes != self._homes:
            self._directories.clear()
            self._homes = homes
        seen: set[str] = set()
        walks: dict[Home, _Walk] = {}
        for home in homes:
            # Each home has the bounds to itself: one with many files hides no other.
            walk = walks[home] = _Walk(self._warn, self._times, self._directories, self._bounds)
            for found in home.kind.sessions(home.directory, walk):
                if found is None:
                    yield None
                    continue
                transcript, stamp = found
                seen.add(transcript)
                walk.note(transcript, stamp)
                if self._known.get(transcript) != (home, stamp):
                    yield self._changed(home, transcript, stamp, walk.directory)
            walk.end()
            yield from self._unread(home, walk)
        yield from self._gone(seen, walks)

    def forget(self, transcript: str) -> None:
        """Have the next scan report a session anew, such as one that could not be read."""
        self._known.pop(transcript, None)
        directory = self._place.pop(transcript, "")
        self._directories.pop(directory, None)
        if directory in self._within:
            self._within[directory].discard(transcript)

    def _changed(self, home: Home, transcript: str, stamp: Stamp, directory: str) -> Change:
        if transcript not in self._known:
            self._place[transcript] = directory
            self._within.setdefault(directory, set()).add(transcript)
        self._known[transcript] = (home, stamp)
        return Change(home, transcript, stamp)

    def _unread(self, home: Home, walk: _Walk) -> Iterator[Change | None]:
        """Yield what has changed in the directories of a home that were not read."""
        count = 0
        for directory in walk.skipped.values():
            whole = walk.now >= directory.due
            awake = []
            for transcript, stamp in directory.stamps(whole):
                count += 1
                if count % STRIDE == 0:
                    yield None
                if whole and walk.is_awake(transcript, stamp):
                    awake.append(transcript)
                if stamp is None:
                    if transcript in self._known:
                        self.forget(transcript)
                        yield Change(home, transcript, None)
                elif self._known.get(transcript) != (home, stamp):
                    yield self._changed(home, transcript, stamp, directory.path)
            if whole:
                # Not before: a scan that is given up leaves it due.
                directory.awake, directory.due = awake, walk.now + TURN

    def _gone(self, seen: set[str], walks: Mapping[Home, _Walk]) -> Iterator[Change | None]:
        """Yield what is gone; in a home whose walk was cut short, only what is proven so."""
        skipped = frozenset[str]().union(*(walk.skipped for walk in walks.values()))
        missing = [
            transcript
            for directory, within in self._within.items()
            if directory not in skipped
            for transcript in within - seen
        ]
        for number, transcript in enumerate(missing, 1):
            home, _ = self._known[transcript]
            walk = walks.get(home)
            whole = walk is None or not walk.cut_short
            if whole or home.kind.stamp(transcript) is None:
                self.forget(transcript)
                yield Change(home, transcript, None)
            if number % STRIDE == 0:
                yield None
        for directory in [each for each, within in self._within.items() if not within]:
            del self._within[directory]


class _Walk(Walk):
    """
    The walk of one scan through a home, which leaves out what need not be read again.

    :param directories: those that were read to their ends before.
    :ivar now: when it began, by a clock that is never set back.
    :ivar directory: the one that is being read; empty if it is read whatever its time says.
    :ivar skipped: the directories that were not read, by their paths.
    """

    def __init__(
        self,
        warn: Callable[[str], None],
        times: Times,
        directories: dict[str, _Directory],
        bounds: Bounds,
    ) -> None:
        super().__init__(warn, bounds)
        self._directories = directories
        self.now = times.monotonic()
        self.directory = ""
        self._wall = times.wall()
        self._reads: _Directory | None = None
        self.skipped: dict[str, _Directory] = {}

    def skip(self, directory: str) -> int | None:
        """Return how many transcripts a directory has if it need not be read; None if it must."""
        self.end()
        self.directory = directory
        try:
            status = os.stat(directory)
        except OSError:
            return None
        stamp = (status.st_dev, status.st_ino, status.st_mtime_ns)
        known = self._directories.get(directory)
        if known is not None and known.stamp == stamp and self.now < known.stale:
            self.skipped[directory] = known
            return len(known.transcripts)
        # A file that appears right after another does not always change the time once more.
        if self._wall - status.st_mtime > _SETTLED:
            # Those that are first read together are not all due together.
            share = crc32(os.fsencode(directory)) / 2**32
            stale = STALE * (share if known is None else 1)
            self._reads = _Directory(directory, stamp, self.now + stale, self.now + TURN * share)
        self._directories.pop(directory, None)
        return None

    def miss(self, path: str) -> None:
        """Take note of a place at which a transcript may appear."""
        self.note(path, None)

    def note(self, transcript: str, stamp: Stamp | None) -> None:
        """Take note of a transcript of the directory that is being read."""
        if self._reads is not None:
            self._reads.transcripts.append(transcript)
            if self.is_awake(transcript, stamp):
                self._reads.awake.append(transcript)

    def is_awake(self, transcript: str, stamp: Stamp | None) -> bool:
        """Return whether a transcript has grown lately, or its directory has appeared lately."""
        if stamp is not None:
            return self._wall - stamp.mtime_ns / 1e9 < DORMANT
        try:
            return self._wall - os.stat(os.path.dirname(transcript)).st_mtime < DORMANT
        except OSError:
            return False

    def end(self) -> None:
        """Note that a directory was read to its end, if no limit has ended the walk before."""
        if self._reads is not None and not self.cut_short:
            self._directories[self._reads.path] = self._reads
        self._reads, self.directory = None, ""
