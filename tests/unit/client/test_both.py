"""One table of what a daemon may do, and what both clients make of it."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.threads import deferToThread

from palingenesis import darwin
from palingenesis.client import blocking, deferred
from palingenesis.client.errors import ErrorReply, InvalidReply, StaleSocket, TimedOut
from palingenesis.wire import REPLY_LIMIT, DaemonStatus
from palingenesis.words import DaemonWord
from tests.support.clients import DeferredClientTestCase
from tests.support.impostors import (
    STATUS_LINE,
    TREATMENTS,
    Treatment,
    answer,
    by_command,
    impostor,
    never_end,
    say_nothing,
    turn_away,
)
from tests.support.patience import PATIENCE
from tests.support.sockets import leave_stale

Call = tuple[str, ...]

HELP_LINE = b'{"STATUS": "show how it is", "FLUSH QUEUE": "drop what waits"}\n'
LONGEST = b'"' + b"x" * (REPLY_LIMIT - 3) + b'"\n'

#: What the daemon does, what is called, and the result or the kind of error.
CASES: dict[str, tuple[Treatment, Call, Any]] = {
    **{name: (treat, (call,), kind) for name, (treat, call, kind) in TREATMENTS.items()},
    "status": (
        answer(STATUS_LINE),
        ("status",),
        DaemonStatus(DaemonWord.PAUSED, 93784, "build é", 1, 2, {"queue": [1, "two"]}),
    ),
    "pause": (by_command({b"PAUSE\n": b"OK\n"}), ("pause",), None),
    "resume": (by_command({b"RESUME\n": b"OK\n"}), ("resume",), None),
    "reload": (by_command({b"RELOAD\n": b"OK\n"}), ("reload",), None),
    "commands": (
        by_command({b"HELP\n": HELP_LINE}),
        ("commands",),
        {"STATUS": "show how it is", "FLUSH QUEUE": "drop what waits"},
    ),
    "OK is None": (by_command({b"FLUSH a b\n": b"OK\n"}), ("send", "FLUSH", "a b"), None),
    "words are joined": (by_command({b"ADD a b c\n": b"1\n"}), ("send", "ADD", "a b", "c"), 1),
    "a string is no OK": (answer(b'"OK"\n'), ("send", "FLUSH"), "OK"),
    "a number": (by_command({b"COUNT\n": b"7\n"}), ("send", "COUNT"), 7),
    "null is None": (answer(b"null\n"), ("send", "COUNT"), None),
    "the longest value": (answer(LONGEST), ("send", "TEXT"), LONGEST[1:-2].decode()),
    "a value that is too long": (answer(b"x" + LONGEST), ("send", "TEXT"), InvalidReply),
    "a value that is no JSON": (answer(b"seven\n"), ("send", "COUNT"), InvalidReply),
    "a value nested too deep": (answer(b"[" * 60_000 + b"\n"), ("send", "X"), InvalidReply),
    "half a value": (answer(b"[1, 2"), ("send", "COUNT"), InvalidReply),
    "a value without end": (never_end, ("send", "COUNT"), InvalidReply),
    "an error": (answer(b"ERR: FLUSH needs QUEUE\n"), ("send", "FLUSH"), ErrorReply),
    "nothing": (say_nothing, ("send", "FLUSH"), TimedOut),
    "rejected": (turn_away, ("send", "FLUSH"), ErrorReply),
    "more than a line": (answer(b"OK\nERR: no\n"), ("send", "FLUSH"), None),
}


class BothClientsTestCase(DeferredClientTestCase):
    """The Deferred client's test case, since the blocking client can run in a thread."""

    async def outcomes(self, call: Call, timeout: float = PATIENCE) -> list[Any]:
        """Call both clients at once, and return what each returned or raised."""
        name, *arguments = call

        async def outcome(method: Callable[..., Awaitable[Any]], *given: Any) -> Any:
            try:
                return await method(*given, *arguments)
            except Exception as error:
                return error

        ours = getattr(deferred.ControlClient(reactor, self.path, timeout), name)
        blocks = getattr(blocking.ControlClient(self.path, timeout), name)
        both = (outcome(ours), outcome(deferToThread, blocks))
        return await gatherResults([Deferred.fromCoroutine(each) for each in both])

    async def check(self, call: Call, expected: Any) -> None:
        if not isinstance(expected, type):
            self.assertEqual(await self.outcomes(call), [expected, expected])
            return
        first, second = await self.outcomes(call, 0.3 if expected is TimedOut else PATIENCE)
        self.assertIs(type(first), expected, first)
        self.assertEqual((type(second), vars(second)), (type(first), vars(first)))
        self.assertEqual(str(second), str(first))
        self.assertEqual(first.path, self.path)
        self.assertIn(self.path, str(first))
        self.assertTrue(str(first).isprintable(), str(first))


