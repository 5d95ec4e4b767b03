"""The command's parser."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from palingenesis.cli.main import COMMANDS, _parsed
from palingenesis.cli.parser import make_parser


class ParserTests(SynchronousTestCase):
    def test_a_status_has_the_options_that_the_parser_gives_it(self) -> None:
        parser = make_parser(COMMANDS)
        for words in (["status"], ["status", "--short"]):
            self.assertEqual(vars(_parsed(words)), vars(parser.parse_args(words)))

    def test_a_command_has_the_options_that_the_parser_of_all_gives_it(self) -> None:
        parser = make_parser(COMMANDS)
        for words in (
            ["status", "--json"],
            ["--socket", "stop", "pause", "--end"],
            ["log", "-n", "3", "--timeout", "2"],
        ):
            self.assertEqual(vars(_parsed(words)), vars(parser.parse_args(words)))

    def test_the_parser_can_be_read_before_it_is_used(self) -> None:
        # As the generators of the completions and the manual do.
        self.assertIn("COMMAND", make_parser(COMMANDS).format_usage())
