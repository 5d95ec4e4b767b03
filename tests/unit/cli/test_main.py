"""The command's parser."""

from __future__ import annotations

import argparse
import errno
import io
import sys

from twisted.trial.unittest import SynchronousTestCase

from palingenesis.cli import main
from palingenesis.cli.exit_status import Exit
from palingenesis.cli.main import COMMANDS, _parsed
from palingenesis.cli.parser import make_parser
from palingenesis.client.errors import NotRunning


class ParserTests(SynchronousTestCase):
    def test_a_status_has_the_options_that_the_parser_gives_it(self) -> None:
        parser = make_parser(COMMANDS)
        for before in ([], ["--socket", "a path"]):
            for words in ([*before, "status"], [*before, "status", "--short"]):
                quick = _parsed(words)
                self.assertNotIsInstance(quick, argparse.Namespace)
                self.assertEqual(vars(quick), vars(parser.parse_args(words)))

    def test_a_command_has_the_options_that_the_parser_of_all_gives_it(self) -> None:
        parser = make_parser(COMMANDS)
        for words in (
            ["status", "--json"],
            ["--socket", "", "status"],
            ["--socket", "stop", "pause", "--end"],
            ["log", "-n", "3", "--timeout", "2"],
        ):
            self.assertEqual(vars(_parsed(words)), vars(parser.parse_args(words)))

    def test_a_mistake_has_its_status_though_it_cannot_be_told(self) -> None:
        def older(*_: object) -> None:
            raise OSError(errno.ENOSPC, "no space left on device")

        # As argparse is in 3.11.2, for one: it lets the failure of standard error through.
        self.patch(argparse.ArgumentParser, "_print_message", older)
        self.patch(sys, "stderr", io.StringIO())
        self.patch(sys.stderr, "write", older)
        for words in (["nonsense"], ["start", "--nonsense"], ["--timeout", "0", "status"]):
            error = self.assertRaises(SystemExit, make_parser(COMMANDS).parse_args, words)
            self.assertEqual(error.code, Exit.USAGE)

    def mistake(self, *words: str) -> str:
        """Parse a mistake of usage, and return what is said."""
        said = io.StringIO()
        self.patch(sys, "stderr", said)
        self.assertRaises(SystemExit, make_parser(COMMANDS).parse_args, words)
        return said.getvalue()

    def test_a_choice_that_is_none_lists_the_choices_as_they_are_typed(self) -> None:
        said = self.mistake("sessions", "--state", "nonsense")
        self.assertRegex(said, r"choose from '?working'?, '?quiet'?, '?stopped'?,")

    def test_an_argument_that_may_be_left_out_is_not_asked_for(self) -> None:
        self.assertIn("are required: NAME (see `palingenesis send --help`)", self.mistake("send"))

    def test_the_parser_can_be_read_before_it_is_used(self) -> None:
        # As the generators of the completions and the manual do.
        self.assertIn("COMMAND", make_parser(COMMANDS).format_usage())


class ShortStatusTests(SynchronousTestCase):
    def test_a_prompt_waits_two_seconds_unless_told_otherwise(self) -> None:
        waits = []

        def client(_path: str | None, timeout: float) -> None:
            waits.append(timeout)
            raise NotRunning("a path", "there is none")

        self.patch(main, "ControlClient", client)
        for words in ([], ["--timeout", "9"]):
            self.assertEqual(main.main(["status", "--short", *words]), Exit.DONE)
        self.assertEqual(waits, [2.0, 9.0])
