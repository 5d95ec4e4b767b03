"""What a daemon takes while nobody asks it anything: memory, processor time, wake-ups."""

from __future__ import annotations

import os
import sys
import time
from contextlib import ExitStack

from bench import OURS, SERVERS, Bench
from figures import Figures, Rows
from harness import HAS_ACTIVITY, activity, ask, idle_connections, memory
from others import AbsentError, redis, supervisor
from section import Section
from tables import Table, middle, ratio

WARM_UP = 5


def measure_idle(bench: Bench) -> Figures:
    if not os.path.exists("/proc/self/smaps_rollup"):
        return bench.figures({}, {"memory": "there is no /proc/PID/smaps_rollup"})
    crowd = bench.scale.crowd
    rows: Rows = {server.label: {"total": [], "added": []} for server in SERVERS}
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
                    rows[server.label]["added"].append((memory(process.pid) - before) / crowd)
                rows[server.label]["total"].append(before)
    return bench.figures(rows)


def idle_table(figures: Figures) -> Table:
    table = Table(
        f"Resident memory, and what each of {figures.scale.crowd} idle connections adds",
        ("Server", "MiB", "KiB a connection", "against palingenesis"),
    )
    for label, row in figures.rows.items():
        table.row(
            label,
            middle((each / 2**20 for each in row["total"]), ".1f"),
            middle((each / 2**10 for each in row["added"]), ".1f"),
            ratio(row["added"], figures.rows[OURS.label]["added"]),
        )
    return table


def measure_rest(bench: Bench) -> Figures:
    if not HAS_ACTIVITY:
        return bench.figures({}, {"processor time": "there is no /proc/PID/schedstat"})
    print("rest", file=sys.stderr)
    seconds, absent = bench.scale.rest_seconds, {}
    with ExitStack() as stack:
        pids = {}
        for server in SERVERS:
            path = bench.socket()
            process = stack.enter_context(bench.started(server.argv(path), path))
            ask(path)
            pids[server.label] = process.pid
        for label, daemon in (("supervisord", supervisor), ("redis-server", redis)):
            try:
                pids[label] = daemon(bench, stack)[0]
            except AbsentError as error:
                absent[label] = str(error)
        time.sleep(min(1.0, seconds))
        before = {label: activity(pid) for label, pid in pids.items()}
        time.sleep(seconds)
        rows: Rows = {}
        for label, pid in pids.items():
            ran, woken = activity(pid)
            rows[label] = {"ran": [ran - before[label][0]], "woken": [woken - before[label][1]]}
    return bench.figures(rows, absent)


def rest_table(figures: Figures) -> Table:
    table = Table(
        f"Daemons at rest, over {figures.scale.rest_seconds:g} seconds",
        ("Server", "processor time, ms", "times woken"),
    )
    for label, row in figures.rows.items():
        ran = middle((1e3 * each for each in row["ran"]), ".2f")
        table.row(label, ran, middle(row["woken"], ".0f"))
    return table


SECTIONS = (
    Section(
        "idle",
        "Resident memory, and what each idle connection adds.",
        measure_idle,
        idle_table,
    ),
    Section("rest", "Processor time and wake-ups of idle daemons.", measure_rest, rest_table),
)
