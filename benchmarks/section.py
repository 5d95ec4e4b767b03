"""The shape of a section: one thing that is measured, and the table that is made of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench import Bench
from figures import Figures
from tables import Table


@dataclass(frozen=True)
class Section:
    """
    One thing that is measured.

    :ivar name: what it is called on the command line and in the file of figures.
    :ivar about: what it measures, in reStructuredText, for ``README.rst``.
    :ivar measure: takes the figures.
    :ivar table: makes the table, from figures alone.
    """

    name: str
    about: str
    measure: Callable[[Bench], Figures]
    table: Callable[[Figures], Table]
