"""The parser of the command line; the completions and the manual are made from it too."""

from __future__ import annotations

import argparse

from palingenesis import __version__
from palingenesis.cli.exit_status import Exit
from palingenesis.cli.format import complain
from palingenesis.client.exchange import DEFAULT_TIMEOUT, check_timeout
from palingenesis.text import MESSAGE_LIMIT, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, NoReturn, TypeVar

    from palingenesis.cli.command import CliCommand

    _P = TypeVar("_P", bound=argparse.ArgumentParser)

DESCRIPTION = (
    "Bring the sessions of coding agents back: start and stop the daemon, and control it\n"
    "through its socket."
)

ENVIRONMENT = (
    ("PALINGENESIS_SOCKET", "the daemon's socket, unless --socket names it"),
    ("PALINGENESIS_STATE", "the state directory, unless `start --state` names it"),
    ("XDG_RUNTIME_DIR", "the directory of the socket, unless `socket` in config.toml names it"),
    ("XDG_CONFIG_HOME", "the directory of palingenesis/config.toml (~/.config)"),
    ("NO_COLOR", "no colour, if not empty"),
)

EPILOG = "\n".join(
    (
        "exit status:",
        *(f"  {status:<4} {status.meaning}" for status in Exit),
        "",
        "environment:",
        *(f"  {name:<20} {meaning}" for name, meaning in ENVIRONMENT),
    )
)


def make_parser(commands: Mapping[str, CliCommand]) -> argparse.ArgumentParser:
    """Make the parser of these commands, by name."""
    parser = _Parser(prog="palingenesis", description=DESCRIPTION, epilog=EPILOG)
    parser.add_argument(
        "--version",
        action="version",
        version=f"palingenesis {__version__}",
        help="print the version and exit",
    )
    _add_common_options(parser, None, None)
    common = _Parser(add_help=False)
    # Suppressed, or an absent option would undo the one given before the command.
    _add_common_options(common, argparse.SUPPRESS, argparse.SUPPRESS)
    subparsers = parser.add_subparsers(
        title="commands", dest="command", metavar="COMMAND", required=True, prog=parser.prog
    )
    for name, command in commands.items():
        subparser = add_command(subparsers, name, command.summary, parents=[common])
        if command.add_options:
            command.add_options(subparser)
    return parser


def add_command(
    parsers: argparse._SubParsersAction[_P],
    name: str,
    summary: str,
    **settings: Any,
) -> _P:
    """
    Add the parser of a command, or of an action of one.

    :param summary: what it does, in a few words.
    :param settings: further ones of the parser.
    """
    description = f"{summary[0].upper()}{summary[1:]}."
    return parsers.add_parser(name, help=summary, description=description, **settings)


def seconds(text: str) -> float:
    """Convert an argument to a number of seconds for which the command can wait."""
    try:
        return check_timeout(float(text))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a number of seconds, above 0 and at most a day"
        ) from None


def number_of_entries(text: str) -> int:
    """Convert an argument to a number of entries of the daemon's log."""
    if text.isascii() and text.isdecimal() and len(text) <= 9 and int(text):
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to 999999999")


def time_of_day(text: str) -> tuple[int, int]:
    """Read a time of day, ``22:00``, as argparse wants it."""
    hours, minutes = text[:2], text[3:]
    digits = hours + minutes
    if len(text) == 5 and text[2] == ":" and digits.isascii() and digits.isdecimal():
        hour, minute = int(hours), int(minutes)
        if hour < 24 and minute < 60:
            return hour, minute
    raise argparse.ArgumentTypeError(f"{text!r} is not a time of day, such as 22:00")


def past_time(text: str) -> float:
    """Convert an argument to a time, in seconds since the epoch."""
    from palingenesis.cli.log import point_in_time

    try:
        return point_in_time(text)
    except (ValueError, OverflowError) as error:
        raise argparse.ArgumentTypeError(str(error)) from None


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    # Without a width, argparse imports shutil to ask the terminal, at every start.
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=28, width=80)


class _Parser(argparse.ArgumentParser):
    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings, formatter_class=_HelpFormatter, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        # Not by argparse, which raises on some versions if standard error is full.
        complain(f"{printable(message, MESSAGE_LIMIT)} (see `{self.prog} --help`)")
        raise SystemExit(Exit.USAGE)


def _add_common_options(
    parser: argparse.ArgumentParser, socket: str | None, timeout: str | None
) -> None:
    parser.add_argument(
        "--socket",
        metavar="PATH",
        default=socket,
        help="the daemon's socket (default: see FILES in the manual)",
    )
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=seconds,
        default=timeout,
        help=f"seconds to wait in total (default: {DEFAULT_TIMEOUT:g}; start 30, stop 10)",
    )
