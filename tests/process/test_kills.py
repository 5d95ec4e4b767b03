"""Daemons that are killed, are two, or end what works: nothing twice, with real processes."""

from __future__ import annotations

import json
import re
import resource
import time
import uuid

from twisted.trial.unittest import SynchronousTestCase

from palingenesis.monitor.ledger import Ledger
from tests.programs.kills import CUT_AFTER, CUT_BEFORE, CutCase, KillCase, tried
from tests.support.agents import AgentTestCase
from tests.support.ledgers import SetTimes
from tests.support.patience import wait_until
from tests.support.processes import Process, wait_for_end


class TwoDaemonsTests(AgentTestCase):
    """Two daemons of one user, with different state directories."""

    def second(self) -> Process:
        self.place.pidfile = self.place.path("other.pid")
        self.other = self.place.path("other.sock")
        options = ("--config", self.place.path("c.toml"), "--socket", self.other)
        state = self.place.path("other-state")
        return self.place.daemon(*options, "--state", state, environment=self.variables)

    def other_replies(self, command: str) -> list[dict[str, object]]:
        reply: list[dict[str, object]] = json.loads(self.ask(f"{command}\n".encode(), self.other))
        return reply

    def test_each_stopped_session_is_started_once(self) -> None:
        self.monitor()
        self.second()
        names = [f"s{number}" for number in range(12)]
        for process in [self.begin(name, "limit:2", "finish") for name in names]:
            process.wait()
        for name in names:
            self.wait_for_session(name, state="stopped", kind="finished")
        self.wait_for_looks()
        self.assertEqual([len(self.runs(name)) for name in names], [2] * 12)
        self.assertNotIn("intent", [each["event"] for each in self.other_replies("LOG 1000")])

    def test_each_says_that_the_other_keeps_another_state_directory(self) -> None:
        daemon = self.monitor()
        second = self.second()
        self.begin("s", "limit:0", "finish").wait()
        told = rf"pid {second.pid} keeps another state directory, .*/other-state: if it is older"
        wait_until(lambda: re.search(told, daemon.log), "the other daemon is seen")
        self.wait_for_session("s", kind="finished")

    def test_the_second_takes_over_and_leaves_alone_what_stopped_before(self) -> None:
        first = self.monitor()
        self.second()
        self.begin("before", "limit:600", "finish").wait()
        self.wait_for_session("before", state="waiting")
        first.kill()
        self.place.socket = self.other
        self.wait_for_session("before", held="too-old")
        self.begin("after", "limit:1", "finish").wait()
        self.wait_for_session("after", kind="finished")
        self.assertEqual((len(self.runs("before")), len(self.runs("after"))), (1, 2))
        self.assertEqual(self.story()[0], "kept")

    def test_a_keeper_that_follows_within_a_tick_adopts_an_intent_that_it_does_not_know(
        self,
    ) -> None:
        config = self.configure()
        # Killed after the command has started, with nothing written down.
        first = self.start_daemon(config, PALINGENESIS_TEST_KILL="start+")
        self.place.pidfile = self.place.path("other.pid")
        socket = self.place.path("other.sock")
        self.place.daemon("--config", config, "--socket", socket, environment=self.variables)
        self.begin("s", "limit:0", "hang", "finish").wait()
        self.assertEqual(first.wait(), -9)
        self.place.socket = socket
        self.wait_for_session("s", state="reviving")
        self.wait_for_looks()
        self.assertEqual(len(self.runs("s")), 2)
        self.assertEqual(self.story(), ["stopped", "intent", "started"])
        self.assertEqual(self.reply("LOG")[-1]["pid"], self.runs("s")[1]["pid"])


