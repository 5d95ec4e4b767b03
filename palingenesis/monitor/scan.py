"""A scan: which sessions of all agents have changed since the last one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from palingenesis.monitor.agents import AGENTS
from palingenesis.monitor.files import DIRECTORY_LIMIT, STRIDE, WALK_LIMIT, Walk
from palingenesis.monitor.transcript import Stamp


class Change(NamedTuple):
    """
    A session that is new, has changed, or is gone.

    :ivar agent: the agent's name.
    :ivar transcript: by what the agent finds the session again: a path, for most agents.
    :ivar stamp: what changes with it; None if it is gone.
    """

    agent: str
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
        self._known: dict[str, tuple[str, Stamp]] = {}

    def changes(self, homes: Mapping[str, str]) -> Iterator[Change | None]:
        """
        Scan once, in steps of some tenths of a millisecond.

        A scan may be given up at any step; the next one continues from what was yielded.

        :param homes: the agents' homes, by the agent's name.
        :return: yields every change, and None for a pause.
        """
        walk = Walk(self._warn, directory_limit=self._directory_limit, walk_limit=self._walk_limit)
        seen: set[str] = set()
        for agent, home in homes.items():
            for found in AGENTS[agent].sessions(home, walk):
                if found is None:
                    yield None
                    continue
                transcript, stamp = found
                seen.add(transcript)
                if self._known.get(transcript) != (agent, stamp):
                    self._known[transcript] = (agent, stamp)
                    yield Change(agent, transcript, stamp)
        yield from self._gone(seen, walk)

    def forget(self, transcript: str) -> None:
        """Have the next scan report a session anew, such as one that could not be read."""
        self._known.pop(transcript, None)

    def _gone(self, seen: set[str], walk: Walk) -> Iterator[Change | None]:
        """Yield what is gone; after a scan that was cut short, only what is proven so."""
        missing = [(each, agent) for each, (agent, _) in self._known.items() if each not in seen]
        for number, (transcript, agent) in enumerate(missing, 1):
            if not walk.cut_short or AGENTS[agent].stamp(transcript) is None:
                self.forget(transcript)
                yield Change(agent, transcript, None)
            if number % STRIDE == 0:
                yield None
