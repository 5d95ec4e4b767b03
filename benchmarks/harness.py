"""Starting, loading and looking at the processes that are measured."""

from __future__ import annotations

import contextlib
import datetime
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata

HERE = os.path.dirname(os.path.abspath(__file__))
SCRIPTS = sysconfig.get_path("scripts")
PATIENCE = 20.0

CPUS = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
PINNED = len(CPUS) > 1
SERVER_CPU, LOAD_CPU = (CPUS[0], CPUS[1]) if PINNED else (None, None)


class BenchmarkError(Exception):
    """Something that is measured does not work."""


@contextlib.contextmanager
def pinned(cpu: int | None) -> Iterator[None]:
    """Have processes that are started inside stay on one processor."""
    if cpu is None:
        yield
        return
    os.sched_setaffinity(0, {cpu})
    try:
        yield
    finally:
        os.sched_setaffinity(0, CPUS)


def connect(path: str) -> socket.socket:
    deadline = time.monotonic() + PATIENCE
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(PATIENCE)
        while True:
            try:
                connection.connect(path)
            except BlockingIOError:
                # The backlog is full; a socket with a timeout does not wait for it.
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.001)
            else:
                return connection
    except BaseException:
        connection.close()
        raise


def ask(path: str) -> bytes:
    with connect(path) as connection:
        connection.sendall(b"STATUS\n")
        return b"".join(iter(lambda: connection.recv(4096), b""))


@contextlib.contextmanager
def started(
    argv: Sequence[str],
    path: str,
    environment: dict[str, str],
    *,
    cpu: int | None = None,
    interval: float = 0.01,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server, from when its socket accepts connections until the block is left."""
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(open(f"{path}.log", "w+b"))
        with pinned(cpu):
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=os.path.dirname(path),
                env=environment,
            )
        stack.callback(_stop, process)
        deadline = time.monotonic() + PATIENCE
        while not _accepts(path):
            if process.poll() is not None or time.monotonic() > deadline:
                log.seek(0)
                output = log.read().decode(errors="replace")
                raise BenchmarkError(f"{' '.join(argv)} does not serve:\n{output[-600:]}")
            time.sleep(interval)
        yield process


def _accepts(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        return connection.connect_ex(path) == 0


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@dataclass(frozen=True)
class Load:
    """
    What the load generator saw.

    :ivar count: commands answered.
    :ivar rate: commands answered each second.
    :ivar p50: median of the time from connect to end of file, in microseconds.
    :ivar p99: its 99th percentile.
    :ivar busy: which part of the time the generator itself kept a processor busy.
    """

    count: int
    rate: float
    p50: float
    p99: float
    busy: float


class Generator:
    """The load generator: the C one if there is a compiler, else the Python one."""

    def __init__(self, directory: str) -> None:
        compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
        self.description = "loadgen.c"
        self._argv = [os.path.join(directory, "loadgen")]
        source = os.path.join(HERE, "loadgen.c")
        if (
            compiler is None
            or subprocess.run(
                [compiler, "-O2", "-o", self._argv[0], source], check=False
            ).returncode
        ):
            self.description = "loadgen.py (no C compiler: it may be the bottleneck)"
            self._argv = [sys.executable, os.path.join(HERE, "loadgen.py")]

    def run(self, path: str, clients: int, seconds: float) -> Load:
        with pinned(LOAD_CPU):
            done = subprocess.run(
                [*self._argv, path, str(clients), str(seconds)],
                capture_output=True,
                text=True,
                check=False,
            )
        if done.returncode:
            raise BenchmarkError(f"load on {path}: {done.stderr}")
        seen = {key: float(value) for key, value in (x.split("=") for x in done.stdout.split())}
        count = int(seen["count"])
        return Load(count, count / seen["elapsed"], seen["p50"], seen["p99"], seen["busy"])


@contextlib.contextmanager
def idle_connections(path: str, count: int) -> Iterator[None]:
    """Hold connections on which nothing is sent."""
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(connect(path))
        # Connections are accepted in order: when this is answered, all of them are held.
        if count and not ask(path).startswith(b"{"):
            raise BenchmarkError(f"{path} does not serve beside {count} idle connections")
        yield


def memory(pid: int) -> int:
    """Return the resident set size of a process, in bytes."""
    with open(f"/proc/{pid}/smaps_rollup") as file:
        size = next(line for line in file if line.startswith("Rss:"))
    return int(size.split()[1]) * 1024


def wall_time(argv: list[str], environment: dict[str, str]) -> float:
    """Run a command and return how long it took, in seconds."""
    nowhere = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in (0, 1, 2)]
    begun = time.perf_counter()
    pid = os.posix_spawn(argv[0], argv, environment, file_actions=nowhere)
    _, outcome = os.waitpid(pid, 0)
    took = time.perf_counter() - begun
    if outcome:
        raise BenchmarkError(f"{' '.join(argv)} fails: {os.waitstatus_to_exitcode(outcome)}")
    return took


#: Whether the system reports what `activity` returns.
HAS_ACTIVITY = os.path.exists("/proc/self/schedstat")


def activity(pid: int) -> tuple[float, int]:
    """Return the seconds a process has run on a processor, and how often it has waited."""
    seconds, waits = 0.0, 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/schedstat") as file:
            seconds += int(file.read().split()[0]) / 1e9
        with open(f"/proc/{pid}/task/{thread}/status") as file:
            waits += next(int(x.split()[1]) for x in file if x.startswith("voluntary_ctxt"))
    return seconds, waits


def machine(generator: Generator) -> dict[str, str]:
    """Describe the machine and what was measured on it."""
    placement = (
        f"servers on processor {SERVER_CPU}, the load generator on processor {LOAD_CPU}"
        if PINNED
        else "processes are not pinned to processors"
    )
    found = {
        "Date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "Processor": f"{_cpu_model()}, {len(CPUS) or os.cpu_count()} cores",
        "System": f"{platform.system()} {platform.release().partition('-')[0]}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "Packages": ", ".join(f"{name} {_version(name)}" for name in ("Twisted", "uvloop")),
        "Load": f"{generator.description}; {placement}",
    }
    if hasattr(os, "getloadavg"):
        found["Load average before"] = f"{os.getloadavg()[0]:.2f}"
    return found


def _cpu_model() -> str:
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "absent"
