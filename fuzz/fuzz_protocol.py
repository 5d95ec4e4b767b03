"""
Coverage-guided fuzzing of the server's protocol, over a transport in memory.

    pip install -e '.[fuzz]'
    python fuzz/fuzz_protocol.py -max_total_time=600

Whatever bytes come in whatever pieces, with whatever time between them and whatever kind of
answer from the daemon: one line comes out, printable and bounded, and no exception gets away.
"""

from __future__ import annotations

import json
import sys

import atheris

with atheris.instrument_imports(include=["palingenesis", "twisted.protocols.basic"]):
    from palingenesis import wire
    from palingenesis.config import Limits
    from palingenesis.testing import ControlHarness
    from palingenesis.words import DaemonWord

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher

from palingenesis.server.interfaces import CommandRefused

TIMEOUT = 5.0
HANDLER_TIMEOUT = 30.0
#: What JSON adds to the longest session that the fuzzer makes, escapes and all.
LONGEST = 8192


class Daemon:
    """Answers as the fuzzer has it answer."""

    clock: Clock

    def __init__(self, data: atheris.FuzzedDataProvider) -> None:
        self._data = data

    def _answer(self, good: object) -> object:
        data = self._data
        kind = data.ConsumeIntInRange(0, 6)
        if kind == 1:
            raise CommandRefused(data.ConsumeUnicode(200))
        if kind == 2:
            raise ValueError(data.ConsumeUnicode(50))
        if kind == 3:
            return data.ConsumeBytes(20)
        answer: Deferred[object] = Deferred()
        if kind == 4:
            self.clock.callLater(data.ConsumeIntInRange(0, 60), answer.callback, good)
            return answer
        if kind == 5:
            error = CommandRefused(data.ConsumeUnicode(200))
            self.clock.callLater(data.ConsumeIntInRange(0, 60), answer.errback, error)
            return answer
        return answer if kind == 6 else good

    def get_status(self) -> object:
        """Answer with any session and any further key."""
        data = self._data
        return self._answer(
            wire.DaemonStatus(
                data.PickValueInList([DaemonWord.MONITORING, DaemonWord.PAUSED, 'a "b" \\']),
                data.ConsumeIntInRange(0, wire.COUNT_LIMIT),
                data.ConsumeUnicode(100) if data.ConsumeBool() else None,
                extra={"x" + data.ConsumeUnicode(20): data.ConsumeUnicode(100)},
            )
        )

    def pause(self) -> object:
        """Answer, or not."""
        return self._answer(None)

    resume = reload_config = pause

    def own(self, *text: str) -> object:
        """Answer with any text, and what was sent."""
        return self._answer([*text, self._data.ConsumeUnicode(100)])


def check(raw: bytes) -> None:
    """See that what a client got is one line, and safe to print."""
    text = raw.decode("utf-8")
    if not text.endswith("\n") or not text[:-1].isprintable():
        raise AssertionError(f"not one printable line: {raw!r}")
    if text.startswith("ERR: "):
        if len(text) > len("ERR: \n") + wire.ERROR_LIMIT:
            raise AssertionError(f"too long: {raw!r}")
    elif text != "OK\n":
        json.loads(raw)
    if len(raw) > LONGEST:
        raise AssertionError(f"{len(raw)} bytes")


def fuzz_one_input(raw: bytes) -> None:
    """Let one client, with one daemon, do what the fuzzer thought of."""
    data = atheris.FuzzedDataProvider(raw)
    daemon = Daemon(data)
    harness = ControlHarness(
        daemon,
        limits=Limits(timeout=TIMEOUT, handler_timeout=HANDLER_TIMEOUT, max_connections=8),
    )
    daemon.clock = harness.clock
    harness.command("OWN", daemon.own, "anything", argument="[TEXT]")
    client = harness.connect()

    def closing() -> bool:
        return client.transport.disconnecting or client.transport.disconnected

    if data.ConsumeBool():
        client.send(data.PickValueInList([*(c.encode() for c in wire.Command), b"OWN"]))
    while data.remaining_bytes() and not closing():
        if data.ConsumeIntInRange(0, 7) == 0:
            harness.clock.advance(data.ConsumeIntInRange(0, 30) / 10)
        elif chunk := data.ConsumeBytes(data.ConsumeIntInRange(1, 600)):
            client.send(chunk)
    if data.ConsumeBool() and not closing():
        client.end_input()
    for _ in range(8):
        harness.clock.advance(10)
    check(client.received)
    if not closing():
        raise AssertionError("the client is still there")
    client.vanish()


def main() -> None:
    """Fuzz until told to stop; the options are libFuzzer's."""
    for observer in list(globalLogPublisher._observers):  # noqa: SLF001
        globalLogPublisher.removeObserver(observer)
    atheris.Setup(sys.argv, fuzz_one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
