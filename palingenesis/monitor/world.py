"""
The world as the monitor meets it: transcripts, processes, and the commands it starts.

The monitor's decisions are made elsewhere and reach the system through here alone, so a test
can put a world of its own in this place.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping

from palingenesis.monitor import processes, revive
from palingenesis.monitor.agents import AGENTS, Owners, owner_of, read
from palingenesis.monitor.child import CommandError
from palingenesis.monitor.ledger import Attempt
from palingenesis.monitor.owners import Processes
from palingenesis.monitor.owners import look as look_at_processes
from palingenesis.monitor.revive import Command, Revival
from palingenesis.monitor.scan import Change, Look, Place
from palingenesis.monitor.sessions import Identity, Verdict
from palingenesis.monitor.times import Times
from palingenesis.monitor.transcript import Stamp
from palingenesis.words import Owner


class Living:
    """
    Who was alive at one moment.

    :param looked: the processes.
    :param owners: what each agent's own files tell, by the agent's name.
    :param mentioned: whether a process has the session in question in its command line.
    """

    def __init__(
        self, looked: Processes, owners: Mapping[str, Owners], *, mentioned: bool = False
    ) -> None:
        self._processes = looked
        self._owners = owners
        self._mentioned = mentioned

    def owner(self, agent: str, session: Identity, transcript: str) -> Owner:
        """Tell whether a session's process lives."""
        if self._mentioned:
            return Owner.PROGRAM
        owners = self._owners.get(agent)
        if owners is None:
            return Owner.UNKNOWN
        return owner_of(owners, self._processes, session, transcript)

    def asking(self, agent: str, session: Identity) -> bool:
        """Tell whether a session's process said last that it waits for a person."""
        owners = self._owners.get(agent)
        return owners is not None and owners.asking(session)


class World:
    """
    The world of one user on one machine.

    :param state_directory: where the output of commands goes.
    :param trouble: called with one line for everything that keeps a look from being whole.
    :param environment: the daemon's environment; that of this process where None.
    :param umask: the umask of the commands; the daemon's own where negative.
    :ivar slow: whether :meth:`look` may take seconds, and belongs in a thread.
    """

    slow = sys.platform == "darwin"

    def __init__(
        self,
        state_directory: str,
        trouble: Callable[[str], None],
        times: Times,
        environment: Mapping[str, str] | None = None,
        umask: int = -1,
    ) -> None:
        self._state_directory = state_directory
        self._environment = os.environ if environment is None else environment
        self._umask = umask
        self._times = times
        self._look = Look(trouble)

    def homes(self, agents: Iterable[str] | None) -> dict[str, str]:
        """Tell where the agents keep their files; of those not named, where that exists."""
        homes = {name: agent.home(self._environment) for name, agent in AGENTS.items()}
        if agents is None:
            return {name: home for name, home in homes.items() if os.path.isdir(home)}
        return {name: homes[name] for name in agents}

    def scan(self, homes: Mapping[str, str]) -> Iterator[Change | None]:
        """Tell which transcripts have changed, in slices; see `Look.scan`."""
        places = {name: Place(home, AGENTS[name].TRANSCRIPTS) for name, home in homes.items()}
        return self._look.scan(places)

    def forget(self, path: str) -> None:
        """Have the next scan tell a transcript anew."""
        self._look.forget(path)

    def read(
        self, agent: str, path: str, known: Identity | None
    ) -> tuple[Identity, Verdict] | None:
        """
        Read a transcript; see `agents.read`.

        :raises OSError: when it cannot be read.
        """
        return read(AGENTS[agent], path, known)

    def stamp(self, path: str) -> Stamp | None:
        """Tell what a transcript is like; None where it is gone or cannot be seen."""
        try:
            return Stamp.of(os.lstat(path))
        except OSError:
            return None

    def look(self, homes: Mapping[str, str], session: str | None = None) -> Living:
        """
        Look which processes live.

        :param session: the id of a session that is about to be revived: a process that has it
            in its command line counts as its owner, whatever its name.
        """
        looked = look_at_processes()
        owners = {name: AGENTS[name].owners(home, looked) for name, home in homes.items()}
        mentioned = session is not None and processes.mentioning(session) is not None
        return Living(looked, owners, mentioned=mentioned)

    def directory_trouble(self, path: str) -> str | None:
        """Tell why no session can be revived in a directory, in one line; None where one can."""
        try:
            revive.check_directory(path)
        except CommandError as error:
            return str(error)
        return None

    def program(self, command: Command) -> str:
        """
        Find the program of a command.

        :raises CommandError: when there is none that can be run.
        """
        return revive.find_program(command, self._environment)

    def start(
        self, command: Command, agent: str, session: Identity, in_use: Iterable[str]
    ) -> Revival:
        """
        Start the command that revives a session; see `revive.start`.

        :raises CommandError: when it cannot be started; then nothing runs.
        """
        return revive.start(
            command,
            agent,
            session,
            self._state_directory,
            self._times,
            in_use=in_use,
            environment=self._environment,
            umask=self._umask,
        )

    def adopt(self, attempt: Attempt) -> Revival | None:
        """Find the command of an attempt again; see `revive.adopt`."""
        return revive.adopt(attempt, self._times)
