"""One run: servers, command lines and whatever else is compared, measured in turns."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict, dataclass
from statistics import median
from typing import TypeVar

from figures import Figures, Rows, Scale
from harness import (
    HAS_ACTIVITY,
    HERE,
    SCRIPTS,
    SERVER_CPU,
    BenchmarkError,
    Generator,
    activity,
    ask,
    idle_connections,
    machine,
    started,
)

CLIENTS = 8
TWISTD = os.path.join(SCRIPTS, "twistd")

_T = TypeVar("_T")


@dataclass(frozen=True)
class Server:
    """
    A server that is measured.

    :ivar label: its row.
    :ivar argv: makes its command line from the path of the socket.
    :ivar clients: how many clients ask at once.
    :ivar idle: how many idle connections are held beside the load.
    """

    label: str
    argv: Callable[[str], list[str]]
    clients: int = CLIENTS
    idle: int = 0


def ours(*options: str, config: str | None = None) -> Callable[[str], list[str]]:
    """Make the command line of ``twistd palingenesis``."""
    # Without its PID file, several can run in one directory.
    start = [TWISTD, "-n", "--pidfile=", *options, "palingenesis"]
    named = ["--config", config] if config else []
    return lambda path: [*start, "--socket", path, *named]


def other(name: str, *timeout: str) -> Callable[[str], list[str]]:
    """Make the command line of one of ``servers.py``."""
    return lambda path: [sys.executable, os.path.join(HERE, "servers.py"), name, path, *timeout]


OURS = Server("palingenesis", ours())
LINE_RECEIVER = Server("LineReceiver, callLater", other("twisted"))
SERVERS = [
    OURS,
    Server("palingenesis, asyncio reactor", ours("--reactor", "asyncio")),
    LINE_RECEIVER,
    Server("asyncio streams", other("asyncio-streams")),
    Server("asyncio Protocol", other("asyncio-protocol")),
]


class Bench:
    """One run: its scale, its load generator and its temporary directory."""

    def __init__(self, directory: str, scale: Scale) -> None:
        self.directory = directory
        self.scale = scale
        self.generator = Generator(directory)
        self.machine = machine(self.generator)
        self.environment = os.environ | {
            "XDG_CONFIG_HOME": directory,
            "PALINGENESIS_STATE": os.path.join(directory, "state"),
            # No agents but those that a section makes up.
            "CLAUDE_CONFIG_DIR": os.path.join(directory, "claude"),
            "CODEX_HOME": os.path.join(directory, "codex"),
        }
        for name in ("PALINGENESIS_SOCKET", "PYTHONDONTWRITEBYTECODE"):
            # Without bytecode every start compiles what an installation has compiled before.
            self.environment.pop(name, None)
        self._sockets = 0
        self._turns = 0

    def figures(
        self, rows: Rows, absent: dict[str, str] | None = None, remarks: Sequence[str] = ()
    ) -> Figures:
        """Make a section's figures, with where and how they were taken."""
        return Figures(self.machine, self.scale, rows, absent or {}, list(remarks))

    def file(self, name: str, text: str) -> str:
        """Write a file in the temporary directory, and return its path."""
        path = os.path.join(self.directory, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write(text)
        return path

    def socket(self) -> str:
        """Return a new path for a socket."""
        self._sockets += 1
        return os.path.join(self.directory, f"{self._sockets}.sock")

    def rounds(self, section: str) -> Iterator[int]:
        """Count the rounds, and say so on standard error."""
        for number in range(self.scale.rounds):
            print(f"{section}: round {number + 1} of {self.scale.rounds}", file=sys.stderr)
            yield number

    def turn(self, items: Sequence[_T]) -> list[_T]:
        """Rotate the order, so that nothing always follows the same one."""
        self._turns += 1
        first = self._turns % len(items)
        return [*items[first:], *items[:first]]

    def started(
        self, argv: Sequence[str], path: str
    ) -> AbstractContextManager[subprocess.Popen[bytes]]:
        """Run a server on the servers' processor; see `harness.started`."""
        return started(argv, path, self.environment, cpu=SERVER_CPU)

    def load(self, section: str, servers: Sequence[Server]) -> Rows:
        """
        Put load on servers, in short slices in turns, so that all see the same machine.

        Every round has fresh processes: how one of them happens to lie in memory is no
        property of its code.

        :returns: for each label ``rate`` (commands a second), ``p50`` and ``p99`` (microseconds
            from connect to end of file), ``alone`` (the p50 of a single client), ``cost``
            (microseconds of the server's processor for a command; 0 if the system does not
            say) and ``busy`` (the part of a processor that the load generator used): the
            medians of each round's slices.
        """
        rows: Rows = {server.label: {} for server in servers}
        for _ in self.rounds(section):
            with ExitStack() as stack:
                running = {}
                for server in servers:
                    path = self.socket()
                    process = stack.enter_context(self.started(server.argv(path), path))
                    running[server] = path, process.pid
                    stack.enter_context(idle_connections(path, server.idle))
                    if b'"total_resumes"' not in ask(path):
                        raise BenchmarkError(f"{server.label} does not answer STATUS")
                    self.generator.run(path, server.clients, self.scale.slice_seconds / 2)
                slices: dict[str, list[_Slice]] = {server.label: [] for server in servers}
                for _ in range(self.scale.slices):
                    for server in self.turn(servers):
                        slices[server.label].append(self._slice(server.clients, *running[server]))
            for label, seen in slices.items():
                for quantity in asdict(seen[0]):
                    value = median(getattr(each, quantity) for each in seen)
                    rows[label].setdefault(quantity, []).append(value)
        return rows

    def time_in_turns(
        self, section: str, labels: Sequence[str], times: int, once: Callable[[str], float]
    ) -> Rows:
        """
        Time each of several things in turns, after once without counting.

        :param times: how often in each round.
        :param once: does one of them, and returns the seconds it took.
        :returns: for each label ``seconds``, the medians of the rounds.
        """
        for label in labels:
            once(label)
        rows: Rows = {label: {"seconds": []} for label in labels}
        for _ in self.rounds(section):
            seconds: dict[str, list[float]] = {label: [] for label in labels}
            for _ in range(times):
                for label in self.turn(labels):
                    seconds[label].append(once(label))
            for label, values in seconds.items():
                rows[label]["seconds"].append(median(values))
        return rows

    def _slice(self, clients: int, path: str, pid: int) -> _Slice:
        seconds = self.scale.slice_seconds
        before = activity(pid)[0] if HAS_ACTIVITY else 0.0
        crowd = self.generator.run(path, clients, seconds)
        cost = activity(pid)[0] - before if HAS_ACTIVITY else 0.0
        alone = self.generator.run(path, 1, seconds / 2)
        # The last command of each client is answered, but not counted.
        cost *= 1e6 / (crowd.count + clients)
        return _Slice(crowd.rate, crowd.p50, crowd.p99, alone.p50, cost, crowd.busy)


@dataclass(frozen=True)
class _Slice:
    """What `Bench.load` measures of one server in one turn."""

    rate: float
    p50: float
    p99: float
    alone: float
    cost: float
    busy: float
