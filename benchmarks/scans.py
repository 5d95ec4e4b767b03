"""The processor time that scans take: of transcripts that do not grow, and of a large database."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Callable

from bench import Bench
from figures import QUICK, Figures
from section import Section
from tables import Table, middle

from palingenesis.monitor.homes import Home
from palingenesis.monitor.scan import Scans
from palingenesis.monitor.times import Times

TRANSCRIPTS = 20_000
DIRECTORIES = 300
#: Seconds between two scans, as by default.
INTERVAL = 5.0
SESSIONS = 5_000
#: Bytes that each session has in the database: 2 GB in all.
TEXT = 420_000
#: Scans of the database in a round.
TICKS = 10

_DAY = 86_400.0

#: Where each agent keeps a session, by its number.
PLACES: dict[str, Callable[[int], str]] = {
    "claude": lambda n: f"projects/-{n % DIRECTORIES}/{_name(n)}.jsonl",
    "codex": lambda n: f"sessions/2026/{n % 12:02}/{n % 25:02}/rollout-{_name(n)}.jsonl",
    "copilot": lambda n: f"session-state/{_name(n)}/events.jsonl",
    "qwen": lambda n: f"projects/-{n % DIRECTORIES}/chats/{_name(n)}.jsonl",
}
_SCHEMA = """
PRAGMA journal_mode = off;
PRAGMA synchronous = off;
CREATE TABLE session (id text PRIMARY KEY, parent_id text, directory text, time_archived integer);
CREATE TABLE message (id text PRIMARY KEY, session_id text, time_created integer,
    time_updated integer, data text);
CREATE INDEX of_session ON message (session_id, time_created, id);
CREATE TABLE part (id text PRIMARY KEY, message_id text, time_updated integer, data text);
CREATE INDEX of_message ON part (message_id, id);
CREATE TABLE event_sequence (aggregate_id text PRIMARY KEY, seq integer);
"""


def _name(number: int) -> str:
    return f"{number:08x}-0000-4000-8000-000000000000"


class _Ahead(Times):
    """Clocks that a benchmark sets ahead."""

    ahead = _DAY

    def wall(self) -> float:
        return super().wall() + self.ahead

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


def _unchanging(agent: str, directory: str, count: int) -> Callable[[], float]:
    """
    Write a number of transcripts of which none grows.

    :returns: returns the processor time that their scans take in a second, in seconds.
    """
    then = time.time() - _DAY
    for number in range(count):
        path = os.path.join(directory, PLACES[agent](number))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb"):
            pass
        os.utime(path, (then, then))
    times, homes = _Ahead(), [Home(agent, agent, directory)]
    scans = Scans(print, times)

    def minutes(number: int = 1) -> float:
        begin = time.process_time()
        for _ in range(int(number * 60 / INTERVAL)):
            times.ahead += INTERVAL
            if any(change is not None for change in scans.changes(homes)):
                raise AssertionError("transcripts changed by themselves")
        return (time.process_time() - begin) / 60 / number

    list(scans.changes(homes))
    minutes(2)  # until they are looked at in turn
    return minutes


def _database(directory: str, text: int) -> tuple[Callable[[], float], Callable[[], float]]:
    """
    Write a database of opencode's, which stays open as by a running program.

    :param text: bytes that each session has.
    :returns: return the processor time of a scan after which nothing, or one session, has changed.
    """
    os.makedirs(directory)
    path = os.path.join(directory, "opencode.db")
    writer = sqlite3.connect(path, isolation_level=None)
    writer.executescript(_SCHEMA)
    times = {"created": 1, "completed": 2}
    data = json.dumps({"role": "assistant", "finish": "stop", "time": times})
    begun, ended = '{"type": "text", "text": "', '"}'
    for statement, *values in (
        ("INSERT INTO session SELECT 'ses_' || n, NULL, '/tmp', NULL FROM numbers",),
        ("INSERT INTO event_sequence SELECT 'ses_' || n, 1 FROM numbers",),
        ("INSERT INTO message SELECT 'msg_' || n, 'ses_' || n, 1, 1, ? FROM numbers", data),
        (
            "INSERT INTO part SELECT 'prt_' || n, 'msg_' || n, 1, ? || hex(zeroblob(?)) || ?"
            " FROM numbers",
            *(begun, text // 2, ended),
        ),
    ):
        writer.execute(
            "WITH RECURSIVE numbers(n) AS"
            f" (SELECT 1 UNION ALL SELECT n + 1 FROM numbers LIMIT {SESSIONS}) {statement}",
            values,
        )
    writer.execute("PRAGMA journal_mode = wal")
    homes = [Home("opencode", "opencode", directory)]
    kind, scans = homes[0].kind, Scans(print)

    def tick() -> int:
        changed = [change for change in scans.changes(homes) if change is not None]
        for change in changed:
            kind.read(change.transcript)
            kind.stamp(change.transcript)
        return len(changed)

    def ticks(changes: int) -> float:
        taken = 0.0
        for _ in range(TICKS):
            if changes:
                writer.execute("UPDATE event_sequence SET seq = seq + 1 WHERE rowid = 77")
            begin = time.process_time()
            if tick() != changes:
                raise AssertionError("other sessions than one have changed")
            taken += time.process_time() - begin
        return taken / TICKS

    tick()
    tick()
    return lambda: ticks(0), lambda: ticks(1)


def measure_scans(bench: Bench) -> Figures:
    count, text = (TRANSCRIPTS, TEXT) if bench.scale != QUICK else (1000, 1000)
    unchanging = {
        f"{agent}: 20,000 transcripts that do not grow, in a second": _unchanging(
            agent, os.path.join(bench.directory, "scans", agent), count
        )
        for agent in PLACES
    }
    directory = os.path.join(bench.directory, "scans", "opencode")
    none, one = _database(directory, text)
    things = {
        **unchanging,
        "opencode: 5,000 sessions in 2 GB, none has changed": none,
        "opencode: 5,000 sessions in 2 GB, one has changed": one,
    }
    return bench.figures(
        bench.time_in_turns("scans", list(things), 2, lambda label: things[label]())
    )


def scans_table(figures: Figures) -> Table:
    table = Table("Processor time of scans", ("What", "milliseconds"))
    for label, row in figures.rows.items():
        table.row(label, middle((1e3 * each for each in row["seconds"]), ".2f"))
    return table


SECTIONS = (
    Section(
        "scans",
        "Processor time of scans: in each second, at the default interval, of transcripts that do\n"
        "not grow; and of one scan of a database, to which opencode writes.",
        measure_scans,
        scans_table,
    ),
)
