"""When the service manager is told what, by a clock of the test's own."""

from __future__ import annotations

import os

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from palingenesis.daemon.systemd import (
    RETRY,
    STATUS_INTERVAL,
    Systemd,
    SystemdService,
    take_systemd,
)


class RecordingSystemd(Systemd):
    """Keeps what it is to tell."""

    def __init__(self, **environment: str) -> None:
        super().__init__({"NOTIFY_SOCKET": "/nowhere"} | environment)
        self.sent: list[dict[str, object]] = []
        self.busy = False

    def send(self, **message: object) -> bool:
        if not self.busy:
            self.sent.append(message)
        return not self.busy


class SystemdServiceTests(SynchronousTestCase):
    def begin(self, **environment: str) -> RecordingSystemd:
        """Start the service, and forget that it told it was ready."""
        systemd = RecordingSystemd(**environment)
        self.clock = Clock()
        self.status = "monitoring"
        self.service = SystemdService(systemd, self.clock, lambda: self.status)
        self.service.startService()
        self.assertEqual(systemd.sent, [])
        self.clock.advance(0)
        self.assertEqual(systemd.sent.pop(0), {"READY": 1, "STATUS": "monitoring"})
        return systemd

    def test_the_watchdog_is_told_at_once_and_each_half_of_its_time(self) -> None:
        systemd = self.begin(WATCHDOG_USEC="60000000")
        self.assertEqual(systemd.sent, [{"WATCHDOG": 1}])
        self.clock.advance(29.9)
        self.assertEqual(len(systemd.sent), 1)
        self.clock.advance(0.1)
        self.assertEqual(systemd.sent, [{"WATCHDOG": 1}] * 2)

    def test_a_changed_status_goes_with_the_watchdog_s_message(self) -> None:
        systemd = self.begin(WATCHDOG_USEC="60000000")
        self.status = "paused"
        self.clock.pump([30, 30])
        self.assertEqual(systemd.sent[1:], [{"WATCHDOG": 1, "STATUS": "paused"}, {"WATCHDOG": 1}])

    def test_without_a_watchdog_a_changed_status_is_told_once(self) -> None:
        systemd = self.begin()
        self.clock.advance(STATUS_INTERVAL)
        self.assertEqual(systemd.sent, [])
        self.status = "paused"
        self.clock.pump([STATUS_INTERVAL] * 2)
        self.assertEqual(systemd.sent, [{"STATUS": "paused"}])

    def test_a_watchdog_of_another_process_is_not_told(self) -> None:
        systemd = self.begin(WATCHDOG_USEC="60000000", WATCHDOG_PID=str(os.getppid()))
        self.clock.advance(60)
        self.assertEqual(systemd.sent, [])

    def test_a_watchdog_time_that_is_none_is_not_told(self) -> None:
        for value in ("", "0", "-1", "soon"):
            with self.subTest(value=value):
                self.assertIsNone(RecordingSystemd(WATCHDOG_USEC=value).watchdog)

    def test_readiness_is_told_again_to_a_manager_that_was_busy(self) -> None:
        systemd = self.begin()
        systemd.busy = True
        with self.service.reloading():
            pass
        self.clock.advance(RETRY)
        systemd.busy = False
        self.clock.advance(RETRY)
        self.assertEqual(systemd.sent, [{"READY": 1, "STATUS": "monitoring"}])

    def test_a_status_that_a_busy_manager_did_not_take_is_told_later(self) -> None:
        systemd = self.begin()
        systemd.busy = True
        self.status = "paused"
        self.clock.advance(STATUS_INTERVAL)
        systemd.busy = False
        self.clock.advance(STATUS_INTERVAL)
        self.assertEqual(systemd.sent, [{"STATUS": "paused"}])

    def test_a_stop_ends_what_was_to_be_told_again(self) -> None:
        systemd = self.begin()
        systemd.busy = True
        with self.service.reloading():
            pass
        self.service.stopService()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_after_a_stop_nothing_is_told(self) -> None:
        systemd = self.begin(WATCHDOG_USEC="60000000")
        self.service.stopService()
        self.assertEqual(systemd.sent[-1], {"STOPPING": 1, "STATUS": "stopping"})
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_without_a_service_manager_there_is_nothing_to_time(self) -> None:
        self.begin(NOTIFY_SOCKET="")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_the_end_of_a_reload_is_told_when_it_fails_too(self) -> None:
        systemd = self.begin()

        def reload() -> None:
            with self.service.reloading():
                raise ValueError

        self.assertRaises(ValueError, reload)
        self.assertEqual(systemd.sent[-2]["RELOADING"], 1)
        self.assertEqual(systemd.sent[-1], {"READY": 1, "STATUS": "monitoring"})


class EnvironmentTests(SynchronousTestCase):
    def test_the_variables_of_systemd_are_taken_away(self) -> None:
        environment = {"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1", "A": "b"}
        take_systemd(environment)
        self.assertEqual(environment, {"A": "b"})
