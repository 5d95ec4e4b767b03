"""What is read of a session: which one it is, and what its end says."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace

from palingenesis.words import Kind

#: Seconds that a record may be dated ahead of the clock and still be believed.
CLOCK_SLACK = 300.0


@dataclass(frozen=True, slots=True)
class Identity:
    """
    Which session it is.

    :ivar id: its id, from its records; fit for one argument of a command line.
    :ivar directory: the directory in which it was started, absolute.
    :ivar current: the directory that its newest record names, if that is another one.
    """

    id: str
    directory: str
    current: str | None = None

    @property
    def directories(self) -> tuple[str, ...]:
        """The directories in which its program may be."""
        return (self.directory,) if self.current is None else (self.directory, self.current)

    def moved(self, directory: object) -> Identity:
        """Return the same session, now in a directory, if that is one."""
        found = identified(self.id, directory)
        if found is None:
            return self
        return replace(self, current=None if found.directory == self.directory else found.directory)


#: What an id looks like that no command takes for an option and no system for a path.
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
#: The longest path of a directory, in characters: ``PATH_MAX`` less its NUL, limits.h.
_DIRECTORY_LIMIT = 4095


def identified(id: object, directory: object) -> Identity | None:  # noqa: A002
    """
    Return the identity in a record's values, which may be anything.

    None unless the id is a name that no command takes for an option and no system for a path,
    and the directory is an absolute path. It may have any characters that a path can have, so
    it is escaped where it is shown.
    """
    if not isinstance(id, str) or not isinstance(directory, str):
        return None
    if ID.fullmatch(id) is None or not os.path.isabs(directory):
        return None
    if len(directory) > _DIRECTORY_LIMIT or "\0" in directory:
        return None
    try:
        # What a file system's bytes are as a text, and nothing else.
        directory.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return None
    return Identity(id, directory)


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    What the end of a session says.

    :ivar kind: how the session stopped; None in the middle of a turn.
    :ivar key: identifies the record that decides, within the session.
    :ivar at: that record's timestamp, in seconds since the epoch; None if it has none.
    :ivar reset: when a limit ends, in seconds since the epoch; None if it is not stated.
    :ivar window: which of the account's limits it is, by the agent's own name; None if that is
        not stated.
    :ivar prompt: the text of the prompt that decides, if it can be a command's; else None.
    :ivar last_prompt: the text of the last prompt, also of one that was typed; only read for a
        stop that waiting can cure, and for the user's end.
    :ivar last_typed: whether that was typed into a terminal, as far as the agent knows; also
        read if it is the prompt that decides.
    :ivar last_prompt_at: its timestamp, in seconds since the epoch; None if it was not read.
    :ivar goes_on: whether the program has said that it goes on by itself when a limit ends, and
        has not taken it back.
    :ivar spends: whether going on costs more than the plan, as the record says.
    :ivar permission: whether what the session needs of a person is a permission.
    :ivar calling: whether a call of a tool has no result yet.
    :ivar progress: when the agent last did something that is no error, in seconds since the
        epoch; None if no such time was read.
    """

    kind: Kind | None
    key: str
    at: float | None = None
    reset: float | None = None
    progress: float | None = None
    prompt: str | None = None
    calling: bool = False
    last_prompt: str | None = None
    last_prompt_at: float | None = None
    last_typed: bool = False
    goes_on: bool = False
    spends: bool = False
    permission: bool = False
    window: str | None = None

    def believed(self, now: float) -> Verdict:
        """
        Return the verdict without the times at which no record can have been written.

        A record dated more than `CLOCK_SLACK` seconds ahead loses its time, and proves no
        progress. Its reset stays: waiting longer does no harm.

        :param now: seconds since the epoch.
        """
        latest = now + CLOCK_SLACK
        if max(self.at or 0.0, self.progress or 0.0) <= latest:
            return self
        at = None if self.at is not None and self.at > latest else self.at
        late = self.progress is not None and self.progress > latest
        return replace(self, at=at, progress=None if late else self.progress)
