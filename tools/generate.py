"""
Write the completions and the manual page, which are made from the parser.

Run it after a change of the command line; a test fails until then. The ``dev`` extra has
the tools, in the versions that the files are from.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable
from functools import partial

import shtab
from argparse_manpage.manpage import Manpage

from palingenesis import __version__
from palingenesis.cli.exit_status import Exit
from palingenesis.cli.main import COMMANDS
from palingenesis.cli.parser import ENVIRONMENT, make_parser

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

SHELLS = {
    "bash": "palingenesis/cli/completions/palingenesis.bash",
    "zsh": "palingenesis/cli/completions/_palingenesis",
    "fish": "palingenesis/cli/completions/palingenesis.fish",
}
MANUAL = "man/palingenesis.1"


def generate() -> dict[str, str]:
    """Make each file's text, by its path below the root."""
    texts = {path: _completion(shell) for shell, path in SHELLS.items()}
    texts[MANUAL] = _manual()
    return texts


def _completion(shell: str) -> str:
    parser = make_parser(COMMANDS)
    for each in (parser, *_commands(parser)):
        for action in each._actions:
            if action.dest == "socket":
                action.complete = shtab.FILE  # type: ignore[attr-defined]
    text = shtab.complete(parser, shell)
    return "\n".join(line.rstrip() for line in text.strip().splitlines()) + "\n"


def _manual() -> str:
    parser = make_parser(COMMANDS)
    # A manual has sections for these, and its own way to break lines.
    parser.epilog = None
    for command in _commands(parser):
        command.description = None
        command.formatter_class = partial(argparse.HelpFormatter, width=1000)
    page = Manpage(parser, format="single-commands-section")
    page.description = "see and steer a daemon through its control socket"
    page.manual = "User Commands"
    page.source = f"palingenesis {__version__}"
    page.date = ""
    page.add_section("exit status", "=", _terms((int(status), status.meaning) for status in Exit))
    page.add_section("environment", "=", _terms(ENVIRONMENT))
    page.add_section("see also", "=", ".BR twistd (1)")
    return str(page)


def _terms(pairs: Iterable[tuple[object, str]]) -> str:
    return "\n".join(f".TP\n.B {name}\n{meaning}".replace("-", r"\-") for name, meaning in pairs)


def _commands(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return list(action.choices.values())
    raise LookupError("no commands")


def main() -> None:
    """Write the files."""
    for path, text in generate().items():
        whole = os.path.join(ROOT, path)
        os.makedirs(os.path.dirname(whole), exist_ok=True)
        with open(whole, "w", encoding="utf-8") as file:
            file.write(text)


if __name__ == "__main__":
    main()
