"""
Files that other programs write: found by a pattern, and opened without trust.

A file's link is never followed and a FIFO never waited for, and everything has a bound.
"""

from __future__ import annotations

import errno
import fnmatch
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import NamedTuple


class Bounds(NamedTuple):
    """How many names are looked at in one directory, and in a whole walk."""

    directory: int = 20_000
    walk: int = 50_000


BOUNDS = Bounds()
#: Names that are looked at between two pauses: some tenths of a millisecond.
STRIDE = 64


class _Levels(NamedTuple):
    """
    A pattern.

    :ivar between: its levels up to the last one with a wildcard, a name or a compiled pattern each.
    :ivar tail: the names after them, by which a file is found without listing its directory.
    :ivar whole: see :meth:`Walk.files`.
    """

    between: tuple[re.Pattern[str] | str, ...]
    tail: str
    whole: bool


class Walk:
    """
    One walk through the directories of a home.

    :param warn: called with one line for everything that keeps the walk from being whole.
    :ivar warn: that function, for what an agent finds besides.
    :ivar cut_short: whether a limit has ended it before its end.
    """

    def __init__(self, warn: Callable[[str], None], bounds: Bounds = BOUNDS) -> None:
        self.warn = warn
        self._skipped = 0
        self._bounds = bounds
        self._names = 0
        self._top = ""
        self._uid = os.geteuid()
        self._foreign: set[str] = set()
        self.cut_short = False

    def files(
        self, top: str, pattern: str, *, whole: bool = True
    ) -> Iterator[tuple[str, os.stat_result] | None]:
        """
        Yield our user's regular files that fit a pattern, and None for a pause.

        :param top: the directory below which they are.
        :param pattern: a pattern for each level below it (`fnmatch`). Directories may be links,
            after the first wildcard only to directories of our user; files may not.
        :param whole: whether the files of a directory that need not be read again are yielded all
            the same; see :meth:`skip`.
        """
        self._top = top
        levels = pattern.split("/")
        wild = [number for number, level in enumerate(levels) if re.search(r"[*?[]", level)]
        first, last = wild[0], wild[-1] + 1
        between = tuple(
            re.compile(fnmatch.translate(level)) if number in wild else level
            for number, level in enumerate(levels[:last])
        )
        below = _Levels(between, "/".join(levels[last:]), whole)
        yield from self._entered(os.path.join(top, *levels[:first]), below, first)

    def skip(self, directory: str) -> int | None:  # noqa: ARG002
        """Return how many files a directory has if it need not be read; None if it must be."""
        return None

    def miss(self, path: str) -> None:
        """Take note of a file that is not there, in a directory that fits the pattern."""

    def _below(
        self, directory: str, level: re.Pattern[str], levels: _Levels, deeper: int
    ) -> Iterator[tuple[str, os.stat_result] | None]:
        """Yield what is below the names in a directory that fit a level."""
        is_last = deeper == len(levels.between)
        below, links = [], []
        try:
            with os.scandir(directory) as entries:
                for count, entry in enumerate(entries):
                    if self._is_over(directory, count):
                        break
                    self._names += 1
                    if self._names % STRIDE == 0:
                        yield None
                    if level.match(entry.name) is None:
                        continue
                    if levels.tail or not is_last:
                        if entry.is_dir(follow_symlinks=False):
                            below.append(entry.path)
                        elif entry.is_symlink():
                            links.append(entry.path)
                        continue
                    try:
                        status = entry.stat(follow_symlinks=False)
                    except OSError:
                        continue  # it vanished
                    if self._is_ours(status, directory):
                        yield entry.path, status
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            self.warn(f"{directory}: cannot be read: {error.strerror}")
            return
        below += self._followed(links, below)
        if is_last:
            yield from self._files_in(below, levels.tail, directory)
            return
        for path in below:
            if self._is_over(directory, 0):
                return
            yield from self._entered(path, levels, deeper)

    def _entered(
        self, directory: str, levels: _Levels, number: int
    ) -> Iterator[tuple[str, os.stat_result] | None]:
        """Return what is below a directory that fits the levels so far, if it must be read."""
        named = False
        while isinstance(level := levels.between[number], str):
            directory, number, named = f"{directory}/{level}", number + 1, True
        deeper = number + 1
        is_last = deeper == len(levels.between)
        if is_last and not levels.whole and (names := self.skip(directory)) is not None:
            self._names += names
            self._skipped += 1
            return iter((None,) if self._skipped % STRIDE == 0 else ())
        if named and os.path.islink(directory) and not list(self._followed([directory], [])):
            return iter(())
        return self._below(directory, level, levels, deeper)

    def _files_in(
        self, directories: list[str], tail: str, directory: str
    ) -> Iterator[tuple[str, os.stat_result] | None]:
        """Yield the file that each directory below another one has."""
        for count, path in enumerate(directories, 1):
            if count % STRIDE == 0:
                yield None
            file = f"{path}/{tail}"
            try:
                status = os.lstat(file)
            except OSError:
                self.miss(file)
                continue
            if self._is_ours(status, directory):
                yield file, status

    def _is_ours(self, status: os.stat_result, directory: str) -> bool:
        """Return whether it is a regular file of our user's, and warn if it is another user's."""
        if not stat.S_ISREG(status.st_mode):
            return False
        if status.st_uid == self._uid:
            return True
        if directory not in self._foreign:
            self._foreign.add(directory)
            self.warn(f"{directory}: has transcripts of another user, which are left alone")
        return False

    def _followed(self, links: list[str], beside: list[str]) -> Iterator[str]:
        """Yield the links that lead to a directory of our user's which is not walked already."""
        walked = set()
        if links:
            walked = {_place(path) for path in beside}
        for path in links:
            try:
                status = os.stat(path)
            except OSError:
                continue  # it leads nowhere
            if not stat.S_ISDIR(status.st_mode):
                continue
            if status.st_uid != self._uid:
                self.warn(f"{path}: leads to a directory of another user, which is left alone")
            elif (place := (status.st_dev, status.st_ino)) not in walked:
                walked.add(place)
                yield path

    def _is_over(self, directory: str, count: int) -> bool:
        """Return whether the walk has to leave a directory after so many of its names."""
        if self._names >= self._bounds.walk:
            place, bound = self._top, self._bounds.walk
        elif count >= self._bounds.directory:
            place, bound = directory, self._bounds.directory
        else:
            return False
        self.warn(
            f"{place}: more than {bound} files; the rest is not monitored."
            " Move old transcripts elsewhere."
        )
        self.cut_short = True
        return True


def _place(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


@contextmanager
def opened(path: str) -> Iterator[int]:
    """
    Open a file for reading, and give its descriptor; a link is never followed.

    Nothing is waited for: of a FIFO without a writer, a read gives nothing.

    :raises OSError: if it cannot be opened.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY
    descriptor = os.open(path, flags)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def names_in(directory: str, limit: int) -> list[str]:
    """
    Return the names in a directory.

    :raises OSError: if it cannot be read, or has more than ``limit`` names.
    """
    with os.scandir(directory) as entries:
        names = [entry.name for entry in islice(entries, limit + 1)]
    if len(names) > limit:
        raise OSError(errno.EOVERFLOW, "too many names", directory)
    return names
