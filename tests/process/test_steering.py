"""One session, steered by its user; the output of its revival, and the log as it grows."""

from __future__ import annotations

import os
import signal
import subprocess

from palingenesis.cli.exit_status import Exit
from tests.support.agents import AgentTestCase
from tests.support.cases import COMMAND, CommandTestCase
from tests.support.checkout import ROOT
from tests.support.impostors import by_command
from tests.support.patience import PATIENCE, wait_until


class SteeringTests(AgentTestCase):
    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *arguments],
            env=self.place.environment(PYTHONPATH=str(ROOT)),
            capture_output=True,
            timeout=PATIENCE,
            text=True,
        )

    def assert_done(self, printed: str, *arguments: str) -> None:
        done = self.command(*arguments)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (Exit.DONE, printed, ""))

    def test_a_session_is_left_alone_and_taken_up_again(self) -> None:
        self.monitor()
        self.begin("s", "limit:3600", "finish").wait()
        self.wait_for_session("s", kind="limit", held="not-due")
        session = self.id_of("s")
        self.assert_done(f"on hold: {session}\n", "hold", session)
        self.wait_for_session("s", held="on-hold")
        self.assert_done(f"released: {session}\n", "release", session)
        self.wait_for_session("s", held="not-due")
        self.assert_done(f"revival started: {session}\n", "revive", session)
        self.wait_for_session("s", kind="finished")

    def test_revivals_that_run_are_ended_with_the_pause(self) -> None:
        self.monitor()
        self.begin("s", "limit:1", "hang").wait()
        self.wait_for_event("started")
        done = self.command("pause", "--end")
        self.assertEqual((done.returncode, done.stderr), (Exit.DONE, ""))
        self.assertEqual(done.stdout, "paused\nended 1 revival\n")
        self.wait_for_event("killed")
        self.assertEqual(self.reply("STATUS")["state"], "paused")

    def test_a_revival_that_has_worked_and_runs_on_is_ended_with_the_pause(self) -> None:
        self.monitor()
        self.begin("s", "limit:1", "work").wait()
        self.wait_for_event("worked")
        self.wait_for_session("s", state="quiet")
        self.assert_done("paused\nended 1 revival\n", "pause", "--end")
        self.wait_for_event("killed")

    def test_a_revival_is_ended_and_its_output_read(self) -> None:
        self.monitor()
        self.begin("s", "limit:1", "hang").wait()
        self.wait_for_event("started")
        session = self.id_of("s")
        self.wait_for_session("s", state="reviving")
        path = self.session("s")["output"]
        with open(path, "ab") as file:
            file.write(b"red \x1b[31mtext\xff\n")
        self.assertIn("red \\x1b[31mtext\\xff\n", self.command("output", session[:8]).stdout)
        self.assert_done(f"revival ended, session on hold: {session}\n", "end", session)
        wait_until(lambda: self.session("s")["state"] != "reviving", "it has ended")
        done = self.command("end", session)
        self.assertEqual((done.returncode, done.stdout), (Exit.ERROR_REPLY, ""))

    def test_a_session_that_lives_is_not_revived_and_why_is_said_in_words(self) -> None:
        self.monitor()
        self.begin("s", "alive:3600", "finish")
        self.wait_for_session("s", kind="limit")
        done = self.command("revive", self.id_of("s"))
        self.assertEqual((done.returncode, done.stdout), (Exit.ERROR_REPLY, ""))
        self.assertIn("owner-alive; its agent still runs", done.stderr)

    def test_the_log_is_followed(self) -> None:
        self.monitor()
        following = self.place.spawn([*COMMAND, "log", "-f"], environment={"PYTHONPATH": str(ROOT)})
        self.begin("s", "limit:1", "finish").wait()
        for word in ("stopped: limit", "revival 1 started", "revival 1 worked"):
            following.wait_for_log(word)
        self.assertEqual(following.stop(signal.SIGINT), Exit.INTERRUPTED)
        for word in ("stopped: limit", "revival 1 begins", "revival 1 worked"):
            self.assertEqual(following.log.count(word), 1)

    def test_the_log_of_one_session_since_a_time(self) -> None:
        self.monitor()
        self.begin("s", "limit:1", "finish").wait()
        self.wait_for_event("worked")
        self.command("pause")
        mine = self.command("log", "--session", self.id_of("s")[:8], "--since", "00:00").stdout
        self.assertIn("worked", mine)
        self.assertNotIn("paused", mine)
        self.assertIn("paused", self.command("log", "--since", "2020-01-01").stdout)


class RefusedTests(CommandTestCase):
    def test_a_daemon_without_sessions_is_told_apart(self) -> None:
        self.listen(by_command({b"HOLD abcd\n": b"ERR: Unknown command: HOLD abcd\n"}))
        said = self.assert_fails(Exit.ERROR_REPLY, "hold", "abcd")
        self.assertIn("only `twistd palingenesis` has sessions", said)

    def test_what_is_no_id_is_a_mistake_of_usage(self) -> None:
        self.assert_fails(Exit.USAGE, "hold", "a\nb")
        self.assert_fails(Exit.USAGE, "log", "--since", "yesterday")

    def test_without_a_daemon_there_is_nothing_to_steer(self) -> None:
        for command in (("hold", "abcd"), ("pause", "--end"), ("log", "-f")):
            self.assert_fails(Exit.NOT_RUNNING, *command)

    def test_output_is_read_without_a_daemon_and_never_through_a_link(self) -> None:
        self.assertIn("no revival has left output", self.assert_fails(Exit.USAGE, "output", "abcd"))
        directory = os.path.join(self.place.state, "output")
        os.makedirs(directory)
        self.assertIn("no revival", self.assert_fails(Exit.USAGE, "output", "abcd"))
        for name in ("1-claude-abcd-1.log", "2-claude-abcd-1.log", "3-codex-abcd-2.log"):
            with open(os.path.join(directory, name), "w", encoding="utf-8") as file:
                file.write(name)
        self.assertEqual(self.run_command("output", "abcd-1").stdout, b"2-claude-abcd-1.log\n")
        self.assertIn("abcd-1, abcd-2", self.assert_fails(Exit.USAGE, "output", "abcd"))
        os.symlink("/etc/hostname", os.path.join(directory, "9-claude-abcd-1.log"))
        self.assertIn("9-claude-abcd-1.log", self.assert_fails(Exit.NO_ANSWER, "output", "abcd-1"))
