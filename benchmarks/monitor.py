"""What the monitor takes: a scan, a reading, a daemon at rest, and STATUS beside it."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from bench import OURS, Bench, Server, ours
from figures import Figures, Rows
from harness import HAS_ACTIVITY, BenchmarkError, activity, ask
from section import Section
from tables import Table, middle, ratio

from palingenesis.monitor.agents import AGENTS
from palingenesis.monitor.homes import Home
from palingenesis.monitor.owners import take_snapshot
from palingenesis.monitor.scan import Scans
from palingenesis.monitor.settings import Settings

DIRECTORIES = 300
TRANSCRIPTS = 6_000
OLD_SESSIONS = 2_000
LARGE = 300 * 2**20
#: Seconds between two scans, as by default.
INTERVAL = Settings().interval
#: Processes that one look at them finds, and sessions that stop at once.
PROCESSES = 1_000
STOPS = 1_000
#: The shares of replies that came at least so fast.
SHARES = {"p50": 0.5, "p99": 0.99, "longest": 1.0}

_CLAUDE = AGENTS["claude"]
_DAY = 86_400.0


def transcript(number: int) -> tuple[str, bytes]:
    """Make a finished session, by its id and its records."""
    session = f"{number:08x}-0000-4000-8000-000000000000"
    record = {
        "sessionId": session,
        "cwd": "/tmp",
        "isSidechain": False,
        "timestamp": "2026-01-01T00:00:00.000Z",
    }
    turn = (
        record | {"type": "user", "uuid": "1", "message": {"role": "user", "content": "go on"}},
        record
        | {
            "type": "assistant",
            "uuid": "2",
            "message": {
                "role": "assistant",
                "model": "a-model",
                "stop_reason": "end_turn",
                "content": [{"type": "text", "text": "Done. " * 40}],
            },
        },
    )
    return session, b"".join(json.dumps(each).encode() + b"\n" for each in turn)


def fill(home: str, sessions: int, directories: int) -> None:
    """Write sessions that ended a day ago."""
    then = time.time() - _DAY
    for number in range(sessions):
        session, records = transcript(number)
        path = os.path.join(home, "projects", f"-{number % directories}", f"{session}.jsonl")
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(records)
        os.utime(path, (then, then))


def _large(path: str, size: int) -> None:
    """Write a session of so many bytes."""
    _, records = transcript(0)
    with open(path, "wb") as file:
        while file.tell() < size:
            file.write(records * 1000)


def _seconds(do: Callable[[], object]) -> float:
    begin = time.perf_counter()
    do()
    return time.perf_counter() - begin


@contextmanager
def _processes(number: int) -> Iterator[None]:
    """Have so many processes on this machine."""
    there = sum(each.isdigit() for each in os.listdir("/proc"))
    with ExitStack() as stack:
        for _ in range(number - there):
            child = stack.enter_context(subprocess.Popen(["sleep", "3600"]))
            stack.callback(child.kill)
        yield


def _look_at_processes() -> float:
    """Return the processor time of one whole look at the processes, in seconds."""
    programs = frozenset[str]().union(*(agent.programs for agent in AGENTS.values()))
    begin = time.process_time()
    if len(take_snapshot(programs=programs).processes or ()) < PROCESSES // 2:
        raise AssertionError("the processes are not seen")
    return time.process_time() - begin


def measure_reading(bench: Bench) -> Figures:
    home = os.path.join(bench.directory, "reading")
    fill(home, TRANSCRIPTS, DIRECTORIES)
    large = os.path.join(bench.directory, "large.jsonl")
    _large(large, LARGE)
    homes = [Home("claude", "claude", home)]
    kept = Scans(print)
    list(kept.changes(homes))

    def first() -> None:
        list(Scans(print).changes(homes))

    def unchanged() -> None:
        changed = [change for change in kept.changes(homes) if change is not None]
        if changed:
            raise AssertionError(f"{len(changed)} transcripts changed by themselves")

    things: dict[str, Callable[[], float]] = {
        "a first scan of 6,000 transcripts": lambda: _seconds(first),
        "a scan of 6,000 transcripts, none changed": lambda: _seconds(unchanged),
        "the last record of a transcript of 300 MiB": lambda: _seconds(lambda: _CLAUDE.read(large)),
    }
    with ExitStack() as stack:
        if sys.platform == "linux":
            stack.enter_context(_processes(PROCESSES))
            things["processor time of a look at 1,000 processes"] = _look_at_processes
        rows = bench.time_in_turns("reading", list(things), 5, lambda label: things[label]())
    os.unlink(large)
    return bench.figures(rows)


def reading_table(figures: Figures) -> Table:
    table = Table("The monitor's scans and readings", ("What", "milliseconds"))
    for label, row in figures.rows.items():
        table.row(label, middle((1e3 * each for each in row["seconds"]), ".2f"))
    return table


def measure_guard(bench: Bench) -> Figures:
    if not HAS_ACTIVITY:
        return bench.figures({}, {"processor time": "there is no /proc/PID/schedstat"})
    print("guard", file=sys.stderr)
    seconds = max(bench.scale.rest_seconds, 5.0)
    rows: Rows = {}
    for label, sessions in (("no sessions", 0), ("2,000 old sessions", OLD_SESSIONS)):
        home = os.path.join(bench.directory, f"guard-{sessions}")
        fill(home, sessions, 100)
        bench.environment["CLAUDE_CONFIG_DIR"] = home
        path = bench.socket()
        with bench.started(OURS.argv(path), path) as process:
            ask(path)
            time.sleep(min(6.0, seconds))
            before = activity(process.pid)[0]
            time.sleep(seconds)
            rows[label] = {"share": [(activity(process.pid)[0] - before) / seconds]}
    return bench.figures(rows)


def guard_table(figures: Figures) -> Table:
    table = Table("A daemon at rest that monitors", ("Sessions", "processor, % of one core"))
    for label, row in figures.rows.items():
        table.row(label, middle((1e2 * each for each in row["share"]), ".2f"))
    return table


def _stop_all(home: str) -> None:
    """Have sessions stop at a limit, all at once."""
    os.makedirs(os.path.join(home, "projects", "-0"))
    now = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
    for number in range(STOPS):
        session, records = transcript(number)
        limit = {
            **json.loads(records.splitlines()[-1]),
            "uuid": "3",
            "timestamp": now,
            "isApiErrorMessage": True,
            "error": "rate_limit",
            "quotaLimits": {"resetsAt": int(time.time()) + 3600},
        }
        with open(os.path.join(home, "projects", "-0", f"{session}.jsonl"), "wb") as file:
            file.write(records + json.dumps(limit).encode() + b"\n")


def measure_stops(bench: Bench) -> Figures:
    home = os.path.join(bench.directory, "stops")
    os.mkdir(home)
    bench.environment["CLAUDE_CONFIG_DIR"] = home
    path, taken = bench.socket(), []
    with bench.started(OURS.argv(path), path):
        ask(path)
        _stop_all(home)
        end = time.perf_counter() + max(3 * bench.scale.rest_seconds, 4 * INTERVAL)
        while time.perf_counter() < end:
            taken.append(_seconds(lambda: ask(path)))
        if (states := json.loads(ask(path))["sessions"]) != {"stopped": STOPS}:
            raise BenchmarkError(f"not all sessions are seen to have stopped: {states}")
    taken.sort()
    found = {name: [taken[math.ceil(share * len(taken)) - 1]] for name, share in SHARES.items()}
    return bench.figures({f"STATUS while {STOPS:,} sessions stop": found})


def stops_table(figures: Figures) -> Table:
    table = Table("STATUS while many sessions stop at once", ("What", *SHARES))
    for label, row in figures.rows.items():
        table.row(label, *(middle((1e3 * each for each in row[name]), ".2f") for name in SHARES))
    return table


def measure_beside(bench: Bench) -> Figures:
    home = os.path.join(bench.directory, "beside")
    fill(home, OLD_SESSIONS, 100)
    bench.environment["CLAUDE_CONFIG_DIR"] = home
    blind = bench.file("blind.toml", "[sessions]\nagents = []\n")
    watching = replace(OURS, label="monitoring 2,000 sessions")
    return bench.figures(
        bench.load("beside", [Server("monitoring nothing", ours(config=blind)), watching])
    )


def beside_table(figures: Figures) -> Table:
    table = Table(
        "STATUS, with and without the monitor",
        ("Daemon", "per second", "p50", "p99", "rate against nothing monitored"),
    )
    for label, row in figures.rows.items():
        table.row(
            label,
            middle(row["rate"], ",.0f"),
            middle(row["p50"], ".0f"),
            middle(row["p99"], ".0f"),
            ratio(row["rate"], figures.rows["monitoring nothing"]["rate"]),
        )
    return table


SECTIONS = (
    Section(
        "reading",
        "A scan of every transcript, and the reading of one.",
        measure_reading,
        reading_table,
    ),
    Section(
        "guard",
        "Processor time of a daemon that monitors and is asked nothing.",
        measure_guard,
        guard_table,
    ),
    Section(
        "stops",
        "STATUS, of a daemon whose sessions all stop at the same moment; in milliseconds.",
        measure_stops,
        stops_table,
    ),
    Section(
        "beside",
        "STATUS, of a daemon that monitors sessions and of one that monitors none.",
        measure_beside,
        beside_table,
    ),
)
