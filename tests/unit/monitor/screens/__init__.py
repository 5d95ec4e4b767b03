"""Screens that real programs showed in tmux, and whether their input line was empty."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass

from palingenesis.monitor.screen import Screen, cells_of


@dataclass(frozen=True, slots=True)
class Seen:
    """
    A screen that was seen.

    :ivar what: what it shows.
    :ivar safe: whether the cursor is in the agent's own, truly empty input line.
    :ivar in_mode: whether tmux itself took the keys.
    :ivar drawn: whether it was captured with how its characters are drawn.
    """

    name: str
    what: str
    safe: bool
    in_mode: bool
    drawn: bool
    screen: Screen


def seen(agent: str) -> Iterator[Seen]:
    """Yield all screens of an agent's program."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), f"{agent}.jsonl")
    with open(path, encoding="utf-8") as file:
        for line in file:
            value = json.loads(line)
            column, row = value["cursor"]
            screen = Screen(
                cells_of(value["text"], value["rows"]),
                value["columns"],
                (column, row),
                cursor_shown=value["cursor_shown"],
            )
            yield Seen(
                value["name"],
                value["what"],
                value["safe"],
                value["in_mode"],
                value["drawn"],
                screen,
            )
