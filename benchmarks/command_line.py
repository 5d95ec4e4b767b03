"""Whole processes: the command line, and the start of the daemon."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack

from bench import OURS, TWISTD, Bench
from figures import Figures
from harness import SCRIPTS, ask, started, wall_time
from others import AbsentError, redis, supervisor
from section import Section
from tables import Table, middle, ratio

BARE = "python -c pass"
STATUS = "palingenesis status"
EMPTY = "twistd -y, an empty .tac"

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


def measure_cli(bench: Bench) -> Figures:
    absent = {}
    with ExitStack() as stack:
        path = bench.socket()
        stack.enter_context(bench.started(OURS.argv(path), path))
        processes = {
            BARE: [sys.executable, "-c", "pass"],
            STATUS: [os.path.join(SCRIPTS, "palingenesis"), "--socket", path, "status"],
        }
        for label, daemon in (("supervisorctl pid", supervisor), ("redis-cli ping", redis)):
            try:
                processes[label] = daemon(bench, stack)[1]
            except AbsentError as error:
                absent[label] = str(error)
        rows = bench.time_in_turns(
            "cli",
            list(processes),
            bench.scale.commands,
            lambda label: wall_time(processes[label], bench.environment),
        )
    return bench.figures(rows, absent)


def cli_table(figures: Figures) -> Table:
    table = Table(
        "The command line, whole processes",
        ("Command", "milliseconds", "against bare Python", "against palingenesis status"),
    )
    for label, row in figures.rows.items():
        seconds = row["seconds"]
        against = (ratio(seconds, figures.rows[base]["seconds"]) for base in (BARE, STATUS))
        table.row(label, middle((1e3 * each for each in seconds), ".1f"), *against)
    return table


def measure_start(bench: Bench) -> Figures:
    bench.file("start/nothing.py", NOTHING)
    bench.file("start/twisted/plugins/nothing_plugin.py", NOTHING_PLUGIN)
    tac = bench.file("start/nothing.tac", NOTHING_TAC)
    twistd = [TWISTD, "-n", "--pidfile="]
    starts: dict[str, Callable[[str], list[str]]] = {
        EMPTY: lambda _path: [*twistd, "-y", tac],
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

    return bench.figures(bench.time_in_turns("start", list(starts), bench.scale.starts, once))


def start_table(figures: Figures) -> Table:
    table = Table(
        "Start-up, from the start of the process until the socket answers",
        ("Command", "milliseconds", "against an empty .tac"),
    )
    for label, row in figures.rows.items():
        seconds = row["seconds"]
        against = ratio(seconds, figures.rows[EMPTY]["seconds"])
        table.row(label, middle((1e3 * each for each in seconds), ".0f"), against)
    return table


SECTIONS = (
    Section(
        "cli",
        """\
``palingenesis status`` as a whole process, against ``python -c pass``, ``supervisorctl pid``
and ``redis-cli ping``.""",
        measure_cli,
        cli_table,
    ),
    Section(
        "start",
        """\
From the start of ``twistd`` until the socket answers, against a ``twistd`` that does nothing:
from a ``.tac`` file, and as a plugin, which includes the search for plugins.""",
        measure_start,
        start_table,
    ),
)
