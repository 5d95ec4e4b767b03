"""``palingenesis stop`` on a simulated macOS: which process it signals, and when it does not."""

from __future__ import annotations

import json
import os
import sys
from io import StringIO
from typing import Any

from palingenesis import darwin
from palingenesis.cli.exit_status import Exit
from palingenesis.cli.stop import stop
from tests.support.clients import ListenerTestCase
from tests.support.darwin import FakeProcess, SimulatedMacTestCase
from tests.support.impostors import answer, turn_away
from tests.support.patience import PATIENCE

DAEMON, OTHER = 4242, 4343


def status(**extra: Any) -> bytes:
    """Return the line of a status."""
    status = {"state": "monitoring", "uptime_secs": 1, "current_session": None}
    return json.dumps(status | {"saves_count": 0, "total_resumes": 0} | extra).encode() + b"\n"


class FakeHeld:
    """A process that is watched by kqueue(2), and ends by SIGTERM."""

    terminated: list[int] = []

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def __enter__(self) -> FakeHeld:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def terminate(self) -> bool:
        self.terminated.append(self.pid)
        return True

    def ends_within(self, _seconds: float) -> bool:
        return True


class MacStopTests(SimulatedMacTestCase, ListenerTestCase):
    def setUp(self) -> None:
        ListenerTestCase.setUp(self)
        SimulatedMacTestCase.setUp(self)
        self.processes |= {DAEMON: FakeProcess(comm=b"twistd"), OTHER: FakeProcess()}
        self.patch(darwin, "KqueueProcess", FakeHeld)
        self.patch(FakeHeld, "terminated", [])
        self.told = StringIO()
        self.patch(sys, "stderr", self.told)
        self.patch(sys, "stdout", StringIO())

    def peers(self, *pids: int | None, uid: int | None = None) -> None:
        """Have the kernel name these processes, one after the other; None is a closed one."""
        answers = iter(pids)
        user = os.geteuid() if uid is None else uid

        def peer(_connection: object) -> tuple[int, int, int] | None:
            pid = next(answers)
            return None if pid is None else (pid, user, 20)

        self.patch(darwin, "peer", peer)

    def stopped(self) -> list[int]:
        """Run the command, and return which processes have had SIGTERM."""
        self.status = stop(self.path, PATIENCE)
        return FakeHeld.terminated

    def test_the_process_that_is_named_each_time_is_stopped(self) -> None:
        self.peers(DAEMON, DAEMON)
        self.listen(answer(status(pid=DAEMON)))
        self.assertEqual(self.stopped(), [DAEMON])
        self.assertEqual(self.status, Exit.DONE)

    def test_a_daemon_that_has_closed_already_is_known_by_its_status(self) -> None:
        self.peers(DAEMON, None)
        self.listen(answer(status(pid=DAEMON)))
        self.assertEqual(self.stopped(), [DAEMON])

    def test_a_daemon_with_too_many_clients_is_known_by_the_kernel_alone(self) -> None:
        self.peers(DAEMON, DAEMON)
        self.listen(turn_away)
        self.assertEqual(self.stopped(), [DAEMON])

    def test_an_application_that_names_no_process_is_known_by_the_kernel_alone(self) -> None:
        self.peers(DAEMON, DAEMON)
        self.listen(answer(status()))
        self.assertEqual(self.stopped(), [DAEMON])

    def test_if_another_process_answers_none_is_stopped(self) -> None:
        """As when launchd made the socket."""
        self.peers(1, DAEMON)
        self.listen(answer(status(pid=DAEMON)))
        self.assertEqual(self.stopped(), [])
        self.assertEqual(self.status, Exit.NO_ANSWER)
        self.assertIn(f"pid {DAEMON} answers", self.told.getvalue())

    def test_if_the_status_names_another_process_none_is_stopped(self) -> None:
        self.peers(DAEMON, DAEMON)
        self.listen(answer(status(pid=OTHER)))
        self.assertEqual(self.stopped(), [])
        self.assertIn(f"answers for a daemon with pid {OTHER}", self.told.getvalue())

    def test_if_nothing_confirms_the_listener_none_is_stopped(self) -> None:
        self.peers(DAEMON, None)
        self.listen(answer(status()))
        self.assertEqual(self.stopped(), [])

    def test_if_the_kernel_names_no_listener_none_is_stopped(self) -> None:
        self.peers(None)
        self.listen(answer(status(pid=DAEMON)))
        self.assertEqual(self.stopped(), [])
        self.assertIn("does not name the process that listens", self.told.getvalue())

    def test_another_user_s_daemon_is_not_stopped(self) -> None:
        self.peers(DAEMON, DAEMON, uid=os.geteuid() + 1)
        self.listen(answer(status(pid=DAEMON)))
        self.assertEqual(self.stopped(), [])
        self.assertIn("belongs to", self.told.getvalue())
