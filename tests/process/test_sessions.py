"""``palingenesis sessions``, ``log``, ``status`` and ``doctor``, asking a daemon with a monitor."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import Any

from palingenesis.cli.exit_status import Exit
from tests.support.cases import COMMAND, CommandTestCase
from tests.support.checkout import PROGRAMS, ROOT
from tests.support.impostors import answer, by_command, impostor, say_nothing
from tests.support.monitored import NOW, entry, session
from tests.support.patience import PATIENCE
from tests.support.processes import Process, twistd_command
from tests.support.terminal import Terminal


class MonitoredTestCase(CommandTestCase):
    def monitored(self, **replies: Any) -> Process:
        """Start an application that replies to the monitor's commands, and wait for it."""
        process = self.place.spawn(
            [
                *twistd_command(),
                f"--pidfile={self.place.pidfile}",
                "-noy",
                str(PROGRAMS / "monitored.py"),
            ],
            environment={"TEST_SOCKET": self.path, "TEST_REPLIES": json.dumps(replies)},
        )
        process.wait_for_log("Listening on")
        return process

    def shown(self, *arguments: str, **variables: str) -> str:
        """Run a command that succeeds, and return what it prints."""
        done = self.run_command(*arguments, variables=variables)
        self.assertEqual((done.returncode, done.stderr), (Exit.DONE, b""))
        return done.stdout.decode()


class SessionsTests(MonitoredTestCase):
    def test_people_see_a_table_with_its_words_explained(self) -> None:
        now = time.time()
        app = os.path.join(self.place.directory, "app")
        self.monitored(
            SESSIONS=[
                # Half a minute more than is told: the daemon's start takes some of it.
                session(
                    directory=app, state="stopped", kind="limit", due=now + 7530, held="no-method"
                ),
                session(agent="codex", state="stopped", kind="finished", since=now - 7200),
            ]
        )
        shown = self.shown("sessions")
        self.assertRegex(
            shown,
            r"\Aid    agent   directory  state    stop\n"
            r"1111  claude  ~/app      stopped  limit; due in 2 hours 5 minutes; no-method\n"
            r"1111  codex   /srv/app   stopped  finished 2 hours ago\n"
            r"\n"
            r"no-method  .* name one in \[revive\.claude\]",
        )
        self.assertLessEqual(max(map(len, shown.splitlines())), 80)

    def test_what_is_left_out_is_counted_and_shown_on_demand(self) -> None:
        self.monitored(SESSIONS=[session(id=f"{number:04}") for number in range(30)])
        shown = self.shown("sessions")
        self.assertIn("\n10 more: --all shows them\n", shown)
        self.assertIn("\n0019  claude", shown)
        self.assertNotIn("0020 ", shown)
        shown = self.shown("sessions", "--all")
        self.assertIn("\n0029  claude", shown)
        self.assertNotIn("more:", shown)
        self.assertEqual(len(json.loads(self.shown("sessions", "--all", "--json"))), 30)

    def test_a_scan_that_fails_is_told_with_and_without_sessions(self) -> None:
        for sessions in ([], [session()]):
            daemon = self.monitored(SESSIONS=sessions, STATUS={"scan": "/x: cannot be read"})
            for options in ((), ("--all",), ("--state", "working")):
                shown = self.shown("sessions", *options)
                self.assertIn("\nthe last scan failed: /x: cannot be read\n", shown)
            daemon.stop()
        self.monitored(SESSIONS=[], STATUS={"scan": "ok"})
        self.assertNotIn("scan", self.shown("sessions"))

    def test_of_many_sessions_the_ids_are_long_enough_for_those_that_are_not_read(self) -> None:
        sessions = [session(id=f"{number:04}0000-0000") for number in range(30)]
        self.monitored(SESSIONS=sessions, STATUS={"known_sessions": 2000})
        shown = self.shown("sessions")
        self.assertIn("\n00190000  claude", shown)
        self.assertIn("\n1980 more: --all shows them\n", shown)
        self.assertIn("\n0019  claude", self.shown("sessions", "--all"))

    def test_sessions_are_chosen_by_state_and_agent(self) -> None:
        self.place.daemon()
        self.assertEqual(self.shown("sessions", "--state", "working"), "no such sessions\n")
        self.assertEqual(self.shown("sessions", "--agent", "claude"), "no such sessions\n")
        self.assert_fails(Exit.USAGE, "sessions", "--agent", "x")
        self.assert_fails(Exit.USAGE, "sessions", "--state", "busy")

    def test_programs_see_the_daemons_own_line(self) -> None:
        self.monitored(SESSIONS=[session()])
        self.assertEqual(self.shown("sessions", "--json").encode(), self.ask(b"SESSIONS\n"))

    def test_without_sessions_it_is_told_where_the_daemon_looks(self) -> None:
        home = os.path.join(self.place.directory, ".claude")
        self.monitored(
            SESSIONS=[],
            INSPECT={"agents": {"claude": {"directory": home, "exists": True, "monitored": True}}},
        )
        self.assertEqual(self.shown("sessions"), "no sessions (agents: claude in ~/.claude)\n")

    def test_a_daemon_that_cannot_tell_where_it_looks_has_no_sessions_either(self) -> None:
        for replies in ({}, {"INSPECT": [1]}, {"INSPECT": {"agents": 1}}):
            process = self.monitored(SESSIONS=[], **replies)
            self.assertEqual(self.shown("sessions"), "no sessions\n")
            process.stop()

    def test_an_application_without_a_monitor_is_told_apart(self) -> None:
        self.monitored()
        for arguments in (("sessions",), ("sessions", "--json"), ("log",), ("log", "--json")):
            said = self.assert_fails(Exit.ERROR_REPLY, *arguments)
            self.assertIn("Unknown command", said)
            self.assertIn("only `twistd palingenesis` monitors sessions", said)

    def test_an_application_with_commands_of_the_same_names_has_no_usable_answer(self) -> None:
        self.monitored(SESSIONS={"a": 1}, LOG=[1])
        for command in ("sessions", "log"):
            for options in ((), ("--json",)):
                self.assert_fails(Exit.NO_ANSWER, command, *options)

    def test_no_daemon_is_no_daemon(self) -> None:
        for command in ("sessions", "log"):
            self.assert_fails(Exit.NOT_RUNNING, command)

    def test_a_time_out_does_not_warn_of_a_question(self) -> None:
        self.listen(say_nothing)
        for command in ("sessions", "log"):
            said = self.assert_fails(Exit.NO_ANSWER, "--timeout", "0.2", command)
            self.assertNotIn("carry out", said)

    def test_the_daemon_itself_is_understood(self) -> None:
        os.makedirs(self.place.path(".claude", "projects"))
        self.place.daemon()
        self.assertTrue(
            self.shown("sessions").startswith(
                "no sessions (agents: claude in ~/.claude; no directory of codex, opencode,"
            )
        )
        self.assertEqual(self.run_command("pause").returncode, Exit.DONE)
        self.assertRegex(self.shown("log"), r"\d\d:\d\d:\d\d  paused by uid \d+, pid \d+\n\Z")
        self.assertRegex(self.shown("status"), r"sessions none\nrevives  this daemon\n")


