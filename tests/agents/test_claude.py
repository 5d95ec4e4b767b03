"""Claude Code, as it really is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time

from tests.agents import claude_server, permissions, scenarios
from tests.agents.answers import Break, Call, Hold, Say
from tests.agents.claude import ClaudeCode
from tests.agents.scenarios import FAR, LONG, NEAR, SOON, STALL
from tests.agents.terminal import Window
from tests.support.patience import wait_until

#: Since this version an open program goes on by itself at the reset of a limit.
CONTINUES = (2, 1, 190)


class ClaudeTests(scenarios.Scenarios):
    kind = ClaudeCode

    def at_a_limit(self) -> Window:
        window = super().at_a_limit()
        if self.agent.release < CONTINUES:
            window.wait_for("What do you want to do?")
            window.keys("Escape")
            wait_until(lambda: "What do you want to do?" not in window.screen, "no menu")
        return window

    # Ends without a terminal.

    def assert_limited(self, claim: str, **headers: str) -> None:
        resets = self.reset()
        answer = claude_server.limited(resets, claim, **headers)
        told = self.assert_headless(answer, kind="limit", state="waiting")
        self.assertEqual(told["due"], resets)

    def test_a_weekly_limit(self) -> None:
        self.assert_limited("seven_day")

    def test_a_limit_of_one_model(self) -> None:
        self.assert_limited("seven_day_opus")

    def test_credits_used_up_with_a_reset(self) -> None:
        more = {"overage_status": "rejected", "overage_disabled_reason": "out_of_credits"}
        self.assert_limited("overage", **more)

    def test_a_spend_limit_with_a_reset(self) -> None:
        more = {"overage_status": "rejected", "overage_disabled_reason": "org_spend_cap_reached"}
        self.assert_limited("five_hour", **more)

    def test_a_rate_limit_that_is_no_usage_limit(self) -> None:
        answer = claude_server.failed(429, "rate_limit_error", "Rate limited")
        self.assert_headless(answer, kind="transient")

    def test_extra_usage_that_is_required(self) -> None:
        text = "Extra usage is required for long context requests."
        self.assert_headless(claude_server.failed(429, "rate_limit_error", text), kind="refused")

    def test_an_overloaded_server(self) -> None:
        self.assert_headless(claude_server.OVERLOADED, kind="transient")

    def test_an_overload_in_the_stream(self) -> None:
        self.assert_headless(Break("overloaded_error", "Overloaded"), kind="transient")

    def test_an_error_of_the_server(self) -> None:
        self.assert_headless(claude_server.INTERNAL, kind="transient")

    def test_a_gateway_that_fails(self) -> None:
        self.assert_headless(claude_server.failed(503, "api_error", "x"), kind="transient")

    def test_a_refused_connection(self) -> None:
        self.bed.server.stop()
        self.assert_headless(Say(), kind="transient")

    def test_a_token_that_is_not_valid(self) -> None:
        self.assert_headless(claude_server.UNAUTHORIZED, kind="refused")

    def test_a_request_that_is_not_permitted(self) -> None:
        self.assert_headless(claude_server.FORBIDDEN, kind="refused")

    def test_no_credit(self) -> None:
        self.assert_headless(claude_server.NO_CREDIT, kind="refused")

    def test_a_payment_that_is_required(self) -> None:
        answer = claude_server.failed(402, "billing_error", "Payment required")
        self.assert_headless(answer, kind="refused")

    def test_a_full_context(self) -> None:
        self.assert_headless(claude_server.TOO_LONG, kind="context")

    # The user's end.

    def assert_left(self) -> None:
        self.bed.daemon(backlog=True)
        self.assert_told(state="left")

    def test_esc_at_a_limit(self) -> None:
        self.needs(CONTINUES, "this version does not go on by itself")
        window = self.at_a_limit()
        window.keys("Escape")
        self.bed.written("Automatic continue cancelled")
        window.close()
        self.assert_left()

    def test_exit_at_a_limit(self) -> None:
        window = self.at_a_limit()
        window.type("/exit")
        window.wait()
        self.assert_left()

    def test_quit_at_a_limit(self) -> None:
        window = self.at_a_limit()
        window.type("/quit")
        window.wait()
        self.assert_left()

    def test_ctrl_c_at_a_limit(self) -> None:
        self.needs(CONTINUES, "this version does not go on by itself")
        window = self.at_a_limit()
        window.keys("C-c")
        self.bed.written("Automatic continue cancelled")
        window.press_twice("C-c")
        window.wait()
        self.assert_left()

    def test_ctrl_d_at_a_limit(self) -> None:
        self.needs(CONTINUES, "this version does not go on by itself")
        window = self.at_a_limit()
        window.press_twice("C-d")
        window.wait()
        self.assert_left()

    def overloaded(self) -> Window:
        """Open the agent, and bring it to an overloaded server."""
        self.bed.server.answers(claude_server.OVERLOADED)
        window = self.bed.open()
        window.type("please do the work")
        self.bed.written("529 Overloaded")
        return window

    def test_exit_at_an_overloaded_server(self) -> None:
        window = self.overloaded()
        window.type("/exit")
        window.wait()
        self.assert_left()

    def test_closed_at_an_overloaded_server(self) -> None:
        window = self.overloaded()
        window.close()
        self.bed.daemon(backlog=True, retry=[FAR])
        self.assert_told(kind="transient", state="waiting")

    def test_exit_in_a_turn(self) -> None:
        window = self.in_a_turn()
        window.keys("Escape")
        self.bed.written("[Request interrupted by user")
        window.type("/exit")
        window.wait()
        self.assert_left()

    def test_ctrl_c_in_a_turn(self) -> None:
        window = self.in_a_turn()
        window.keys("C-c")
        self.bed.written("[Request interrupted by user")
        window.press_twice("C-c")
        window.wait()
        self.assert_left()

    def test_exit_without_esc_in_a_turn(self) -> None:
        window = self.in_a_turn()
        window.type("/exit")
        window.wait()
        if self.agent.release >= CONTINUES:
            self.assert_left()
        else:
            # This version often ends before it has noted it.
            self.bed.daemon(backlog=True)
            wait_until(lambda: self.told().get("kind") in ("died", "user"), "the end of a turn")
            self.assertNotIn("started", self.story())

    def test_ctrl_d_in_a_turn(self) -> None:
        """It leaves what a closed window leaves, and cannot be told from that."""
        window = self.in_a_turn()
        window.press_twice("C-d")
        window.wait()
        self.bed.daemon(backlog=True)
        self.assert_told(kind="died", held="crashes")

    def test_esc_before_a_reply(self) -> None:
        """The prompt goes back into the input line, and no record says so."""
        hold = Hold()
        self.bed.server.answers(hold)
        window = self.bed.open()
        window.type("please do the work")
        self.assert_asked(1)
        self.bed.written("please do the work")
        window.keys("Escape")
        wait_until(lambda: "esc to interrupt" not in window.screen, "the turn is over")
        self.bed.daemon(backlog=True)
        self.assert_told(kind=None, state="quiet")

    # What waits for a person.

    def test_a_question(self) -> None:
        option = {"label": "Left", "description": "To the left"}
        other = {"label": "Right", "description": "To the right"}
        question = {
            "question": "Left or right?",
            "header": "Side",
            "multiSelect": False,
            "options": [option, other],
        }
        self.bed.server.answers(Call("AskUserQuestion", {"questions": [question]}), Hold())
        window = self.bed.open()
        window.type("please do the work")
        window.wait_for("Left or right?")
        self.bed.daemon(backlog=True)
        self.assert_told(kind="asking", needs="an answer")

    def test_a_permission_that_is_asked_for(self) -> None:
        call = Call("WebFetch", {"url": "https://example.org", "prompt": "What is it?"})
        self.bed.server.answers(call, Hold())
        window = self.bed.open()
        window.type("please do the work")
        window.wait_for("Do you want to")
        self.bed.daemon(backlog=True)
        self.assert_told(kind="asking", needs="permission")

    # One session after another, and beside another.

    def test_clear_begins_another_session(self) -> None:
        window = self.at_a_limit()
        older = self.bed.session()
        window.type("/clear")
        wait_until(lambda: "hit your" not in window.screen, "an empty screen")
        window.type("something else")
        self.assert_asked(3)
        wait_until(lambda: len(self.bed.transcripts()) == 2, "a second transcript")
        self.bed.kill()
        self.bed.daemon(backlog=True)
        self.assert_told(older, state="left")

    def test_a_fork_is_a_session_of_its_own(self) -> None:
        resets = self.reset()
        self.bed.server.answers(claude_server.limited(resets), Say())
        self.bed.begin().wait()
        first = self.bed.session()
        self.bed.run("-p", "--resume", first, "--fork-session", "go on").wait()
        second = self.bed.session()
        self.assertNotEqual(first, second)
        self.bed.daemon(backlog=True)
        self.assert_told(first, kind="limit")
        self.assert_told(second, kind="finished")

    def test_a_sub_agent_is_no_session(self) -> None:
        task = {"description": "look", "prompt": "look there", "subagent_type": "general-purpose"}
        name = "Agent" if self.agent.release >= (2, 1, 63) else "Task"
        self.bed.server.answers(Call(name, task), Say("Looked."), Say("All done."))
        self.bed.begin().wait()
        self.assert_asked(3)
        self.bed.daemon(backlog=True)
        self.assert_told(self.bed.session(), kind="finished")
        self.assertEqual(len(self.bed.reply("SESSIONS")), 1)

    def test_a_sub_agent_at_a_limit(self) -> None:
        task = {"description": "look", "prompt": "look there", "subagent_type": "general-purpose"}
        resets = self.reset()
        self.assert_headless(
            Call("Agent", task), claude_server.limited(resets), kind="limit", due=resets
        )

    def test_resumed_inside_another(self) -> None:
        """A session that a person resumes inside the program has a living owner."""
        resets = self.reset(2 * SOON)
        self.bed.server.answers(self.agent.limited(resets), Say("Second."))
        self.bed.daemon()
        self.bed.begin().wait()
        first = self.bed.session()
        window = self.bed.open()
        window.type("please do the work")
        window.wait_for("Second.")
        window.type(f"/resume {first}")
        wait_until(lambda: "Second." not in window.screen, "the other session")
        wait_until(lambda: time.time() > resets + 2, "the reset is past")
        self.assert_told(first, held="owner-alive")
        self.assertNotIn("started", self.story())

    # Compaction.

    def test_a_limit_while_compacting(self) -> None:
        self.needs(CONTINUES, "this version takes the words of the limit for its summary")
        resets = self.reset()
        self.bed.server.answers(Say("Begun."), self.agent.limited(resets))
        window = self.bed.open()
        window.type("please do the work")
        window.wait_for("Begun.")
        window.type("/compact")
        self.bed.written("Error during compaction")
        window.close()
        self.bed.daemon(backlog=True)
        told = self.assert_told(kind="limit")
        self.assertEqual(told["due"] // 60, resets // 60)

    def test_a_limit_while_compacting_by_itself(self) -> None:
        self.needs(CONTINUES, "this version does not compact by itself at this error")
        resets = self.reset()
        script = [Say("Begun."), self.agent.runs("true"), claude_server.TOO_LONG]
        self.bed.server.answers(*script, self.agent.limited(resets))
        window = self.bed.open()
        window.type("please do the work")
        window.wait_for("Begun.")
        window.type("and go on")
        self.bed.written("automatic compaction failed")
        window.close()
        self.bed.daemon(backlog=True)
        self.assert_told(kind="limit")

    # In the background.

    def in_the_background(self, seconds: float) -> str:
        """Start a session in the background, bring it to a limit, and return its short id."""
        self.needs(CONTINUES, "this version has no background sessions")
        self.bed.server.answers(self.agent.limited(self.reset(seconds)), Say())
        self.bed.run("--bg", "please do the work").wait()
        self.bed.written("hit your")
        return self.bed.session().partition("-")[0]

    def test_a_background_session_has_an_owner(self) -> None:
        self.in_the_background(NEAR)
        self.bed.daemon(backlog=True)
        self.assert_told(kind="limit", held="owner-alive")
        self.assertNotIn("started", self.story())

    def test_a_killed_background_worker_has_a_supervisor(self) -> None:
        self.in_the_background(NEAR)
        registry = os.path.join(self.bed.home, ".claude", "sessions")
        (name,) = (name for name in os.listdir(registry) if name.endswith(".json"))
        os.kill(int(name.removesuffix(".json")), signal.SIGKILL)
        self.bed.daemon(backlog=True)
        self.assert_told(kind="limit", held="owner-alive")
        self.assertNotIn("started", self.story())

    def test_a_stopped_background_session(self) -> None:
        short = self.in_the_background(FAR)
        self.bed.run("stop", short).wait()
        self.assert_left()

    def test_revived_into_the_background(self) -> None:
        """A command that hands the session over, and ends, is judged by the session's records."""
        self.needs(CONTINUES, "this version has no background sessions")
        hold = Hold()
        self.bed.server.answers(self.agent.limited(self.reset(NEAR)), hold, Say())
        command = ["claude", "--bg", "--resume", "{id}", "{prompt}"]
        self.bed.daemon(revive={"command": command})
        self.bed.begin().wait()
        self.assert_asked(2)
        self.assert_told(state="reviving", owner="program")
        hold.released.set()
        self.assert_event("ended")
        self.assertEqual(self.story(), ["stopped", "intent", "started", "worked", "ended"])
        self.assertEqual(len(self.bed.server.asked), 2)

    def test_a_session_that_continues_in_the_background(self) -> None:
        """It goes on under another id, which a record of the older one names."""
        self.needs(CONTINUES, "this version has no background sessions")
        window = self.at_a_limit()
        older = self.bed.session()
        window.type("/background")
        self.bed.written("continued-in")
        self.bed.daemon(backlog=True)
        self.assert_told(older, kind="continued", state="stopped")
        self.assertNotIn("started", self.story())

    # By itself.

    def test_it_goes_on_by_itself_while_it_lives(self) -> None:
        """The open program is at a limit: nothing is started, whatever the time."""
        self.bed.server.answers(claude_server.limited(time.time() + 2), Say())
        self.bed.daemon()
        window = self.bed.open()
        window.type("please do the work")
        self.bed.written("hit your")
        self.assert_told(kind="limit", held="owner-alive")
        self.assertNotIn("started", self.story())

    # Revived.

    def test_revived_after_an_overload(self) -> None:
        self.bed.server.answers(claude_server.OVERLOADED, Say())
        self.bed.daemon()
        self.bed.begin().wait()
        self.assert_event("worked")
        self.assertEqual(len(self.bed.server.asked), 2)

    def test_revived_in_a_loop_of_tools(self) -> None:
        runs = self.agent.runs("echo once >> counted")
        self.bed.server.answers(runs, claude_server.limited(self.reset(NEAR)), Say())
        self.bed.daemon()
        self.bed.begin().wait()
        self.assert_event("worked")
        with open(os.path.join(self.bed.project, "counted"), encoding="ascii") as file:
            self.assertEqual(file.read(), "once\n")

    def test_a_sub_agent_that_works_is_no_stall(self) -> None:
        """The session's own transcript rests meanwhile, longer than the daemon waits."""
        task = {"description": "look", "prompt": "look there", "subagent_type": "general-purpose"}
        name = "Agent" if self.agent.release >= (2, 1, 63) else "Task"
        works = [self.agent.runs(f"python3 -c 'import time; time.sleep({STALL / 2})'")] * 5
        limited = self.agent.limited(self.reset(NEAR))
        self.bed.server.answers(limited, Call(name, task), *works, Say("Looked."), Say())
        self.bed.daemon(stall=STALL, stall_tool=STALL)
        self.bed.begin().wait()
        self.assert_event("ended")
        self.assertEqual(self.story().count("started"), 1)
        self.assertNotIn("killed", self.story())
        self.assert_told(self.bed.session(), kind="finished")

    def test_revived_by_typing(self) -> None:
        """An open program that does not go on by itself gets its prompt in its input line."""
        if self.agent.release >= CONTINUES:
            self.skipTest("this version goes on by itself")
        self.bed.server.answers(self.agent.limited(self.reset(NEAR)), Say("Typed."))
        self.bed.daemon(revive={"type_into": "tmux"})
        window = self.bed.open()
        window.type("please do the work")
        window.wait_for("What do you want to do?")
        window.keys("Escape")
        self.assert_event("worked")
        self.assertEqual(self.agent.prompts(self.bed.records(), "continue"), 1)
        self.assertEqual(len(self.bed.server.asked), 2)

    def test_revived_in_a_worktree(self) -> None:
        git = ["git", "-c", "user.name=you", "-c", "user.email=you@localhost"]
        for command in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "Begin"]):
            subprocess.run([*git, *command], cwd=self.bed.project, check=True)
        self.bed.server.answers(self.agent.limited(self.reset(NEAR)), self.agent.runs("pwd"), Say())
        self.bed.daemon()
        self.bed.run("-p", "-w", "side", "please do the work").wait()
        self.assert_event("worked")
        self.assertIn(".claude/worktrees/side", self.told()["directory"])

    def test_a_killed_tool_is_no_progress(self) -> None:
        """What the resume itself writes of the interrupted call does not count as work."""
        self.bed.server.answers(self.agent.runs(LONG), claude_server.limited(self.reset()))
        self.bed.begin()
        self.bed.written("time.sleep")
        self.bed.kill()
        self.bed.daemon(backlog=True, crashes=True, attempts=1)
        self.assert_event("failed")
        self.assertNotIn("worked", self.story())
        self.assert_told(kind="limit")

    def test_a_link_for_a_directory_of_projects(self) -> None:
        self.bed.server.answers(Say())
        self.bed.begin().wait()
        projects = os.path.join(self.bed.home, ".claude", "projects")
        os.rename(projects, f"{projects}-elsewhere")
        os.mkdir(projects)
        (name,) = os.listdir(f"{projects}-elsewhere")
        os.symlink(f"{projects}-elsewhere/{name}", f"{projects}/{name}")
        self.bed.daemon(backlog=True)
        self.assert_told(kind="finished")

    def test_history_names_what_the_transcript_does_not(self) -> None:
        """The file that the verdict of ``/exit`` stands on."""
        window = self.overloaded()
        window.type("/exit")
        window.wait()
        with open(
            os.path.join(self.bed.home, ".claude", "history.jsonl"), encoding="utf-8"
        ) as file:
            last = [json.loads(line) for line in file][-1]
        self.assertEqual(last["display"].strip(), "/exit")
        self.assertEqual(last["sessionId"], self.bed.session())


class PermissionsTests(permissions.Permissions):
    kind = ClaudeCode
    title = "Claude Code"

    def apply(self) -> None:
        self.bed.write(self.shown("json"), "home", ".claude", "settings.json")
