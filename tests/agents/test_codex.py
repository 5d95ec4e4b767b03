"""Codex, as it really is."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping
from typing import Any

from tests.agents import codex_server, permissions, scenarios
from tests.agents.answers import Answer, Break, Call, Cut, Hold, Say
from tests.agents.codex import Codex
from tests.agents.editor_server import EditorServer
from tests.agents.scenarios import LONG, NEAR, STALL
from tests.agents.terminal import Window
from tests.support.patience import wait_until

#: Since this version a failed turn says why.
SAYS_WHY = (0, 145)
#: Since this version a server of its own runs the turns of all terminals.
HAS_SERVER = (0, 171)


class CodexTests(scenarios.Scenarios):
    kind = Codex

    # Ends without a terminal.

    def assert_failed(self, answer: Answer, kind: str) -> None:
        """Check what a failed turn is told as; an old version does not say why it failed."""
        if self.agent.release < SAYS_WHY:
            self.assert_not_revived(answer)
        else:
            self.assert_headless(answer, kind=kind)

    def test_a_limit_without_a_stated_reset(self) -> None:
        self.assert_failed(self.agent.limited(None), "limit")

    def test_a_cut_stream(self) -> None:
        self.assert_failed(Cut(), "transient")

    def test_an_error_of_the_server(self) -> None:
        self.assert_failed(codex_server.INTERNAL, "transient")

    def test_an_overloaded_server(self) -> None:
        self.assert_failed(codex_server.OVERLOADED, "transient")

    def test_a_gateway_that_fails(self) -> None:
        self.assert_failed(codex_server.failed(503, "x", "y"), "transient")

    def test_a_rate_limit_that_is_no_usage_limit(self) -> None:
        text = "Rate limit reached for gpt-5. Please try again in 1.5s."
        self.assert_failed(codex_server.failed(429, "rate_limit_exceeded", text), "transient")

    def test_a_token_that_is_not_valid(self) -> None:
        self.assert_failed(codex_server.UNAUTHORIZED, "refused")

    def test_a_request_that_is_not_permitted(self) -> None:
        self.assert_failed(codex_server.FORBIDDEN, "refused")

    def test_no_credit(self) -> None:
        self.assert_failed(codex_server.NO_CREDIT, "refused")

    def test_a_rate_limit_in_the_stream(self) -> None:
        text = "Rate limit reached for gpt-5. Please try again in 1.5s."
        self.assert_failed(Break("rate_limit_exceeded", text), "transient")

    def test_an_overload_in_the_stream(self) -> None:
        self.assert_failed(Break("server_is_overloaded", "Overloaded"), "transient")

    def test_a_plan_without_it(self) -> None:
        self.assert_failed(codex_server.NOT_INCLUDED, "refused")

    def test_a_full_context(self) -> None:
        self.assert_failed(codex_server.TOO_LONG, "context")

    def test_no_credit_after_a_full_window(self) -> None:
        """The figures of an earlier turn are not those of the failed one."""
        self.bed.server.answers(self.agent.limited(self.reset()), codex_server.NOT_INCLUDED)
        self.bed.begin().wait()
        self.bed.run("exec", "resume", "--skip-git-repo-check", self.bed.session(), "go on").wait()
        self.bed.daemon(backlog=True)
        if self.agent.release < SAYS_WHY:
            self.assert_told(state="stopped")
        else:
            self.assert_told(kind="refused")

    # The user's end.

    def assert_untold(self, window: Window) -> None:
        """Check that nothing is written as the program ends: its window may have been closed."""
        window.wait()
        self.bed.daemon(backlog=True)
        self.assert_told(kind="limit", state="waiting")

    def test_quit_at_a_limit(self) -> None:
        window = self.at_a_limit()
        window.type("/quit")
        self.assert_untold(window)

    def test_ctrl_c_at_a_limit(self) -> None:
        window = self.at_a_limit()
        window.keys("C-c")
        self.assert_untold(window)

    def test_ctrl_d_at_a_limit(self) -> None:
        window = self.at_a_limit()
        window.keys("C-d")
        self.assert_untold(window)

    def test_ctrl_c_in_a_turn(self) -> None:
        window = self.in_a_turn()
        window.keys("C-c")
        if self.agent.release >= HAS_SERVER:
            window.wait_for("1. Cancel task")
            window.keys("Enter")
        self.bed.written("turn_aborted")
        self.bed.daemon(backlog=True)
        self.assert_told(kind="user", state="left")

    def assert_goes_on(self, hold: Hold) -> None:
        """Check that a turn goes on without a terminal, if a server runs it; else it died."""
        self.bed.daemon(backlog=True)
        if self.agent.release < HAS_SERVER:
            self.assert_told(kind="died", held="crashes")
            return
        self.assert_told(kind=None, state="quiet")
        hold.released.set()
        self.assert_told(kind="finished")

    def held(self) -> tuple[Window, Hold]:
        """Open the agent, and bring it into the middle of a reply."""
        hold = Hold()
        self.bed.server.answers(self.agent.runs("true"), hold)
        window = self.bed.open()
        window.type("please do the work")
        self.assert_asked(2)
        return window, hold

    def test_closed_in_a_turn(self) -> None:
        window, hold = self.held()
        window.close()
        self.assert_goes_on(hold)

    def test_quit_in_a_turn(self) -> None:
        window, hold = self.held()
        window.type("/quit")
        self.assert_quit(window, hold)

    def test_ctrl_d_in_a_turn(self) -> None:
        window, hold = self.held()
        window.keys("C-d")
        self.assert_quit(window, hold)

    def assert_quit(self, window: Window, hold: Hold) -> None:
        """Check that the program ends a turn as it ends, unless a server runs it."""
        window.wait()
        if self.agent.release < HAS_SERVER:
            self.bed.daemon(backlog=True)
            self.assert_told(kind="user", state="left")
        else:
            self.assert_goes_on(hold)

    # One session after another, and beside another.

    def test_new_begins_another_session(self) -> None:
        """Nothing is written at ``/new``: the older session stands as it stopped."""
        window = self.at_a_limit()
        older = self.bed.session()
        self.bed.server.answers(Say("Begun again."))
        window.type("/new")
        # An older version leaves the older session on the screen.
        wait_until(
            lambda: "hit your" not in window.screen or "To continue this" in window.screen,
            "a new session",
        )
        window.type("something else")
        window.wait_for("Begun again.")
        wait_until(lambda: len(self.bed.transcripts()) == 2, "a second transcript")
        self.bed.kill()
        self.bed.daemon(backlog=True)
        self.assert_told(older, kind="limit")

    def test_a_fork_is_a_session_of_its_own(self) -> None:
        self.bed.server.answers(self.agent.limited(self.reset()), Say("Forked."))
        self.bed.begin().wait()
        first = self.bed.session()
        window = self.bed.open("fork", first)
        window.type("go on")
        window.wait_for("Forked.")
        self.bed.written("Forked.")
        second = self.bed.session()
        self.assertNotEqual(first, second)
        self.bed.daemon(backlog=True)
        self.assert_told(first, kind="limit")
        self.assert_told(second, kind="finished")

    def test_a_message_in_the_queue(self) -> None:
        """What ``codex queue`` hands to an open program at its limit is taken at once."""
        self.needs(HAS_SERVER, "this version has no queue")
        self.at_a_limit()
        self.bed.server.answers(Say("Taken."))
        thread = self.bed.session()
        self.bed.run("queue", "--thread", thread, "--message", "continue").wait()
        self.bed.written("Taken.")
        self.assertEqual(self.agent.prompts(self.bed.records(), "continue"), 1)

    def test_a_sub_agent_at_a_limit(self) -> None:
        self.needs(HAS_SERVER, "the tool has another name in this version")
        call = Call("spawn_agent", {"message": "look there"}, "multi_agent_v1")
        resets = self.reset()
        told = self.assert_headless(call, self.agent.limited(resets), kind="limit", due=resets)
        self.assertEqual(len(self.bed.transcripts()), 2)
        self.assertEqual([told["id"]], [entry["id"] for entry in self.bed.reply("SESSIONS")])

    def test_a_sub_agent_that_works_is_no_stall(self) -> None:
        """The session's own turn waits meanwhile, longer than the daemon does."""
        self.needs(HAS_SERVER, "the tool has another name in this version")
        hold = Hold()
        spawn = Call("spawn_agent", {"message": "look there"}, "multi_agent_v1")
        work: list[Answer] = [self.agent.limited(self.reset(NEAR)), spawn, hold]
        there: list[Answer] = [self.agent.runs(f"sleep {STALL / 2}")] * 5

        def decide(body: Mapping[str, Any]) -> Answer:
            script = work if "please do the work" in json.dumps(body) else there
            return script.pop(0) if script else Say()

        self.bed.server.decide(decide)
        self.bed.daemon(stall=STALL, stall_tool=STALL)
        self.bed.begin().wait()
        wait_until(lambda: not there, "the work of the sub-agent")
        hold.released.set()
        self.assert_event("ended")
        self.assertEqual(self.story().count("started"), 1)
        self.assertNotIn("killed", self.story())

    def test_a_limit_while_compacting(self) -> None:
        """Its turn has no figures: the reset is in its words, in minutes."""
        self.needs(SAYS_WHY, "this version does not say why a turn failed")
        resets = self.reset()
        self.bed.server.answers(Say("Begun."), self.agent.limited(resets))
        window = self.bed.open()
        window.type("please do the work")
        window.wait_for("Begun.")
        window.type("/compact")
        window.wait_for("hit your")
        window.close()
        self.bed.kill()
        self.bed.daemon(backlog=True)
        told = self.assert_told(kind="limit")
        self.assertEqual(told["due"] // 60, resets // 60)

    def test_a_compaction(self) -> None:
        """Its turn has no reply, and is a finished one."""
        self.bed.server.answers(Say("Begun."), Say("What was done."))
        window = self.bed.open()
        window.type("please do the work")
        window.wait_for("Begun.")
        window.type("/compact")
        self.assert_asked(2)
        wait_until(lambda: self.agent.failed(self.bed.records()), "a turn without a reply")
        self.bed.daemon(backlog=True)
        self.assert_told(kind="finished")

    # What waits for a person.

    def test_a_question_in_plan_mode(self) -> None:
        """Only this mode has the tool that asks."""
        options = [{"label": side, "description": side} for side in ("Left", "Right")]
        question = {
            "id": "side",
            "header": "Side",
            "question": "Left or right?",
            "options": options,
        }
        self.bed.server.answers(Call("request_user_input", {"questions": [question]}), Hold())
        window = self.bed.open()
        window.type("/plan")
        # The menu of commands names the mode too.
        wait_until(lambda: "/plan" not in window.screen, "the command has been taken")
        window.wait_for("Plan mode")
        window.type("please do the work")
        window.wait_for("Left or right?")
        self.bed.daemon(backlog=True)
        self.assert_told(kind="asking", state="stopped")

    # A server of an editor's.

    def edited(self) -> EditorServer:
        """Bring a session of an editor's server to a limit that is soon over."""
        self.bed.server.answers(self.agent.limited(self.reset(NEAR)), Say())
        server = EditorServer(self.bed)
        server.turn("please do the work")
        self.bed.session()
        wait_until(lambda: self.agent.failed(self.bed.records()), "the limit in a record")
        return server

    def test_a_server_of_an_editor_at_a_limit(self) -> None:
        """It has the session as long as it lives."""
        server = self.edited()
        self.bed.daemon(backlog=True)
        self.assert_told(kind="limit", held="owner-alive", owner="server", state="stopped")
        self.assertNotIn("started", self.story())
        server.kill()
        self.assert_event("worked")
        self.assertEqual(len(self.bed.server.asked), 2)

    def test_another_server_of_an_editor(self) -> None:
        """It may open any session, and deletes the locks that a killed one has left."""
        self.edited().kill()
        EditorServer(self.bed)
        self.bed.daemon(backlog=True)
        self.assert_told(kind="limit", held="owner-unknown", state="stopped")
        self.assertNotIn("started", self.story())

    # Revived.

    def test_a_refused_connection(self) -> None:
        """It never gives up by itself: the revival stalls, is ended, and the next one works."""
        self.needs(SAYS_WHY, "this version does not tell that it failed")
        self.bed.server.answers(self.agent.limited(self.reset(NEAR)), Say())
        self.bed.begin().wait()
        self.bed.server.stop()
        self.bed.daemon(backlog=True, stall=3)
        self.assert_event("failed")
        self.bed.server.start()
        self.assert_event("worked")
        self.assertEqual(len(self.bed.server.asked), 2)

    def test_revived_after_an_overload(self) -> None:
        self.needs(SAYS_WHY, "this version does not tell an overload")
        self.bed.server.answers(codex_server.OVERLOADED, Say())
        self.bed.daemon()
        self.bed.begin().wait()
        self.assert_event("worked")
        self.assertEqual(len(self.bed.server.asked), 2)

    def test_revived_in_a_loop_of_tools(self) -> None:
        runs = self.agent.runs("echo once >> counted")
        self.bed.server.answers(runs, self.agent.limited(self.reset(NEAR)), Say())
        self.bed.daemon()
        self.bed.begin().wait()
        self.assert_event("worked")
        with open(f"{self.bed.project}/counted", encoding="ascii") as file:
            self.assertEqual(file.read(), "once\n")

    def test_a_killed_tool_is_no_progress(self) -> None:
        self.bed.server.answers(self.agent.runs(LONG), self.agent.limited(self.reset()))
        self.bed.begin()
        self.bed.written("time.sleep")
        self.bed.kill()
        self.bed.daemon(backlog=True, crashes=True, attempts=1)
        self.assert_event("failed")
        self.assertNotIn("worked", self.story())
        self.assert_told(kind="limit")


class PermissionsTests(permissions.Permissions):
    kind = Codex
    title = "Codex"
    allowed = "touch tested"

    def apply(self) -> None:
        # Below /tmp everything may be written, and the beds are there; no network is allowed.
        address = ("127.0.0.1", self.bed.server.port)
        connect = f"import socket; socket.create_connection({address})"
        self.forbidden = f"python3 -c {shlex.quote(connect)} && touch forbidden"
        path = os.path.join(self.bed.home, ".codex", "config.toml")
        with open(path, encoding="utf-8") as file:
            own, table, tables = file.read().partition("\n[")
        replaced = ("approval_policy", "sandbox_mode")
        kept = [line for line in own.splitlines() if not line.startswith(replaced)]
        text = "\n".join([*kept, self.shown("text"), table + tables])
        self.bed.write(text, "home", ".codex", "config.toml")
