"""The ``palingenesis`` command: what an operator types to see and steer a daemon."""

from __future__ import annotations

import argparse
import os
import sys
from io import TextIOWrapper

from palingenesis import __version__
from palingenesis.cli import format as display
from palingenesis.cli.exit_status import Exit, exit_status
from palingenesis.client.blocking import (
    DEFAULT_TIMEOUT,
    ClientError,
    ControlClient,
    check_timeout,
)
from palingenesis.text import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, NoReturn

#: Seconds from one look to the next of ``status --watch``.
WATCH_INTERVAL = 2.0


DESCRIPTION = "See how a daemon is, and pause, resume or reload it, through its control socket."

ENVIRONMENT = (
    ("PALINGENESIS_SOCKET", "the daemon's socket, where --socket does not name it"),
    ("XDG_RUNTIME_DIR", "where it is looked for, after `socket` in config.toml"),
    ("XDG_CONFIG_HOME", "where palingenesis/config.toml is (~/.config)"),
    ("NO_COLOR", "when not empty, no colour"),
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


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    # Without a width, argparse imports shutil to ask the terminal, at every start.
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=28, width=80)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(
            Exit.USAGE,
            f"palingenesis: {printable(message, 500)} (see `{self.prog} --help`)\n",
        )


class _CommandParser(_Parser):
    """A command's parser, made when it is used: to make all takes longer than to ask a daemon."""

    def __init__(self, add_options: Callable[[_Parser], None], **settings: Any) -> None:
        self._later = (add_options, settings)

    def __getattr__(self, name: str) -> Any:
        # Somebody looks for what argparse would have set.
        if "_later" not in self.__dict__:
            raise AttributeError(name)
        add_options, settings = self.__dict__.pop("_later")
        super().__init__(**settings, formatter_class=_HelpFormatter, allow_abbrev=False)
        add_options(self)
        # Suppressed, or an absent option would undo the one given before the command.
        _add_common_options(self, argparse.SUPPRESS, argparse.SUPPRESS)
        return getattr(self, name)


def make_parser() -> argparse.ArgumentParser:
    """Make the parser, which the completions and the manual are generated from too."""
    parser = _Parser(
        prog="palingenesis",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=_HelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--version",
        action="version",
        version=f"palingenesis {__version__}",
        help="print the version and exit",
    )
    _add_common_options(parser, None, DEFAULT_TIMEOUT)
    commands = parser.add_subparsers(
        title="commands",
        dest="command",
        metavar="COMMAND",
        required=True,
        prog=parser.prog,
        parser_class=_CommandParser,
    )
    for name, (_, add_options, text) in COMMANDS.items():
        commands.add_parser(
            name,
            help=text,
            description=f"{text[0].upper()}{text[1:]}.",
            add_options=add_options,
        )
    return parser


def _no_options(parser: _Parser) -> None:
    pass


def _status_options(parser: _Parser) -> None:
    parser.add_argument("--json", action="store_true", help="print the daemon's own line of JSON")
    parser.add_argument(
        "--watch",
        metavar="SECONDS",
        nargs="?",
        type=_seconds,
        const=WATCH_INTERVAL,
        help="look again every so many seconds (%(const)g), until interrupted",
    )


def _add_common_options(parser: _Parser, socket: str | None, timeout: float | str) -> None:
    parser.add_argument(
        "--socket",
        metavar="PATH",
        default=socket,
        help="the daemon's socket (looked for if not given)",
    )
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=_seconds,
        default=timeout,
        help=f"how long to wait for the answer in all ({DEFAULT_TIMEOUT:g})",
    )


def _seconds(text: str) -> float:
    try:
        return check_timeout(float(text))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a number of seconds, above 0 and at most a day"
        ) from None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, and return its exit status."""
    if sys.stdout is None:
        # Closed by our parent. The next file opened would be descriptor 1: let it be this.
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        try:
            options = make_parser().parse_args(arguments)
            return COMMANDS[options.command][0](options)
        finally:
            # Now, since at exit it would be too late to be quiet about a closed pipe.
            sys.stdout.flush()
    except ClientError as error:
        display.complain(str(error))
        return exit_status(error)
    except BrokenPipeError:
        _forget_output()
        return Exit.CLOSED_PIPE
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except OSError as error:
        # Whatever else fails is handled where it does: this is the output, a full disk.
        display.complain(f"cannot write the answer: {error.strerror}")
        _forget_output()
        return Exit.NO_ANSWER


def _client(options: argparse.Namespace) -> ControlClient:
    return ControlClient(options.socket, options.timeout)


def _status(options: argparse.Namespace) -> Exit:
    client = _client(options)
    if options.watch is not None:
        return _watch(client, options)
    if options.json:
        sys.stdout.buffer.write(display.json_line(client.status_line()))
    else:
        print("\n".join(display.status_lines(client.status(), client.path, _colour())))
    return Exit.DONE


def _watch(client: ControlClient, options: argparse.Namespace) -> NoReturn:
    from palingenesis.cli import live as watch

    if options.json:
        watch.watch_json(client, options.watch)
    elif _on_terminal():
        watch.watch_screen(client, options.watch, _colour())
    else:
        watch.watch_lines(client, options.watch)


def _pause(options: argparse.Namespace) -> Exit:
    _client(options).pause()
    print("paused")
    return Exit.DONE


def _resume(options: argparse.Namespace) -> Exit:
    _client(options).resume()
    print("resumed")
    return Exit.DONE


def _reload(options: argparse.Namespace) -> Exit:
    _client(options).reload()
    print("reloaded")
    return Exit.DONE


def _doctor(options: argparse.Namespace) -> Exit:
    from palingenesis.cli import doctor

    return doctor.examine(options.socket, options.timeout, _colour())


#: Each command: what carries it out, what adds its options, and what it is for.
COMMANDS = {
    "status": (_status, _status_options, "show how the daemon is"),
    "pause": (_pause, _no_options, "have the daemon pause"),
    "resume": (_resume, _no_options, "have the daemon go on after a pause"),
    "reload": (_reload, _no_options, "have the daemon read its configuration again"),
    "doctor": (_doctor, _no_options, "find out why the daemon does not answer"),
}


def _on_terminal() -> bool:
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def _colour() -> bool:
    return _on_terminal() and not os.environ.get("NO_COLOR")


def _forget_output() -> None:
    # What is still buffered would fail again at exit, where Python complains about it.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
