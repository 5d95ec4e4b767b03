"""What is said of sessions whose program is open."""

from __future__ import annotations

import math
import sys
import time
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from palingenesis.cli.open_programs import open_program
from palingenesis.cli.sessions import open_programs
from tests.support.monitored import NOW, session

DUE = NOW + 7500
CLOCK = time.strftime("%H:%M", time.localtime(DUE))


def waiting(**known: Any) -> dict[str, Any]:
    """Make a Codex session at a limit, whose program is open."""
    return session(
        **{
            "agent": "codex",
            "home": "codex",
            "state": "waiting",
            "kind": "limit",
            "due": DUE,
            "held": "not-due",
            "owner": "program",
            "who": "pid 4242 (codex) at pts/3",
            "method": "queue",
            "doubt": None,
            **known,
        }
    )


class SentenceTests(SynchronousTestCase):
    def assert_said(self, text: str | None, **known: Any) -> None:
        self.assertEqual(open_program(waiting(**known), NOW), text)

    def test_what_will_be_done_and_when(self) -> None:
        who = "its program is open (pid 4242, pts/3)"
        self.assert_said(f"{who}: it will be handed the prompt at {CLOCK}")
        self.assert_said(
            f"{who}: the prompt will be typed into it at {CLOCK}",
            method="type_into",
            agent="claude",
        )
        later = DUE + 3 * 86_400
        shown = time.strftime("%a %H:%M", time.localtime(later))
        self.assert_said(f"{who}: it will be handed the prompt at {shown}", due=later)

    def test_a_home_without_a_method_has_advice(self) -> None:
        self.patch(sys, "platform", "linux")
        for agent, named in (
            ("codex", "name `queue` in [revive.work]"),
            ("claude", "name `type_into` in [revive.work]"),
            ("opencode", "end it to have this revived"),
        ):
            for method, held in (("command", "owner-alive"), (None, "no-method")):
                self.assert_said(
                    f"its program is open (pid 4242, pts/3): nothing will be done; {named}",
                    agent=agent,
                    home="work",
                    method=method,
                    held=held,
                )

    def test_a_method_that_would_do_nothing_is_not_named(self) -> None:
        for platform, known in (
            ("linux", {"kind": "transient"}),
            ("linux", {"owner": "server", "who": "pid 4242 (claude) at pts/3"}),
            ("darwin", {}),
        ):
            self.patch(sys, "platform", platform)
            said = open_program(
                waiting(**{"agent": "claude", "method": None, "held": "no-method", **known}), NOW
            )
            self.assertTrue((said or "").endswith("; end it to have this revived"), said)

    def test_why_a_method_that_is_named_does_nothing(self) -> None:
        who = "its program is open (pid 4242, pts/3)"
        doubt = "it is not known to take a message"
        self.assert_said(
            f"{who}: nothing will be done; {doubt}",
            method="command",
            held="owner-alive",
            doubt=doubt,
        )
        self.assert_said(
            f"{who}: nothing is done for now; a message may wait in its queue", held="owner-alive"
        )
        self.assert_said(f"{who}: nothing is done for now; paused", held="paused")

    def test_what_has_the_prompt_already(self) -> None:
        who = "its program is open (pid 4242, pts/3)"
        said = f"{who}: it has the prompt, and no answer came of it yet"
        self.assert_said(said, state="reviving", held="already-running")

    def test_a_server_and_a_program_without_a_terminal(self) -> None:
        done = f"it will be handed the prompt at {CLOCK}"
        self.assert_said(
            f"Codex's server, pid 17433, has it: {done}",
            owner="server",
            who="Codex's server, pid 17433",
        )
        self.assert_said(f"its program is open (pid 42): {done}", who="pid 42 (codex)")
        self.assert_said(f"its program is open (a program): {done}", who="a program")

    def test_nothing_is_said_of_others(self) -> None:
        for known in (
            {"owner": "gone"},
            {"owner": None},
            {"owner": "unknown"},
            {"state": "working", "kind": None},
            {"state": "left", "kind": "user"},
            {"kind": "refused", "state": "stopped"},
        ):
            self.assert_said(None, **known)

    def test_any_reply_is_said_in_printable_words(self) -> None:
        values = (None, "\x1b[2J", "x" * 5000, [1], {"a": 1}, math.nan, math.inf, -1, True)
        for key in ("owner", "state", "kind", "held", "method", "due", "who", "doubt", "home"):
            for value in values:
                for method in ("queue", None):
                    said = open_program(waiting(**{"method": method, key: value}), NOW)
                    self.assertTrue(said is None or (said.isprintable() and len(said) < 300), key)


class LinesTests(SynchronousTestCase):
    def test_each_session_has_its_own(self) -> None:
        lines = open_programs([waiting(), session(), waiting(id="22")], NOW, False, 100, 4)
        self.assertEqual([line[:4].strip() for line in lines], ["", "1111", "22"])
        self.assertIn("handed the prompt", lines[1])
        self.assertEqual(open_programs([session()], NOW, False, 100, 4), [])

    def test_a_narrow_terminal_has_several_lines(self) -> None:
        lines = open_programs([waiting()], NOW, False, 40, 4)
        self.assertGreater(len(lines), 2)
        self.assertLessEqual(max(map(len, lines)), 40)