class BothClientsTests(BothClientsTestCase):
    async def test_the_two_clients_raise_the_same_errors(self) -> None:
        for name, (treat, call, expected) in CASES.items():
            with self.subTest(name), impostor(self.path, treat):
                await self.check(call, expected)
            os.unlink(self.path)

    async def test_a_client_that_is_turned_away_always_reads_why(self) -> None:
        # The daemon may close before the command is sent, after, or in between.
        self.listen(turn_away)
        for _ in range(100):
            await self.check(("pause",), ErrorReply)

    async def timed_out(self, *calls: Call) -> list[Any]:
        """Return the errors of both clients for calls that get no reply, made at once."""
        self.listen(say_nothing)
        calling = [Deferred.fromCoroutine(self.outcomes(call, 0.3)) for call in calls]
        return [error for errors in await gatherResults(calling) for error in errors]

    async def test_a_command_that_may_still_be_carried_out_is_named(self) -> None:
        for error, name in zip(
            await self.timed_out(
                ("pause",), ("resume",), ("reload",), ("send", "FLUSH", "all", "of it")
            ),
            ("PAUSE", "PAUSE", "RESUME", "RESUME", "RELOAD", "RELOAD", "FLUSH", "FLUSH"),
            strict=True,
        ):
            self.assertEqual(error.pending, name)
            self.assertIn(f"may still carry out {name}", str(error))

    async def test_a_command_that_only_asks_is_not_pending(self) -> None:
        for error in await self.timed_out(("status",), ("commands",), ("send", "status")):
            self.assertIsNone(error.pending)
            self.assertNotIn("carry out", str(error))

    async def test_what_is_not_one_line_of_512_bytes_is_not_sent(self) -> None:
        self.listen(say_nothing)
        for call in (("send", "A\nB"), ("send", "A", "b\nc"), ("send", "A", "é" * 256)):
            for error in await self.outcomes(call):
                self.assertIs(type(error), ValueError)


class RefusedOnMacTests(BothClientsTestCase):
    """A refused connection on a simulated macOS, which refuses also if the backlog is full."""

    def setUp(self) -> None:
        super().setUp()
        leave_stale(self.path)
        self.asked = 0
        self.is_held = True
        self.patch(sys, "platform", "darwin")
        self.patch(darwin, "is_locked", self.is_locked)

    def is_locked(self, path: str) -> bool:
        self.assertEqual(path, f"{self.path}.lock")
        self.asked += 1
        return self.is_held

    async def test_while_the_lock_is_held_both_clients_wait(self) -> None:
        await self.check(("status",), TimedOut)
        self.assertGreater(self.asked, 2)

    async def test_if_the_lock_is_free_nothing_runs(self) -> None:
        self.is_held = False
        await self.check(("status",), StaleSocket)

    async def test_if_the_lock_cannot_be_asked_nothing_runs(self) -> None:
        def fail(path: str) -> bool:
            raise FileNotFoundError(path)

        self.patch(darwin, "is_locked", fail)
        await self.check(("status",), StaleSocket)

    async def test_a_daemon_that_has_room_again_answers_both(self) -> None:
        def make_room(path: str) -> bool:
            os.unlink(self.path)
            self.listen(answer(STATUS_LINE))
            return self.is_locked(path)

        self.patch(darwin, "is_locked", make_room)
        status = await deferred.ControlClient(reactor, self.path, PATIENCE).status()
        self.assertEqual(status.uptime_secs, 93784)
        os.unlink(self.path)
        leave_stale(self.path)
        client = blocking.ControlClient(self.path, PATIENCE)
        self.assertEqual((await deferToThread(client.status)).uptime_secs, 93784)
