"""The kit for applications' tests, and the names that an application imports."""

from __future__ import annotations

import warnings

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

import palingenesis
from palingenesis import CommandRefused, CommandRegistry, ControlService, DaemonState, Limits
from palingenesis.client.errors import ErrorReply, InvalidReply
from palingenesis.testing import ControlHarness


class HarnessTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.state = DaemonState()
        self.harness = ControlHarness(self.state)

    def test_a_reply_of_ok_is_none(self) -> None:
        self.assertIsNone(self.harness.ask("PAUSE"))
        self.assertTrue(self.state.paused)

    def test_a_value_is_decoded(self) -> None:
        self.harness.command("ECHO", lambda text: {"said": text}, "say it", argument="TEXT")
        self.assertEqual(self.harness.ask("ECHO", "a b"), {"said": "a b"})

    def test_a_refusal_is_what_a_client_would_raise(self) -> None:
        def refuse() -> None:
            raise CommandRefused("no")

        self.harness.command("NO", refuse, "refuse")
        error = self.assertRaises(ErrorReply, self.harness.ask, "NO")
        self.assertEqual(error.message, "no")

    def test_bytes_are_sent_as_they_are(self) -> None:
        self.assertEqual(self.harness.send(b"pau"), b"ERR: Unknown command: pau\n")

    def test_time_passes_when_it_is_told_to(self) -> None:
        self.harness.clock.advance(7)
        self.assertEqual(self.harness.ask("STATUS")["uptime_secs"], 7)
        client = self.harness.connect()
        self.harness.clock.advance(5)
        self.assertEqual(client.received, b"ERR: Connection timeout\n")

    def test_a_slow_command_is_answered_when_it_is_done(self) -> None:
        done: Deferred[int] = Deferred()
        self.harness.command("SLOW", lambda: done, "be slow")
        client = self.harness.connect().send(b"SLOW\n")
        self.assertEqual((client.received, client.saw_the_end), (b"", False))
        done.callback(3)
        self.assertEqual((client.received, client.saw_the_end), (b"3\n", True))

    def test_a_slow_command_has_no_value_at_once(self) -> None:
        self.harness.command("SLOW", lambda: Deferred(), "be slow")
        self.assertRaises(InvalidReply, self.harness.ask, "SLOW")

    def test_several_arguments_are_joined_and_split_again(self) -> None:
        self.harness.command("ADD", lambda *given: given, "add", argument="URL [PRIORITY]")
        self.assertEqual(
            self.harness.ask("ADD", "http://x", "very", "high"), ["http://x", "very high"]
        )

    def test_a_clock_can_be_shared_with_the_application(self) -> None:
        clock = Clock()
        harness = ControlHarness(self.state, clock=clock)
        clock.advance(3)
        self.assertIs(harness.clock, clock)
        self.assertEqual(harness.ask("STATUS")["uptime_secs"], 3)

    def test_a_function_can_add_commands_to_a_harness_and_to_a_service(self) -> None:
        def add_commands(registry: CommandRegistry) -> None:
            registry.command("COUNT", lambda: 3, "count the jobs")

        add_commands(self.harness)
        add_commands(ControlService(self.state, "/never/bound.sock"))
        self.assertEqual(self.harness.ask("COUNT"), 3)

    def test_a_harness_can_be_asked_any_number_of_times(self) -> None:
        harness = ControlHarness(self.state, limits=Limits(max_connections=1))
        done: Deferred[None] = Deferred()
        harness.command("SLOW", lambda: done, "be slow")
        for _ in range(3):
            self.assertEqual(harness.send(b"PAUSE\n"), b"OK\n")
        self.assertEqual(harness.send(b"SLOW\n"), b"")
        done.callback(None)
        self.assertEqual(harness.send(b"PAUSE\n"), b"OK\n")
        self.assertEqual(harness.clock.getDelayedCalls(), [])

    def test_the_limits_of_a_harness_hold(self) -> None:
        harness = ControlHarness(self.state, limits=Limits(handler_timeout=2.0, max_connections=1))
        harness.command("SLOW", lambda: Deferred(), "be slow")
        client = harness.connect().send(b"SLOW\n")
        self.assertEqual(harness.send(b"STATUS\n"), b"ERR: Too many connections\n")
        harness.clock.advance(2)
        self.assertEqual(client.received, b"ERR: SLOW is not done after 2 seconds\n")

    def test_a_state_that_lacks_a_method_is_named(self) -> None:
        class Lacking:
            def get_status(self) -> None: ...
            def pause(self) -> None: ...
            def reload_config(self) -> None: ...

        error = self.assertRaises(TypeError, ControlHarness, Lacking())
        self.assertIn("IDaemonState", str(error))
        self.assertIn("resume", str(error))


