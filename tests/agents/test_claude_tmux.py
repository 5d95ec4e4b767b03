"""Claude Code, open in tmux at a limit after which it does not go on by itself."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Mapping
from typing import Any

from twisted.trial.unittest import SkipTest

from tests.agents import claude_server
from tests.agents.answers import Answer, Hold, Say
from tests.agents.case import BRIEFLY, AgentTestCase
from tests.agents.claude import ClaudeCode
from tests.agents.terminal import Window
from tests.support.patience import wait_until
from tests.support.processes import Process

#: Since this version an open program goes on by itself, unless its settings forbid that.
CONTINUES = (2, 1, 190)
#: Seconds until the reset of a limit: a program is open by then, and at rest.
NEAR = 25
#: Seconds in which nothing must happen.
WHILE = 6.0
#: Seconds within which the program goes on by itself after a reset: about 100.
BY_ITSELF = 240.0
MENU = "What do you want to do?"
#: In the place of tmux(1): it notes each call that sends what is named, and waits or drops it.
SLOW = """#!/bin/sh
case "$*" in *"send-keys"*"{sends}"*) : > "{mark}"; {then};; esac
exec {tmux} "$@"
"""


class TypedTests(AgentTestCase):
    """
    :ivar claim: which limit the server says that it is.
    """

    kind = ClaudeCode
    claim = "five_hour"

    def setUp(self) -> None:
        super().setUp()
        self.needs(CONTINUES, "tests.agents.test_claude has the row of this version")
        self.set(autoContinueAtUsageLimit=False)

    # What a test begins with.

    def set(self, **settings: Any) -> None:
        """Change the program's settings; one that is None is its default again."""
        path = os.path.join(self.bed.home, ".claude", "settings.json")
        with open(path, encoding="utf-8") as file:
            known = {**json.load(file), **settings}
        kept = {name: value for name, value in known.items() if value is not None}
        self.bed.write(json.dumps(kept), "home", ".claude", "settings.json")

    def limit(self, seconds: float = NEAR) -> Answer:
        return claude_server.limited(time.time() + seconds, self.claim)

    def at_a_limit(self, *answers: Answer | Callable[[], Answer], seconds: float = NEAR) -> Window:
        """Open the program, and bring it to a limit that ends soon."""
        self.bed.server.answers(self.limit(seconds), *(answers or (Say("Typed."),)))
        window = self.bed.open()
        window.type("please do the work")
        self.bed.written("hit your")
        return window

    def daemon(self, environment: Mapping[str, str] | None = None) -> Process:
        return self.bed.daemon(revive={"type_into": "tmux"}, environment=environment)

    def at_rest(self, *answers: Answer | Callable[[], Answer], seconds: float = NEAR) -> Window:
        """Bring the program to a limit, and leave its menu, as a person does."""
        window = self.at_a_limit(*answers, seconds=seconds)
        self.leave_menu(window)
        return window

    def leave_menu(self, window: Window, limits: int = 1) -> None:
        """Close the menu that the program opens at a limit; now and then it opens none."""
        wait_until(lambda: window.screen.count("hit your") >= limits, "a limit")
        with contextlib.suppress(AssertionError):
            wait_until(lambda: MENU in window.screen, "a menu", BRIEFLY)
            window.keys("Escape")
        wait_until(lambda: MENU not in window.screen, "no menu")

    def slow(self, sends: str, then: str) -> tuple[str, dict[str, str]]:
        """
        Put a slow tmux in the daemon's way.

        :returns: the path that tells of its calls, and what the daemon needs in its environment.
        """
        mark = os.path.join(self.bed.home, "sends")
        real = shutil.which("tmux")
        script = self.bed.write(
            SLOW.format(sends=sends, mark=mark, then=then, tmux=real), "bin", "tmux"
        )
        os.chmod(script, 0o700)
        search = self.bed.environment["PATH"]
        return mark, {"PATH": f"{os.path.dirname(script)}{os.pathsep}{search}"}

    # What it comes to.

    def assert_worked(self, prompts: int = 1) -> None:
        try:
            self.assert_event("worked")
        except AssertionError as error:
            raise AssertionError(f"{error}; told: {self.bed.reply('SESSIONS')}") from None
        time.sleep(WHILE)
        self.assertEqual(self.agent.prompts(self.bed.records(), "continue"), prompts)
        self.assertEqual(len(self.bed.server.asked), 1 + prompts)

    def assert_doubt(self, words: str) -> None:
        """Wait until SESSIONS tells why nothing is typed."""
        self.assert_told(held="owner-alive", method="type_into")
        try:
            wait_until(lambda: words in (self.told().get("doubt") or ""), f"{words!r} as its doubt")
        except AssertionError as error:
            raise AssertionError(f"{error}; told: {self.told()}") from None

    def assert_nothing_typed(self, window: Window) -> None:
        """Wait until the reset is past, and for a while; nothing must be typed or started."""
        due = self.told()["due"]
        wait_until(lambda: time.time() > due + WHILE, "the reset is past")
        self.assertNotIn("intent", self.story())
        self.assertNotIn("continue", window.screen.replace("then continue auto", ""))
        self.assertEqual(self.agent.prompts(self.bed.records(), "continue"), 0)
        self.assertEqual(len(self.bed.server.asked), 1)

    # Rows.

    def test_typed_once(self) -> None:
        self.daemon()
        self.at_rest()
        self.assert_worked()
        self.assertEqual(self.story().count("started"), 1)
        self.assert_told(kind="finished")

    def test_a_long_prompt_is_typed_whole(self) -> None:
        prompt = 'it\'s "quoted"; $HOME #{pane_id} na\u00efve \u65e5\u672c \\n `x` ' + "go on " * 24
        prompt = prompt.strip()
        self.bed.daemon(revive={"type_into": "tmux", "prompt": prompt})
        self.at_rest()
        self.assert_event("worked")
        self.assertEqual(self.agent.prompts(self.bed.records(), prompt), 1)

    def assert_typed_at(self, width: int, height: int, display: str) -> None:
        """Check that a prompt is typed in a window that has got another size."""
        self.set(tui=display)
        self.daemon()
        window = self.at_rest()
        window.tmux("resize-window", "-x", str(width), "-y", str(height))
        self.assert_worked()

    def test_typed_on_a_small_screen(self) -> None:
        self.assert_typed_at(60, 15, "default")

    def test_typed_on_a_usual_screen(self) -> None:
        self.assert_typed_at(80, 24, "fullscreen")

    def test_typed_on_a_wide_screen(self) -> None:
        self.assert_typed_at(120, 40, "fullscreen")

    def test_typed_on_a_very_wide_screen(self) -> None:
        self.assert_typed_at(200, 60, "fullscreen")

    def test_vims_keys(self) -> None:
        self.set(editorMode="vim")
        self.daemon()
        window = self.at_rest()
        window.wait_for("-- INSERT --")
        window.keys("Escape")
        self.assert_doubt("vim")
        self.assert_nothing_typed(window)
        window.keys("i")
        self.assert_worked()

    def test_the_shell_mode(self) -> None:
        self.daemon()
        window = self.at_rest()
        window.keys("-l", "!")
        self.assert_doubt("the cursor is not in an input line")
        self.assert_nothing_typed(window)
        window.keys("BSpace")
        self.assert_worked()

    def test_half_a_line_is_left_alone(self) -> None:
        self.daemon()
        window = self.at_rest()
        window.keys("-l", "please look")
        self.assert_doubt("something is typed")
        self.assert_nothing_typed(window)
        self.assertIn("please look", window.screen)
        window.keys("C-u")
        self.assert_worked()

    def test_a_menu_is_never_answered(self) -> None:
        self.daemon()
        window = self.at_a_limit()
        try:
            wait_until(lambda: MENU in window.screen, "a menu", BRIEFLY)
        except AssertionError:
            raise SkipTest("the program has opened no menu this time") from None
        self.assert_doubt("waiting")
        self.assert_nothing_typed(window)
        self.assertIn(MENU, window.screen)

    def test_copy_mode(self) -> None:
        self.daemon()
        window = self.at_rest()
        window.tmux("copy-mode")
        self.assert_doubt("copy mode")
        self.assert_nothing_typed(window)
        window.keys("-X", "cancel")
        self.assert_worked()

    def test_a_second_limit(self) -> None:
        """It is a stop of its own, with a reset of its own."""
        self.daemon()
        window = self.at_rest(lambda: self.limit(), Say("Typed."))
        wait_until(lambda: len(self.bed.server.asked) == 2, "the first prompt")
        self.leave_menu(window, limits=2)
        self.assert_worked(prompts=2)
        self.assertEqual(self.story().count("intent"), 2)

    def test_killed_before_its_reset(self) -> None:
        """Nobody has the session: the command brings it back."""
        self.daemon()
        window = self.at_rest()
        self.assert_told(method="type_into")
        window.close()
        self.assert_worked()
        self.assert_told(kind="finished")

    def test_killed_before_it_answers(self) -> None:
        """The command brings it back once nobody has had it for two minutes."""
        self.daemon()
        window = self.at_rest(Hold(), Say("By the command."))
        wait_until(lambda: len(self.bed.server.asked) == 2, "the prompt")
        self.bed.written('"continue"')
        os.kill(window.pid, signal.SIGKILL)
        wait_until(lambda: len(self.bed.server.asked) == 3, "the command", BY_ITSELF)
        self.assert_event("worked")
        self.assertEqual(self.story().count("intent"), 2)
        self.assertEqual(self.agent.prompts(self.bed.records(), "continue"), 2)

    def test_a_person_types_just_then(self) -> None:
        """What a person adds to the text is not sent, nor is the text."""
        mark, environment = self.slow(" Enter", "sleep 1")
        self.daemon(environment)
        window = self.at_rest()
        wait_until(lambda: os.path.exists(mark), "the text is typed")
        window.keys("-l", "x")
        self.assert_event("gave-up")
        self.assertIn("was not sent", next(e["reason"] for e in self.entries("needs-you")))
        self.assertIn("continuex", window.screen)
        self.assertEqual(len(self.bed.server.asked), 1)

    def test_the_daemon_killed_before_enter(self) -> None:
        """What was typed is never typed again."""
        mark, environment = self.slow(" Enter", "exit 1")
        daemon = self.daemon(environment)
        window = self.at_rest()
        wait_until(lambda: os.path.exists(mark), "the text is typed")
        daemon.kill()
        self.daemon()
        self.assert_event("gave-up")
        self.assertEqual(self.story().count("intent"), 1)
        self.assertIn("its prompt was typed", self.told()["needs"])
        self.assertEqual(window.screen.count("continue"), 1)
        self.assertEqual(len(self.bed.server.asked), 1)

    def test_the_daemon_killed_after_enter(self) -> None:
        daemon = self.daemon()
        self.at_rest()
        wait_until(lambda: len(self.bed.server.asked) == 2, "the prompt")
        daemon.kill()
        self.daemon()
        self.assert_worked()
        self.assertEqual(self.story().count("intent"), 1)

    def test_paused_before_its_reset(self) -> None:
        self.daemon()
        window = self.at_rest()
        self.assert_told(kind="limit")
        self.bed.steer("PAUSE")
        self.assert_nothing_typed(window)
        self.bed.steer("RESUME")
        self.assert_worked()

    def test_paused_before_enter(self) -> None:
        """The text stands there, and is left there."""
        mark, environment = self.slow(" -l ", "sleep 1")
        self.daemon(environment)
        window = self.at_rest()
        wait_until(lambda: os.path.exists(mark), "the text is typed")
        self.bed.steer("PAUSE")
        window.wait_for("continue")
        self.assert_event("gave-up")
        self.assertIn("was not sent", next(e["reason"] for e in self.entries("needs-you")))
        self.assertIn("continue", window.screen)
        self.assertEqual(len(self.bed.server.asked), 1)

    def entries(self, event: str) -> list[dict[str, Any]]:
        return [entry for entry in self.bed.reply("LOG 1000") if entry["event"] == event]

    def test_two_open_programs_in_a_directory(self) -> None:
        self.daemon()
        resets = time.time() + 2 * NEAR
        limit = claude_server.limited(resets)
        self.bed.server.answers(limit, limit, Say("Typed."), Say("Typed."))
        windows = []
        for asked in (1, 2):
            window = self.bed.open()
            window.type("please do the work")
            self.assert_asked(asked)
            self.leave_menu(window)
            windows.append(window)
        self.assert_event("worked", times=2)
        time.sleep(WHILE)
        for path in self.bed.transcripts():
            self.assertEqual(self.agent.prompts(self.bed.records(path), "continue"), 1)
        self.assertEqual(len(self.bed.transcripts()), 2)
        self.assertEqual(len(self.bed.server.asked), 4)

    def test_the_view_of_agents(self) -> None:
        """Its line begins another session; the limited one goes on in the background."""
        self.daemon()
        window = self.at_rest(seconds=2 * NEAR)
        due = self.assert_told(kind="limit")["due"]
        window.keys("Left")
        opened, asks = "moved to the background", "again to"
        wait_until(lambda: opened in window.screen or asks in window.screen, "the view")
        if opened not in window.screen:
            window.keys("Left")
        window.wait_for(opened)
        wait_until(lambda: time.time() > due + WHILE, "the reset is past")
        self.assertNotIn("intent", self.story())
        self.assertNotIn("continue", window.screen)
        self.assertEqual(len(self.bed.server.asked), 1)

    def test_another_session_that_is_resumed_inside(self) -> None:
        """Its line is empty, and belongs to another conversation than the limited one."""
        self.bed.server.answers(Say("Other reply."))
        window = self.bed.open()
        window.type("some other work")
        self.bed.written("Other reply.")
        window.type("/exit")
        window.wait()
        self.daemon()
        window = self.at_rest(seconds=2 * NEAR)
        stopped = self.bed.session(self.bed.written("hit your"))
        due = self.assert_told(stopped, kind="limit")["due"]
        window.type("/resume")
        window.wait_for("some other work")
        window.keys("Enter")
        window.wait_for("Other reply.")
        wait_until(lambda: time.time() > due + WHILE, "the reset is past")
        self.assert_told(stopped, held="owner-alive")
        self.assertNotIn("intent", self.story())
        self.assertNotIn("continue", window.screen)
        self.assertEqual(len(self.bed.server.asked), 2)

    def test_a_person_at_the_terminal(self) -> None:
        self.daemon()
        window = self.at_rest()
        with window.attached():
            self.assert_doubt("a person used its terminal")
            self.assert_nothing_typed(window)

    def test_in_a_tmux_within_another(self) -> None:
        self.daemon()
        window = self.at_rest()
        window.nested()
        self.assert_doubt("runs in another")
        self.assert_nothing_typed(window)

    def test_it_goes_on_by_itself(self) -> None:
        self.check_it_goes_on_by_itself(autoContinueAtUsageLimit=True)

    def test_it_goes_on_by_itself_after_a_weekly_limit(self) -> None:
        """It does so by its own settings too, if the reset is near."""
        self.claim = "seven_day"
        self.check_it_goes_on_by_itself(autoContinueAtUsageLimit=None)

    def check_it_goes_on_by_itself(self, **settings: Any) -> None:
        """Check that nothing is typed for a program that has said that it goes on."""
        self.set(**settings)
        self.daemon()
        self.at_a_limit(Say("By itself."))
        self.bed.written("set to continue automatically")
        self.assert_told(method="type_into")
        wait_until(lambda: self.told()["due"] > time.time() + 500, "ten minutes are left for that")
        wait_until(lambda: len(self.bed.server.asked) == 2, "it goes on", BY_ITSELF)
        self.assert_told(kind="finished")
        self.assertNotIn("intent", self.story())
        self.assertEqual(self.agent.prompts(self.bed.records(), "continue"), 0)
