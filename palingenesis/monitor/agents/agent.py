"""
What an agent is, for the monitor.

An agent knows where its sessions are, what their records mean, and how to recognise a process
that has one of them. What it writes changes with its versions, so no other module knows of it.
"""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import tzinfo
from enum import Enum, auto
from itertools import islice, tee
from typing import ClassVar

from palingenesis.monitor.files import Walk
from palingenesis.monitor.owners import Owners, Snapshot
from palingenesis.monitor.screen import Screen
from palingenesis.monitor.sessions import Identity, Verdict
from palingenesis.monitor.tmux import Doubt
from palingenesis.monitor.transcript import (
    Growth,
    Record,
    Stamp,
    Transcript,
    field,
    growth_of,
    opened,
)
from palingenesis.paths import home_directory
from palingenesis.words import REVIVABLE, Kind

#: What the status of a model server's answer means, RFC 9110 section 15 and RFC 6585 section 4.
STATUSES: Mapping[int, Kind] = {
    **dict.fromkeys((401, 402, 403), Kind.REFUSED),
    **dict.fromkeys((408, *range(500, 600)), Kind.TRANSIENT),
    413: Kind.CONTEXT,
    429: Kind.LIMIT,
}
#: Steps that are looked through for the agent's last progress, and for the last prompt.
_DEPTH = 400


class What(Enum):
    """What a record reports."""

    #: A prompt, which begins a turn.
    PROMPT = auto()
    #: A message of the program's to the model, which begins a turn.
    NOTICE = auto()
    #: That a turn begins.
    TURN_BEGUN = auto()
    #: A reply, a tool's call or its result, in the middle of a turn.
    WORK = auto()
    #: A reply that may be the end of a turn, and does not say so.
    REPLY = auto()
    #: That a turn is over, and not how.
    TURN_OVER = auto()
    #: The end of a turn.
    END = auto()
    #: The end of a turn at a limit, whose figures may stand before it.
    LIMIT = auto()
    #: That the program goes on by itself when a limit ends.
    GOES_ON = auto()
    #: That the program does not go on by itself.
    STAYS = auto()
    #: A command that was typed.
    COMMAND = auto()
    #: What a typed command printed.
    OUTPUT = auto()
    #: What a person did without the model.
    LOCAL = auto()
    #: That the context has been made shorter.
    COMPACTED = auto()
    #: How full the limits are.
    FIGURES = auto()


@dataclass(frozen=True, slots=True)
class Step:
    """
    A step of a session, as one record reports it.

    :ivar key: identifies the record within the session.
    :ivar at: the record's timestamp, in seconds since the epoch; None if it has none.
    :ivar kind: how the session stopped, if nothing follows; None in the middle of a turn.
    :ivar reset: when a limit ends, in seconds since the epoch; None if that is not stated.
    :ivar window: which of the account's limits it is, by the agent's own name; None if that is
        not stated.
    :ivar progress: whether the agent did something that is no error.
    :ivar parent: the key of the record that it follows; None if it names none.
    :ivar prompt: the text of a prompt that a command can have given, or of one that was typed;
        else None.
    :ivar typed: whether it was typed into a terminal.
    :ivar calling: whether it calls a tool.
    :ivar spends: whether going on costs more than the plan.
    :ivar permission: whether what the session needs of a person is a permission.
    """

    what: What
    key: str
    at: float | None
    kind: Kind | None = None
    reset: float | None = None
    progress: bool = False
    parent: str | None = None
    prompt: str | None = None
    calling: bool = False
    spends: bool = False
    typed: bool = False
    permission: bool = False
    window: str | None = None

    def verdict(self) -> Verdict:
        """Return the verdict if this is the step that decides."""
        return Verdict(
            self.kind,
            self.key,
            self.at,
            self.reset,
            prompt=None if self.typed else self.prompt,
            last_typed=self.typed and self.prompt is not None,
            calling=self.calling,
            spends=self.spends,
            permission=self.permission,
            window=self.window,
        )


@dataclass(frozen=True, slots=True)
class InputLine:
    """
    The input line of an open program that waits for a prompt, as its agent knows it.

    :ivar pid: the program's process.
    :ivar start: the start time of that process, as `processes.Process` has it.
    :ivar doubt_of_empty: returns why a screen may not show the line empty, in words; None if it
        surely does.
    :ivar doubt_of_typed: the same about a text that was typed into it; it is also given the
        screen as it was before.
    """

    pid: int
    start: str
    doubt_of_empty: Callable[[Screen], str | None]
    doubt_of_typed: Callable[[Screen, Screen, str], str | None]


#: The verdict on a transcript that reports nothing.
UNREAD = Verdict(Kind.UNKNOWN, "")


