from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tools.agents_page import ABSENT, page


def row(name: str, version: str, *, passed: bool = True, **told: str) -> dict[str, Any]:
    """Make a row as a test of a real agent notes it."""
    known = {"kind": None, "state": None, **told}
    return {"agent": "codex", "version": version, "row": name, "passed": passed, **known}


class PageTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.text = page(
            [
                row("a limit", "0.9.1", kind="finished", state="stopped"),
                row("a limit", "0.10.0", kind="limit", state="waiting"),
                row("a queue", "0.10.0", passed=False),
                row("a menu", "0.9.1"),
                row("a question", "0.9.1", kind="asking", state="stopped"),
                row("a question", "0.10.0", kind="asking", state="stopped"),
            ]
        )

    def test_a_situation_is_a_row_and_a_version_a_column_the_newest_first(self) -> None:
        cells = [line[7:] for line in self.text.splitlines() if line.startswith("     - ")]
        self.assertEqual(
            cells,
            [
                *("0.10.0", "0.9.1"),
                *("limit, waiting", "finished, stopped"),
                *(ABSENT, "passed"),
                *("asking, stopped", "asking, stopped"),
                *(r"not yet \*", ABSENT),
            ],
        )

    def test_what_changed_between_two_versions_is_said(self) -> None:
        after = self.text.partition("What changed from 0.9.1 to 0.10.0:\n\n")[2]
        self.assertEqual(
            after.partition("\n\n")[0].splitlines(),
            [
                '- from "finished, stopped" to "limit, waiting": a limit',
                "- new: a queue",
                "- no longer there: a menu",
            ],
        )

    def test_an_agent_without_rows_is_left_out(self) -> None:
        self.assertIn("\nCodex\n-----\n", self.text)
        self.assertNotIn("Claude Code", self.text)
