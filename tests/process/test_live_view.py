"""``palingenesis sessions --watch`` on real terminals of tmux: 500 sessions, at four sizes."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import time
import uuid
from collections.abc import Sequence
from typing import Any

from palingenesis.cli.columns import width
from tests.agents.terminal import Tmux, Window
from tests.support.cases import COMMAND, CommandTestCase
from tests.support.checkout import PROGRAMS
from tests.support.monitored import session
from tests.support.patience import wait_until
from tests.support.processes import Process, twistd_command

#: Columns and lines.
SIZES = ((40, 10), (80, 24), (120, 40), (200, 60))
SESSIONS = 500
#: Directories whose characters take two columns, or none.
ODD = (
    "/srv/\u4e2d\u6587\u9879\u76ee\u4e2d\u6587\u9879\u76ee\u4e2d\u6587\u9879\u76ee",
    "/srv/cafe\u0301" + "\u0301" * 40,
    "/srv/rocket \U0001f680",
)
CONFIG = """\
[sessions]
agents = ["claude"]
backlog = true
quiet = 0.2
interval = 0.5
[revive.claude]
command = ["/bin/true", "{id}"]
"""
#: What is shown of the session that needs a person, and of the one that waits for its reset.
NEEDS_YOU, WAITS = "needs you: an answer", "limit; due in "
#: What a shell shows when it waits for a line.
PROMPT = "ready$"


class TmuxTestCase(CommandTestCase):
    def setUp(self) -> None:
        super().setUp()
        if shutil.which("tmux") is None:
            self.skipTest("tmux is not installed")
        # Short: tmux shows a line that is too long for the window as two.
        self.command = self.place.write(
            "w", f'#!/bin/sh\nexec {shlex.join(COMMAND)} sessions --watch 0.5 "$@"\n'
        )
        os.chmod(self.command, 0o700)
        environment = self.environment(
            PS1=PROMPT, LC_ALL="C.UTF-8", TERM="screen-256color", HISTFILE=""
        )
        self.server = Tmux(self.place.directory, environment)
        self.addCleanup(self.end_server)

    def end_server(self) -> None:
        if os.path.isdir(self.place.path(f"tmux-{os.geteuid()}")):
            self.server.tmux("kill-server")

    def watch(self, size: tuple[int, int]) -> Window:
        """Watch from a shell in a window of this size."""
        window = self.server.open(["bash", "--norc", "--noprofile", "-i"], "/", size)
        window.wait_for(PROMPT)
        window.type(self.command)
        window.wait_for("live ")
        return window

    def rows(self, window: Window, size: tuple[int, int], *texts: str) -> list[str]:
        """Return what is shown with these texts, checked: printable, and as wide as it may be."""

        def shown() -> list[str]:
            rows = window.screen.split("\n")
            is_whole = any(row.startswith("live ") for row in rows)
            return rows if is_whole and all(text in "\n".join(rows) for text in texts) else []

        rows = wait_until(shown, f"{texts} on the screen")
        self.assertLessEqual(len(rows), size[1] + 1)
        for row in rows:
            self.assertLessEqual(width(row), size[0], row)
            self.assertTrue(row.isprintable(), ascii(row))
        return rows

    def position(self, rows: Sequence[str], text: str) -> int:
        """Return on which line a text is shown."""
        return next(number for number, row in enumerate(rows) if text in row)


class LiveViewTests(TmuxTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.write_sessions()
        self.config = self.place.write("c.toml", CONFIG)
        self.daemon = self.start()

    def start(self) -> Process:
        daemon = self.place.daemon("--config", self.config)
        wait_until(self.is_scanned, "the first scan")
        return daemon

    def is_scanned(self) -> bool:
        counts = json.loads(self.ask())["sessions"]
        return bool(sum(counts.values()) == SESSIONS and counts.get("waiting") == 1)

    def write_sessions(self) -> None:
        now = time.time()
        for number in range(SESSIONS):
            directory = ODD[number] if number < len(ODD) else f"/srv/project-{number:03}"
            content: list[dict[str, Any]] = [{"type": "text", "text": "Done."}]
            known: dict[str, Any] = {"stop_reason": "end_turn"}
            further: dict[str, Any] = {}
            if number == SESSIONS - 1:
                known = {"stop_reason": "tool_use"}
                content = [{"type": "tool_use", "id": "t", "name": "AskUserQuestion", "input": {}}]
            elif number == SESSIONS - 2:
                known = {"model": "<synthetic>", "stop_reason": "stop_sequence"}
                further = {
                    "isApiErrorMessage": True, "error": "rate_limit", "apiErrorStatus": 429,
                    "quotaLimits": {"status": "rejected", "resetsAt": now + 7200},
                }  # fmt: skip
            identity = str(uuid.UUID(int=(number + 1) << 96))
            at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now - 60 - number))
            record = {
                "type": "assistant", "uuid": "u", "timestamp": at, "sessionId": identity,
                "cwd": directory, "isSidechain": False,
                "message": {"role": "assistant", "content": content, **known}, **further,
            }  # fmt: skip
            place = self.place.path(".claude", "projects", f"p{number}")
            os.makedirs(place)
            path = os.path.join(place, f"{identity}.jsonl")
            with open(path, "w", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
            os.utime(path, (now - 60 - number,) * 2)

    def test_the_urgent_are_in_sight_at_every_size(self) -> None:
        for size in SIZES:
            rows = self.rows(self.watch(size), size, NEEDS_YOU, WAITS)
            self.assertLess(self.position(rows, NEEDS_YOU), self.position(rows, WAITS))
            self.assertLess(self.position(rows, WAITS), self.position(rows, "00000001"))
            self.assertEqual(self.position(rows, "live "), size[1] - 2)

    def test_columns_stay_below_each_other_whatever_the_characters(self) -> None:
        for size in SIZES[1:]:
            rows = self.rows(self.watch(size), size, "00000003")
            places = {
                width(row[: row.index(state)])
                for row in rows
                for state in ("stopped", "waiting")
                if row.startswith("0000") and state in row
            }
            self.assertEqual(len(places), 1, rows)

    def test_keys_reach_every_session_at_every_size(self) -> None:
        for size in SIZES:
            window = self.watch(size)
            window.keys("End")
            rows = self.rows(window, size, "continue it yourself")
            self.assertNotIn(NEEDS_YOU, "".join(rows[: size[1] - 4]))
            window.keys("PPage")
            self.rows(window, size)
            window.keys("Home")
            self.rows(window, size, NEEDS_YOU)
            self.server.tmux("send-keys", "-t", window.name, "-l", "/ect-250")
            self.rows(window, size, "only what has: ect-250")
            window.keys("Enter")
            rows = self.rows(window, size, "project-250", "only 'ect-250'")
            self.assertNotIn(NEEDS_YOU, "".join(rows))
            window.keys("/", "Escape")
            self.rows(window, size, NEEDS_YOU)

    def test_another_size_is_used_at_once(self) -> None:
        window = self.watch(SIZES[-1])
        for size in (*SIZES, *reversed(SIZES)):
            columns, lines = map(str, size)
            self.server.tmux("resize-window", "-t", window.name, "-x", columns, "-y", lines)

            def is_drawn(size: tuple[int, int] = size) -> bool:
                rows = window.screen.split("\n")
                return len(rows) > size[1] - 2 and rows[size[1] - 2].startswith("live ")

            wait_until(is_drawn, f"the view at {size}")
            self.rows(window, size, NEEDS_YOU, WAITS)

    def test_ctrl_z_gives_the_terminal_back_until_fg(self) -> None:
        window = self.watch((80, 24))
        window.keys("C-z")
        screen = window.wait_for("Stopped")
        self.assertNotIn(NEEDS_YOU, screen)
        window.type("echo $((40 + 2))")
        window.wait_for("\n42\n")
        window.type("fg")
        self.rows(window, (80, 24), NEEDS_YOU)
        window.keys("End")
        self.rows(window, (80, 24), "continue it yourself")
        window.keys("q")
        screen = window.wait_for("\n42\n")
        self.assertNotIn("live ", screen)
        window.type("echo $((50 + 5))")
        window.wait_for("\n55\n")

    def test_a_daemon_that_dies_and_returns_is_shown(self) -> None:
        windows = {size: self.watch(size) for size in SIZES}
        self.daemon.kill()
        for size, window in windows.items():
            rows = self.rows(window, size, "not running")
            self.assertNotIn(NEEDS_YOU, "".join(rows))
        self.start()
        for size, window in windows.items():
            self.rows(window, size, NEEDS_YOU)


class HostileTests(TmuxTestCase):
    """What a daemon of another program replies cannot drive the terminal."""

    def test_escapes_in_directories_are_shown_as_text(self) -> None:
        odd = (
            "/srv/\x1b[31mred\x1b[2J\x1b]0;title\x07",
            "/srv/\U0001f469\u200d\U0001f4bb",
            "/srv/\u202eright to left",
            "/srv/a\nb\rc\td",
        )
        sessions = [session(id=f"{n:08}", directory=each) for n, each in enumerate(odd)]
        self.place.spawn(
            [
                *twistd_command(),
                f"--pidfile={self.place.pidfile}",
                "-noy",
                str(PROGRAMS / "monitored.py"),
            ],
            environment={
                "TEST_SOCKET": self.path,
                "TEST_REPLIES": json.dumps({"SESSIONS": sessions}),
            },
        ).wait_for_log("Listening on")
        for size in SIZES:
            window = self.watch(size)
            rows = self.rows(window, size, "00000000", "00000003")
            self.assertIn("\\u200d", "".join(rows))
            title = self.server.tmux("display-message", "-p", "-t", window.name, "#{pane_title}")
            self.assertNotEqual(title.strip(), "title")
