"""What was measured, as plain numbers that are kept in a file: every text is made from them."""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass, field

from harness import HERE

FILE = os.path.join(HERE, "figures.json")

#: What is measured, by the row's label and the quantity: the value of each round.
Rows = dict[str, dict[str, list[float]]]


@dataclass(frozen=True)
class Scale:
    """
    How much to measure.

    :ivar rounds: repetitions, with fresh processes.
    :ivar slices: turns of each server within a round.
    :ivar slice_seconds: how long a turn is.
    :ivar commands: runs of each command line within a round.
    :ivar starts: starts of each daemon within a round.
    :ivar rest_seconds: how long daemons at rest are measured.
    :ivar crowd: the greatest number of idle connections.
    """

    rounds: int = 5
    slices: int = 8
    slice_seconds: float = 0.25
    commands: int = 10
    starts: int = 4
    rest_seconds: float = 10.0
    crowd: int = 500


#: Enough to see that everything works; its figures mean nothing.
QUICK = Scale(1, slices=1, slice_seconds=0.1, commands=1, starts=1, rest_seconds=0.5, crowd=50)


@dataclass
class Figures:
    """
    The figures of one section.

    :ivar machine: where and when they were measured, by name.
    :ivar scale: how much was measured.
    :ivar rows: the values of the rounds, in seconds, bytes or numbers a second.
    :ivar absent: what could not be measured, and why.
    :ivar remarks: what else a reader should know.
    """

    machine: dict[str, str]
    scale: Scale
    rows: Rows
    absent: dict[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        # Rounded here, so that what is printed and what is made from the file agree.
        self.rows = {
            label: {
                quantity: [float(f"{value:.5g}") for value in values]
                for quantity, values in quantities.items()
            }
            for label, quantities in self.rows.items()
        }


def load() -> dict[str, Figures]:
    """Read the kept figures of each section."""
    with open(FILE, encoding="utf-8") as file:
        kept = json.load(file)
    return {
        name: Figures(**{**fields, "scale": Scale(**fields["scale"])})
        for name, fields in kept.items()
    }


def save(sections: dict[str, Figures]) -> None:
    """Keep the figures of each section."""
    text = json.dumps({name: asdict(each) for name, each in sections.items()}, indent=1)
    # The values of the rounds on one line.
    text = re.sub(r"\[[\s\d.,e+-]*\]", lambda found: re.sub(r"\s+", " ", found[0]), text)
    with open(FILE, "w", encoding="utf-8") as file:
        file.write(f"{text}\n")
