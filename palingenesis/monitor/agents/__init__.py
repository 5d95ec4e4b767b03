"""
The agents whose sessions are monitored.

A further agent is one module that has what `Agent` asks for, and one line in `AGENTS`. What
an agent writes changes with its versions, so nothing outside its module knows about it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import tzinfo
from typing import Protocol

from palingenesis.monitor.agents import claude, codex
from palingenesis.monitor.owners import Processes
from palingenesis.monitor.sessions import Identity, Verdict
from palingenesis.monitor.transcript import Record, opened
from palingenesis.words import Owner


class Owners(Protocol):
    """What an agent's own files and the process table tell, at one moment, of its processes."""

    def owner(self, identity: Identity) -> Owner:
        """Tell whether a process of this session lives."""

    def asking(self, identity: Identity) -> bool:
        """Tell whether the session's process said last that it waits for a person."""


class Agent(Protocol):
    """What is known of an agent; a module has it all."""

    @property
    def TRANSCRIPTS(self) -> str:  # noqa: N802
        """Where transcripts are: a pattern for each level below the agent's home."""

    @property
    def COMMANDS(self) -> frozenset[str]:  # noqa: N802
        """The base names under which the agent's program runs."""

    def home(self, environment: Mapping[str, str]) -> str:
        """Tell which directory the agent keeps its files in."""

    def wanted(self, line: bytes) -> bool:
        """Tell cheaply whether a line may hold a record that `verdict` looks at."""

    def identity(self, records: Iterable[Record]) -> Identity | None:
        """Tell which session it is, from its first records, oldest first; None if it is none."""

    def verdict(self, records: Iterable[Record], local: tzinfo | None = None) -> Verdict:
        """
        Tell what the last records say, newest first.

        :param local: the zone of a time without one; the machine's own where None.
        """

    def owners(self, home: str, processes: Processes) -> Owners:
        """Look which processes live."""


#: The agents by the name under which they are configured and shown.
AGENTS: Mapping[str, Agent] = {"claude": claude, "codex": codex}


def owner_of(owners: Owners, processes: Processes, identity: Identity, path: str) -> Owner:
    """
    Tell whether a session's process lives.

    It is only proven gone where every process that may write to its transcript is seen.

    :param path: the transcript.
    """
    owner = owners.owner(identity)
    if owner is Owner.GONE and not processes.sees_all_of(path):
        return Owner.UNKNOWN
    return owner


def read(
    agent: Agent, path: str, known: Identity | None = None, local: tzinfo | None = None
) -> tuple[Identity, Verdict] | None:
    """
    Read which session a transcript holds, and what its end says.

    It takes a millisecond, and about 20 where megabytes have to be passed over.

    :param known: the identity, where an earlier reading of the same file told it.
    :param local: the zone of a time without one; the machine's own where None.
    :return: None where the file holds no session.
    :raises OSError: when the file cannot be read.
    """
    with opened(path) as transcript:
        identity = known or agent.identity(transcript.first())
        if identity is None:
            return None
        return identity, agent.verdict(transcript.last(agent.wanted), local)
