"""A look at the transcripts of all agents: which have changed since the last one."""

from __future__ import annotations

import fnmatch
import os
import re
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from palingenesis.monitor.transcript import Stamp

#: Names that are looked at in one directory, and in a whole look.
DIRECTORY_LIMIT = 20_000
LOOK_LIMIT = 50_000
#: Troubles that are told; a thousand different ones are a nuisance, not news.
TROUBLE_LIMIT = 1000
#: Seconds of work between two pauses.
SLICE = 0.002
#: Names between two questions for the time.
_STRIDE = 64


class Change(NamedTuple):
    """
    A transcript that is new, has changed, or is gone.

    :ivar agent: the agent's name.
    :ivar path: where the transcript is.
    :ivar stamp: what it is like; None where it is gone.
    """

    agent: str
    path: str
    stamp: Stamp | None


class Place(NamedTuple):
    """
    Where an agent's transcripts are.

    :ivar home: the directory the agent keeps its files in.
    :ivar pattern: below it, a pattern for each level (`fnmatch`). The levels before the first
        wildcard may be links; what a wildcard finds is never followed.
    """

    home: str
    pattern: str


class Look:
    """
    The looks at the transcripts, one after the other.

    :param trouble: called with one line for everything that keeps a look from being whole,
        once for each.
    """

    def __init__(
        self,
        trouble: Callable[[str], None],
        *,
        directory_limit: int = DIRECTORY_LIMIT,
        look_limit: int = LOOK_LIMIT,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._trouble = trouble
        self._told: set[str] = set()
        self._directory_limit = directory_limit
        self._look_limit = look_limit
        self._clock = clock
        self._known: dict[str, tuple[str, Stamp]] = {}
        self._uid = os.geteuid()

    def scan(self, places: Mapping[str, Place]) -> Iterator[Change | None]:
        """
        Look once, in slices: each step takes about `SLICE` seconds.

        A scan may be given up at any step; the next one goes on from what has been told.

        :param places: where the transcripts are, by the agent's name.
        :return: yields every change, and None where only time has passed.
        """
        scan = _Scan(self._clock)
        seen: set[str] = set()
        for agent, place in places.items():
            levels = place.pattern.split("/")
            fixed = next((n for n, level in enumerate(levels) if re.search(r"[*?[]", level)), 0)
            top = os.path.join(place.home, *levels[:fixed])
            for found in self._walk(top, [_matcher(level) for level in levels[fixed:]], scan):
                if found is None:
                    yield None
                    continue
                path, status = found
                seen.add(path)
                stamp = Stamp.of(status)
                if self._known.get(path) != (agent, stamp):
                    self._known[path] = (agent, stamp)
                    yield Change(agent, path, stamp)
        yield from self._gone(seen, scan)

    def forget(self, path: str) -> None:
        """Have the next look tell a transcript anew, such as one that could not be read."""
        self._known.pop(path, None)

    def _gone(self, seen: set[str], scan: _Scan) -> Iterator[Change | None]:
        """Yield what is gone; after a look that was cut short, only what is proven so."""
        for path in [path for path in self._known if path not in seen]:
            if not (scan.cut_short and os.path.lexists(path)):
                agent, _ = self._known.pop(path)
                yield Change(agent, path, None)
            if scan.pause():
                yield None

    def _walk(
        self, directory: str, matchers: list[re.Pattern[str]], scan: _Scan
    ) -> Iterator[tuple[str, os.stat_result] | None]:
        """Yield the transcripts below a directory, and None for a pause."""
        matcher, *deeper = matchers
        foreign = False
        below = []
        try:
            with os.scandir(directory) as entries:
                for count, entry in enumerate(entries):
                    if scan.names >= self._look_limit:
                        scan.cut_short = True
                        self._tell(
                            f"More than {self._look_limit} files in the agents' directories; the"
                            " rest is not monitored. Move old transcripts elsewhere."
                        )
                        return
                    if count >= self._directory_limit:
                        scan.cut_short = True
                        self._tell(
                            f"{directory}: more than {self._directory_limit} files; the rest is"
                            " not monitored. Move old transcripts elsewhere."
                        )
                        break
                    scan.names += 1
                    if count % _STRIDE == 0 and scan.pause():
                        yield None
                    if matcher.match(entry.name) is None:
                        continue
                    if deeper:
                        if entry.is_dir(follow_symlinks=False):
                            below.append(entry.path)
                        continue
                    try:
                        status = entry.stat(follow_symlinks=False)
                    except OSError:
                        continue  # it vanished
                    if not stat.S_ISREG(status.st_mode):
                        continue
                    if status.st_uid == self._uid:
                        yield entry.path, status
                    else:
                        foreign = True
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            self._tell(f"{directory}: cannot be read: {error.strerror}")
            return
        if foreign:
            self._tell(f"{directory}: has transcripts of another user, which are left alone")
        for path in below:
            if scan.pause():
                yield None
            yield from self._walk(path, deeper, scan)

    def _tell(self, trouble: str) -> None:
        if trouble not in self._told and len(self._told) < TROUBLE_LIMIT:
            self._told.add(trouble)
            self._trouble(trouble)


class _Scan:
    """One look under way: how much it has seen, and when it last paused."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._resumed: float | None = None
        self.names = 0
        self.cut_short = False

    def pause(self) -> bool:
        """Tell whether it is time for a pause, and note that it is taken."""
        now = self._clock()
        if self._resumed is None:
            self._resumed = now
        elif now - self._resumed >= SLICE:
            self._resumed = None
            return True
        return False


def _matcher(level: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(level))