class WorkTests(AgentTestCase):
    """What works is never ended, and what is ended is written down."""

    def test_a_revival_whose_sub_agent_works_is_no_stall(self) -> None:
        self.monitor(stall=2)
        self.begin("s", "limit:0", "subagent:5").wait()
        self.wait_for_session("s", kind="finished")
        self.assertEqual(len(self.runs("s")), 2)
        self.assertNotIn("killed", self.story())

    def test_a_call_of_a_tool_under_way_is_no_stall(self) -> None:
        self.monitor(stall=1)
        self.begin("s", "limit:0", "call:4").wait()
        self.wait_for_session("s", kind="finished")
        self.assertEqual(len(self.runs("s")), 2)
        self.assertNotIn("killed", self.story())

    def test_a_call_of_a_tool_is_a_stall_after_a_time_of_its_own(self) -> None:
        self.monitor(stall=1, stall_tool=3)
        self.begin("s", "limit:0", "call:600").wait()
        killed = self.wait_for_event("killed")[-1]
        self.assertEqual(killed["reason"], "nothing new came for 3 seconds")

    def test_our_own_killing_is_in_the_ledger_with_its_reason(self) -> None:
        self.monitor(stall=1)
        self.begin("s", "limit:0", "hang", "finish").wait()
        self.wait_for_session("s", kind="finished")
        entries = self.wait_for_event("ended")
        self.assertEqual(
            [entry["event"] for entry in entries][:5],
            ["stopped", "intent", "started", "killed", "failed"],
        )
        self.assertEqual(entries[3]["reason"], "nothing new came for 1 seconds")
        self.assertEqual(entries[3]["pid"], self.runs("s")[1]["pid"])

    def test_a_daemon_that_comes_after_ends_no_revival_whose_sub_agent_works(self) -> None:
        daemon = self.monitor(stall=3)
        self.begin("s", "limit:0", "subagent:14").wait()
        started = self.wait_for_event("started")[-1]
        # The transcript itself has not grown for longer than a stall then.
        time.sleep(max(0.0, started["at"] + 5 - time.time()))
        daemon.kill()
        self.start_daemon(self.place.path("c.toml"))
        self.wait_for_session("s", kind="finished")
        self.assertEqual(len(self.runs("s")), 2)
        self.assertNotIn("killed", self.story())

    def test_a_daemon_that_comes_after_ends_no_call_of_a_tool(self) -> None:
        daemon = self.monitor(stall=2)
        self.begin("s", "limit:0", "call:9").wait()
        started = self.wait_for_event("started")[-1]
        time.sleep(max(0.0, started["at"] + 4 - time.time()))
        daemon.kill()
        self.start_daemon(self.place.path("c.toml"))
        self.wait_for_session("s", kind="finished")
        self.assertEqual(len(self.runs("s")), 2)
        self.assertNotIn("killed", self.story())

    def test_a_restart_does_not_begin_the_count_of_a_stall_anew(self) -> None:
        stall = 8
        daemon = self.monitor(stall=stall)
        self.begin("s", "limit:0", "hang", "finish").wait()
        started = self.wait_for_event("started")[-1]
        time.sleep(max(0.0, started["at"] + stall - 2 - time.time()))
        daemon.kill()
        self.start_daemon(self.place.path("c.toml"))
        listening = time.time()
        killed = next(e for e in self.wait_for_event("killed") if e["event"] == "killed")
        self.assertLess(killed["at"], listening + stall - 2)
        self.wait_for_session("s", kind="finished")
        self.assertEqual(self.story().count("killed"), 1)

    def test_a_killing_goes_on_after_a_restart(self) -> None:
        daemon = self.monitor(stall=1)
        self.begin("s", "limit:0", "stubborn", "finish").wait()
        self.wait_for_event("killed")
        daemon.kill()
        self.configure(stall=600)
        self.start_daemon(self.place.path("c.toml"))
        self.wait_for_session("s", kind="finished")
        story = self.story()
        self.assertEqual((story.count("killed"), story.count("failed")), (1, 1))

    def test_a_command_that_goes_to_the_background_is_watched_on(self) -> None:
        self.monitor()
        self.begin("s", "limit:0", "background:3").wait()
        self.wait_for_session("s", kind="finished")
        entries = self.wait_for_event("ended")
        self.assertEqual(len(self.runs("s")), 2)
        self.assertEqual(
            [entry["event"] for entry in entries],
            ["stopped", "intent", "started", "worked", "ended"],
        )

    def test_a_resume_that_goes_on_under_a_new_id_is_run_once(self) -> None:
        self.monitor()
        self.begin("s", "limit:0", "elsewhere").wait()
        self.wait_for_session("s", kind="continued")
        self.wait_for_looks()
        self.assertEqual(len(self.runs("s")), 2)
        self.assertEqual(self.story(), ["stopped", "intent", "started", "continued", "worked"])
        successor = self.reply("LOG")[-2]["successor"]
        ids = {each["id"]: each["kind"] for each in self.reply("SESSIONS")}
        self.assertEqual(ids[successor], "finished")

    def test_three_dead_sessions_in_one_directory_are_revived_side_by_side(self) -> None:
        self.monitor()
        directory = self.place.path("shared")
        names = ("a", "b", "c")
        for name in names:
            # The first one holds the others back until it has worked.
            self.begin(name, "limit:1", "work", directory=directory).wait()
        wait_until(lambda: all(len(self.runs(name)) == 2 for name in names), "all three run")
        self.wait_for_event("worked", 3)
        self.wait_for_looks()
        self.assertEqual([len(self.runs(name)) for name in names], [2, 2, 2])


