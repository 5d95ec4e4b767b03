"""The facts of a night, from the entries of a ledger."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from palingenesis.cli.report import lines
from palingenesis.monitor.forecast import Outlook
from palingenesis.monitor.homes import Home
from palingenesis.monitor.report import digest, facts, last_time, sentence
from palingenesis.monitor.settings import Project
from palingenesis.words import Event, Kind
from tests.support.night import BEGIN, END, HOUR, REVIVES, entry, night_of, staged_night


class FactsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.night = night_of(staged_night())

    def told(self, key: str, *keys: str) -> list[tuple[Any, ...]]:
        return [tuple(each[name] for name in keys) for each in self.night[key]]

    def test_the_facts_of_a_report_are_fit_for_json(self) -> None:
        self.assertEqual(json.loads(json.dumps(self.night)), self.night)

    def test_what_needs_a_person_has_its_reason_and_the_line_to_type(self) -> None:
        self.assertEqual(
            self.told("needs_you", "session", "reason", "line"),
            [
                (
                    "<b>&site-id",
                    "an answer",
                    "cd '/home/you/<b>&site' && claude --resume '<b>&site-id'",
                ),
                ("api-id", "given up", "cd /home/you/api && claude --resume api-id"),
            ],
        )

    def test_nobody_is_told_to_start_a_second_program(self) -> None:
        night = facts(
            staged_night(),
            paused=False,
            since=BEGIN,
            now=END,
            forecasts=lambda _: Outlook("its agent still runs", None, "pid 42 (claude) at pts/3"),
        )
        needs = [line for line in lines(night) if "continue it there" in line]
        self.assertEqual(len(needs), 2)
        for line in needs:
            self.assertTrue(line.endswith("; continue it there: pid 42 (claude) at pts/3"), line)
        self.assertNotIn("--resume", "\n".join(lines(night)))

    def test_what_failed_has_its_cause_and_its_output(self) -> None:
        self.assertEqual(
            self.told("failed", "session", "cause", "line"),
            [("api-id", "exit status 3", "palingenesis output api-id")],
        )

    def test_a_failure_that_its_exit_status_does_not_explain_has_its_reason(self) -> None:
        entries = [
            entry("s", 1, Event.STOPPED, kind=Kind.LIMIT, due=BEGIN),
            entry("s", 1, Event.STARTED, attempt=1),
            entry("s", 2, Event.FAILED, attempt=1, exit=0, reason="its program ended"),
        ]
        (failed,) = night_of(entries)["failed"]
        self.assertEqual(failed["cause"], "its program ended")

    def test_a_failure_with_a_reason_and_an_exit_status_has_both(self) -> None:
        entries = [
            entry("s", 1, Event.STARTED, attempt=1),
            entry("s", 2, Event.FAILED, attempt=1, exit=1, reason="a usage limit"),
        ]
        (failed,) = night_of(entries)["failed"]
        self.assertEqual(failed["cause"], "a usage limit (exit status 1)")

    def test_a_failure_has_its_exit_status_in_words(self) -> None:
        for status, cause in (
            (3, "exit status 3"),
            (-9, "signal 9"),
            (None, "its exit status is unknown"),
        ):
            entries = [
                entry("s", 1, Event.STOPPED, kind=Kind.LIMIT, due=BEGIN),
                entry("s", 1, Event.STARTED, attempt=1),
                entry("s", 2, Event.FAILED, attempt=1, exit=status),
            ]
            (failed,) = night_of(entries)["failed"]
            self.assertEqual(failed["cause"], cause)

    def test_a_start_that_could_not_be_has_its_reason_and_no_output(self) -> None:
        failed = entry("api", 7, Event.FAILED, attempt=1, reason="not started: no process")
        told = night_of([*staged_night(), failed])["failed"]
        self.assertEqual(
            [(each["cause"], each["line"]) for each in told], [("not started: no process", None)]
        )

    def test_a_failure_is_told_until_the_session_makes_progress(self) -> None:
        for fresh in (None, True):
            entries = [
                entry("s", 2, Event.FAILED, attempt=1, exit=1),
                entry("s", 2, Event.STOPPED, kind=Kind.LIMIT, key="s-2", due=END, fresh=fresh),
            ]
            self.assertEqual(len(night_of(entries)["failed"]), 0 if fresh else 1)

    def test_a_failure_that_the_daemon_caused_has_its_reason(self) -> None:
        entries = [
            entry("s", 1, Event.STOPPED, kind=Kind.LIMIT, due=BEGIN),
            entry("s", 1, Event.STARTED, attempt=1),
            entry("s", 2, Event.KILLED, attempt=1, reason="nothing new came"),
            entry("s", 2, Event.FAILED, attempt=1, exit=-15),
        ]
        (failed,) = night_of(entries)["failed"]
        self.assertEqual(failed["cause"], "ended by the daemon: nothing new came")

    def test_what_went_on_has_how_long(self) -> None:
        self.assertEqual(
            self.told("went_on", "session", "seconds", "running"), [("app-id", 7200, False)]
        )
        still = night_of(staged_night(), now=BEGIN + 4.1 * HOUR)["went_on"]
        self.assertEqual([(each["seconds"], each["running"]) for each in still], [(3600, True)])

    def test_what_waits_has_until_when(self) -> None:
        self.assertEqual(
            self.told("waiting", "session", "kind", "due"), [("docs-id", "limit", END + 2 * HOUR)]
        )

    def test_the_forecast_says_what_comes_back_and_what_not(self) -> None:
        self.assertEqual(
            self.told("forecast", "session", "comes_back", "reason"),
            [
                ("<b>&site-id", False, "waiting does not cure its stop (asking)"),
                ("api-id", False, "it is given up"),
                ("docs-id", True, None),
            ],
        )

    def test_what_keeps_a_session_from_coming_back(self) -> None:
        night = staged_night()
        docs = Project(directory="/home/you/docs", revive=False)
        for entries, settings, reason in (
            ([*night, entry("docs", 8.5, Event.PAUSED)], REVIVES, "the monitor is paused"),
            ([*night, entry("docs", 8.5, Event.ON_HOLD)], REVIVES, "it is on hold"),
            (night, replace(REVIVES, revive={}), "no method that fits is named in [revive.claude]"),
            (
                night,
                replace(REVIVES, projects=(docs,)),
                "[[projects]] says so for its directory",
            ),
        ):
            found = night_of(entries, settings=settings)
            self.assertEqual(found["forecast"][-1]["reason"], reason)
            self.assertEqual(found["waiting"], [])

    def test_a_crash_comes_back_only_if_that_is_asked_for(self) -> None:
        died = [entry("s", 1, Event.STOPPED, kind=Kind.DIED, due=BEGIN + 1.1 * HOUR)]
        (told,) = night_of(died)["forecast"]
        self.assertIn("`crashes` is not set", told["reason"])
        (told,) = night_of(died, settings=replace(REVIVES, crashes=True))["forecast"]
        self.assertTrue(told["comes_back"])

    def test_what_came_back_after_its_resets_comes_back_no_more(self) -> None:
        limit = {"kind": Kind.LIMIT}
        entries = []
        for number, hours in enumerate((1, 3, 5)):
            known = {"key": f"s-{number}", **limit}
            entries.append(entry("s", hours, Event.STOPPED, due=BEGIN + hours * HOUR, **known))
            if number < 2:
                entries += [
                    entry("s", hours + 1, Event.INTENT, attempt=1, home="claude", **known),
                    entry("s", hours + 1, Event.STARTED, attempt=1, pid=5, **known),
                    entry("s", hours + 1.1, Event.WORKED, attempt=1, **known),
                    entry("s", hours + 1.2, Event.ENDED, attempt=1, exit=0, **known),
                ]
        (told,) = night_of(entries)["forecast"]
        self.assertEqual(told["reason"], "it was brought back after `windows` resets already")

    def test_a_command_belongs_to_the_home_that_holds_the_transcript(self) -> None:
        work = Home("work", "claude", "/home/you/.claude-work", is_named=True)
        settings = replace(REVIVES, homes={"work": work}, revive={"work": REVIVES.revive["claude"]})
        at = {"kind": Kind.LIMIT, "due": END + HOUR}
        told = night_of(
            [
                entry("a", 1, Event.STOPPED, transcript=f"{work.directory}/projects/-/a", **at),
                entry("b", 2, Event.STOPPED, **at),
            ],
            settings=settings,
        )["forecast"]
        self.assertEqual(
            [each["reason"] for each in told],
            [None, "no method that fits is named in [revive.claude]"],
        )

    def test_an_agent_that_is_not_known_spoils_nothing(self) -> None:
        odd = entry("s", 1, Event.STOPPED, agent="other", kind=Kind.LIMIT, due=END)
        told = night_of([odd, *staged_night()])["forecast"]
        self.assertEqual(told[0]["reason"], "other is not known")
        self.assertEqual(len(told), 4)

    def test_a_session_that_was_settled_before_is_left_out(self) -> None:
        late = night_of(staged_night(), since=BEGIN + 6 * HOUR)
        self.assertEqual([each["session"] for each in late["lanes"]], ["docs-id"])
        # What still needs a person is not forgotten.
        self.assertEqual(len(late["needs_you"]), 2)

    def test_a_lane_has_each_stretch_of_the_night_once(self) -> None:
        lanes = {each["session"]: each for each in self.night["lanes"]}
        segments = [
            (each["what"], (each["from"] - BEGIN) / HOUR) for each in lanes["app-id"]["segments"]
        ]
        self.assertEqual(
            segments, [("unknown", 0), ("waiting", 1), ("reviving", 3), ("working", 3.1)]
        )
        self.assertEqual(
            [each["event"] for each in lanes["api-id"]["marks"]], ["started", "failed", "gave-up"]
        )
        self.assertEqual(lanes["docs-id"]["planned"], END + 2 * HOUR)
        self.assertIsNone(lanes["api-id"]["planned"])

    def test_a_session_that_needs_a_person_waits_for_no_time(self) -> None:
        entries = [
            entry("s", 1, Event.STOPPED, kind=Kind.LIMIT, due=BEGIN + 2 * HOUR),
            entry("s", 3, Event.NEEDS_YOU, reason="its directory cannot be used"),
        ]
        (lane,) = night_of(entries)["lanes"]
        whats = [each["what"] for each in lane["segments"]]
        self.assertEqual(whats, ["unknown", "waiting", "stopped"])

    def test_the_night_in_a_sentence_and_a_digest(self) -> None:
        told = sentence(self.night)
        begin = "2 need you, 1 revival failed, 1 went on, 1 waits for a reset or a retry until "
        self.assertTrue(told.startswith(begin), told)
        event = digest(self.night)
        self.assertEqual(
            event["summary"].split("\n")[1:],
            [
                "<b>&site: needs you: an answer",
                "api: needs you: given up",
                "api: failed: exit status 3",
            ],
        )
        self.assertEqual(sentence(night_of([])), "nothing happened")
        self.assertEqual(sentence({**night_of([]), "paused": True}), "the monitor is paused")


class TimeOfDayTests(SynchronousTestCase):
    def setUp(self) -> None:
        before = os.environ.get("TZ")

        def restore() -> None:
            os.environ.pop("TZ", None)
            if before is not None:
                os.environ["TZ"] = before
            time.tzset()

        self.addCleanup(restore)
        os.environ["TZ"] = "Europe/Berlin"
        time.tzset()

    def test_a_time_of_day_is_the_last_one_in_the_local_zone(self) -> None:
        # 07:00 UTC is 08:00 in Berlin.
        self.assertEqual(last_time((8, 0), END), END)
        self.assertEqual(last_time((8, 1), END), END - 24 * HOUR + 60)
        self.assertEqual(last_time((22, 0), END), END - 10 * HOUR)

    def test_the_night_of_a_change_of_the_clock_has_its_own_length(self) -> None:
        # 2026-10-25 07:00 in Berlin is 06:00 UTC, and 22:00 the day before 20:00 UTC.
        morning = 1_792_908_000.0
        self.assertEqual(last_time((22, 0), morning), morning - 10 * HOUR)
