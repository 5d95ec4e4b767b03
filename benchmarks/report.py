"""The pages that are made from the figures: ``benchmarks/README.rst``, and lines of the README."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from statistics import median

from bench import CLIENTS, LINE_RECEIVER, OURS
from command_line import BARE, STATUS
from control import PEER_CLIENTS, TOKIO
from figures import QUICK, Figures
from harness import HERE, BenchmarkError
from section import Section
from tables import Table, middle, quotients, wrapped

ROOT = os.path.dirname(HERE)
PAGE = os.path.join(HERE, "README.rst")
README = os.path.join(ROOT, "README.rst")
BEGIN, END = ".. benchmarks begin\n", ".. benchmarks end\n"

INTRODUCTION = """\
.. Made by benchmarks/run.py from figures.json. Change report.py or a section, then run
   python benchmarks/run.py --render

Benchmarks
==========

One command measures the control socket against what a user would pick instead::

    pip install -e '.[benchmark]'
    python benchmarks/run.py                  # everything, some minutes
    python benchmarks/run.py commands cli     # some sections
    python benchmarks/run.py --rounds 9       # more rounds, narrower ranges
    python benchmarks/run.py --quick          # only see that everything works
    python benchmarks/run.py --write          # keep the figures, make this page of them
    python benchmarks/run.py --render         # make this page of the kept figures

A C compiler, Rust with the crate of Debian's ``librust-tokio-dev``, ``redis``, ``supervisor``
and ``uvloop`` are used if the machine has them; a table says what was absent. Nothing is
downloaded. Run it on a machine that does nothing else.
"""

METHOD = """\
How it is measured
------------------

- The load comes from ``loadgen.c``, compiled on the spot (without a compiler, from
  ``loadgen.py``): several clients, each a process that connects, sends, reads to the end of
  file, checks that the reply ends in a newline, and starts anew. Its own use of the processor
  stands below a table: near 100 %, the clients set the rate and not the server.
- On Linux all servers stay on one processor and the load generator on another.
- Each round starts every server anew, warms it up, and loads the servers in turns, in slices
  of a quarter of a second, in an order that rotates.
- A value is the median of a round's slices. A ratio is taken within each round. Printed is the
  median of the rounds, with the least and the greatest ratio in parentheses.

How to read it
--------------

Ratios travel from machine to machine better than times do, and a wide range in the parentheses
means that the machine was busy with something else. The clients wait for their replies before
they ask again, so the p50 is mostly the queue: with eight clients, eight times the time of one
command. ``alone`` is the p50 of a single client. If other work disturbs the machine, or the
clients are the bottleneck, the rates of all servers come closer to each other, and the
processor time for a command is the better guide.
"""

TRICKS = """\
What is done for speed
----------------------

A trick stays only with a figure. These pay: no ``dataclasses`` and no ``typing`` on the command
line's path (8.5 and 3.0 ms of 36), ``gc.freeze`` there (3.3 ms), the status line rendered by
hand (0.7 instead of 2.9 microseconds), and the daemon's own status rendered once for as long as
nothing in it changes (1.0 instead of 6.7 microseconds a command). These do not: a parser that
is made on first attribute access (0.4 ms, invisible), and aliases for the members of an
enumeration.
"""

TRIAL = "A trial of short turns: these figures show that everything works, and nothing else."


def pages(sections: Iterable[Section], figures: dict[str, Figures]) -> dict[str, str]:
    """
    Make the whole text of each page, by its path.

    :raises BenchmarkError: the README lacks the two lines between which its figures stand.
    """
    with open(README, encoding="utf-8") as file:
        before, begin, rest = file.read().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise BenchmarkError(f"{README} has no lines {BEGIN.strip()!r} and {END.strip()!r}")
    return {
        PAGE: page(sections, figures),
        README: f"{before}{BEGIN}\n{summary(figures)}\n\n{END}{after}",
    }


def table(section: Section, figures: Figures) -> Table:
    """Make a section's table, with its remarks and with what was absent."""
    made = section.table(figures)
    made.notes += figures.remarks
    made.notes += [f"Absent: {what} ({why})." for what, why in figures.absent.items()]
    return made


