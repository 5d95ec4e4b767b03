"""
Write the handbook's page of the agents that were tried, from the rows of a run.

``PALINGENESIS_AGENTS_ROWS=rows.jsonl nox -s agents -- all`` makes the rows, and
``python tools/agents_page.py rows.jsonl`` the page.
"""

from __future__ import annotations

import json
import os
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PAGE = os.path.join(ROOT, "docs", "agents.rst")
NAMES = {"claude": "Claude Code", "codex": "Codex"}

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
        "In 0.171, a closed window or ``/quit`` in the middle of a turn does not end the turn: a "
        "server of Codex's own goes on with it.",
        "A refused connection never ends a turn in 0.171: the program tries for ever.",
        "A message of the queue that ``codex exec`` takes as it ends leaves a turn that was cut "
        "off, like one that its user interrupted.",
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


def page(rows: Iterable[Mapping[str, object]]) -> str:
    """Make the page's text."""
    cells: dict[str, dict[str, dict[str, str]]] = defaultdict(lambda: defaultdict(dict))
    for row in rows:
        agent, name, version = (str(row[key]) for key in ("agent", "row", "version"))
        cells[agent][name][version] = _cell(row)
    lines = [INTRODUCTION]
    for agent, table in sorted(cells.items()):
        versions = sorted({v for cell in table.values() for v in cell}, key=_release, reverse=True)
        lines += ["", NAMES[agent], "-" * len(NAMES[agent]), ""]
        lines += [".. list-table::", "   :header-rows: 1", ""]
        lines += _row(["Situation", *versions])
        for name, cell in sorted(table.items()):
            lines += _row([name, *(cell.get(version, "\N{EN DASH}") for version in versions)])
        lines += ["", f"What {NAMES[agent]} does not tell:", ""]
        lines += [f"- {text}" for text in NOT_TOLD[agent]]
    return "\n".join(lines) + "\n"


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
