"""A scan: which sessions of all agents have changed since the last one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from palingenesis.monitor.files import DIRECTORY_LIMIT, STRIDE, WALK_LIMIT, Walk
from palingenesis.monitor.homes import Home
from palingenesis.monitor.transcript import Stamp


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


class Scans:
    """
    Scans, one after the other, of which each knows what the last one has found.

    :param warn: called with one line, at each scan, for everything that keeps it from being whole.
    """

    def __init__(
        self,
        warn: Callable[[str], None],
        *,
        directory_limit: int = DIRECTORY_LIMIT,
        walk_limit: int = WALK_LIMIT,
    ) -> None:
        self._warn = warn
        self._directory_limit = directory_limit
        self._walk_limit = walk_limit
        self._known: dict[str, tuple[Home, Stamp]] = {}

    def changes(self, homes: Iterable[Home]) -> Iterator[Change | None]:
        """
        Scan once, in steps of some tenths of a millisecond.

        A scan may be given up at any step; the next one continues from what was yielded.

        :return: yields every change, and None for a pause.
        """
        walk = Walk(self._warn, directory_limit=self._directory_limit, walk_limit=self._walk_limit)
        seen: set[str] = set()
        for home in homes:
            for found in home.kind.sessions(home.directory, walk):
                if found is None:
                    yield None
                    continue
                transcript, stamp = found
                seen.add(transcript)
                if self._known.get(transcript) != (home, stamp):
                    self._known[transcript] = (home, stamp)
                    yield Change(home, transcript, stamp)
        yield from self._gone(seen, walk)

    def forget(self, transcript: str) -> None:
        """Have the next scan report a session anew, such as one that could not be read."""
        self._known.pop(transcript, None)

    def _gone(self, seen: set[str], walk: Walk) -> Iterator[Change | None]:
        """Yield what is gone; after a scan that was cut short, only what is proven so."""
        missing = [(each, home) for each, (home, _) in self._known.items() if each not in seen]
        for number, (transcript, home) in enumerate(missing, 1):
            if not walk.cut_short or home.kind.stamp(transcript) is None:
                self.forget(transcript)
                yield Change(home, transcript, None)
            if number % STRIDE == 0:
                yield None