class BesideTests(AgentTestCase):
    def test_a_person_s_prompt_beside_a_command_that_fails_is_not_the_command_s(self) -> None:
        self.monitor()
        self.begin("s", "limit:0", "hang", "finish").wait()
        self.wait_for_event("started")
        path = self.session("s")["transcript"]
        wait_until(lambda: '"continue"' in open(path).read(), "its prompt is written")  # noqa: SIM115
        with open(path, encoding="utf-8") as file:
            record = json.loads(file.readlines()[-1])
        record |= {"uuid": str(uuid.uuid4()), "parentUuid": record["uuid"]}
        record["message"]["content"] = "the words of a person"
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        self.kill_run("s")
        self.wait_for_session("s", kind="died", held="crashes")
        self.wait_for_looks()
        self.assertEqual(len(self.runs("s")), 2)


class KilledTogetherTests(AgentTestCase):
    def test_the_limit_stands_if_daemon_and_command_are_killed_together(self) -> None:
        daemon = self.monitor()
        self.begin("s", "limit:0", "hang", "finish").wait()
        self.wait_for_event("started")
        wait_until(lambda: len(self.runs("s")) == 2, "the command runs")
        pid = self.runs("s")[1]["pid"]
        path = self.session("s")["transcript"]
        wait_until(lambda: '"continue"' in open(path).read(), "its prompt is written")  # noqa: SIM115
        daemon.kill()
        self.kill_run("s")
        wait_for_end(pid)
        self.start_daemon(self.place.path("c.toml"))
        self.wait_for_session("s", kind="finished")
        self.assertEqual(len(self.runs("s")), 3)
        kinds = {entry["kind"] for entry in self.reply("LOG 100")}
        self.assertEqual(kinds, {"limit"})


class SurroundingsTests(AgentTestCase):
    def test_what_an_agent_sets_for_its_own_children_is_left_out(self) -> None:
        config = self.configure()
        self.start_daemon(config, CLAUDECODE="1", CLAUDE_CODE_ENTRYPOINT="cli", NAME="kept")
        self.begin("s", "limit:0", "finish").wait()
        self.wait_for_session("s", kind="finished")
        variables = set(self.runs("s")[1]["environment"])
        self.assertFalse({"CLAUDECODE", "CLAUDE_CODE_ENTRYPOINT"} & variables)
        self.assertLessEqual({"NAME", "CLAUDE_CONFIG_DIR"}, variables)

    def test_a_first_start_with_the_clock_ahead_makes_nothing_too_old(self) -> None:
        ledger = Ledger(self.state, SetTimes(time.time() + 10 * 86400))
        self.assertIsNone(ledger.open())
        ledger.close()
        self.monitor()
        self.begin("s", "limit:0", "finish").wait()
        self.wait_for_session("s", kind="finished")
        self.assertEqual(len(self.runs("s")), 2)


class FullDiskTests(AgentTestCase):
    def test_nothing_is_started_until_there_is_room_for_what_becomes_of_it(self) -> None:
        daemon = self.monitor()
        # A line has room, and all that follows a start has not.
        unlimited = resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (20_000, -1))
        self.begin("s", "limit:0", "finish").wait()
        wait_until(lambda: self.reply("STATUS")["ledger"] != "ok", "the ledger is full")
        self.wait_for_looks()
        self.assertEqual((len(self.runs("s")), self.story()), (1, ["stopped"]))
        resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, unlimited)
        self.wait_for_session("s", kind="finished")
        self.wait_for_event("ended")
        self.assertEqual(len(self.runs("s")), 2)
        self.assertEqual(self.story(), ["stopped", "intent", "started", "worked", "ended"])


class PlaceTests(SynchronousTestCase):
    """A few of the kills; all of them by ``python -m tests.programs.kills``."""

    def test_a_kill_at_any_place_starts_each_command_once(self) -> None:
        # Around the intent, the start of the command, and the line that says that it runs.
        for number in (20, 26, 34):
            self.assertEqual(tried(KillCase(number)).told, "")

    def test_a_kill_of_daemon_and_command_starts_the_next_attempt_once(self) -> None:
        self.assertEqual(tried(KillCase(40, with_command=True)).told, "")

    def test_a_kill_while_the_ledger_s_file_is_replaced_starts_each_command_once(self) -> None:
        case = tried(KillCase(15, rotates=True))
        self.assertEqual((case.told, case.came_there), ("", True))

    def test_a_kill_of_both_daemons_of_an_upgrade_starts_each_command_once(self) -> None:
        for number in (26, 35):
            case = tried(KillCase(number, is_upgrade=True))
            self.assertEqual((case.told, case.came_there), ("", True))

    def test_a_line_that_is_cut_anywhere_starts_nothing_twice(self) -> None:
        # The newline, half of the line, and more than half; whole lines are cut by the command.
        for event in CUT_AFTER:
            case = tried(CutCase(event, [1, 77, 200]))
            self.assertEqual((case.told, case.cuts), ("", 3))
        for event in CUT_BEFORE:
            self.assertEqual(tried(CutCase(event, [120])).told, "")
