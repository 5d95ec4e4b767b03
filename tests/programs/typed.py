"""
What a type checker says of an application, without a plug-in: here it finds nothing.

Each error that is ignored has to be there: to ignore none is an error itself.
"""

from __future__ import annotations

from pathlib import Path

from twisted.internet.defer import Deferred, succeed

from palingenesis import (
    CommandRefused,
    CommandRegistry,
    ControlClient,
    ControlService,
    DaemonState,
    DaemonStatus,
    Limits,
)
from palingenesis.testing import ControlHarness


class AtOnce:
    """Declares nothing, and has the four methods."""

    def get_status(self) -> DaemonStatus:
        return DaemonStatus("draining", extra={"jobs": 3})

    def pause(self) -> None: ...

    def resume(self) -> None:
        raise CommandRefused("the disk is full")

    def reload_config(self) -> None: ...


class Later:
    """Answers with Deferreds and coroutines."""

    def get_status(self) -> Deferred[DaemonStatus]:
        return succeed(DaemonStatus("draining"))

    async def pause(self) -> None: ...

    async def resume(self) -> None: ...

    def reload_config(self) -> Deferred[None]:
        return succeed(None)


class NoStatus:
    pause = resume = reload_config = AtOnce.pause


class NoPause:
    get_status = AtOnce.get_status
    resume = reload_config = AtOnce.pause


class NoResume:
    get_status = AtOnce.get_status
    pause = reload_config = AtOnce.pause


class NoReload:
    get_status = AtOnce.get_status
    pause = resume = AtOnce.pause


class OtherStatus(AtOnce):
    def get_status(self) -> str:  # type: ignore[override]
        return "draining"


def flush(queue: str) -> dict[str, int]:
    return {queue: 0}


async def count() -> int:
    return 0


def add_commands(registry: CommandRegistry) -> None:
    registry.command("FLUSH", flush, "drop what waits in a queue", argument="QUEUE")
    registry.command("COUNT", count, "count what waits", audit=False)


def serve() -> None:
    control = ControlService(AtOnce(), Path("jobs.sock"), mode="0660", limits=Limits(timeout=1))
    add_commands(control)
    add_commands(ControlHarness(AtOnce()))
    ControlService(Later())
    ControlService(DaemonState(extra=lambda: {"jobs": 3}), endpoint="unix:jobs.sock")
    ControlService(NoStatus())  # type: ignore[arg-type]
    ControlService(NoPause())  # type: ignore[arg-type]
    ControlService(NoResume())  # type: ignore[arg-type]
    ControlService(NoReload())  # type: ignore[arg-type]
    ControlService(OtherStatus())  # type: ignore[arg-type]
    ControlService(None)  # type: ignore[arg-type]
    add_commands(AtOnce())  # type: ignore[arg-type]


def ask() -> None:
    client = ControlClient("jobs.sock")
    print(client.status().state, client.send("FLUSH", "mail"), client.commands()["COUNT"])
