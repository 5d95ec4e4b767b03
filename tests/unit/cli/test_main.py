"""The command's parser."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from palingenesis.cli.main import COMMANDS
from palingenesis.cli.parser import make_parser


class ParserTests(SynchronousTestCase):
    def test_the_parser_can_be_read_before_it_is_used(self) -> None:
        # As the generators of the completions and the manual do.
        self.assertIn("COMMAND", make_parser(COMMANDS).format_usage())
