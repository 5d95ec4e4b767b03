"""A world without files and processes: transcripts as verdicts, and commands that tests end."""

from __future__ import annotations

import copy
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Self

from palingenesis.monitor.agents import AGENTS
from palingenesis.monitor.child import CommandError, ResourceError
from palingenesis.monitor.homes import Home, HomeLocks
from palingenesis.monitor.ledger import Attempt, Stop
from palingenesis.monitor.owners import Owners, Snapshot, Witness
from palingenesis.monitor.revive import GRACE, QUICK, Command, Ended, Revival
from palingenesis.monitor.scan import Change
from palingenesis.monitor.sessions import Identity, Verdict
from palingenesis.monitor.times import Times
from palingenesis.monitor.transcript import Growth, Stamp
from palingenesis.monitor.typist import Typed, Typing
from palingenesis.monitor.world import Living, World
from palingenesis.words import Kind, Owner


@dataclass
class File:
    """
    A transcript.

    :ivar generation: how often it has been written to.
    :ivar written: when that was last, in seconds since the epoch.
    :ivar typed: whether its last prompt was typed.
    """

    home: Home
    identity: Identity
    verdict: Verdict
    generation: int
    written: float
    typed: bool = False

    @property
    def stamp(self) -> Stamp:
        return Stamp(1, 1, self.generation, int(self.written * 1e9))


class FakeRevival(Revival):
    """A command that runs until a test ends it."""

    def __init__(self, pid: int, began: str, times: Times, *, ours: bool = True) -> None:
        super().__init__(pid, began, f"/output/{pid}", times)
        self.ours = ours
        self.exit: int | None = None
        self.alive = True
        self.ended_soon = False

    def finish(self, status: int = 0, *, soon: bool = False) -> None:
        """
        End it.

        :param soon: whether it ends soon after its start, even if the next tick is far away.
        """
        self.alive, self.exit, self.ended_soon = False, status, soon

    def poll(self, stall: float) -> Ended | None:
        now = self._times.monotonic()
        if not self.alive:
            soon = self.ended_soon or now - self._started < QUICK
            soon = self.ours and soon and not self.is_ending
            return Ended(self.exit if self.ours else None, self._stalled, soon)
        if self._killing is None and now - self._grown >= stall:
            self._killing, self._stalled = now + GRACE, True
        elif self._killing is not None and now >= self._killing:
            self.finish(-9)
        return None

    def adopted(self) -> FakeRevival:
        other = FakeRevival(self.pid, self.began or "", self._times, ours=False)
        other.alive, other.exit = self.alive, self.exit
        return other


@dataclass
class Start:
    """A command that was started."""

    at: float
    command: Command
    agent: str
    session: Identity
    revival: FakeRevival


class FakeLiving(Living):
    """Who is alive, as the world said when it was looked at."""

    def __init__(
        self,
        owners: Mapping[tuple[str, str], Owner],
        asking: set[str],
        exits: Mapping[str, float],
        interactive: set[str],
        queue: Mapping[str, bool | None],
    ) -> None:
        super().__init__({})
        self.interactive = set(interactive)
        self.queue = dict(queue)
        self.told = dict(owners)
        self.waits = set(asking)
        self.exits = dict(exits)

    def of(self, home: Home) -> FakeOwners:
        return FakeOwners(self, home.agent)


class FakeOwners(Owners):
    """What has the sessions of an agent, as the world said."""

    def __init__(self, living: FakeLiving, agent: str) -> None:
        super().__init__(Snapshot(None))
        self._living = living
        self._agent = agent

    def witness(self, session: Identity, transcript: str) -> Witness:  # noqa: ARG002
        owner = self._living.told.get((self._agent, session.id), Owner.GONE)
        return Witness(owner, is_interactive=session.id in self._living.interactive)

    witnessed = witness

    def is_asking(self, session: Identity) -> bool:
        return session.id in self._living.waits

    def is_queued(self, session: Identity) -> bool | None:
        return self._living.queue.get(session.id, False)

    def has_left(self, session: Identity, since: float) -> bool:
        return self._living.exits.get(session.id, since) > since


class FakeTyping(Typing):
    """
    A prompt that is typed once a test says so.

    :ivar forbids: why no key may be pressed; asked as a thread would.
    """

    def __init__(self, prompt: str, forbids: Callable[[], str | None]) -> None:
        self.outcome = None
        self.prompt = prompt
        self.forbids = forbids

    def finish(self, doubt: str | None = None, *, typed: bool = True) -> None:
        """Have the text be typed, and sent unless something is in doubt."""
        doubt = doubt or self.forbids()
        self.outcome = Typed(typed, doubt is None, doubt)


