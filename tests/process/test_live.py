"""``palingenesis status`` on a terminal, once and live."""

from __future__ import annotations

import json
import os
import signal

from palingenesis.cli.exit_status import Exit
from tests.support.cases import COMMAND, CommandTestCase
from tests.support.checkout import ROOT
from tests.support.impostors import (
    STATUS_LINE,
    answer,
    impostor,
    never_end,
)
from tests.support.patience import wait_until
from tests.support.terminal import Terminal


class ColourTests(CommandTestCase):
    def shown(self, **variables: str) -> str:
        with impostor(self.path, answer(STATUS_LINE)):
            terminal = Terminal(self, *COMMAND, "status", **variables)
            self.assertEqual(terminal.wait(), 0)
        os.unlink(self.path)
        return terminal.shown

    def test_a_terminal_is_coloured(self) -> None:
        self.assertIn("\x1b[33mpaused\x1b[0m", self.shown())

    def test_not_with_no_color(self) -> None:
        self.assertNotIn("\x1b", self.shown(NO_COLOR="1"))

    def test_not_where_the_terminal_is_dumb(self) -> None:
        self.assertNotIn("\x1b", self.shown(TERM="dumb"))


class WatchTests(CommandTestCase):
    ENTER = "\x1b[?1049h\x1b[?25l"
    LEAVE = "\x1b[?25h\x1b[?1049l"

    def watch(self, **variables: str) -> Terminal:
        terminal = Terminal(self, *COMMAND, "status", "--watch", "0.05", **variables)
        terminal.wait_for(self.ENTER)
        return terminal

    def test_a_live_view_rides_out_a_daemon_that_restarts(self) -> None:
        daemon = self.place.daemon()
        terminal = self.watch(NO_COLOR="1")
        terminal.wait_for("state    monitoring")
        self.assertEqual(daemon.stop(), 0)
        terminal.wait_for("state    not running")
        terminal.wait_for("reason   there is no socket")
        self.place.daemon()
        terminal.wait_for("state    monitoring")
        terminal.type(b"\x03")
        self.assertEqual(terminal.wait(), Exit.INTERRUPTED)
        self.assertTrue(terminal.shown.endswith(self.LEAVE), terminal.shown)

    def test_whatever_ends_it_the_screen_is_given_back(self) -> None:
        self.listen(answer(STATUS_LINE))
        for number in (signal.SIGTERM, signal.SIGHUP):
            terminal = self.watch()
            terminal.process.send_signal(number)
            self.assertEqual(terminal.wait(), 128 + number)
            self.assertTrue(terminal.shown.endswith(self.LEAVE), terminal.shown)

    def test_the_screen_is_given_back_for_as_long_as_it_is_suspended(self) -> None:
        self.listen(answer(STATUS_LINE))
        terminal = self.watch()
        # Alone in its session it is not really stopped, but goes on at once.
        terminal.process.send_signal(signal.SIGTSTP)
        terminal.wait_for(self.LEAVE)
        terminal.wait_for(self.ENTER)
        terminal.wait_for("paused")
        terminal.type(b"\x03")
        self.assertEqual(terminal.wait(), Exit.INTERRUPTED)

    def test_no_more_lines_than_the_terminal_has(self) -> None:
        many = json.loads(STATUS_LINE) | {f"key{number}": number for number in range(100)}
        self.listen(answer(json.dumps(many).encode() + b"\n"))
        terminal = Terminal(self, *COMMAND, "status", "--watch", "0.05")
        for _ in range(3):
            terminal.wait_for("\x1b[H")
            self.assertEqual(terminal.wait_for("\x1b[J").count("\n"), 23)

    def test_without_a_terminal_it_is_a_line_each_time(self) -> None:
        watching = self.place.spawn(
            [*COMMAND, "status", "--watch", "0.05"], environment={"PYTHONPATH": str(ROOT)}
        )
        watching.wait_for_log(r"\d\d:\d\d:\d\d not running: no daemon is running at ")
        daemon = self.place.daemon()
        line = r"\d\d:\d\d:\d\d monitoring, up \d seconds?\n"
        watching.wait_for_log(line, times=2)
        self.assertEqual(daemon.stop(), 0)
        before = watching.log.count("not running")
        watching.wait_for_log("not running", times=before + 1)
        self.assertEqual(watching.stop(signal.SIGINT), Exit.INTERRUPTED)
        self.assertEqual(watching.stderr, "")

    def test_a_program_that_watches_sees_only_the_daemons_lines(self) -> None:
        watching = self.place.spawn(
            [*COMMAND, "status", "--json", "--watch", "0.05"], environment={"PYTHONPATH": str(ROOT)}
        )
        wait_until(lambda: "no daemon is running" in watching.stderr, "an error")
        with impostor(self.path, answer(STATUS_LINE)):
            watching.wait_for_log("saves_count", times=3)
        os.unlink(self.path)
        seen = watching.log.count("saves_count")
        with impostor(self.path, answer(STATUS_LINE)):
            watching.wait_for_log("saves_count", times=seen + 1)
        self.assertEqual(watching.stop(signal.SIGINT), Exit.INTERRUPTED)
        lines = watching.log.encode().splitlines(keepends=True)
        self.assertEqual(set(lines), {STATUS_LINE})
        # However often it is met, a reason is told once: there was no socket, then a stale
        # one, none again, and in the end a stale one.
        told = watching.stderr.splitlines()
        self.assertLessEqual(len(told), 4, told)
        for line in told:
            self.assertRegex(line, "^palingenesis: no daemon is running at ")

    def test_an_answer_without_end_does_not_stop_it(self) -> None:
        watching = self.place.spawn(
            [*COMMAND, "status", "--watch", "0.05"], environment={"PYTHONPATH": str(ROOT)}
        )
        with impostor(self.path, never_end):
            watching.wait_for_log("no usable answer", times=2)