class PublicNameTests(SynchronousTestCase):
    def test_every_public_name_is_there(self) -> None:
        for name in palingenesis.__all__:
            with self.subTest(name=name):
                self.assertEqual(getattr(palingenesis, name).__name__, name)
                self.assertIn(name, dir(palingenesis))

    def test_the_public_names_are_those_of_the_contract(self) -> None:
        self.assertEqual(
            set(palingenesis.__all__),
            {
                "ClientError",
                "CommandRefused",
                "CommandRegistry",
                "ControlClient",
                "ControlService",
                "Controllable",
                "DaemonState",
                "DaemonStatus",
                "IDaemonState",
                "Limits",
                "SignalService",
            },
        )

    def test_a_name_that_is_not_public_is_no_attribute(self) -> None:
        self.assertRaises(AttributeError, lambda: palingenesis.nonsense)

    def test_every_deprecated_name_still_works_and_warns(self) -> None:
        # Besides the real ones, one that shows what the others would have to pass.
        self.patch(
            palingenesis, "_DEPRECATED", {**palingenesis._DEPRECATED, "Former": "ControlService"}
        )
        for former, new in palingenesis._DEPRECATED.items():
            with self.subTest(former=former):
                self.assertNotIn(former, palingenesis.__all__)
                with warnings.catch_warnings(record=True) as caught:
                    warnings.simplefilter("always")
                    value = getattr(palingenesis, former)
                self.assertIs(value, getattr(palingenesis, new))
                self.assertEqual([each.category for each in caught], [DeprecationWarning])
                self.assertIn(new, str(caught[0].message))
                self.assertEqual(caught[0].filename, __file__)


class HTTPTests(SynchronousTestCase):
    def test_http_is_answered_without_a_socket(self) -> None:
        harness = ControlHarness(DaemonState())
        harness.command("FLUSH", lambda queue: {"dropped": queue}, "drop", "QUEUE", web=True)
        self.assertEqual(harness.http("GET", "/api/v1/status").json["state"], "monitoring")
        self.assertEqual(harness.http("POST", "/api/v1/pause").json["state"], "paused")
        reply = harness.http("POST", "/api/v1/commands/FLUSH", {"arguments": ["mail"]})
        self.assertEqual((reply.status, reply.json), (200, {"dropped": "mail"}))
        self.assertEqual(harness.http("GET", "/nothing").status, 404)

    def test_metrics_are_counted(self) -> None:
        harness = ControlHarness(DaemonState())
        harness.metric("jobs_waiting", "gauge", "jobs that wait", lambda: 3)
        self.assertRaises(ValueError, harness.metric, "palingenesis_x", "gauge", "g", lambda: 3)
        harness.ask("PAUSE")
        body = harness.http("GET", "/metrics").body
        self.assertIn(b"\njobs_waiting 3\n", body)
        self.assertIn(b'palingenesis_commands_total{command="PAUSE",outcome="ok"} 1\n', body)

    def test_a_command_under_way_has_no_response_yet(self) -> None:
        harness = ControlHarness(DaemonState())
        harness.command("SLEEP", Deferred, "wait", web=True)
        reply = harness.http("POST", "/api/v1/commands/SLEEP")
        self.assertEqual((reply.status, reply.json), (0, None))