class FakeHomeLocks(HomeLocks):
    """
    Locks of homes that no kernel holds.

    :param holders: who holds each home, by its directory; all daemons of a world share it.
    """

    def __init__(self, holders: dict[str, FakeHomeLocks]) -> None:
        self._holders = holders
        self._refused: set[str] = set()

    def take(self, homes: Iterable[Home]) -> list[Home]:
        wanted = {home.directory: home for home in homes}
        for directory in [each for each, by in self._holders.items() if by is self]:
            if directory not in wanted:
                del self._holders[directory]
        taken_over = []
        for directory, home in wanted.items():
            if self._holders.setdefault(directory, self) is not self:
                self._refused.add(directory)
            elif directory in self._refused:
                self._refused.remove(directory)
                taken_over.append(home)
        return taken_over

    def keeper_of(self, home: Home) -> bool | int | None:
        holder = self._holders.get(home.directory)
        return True if holder is self else None if holder is None else 4242

    def warning_of(self, home: Home) -> str | None:  # noqa: ARG002
        return None


class FakeWorld(World):
    """
    A world that a test arranges.

    :ivar interactive: the ids of the sessions whose owner takes a message.
    :ivar queue: whether a message waits for a session, by its id; None if that is not known.
    :ivar doubts: why no prompt can be typed for a session, by its id.
    :ivar typings: the prompts that were to be typed.
    :ivar prompt: the text of the last prompt in each transcript, and just now.
    :ivar checks: called before every command that is started.
    """

    slow = False

    def __init__(self, times: Times) -> None:
        self.times = times
        self.now = times.wall
        self.files: dict[str, File] = {}
        self.owners: dict[tuple[str, str], Owner] = {}
        self.waiting: set[str] = set()
        self.below: dict[str, int] = {}
        self.exits: dict[str, float] = {}
        self.interactive: set[str] = set()
        self.queue: dict[str, bool | None] = {}
        self.doubts: dict[str, str] = {}
        self.typings: list[FakeTyping] = []
        self.prompt = "continue"
        self.starts: list[Start] = []
        self.commands: dict[int, FakeRevival] = {}
        self.looks = 0
        #: The homes of the last look.
        self.looked_into: list[str] = []
        self.reads = 0
        self.unreadable: set[str] = set()
        self.bad_directories: set[str] = set()
        self.no_program = False
        self.start_error: CommandError | None = None
        self.no_output: str | None = None
        self.checks: list[Callable[[str, Identity], None]] = []
        self.on_look: list[Callable[[], None]] = []
        self._known: dict[str, Stamp] = {}
        self.holders: dict[str, FakeHomeLocks] = {}
        self.home_locks = FakeHomeLocks(self.holders)

    def write(
        self,
        session: str,
        kind: Kind | None,
        *,
        agent: str = "claude",
        home: Home | None = None,
        path: str | None = None,
        directory: str | None = None,
        at: float | None = None,
        reset: float | None = None,
        progress: bool = False,
        key: str | None = None,
        goes_on: bool = False,
        prompt: str | None = None,
        typed: bool = False,
        calling: bool = False,
        spends: bool = False,
    ) -> File:
        """
        Append a record to a session's transcript.

        :param progress: whether it is the agent's own.
        :param prompt: the text of a prompt, if the record is one.
        :param typed: whether the agent says that it was typed.
        """
        now = self.now() if at is None else at
        path = path or f"/transcripts/{session}.jsonl"
        old = self.files.get(path)
        generation = old.generation + 1 if old is not None else 1
        before = old.verdict if old is not None else Verdict(None, "")
        last_typed = typed if prompt is not None or old is None else old.typed
        verdict = Verdict(
            kind,
            key or f"{session}#{generation}",
            now,
            reset,
            progress=now if progress else before.progress,
            prompt=None if typed else prompt,
            calling=calling,
            last_prompt=before.last_prompt if prompt is None else prompt,
            last_prompt_at=before.last_prompt_at if prompt is None else now,
            last_typed=typed if kind is None else last_typed,
            goes_on=goes_on,
            spends=spends,
        )
        identity = Identity(session, directory or f"/home/{session}")
        file = File(home or home_of(agent), identity, verdict, generation, now, last_typed)
        self.files[path] = file
        return file

    def restart(self) -> None:
        """Be what a daemon meets that has just started: nothing has been looked at."""
        self._known = {}

    def view(self) -> Self:
        """Give the same world to another daemon, which has not looked at it."""
        other = copy.copy(self)
        other.home_locks = FakeHomeLocks(self.holders)
        other.restart()
        return other

    def default_homes(self) -> dict[str, Home]:
        return {agent: home_of(agent) for agent in AGENTS}

    def homes(self, agents: Iterable[str] | None, named: Iterable[Home] = ()) -> list[Home]:
        return [*(home_of(agent) for agent in AGENTS if agents is None or agent in agents), *named]

    def home_of(self, stop: Stop) -> Home:
        return home_of(stop.agent)

    def scan(self, homes: Iterable[Home]) -> Iterator[Change | None]:
        names = [home.name for home in homes]
        files = {path: file for path, file in self.files.items() if file.home.name in names}
        for path, file in files.items():
            if self._known.get(path) != file.stamp:
                self._known[path] = file.stamp
                yield Change(file.home, path, file.stamp)
        for path in [path for path in self._known if path not in files]:
            del self._known[path]
            yield Change(home_of("claude"), path, None)

    def forget(self, transcript: str) -> None:
        self._known.pop(transcript, None)

    def read(
        self,
        home: Home,  # noqa: ARG002
        transcript: str,
        known: Identity | None,  # noqa: ARG002
    ) -> tuple[Identity, Verdict] | None:
        self.reads += 1
        if transcript in self.unreadable:
            raise PermissionError(13, "Permission denied", transcript)
        file = self.files[transcript]
        return file.identity, file.verdict

    def last_prompt(
        self,
        home: Home,  # noqa: ARG002
        transcript: str,  # noqa: ARG002
    ) -> tuple[str | None, float | None]:
        return self.prompt, self.now()

    def stamp(self, home: Home, transcript: str) -> Stamp | None:  # noqa: ARG002
        file = self.files.get(transcript)
        return None if file is None else file.stamp

    def look(
        self,
        homes: Iterable[Home],
        commands: Container[int],
    ) -> Living:
        self.looks += 1
        self.looked_into = [home.name for home in homes]
        owners, interactive = dict(self.owners), set(self.interactive)
        for start in self.starts:
            if start.revival.alive and start.revival.pid not in commands:
                owners[start.agent, start.session.id] = Owner.PROGRAM
                interactive.discard(start.session.id)
        living = FakeLiving(owners, self.waiting, self.exits, interactive, self.queue)
        for do in self.on_look:
            do()
        return living

    def directory_warning(self, path: str) -> str | None:
        return f"{path}: no such directory" if path in self.bad_directories else None

    def program(self, command: Command) -> str:
        if self.no_program:
            raise CommandError(f"{command.arguments[0]}: no such program")
        return f"/bin/{command.arguments[0]}"

    def output_warning(self) -> str | None:
        return self.no_output

    def start(
        self,
        command: Command,
        home: Home,
        session: Identity,
        in_use: Iterable[str],
        keep: int,  # noqa: ARG002
        intend: Callable[[], object],
    ) -> Revival:
        if isinstance(self.start_error, ResourceError):
            raise self.start_error
        intend()
        if self.start_error is not None:
            raise self.start_error
        for check in self.checks:
            check(home.agent, session)
        pid = 1000 + len(self.starts)
        revival = FakeRevival(pid, f"began-{pid}", self.times)
        self.commands[pid] = revival
        self.starts.append(Start(self.now(), command, home.agent, session, revival))
        assert revival.output not in [*in_use]
        return revival

    def doubt_of_typing(self, home: Home, session: Identity) -> str | None:  # noqa: ARG002
        return self.doubts.get(session.id)

    def type(
        self,
        home: Home,  # noqa: ARG002
        session: Identity,  # noqa: ARG002
        prompt: str,
        forbids: Callable[[], str | None],
    ) -> Typing:
        self.typings.append(FakeTyping(prompt, forbids))
        return self.typings[-1]

    def growth(self, home: Home, session: Identity, transcript: str) -> Growth:  # noqa: ARG002
        file = self.files.get(transcript)
        if file is None:
            return Growth((None, self.below.get(session.id)), 0.0)
        return Growth((file.generation, self.below.get(session.id)), file.written)

    def adopt(self, attempt: Attempt, command: Command | None) -> Revival | None:  # noqa: ARG002
        for start in self.starts:
            found = start.revival
            mentioned = attempt.pid is None and start.session.id == attempt.stop.session
            if found.alive and (found.pid == attempt.pid or mentioned):
                other = found.adopted()
                # Whatever ends the one ends the other.
                start.revival = self.commands[found.pid] = other
                return other
        return None


def home_of(agent: str) -> Home:
    return Home(agent, agent, f"/home/.{agent}")