class WatchTests(MonitoredTestCase):
    def test_a_terminal_shows_them_live(self) -> None:
        self.monitored(SESSIONS=[session()])
        terminal = Terminal(self, *COMMAND, "sessions", "--watch", "0.05", NO_COLOR="1")
        for _ in range(2):
            terminal.wait_for("1111  claude  /srv/app")
            terminal.wait_for("every 0.05 s")
        terminal.type(b"\x03")
        self.assertEqual(terminal.wait(), Exit.INTERRUPTED)

    def test_the_live_view_scrolls_filters_and_is_left_with_a_key(self) -> None:
        self.monitored(SESSIONS=[session(id=f"{n:04}", directory=f"/srv/{n}") for n in range(60)])
        terminal = Terminal(self, *COMMAND, "sessions", "--watch", "60", NO_COLOR="1")
        terminal.wait_for("0000  claude  /srv/0")
        terminal.wait_for("1-21 of ")
        terminal.type(b"\x1b[6~")
        terminal.wait_for("0022  claude")
        terminal.wait_for("22-42 of ")
        terminal.type(b"\x1b[A")
        terminal.wait_for("21-41 of ")
        terminal.type(b"/srv/59\x7f8\n")
        terminal.wait_for("only what has: srv/58")
        terminal.wait_for("0058  claude  /srv/58")
        self.assertNotIn("0059", terminal.shown)
        terminal.wait_for("only 'srv/58'")
        terminal.type(b"q")
        self.assertEqual(terminal.wait(), Exit.DONE)

    def test_the_live_view_follows_the_size_of_the_terminal(self) -> None:
        self.monitored(SESSIONS=[session()])
        terminal = Terminal(self, *COMMAND, "sessions", "--watch", "60", NO_COLOR="1")
        terminal.wait_for("1111  claude  /srv/app")
        terminal.resize(10, 40)
        terminal.wait_for("1111  working  /srv/app")
        terminal.type(b"q")
        self.assertEqual(terminal.wait(), Exit.DONE)

    def test_the_live_view_gives_the_terminal_back_when_it_is_suspended(self) -> None:
        self.monitored(SESSIONS=[session()])
        terminal = Terminal(self, *COMMAND, "sessions", "--watch", "60", NO_COLOR="1")
        terminal.wait_for("q ends")
        terminal.process.send_signal(signal.SIGTSTP)
        terminal.wait_for("\x1b[?1049l")
        terminal.process.send_signal(signal.SIGCONT)
        terminal.wait_for("\x1b[?1049h")
        terminal.type(b"q")
        self.assertEqual(terminal.wait(), Exit.DONE)

    def watch(self, *options: str) -> Process:
        return self.place.spawn(
            [*COMMAND, "sessions", "--watch", "0.05", *options],
            environment={"PYTHONPATH": str(ROOT)},
        )

    def test_without_a_terminal_it_is_a_line_each_time(self) -> None:
        self.monitored(SESSIONS=[session(), session(), session(state="waiting")])
        watching = self.watch()
        watching.wait_for_log(r"\d\d:\d\d:\d\d 2 working, 1 waiting\n", times=2)
        self.assertEqual(watching.stop(signal.SIGINT), Exit.INTERRUPTED)

    def test_without_sessions_the_line_says_so(self) -> None:
        self.monitored(SESSIONS=[])
        watching = self.watch()
        watching.wait_for_log(r"\d\d:\d\d:\d\d no sessions\n", times=2)
        self.assertEqual(watching.stop(signal.SIGINT), Exit.INTERRUPTED)

    def test_a_program_sees_the_daemons_own_lines(self) -> None:
        self.monitored(SESSIONS=[session()])
        watching = self.watch("--json")
        watching.wait_for_log(r"\n", times=2)
        self.assertEqual(watching.stop(signal.SIGINT), Exit.INTERRUPTED)
        self.assertEqual(json.loads(watching.log.splitlines()[0]), [session()])


