"""
Kills of the daemon at each place around a revival: ``python -m tests.programs.kills [FIRST LAST]``.

A place is a call of the system, counted from the line of the ledger that says that the session
has stopped; each place is tried twice, before the call and after it. Every third kill ends the
command too, in every fourth the ledger's file is replaced at each second line, and every fifth
kills both daemons of an upgrade: the one that revives, and the one that waits to take over. Then
the ledger's line of a started command is cut at each of its bytes.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import unittest

from palingenesis.monitor.ledger import LEDGER_NAME
from tests.support.agents import AgentTestCase
from tests.support.patience import wait_until
from tests.support.processes import Process, wait_for_end

#: The calls of the system from a stop to the end of its revival are at least so many.
PLACES = 100
#: Bytes at the end of a ledger's line that are cut at most.
BYTES = 500


class KillCase(AgentTestCase):
    """
    One revival during which the daemon is killed once, and what a second daemon makes of it.

    :param number: the call of the system at which the first daemon is killed, from 1; or how
        many bytes are cut from the ledger.
    :param is_after: whether it is killed after the call, and not before it.
    :param with_command: whether the command is killed too.
    :param rotates: whether the ledger's file is replaced at each second line.
    :param is_upgrade: whether a second daemon waits to take over, and is killed too: at once, or
        when it has taken over if the number is odd.
    :param is_cut: whether the ledger's last line is cut.
    :ivar came_there: whether the daemon came to the place.
    :ivar told: what failed; empty if nothing did.
    """

    def __init__(
        self,
        number: int = 1,
        *,
        is_after: bool = False,
        with_command: bool = False,
        rotates: bool = False,
        is_upgrade: bool = False,
        is_cut: bool = False,
    ) -> None:
        super().__init__("runTest")
        self.number, self.is_after = number, is_after
        self.with_command, self.is_cut = with_command, is_cut
        self.rotates, self.is_upgrade = rotates, is_upgrade
        self.came_there = False
        self.told = ""
        self.name = f"place {number}{'+' if is_after else ''}, cut: {is_cut}"

    def kill_and_check(self) -> bool:
        """Play it, and return whether the daemon came to the place."""
        config = self.configure()
        told = f"{self.number}{'+' if self.is_after else ''}"
        rotation = {"PALINGENESIS_TEST_ROTATION": "1"} if self.rotates else {}
        daemon = self.start_daemon(config, PALINGENESIS_TEST_KILL=told, **rotation)
        follower = self.follower(config) if self.is_upgrade else None
        self.begin("s", "limit:0", "work", "finish").wait()
        wait_until(lambda: not daemon.running or self.has_worked(), "it works or is killed")
        came_there = not daemon.running
        daemon.kill()
        if follower is not None:
            if self.number % 2:
                follower.wait_for_log("This daemon is the keeper")
            follower.kill()
        alive = self.command() if self.with_command else None
        if alive is not None:
            os.kill(alive, signal.SIGKILL)
            wait_for_end(alive)
        self.start_daemon(config)
        self.wait_for_event("worked")
        self.wait_for_looks()
        runs, entries = self.runs("s"), self.reply("LOG 100")
        if alive is None:
            self.assertEqual(len(runs), 2, entries)
            self.assertEqual(self.story().count("started"), 1, entries)
            self.assertEqual(self.reply("STATUS")["total_resumes"], 1)
        else:
            # A command that was killed before it worked is tried again, once, for its own stop.
            self.assertIn(len(runs), (2, 3), entries)
            self.assertNotIn("died", [entry["kind"] for entry in entries if len(runs) == 3])
        return came_there

    def follower(self, config: str) -> Process:
        """Start a second daemon with the same state directory."""
        pidfile, self.place.pidfile = self.place.pidfile, self.place.path("follower.pid")
        socket = self.place.path("follower.sock")
        options = ("--config", config, "--socket", socket)
        follower = self.place.daemon(*options, environment=self.variables)
        self.place.pidfile = pidfile
        return follower

    def cut_and_check(self) -> None:
        """Cut the line that says that the command runs, and start another daemon."""
        config = self.configure()
        daemon = self.start_daemon(config)
        self.begin("s", "limit:0", "hang", "finish").wait()
        self.wait_for_event("started")
        wait_until(self.command, "the command runs")
        daemon.kill()
        path = os.path.join(self.state, LEDGER_NAME)
        with open(path, "rb") as file:
            content = file.read()
        last = content.splitlines()[-1]
        self.assertEqual(json.loads(last)["event"], "started")
        os.truncate(path, len(content) - min(self.number, len(last) + 1))
        self.start_daemon(config)
        self.wait_for_session("s", state="reviving")
        self.wait_for_looks()
        self.assertEqual(len(self.runs("s")), 2)
        self.assertEqual(self.story().count("started"), 1)
        self.assertEqual(self.reply("STATUS")["total_resumes"], 1)

    def command(self) -> int | None:
        """Return the pid of the command that revives the session, if one was started."""
        runs = self.runs("s")
        return runs[1]["pid"] if len(runs) > 1 else None

    def has_worked(self) -> bool:
        # The daemon may be killed while it is asked.
        with contextlib.suppress(OSError, ValueError):
            return "worked" in self.story()
        return False

    def runTest(self) -> None:  # noqa: N802 - the default name of a test
        if self.is_cut:
            self.cut_and_check()
        else:
            self.came_there = self.kill_and_check()


def tried(case: KillCase) -> KillCase:
    """Run a case to its end; what fails is in its text."""
    result = unittest.TestResult()
    case.run(result)
    case.told = "\n".join(text for _, text in (*result.failures, *result.errors))
    return case


def main() -> None:
    first, last = (int(each) for each in (*sys.argv[1:], "1", str(PLACES))[:2])
    cases = []
    for number in range(first, last + 1):
        for is_after in (False, True):
            case = KillCase(
                number,
                is_after=is_after,
                with_command=(number + is_after) % 3 == 0,
                rotates=number % 4 == 0,
                is_upgrade=number % 5 == 0,
            )
            cases.append(tried(case))
    if len(sys.argv) < 2:
        cases += [tried(KillCase(number, is_cut=True)) for number in range(1, BYTES + 1)]
    for case in cases:
        if case.told:
            print(f"{case.name}\n{case.told}")
    killed = sum(case.came_there for case in cases)
    failed = sum(bool(case.told) for case in cases)
    print(f"{killed} kills and {sum(case.is_cut for case in cases)} cuts, of which {failed} failed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
