"""
Write the handbook's page of the agents that were tried, from the rows of a run.

``PALINGENESIS_AGENTS_ROWS=rows.jsonl nox -s agents -- all`` makes the rows, and
``python tools/agents_page.py rows.jsonl`` the page.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PAGE = os.path.join(ROOT, "docs", "agents.rst")
#: The agents' own names, in the order of the monitor's table.
NAMES = {
    "claude": "Claude Code",
    "codex": "Codex",
    "opencode": "opencode",
    "copilot": "GitHub Copilot CLI",
    "qwen": "Qwen Code",
}
ABSENT = "\N{EN DASH}"

#: What no file of an agent's says, so that the monitor cannot know it.
NOT_TOLD = {
    "claude": (
        "Esc before the first word of a reply puts the prompt back into the input line. No record "
        "says so: the session looks like one that died in the middle of a turn.",
        "Ctrl-D twice in the middle of a turn leaves what a closed window leaves: died.",
        "2.1.150 states a reset in whole minutes, and takes the words of a limit in ``/compact`` "
        "for the summary of the conversation.",
    ),
    "codex": (
        "``/quit``, Ctrl-C and Ctrl-D at a limit leave no record: the session looks like one whose "
        "window was closed. ``/new`` leaves none either.",
        "Before 0.145, a failed turn does not say why it failed. Only a limit with a reset is "
        "seen, by the figures of its turn.",
        "In 0.171, a closed window, ``/quit`` or Ctrl-D in the middle of a turn does not end the "
        "turn: a server of Codex's own continues it.",
        "A refused connection never ends a turn in 0.171: the program tries for ever.",
        "A message of the queue that ``codex exec`` takes as it ends leaves a turn that was cut "
        "off, like one that its user interrupted.",
    ),
    "opencode": (
        "The waits between its own attempts are not written down: a session that waits looks like "
        "one in the middle of a turn, until the last attempt has failed.",
        "Esc, Ctrl-C and a closed window leave the same message: each counts as the user's end.",
        "No file says which process has which session. While any process has the database open, "
        "no session is proven to be without one.",
    ),
    "copilot": (
        "A reset is stated only as a span, which counts from the error. A limit that states none "
        "is tried again five times before it is written down.",
        "After a limit, ``/exit`` leaves the same events as a session without a terminal.",
    ),
    "qwen": (
        "An error after which the program tries again is written like its last one. The end of "
        "the process tells them apart.",
        "Esc before a tool runs leaves no record: the session looks like one that died in the "
        "middle of a turn.",
    ),
}

INTRODUCTION = """\
..
   Made by tools/agents_page.py from the runs of the tests.

Agents that were tried
======================

The tests run the real programs beside a stand-in of their model servers. Each row is a situation,
and each cell shows the kind and the state that ``palingenesis sessions`` gives the session at the
end of that test. A dash: the situation does not exist in that version. An asterisk: the monitor
does not yet do what the test expects.
"""

#: The cells of one agent: by situation, and by version.
Cells = dict[str, dict[str, str]]


def page(rows: Iterable[Mapping[str, object]]) -> str:
    """Make the page's text; an agent without a row is left out."""
    tables: dict[str, Cells] = {agent: {} for agent in NAMES}
    for row in rows:
        agent, name, version = (str(row[key]) for key in ("agent", "row", "version"))
        tables[agent].setdefault(name, {})[version] = _cell(row)
    lines = [INTRODUCTION]
    for agent, cells in tables.items():
        if cells:
            lines += _section(NAMES[agent], cells, NOT_TOLD[agent])
    return "\n".join(lines) + "\n"


def _section(name: str, cells: Cells, not_told: Iterable[str]) -> Iterator[str]:
    versions = sorted({v for cell in cells.values() for v in cell}, key=_release, reverse=True)
    yield from ("", name, "-" * len(name), "")
    yield from (".. list-table::", "   :header-rows: 1", "")
    yield from _row(["Situation", *versions])
    for situation, cell in sorted(cells.items()):
        yield from _row([situation, *(cell.get(version, ABSENT) for version in versions)])
    for newer, older in pairwise(versions):
        yield from ("", f"What changed from {older} to {newer}:", "")
        yield from _changes(cells, older, newer) or ("- Nothing.",)
    yield from ("", f"What {name} does not tell:", "")
    yield from (f"- {text}" for text in not_told)


def _changes(cells: Cells, older: str, newer: str) -> list[str]:
    """Return a line for each change, with the situations in which it was seen."""
    found: dict[str, list[str]] = {}
    for situation, cell in sorted(cells.items()):
        before, after = (cell.get(version, ABSENT) for version in (older, newer))
        if before == ABSENT != after:
            found.setdefault("new", []).append(situation)
        elif before != ABSENT == after:
            found.setdefault("no longer there", []).append(situation)
        elif before != after:
            found.setdefault(f'from "{before}" to "{after}"', []).append(situation)
    return [f"- {change}: {'; '.join(situations)}" for change, situations in sorted(found.items())]


def _cell(row: Mapping[str, object]) -> str:
    shown = [str(row[key]) for key in ("kind", "state") if row[key] is not None]
    if row["passed"]:
        return ", ".join(shown) or "passed"
    return (", ".join(shown) or "not yet") + r" \*"


def _row(texts: Iterable[str]) -> Iterator[str]:
    for number, text in enumerate(texts):
        yield f"   {'* -' if number == 0 else '  -'} {text}"


def _release(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def main() -> None:
    """Write the page."""
    with open(sys.argv[1], encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    with open(PAGE, "w", encoding="utf-8") as file:
        file.write(page(rows))


if __name__ == "__main__":
    main()