class LogTests(MonitoredTestCase):
    NIGHT = (
        entry("paused", NOW - 9, session=None, agent=None, by="uid 1000, pid 77"),
        entry("stopped", kind="limit", due=NOW + 60),
        entry("started", NOW + 61, attempt=1, pid=4242),
    )

    def test_people_read_a_story_with_the_sessions_directories(self) -> None:
        self.monitored(SESSIONS=[session()], LOG=self.NIGHT)
        self.assertEqual(
            self.shown("log", TZ="UTC"),
            "2026-09-19\n"
            "16:59:51  paused by uid 1000, pid 77\n"
            "17:00:00  claude /srv/app  stopped: limit, due 17:01:00\n"
            "17:01:01  claude /srv/app  revival 1 started, pid 4242\n",
        )

    def test_without_sessions_their_ids_are_told(self) -> None:
        self.monitored(LOG=self.NIGHT)
        self.assertIn("claude 11111111  stopped: limit", self.shown("log"))

    def test_the_last_entries_are_told_on_demand(self) -> None:
        self.monitored(LOG=self.NIGHT)
        for options in (("-n", "1"), ("-n1", "--json")):
            shown = self.shown("log", *options)
            self.assertIn("started", shown)
            self.assertNotIn("stopped", shown)

    def test_programs_see_the_daemons_own_line(self) -> None:
        self.monitored(LOG=self.NIGHT)
        self.assertEqual(self.shown("log", "--json").encode(), self.ask(b"LOG\n"))

    def test_an_empty_ledger_has_no_story(self) -> None:
        self.monitored(LOG=[])
        self.assertEqual(self.shown("log"), "nothing has happened to any session\n")

    def test_what_is_no_number_of_entries_is_a_mistake_of_usage(self) -> None:
        for number in ("0", "-1", "many", "1.5", "²", "9" * 5000):
            self.assert_fails(Exit.USAGE, "log", f"-n{number}")


