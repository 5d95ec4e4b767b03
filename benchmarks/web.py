"""What HTTP costs: a request, streams of events, and what the control socket notices."""

from __future__ import annotations

import os
import select
import socket
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from bench import Bench, Server, ours
from figures import Figures, Rows
from harness import HAS_ACTIVITY, HERE, activity, ask, connect
from monitor import fill, transcript
from section import Section
from tables import Table, middle, ratio

PLAIN, OURS = "twisted.web, plain", "palingenesis"
SERVERS = {OURS: "ours", PLAIN: "plain"}
#: Requests before those that are measured.
WARM_UP = 20

STREAMS = 16
SESSIONS = 2_000
#: Seconds from one change of a session to the next.
CHANGE_SECONDS = 1.0
CLOSED, OPEN = "without HTTP", "HTTP on a port and a socket"

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


_NO_ACTIVITY = {"processor time": "there is no /proc/PID/schedstat"}


def measure_http(bench: Bench) -> Figures:
    if not HAS_ACTIVITY:
        return bench.figures({}, _NO_ACTIVITY)
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
        ("Server", "connections", "per second", "processor", "rate", "by processor"),
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
            ratio(plain["cost"], row["cost"]),
        )
    table.notes.append(
        "Processor: the server's processor time for a request, in microseconds. The last two "
        "columns are against plain: the requests in a second, and those in a second of the "
        "server's processor."
    )
    return table


def measure_streams(bench: Bench) -> Figures:
    if not HAS_ACTIVITY:
        return bench.figures({}, _NO_ACTIVITY)
    home = os.path.join(bench.directory, "streams")
    fill(home, SESSIONS, 100)
    paths = [os.path.join(at, name) for at, _, names in os.walk(home) for name in names]
    for path in paths:
        os.utime(path)
    bench.environment["CLAUDE_CONFIG_DIR"] = home
    http = os.path.join(bench.directory, "http.sock")
    config = bench.file("streams.toml", f'sessions.interval = 1.0\nhttp.listen = "unix:{http}"\n')
    rows: Rows = {f"{count} streams": {"share": [], "sent": []} for count in (0, STREAMS)}
    path = bench.socket()
    with bench.started(ours(config=config)(path), path) as process:
        ask(path)
        for _ in bench.rounds("streams"):
            for count in bench.turn((0, STREAMS)):
                with ExitStack() as stack:
                    streams = [stack.enter_context(connect(http)) for _ in range(count)]
                    for stream in streams:
                        stream.sendall(b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
                    _change(paths, streams, 3 * CHANGE_SECONDS)
                    before, begun = activity(process.pid)[0], time.monotonic()
                    sent = _change(paths, streams, bench.scale.rest_seconds)
                    seconds = time.monotonic() - begun
                    row = rows[f"{count} streams"]
                    row["share"].append((activity(process.pid)[0] - before) / seconds)
                    row["sent"].append(sent / seconds)
    return bench.figures(rows)


def _change(paths: Sequence[str], streams: Sequence[socket.socket], seconds: float) -> int:
    """Have one session after the other grow, and return the bytes that the streams brought."""
    end = following = time.monotonic()
    end += seconds
    received = 0
    while (now := time.monotonic()) < end:
        if now >= following:
            following += CHANGE_SECONDS
            path = paths[int(following / CHANGE_SECONDS) % len(paths)]
            number = int(os.path.basename(path).partition("-")[0], 16)
            with open(path, "ab") as file:
                file.write(transcript(number)[1])
        for stream in select.select(streams, (), (), max(0.0, min(following, end) - now))[0]:
            received += len(stream.recv(1 << 20))
    return received


def streams_table(figures: Figures) -> Table:
    table = Table(
        "2,000 sessions, of which one changes each second",
        ("Clients", "processor, % of one core", "KiB sent a second"),
    )
    for label, row in figures.rows.items():
        table.row(
            label,
            middle((1e2 * each for each in row["share"]), ".2f"),
            middle((each / 1024 for each in row["sent"]), ",.0f"),
        )
    table.notes.append("The scans of the transcripts, once a second here, are in both rows.")
    return table


def measure_open(bench: Bench) -> Figures:
    http = os.path.join(bench.directory, "open.sock")
    places = f'["127.0.0.1:0", "unix:{http}"]'
    config = bench.file("open.toml", f"sessions.agents = []\nhttp.listen = {places}\n")
    closed = bench.file("closed.toml", "sessions.agents = []\n")
    servers = [Server(CLOSED, ours(config=closed)), Server(OPEN, ours(config=config))]
    return bench.figures(bench.load("open", servers))


def open_table(figures: Figures) -> Table:
    table = Table(
        "STATUS on the control socket, with and without HTTP",
        ("Daemon", "per second", "processor", "rate", "by processor"),
    )
    for label, row in figures.rows.items():
        table.row(
            label,
            middle(row["rate"], ",.0f"),
            middle(row["cost"], ".1f"),
            ratio(row["rate"], figures.rows[CLOSED]["rate"]),
            ratio(figures.rows[CLOSED]["cost"], row["cost"]),
        )
    table.notes.append(
        "Processor: the server's processor time for a command, in microseconds. The last two "
        "columns are against the daemon without HTTP."
    )
    return table


SECTIONS = (
    Section(
        "http",
        """\
``GET /api/v1/status`` over TCP with the token, on one kept connection and on a new one each time,
against a plain resource of ``twisted.web`` that returns the same bytes, head and body, and checks
nothing (``web_servers.py``). On a kept connection a request takes 1.14 times the processor time if
the reply is sent in the reactor's next turn, and 1.15 times if Twisted's own ``write`` makes its
head.""",
        measure_http,
        http_table,
    ),
    Section(
        "streams",
        """\
Processor time of a daemon that sends events to 16 clients over a Unix socket, each with the
sessions as they are then, against the same daemon without clients.""",
        measure_streams,
        streams_table,
    ),
    Section(
        "open",
        "``STATUS`` on the control socket of a daemon with HTTP and of one without.",
        measure_open,
        open_table,
    ),
)
