"""The default daemon: what it counts, and what it is told to do."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from palingenesis.config import ConfigError
from palingenesis.server.interfaces import CommandRefused
from palingenesis.server.state import DaemonState
from palingenesis.wire import DaemonStatus
from palingenesis.words import DaemonWord

MONITORING, PAUSED = DaemonWord.MONITORING, DaemonWord.PAUSED


class DaemonStateTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.state = DaemonState()

    def test_a_new_state_is_monitoring_and_has_counted_nothing(self) -> None:
        self.assertEqual(self.state.get_status(), DaemonStatus(MONITORING, None, None, 0, 0))

    def test_a_state_leaves_its_uptime_to_the_service(self) -> None:
        self.assertIsNone(self.state.get_status().uptime_secs)

    def test_the_further_keys_are_computed_for_each_status(self) -> None:
        jobs = [1]
        state = DaemonState(extra=lambda: {"jobs": len(jobs)})
        before = state.get_status().extra
        jobs.append(2)
        self.assertEqual((before, state.get_status().extra), ({"jobs": 1}, {"jobs": 2}))

    def test_a_state_can_be_paused(self) -> None:
        self.state.pause()
        self.assertEqual((self.state.paused, self.state.get_status().state), (True, PAUSED))

    def test_a_paused_state_can_be_resumed(self) -> None:
        self.state.pause()
        self.state.resume()
        self.assertEqual((self.state.paused, self.state.get_status().state), (False, MONITORING))

    def test_pausing_twice_is_pausing(self) -> None:
        self.state.pause()
        self.state.pause()
        self.state.resume()
        self.assertFalse(self.state.paused)

    def test_resuming_what_is_not_paused_does_nothing(self) -> None:
        before = self.state.get_status()
        self.state.resume()
        self.assertEqual(self.state.get_status(), before)

    def test_the_current_session_is_in_the_status(self) -> None:
        self.state.session_became_current("main")
        self.assertEqual(self.state.get_status().current_session, "main")

    def test_a_current_session_that_ended_is_no_longer_in_the_status(self) -> None:
        self.state.session_became_current("main")
        self.state.session_became_current(None)
        self.assertIsNone(self.state.get_status().current_session)

    def test_a_saved_session_is_counted(self) -> None:
        for _ in range(3):
            self.state.session_saved()
        self.assertEqual(self.state.get_status()[3:5], (3, 0))

    def test_a_resumed_session_is_counted(self) -> None:
        self.state.session_resumed()
        self.state.session_resumed()
        self.assertEqual(self.state.get_status()[3:5], (0, 2))

    def test_a_resume_of_the_daemon_is_not_counted_as_one_of_a_session(self) -> None:
        self.state.pause()
        self.state.resume()
        self.assertEqual(self.state.get_status().total_resumes, 0)


class ReloadTests(SynchronousTestCase):
    def test_without_a_configuration_there_is_nothing_to_reload(self) -> None:
        self.assertIsNone(DaemonState().reload_config())

    def test_the_configuration_is_applied_once(self) -> None:
        calls: list[str] = []
        DaemonState(lambda: calls.append("applied")).reload_config()
        self.assertEqual(calls, ["applied"])

    def test_a_configuration_that_cannot_be_used_is_a_refusal_that_says_why(self) -> None:
        def reload() -> None:
            raise ConfigError("/etc/x.toml", "timeout: no")

        error = self.assertRaises(CommandRefused, DaemonState(reload).reload_config)
        self.assertEqual(error.message, "/etc/x.toml: timeout: no")

    def test_any_other_error_is_passed_on(self) -> None:
        def reload() -> None:
            raise ZeroDivisionError

        self.assertRaises(ZeroDivisionError, DaemonState(reload).reload_config)
