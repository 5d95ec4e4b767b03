"""
An application that embeds the service, as ``twistd -y`` runs it.

The methods of its state, and its command FLUSH, do what ``$TEST_BEHAVIOUR`` says, JSON: method
to ``[kind, value]``. ``$TEST_SOCKET`` is the path, or ``$TEST_ENDPOINT`` what to listen on
instead, and ``$TEST_LIMITS`` its limits, JSON.
"""

from __future__ import annotations

import json
import os
from typing import Any

from twisted.application.service import Application
from twisted.internet import defer, reactor, task
from twisted.python import log

from palingenesis import CommandRefused, ControlService, DaemonState, Limits, SignalService

TOLD = json.loads(os.environ["TEST_BEHAVIOUR"])

gates: list[defer.Deferred[None]] = []


async def meet(number: int) -> list[int | None]:
    """Wait until so many clients are here; return which one it is, before and after."""
    before = control.peer
    gate: defer.Deferred[None] = defer.Deferred()
    gates.append(gate)
    if len(gates) == number:
        for each in gates:
            reactor.callLater(0, each.callback, None)
    await gate
    return [peer.pid if peer else None for peer in (before, control.peer)]


def behave(name: str, result: Any = None) -> Any:
    kind, value = TOLD.get(name, ("ok", None))
    log.msg(f"{name} begins")
    if kind == "raise":
        raise RuntimeError(value)
    if kind == "refuse":
        raise CommandRefused(value)
    if kind == "answer":
        return value
    if kind == "exit":
        raise SystemExit(value)
    if kind == "stop":
        control.stopService()
    if kind == "meet":
        return meet(value)
    if kind == "never":
        return defer.Deferred()
    if kind == "slow":

        def done() -> Any:
            log.msg(f"{name} is done")
            return result

        return task.deferLater(reactor, value, done)
    return result


class State(DaemonState):
    def get_status(self) -> Any:
        return behave("get_status", super().get_status()._replace(uptime_secs=1))

    def pause(self) -> Any:
        return behave("pause", super().pause())

    def resume(self) -> Any:
        return behave("resume", super().resume())

    def reload_config(self) -> Any:
        return behave("reload_config")


application = Application("test")
endpoint = os.environ.get("TEST_ENDPOINT") or None
control = ControlService(
    State(),
    None if endpoint else os.environ["TEST_SOCKET"],
    endpoint=endpoint,
    limits=Limits(**json.loads(os.environ["TEST_LIMITS"])),
)
control.command(
    "FLUSH",
    lambda *queue: behave("flush", {"flushed": queue}),
    "drop what waits in a queue",
    argument="[QUEUE]",
)
SignalService(control.reload).setServiceParent(application)
control.setServiceParent(application)
