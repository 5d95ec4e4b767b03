"""The table of commands: own commands, their grammar, and what becomes of their results."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from contextvars import Context, copy_context
from types import MappingProxyType
from typing import Any

from twisted.internet.defer import Deferred, fail, inlineCallbacks, succeed
from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from palingenesis import wire
from palingenesis.config import Limits
from palingenesis.procfs import Credentials
from palingenesis.server.commands import Call, CommandTable
from palingenesis.server.interfaces import CommandRefused, FixedKeys
from palingenesis.server.state import DaemonState
from palingenesis.wire import DaemonStatus
from palingenesis.words import Outcome

PEER = Credentials(77, 1000, 1000)
FAILED = b"ERR: FLUSH failed; the daemon's log says why\n"


class TableTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.log: list[LogEvent] = []
        self.begin()
        globalLogPublisher.addObserver(self.log.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.log.append)

    def begin(self) -> None:
        """Make a new table, and an empty log."""
        self.clock = Clock()
        self.table = CommandTable(
            DaemonState(), self.clock, Limits(handler_timeout=30.0), self.clock.seconds
        )
        self.log.clear()

    def lines(self) -> list[str]:
        """Return what was logged, tracebacks apart."""
        return [
            str(formatEvent(event))
            for event in self.log
            if event["log_namespace"].startswith("palingenesis") and "log_failure" not in event
        ]

    def own(
        self,
        handler: Callable[..., Any],
        argument: str | None = None,
        *,
        audit: bool = True,
    ) -> None:
        self.table.register("FLUSH", handler, "drop what waits", argument, audit=audit)

    def ask(self, line: bytes) -> bytes:
        reply = self.table.run(line, PEER)
        assert isinstance(reply, bytes)
        return reply

    def running(self, line: bytes = b"FLUSH\n") -> tuple[Call, list[bytes]]:
        running = self.table.run(line, PEER)
        assert isinstance(running, Call)
        replies: list[bytes] = []
        running.reply.addCallback(replies.append)
        return running, replies


class RegistrationTests(TableTestCase):
    def refused(self, name: Any = "FLUSH", summary: Any = "s", argument: Any = None) -> str:
        error = self.assertRaises(
            ValueError, self.table.register, name, lambda: None, summary, argument
        )
        return str(error)

    def test_a_name_is_a_capital_then_at_most_31_capitals_digits_and_dashes(self) -> None:
        for name in "A", "A" * 32, "A-B_9":
            self.table.register(name, lambda: None, "s")
        for name in "", "a", "9A", "_A", "A" * 33, "A B", "A\n", "É", b"A", None:
            with self.subTest(name=name):
                self.assertIn("[A-Z]", self.refused(name))

    def test_the_built_in_names_are_taken(self) -> None:
        for name in "STATUS", "PAUSE", "RESUME", "RELOAD", "HELP":
            self.assertEqual(self.refused(name), f"command {name} is built in")

    def test_a_name_is_registered_once(self) -> None:
        self.own(lambda: None)
        self.assertEqual(self.refused(), "command FLUSH is registered already")

    def test_arguments_are_names_of_which_the_last_may_be_in_brackets(self) -> None:
        for number, argument in enumerate(("QUEUE", "[QUEUE]", "A B C", "URL [PRIORITY]")):
            self.table.register(f"C{number}", lambda: None, "s", argument)
        for argument in (
            *("", "queue", "[QUEUE", "QUEUE]", "[[A]]", "[A B]", "[A] B", "[A] [B]"),
            *(" A", "A ", "A  B", "A\tB", "A\n", "A b", 1, ("A", "B")),
        ):
            with self.subTest(argument=argument):
                self.assertIn("NAME or [NAME]", self.refused(argument=argument))

    def test_a_summary_is_a_printable_line_of_1_to_80_characters(self) -> None:
        self.table.register("A", lambda: None, "x" * 80)
        for summary in "", "  ", "x" * 81, "a\nb", "\x1b[m", None:
            with self.subTest(summary=summary):
                self.assertIn("1 to 80", self.refused(summary=summary))

    def test_a_handler_can_be_called(self) -> None:
        self.assertRaises(ValueError, self.table.register, "A", None, "s")

    def test_more_than_200_commands_are_refused(self) -> None:
        for number in range(200):
            self.table.register(f"C{number}", lambda: None, "s")
        self.assertIn("200", self.refused())

    def test_a_help_too_long_for_a_reply_is_refused_and_changes_nothing(self) -> None:
        def fill() -> None:
            for number in range(200):
                self.table.register(
                    f"C{number}".ljust(32, "X"), lambda: None, "\U0001f600" * 80, "A" * 32
                )

        error = self.assertRaises(ValueError, fill)
        self.assertIn("HELP", str(error))
        self.assertLessEqual(len(self.ask(b"HELP\n")), wire.REPLY_LIMIT)


class HelpTests(TableTestCase):
    def test_every_usage_is_listed_with_its_summary_in_order(self) -> None:
        self.own(lambda _: None, "QUEUE [WHY]")
        summaries = json.loads(self.ask(b"help\n"))
        self.assertEqual(
            list(summaries), ["STATUS", "PAUSE", "RESUME", "RELOAD", "HELP", "FLUSH QUEUE [WHY]"]
        )
        self.assertEqual(
            list(summaries.values())[:5],
            [
                "show the daemon's status",
                "pause the daemon",
                "end the pause",
                "apply the configuration again",
                "list the commands",
            ],
        )
        self.assertEqual(summaries["FLUSH QUEUE [WHY]"], "drop what waits")

    def test_help_takes_no_argument(self) -> None:
        self.assertEqual(self.ask(b"HELP me\n"), b"ERR: Unknown command: HELP me\n")

    def test_help_leaves_no_line_in_the_log(self) -> None:
        self.ask(b"HELP\n")
        self.assertEqual(self.lines(), [])


class ArgumentTests(TableTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.given: list[tuple[str, ...]] = []

    def note(self, *arguments: str) -> None:
        self.given.append(arguments)

    def test_an_argument_is_the_rest_of_the_line_stripped(self) -> None:
        self.own(self.note, "QUEUE")
        self.assertEqual(self.ask("flush \t two  wörds \r\n".encode()), b"OK\n")
        self.assertEqual(self.given, [("two  wörds",)])

    def test_the_case_of_an_argument_is_kept(self) -> None:
        self.own(self.note, "QUEUE")
        self.ask(b"flush Mail\n")
        self.assertEqual(self.given, [("Mail",)])

    def test_without_its_optional_argument_the_handler_gets_none(self) -> None:
        self.own(self.note, "[QUEUE]")
        self.ask(b"FLUSH\n")
        self.ask(b"FLUSH  \n")
        self.assertEqual(self.given, [(), ()])

    def test_a_missing_argument_is_an_error_that_names_it(self) -> None:
        self.own(self.note, "QUEUE")
        self.assertEqual(self.ask(b"FLUSH\n"), b"ERR: FLUSH needs QUEUE\n")
        self.assertEqual(self.given, [])

    def test_an_argument_that_is_not_declared_is_refused(self) -> None:
        self.own(self.note)
        self.assertEqual(self.ask(b"FLUSH mail\n"), b"ERR: FLUSH takes no argument\n")
        self.assertEqual(self.given, [])

    def test_an_argument_that_is_not_utf_8_is_refused(self) -> None:
        self.own(self.note, "A QUEUE")
        for line in b"FLUSH \xff x\n", b"FLUSH x \xff\n":
            self.assertEqual(self.ask(line), b"ERR: FLUSH A QUEUE: the argument is not UTF-8\n")
        self.assertEqual(self.given, [])

    def test_several_arguments_are_split_at_blanks_and_the_last_takes_the_rest(self) -> None:
        self.own(self.note, "URL COUNT [WHY]")
        for line in b"FLUSH a 3\n", b"flush\ta \t3  \r\n", b"FLUSH a 3  b  c \n":
            self.assertEqual(self.ask(line), b"OK\n")
        self.assertEqual(self.given, [("a", "3"), ("a", "3"), ("a", "3", "b  c")])

    def test_a_missing_one_of_several_arguments_is_an_error_that_names_all_needed(self) -> None:
        self.own(self.note, "URL COUNT [WHY]")
        for line in b"FLUSH\n", b"FLUSH a\n":
            self.assertEqual(self.ask(line), b"ERR: FLUSH needs URL COUNT\n")
        self.assertEqual(self.given, [])

    def test_a_longer_name_is_another_command(self) -> None:
        self.own(self.note)
        for line in b"FLUSHX\n", b"FLUSHX", b"FLUS\n", b"FLUS":
            self.assertTrue(self.ask(line).startswith(b"ERR: Unknown command: "), line)
        self.assertEqual(self.given, [])


class ResultTests(TableTestCase):
    def reply_to(self, result: object) -> bytes:
        self.begin()
        self.own(lambda: result)
        return self.ask(b"FLUSH\n")

    def test_a_result_of_none_is_ok(self) -> None:
        self.assertEqual(self.reply_to(None), b"OK\n")

    def test_any_other_value_is_its_json_a_string_in_quotes(self) -> None:
        for value in ("OK", "", 0, False, [], {}, {"a": [1, None, "é\n"]}, 1.5, "\u2028"):
            with self.subTest(value=value):
                reply = self.reply_to(value)
                self.assertEqual(json.loads(reply), value)
                self.assertEqual((reply.count(b"\n"), reply[-1:]), (1, b"\n"))
                self.assertTrue(reply.decode()[:-1].isprintable())

    def test_a_value_that_is_not_fit_for_json_is_a_failure_and_a_line(self) -> None:
        for value in (float("nan"), float("inf"), {1, 2}, b"x", {1: 2}, {"a": {None: 1}}, object()):
            with self.subTest(value=value):
                self.assertEqual(self.reply_to(value), FAILED)
                self.assertIn("FLUSH failed: its result is not fit for JSON", self.lines()[0])

    def test_a_reply_of_65536_bytes_is_the_longest(self) -> None:
        self.assertEqual(len(self.reply_to("x" * (65_536 - 3))), 65_536)
        self.assertEqual(self.reply_to("x" * (65_536 - 2)), FAILED)

    def test_a_deferred_and_a_coroutine_of_it_are_as_good(self) -> None:
        async def later() -> list[int]:
            return [1]

        for handler in lambda: succeed([1]), later:
            self.begin()
            self.own(handler)
            self.assertEqual(self.ask(b"FLUSH\n"), b"[1]\n")

    def test_an_exception_of_any_kind_is_a_failure_with_a_traceback(self) -> None:
        for error in ZeroDivisionError("secret"), SystemExit(1), KeyboardInterrupt():

            def handler(error: BaseException = error) -> None:
                raise error

            self.begin()
            self.own(handler)
            self.assertEqual(self.ask(b"FLUSH\n"), FAILED)
            self.assertEqual(len(self.flushLoggedErrors(type(error))), 1)

    def test_a_refusal_is_told_in_its_own_words(self) -> None:
        def handler() -> None:
            raise CommandRefused("no such queue")

        self.own(handler)
        self.assertEqual(self.ask(b"FLUSH\n"), b"ERR: no such queue\n")

    def test_an_exit_in_a_coroutine_and_in_a_callback_is_only_a_failure(self) -> None:
        async def leave() -> None:
            sys.exit(3)

        for handler in leave, lambda: succeed(3).addCallback(sys.exit):
            self.begin()
            self.own(handler)
            self.assertEqual(self.ask(b"FLUSH\n"), FAILED)
            self.assertEqual(len(self.flushLoggedErrors(SystemExit)), 1)

    def test_a_handler_that_awaits_asyncio_is_told_the_way(self) -> None:
        async def sleep() -> None:
            await asyncio.sleep(1)

        async def future() -> None:
            await loop.create_future()

        async def timeout() -> None:
            async with asyncio.timeout(1):
                pass

        async def group() -> None:
            async with asyncio.TaskGroup():
                pass

        loop = asyncio.new_event_loop()
        self.addCleanup(loop.close)
        for handler in sleep, future, timeout, group:
            for running in None, loop:
                with self.subTest(handler=handler.__name__, running=running):
                    self.begin()
                    self.own(handler)
                    asyncio._set_running_loop(running)
                    try:
                        self.assertEqual(self.ask(b"FLUSH\n"), FAILED)
                    finally:
                        asyncio._set_running_loop(None)
                    (event,) = [event for event in self.log if "log_failure" in event]
                    self.assertIn("Deferred.fromFuture", str(formatEvent(event)))
                    self.flushLoggedErrors(RuntimeError)

    def test_an_error_that_asyncio_did_not_raise_is_logged_without_advice(self) -> None:
        for error in RuntimeError("no running engine"), ValueError("no running event loop"):
            self.begin()
            self.own(lambda error=error: fail(error))
            self.ask(b"FLUSH\n")
            (event,) = [event for event in self.log if "log_failure" in event]
            self.assertEqual(formatEvent(event), "FLUSH failed")
            self.flushLoggedErrors(type(error))

    def test_a_refusal_without_its_message_is_a_failure(self) -> None:
        class QueueFull(CommandRefused):
            def __init__(self) -> None:
                self.queue = "mail"

        self.own(lambda: fail(QueueFull()))
        self.assertEqual(self.ask(b"FLUSH\n"), FAILED)
        self.assertEqual(len(self.flushLoggedErrors(AttributeError)), 1)

    def test_an_exception_without_a_text_is_a_failure(self) -> None:
        class Mute(RuntimeError):
            def __str__(self) -> str:
                raise ValueError

        self.own(lambda: fail(Mute()))
        self.assertEqual(self.ask(b"FLUSH\n"), FAILED)
        self.assertEqual(len(self.flushLoggedErrors(Mute)), 1)

    def test_an_asyncio_future_is_no_result(self) -> None:
        loop = asyncio.new_event_loop()
        self.addCleanup(loop.close)
        self.own(loop.create_future)
        self.assertEqual(self.ask(b"FLUSH\n"), FAILED)
        self.assertIn("Deferred.fromFuture", self.lines()[0])

    def test_an_asyncio_future_does_not_pass_for_a_pause(self) -> None:
        loop = asyncio.new_event_loop()
        self.addCleanup(loop.close)
        state = DaemonState()
        self.patch(state, "pause", loop.create_future)
        table = CommandTable(state, self.clock)
        self.assertEqual(
            table.run(b"PAUSE\n", PEER), b"ERR: PAUSE failed; the daemon's log says why\n"
        )


class TimeTests(TableTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.result: Deferred[Any] = Deferred()
        self.own(lambda: self.result)

    def test_the_reply_comes_with_the_result(self) -> None:
        _, replies = self.running()
        self.assertEqual(replies, [])
        self.result.callback({"dropped": 3})
        self.assertEqual(replies, [b'{"dropped": 3}\n'])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_command_that_takes_too_long_gets_an_error_and_its_outcome_is_logged(self) -> None:
        _, replies = self.running()
        self.clock.advance(30)
        self.assertEqual(replies, [b"ERR: FLUSH is not done after 30 seconds\n"])
        self.result.callback(None)
        self.assertEqual(
            self.lines(),
            ["FLUSH is not done after 30 seconds", "FLUSH by uid 1000, pid 77: OK (late)"],
        )

    def test_an_observer_hears_once_how_a_command_ended_and_how_long_it_took(self) -> None:
        seen: list[tuple[str, Outcome, float]] = []
        self.table.observers.add(lambda *what: seen.append(what))  # type: ignore[arg-type]
        self.running()
        self.clock.advance(30)
        self.assertEqual(seen, [("FLUSH", Outcome.TIMEOUT, 30.0)])
        self.result.callback(None)
        self.result = Deferred()
        self.running()
        self.clock.advance(2)
        self.result.errback(CommandRefused("no"))
        self.ask(b"STATUS\n")
        self.table.peek()
        self.assertEqual(seen[1:], [("FLUSH", Outcome.REFUSED, 2.0), ("STATUS", Outcome.OK, 0.0)])

    def test_the_log_says_that_the_client_is_gone(self) -> None:
        running, _ = self.running()
        running.client_gone = True
        self.result.callback(None)
        self.assertEqual(self.lines(), ["FLUSH by uid 1000, pid 77: OK (the client is gone)"])

    def test_a_late_failure_has_its_traceback(self) -> None:
        self.running()
        self.clock.advance(30)
        self.result.errback(ZeroDivisionError())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_a_status_of_fixed_keys_is_rendered_again_only_if_it_has_changed(self) -> None:
        rendered: list[DaemonStatus] = []

        def note(status: DaemonStatus) -> tuple[str, str]:
            rendered.append(status)
            return render(status)

        render = wire.render_around_uptime
        self.patch(wire, "render_around_uptime", note)
        statuses = [DaemonStatus("paused", extra=FixedKeys({"jobs": n})) for n in (3, 3, 4)]
        returned = iter(statuses)
        self.patch(DaemonState, "get_status", lambda _: next(returned))
        table = CommandTable(DaemonState(), self.clock)
        replies = [table.run(b"STATUS\n", None) for _ in statuses]
        self.assertEqual(rendered, [statuses[0], statuses[2]])
        self.assertEqual(replies, [wire.render_status(status) for status in statuses])

    def test_a_status_of_fixed_keys_that_is_returned_again_has_its_own_uptime(self) -> None:
        status = DaemonStatus("paused", extra=FixedKeys({"jobs": 3}))
        self.patch(DaemonState, "get_status", lambda _: status)
        table = CommandTable(DaemonState(), self.clock, monotonic=self.clock.seconds)
        for seconds in (0, 5):
            self.clock.advance(seconds)
            self.assertEqual(
                table.run(b"STATUS\n", None),
                wire.render_status(DaemonStatus("paused", seconds, extra={"jobs": 3})),
            )

    def test_keys_that_change_under_a_status_that_is_returned_again_are_told(self) -> None:
        extra = {"jobs": 3}
        status = DaemonStatus("paused", extra=MappingProxyType(extra))
        self.patch(DaemonState, "get_status", lambda _: status)
        table = CommandTable(DaemonState(), self.clock)
        table.run(b"STATUS\n", None)
        extra["jobs"] = 4
        reply = table.run(b"STATUS\n", None)
        assert isinstance(reply, bytes)
        self.assertEqual(json.loads(reply)["jobs"], 4)

    def test_an_uptime_of_the_state_s_own_is_left_alone(self) -> None:
        for extra in {}, FixedKeys({"jobs": 3}):
            state = DaemonState()
            status = DaemonStatus("paused", 77, extra=extra)
            self.patch(state, "get_status", lambda status=status: status)
            table = CommandTable(state, self.clock, monotonic=self.clock.seconds)
            self.clock.advance(5)
            reply = table.run(b"STATUS\n", PEER)
            assert isinstance(reply, bytes)
            self.assertEqual(json.loads(reply)["uptime_secs"], 77)

    def test_the_uptime_is_the_monotonic_clock_s(self) -> None:
        self.clock.advance(12.9)
        self.table.start_clock()
        self.clock.advance(3.9)
        self.assertEqual(json.loads(self.ask(b"STATUS\n"))["uptime_secs"], 3)


class AuditTests(TableTestCase):
    def test_an_own_command_leaves_a_line_with_its_argument(self) -> None:
        self.own(lambda _: {"dropped": 1}, "QUEUE")
        self.ask(b"flush mail\x1b[2J\n")
        self.assertEqual(self.lines(), [r"FLUSH mail\x1b[2J by uid 1000, pid 77: OK"])

    def test_a_refusal_leaves_its_reason(self) -> None:
        self.own(lambda: fail(CommandRefused("no\nway")))
        self.ask(b"FLUSH\n")
        self.assertEqual(self.lines(), [r"FLUSH by uid 1000, pid 77: ERR: no\nway"])

    def test_a_command_is_audited_by_default(self) -> None:
        self.table.register("FLUSH", lambda: None, "drop what waits")
        self.ask(b"FLUSH\n")
        self.assertEqual(self.lines(), ["FLUSH by uid 1000, pid 77: OK"])

    def test_a_command_registered_without_audit_leaves_no_line(self) -> None:
        self.own(lambda: [1], audit=False)
        self.ask(b"FLUSH\n")
        self.assertEqual(self.lines(), [])

    def test_a_slow_command_registered_without_audit_leaves_no_line(self) -> None:
        done: Deferred[int] = Deferred()
        self.own(lambda: done, audit=False)
        _, replies = self.running()
        done.callback(1)
        self.assertEqual((replies, self.lines()), ([b"1\n"], []))

    def test_a_line_that_is_no_command_leaves_none(self) -> None:
        self.own(lambda _: None, "QUEUE")
        for line in b"FLUSH\n", b"nonsense\n", b"STATUS now\n":
            self.ask(line)
        self.assertEqual(self.lines(), [])


class PeerTests(TableTestCase):
    """Which client a handler sees, and how long."""

    def setUp(self) -> None:
        super().setUp()
        self.seen: list[int | None] = []

    def look(self, _: object = None) -> None:
        self.seen.append(None if self.table.peer is None else self.table.peer.pid)

    def ask_as(self, pid: int, line: bytes = b"FLUSH\n") -> object:
        return self.table.run(line, Credentials(pid, 0, 0))

    def test_a_handler_sees_its_client_and_nothing_else_sees_one(self) -> None:
        self.own(self.look)
        self.ask_as(1)
        self.look()
        self.assertEqual(self.seen, [1, None])

    def test_a_coroutine_sees_its_own_client_beside_another(self) -> None:
        gates: list[Deferred[None]] = []

        async def handler() -> None:
            for _ in range(2):
                self.look()
                gates.append(Deferred())
                await gates[-1]
            self.look()

        self.own(handler)
        self.ask_as(1)
        self.ask_as(2)
        for gate in range(4):
            gates[gate].callback(None)
            self.look()
        self.assertEqual(self.seen, [1, 2, 1, None, 2, None, 1, None, 2, None])

    def test_inline_callbacks_see_their_own_client_beside_another(self) -> None:
        gates: list[Deferred[None]] = []

        @inlineCallbacks
        def handler() -> Any:
            self.look()
            gates.append(Deferred())
            yield gates[-1]
            self.look()

        self.own(handler)
        self.ask_as(1)
        self.ask_as(2)
        gates[1].callback(None)
        gates[0].callback(None)
        self.assertEqual(self.seen, [1, 2, 2, 1])

    def test_a_coroutine_that_another_client_s_handler_resumes_keeps_its_own(self) -> None:
        gate: Deferred[None] = Deferred()

        async def wait() -> None:
            await gate
            self.look()

        def resume() -> None:
            gate.callback(None)
            self.look()

        self.own(wait)
        self.table.register("GO", resume, "resume the other")
        self.ask_as(1)
        self.ask_as(2, b"GO\n")
        self.assertEqual(self.seen, [1, 2])

    def test_an_asyncio_task_that_a_handler_waits_for_sees_its_client(self) -> None:
        loop = asyncio.new_event_loop()
        self.addCleanup(loop.close)
        tasks: list[asyncio.Task[None]] = []

        async def work() -> None:
            await asyncio.sleep(0)
            self.look()

        def handler() -> Deferred[None]:
            tasks.append(loop.create_task(work()))
            return Deferred.fromFuture(tasks[-1])

        self.own(handler)
        self.ask_as(1)
        self.ask_as(2)
        loop.run_until_complete(asyncio.wait(tasks))
        self.look()
        self.assertEqual(self.seen, [1, 2, None])

    def test_a_callback_sees_no_client_whatever_fires_its_deferred(self) -> None:
        first: Deferred[None] = Deferred()
        second: Deferred[None] = Deferred()
        waiting = iter((first, second, succeed(None)))
        self.own(lambda: next(waiting).addCallback(self.look))
        self.table.register("GO", lambda: first.callback(None), "fire the other's")
        self.ask_as(1)
        self.ask_as(2)
        self.ask_as(3, b"GO\n")
        second.callback(None)
        self.ask_as(4)
        self.assertEqual(self.seen, [None, None, None])

    def test_code_that_outlives_the_call_sees_no_client(self) -> None:
        contexts: list[Context] = []
        self.own(lambda: contexts.append(copy_context()))
        self.ask_as(1)
        contexts[0].run(self.look)
        self.assertEqual(self.seen, [None])

    def test_a_late_handler_still_sees_its_client(self) -> None:
        gate: Deferred[None] = Deferred()

        async def handler() -> None:
            await gate
            self.look()

        self.own(handler)
        self.ask_as(1)
        self.clock.advance(30)
        gate.callback(None)
        self.assertEqual(self.seen, [1])

    def test_a_reload_that_had_to_wait_sees_its_own_client(self) -> None:
        gates: list[Deferred[None]] = []

        async def reload() -> None:
            self.look()
            gates.append(Deferred())
            await gates[-1]
            self.look()

        self.patch(DaemonState, "reload_config", lambda _: reload())
        self.table = CommandTable(DaemonState(), self.clock)
        self.ask_as(1, b"RELOAD\n")
        self.ask_as(2, b"RELOAD\n")
        own = self.table.reload()
        for gate in range(3):
            gates[gate].callback(None)
        self.assertIsNone(self.successResultOf(own))
        self.assertEqual(self.seen, [1, 1, 2, 2, None, None])

    def test_the_peer_of_another_table_is_none_during_a_call(self) -> None:
        other = CommandTable(DaemonState(), self.clock)
        peers: list[Credentials | None] = []
        self.own(lambda: peers.append(other.peer))
        self.ask_as(1)
        self.assertEqual(peers, [None])

    def test_a_handler_that_raises_leaves_no_client_behind(self) -> None:
        self.own(lambda: 1 / 0)
        self.ask_as(1)
        self.flushLoggedErrors(ZeroDivisionError)
        self.look()
        self.assertEqual(self.seen, [None])