class StatusTests(CommandTestCase):
    def status(self, **further: Any) -> str:
        """Show a status with further keys, less what every status has."""
        status = {
            "state": "monitoring",
            "uptime_secs": 1,
            "current_session": None,
            "saves_count": 0,
            "total_resumes": 0,
        }
        with impostor(self.path, answer(json.dumps(status | further).encode() + b"\n")):
            shown = self.run_command("status").stdout.decode()
        os.unlink(self.path)
        _, _, *rows, _ = shown.splitlines()
        return "\n".join(rows)

    def test_the_sessions_are_one_row(self) -> None:
        self.assertEqual(
            self.status(sessions={"working": 3, "waiting": 1}), "sessions 3 working, 1 waiting"
        )
        self.assertEqual(self.status(sessions={}), "sessions none")

    def test_the_next_revival_is_told_in_words(self) -> None:
        self.assertRegex(
            self.status(next_revival=time.time() + 7200 + PATIENCE), "^revival  in 2 hours"
        )
        self.assertEqual(self.status(next_revival=None), "")

    def test_the_keeper_is_told_in_words(self) -> None:
        for keeper, words in ((True, "this daemon"), (7, "pid 7, so this daemon only monitors")):
            self.assertEqual(self.status(next_revival=None, keeper=keeper), f"revives  {words}")

    def test_what_is_wrong_is_told_and_what_is_right_is_not(self) -> None:
        for key, right, label in (("ledger", "ok", "memory  "), ("scan", "ok", "scan    ")):
            self.assertEqual(self.status(next_revival=None, **{key: right}), "")
            self.assertEqual(
                self.status(next_revival=None, **{key: "disk full"}), f"{label} disk full"
            )

    def test_a_short_status_fits_a_prompt(self) -> None:
        far = time.mktime((2001, 3, 1, 2, 43, 0, 0, 0, -1))
        due = time.time() + 3600
        for further, shown in (
            (
                {
                    "sessions": {"working": 3, "waiting": 1, "stopped": 4},
                    "next_revival": due,
                    "needs_you": 1,
                },
                f"3 ▶ 1 ⏳ {time.strftime('%H:%M', time.localtime(due))} 1 !",
            ),
            ({"sessions": {"waiting": 1}, "next_revival": far}, "1 ⏳ 01 Mar 02:43"),
            ({"sessions": {}, "next_revival": None}, "0 ▶"),
            ({"state": "paused", "sessions": {"waiting": 2}}, "⏸ 2 ⏳"),
            ({}, "0 ▶"),
        ):
            status = {
                "state": "monitoring", "uptime_secs": 1, "current_session": None,
                "saves_count": 0, "total_resumes": 0,
            } | further  # fmt: skip
            with impostor(self.path, answer(json.dumps(status).encode() + b"\n")):
                done = self.run_command("status", "--short", variables={"PYTHONUTF8": "1"})
            os.unlink(self.path)
            self.assertEqual((done.returncode, done.stdout.decode()), (Exit.DONE, f"{shown}\n"))

    def test_a_short_status_is_empty_without_a_daemon(self) -> None:
        done = self.run_command("status", "--short")
        self.assertEqual((done.returncode, done.stdout, done.stderr), (Exit.DONE, b"", b""))

    def test_keys_of_an_application_are_shown_as_they_came(self) -> None:
        self.assertEqual(
            self.status(sessions=["a"], next_revival="soon", keeper="me"),
            'sessions ["a"]\nnext_revival soon\nrevives  not known, so this daemon only monitors',
        )
        self.assertEqual(self.status(sessions=4, keeper=True), "sessions 4\nkeeper   true")


class DoctorTests(MonitoredTestCase):
    def test_what_has_a_session_is_named_in_words(self) -> None:
        self.monitored(
            SESSIONS=[
                session(owner="program", who="pid 77 (claude) at /dev/pts/3"),
                session(owner="unknown", who="its file system is shared", agent="codex"),
                session(owner="gone", who=None),
            ],
            INSPECT={"keeper": True},
        )
        done = self.run_command("doctor", "--socket", self.path)
        owners = [line for line in done.stdout.decode().splitlines() if line.startswith("owner")]
        self.assertEqual(
            owners,
            [
                "owner      claude in /srv/app: pid 77 (claude) at /dev/pts/3",
                "owner      codex in /srv/app: is unknown: its file system is shared",
            ],
        )

    def examine(self) -> dict[str, str]:
        """Examine the socket of an application, and return what is told by label."""
        shown = self.run_command("doctor", "--socket", self.path).stdout.decode()
        return {line[:11].strip(): line[11:] for line in shown.splitlines()}

    def test_what_the_daemon_knows_is_told_after_its_answer(self) -> None:
        self.monitored(INSPECT={"keeper": True, "ledger": "disk full"})
        found = self.examine()
        self.assertEqual(list(found)[-4:], ["answer", "keeper", "ledger", "verdict"])
        self.assertEqual(found["ledger"], "disk full")

    def test_an_application_without_a_monitor_is_well_without_those_rows(self) -> None:
        self.monitored()
        self.assertEqual(list(self.examine())[-2:], ["answer", "verdict"])

    def test_an_inspection_that_is_none_is_told(self) -> None:
        self.monitored(INSPECT=[1])
        self.assertIn("not an object", self.examine()["monitor"])

    def test_a_mistake_that_only_the_daemon_sees_is_in_the_verdict(self) -> None:
        self.monitored(
            INSPECT={"configuration": {"path": "/c", "exists": True, "mistake": "sessions.quiet"}}
        )
        found = self.examine()
        self.assertEqual(found["config"], "/c: sessions.quiet")
        self.assertEqual(found["verdict"], "the daemon is healthy, but would not start again")

    def test_an_error_reply_is_told(self) -> None:
        status = json.dumps(
            {
                "state": "busy",
                "uptime_secs": 1,
                "current_session": None,
                "saves_count": 0,
                "total_resumes": 0,
            }
        )
        self.listen(
            by_command({b"STATUS\n": status.encode() + b"\n", b"INSPECT\n": b"ERR: not today\n"})
        )
        self.assertEqual(self.examine()["monitor"], "not known: not today")
