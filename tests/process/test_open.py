"""The real daemon hands the prompt to stand-ins of Codex that are open at a terminal."""

from __future__ import annotations

import os
import re
import time

from tests.support.agents import AgentTestCase
from tests.support.cases import CommandTestCase
from tests.support.needs import needs_linux
from tests.support.patience import wait_until
from tests.support.terminal import Terminal


@needs_linux("a process's terminal is only known on Linux")
class OpenTests(AgentTestCase, CommandTestCase):
    def open(self, session: str, *ways: str, directory: str | None = None) -> Terminal:
        """Open a program at a terminal, which first does what the first way says."""
        directory = self.tell(session, *ways, directory=directory)
        program = os.path.join(self.bin, "codex")
        shell = ("/bin/sh", "-c", 'cd "$0" && exec "$@"', directory)
        return Terminal(self, *shell, program, "open", self.id_of(session), **self.variables)

    def taken(self, session: str) -> list[str]:
        """Return the messages that a program has taken."""
        runs = [run["arguments"] for run in self.runs(session)]
        return [arguments[1] for arguments in runs if arguments[0] == "taken"]

    def make(self, session: str, name: str) -> str:
        path = self.note_of(session, name)
        with open(path, "w", encoding="ascii"):
            return path

    def test_an_open_program_at_its_limit_goes_on_once(self) -> None:
        self.monitor(queue=True)
        self.open("s", "limit:2", "finish")
        self.wait_for_session("s", state="waiting", method="queue", owner="program")
        self.wait_for_event("ended")
        self.wait_for_session("s", kind="finished", state="stopped")
        self.wait_for_looks()
        self.assertEqual(self.taken("s"), ["continue"])
        self.assertEqual(self.story(), ["stopped", "intent", "started", "worked", "ended"])

    def test_an_open_program_that_stops_again_is_handed_another_message(self) -> None:
        self.monitor(queue=True)
        self.open("s", "limit:1", "again:1", "finish")
        self.wait_for_event("ended")
        self.wait_for_looks()
        self.assertEqual(self.taken("s"), ["continue"] * 2)
        self.assertEqual(self.story().count("stopped"), 2)

    def test_killed_between_the_intent_and_the_act(self) -> None:
        for place in ("start", "start+"):
            config = self.configure(queue=True)
            daemon = self.start_daemon(config, PALINGENESIS_TEST_KILL=place)
            self.open(place, "limit:1", "finish")
            daemon.wait()
            second = self.start_daemon(config)
            self.wait_for_session(place, kind="finished")
            self.wait_for_looks()
            self.assertEqual(self.taken(place), ["continue"], place)
            self.assertLessEqual(self.story().count("started"), 1)
            second.kill()

    def test_killed_while_the_message_waits(self) -> None:
        config = self.configure(queue=True)
        daemon = self.start_daemon(config)
        deaf = self.make("s", "deaf")
        self.open("s", "limit:1", "finish")
        self.wait_for_session("s", state="reviving")
        self.wait_for_looks()
        daemon.kill()
        self.start_daemon(config)
        self.wait_for_session("s", state="reviving")
        self.wait_for_looks()
        os.unlink(deaf)
        self.wait_for_event("ended")
        self.wait_for_looks()
        self.assertEqual(self.taken("s"), ["continue"])
        self.assertEqual(self.story().count("started"), 1)

    def test_a_message_that_is_lost_is_not_sent_again(self) -> None:
        self.monitor(queue=True)
        self.open("s", "limit:1", "nothing")
        self.wait_for_event("started")
        wait_until(lambda: self.taken("s"), "it is taken")
        self.wait_for_looks(6)
        self.assertEqual(self.taken("s"), ["continue"])
        self.assertEqual(self.session("s")["state"], "reviving")

    def test_a_pause_just_before_the_reset_hands_over_nothing(self) -> None:
        self.monitor(queue=True)
        self.open("s", "limit:2", "finish")
        due = self.wait_for_session("s", state="waiting", held="not-due")["due"]
        self.ask(b"PAUSE\n")
        wait_until(lambda: time.time() > due, "it is due")
        self.wait_for_looks()
        self.assertEqual((self.taken("s"), self.session("s")["held"]), ([], "paused"))
        self.ask(b"RESUME\n")
        self.wait_for_event("ended")
        self.assertEqual(self.taken("s"), ["continue"])

    def test_a_version_without_a_queue_is_asked_twice(self) -> None:
        self.monitor(queue=True)
        self.make("s", "old")
        self.open("s", "limit:1", "finish")
        self.wait_for_session("s", state="given-up", needs="given up")
        failed = [each for each in self.reply("LOG 100") if each["event"] == "failed"]
        self.assertEqual([each["exit"] for each in failed], [2, 2])
        self.assertIn("its queue took no message", failed[0]["reason"])
        self.wait_for_looks()
        self.assertEqual(self.taken("s"), [])

    def test_a_program_without_a_terminal_gets_nothing(self) -> None:
        self.monitor(queue=True)
        self.begin("s", "limit:1", "finish", agent="codex", how="open")
        doubt = "it is not known to take a message"
        self.wait_for_session("s", held="owner-alive", state="stopped", doubt=doubt)
        self.wait_for_looks()
        self.assertEqual((self.taken("s"), self.story()), ([], ["stopped"]))

    def test_two_in_one_directory(self) -> None:
        self.monitor(queue=True)
        directory = self.place.path("both")
        for session in ("one", "other"):
            self.open(session, "limit:2", "finish", directory=directory)
        self.wait_for_event("ended", 2)
        self.wait_for_looks()
        self.assertEqual((self.taken("one"), self.taken("other")), (["continue"], ["continue"]))

    def test_a_person_asks_for_it_before_its_reset(self) -> None:
        self.monitor(queue=True)
        self.open("s", "limit:600", "finish")
        self.wait_for_session("s", state="waiting", owner="program")
        done = self.run_command("revive", self.id_of("s"))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.wait_for_event("ended")
        self.assertEqual(self.taken("s"), ["continue"])

    def test_what_an_open_program_will_be_handed_is_said_before_the_reset(self) -> None:
        self.monitor(queue=True)
        terminal = self.open("s", "limit:600", "finish")
        self.wait_for_session("s", state="waiting", owner="program")
        said = rf"its program is open \(pid {terminal.process.pid}, pts/[0-9]+\): it will be handed"
        for command in ("sessions", "doctor"):
            shown = " ".join(self.run_command(command).stdout.decode().split())
            self.assertIsNotNone(re.search(said, shown), shown)

    def test_that_nothing_will_be_done_for_an_open_program_is_said(self) -> None:
        self.monitor()
        self.open("s", "limit:600", "finish")
        self.wait_for_session("s", state="waiting", owner="program")
        for command in ("sessions", "doctor"):
            shown = " ".join(self.run_command(command).stdout.decode().split())
            self.assertIn("nothing will be done; name `queue` in [revive.codex]", shown)
