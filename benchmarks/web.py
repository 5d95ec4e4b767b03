"""The status over HTTP, against a plain resource of twisted.web that returns the same bytes."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack

from bench import Bench
from figures import Figures, Rows
from harness import HAS_ACTIVITY, HERE, activity
from section import Section
from tables import Table, middle, ratio

PLAIN, OURS = "twisted.web, plain", "palingenesis"
SERVERS = {OURS: "ours", PLAIN: "plain"}
#: Requests before those that are measured.
WARM_UP = 20

# Of servers and clients alike: the token is no secret here.
TOKEN = "a-token-of-forty-three-characters-is-as-usual"
REQUEST = (
    "GET /api/v1/status HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    f"Authorization: Bearer {TOKEN}\r\nUser-Agent: benchmark\r\nAccept: */*\r\n\r\n"
).encode()


def _ask(connection: socket.socket) -> None:
    connection.sendall(REQUEST)
    reply = b""
    while not reply.endswith(b"}\n"):
        received = connection.recv(65_536)
        if not received:
            raise ConnectionError(reply.decode())
        reply += received


def kept(port: int) -> Callable[[], None]:
    """Return what asks again and again on one connection."""
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return lambda: _ask(connection)


def new(port: int) -> Callable[[], None]:
    """Return what asks once on each of many connections."""

    def ask() -> None:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            _ask(connection)

    return ask


def measure_http(bench: Bench) -> Figures:
    if not HAS_ACTIVITY:
        return bench.figures({}, {"processor time": "there is no /proc/PID/schedstat"})
    ways = {"kept": kept, "new": new}
    rows: Rows = {f"{label}/{way}": {"rate": [], "cost": []} for label in SERVERS for way in ways}
    for _ in bench.rounds("http"):
        with ExitStack() as stack:
            running = {}
            for label, which in SERVERS.items():
                path = bench.socket()
                argv = [sys.executable, os.path.join(HERE, "web_servers.py"), which, path]
                process = stack.enter_context(bench.started(argv, path))
                with open(f"{path}.port", encoding="ascii") as file:
                    running[label] = process.pid, int(file.read())
            sums = {key: [0.0, 0.0, 0] for key in rows}
            for _ in range(bench.scale.slices):
                for label in bench.turn(list(SERVERS)):
                    pid, port = running[label]
                    for way, begin in ways.items():
                        ask = begin(port)
                        for _ in range(WARM_UP):
                            ask()
                        seconds, cost, count = _slice(bench.scale.slice_seconds, pid, ask)
                        total = sums[f"{label}/{way}"]
                        total[0] += seconds
                        total[1] += cost
                        total[2] += count
            for key, (seconds, cost, count) in sums.items():
                rows[key]["rate"].append(count / seconds)
                rows[key]["cost"].append(cost / count * 1e6)
    return bench.figures(rows)


def _slice(seconds: float, pid: int, ask: Callable[[], None]) -> tuple[float, float, int]:
    """Ask for a while; return the seconds, those of the server's processor, and how often."""
    before, _ = activity(pid)
    begun = time.perf_counter()
    count = 0
    while time.perf_counter() - begun < seconds:
        ask()
        count += 1
    return time.perf_counter() - begun, activity(pid)[0] - before, count


def http_table(figures: Figures) -> Table:
    table = Table(
        "GET /api/v1/status, one client",
        ("Server", "connections", "per second", "processor", "rate against plain"),
    )
    for key, row in figures.rows.items():
        label, _, way = key.partition("/")
        plain = figures.rows[f"{PLAIN}/{way}"]
        table.row(
            label,
            way,
            middle(row["rate"], ",.0f"),
            middle(row["cost"], ".0f"),
            ratio(row["rate"], plain["rate"]),
        )
    table.notes.append("Processor: the server's processor time for a request, in microseconds.")
    return table


SECTIONS = (
    Section(
        "http",
        """\
``GET /api/v1/status`` over TCP with the token, on one kept connection and on a new one each time,
against a plain resource of ``twisted.web`` that returns the same bytes and checks nothing
(``web_servers.py``).""",
        measure_http,
        http_table,
    ),
)
