"""What follows from the table of the monitored agents, in parts that cannot import it."""

from __future__ import annotations

import re

from twisted.trial.unittest import SynchronousTestCase

from palingenesis.agents import CONTINUE, continuation
from palingenesis.cli.main import COMMANDS
from palingenesis.cli.parser import make_parser
from palingenesis.monitor.agents import AGENTS
from tests.support.checkout import ROOT

SESSION = "0198c5a5-0000-7000-8000-000000000000"


class AgentsTests(SynchronousTestCase):
    def test_each_agent_is_named_everywhere(self) -> None:
        self.assertEqual(list(CONTINUE), list(AGENTS))
        self.assertEqual([agent.name for agent in AGENTS.values()], list(AGENTS))

    def test_the_command_line_takes_each_agent(self) -> None:
        parser = make_parser(COMMANDS)
        for name in AGENTS:
            self.assertEqual(parser.parse_args(["sessions", "--agent", name]).agent, name)

    def test_no_preset_bypasses_permissions(self) -> None:
        bypass = re.compile("danger|bypass|skip-perm|yolo|allow|auto", re.IGNORECASE)
        for agent in AGENTS.values():
            self.assertIsNone(bypass.search(" ".join(agent.preset)))

    def test_a_person_continues_a_session_by_its_id(self) -> None:
        for name in AGENTS:
            line = continuation(name, SESSION, "/a b")
            assert line is not None
            self.assertTrue(line.startswith(f"cd '/a b' && {name} "), line)
            self.assertTrue(line.endswith(SESSION), line)
        self.assertIsNone(continuation("gemini", SESSION, "/"))

    def test_the_line_names_a_home_that_the_agent_would_not_find(self) -> None:
        self.assertEqual(
            continuation("claude", "abc", "/srv", {"CLAUDE_CONFIG_DIR": "/home/you/my work"}),
            "cd /srv && CLAUDE_CONFIG_DIR='/home/you/my work' claude --resume abc",
        )
        self.assertIsNone(continuation("claude", "abc", "/srv", {"CLAUDE_CONFIG_DIR": "/\x1b"}))

    def test_the_page_has_the_same_lines(self) -> None:
        script = (ROOT / "palingenesis/web/page/sessions.js").read_text(encoding="utf-8")
        found = re.findall(r"^  (\w+): \(id\) => \[(.*)\],$", script, re.MULTILINE)
        lines = {
            name: words.replace("${id}", SESSION).replace(", id", f" {SESSION}")
            for name, words in found
        }
        self.assertEqual(
            {name: re.sub(r'["`,]', "", line) for name, line in lines.items()},
            {name: continuation(name, SESSION, None) for name in AGENTS},
        )
