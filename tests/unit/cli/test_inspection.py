"""What doctor shows of an inspection, made of values."""

from __future__ import annotations

import os
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from palingenesis import __version__
from palingenesis.cli.format import PLAIN, RED, YELLOW
from palingenesis.cli.inspection import rows

COMMAND = ["claude", "-p", "--resume", "{id}", "{prompt}"]


def agent(directory: str, exists: bool = True, monitored: bool = True) -> dict[str, Any]:
    """Make what ``INSPECT`` tells of an agent."""
    return {"directory": directory, "exists": exists, "monitored": monitored}


class InspectionTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.patch(os, "environ", {"HOME": "/home/you"})

    def rows(self, **inspected: Any) -> list[tuple[str, str, str]]:
        return list(rows(inspected))

    def test_where_everything_is_well_each_value_is_told_plainly(self) -> None:
        found = self.rows(
            pid=77,
            version=__version__,
            configuration={"path": "/etc/c.toml", "exists": True, "mistake": None},
            agents={"claude": agent("/home/you/.claude")},
            commands={
                "claude": {"command": COMMAND, "program": "/usr/bin/claude", "trouble": None}
            },
            state_directory="/home/you/.local/state/palingenesis",
            keeper=True,
            ledger="ok",
            paused=False,
        )
        self.assertEqual(
            found,
            [
                ("config", "/etc/c.toml: valid", PLAIN),
                ("agents", "claude in ~/.claude", PLAIN),
                ("revival", "of claude by claude -p --resume {id} {prompt}", PLAIN),
                ("program", "/usr/bin/claude", PLAIN),
                ("state", "~/.local/state/palingenesis", PLAIN),
                ("keeper", "this daemon", PLAIN),
                ("ledger", "ok", PLAIN),
            ],
        )

    def test_a_mistake_in_the_configuration_is_told_with_what_follows(self) -> None:
        config, restart = self.rows(
            configuration={"path": "/c", "exists": True, "mistake": "sessions.quiet: no"}
        )
        self.assertEqual(config, ("config", "/c: sessions.quiet: no", RED))
        self.assertEqual(restart, ("restart", "would fail over the configuration", RED))

    def test_no_configuration_is_no_mistake(self) -> None:
        for path, told in (("/c", "none at /c"), (None, "none, since no home directory is known")):
            found = self.rows(configuration={"path": path, "exists": False, "mistake": None})
            self.assertEqual(found, [("config", told, PLAIN)])

    def test_what_is_wrong_is_told_in_colour(self) -> None:
        trouble = {"command": COMMAND, "program": None, "trouble": "claude is not on the PATH"}
        for inspected, row in (
            (
                {"commands": {"claude": trouble}},
                ("revival", "of claude would fail: claude is not on the PATH", RED),
            ),
            ({"ledger": "disk full"}, ("ledger", "disk full", RED)),
            ({"keeper": 42}, ("keeper", "pid 42, so this daemon only monitors", YELLOW)),
            ({"paused": True}, ("paused", "yes; `palingenesis resume` ends the pause", YELLOW)),
            (
                {"version": "0.1"},
                (
                    "version",
                    f"0.1, but {__version__} is installed here; restart the daemon",
                    YELLOW,
                ),
            ),
        ):
            self.assertEqual(self.rows(**inspected), [row])

    def test_what_an_open_program_gets(self) -> None:
        queue = {"command": ["codex", "queue"], "program": "/usr/bin/codex", "trouble": None}
        tmux = {"command": ["tmux"], "program": "/usr/bin/tmux", "trouble": None}
        self.assertEqual(
            self.rows(commands={"codex.queue": queue, "codex.type_into": tmux}),
            [
                ("handed", "to an open codex by codex queue", PLAIN),
                ("program", "/usr/bin/codex", PLAIN),
                ("typed", "into the terminal of an open codex, in tmux", PLAIN),
                ("program", "/usr/bin/tmux", PLAIN),
            ],
        )

    def test_what_is_not_there_is_told(self) -> None:
        self.assertEqual(
            self.rows(agents={}, commands={}),
            [
                ("agents", "none", YELLOW),
                ("revival", "no command is named, so no session is revived", PLAIN),
            ],
        )

    def test_gemini_is_named_as_left_out_if_it_is_used(self) -> None:
        home = os.path.abspath(self.mktemp())
        os.makedirs(os.path.join(home, ".gemini"))
        self.patch(os, "environ", {"HOME": home})
        _, gemini = self.rows(agents={"claude": agent("/home/you/.claude")})
        self.assertEqual(
            gemini, ("gemini", "not monitored: why its sessions stop is not on disk", PLAIN)
        )

    def test_an_agent_that_is_not_monitored_is_told_with_the_reason(self) -> None:
        claude = agent("/srv/claude", monitored=False)
        codex = agent("/home/you/.codex", exists=False, monitored=False)
        self.assertEqual(
            self.rows(agents={"claude": claude, "codex": codex}),
            [
                (
                    "agents",
                    "not claude, since `agents` in [sessions] leaves it out; no directory of codex",
                    YELLOW,
                )
            ],
        )

    def test_a_default_home_that_has_a_name_is_told_with_it(self) -> None:
        known = {
            "claude": agent("/srv/claude", monitored=False),
            "work": agent("/srv/claude/"),
        }
        self.assertEqual(
            self.rows(agents=known)[0][:2], ("agents", "claude as work; work in /srv/claude/")
        )

    def test_a_value_of_another_version_is_shown_as_it_came(self) -> None:
        for key in ("configuration", "agents", "commands", "state_directory", "later"):
            self.assertEqual(self.rows(**{key: [1]}), [(key, "[1]", PLAIN)])

    def test_a_text_cannot_drive_the_terminal(self) -> None:
        for label, text, _ in self.rows(ledger="\x1b[2J", **{"\x07": "\u202e"}):
            self.assertTrue((label + text).isprintable())
