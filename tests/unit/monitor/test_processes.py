from __future__ import annotations

import os

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from palingenesis.monitor.processes import Process, have_open, names_of, parse_ps
from tests.support.texts import ENCODABLE


class ParsingTests(SynchronousTestCase):
    def test_a_command_line_of_ps_stays_one_text(self) -> None:
        text = (
            "    1     0 Ss   /sbin/launchd\n"
            "  501   501 S+   /usr/local/bin/node /usr/local/bin/claude --resume x\n"
            "  502   501 Z    claude\n"
        )
        found = parse_ps(text, 501)
        line = "/usr/local/bin/node /usr/local/bin/claude --resume x"
        self.assertEqual([(each.pid, each.arguments) for each in found], [(501, (line,))])
        self.assertTrue(found[0].mentions("x"))

    @given(st.text(ENCODABLE))
    def test_any_text_is_parsed(self, text: str) -> None:
        for listed in (text, text * 30):
            self.assertIsInstance(parse_ps(listed, 0), list)

    def test_names_of_commands(self) -> None:
        for arguments, name in (
            (["claude", "-p"], "claude"),
            (["/home/you/.local/bin/claude"], "claude"),
            (["node", "/usr/bin/claude"], "claude"),
            (["/usr/bin/node", "--max-old-space-size=8192", "/usr/bin/claude"], "claude"),
            (["node", "/usr/lib/node_modules/@anthropic-ai/claude-code/cli.js"], "claude-code"),
            (["python3.11", "/x/claude"], "claude"),
            (["/x/Python.app/Contents/MacOS/Python", "-P", "/x/bin/claude"], "claude"),
            (["bun", "claude"], "claude"),
            (["claude bg-spare"], "claude"),
            (["/usr/local/bin/claude.exe"], "claude.exe"),
            (["/home/you/.local/share/claude/versions/2.1.270", "-p"], "claude"),
            (["node", "/x/node_modules/@anthropic-ai/claude-agent-sdk/cli.js"], "claude-agent-sdk"),
            (["node", "/usr/lib/node_modules/@openai/codex/bin/codex.js"], "codex.js"),
        ):
            self.assertIn(name, names_of(arguments), arguments)

    def test_an_agent_s_name_as_an_argument_is_no_agent(self) -> None:
        for arguments in (["vim", "claude"], ["python3", "script.py", "claude"], [], [""]):
            self.assertNotIn("claude", names_of(arguments), arguments)


class NameTests(SynchronousTestCase):
    def test_the_file_that_runs_counts_whatever_the_command_line_says(self) -> None:
        program = "/home/you/.local/share/claude/versions/2.1.270"
        process = Process(42, "1", ("a title",), command="node", program=program)
        self.assertEqual(process.names, {"a title", "a", "node", "2.1.270", "claude"})


class MentionTests(SynchronousTestCase):
    def mentions(self, *arguments: str) -> bool:
        return Process(42, "1", arguments).mentions("unlikely-77")

    def test_a_text_is_a_word_of_its_own(self) -> None:
        for arguments in (
            ["a", "unlikely-77"],
            ["a", "--resume=unlikely-77"],
            ["unlikely-77", "a"],
            ["/t/unlikely-77", "a"],
            ["sh", "-c", "claude --resume 'unlikely-77'"],
        ):
            self.assertTrue(self.mentions(*arguments), arguments)

    def test_a_text_inside_of_another_is_not_meant(self) -> None:
        for arguments in (
            ["/t/unlikely-77.jsonl"],
            ["unlikely-777"],
            ["x-unlikely-77"],
            ["unlikely"],
        ):
            self.assertFalse(self.mentions(*arguments), arguments)


class OpenFileTests(SynchronousTestCase):
    """Whether a process has a file open."""

    def setUp(self) -> None:
        self.proc = self.mktemp()
        for pid, target in ((os.getpid(), "/ours"), (7, "/theirs"), (8, "/gone (deleted)")):
            os.makedirs(f"{self.proc}/{pid}/fd")
            os.symlink(target, f"{self.proc}/{pid}/fd/3")
        os.makedirs(f"{self.proc}/9")

    def test_another_process_has_it_open(self) -> None:
        for path in ("/theirs", "/gone"):
            self.assertTrue(have_open({"/other", path}, self.proc))

    def test_none_has_it_open(self) -> None:
        for path in ("/other", "/ours"):
            self.assertFalse(have_open({path}, self.proc))
        self.assertFalse(have_open({"/theirs"}, f"{self.proc}/none"))
