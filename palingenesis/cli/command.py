"""A command of the command line, as its table has it."""

from __future__ import annotations

from collections import namedtuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Callable

    from palingenesis.cli.exit_status import Exit


class CliCommand(namedtuple("CliCommand", ("run", "summary", "add_options"), defaults=(None,))):
    """
    A command of the command line.

    :ivar run: runs it with the options, and returns the exit status.
    :ivar summary: what it does, in a few words.
    :ivar add_options: adds its own options to its parser; None if it has none.
    """

    __slots__ = ()

    if TYPE_CHECKING:
        run: Callable[[Namespace], Exit]
        summary: str
        add_options: Callable[[ArgumentParser], None] | None
