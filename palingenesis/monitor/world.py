"""
The world of the monitor: transcripts, processes, and the commands that it starts.

The monitor's decisions are made elsewhere and reach the system through this module alone, so a
test can put a world of its own in its place.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Container, Iterable, Iterator, Mapping

from palingenesis.monitor import revive
from palingenesis.monitor.agents import AGENTS
from palingenesis.monitor.child import CommandError
from palingenesis.monitor.homes import Home, HomeLocks, default_homes
from palingenesis.monitor.keeper import DAEMON, other_daemons
from palingenesis.monitor.ledger import Attempt, Stop
from palingenesis.monitor.owners import Owners, Snapshot, Witness, take_snapshot
from palingenesis.monitor.revive import Command, Revival
from palingenesis.monitor.scan import Change, Scans
from palingenesis.monitor.sessions import Identity, Verdict
from palingenesis.monitor.times import Times
from palingenesis.monitor.transcript import Growth, Stamp
from palingenesis.monitor.typist import Typing, Typist

#: Processes beyond which a look at them belongs in a thread: some 20 ms.
MANY_PROCESSES = 1000


class Living:
    """
    What has which session, at one moment.

    :param owners: what is known of each home's sessions, by the home's name.
    :ivar warnings: one line for everything that keeps the look from being whole.
    """

    def __init__(self, owners: Mapping[str, Owners], warnings: Iterable[str] = ()) -> None:
        self._owners = owners
        self.warnings = tuple(warnings)

    def of(self, home: Home) -> Owners:
        """Return what has the sessions of a home; if it is not monitored, that is unknown."""
        return self._owners.get(home.name) or _Unmonitored(home)


class _Unmonitored(Owners):
    """The owners of the sessions of a home that is not monitored."""

    def __init__(self, home: Home) -> None:
        super().__init__(Snapshot(None))
        self._home = home

    def witnessed(self, session: Identity, transcript: str) -> Witness:  # noqa: ARG002
        return Witness.unknown(f"{self._home.directory} is not monitored")


class World:
    """
    The world of one user on one machine.

    :param state_directory: where the output of commands goes.
    :param warn: called with one line, at each scan, for everything that keeps it from being whole.
    :param environment: the daemon's environment; that of this process if None.
    :param umask: the umask of the commands; the daemon's own if negative.
    :ivar home_locks: the locks of the homes that this daemon keeps.
    :ivar slow: whether :meth:`look` may take seconds, and belongs in a thread.
    """

    def __init__(
        self,
        state_directory: str,
        warn: Callable[[str], None],
        times: Times,
        environment: Mapping[str, str] | None = None,
        umask: int = -1,
    ) -> None:
        self.slow = sys.platform == "darwin"
        self._state_directory = state_directory
        self._environment = os.environ if environment is None else environment
        self._umask = umask
        self._times = times
        self._scans = Scans(warn, times)
        self._homes: list[Home] = []
        self.home_locks = HomeLocks()

    def default_homes(self) -> dict[str, Home]:
        """Return the home that each agent uses by default, by the agent's name."""
        return default_homes(self._environment)

    def homes(self, agents: Iterable[str] | None, named: Iterable[Home] = ()) -> list[Home]:
        """
        Return the homes to monitor.

        :param agents: whose default homes; those that exist if None.
        :param named: further homes. Of two that are the same directory, the named one counts.
        """
        defaults = self.default_homes()
        if agents is None:
            agents = [name for name, home in defaults.items() if os.path.isdir(home.directory)]
        homes = {os.path.realpath(defaults[name].directory): defaults[name] for name in agents}
        homes |= {os.path.realpath(home.directory): home for home in named}
        self._homes = list(homes.values())
        return self._homes

    def home_of(self, stop: Stop) -> Home:
        """Return the home that holds the transcript of a stop in the ledger."""
        default = self.default_homes()[stop.agent]
        fitting = [home for home in self._homes if home.agent == stop.agent]
        return next((home for home in fitting if home.holds(stop.transcript)), default)

    def scan(self, homes: Iterable[Home]) -> Iterator[Change | None]:
        """Yield the sessions that have changed; see `Scans.changes`."""
        return self._scans.changes(homes)

    def forget(self, transcript: str) -> None:
        """Have the next scan report a session anew."""
        self._scans.forget(transcript)

    def read(
        self, home: Home, transcript: str, known: Identity | None
    ) -> tuple[Identity, Verdict] | None:
        """
        Read a transcript; see `Agent.read`.

        :raises OSError: if it cannot be read.
        """
        return home.kind.read(transcript, known)

    def last_prompt(self, home: Home, transcript: str) -> tuple[str | None, float | None]:
        """Return the text and the time of a transcript's last prompt; None if it is unreadable."""
        try:
            return home.kind.last_prompt(transcript)
        except OSError:
            return None, None

    def stamp(self, home: Home, transcript: str) -> Stamp | None:
        """Return a transcript's stamp; None if it is gone or cannot be seen."""
        return home.kind.stamp(transcript)

    def look(self, homes: Iterable[Home], commands: Container[int]) -> Living:
        """
        Look which processes live.

        :param commands: the pids of the commands that revive sessions: no witnesses of another.
        """
        programs = frozenset({DAEMON}).union(*(agent.programs for agent in AGENTS.values()))
        snapshot = take_snapshot(commands=commands, programs=programs)
        self.slow = len(snapshot.processes or ()) > MANY_PROCESSES
        owners, warnings = {}, [*other_daemons(snapshot, self._state_directory)]
        for home in homes:
            owners[home.name] = home.kind.owners(home.directory, snapshot)
            warnings += owners[home.name].warnings
            blindness = snapshot.blindness(os.path.join(home.directory, ""))
            if blindness is not None and os.path.isdir(home.directory):
                warnings.append(f"No session in {home.directory} can be revived: {blindness}")
        return Living(owners, warnings)

    def directory_warning(self, path: str) -> str | None:
        """Return why no session can be revived in a directory, in one line; None if one can."""
        try:
            revive.check_directory(path)
        except CommandError as error:
            return str(error)
        return None

    def program(self, command: Command) -> str:
        """
        Find the program of a command.

        :raises CommandError: if there is none that can be run.
        """
        return revive.find_program(command, self._environment)

    def output_warning(self) -> str | None:
        """Return why no command's output can be kept, in one line; None if nothing is known."""
        return revive.output_warning(self._state_directory)

    def start(
        self,
        command: Command,
        home: Home,
        session: Identity,
        in_use: Iterable[str],
        keep: int,
        intend: Callable[[], object],
    ) -> Revival:
        """
        Start the command that revives a session; see `revive.start`.

        :raises CommandError: if it cannot be started; then nothing runs.
        :raises ResourceError: if no command can be.
        """
        return revive.start(
            command,
            home,
            session,
            self._state_directory,
            self._times,
            intend,
            in_use=in_use,
            keep=keep,
            environment=self._environment,
            umask=self._umask,
        )

    def doubt_of_typing(self, home: Home, session: Identity) -> str | None:
        """Return why no prompt can be typed into a session's program; it may take seconds."""
        return self._typist(home, session).doubt()

    def type(
        self, home: Home, session: Identity, prompt: str, forbids: Callable[[], str | None]
    ) -> Typing:
        """Begin to type a prompt into a session's program; see `Typist.type`."""
        return Typing(self._typist(home, session), prompt, forbids)

    def _typist(self, home: Home, session: Identity) -> Typist:
        return Typist(home, session, self._environment, self._times.wall)

    def adopt(self, attempt: Attempt, command: Command | None) -> Revival | None:
        """
        Find the command of an attempt again; see `revive.adopt`.

        :param command: what the configuration says today.
        """
        stamp = self.stamp(self.home_of(attempt.stop), attempt.stop.transcript)
        grown = attempt.at if stamp is None else max(attempt.at, stamp.mtime_ns / 1e9)
        # While the machine slept, nothing could grow; when that was is not known.
        quiet = self._times.wall() - grown - self._times.suspended()
        return revive.adopt(attempt, command, self._times, quiet)

    def growth(self, home: Home, session: Identity, transcript: str) -> Growth:
        """Return how much there is of a session; see `Agent.growth`."""
        return home.kind.growth(home.directory, session, transcript)
