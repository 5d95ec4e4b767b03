"""The control socket under load, against the servers that a user would write instead."""

from __future__ import annotations

import importlib.util
from dataclasses import replace

from bench import CLIENTS, LINE_RECEIVER, OURS, SERVERS, Bench, Server, other, ours
from figures import Figures, Rows
from others import AbsentError, tokio
from section import Section
from tables import Table, middle, ratio

UVLOOP = [
    Server("uvloop streams", other("uvloop-streams")),
    Server("uvloop Protocol", other("uvloop-protocol")),
]
BARE = Server("bare accept loop, no deadline", other("bare-loop"))

#: The label of the tokio server, which has a row even if it is absent.
TOKIO = "tokio, one thread"
PEER_CLIENTS = (4, 16)

TIMES = (
    "processor: the server's processor time for a command; all times in microseconds; ours: how "
    "many times as fast, or as frugal, palingenesis is."
)
CROWD = f"Per second, p50 and p99: {CLIENTS} clients at once; "
ALONE = "alone: the p50 of one client; "


def _load_cells(row: dict[str, list[float]], *, alone: bool = False) -> list[str]:
    """Make the cells that show how a server did under load."""
    return [
        middle(row["rate"], ",.0f"),
        middle(row["p50"], ".0f"),
        middle(row["p99"], ".0f"),
        *([middle(row["alone"], ".0f")] if alone else []),
        middle(row["cost"], ".0f") if all(row["cost"]) else "-",
    ]


def _ours_cells(ours: dict[str, list[float]], row: dict[str, list[float]]) -> list[str]:
    """Make the cells that compare a server with ours."""
    told = all(ours["cost"]) and all(row["cost"])
    return [
        ratio(ours["rate"], row["rate"]),
        ratio(row["cost"], ours["cost"]) if told else "-",
    ]


def _busy(rows: Rows) -> str:
    most, label = max((max(row["busy"]), label) for label, row in rows.items())
    return f"The load generator used at most {most:.0%} of a processor, for {label}."


def measure_commands(bench: Bench) -> Figures:
    servers, absent = [*SERVERS], {}
    if importlib.util.find_spec("uvloop") is None:
        absent["uvloop"] = "it is not installed"
    else:
        servers += UVLOOP
    return bench.figures(bench.load("commands", [*servers, BARE]), absent)


def commands_table(figures: Figures) -> Table:
    table = Table(
        "STATUS, from connect to end of file",
        (
            *("Server", "per second", "p50", "p99", "alone", "processor"),
            *("ours: rate", "ours: processor"),
        ),
    )
    for label, row in figures.rows.items():
        compared = _ours_cells(figures.rows[OURS.label], row)
        table.row(label, *_load_cells(row, alone=True), *compared)
    table.notes += [CROWD + ALONE + TIMES, _busy(figures.rows)]
    return table


def measure_peers(bench: Bench) -> Figures:
    servers, absent, remarks = [OURS, LINE_RECEIVER], {}, []
    try:
        peer, versions = tokio(bench)
    except AbsentError as error:
        absent[TOKIO] = str(error)
    else:
        servers.append(replace(peer, label=TOKIO))
        remarks.append(versions)
    crowds = [
        replace(server, label=f"{server.label}/{clients}", clients=clients)
        for clients in PEER_CLIENTS
        for server in servers
    ]
    return bench.figures(bench.load("peers", crowds), absent, remarks)


def peers_table(figures: Figures) -> Table:
    table = Table(
        "STATUS, against tokio and a LineReceiver",
        (
            *("Server", "clients", "per second", "p50", "p99", "processor"),
            *("ours: rate", "ours: processor"),
        ),
    )
    for clients in PEER_CLIENTS:
        mine = figures.rows[f"{OURS.label}/{clients}"]
        for label in (OURS.label, TOKIO, LINE_RECEIVER.label):
            row = figures.rows.get(f"{label}/{clients}")
            if row is None:
                table.absent_row(label, str(clients))
            else:
                table.row(label, str(clients), *_load_cells(row), *_ours_cells(mine, row))
    table.notes += [f"{TIMES[0].upper()}{TIMES[1:]}", _busy(figures.rows)]
    return table


def measure_growth(bench: Bench) -> Figures:
    config = bench.file("growth.toml", "timeout = 600\nmax_connections = 1000\n")
    patient = [
        replace(OURS, argv=ours(config=config)),
        replace(LINE_RECEIVER, argv=other("twisted", "600")),
    ]
    crowded = [
        replace(server, label=f"{server.label}/{idle}", idle=idle)
        for server in patient
        for idle in (0, bench.scale.crowd // 5, bench.scale.crowd)
    ]
    return bench.figures(bench.load("growth", crowded))


def growth_table(figures: Figures) -> Table:
    table = Table(
        "STATUS, beside idle connections",
        ("Server", "idle", "per second", "p50", "p99", "processor", "p50 against none idle"),
    )
    for name, row in figures.rows.items():
        label, _, idle = name.rpartition("/")
        against = ratio(row["p50"], figures.rows[f"{label}/0"]["p50"])
        table.row(label, idle, *_load_cells(row), against)
    table.notes.append(CROWD + TIMES.partition("; ours")[0] + ".")
    return table


SECTIONS = (
    Section(
        "commands",
        """\
STATUS, from connect to end of file: commands per second and latency. Ours under ``twistd`` on
the default and on the asyncio reactor, against a ``LineReceiver`` with a ``callLater``
deadline, asyncio's streams and ``Protocol``, both on uvloop, and a blocking accept loop
without a deadline, which is the limit of the language (``servers.py``, ``plain_twisted.py``).
All compute the same JSON for each request.""",
        measure_commands,
        commands_table,
    ),
    Section(
        "peers",
        """\
The same with 4 and with 16 clients, against a ``LineReceiver`` and against Rust: a tokio
server on one thread, with a task and a limit of five seconds and 512 bytes for each client
(``tokio/main.rs``).""",
        measure_peers,
        peers_table,
    ),
    Section(
        "growth",
        "The same with 8 clients, beside idle connections.",
        measure_growth,
        growth_table,
    ),
)