def page(sections: Iterable[Section], figures: dict[str, Figures]) -> str:
    """Make ``benchmarks/README.rst``."""
    measured = [section for section in sections if section.name in figures]
    parts = [INTRODUCTION, METHOD, TRICKS, _heading("Where it was measured", "-")]
    parts.append("\n".join(_machines(measured, figures)))
    parts.append(_heading("Results", "-"))
    for section in measured:
        parts.append(_heading(section.name, "~"))
        parts.append(f"{section.about}\n")
        parts.append(f"{table(section, figures[section.name]).rst()}\n")
    return "\n".join(parts)


def summary(figures: dict[str, Figures]) -> str:
    """Make the lines of figures that stand in the README."""
    commands, peers = figures["commands"].rows, figures["peers"].rows
    cli, idle = figures["cli"].rows, figures["idle"].rows
    machine = figures["commands"].machine
    where = "; ".join(
        machine[name] for name in ("Processor", "System", "Python", "Packages", "Load")
    )
    other = figures["cli"].machine
    run = "" if other == machine else f" ({other['Date']}, {other['Processor']})"
    paragraphs = [
        f"Measured on {machine['Date']} with ``python benchmarks/run.py`` ({where}):",
        f"- ``STATUS`` with {CLIENTS} clients: {middle(commands[OURS.label]['rate'], ',.0f')} "
        f"commands a second, {_rate(commands, OURS.label, LINE_RECEIVER.label)} times as many as "
        "a ``LineReceiver`` with a deadline.",
        f"- Against a tokio server in Rust: {_against_tokio(peers)}.",
        f"- ``palingenesis status``{run}: "
        f"{middle((1e3 * x for x in cli[STATUS]['seconds']), '.0f')} ms, "
        f"{_quotient(cli[STATUS]['seconds'], cli[BARE]['seconds'])} times a bare "
        f"``python -c pass``; an idle connection: {_kibibytes(idle)}.",
        "`benchmarks/README.rst <benchmarks/README.rst>`_ has the tables, and says how they are "
        "measured and how to read them.",
    ]
    if _trial(figures.values()):
        paragraphs.insert(0, TRIAL)
    return "\n\n".join(wrapped(each, "  " if each.startswith("- ") else "") for each in paragraphs)


def _heading(title: str, line: str) -> str:
    return f"{title}\n{line * len(title)}\n"


def _trial(figures: Iterable[Figures]) -> bool:
    return any(each.scale.slices == QUICK.slices for each in figures)


def _machines(sections: Sequence[Section], figures: dict[str, Figures]) -> list[str]:
    """List each machine once, with its sections if not all are from one run."""
    runs: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for section in sections:
        machine = tuple(figures[section.name].machine.items())
        runs.setdefault(machine, []).append(section.name)
    lines = []
    for machine, names in runs.items():
        if len(runs) > 1:
            lines += [f"{', '.join(f'``{name}``' for name in names)}:", ""]
        lines += [f":{name}: {value}" for name, value in machine]
        lines += [f":Rounds: {figures[names[0]].scale.rounds}", ""]
        if _trial(figures[name] for name in names):
            lines += [TRIAL, ""]
    return lines


def _quotient(above: Sequence[float], below: Sequence[float]) -> str:
    return f"{median(quotients(above, below)):.2f}"


def _rate(rows: dict[str, dict[str, list[float]]], ours: str, other: str) -> str:
    return _quotient(rows[ours]["rate"], rows[other]["rate"])


def _against_tokio(peers: dict[str, dict[str, list[float]]]) -> str:
    if f"{TOKIO}/{PEER_CLIENTS[0]}" not in peers:
        return "not measured, tokio was absent"
    told = [
        f"{_rate(peers, f'{OURS.label}/{clients}', f'{TOKIO}/{clients}')} times as many commands "
        f"a second with {clients} clients"
        for clients in PEER_CLIENTS
    ]
    return ", ".join(told)


def _kibibytes(idle: dict[str, dict[str, list[float]]]) -> str:
    if not idle:
        return "not measured"
    return f"{median(idle[OURS.label]['added']) / 2**10:.1f} KiB of memory"
