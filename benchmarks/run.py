"""
Measure the control socket against what a user would pick instead; print tables of ratios.

Whatever is compared is measured in one run, in turns, in an order that rotates. A ratio
is taken within each round; shown are the median of the rounds, and the least and greatest.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import astuple, dataclass, replace
from statistics import median
from typing import TypeVar

from harness import (
    HAS_ACTIVITY,
    HERE,
    SCRIPTS,
    SERVER_CPU,
    BenchmarkError,
    Generator,
    Table,
    activity,
    ask,
    facts,
    idle_connections,
    memory,
    ratio,
    started,
    wall_time,
)

CLIENTS = 8
WARM_UP = 5
TWISTD = os.path.join(SCRIPTS, "twistd")

COLUMNS = (
    f"Per second, p50 and p99: {CLIENTS} clients at once; alone: the p50 of one client; processor: "
    "the server's processor time for a command; all times in microseconds."
)

NOTHING = """\
import os, socket
from twisted.application.service import Service
from twisted.python.usage import Options

class Nothing(Service):
    def startService(self):
        from twisted.internet import reactor
        reactor.callWhenRunning(self.show)

    def show(self):
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(os.environ["NOTHING_SOCKET"])
        self.listener.listen()

def makeService(options):
    return Nothing()
"""
NOTHING_TAC = """\
from nothing import Nothing
from twisted.application.service import Application
application = Application("nothing")
Nothing().setServiceParent(application)
"""
NOTHING_PLUGIN = """\
from twisted.application.service import ServiceMaker
nothing = ServiceMaker("nothing", "nothing", "Do nothing.", "nothing")
"""
SUPERVISORD = """\
[unix_http_server]
file={path}
[supervisord]
nodaemon=true
logfile=/dev/null
logfile_maxbytes=0
pidfile={path}.pid
{user}
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://{path}
"""

_T = TypeVar("_T")


@dataclass(frozen=True)
class Scale:
    """
    How much to measure.

    :ivar rounds: repetitions, with fresh processes.
    :ivar slices: turns of each server within a round.
    :ivar slice_seconds: how long a turn is.
    :ivar commands: runs of each command line within a round.
    :ivar starts: starts of each daemon within a round.
    :ivar rest_seconds: how long daemons at rest are watched.
    :ivar crowd: the greatest number of idle connections.
    """

    rounds: int = 5
    slices: int = 8
    slice_seconds: float = 0.25
    commands: int = 10
    starts: int = 4
    rest_seconds: float = 10.0
    crowd: int = 500


QUICK = Scale(1, slices=1, slice_seconds=0.1, commands=1, starts=1, rest_seconds=0.5, crowd=50)


@dataclass(frozen=True)
class Server:
    """
    A server that is measured.

    :ivar label: its row.
    :ivar argv: makes its command line from the path of the socket.
    :ivar idle: how many idle connections are held beside the load.
    """

    label: str
    argv: Callable[[str], list[str]]
    idle: int = 0


@dataclass(frozen=True)
class Result:
    """
    A server in one slice, or in a round the medians of its slices; times in microseconds.

    :ivar rate: commands a second.
    :ivar p50: median time from connect to end of file, of several clients at once.
    :ivar p99: its 99th percentile.
    :ivar alone: the median with one client.
    :ivar cost: the server's processor time for a command.
    """

    rate: float
    p50: float
    p99: float
    alone: float
    cost: float


def ours(*options: str, config: str | None = None) -> Callable[[str], list[str]]:
    # Without its PID file, several can run in one directory.
    start = [TWISTD, "-n", "--pidfile=", *options, "palingenesis"]
    named = ["--config", config] if config else []
    return lambda path: [*start, "--socket", path, *named]


def other(name: str, *timeout: str) -> Callable[[str], list[str]]:
    return lambda path: [sys.executable, os.path.join(HERE, "servers.py"), name, path, *timeout]


OURS = Server("palingenesis", ours())
PLAIN = Server("LineReceiver, callLater", other("twisted"))
SERVERS = [
    OURS,
    Server("palingenesis, asyncio reactor", ours("--reactor", "asyncio")),
    PLAIN,
    Server("asyncio streams", other("asyncio-streams")),
    Server("asyncio Protocol", other("asyncio-protocol")),
]
UVLOOP = [
    Server("uvloop streams", other("uvloop-streams")),
    Server("uvloop Protocol", other("uvloop-protocol")),
]
BARE = Server("bare accept loop, no deadline", other("bare-loop"))


class Bench:
    """One run: its scale, its load generator and its temporary directory."""

    def __init__(self, directory: str, scale: Scale) -> None:
        self.directory = directory
        self.scale = scale
        self.generator = Generator(directory)
        self.busy = 0.0
        self.environment = os.environ | {"XDG_CONFIG_HOME": directory}
        for name in ("PALINGENESIS_SOCKET", "PYTHONDONTWRITEBYTECODE"):
            # Without bytecode every start compiles what an installation has compiled before.
            self.environment.pop(name, None)
        self._sockets = 0
        self._turns = 0

    def file(self, name: str, text: str) -> str:
        path = os.path.join(self.directory, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write(text)
        return path

    def socket(self) -> str:
        self._sockets += 1
        return os.path.join(self.directory, f"{self._sockets}.sock")

    def rounds(self, section: str) -> Iterator[int]:
        for number in range(self.scale.rounds):
            print(f"{section}: round {number + 1} of {self.scale.rounds}", file=sys.stderr)
            yield number

    def turn(self, items: Sequence[_T]) -> list[_T]:
        """Rotate the order, so that nobody always follows the same one."""
        self._turns += 1
        first = self._turns % len(items)
        return [*items[first:], *items[:first]]

    def started(
        self, argv: Sequence[str], path: str
    ) -> AbstractContextManager[subprocess.Popen[bytes]]:
        return started(argv, path, self.environment, cpu=SERVER_CPU)

    def load(self, section: str, servers: Sequence[Server]) -> dict[str, list[Result]]:
        """
        Put load on servers, in short slices in turns, so that all see the same machine.

        Every round has fresh processes: how one of them happens to lie in memory is no
        property of its code. Returned are for each server the results of the rounds.
        """
        results: dict[str, list[Result]] = {server.label: [] for server in servers}
        for _ in self.rounds(section):
            with ExitStack() as stack:
                running = {}
                for server in servers:
                    path = self.socket()
                    process = stack.enter_context(self.started(server.argv(path), path))
                    running[server.label] = path, process.pid
                    stack.enter_context(idle_connections(path, server.idle))
                    if b'"total_resumes"' not in ask(path):
                        raise BenchmarkError(f"{server.label} does not answer STATUS")
                    self.generator.run(path, CLIENTS, self.scale.slice_seconds / 2)
                slices: dict[str, list[Result]] = {label: [] for label in running}
                for _ in range(self.scale.slices):
                    for label in self.turn(list(running)):
                        slices[label].append(self._slice(*running[label]))
            for label, seen in slices.items():
                columns = zip(*map(astuple, seen), strict=True)
                results[label].append(Result(*map(median, columns)))
        return results

    def time_in_turns(
        self, section: str, labels: Sequence[str], times: int, once: Callable[[str], float]
    ) -> dict[str, list[float]]:
        """
        Time each of several things in turns, after once without counting.

        :param times: how often in each round.
        :param once: does one of them, and returns the seconds it took.
        :returns: for each the medians of the rounds, in seconds.
        """
        for label in labels:
            once(label)
        medians: dict[str, list[float]] = {label: [] for label in labels}
        for _ in self.rounds(section):
            seconds: dict[str, list[float]] = {label: [] for label in labels}
            for _ in range(times):
                for label in self.turn(list(labels)):
                    seconds[label].append(once(label))
            for label, values in seconds.items():
                medians[label].append(median(values))
        return medians

    def _slice(self, path: str, pid: int) -> Result:
        seconds = self.scale.slice_seconds
        before = activity(pid)[0] if HAS_ACTIVITY else 0.0
        crowd = self.generator.run(path, CLIENTS, seconds)
        cost = activity(pid)[0] - before if HAS_ACTIVITY else 0.0
        alone = self.generator.run(path, 1, seconds / 2)
        self.busy = max(self.busy, crowd.busy)
        # The last command of each client is answered, but not counted.
        cost *= 1e6 / (crowd.count + CLIENTS)
        return Result(crowd.rate, crowd.p50, crowd.p99, alone.p50, cost)


def commands(bench: Bench) -> Table:
    """Commands per second and latency, against other servers."""
    table = Table(
        "STATUS, from connect to end of file",
        (
            "Server",
            "per second",
            "p50",
            "p99",
            "alone",
            "processor",
            "ours: rate",
            "ours: processor",
        ),
    )
    uvloop = importlib.util.find_spec("uvloop") is not None
    results = bench.load("commands", [*SERVERS, *(UVLOOP if uvloop else []), BARE])
    for label, rounds in results.items():
        pairs = list(zip(results[OURS.label], rounds, strict=True))
        table.row(
            label,
            f"{median(x.rate for x in rounds):,.0f}",
            f"{median(x.p50 for x in rounds):.0f}",
            f"{median(x.p99 for x in rounds):.0f}",
            f"{median(x.alone for x in rounds):.0f}",
            f"{median(x.cost for x in rounds):.0f}",
            ratio([a.rate / b.rate for a, b in pairs]),
            f"{median(b.cost / a.cost for a, b in pairs):.2f}" if HAS_ACTIVITY else "-",
        )
    if not uvloop:
        table.absent("uvloop")
    table.notes.append(COLUMNS)
    table.notes.append(f"The load generator was busy for {bench.busy:.0%} of the time at most.")
    return table


def growth(bench: Bench) -> Table:
    """Commands per second and latency beside idle connections."""
    table = Table(
        "STATUS, beside idle connections",
        ("Server", "idle", "per second", "p50", "p99", "processor", "p50 against none idle"),
    )
    config = bench.file("growth.toml", "timeout = 600\nmax_connections = 1000\n")
    counts = (0, bench.scale.crowd // 5, bench.scale.crowd)
    patient = [
        replace(OURS, argv=ours(config=config)),
        replace(PLAIN, argv=other("twisted", "600")),
    ]
    crowded = [
        replace(server, label=f"{server.label}/{idle}", idle=idle)
        for server in patient
        for idle in counts
    ]
    results = bench.load("growth", crowded)
    for server in patient:
        alone = results[f"{server.label}/0"]
        for idle in counts:
            rounds = results[f"{server.label}/{idle}"]
            table.row(
                server.label,
                str(idle),
                f"{median(x.rate for x in rounds):,.0f}",
                f"{median(x.p50 for x in rounds):.0f}",
                f"{median(x.p99 for x in rounds):.0f}",
                f"{median(x.cost for x in rounds):.0f}",
                ratio([a.p50 / b.p50 for a, b in zip(rounds, alone, strict=True)]),
            )
    table.notes.append(COLUMNS)
    return table


def cli(bench: Bench) -> Table:
    """Whole processes of the command line, against others."""
    table = Table(
        "The command line, whole processes",
        ("Command", "milliseconds", "against bare Python", "against palingenesis status"),
    )
    with ExitStack() as stack:
        path = bench.socket()
        stack.enter_context(bench.started(OURS.argv(path), path))
        bare, status = "python -c pass", "palingenesis status"
        processes = {
            bare: [sys.executable, "-c", "pass"],
            status: [os.path.join(SCRIPTS, "palingenesis"), "--socket", path, "status"],
        }
        for label, other_daemon in (("supervisorctl pid", supervisor), ("redis-cli ping", redis)):
            if running := other_daemon(bench, stack):
                processes[label] = running[1]
            else:
                table.absent(other_daemon.__name__)
        medians = bench.time_in_turns(
            "cli",
            list(processes),
            bench.scale.commands,
            lambda label: wall_time(processes[label], bench.environment),
        )
    for label, rounds in medians.items():
        table.row(
            label,
            f"{median(rounds) * 1e3:.1f}",
            *(
                ratio([a / b for a, b in zip(rounds, medians[base], strict=True)])
                for base in (bare, status)
            ),
        )
    return table


def supervisor(bench: Bench, stack: ExitStack) -> tuple[int, list[str]] | None:
    """Start a private supervisord: its PID, and a command that asks it; None if absent."""
    server, client = shutil.which("supervisord"), shutil.which("supervisorctl")
    if server is None or client is None:
        return None
    path = bench.socket()
    user = "user=root" if os.geteuid() == 0 else ""
    config = bench.file("supervisord.conf", SUPERVISORD.format(path=path, user=user))
    process = stack.enter_context(bench.started([server, "-c", config], path))
    return process.pid, [client, "-c", config, "pid"]


def redis(bench: Bench, stack: ExitStack) -> tuple[int, list[str]] | None:
    """Start a private redis-server: its PID, and a command that asks it; None if absent."""
    server, client = shutil.which("redis-server"), shutil.which("redis-cli")
    if server is None or client is None:
        return None
    path = bench.socket()
    argv = [server, "--port", "0", "--unixsocket", path, "--save", "", "--appendonly", "no"]
    process = stack.enter_context(bench.started(argv, path))
    return process.pid, [client, "-s", path, "ping"]


def idle(bench: Bench) -> Table:
    """Memory of each idle connection."""
    crowd = bench.scale.crowd
    table = Table(
        f"Resident memory, and what each of {crowd} idle connections adds",
        ("Server", "MiB", "KiB a connection", "against palingenesis"),
    )
    if not os.path.exists("/proc/self/smaps_rollup"):
        table.absent("/proc/PID/smaps_rollup")
        return table
    totals: dict[str, list[float]] = {server.label: [] for server in SERVERS}
    added: dict[str, list[float]] = {server.label: [] for server in SERVERS}
    for _ in bench.rounds("idle"):
        for server in SERVERS:
            path = bench.socket()
            with bench.started(server.argv(path), path) as process:
                # What the first connections load is no property of idle ones; but memory
                # that many of them leave behind, free, would be used again by the idle.
                for _ in range(WARM_UP):
                    ask(path)
                before = memory(process.pid)
                with idle_connections(path, crowd):
                    added[server.label].append((memory(process.pid) - before) / crowd)
                totals[server.label].append(before)
    for label, rounds in added.items():
        table.row(
            label,
            f"{median(totals[label]) / 2**20:.1f}",
            f"{median(rounds) / 2**10:.1f}",
            ratio([a / b for a, b in zip(rounds, added[OURS.label], strict=True)]),
        )
    return table


def rest(bench: Bench) -> Table:
    """Activity of daemons at rest."""
    seconds = bench.scale.rest_seconds
    table = Table(
        f"Daemons at rest, over {seconds:g} seconds",
        ("Server", "processor time, ms", "times woken"),
    )
    if not HAS_ACTIVITY:
        table.absent("/proc/PID/schedstat")
        return table
    print("rest", file=sys.stderr)
    with ExitStack() as stack:
        pids = {}
        for server in SERVERS:
            path = bench.socket()
            process = stack.enter_context(bench.started(server.argv(path), path))
            ask(path)
            pids[server.label] = process.pid
        for label, other_daemon in (("supervisord", supervisor), ("redis-server", redis)):
            if running := other_daemon(bench, stack):
                pids[label] = running[0]
            else:
                table.absent(other_daemon.__name__)
        time.sleep(min(1.0, seconds))
        before = {label: activity(pid) for label, pid in pids.items()}
        time.sleep(seconds)
        for label, pid in pids.items():
            ran, woken = activity(pid)
            table.row(label, f"{(ran - before[label][0]) * 1e3:.2f}", str(woken - before[label][1]))
    return table


def start(bench: Bench) -> Table:
    """Start-up of twistd, with us and with nothing."""
    table = Table(
        "Start-up, from the start of the process until the socket answers",
        ("Command", "milliseconds", "against an empty .tac"),
    )
    bench.file("start/nothing.py", NOTHING)
    bench.file("start/twisted/plugins/nothing_plugin.py", NOTHING_PLUGIN)
    tac = bench.file("start/nothing.tac", NOTHING_TAC)
    twistd = [TWISTD, "-n", "--pidfile="]
    empty = "twistd -y, an empty .tac"
    starts: dict[str, Callable[[str], list[str]]] = {
        empty: lambda _path: [*twistd, "-y", tac],
        "twistd, an empty plugin": lambda _path: [*twistd, "nothing"],
        "twistd palingenesis": OURS.argv,
    }

    python_path = os.pathsep.join(
        filter(None, [os.path.join(bench.directory, "start"), os.environ.get("PYTHONPATH")])
    )

    def once(label: str) -> float:
        path = bench.socket()
        environment = bench.environment | {
            "PYTHONPATH": python_path,
            "NOTHING_SOCKET": path,
        }
        begun = time.perf_counter()
        with started(starts[label](path), path, environment, interval=0.0005):
            if starts[label] is OURS.argv:
                ask(path)
            return time.perf_counter() - begun

    medians = bench.time_in_turns("start", list(starts), bench.scale.starts, once)
    for label, rounds in medians.items():
        table.row(
            label,
            f"{median(rounds) * 1e3:.0f}",
            ratio([a / b for a, b in zip(rounds, medians[empty], strict=True)]),
        )
    return table


SECTIONS: dict[str, Callable[[Bench], Table]] = {
    "commands": commands,
    "growth": growth,
    "cli": cli,
    "idle": idle,
    "rest": rest,
    "start": start,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument(
        "sections",
        nargs="*",
        metavar="SECTION",
        help=f"what to measure: {', '.join(SECTIONS)} (default: all)",
    )
    parser.add_argument("--rounds", type=int, help=f"default: {Scale.rounds}")
    parser.add_argument("--quick", action="store_true", help="only see that everything works")
    parser.add_argument("--rst", action="store_true", help="print reStructuredText")
    arguments = parser.parse_args()
    if unknown := set(arguments.sections) - set(SECTIONS):
        parser.error(f"no such section: {', '.join(sorted(unknown))}")
    scale = QUICK if arguments.quick else Scale()
    if arguments.rounds is not None:
        if arguments.rounds < 1:
            parser.error("--rounds is at least 1")
        scale = replace(scale, rounds=arguments.rounds)

    # So that children and the temporary directory go as they do on Ctrl-C.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with tempfile.TemporaryDirectory(prefix="bench-") as directory:
            bench = Bench(directory, scale)
            print("\n".join(f":{name}: {value}" for name, value in facts(bench.generator).items()))
            for name in arguments.sections or SECTIONS:
                print(f"\n{SECTIONS[name](bench).render(arguments.rst)}", flush=True)
    except BenchmarkError as error:
        sys.exit(f"{parser.prog}: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
