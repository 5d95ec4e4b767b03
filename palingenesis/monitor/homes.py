"""
Homes: the directories in which agents keep their sessions, and which of them this daemon keeps.

The right to revive belongs to a home, and not to a state directory: two daemons of a user may
have different state directories, and would start each revival twice.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from palingenesis.monitor import machine
from palingenesis.monitor.agents import AGENTS
from palingenesis.monitor.agents.agent import Agent
from palingenesis.monitor.mounts import is_shared_at, read_mounts
from palingenesis.pathlock import holder


@dataclass(frozen=True, slots=True)
class Home:
    """
    A directory in which an agent keeps its sessions.

    :ivar name: the name that the configuration has for it; a default home has its agent's.
    :ivar agent: the agent's name.
    :ivar is_named: whether it is one of ``[homes]``, so that its agent needs its variable.
    """

    name: str
    agent: str
    directory: str
    is_named: bool = False

    @property
    def kind(self) -> Agent:
        """What is known of its agent."""
        return AGENTS[self.agent]

    def holds(self, transcript: str) -> bool:
        """Return whether a transcript is in this home."""
        return transcript.startswith(os.path.join(self.directory, ""))

    def others(self, environment: Mapping[str, str]) -> Iterator[str]:
        """
        Yield the homes of the same agent that an environment names, or that have a name like this.

        ``~/.claude-work`` is like ``~/.claude`` if there are transcripts' directories in it.
        """
        named = self.kind.home(environment)
        if os.path.isdir(named):
            yield named
        parent, name = os.path.split(self.directory)
        inner, slash, _ = self.kind.transcripts.partition("/")
        try:
            names = sorted(os.listdir(parent)) if slash else []
        except OSError:
            return
        for each in names:
            place = os.path.join(parent, each)
            if each.startswith((f"{name}-", f"{name}_", f"{name}.")) and os.path.isdir(
                os.path.join(place, inner)
            ):
                yield place

    @property
    def environment(self) -> Mapping[str, str]:
        """What an agent's program needs in its environment to use this home."""
        return self.kind.variables(self.directory) if self.is_named else {}


def default_homes(environment: Mapping[str, str]) -> dict[str, Home]:
    """Return the home that each agent uses by default, by the agent's name."""
    return {name: Home(name, name, agent.home(environment)) for name, agent in AGENTS.items()}


class HomeLock:
    """
    The right to revive the sessions of a home: an flock(2) on the directory itself.

    It needs no file, works on a read-only file system, and is seen by every daemon whatever its
    environment. On a file system that other machines share it is never taken.

    :ivar was_seen_held: whether another daemon held it when this one last tried.
    :ivar warning: why this daemon does not keep the home, in one line; None if it does, or if
        there is no such directory.
    """

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._descriptor: int | None = None
        self.was_seen_held = False
        self.warning: str | None = None

    @property
    def is_held(self) -> bool:
        """Whether this daemon keeps the home."""
        return self._descriptor is not None

    def take(self) -> bool:
        """Try to keep the home, and return whether this daemon keeps it; call it at each tick."""
        if self._descriptor is not None and not self._is_the_same(self._descriptor):
            self.release()
        if self._descriptor is None:
            self.warning = None
            try:
                self._descriptor = self._locked()
            except FileNotFoundError:
                pass
            except BlockingIOError:
                self.was_seen_held = True
                pid = self.holder()
                shown = "another daemon" if pid is None else f"another daemon (pid {pid})"
                self.warning = f"{shown} keeps it"
            except OSError as error:
                self.warning = f"cannot be kept: {error.strerror}"
        return self._descriptor is not None

    def holder(self) -> int | None:
        """Return the pid of another daemon that keeps the home; None if the kernel does not say."""
        if sys.platform == "darwin":
            process = holder(self._directory)
            return None if process is None else process.pid
        try:
            inode = os.stat(self._directory).st_ino
        except OSError:
            return None
        # The process that locked, proc_locks(5); the device is not the one of stat(2) on btrfs.
        locks = machine.table("/proc/locks") or ""
        held = rf"^\d+: FLOCK +\w+ +WRITE +(\d+) \w+:\w+:{inode} "
        found = re.search(held, locks, re.MULTILINE)
        return int(found[1]) if found else None

    def release(self) -> None:
        """Release the lock."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _locked(self) -> int:
        descriptor = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            mounts = read_mounts()
            device = os.fstat(descriptor).st_dev
            if mounts is None or is_shared_at(self._directory, device, mounts):
                raise OSError(errno.ENOLCK, "other machines may share its file system")
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _is_the_same(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.stat(self._directory), os.fstat(descriptor))
        except OSError:
            return False


class HomeLocks:
    """The locks of the homes that are monitored."""

    def __init__(self) -> None:
        self._locks: dict[str, HomeLock] = {}

    def take(self, homes: Collection[Home]) -> list[Home]:
        """
        Try to keep each home, and let go of every other one.

        :returns: the homes that are newly kept, and that another daemon kept until now.
        """
        directories = {home.directory for home in homes}
        for directory in [each for each in self._locks if each not in directories]:
            self._locks.pop(directory).release()
        taken_over = []
        for home in homes:
            lock = self._locks.setdefault(home.directory, HomeLock(home.directory))
            if lock.take() and lock.was_seen_held:
                lock.was_seen_held = False
                taken_over.append(home)
        return taken_over

    def keeper_of(self, home: Home) -> bool | int | None:
        """Return True if this daemon keeps a home; else the pid that does, if it is known."""
        lock = self._locks.get(home.directory)
        if lock is None:
            return None
        return True if lock.is_held else lock.holder()

    def warning_of(self, home: Home) -> str | None:
        """Return why this daemon does not keep a home, in one line; None if nothing is wrong."""
        lock = self._locks.get(home.directory)
        return None if lock is None or lock.warning is None else f"{home.directory}: {lock.warning}"

    def release(self) -> None:
        """Let go of every home."""
        self.take(())
