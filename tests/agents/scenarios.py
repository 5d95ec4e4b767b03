"""What must hold with each agent."""

from __future__ import annotations

import os
import shutil
import time
from typing import Any

from twisted.trial.unittest import SkipTest

from palingenesis.monitor.agents import AGENTS
from tests.agents.answers import Answer, Cut, Hold, Say
from tests.agents.shared_rows import SharedRows
from tests.agents.terminal import Window
from tests.support.patience import wait_until

#: Seconds until a stated reset that no test waits for.
FAR = 3600
#: Seconds until a stated reset that a test waits for.
NEAR = 4
#: Seconds until a stated reset before which a test does something.
SOON = 15
#: Seconds without growth after which a revival is ended, for what grows more often.
STALL = 8
#: A command that takes long; Claude Code refuses a plain sleep(1).
LONG = "python3 -c 'import time; time.sleep(600)'"


class Scenarios(SharedRows):
    """The rows that all agents have."""

    def reset(self, seconds: float = FAR) -> int:
        """Return a reset that the agent can state, so many seconds ahead or a little more."""
        return self.agent.statable(time.time() + seconds)

    def assert_headless(self, *answers: Answer, **expected: Any) -> dict[str, Any]:
        """Run a session without a terminal to its end, and check what is told of it."""
        self.bed.server.answers(*answers)
        self.bed.begin().wait()
        self.bed.daemon(backlog=True, retry=[FAR])
        return self.assert_told(**expected)

    def at_a_limit(self) -> Window:
        """Open the agent, and bring it to a limit that lasts."""
        self.bed.server.answers(Say("Begun."), self.agent.limited(self.reset()))
        window = self.bed.open()
        window.type("please do the work")
        self.assert_asked(1)
        window.wait_for("Begun.")
        window.type("and go on")
        self.assert_asked(2)
        window.wait_for("hit your")
        wait_until(lambda: self.agent.failed(self.bed.records()), "the limit in a record")
        return window

    def in_a_turn(self) -> Window:
        """Open the agent, and bring it into the middle of a turn."""
        self.bed.server.answers(self.agent.runs(LONG), Hold())
        window = self.bed.open()
        window.type("please do the work")
        self.bed.written("time.sleep")
        # A key that is pressed between the call's record and its start can be lost.
        self.bed.wait_for_command("time.sleep")
        return window

    def assert_not_revived(self, *answers: Answer) -> None:
        """Run a session whose end the program does not tell, and check that it is left alone."""
        self.bed.server.answers(*answers)
        self.bed.begin().wait()
        self.bed.daemon(backlog=True)
        self.assert_told(state="stopped")
        self.assertIn(self.told()["kind"], ("finished", "unknown"))

    # Ends without a terminal.

    def test_a_finished_session(self) -> None:
        self.assert_headless(Say(), kind="finished", state="stopped")

    def test_a_limit_with_a_stated_reset(self) -> None:
        resets = self.reset()
        told = self.assert_headless(self.agent.limited(resets), kind="limit", state="waiting")
        self.assertEqual(told["due"], resets)

    def test_a_limit_without_a_stated_reset(self) -> None:
        self.assert_headless(self.agent.limited(None), kind="limit")

    def test_a_limit_in_a_loop_of_tools(self) -> None:
        resets = self.reset()
        script = [self.agent.runs("true"), self.agent.runs("true"), self.agent.limited(resets)]
        told = self.assert_headless(*script, kind="limit", state="waiting")
        self.assertEqual(told["due"], resets)

    def test_a_cut_stream(self) -> None:
        self.assert_headless(Cut(), kind="transient")

    def test_a_kill_in_a_turn(self) -> None:
        self.bed.server.answers(self.agent.runs(LONG), Hold())
        self.bed.begin()
        self.bed.written("time.sleep")
        self.bed.kill()
        self.bed.daemon(backlog=True)
        self.assert_told(kind="died", held="crashes")

    def test_two_sessions_in_a_directory(self) -> None:
        resets = self.reset()
        self.bed.server.answers(self.agent.limited(resets), Say())
        self.bed.begin().wait()
        limited = self.bed.session()
        self.bed.begin().wait()
        finished = self.bed.session()
        self.bed.daemon(backlog=True)
        self.assert_told(limited, kind="limit", due=resets)
        self.assert_told(finished, kind="finished")

    def test_a_directory_by_a_link(self) -> None:
        link = os.path.join(self.bed.home, "link")
        os.symlink(self.bed.project, link)
        self.bed.server.answers(self.agent.limited(self.reset(NEAR)), Say())
        self.bed.begin(directory=link).wait()
        self.bed.daemon(backlog=True)
        self.assert_event("worked")

    # Ends on a terminal.

    def test_open_at_a_limit(self) -> None:
        self.at_a_limit()
        self.bed.daemon(backlog=True)
        self.assert_told(kind="limit", held="owner-alive", state="waiting")

    def test_closed_at_a_limit(self) -> None:
        window = self.at_a_limit()
        window.close()
        self.bed.daemon(backlog=True)
        self.assert_told(kind="limit", held="not-due", state="waiting")

    def test_killed_at_a_limit(self) -> None:
        self.at_a_limit()
        self.bed.kill()
        self.bed.daemon(backlog=True)
        self.assert_told(kind="limit", held="not-due", state="waiting")

    def test_esc_in_a_turn(self) -> None:
        window = self.in_a_turn()
        window.keys("Escape")
        self.bed.daemon(backlog=True)
        self.assert_told(kind="user", state="left")

    def test_closed_in_a_turn(self) -> None:
        window = self.in_a_turn()
        window.close()
        self.bed.daemon(backlog=True)
        self.assert_told(kind="died", held="crashes")

    def test_killed_in_a_turn(self) -> None:
        self.in_a_turn()
        self.bed.kill()
        self.bed.daemon(backlog=True)
        self.assert_told(kind="died", held="crashes")

    def test_open_in_a_turn(self) -> None:
        self.in_a_turn()
        self.bed.daemon(backlog=True)
        self.assert_told(kind=None, state="quiet")

    # Revived.

    def always_limited(self) -> None:
        """Have each answer be a limit that is over in two seconds."""
        if self.agent.statable(1) != 1:
            raise SkipTest("this version states a reset in whole minutes")
        self.bed.server.answers(lambda: self.agent.limited(self.reset(2)))

    def test_revived_once(self) -> None:
        self.bed.server.answers(self.agent.limited(self.reset(NEAR)), Say())
        self.bed.daemon()
        self.bed.begin().wait()
        self.assert_event("worked")
        self.assert_told(kind="finished")
        self.assertEqual(self.story().count("started"), 1)
        self.assertEqual(len(self.bed.transcripts()), 1)
        self.assertEqual(self.agent.prompts(self.bed.records(), "continue"), 1)
        self.assertEqual(len(self.bed.server.asked), 2)

    def test_two_homes_under_one_daemon(self) -> None:
        """Each session is revived in its own home, with the account that is there."""
        agent = AGENTS[self.agent.name]
        home = os.path.join(self.bed.home, agent.home_name)
        work = os.path.join(self.bed.home, "work")
        shutil.copytree(home, work)
        self.bed.server.answers(*[self.agent.limited(self.reset(SOON))] * 2, Say())
        self.bed.begin().wait()
        first = self.bed.session()
        self.bed.begin(**agent.variables(work)).wait()
        self.bed.daemon(backlog=True, work=work)
        self.assert_event("worked", 2)
        told = {entry["home"]: entry for entry in self.bed.reply("SESSIONS")}
        self.assertEqual(sorted(told), sorted([self.agent.name, "work"]))
        self.assertEqual(told[self.agent.name]["id"], first)
        self.assertTrue(told["work"]["transcript"].startswith(work))
        for entry in told.values():
            self.assertEqual(self.story(entry["id"]).count("started"), 1)
            self.assertEqual(
                self.agent.prompts(self.agent.read(entry["transcript"]), "continue"), 1
            )
        self.assertEqual(len(self.bed.server.asked), 4)

    def test_the_same_limit_again_and_again(self) -> None:
        self.always_limited()
        self.bed.daemon(attempts=3, windows=10)
        self.bed.begin().wait()
        told = self.assert_told(state="given-up")
        self.assertEqual(told["kind"], "limit")
        starts = self.story().count("started")
        self.assertGreater(starts, 1)
        self.assertEqual(len(self.bed.server.asked), 1 + starts)
        self.assertEqual(self.agent.prompts(self.bed.records(), "continue"), starts)

    def test_no_more_resets_than_windows_without_a_person(self) -> None:
        self.always_limited()
        self.bed.daemon()
        self.bed.begin().wait()
        self.assert_told(state="stopped", held="windows")
        self.assertEqual(self.story().count("started"), 2)

    def test_the_daemon_killed_during_a_revival(self) -> None:
        hold = Hold()
        self.bed.server.answers(self.agent.limited(self.reset(NEAR)), hold, Say())
        daemon = self.bed.daemon()
        self.bed.begin().wait()
        self.assert_asked(2)
        daemon.kill()
        self.bed.daemon()
        self.assert_told(state="reviving")
        hold.released.set()
        self.assert_event("worked")
        self.assert_told(kind="finished")
        self.assertEqual(self.agent.prompts(self.bed.records(), "continue"), 1)
        self.assertEqual(len(self.bed.server.asked), 2)

    def test_the_daemon_killed_before_a_revival(self) -> None:
        resets = self.reset(SOON)
        self.bed.server.answers(self.agent.limited(resets), Say())
        daemon = self.bed.daemon()
        self.bed.begin().wait()
        self.assert_told(kind="limit", state="waiting")
        daemon.kill()
        self.bed.daemon()
        self.assert_event("worked")
        self.assertEqual(len(self.bed.server.asked), 2)

    def test_a_person_goes_on_first(self) -> None:
        """A session that a person resumes before its reset is never started again."""
        resets = self.reset(SOON)
        self.bed.server.answers(self.agent.limited(resets), Say("By hand."), Say())
        daemon = self.bed.daemon()
        # On a busy machine, the reset can pass before the person has begun.
        self.bed.steer("PAUSE")
        self.bed.begin().wait()
        self.assert_told(kind="limit", held="paused")
        window = self.bed.open(*self.agent.resumed(self.bed.session()))
        window.type("I go on")
        window.wait_for("By hand.")
        self.bed.steer("RESUME")
        wait_until(lambda: time.time() > resets + 2, "the reset is past")
        self.assert_told(kind="finished")
        self.assertTrue(daemon.running)
        self.assertNotIn("started", self.story())
        self.assertEqual(len(self.bed.server.asked), 2)
