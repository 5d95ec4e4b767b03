"""An open Codex at its limit, which is handed its prompt."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Sequence

from tests.agents.answers import Answer, Hold, Say
from tests.agents.case import AgentTestCase
from tests.agents.codex import Codex
from tests.agents.scenarios import NEAR, SOON
from tests.agents.terminal import Window
from tests.agents.test_codex import HAS_SERVER, SAYS_WHY
from tests.support.checkout import PROGRAMS
from tests.support.patience import PATIENCE, wait_until

QUEUE = ["codex", "queue", "--thread", "{id}", "--message", "{prompt}"]
#: Seconds within which a program takes a message that waits: without a server it looks each ten.
TAKEN = 12.0
#: Seconds after its program has ended until a message counts as not taken, and two looks.
GONE = 120.0 + 60.0


class OpenTestCase(AgentTestCase):
    """
    A program on a terminal, and the daemon.

    :cvar arguments: those of the program.
    """

    kind = Codex
    arguments: Sequence[str]

    def setUp(self) -> None:
        self.needs(HAS_SERVER, "this version has no queue")
        super().setUp()

    def limit(self, seconds: float) -> Callable[[], Answer]:
        """Make the answer that a limit ends in so many seconds, or a little more."""
        return lambda: self.agent.limited(self.agent.statable(time.time() + seconds))

    def limited(self, seconds: float, *more: Answer | Callable[[], Answer]) -> Window:
        """Open the program, and bring it to a limit that ends in so many seconds."""
        self.bed.server.answers(self.limit(seconds), *(more or (Say("Taken."),)))
        return self.asked_in_vain()

    def due(self) -> float:
        """Wait until the daemon tells when the session goes on, and return that."""
        return float(self.assert_told(kind="limit", state="waiting")["due"])

    def asked_in_vain(self) -> Window:
        window = self.bed.open(*self.arguments)
        window.type("please do the work")
        window.wait_for("hit your")
        return window

    def assert_went_on_once(self, prompts: int = 1) -> None:
        """Check that each limit was followed by one prompt, and that the work is done."""
        self.assert_event("ended")
        self.assert_told(kind="finished")
        time.sleep(TAKEN)
        self.assertEqual(self.agent.prompts(self.bed.records(), "continue"), prompts)
        self.assertEqual(len(self.bed.server.asked), 1 + prompts)
        self.assertEqual(self.story().count("worked"), 1)
        self.assertEqual(len(self.bed.transcripts()), 1)

    def kill_the_program(self, daemon: int) -> None:
        """Kill the program, and its server, as a crash would."""

        def kill() -> bool:
            living = [pid for pid in self.bed.processes() if pid != daemon]
            for pid in living:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return not living

        wait_until(kill, "nothing but the daemon lives")


class OpenTests(OpenTestCase):
    """What holds with a server and without one."""

    def test_it_goes_on_once(self) -> None:
        self.bed.daemon(revive={"queue": QUEUE})
        window = self.limited(SOON)
        told = self.assert_told(kind="limit", state="waiting", method="queue", owner="program")
        self.assertRegex(told["who"], r"^pid [0-9]+ \(.+\) at pts/[0-9]+$")
        self.assert_went_on_once()
        self.assertEqual(self.story().count("started"), 1)
        window.wait_for("Taken.")

    def test_a_second_limit(self) -> None:
        self.bed.daemon(revive={"queue": QUEUE})
        self.limited(NEAR, self.limit(NEAR), Say("Taken."))
        self.assert_went_on_once(2)
        self.assertEqual(self.story().count("started"), 2)
        self.assertEqual(self.story().count("stopped"), 2)

    def test_a_person_types_just_before(self) -> None:
        self.bed.daemon(revive={"queue": QUEUE})
        window = self.limited(SOON, Say("By hand."), Say("Taken."))
        resets = self.due()
        time.sleep(max(0.0, resets - 1.5 - time.time()))
        window.type("I go on")
        window.wait_for("By hand.")
        wait_until(lambda: time.time() > resets + TAKEN, "the reset is long past")
        self.assert_told(kind="finished")
        self.assertNotIn("started", self.story())
        self.assertEqual(len(self.bed.server.asked), 2)

    def test_paused_just_before(self) -> None:
        self.bed.daemon(revive={"queue": QUEUE})
        self.limited(SOON)
        resets = self.due()
        time.sleep(max(0.0, resets - 0.5 - time.time()))
        self.bed.command("PAUSE")
        wait_until(lambda: time.time() > resets + TAKEN, "the reset is long past")
        self.assert_told(held="paused")
        self.assertEqual(len(self.bed.server.asked), 1)
        self.bed.command("RESUME")
        self.assert_went_on_once()

    def test_the_daemon_killed_before_the_command_starts(self) -> None:
        self.assert_goes_on_after_a_kill("start")

    def test_the_daemon_killed_once_the_command_runs(self) -> None:
        self.assert_goes_on_after_a_kill("start+")

    def assert_goes_on_after_a_kill(self, place: str) -> None:
        """Check that the program goes on once although the daemon is killed at a place."""
        variables = {"PYTHONPATH": str(PROGRAMS / "elsewhere"), "PALINGENESIS_TEST_KILL": place}
        daemon = self.bed.daemon(revive={"queue": QUEUE}, environment=variables)
        self.limited(NEAR)
        daemon.wait()
        self.bed.daemon(revive={"queue": QUEUE})
        self.assert_went_on_once()
        self.assertLessEqual(self.story().count("started"), 1)

    def test_two_in_one_directory(self) -> None:
        self.bed.daemon(revive={"queue": QUEUE})
        self.bed.server.answers(self.limit(SOON + SOON), self.limit(SOON), Say("Taken."))
        first, second = self.asked_in_vain(), self.asked_in_vain()
        self.assertEqual(len(self.bed.transcripts()), 2)
        self.assert_event("ended", 2)
        time.sleep(TAKEN)
        for path in self.bed.transcripts():
            self.assertEqual(self.agent.prompts(self.bed.records(path), "continue"), 1)
        self.assertEqual(len(self.bed.server.asked), 4)
        self.assertEqual(self.story().count("started"), 2)
        first.wait_for("Taken.")
        second.wait_for("Taken.")

    def test_nothing_is_named_for_it(self) -> None:
        self.bed.daemon()
        self.limited(NEAR)
        self.assert_told(kind="limit", held="owner-alive", method="command")
        time.sleep(NEAR + TAKEN)
        self.assertNotIn("started", self.story())
        self.assertEqual(len(self.bed.server.asked), 1)


class WithServerTests(OpenTests):
    """The program has a server, which runs its turns and takes a message at once."""

    arguments = ()
    situation = "open: "

    def test_under_a_menu(self) -> None:
        self.bed.daemon(revive={"queue": QUEUE})
        window = self.limited(SOON)
        window.type("/model")
        window.wait_for("Select Model")
        self.assert_went_on_once()

    def test_killed_once_it_has_taken_the_message(self) -> None:
        daemon = self.bed.daemon(revive={"queue": QUEUE})
        self.limited(NEAR, Hold(), Say("Taken."))
        self.assert_asked(2)
        self.kill_the_program(daemon.pid)
        wait_until(lambda: "worked" in self.story(), "it has worked", GONE + PATIENCE)
        self.assertEqual(self.story().count("started"), 2)
        self.assertEqual(len(self.bed.server.asked), 3)

    def test_a_session_that_its_program_has_left(self) -> None:
        """A message would wait for ever for a session that is not on the screen."""
        self.bed.daemon(revive={"queue": QUEUE}, quiet=5.0)
        window = self.limited(90, Say("Begun again."), Say("Taken."))
        limited = self.bed.session()
        window.type("/new")
        wait_until(lambda: "hit your" not in window.screen, "a new session")
        window.type("something else")
        window.wait_for("Begun again.")
        self.assert_told(limited, kind="limit", held="owner-alive")
        lock = f"{self.bed.home}/.codex/thread-writer-locks/{limited}.lock"
        wait_until(lambda: not os.path.exists(lock), "the server has let go of the session")
        wait_until(lambda: self.told(limited).get("method") == "command", "it is not interactive")
        time.sleep(NEAR)
        self.assertNotIn("started", self.story())


class AloneTests(OpenTests):
    """The program runs its turns itself, and looks for messages each ten seconds."""

    arguments = ("--no-daemon",)
    situation = "open without a server: "

    def test_a_person_types_while_the_message_waits(self) -> None:
        """What a person types goes first, and the prompt follows it, once."""
        self.bed.daemon(revive={"queue": QUEUE})
        hold = Hold()
        window = self.limited(NEAR, hold, Say("Taken."))
        self.assert_event("started")
        window.type("I go on")
        self.assert_asked(2)
        hold.released.set()
        self.assert_asked(3)
        self.assert_told(kind="finished")
        time.sleep(TAKEN)
        self.assertEqual(len(self.bed.server.asked), 3)
        self.assertEqual(self.story().count("started"), 1)
        self.assertEqual(self.agent.prompts(self.bed.records(), "continue"), 1)

    def test_killed_before_it_takes_the_message(self) -> None:
        """The command that follows takes the message along with its own prompt."""
        daemon = self.bed.daemon(revive={"queue": QUEUE})
        self.limited(NEAR)
        self.assert_event("started")
        wait_until(
            lambda: self.bed.reply("SESSIONS")[0]["state"] == "reviving", "it is handed over"
        )
        time.sleep(2.0)
        self.kill_the_program(daemon.pid)
        self.assertEqual(len(self.bed.server.asked), 1)
        wait_until(lambda: "worked" in self.story(), "it has worked", GONE + PATIENCE)
        self.assertEqual(self.story().count("started"), 2)
        self.assertEqual(self.agent.prompts(self.bed.records(), "continue"), 2)


class OlderTests(AgentTestCase):
    """A version that has no queue."""

    kind = Codex
    situation = "open: "

    def test_it_is_left_alone(self) -> None:
        if self.agent.release >= HAS_SERVER:
            self.skipTest("this version has a queue")
        self.bed.daemon(revive={"queue": QUEUE})
        resets = self.agent.statable(time.time() + SOON)
        self.bed.server.answers(self.agent.limited(resets))
        window = self.bed.open()
        window.type("please do the work")
        window.wait_for("hit your")
        if self.agent.release >= SAYS_WHY:
            self.assert_told(kind="limit", held="owner-alive")
        wait_until(lambda: time.time() > resets + TAKEN, "the reset is long past")
        self.assertNotIn("started", self.story())
        self.assertEqual(len(self.bed.server.asked), 1)


del OpenTests