class Agent(ABC):
    """
    An agent whose sessions are files of one JSON object a line.

    One that keeps them elsewhere overrides `sessions`, `stamp` and `read`. A transcript is then
    any text by which its agent finds a session again.

    :cvar name: the name under which it is configured and shown.
    :cvar programs: the names under which its program runs; see `processes.names_of`.
    :cvar home_variable: the environment variable that names its home.
    :cvar own_variables: the variables that it sets for its own children: in them it refuses to run,
        or believes that it is a child.
    :cvar home_name: its home's name in the user's home directory.
    :cvar transcripts: where its transcripts are; see `Walk.files`.
    :cvar wanted: what is in each line that may hold a record that `step` uses.
    :cvar preset: the arguments that revive a session; none of them bypasses permissions.
    :cvar queue_preset: those that hand its open program a prompt; empty if nothing does.
    """

    name: ClassVar[str]
    programs: ClassVar[frozenset[str]]
    home_variable: ClassVar[str]
    own_variables: ClassVar[frozenset[str]] = frozenset()
    home_name: ClassVar[str]
    transcripts: ClassVar[str]
    wanted: ClassVar[re.Pattern[bytes]]
    preset: ClassVar[tuple[str, ...]]
    queue_preset: ClassVar[tuple[str, ...]] = ()

    def home(self, environment: Mapping[str, str]) -> str:
        """Return the directory in which the agent keeps its files."""
        given = environment.get(self.home_variable, "")
        if os.path.isabs(given):
            return os.path.normpath(given)
        home = environment.get("HOME", "")
        if not os.path.isabs(home):
            # Without any, a place where nothing is, and not one below the current directory.
            home = home_directory() or os.devnull
        return os.path.join(home, self.home_name)

    def variables(self, home: str) -> Mapping[str, str]:
        """Return what the agent's program needs in its environment to use a home."""
        return {self.home_variable: home}

    def sessions(self, home: str, walk: Walk) -> Iterator[tuple[str, Stamp] | None]:
        """
        Yield each transcript with its stamp, and None for a pause.

        :param walk: finds the files, and keeps the bounds of a whole scan.
        """
        for found in walk.files(home, self.transcripts, whole=False):
            yield None if found is None else (found[0], Stamp.of(found[1]))

    def stamp(self, transcript: str) -> Stamp | None:
        """Return a transcript's stamp; None if it is gone or cannot be seen."""
        try:
            return Stamp.of(os.lstat(transcript))
        except OSError:
            return None

    def read(
        self, transcript: str, known: Identity | None = None, local: tzinfo | None = None
    ) -> tuple[Identity, Verdict] | None:
        """
        Read which session a transcript holds, and what its end says.

        It takes a millisecond, and about 20 if megabytes have to be passed over.

        :param known: the identity, if an earlier reading of the same transcript gave it.
        :param local: the zone of a time without one; the machine's own if None.
        :returns: None if the transcript holds no session.
        :raises OSError: if it cannot be read.
        """
        with opened(transcript) as file:
            identity = known or self.identity(file.first())
            if identity is None:
                return None
            # Read as far as the verdict needs, and further only for the progress.
            steps, again, further = tee(self.meaningful(file.last(self.is_wanted), local), 3)
            moved = identity.moved(self.directory(file))
            verdict = replace(self.verdict(steps), progress=self.progress(again))
            if verdict.kind not in (*REVIVABLE, Kind.USER):
                return moved, verdict
            last = _last_prompt(further)
            if last is None:
                return moved, verdict
            return moved, replace(
                verdict, last_prompt=last.prompt, last_prompt_at=last.at, last_typed=last.typed
            )

    def last_prompt(self, transcript: str) -> tuple[str | None, float | None]:
        """
        Read the text and the time of a transcript's last prompt, as `Verdict` has them.

        :raises OSError: if it cannot be read.
        """
        with opened(transcript) as file:
            last = _last_prompt(self.meaningful(file.last(self.is_wanted)))
            return (None, None) if last is None else (last.prompt, last.at)

    def directory(self, transcript: Transcript) -> object:
        """Return the directory that the newest record names; None if none does."""
        newest = next(transcript.last(self.is_wanted), None)
        if newest is None or newest.value is None:
            return None if newest is None else field(newest.beginning, "cwd")
        return newest.value.get("cwd")

    def is_own(self, transcript: str, session: Identity) -> bool:
        """Return whether a transcript is where the agent itself would keep this session."""
        folder, name = os.path.split(transcript)
        return session.id in name or session.id == os.path.basename(folder)

    def is_wanted(self, line: bytes) -> bool:
        """Return cheaply whether a line may hold a record that `step` uses."""
        return self.wanted.search(line) is not None

    @abstractmethod
    def identity(self, records: Iterable[Record]) -> Identity | None:
        """Return the session of a transcript's first records, oldest first; None if it is none."""

    def meaningful(self, records: Iterable[Record], local: tzinfo | None = None) -> Iterator[Step]:
        """
        Yield what the records report, and leave out those that report nothing.

        :param records: newest first.
        :param local: the zone of a time without one; the machine's own if None.
        """
        for record in records:
            step = self.step(record, local)
            if step is not None:
                yield step

    @abstractmethod
    def step(self, record: Record, local: tzinfo | None) -> Step | None:
        """Return what a record reports; None if that is nothing."""

    @abstractmethod
    def verdict(self, steps: Iterable[Step]) -> Verdict:
        """Return what the end of a session says; the steps are newest first."""

    def progress(self, steps: Iterable[Step]) -> float | None:
        """
        Return when the agent last did something that is no error; None if no such time is read.

        :param steps: newest first.
        """
        last = (step.at for step in islice(steps, _DEPTH) if step.progress)
        return next((at for at in last if at is not None), None)

    def growth(self, home: str, session: Identity, transcript: str) -> Growth:  # noqa: ARG002
        """
        Return how much there is of a session: for most agents, of its transcript.

        An agent whose sub-agents have files of their own counts those too.
        """
        return growth_of(self.stamp(transcript))

    @abstractmethod
    def owners(self, home: str, snapshot: Snapshot) -> Owners:
        """Read the agent's own files about its processes."""

    def input_line(self, home: str, session: Identity) -> InputLine:  # noqa: ARG002
        """
        Return the input line of the program that has a session open and waits for a prompt.

        :raises Doubt: if there is no such program, or its line is not known.
        """
        raise Doubt(f"nothing is known of the input line of {self.name}")


def _last_prompt(steps: Iterable[Step]) -> Step | None:
    """Return the last prompt among steps, which are newest first; None if there is none."""
    return next((step for step in islice(steps, _DEPTH) if step.what is What.PROMPT), None)
