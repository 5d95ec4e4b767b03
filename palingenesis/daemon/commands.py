"""The daemon's own commands SESSIONS, LOG and INSPECT, on the API of every application."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from twisted.internet.defer import maybeDeferred

from palingenesis import __version__
from palingenesis.monitor.ledger import ENTRIES_LIMIT
from palingenesis.monitor.listing import LogQuery, QueryError, SessionsQuery
from palingenesis.monitor.service import Monitor, SteeringError
from palingenesis.paths import PathError
from palingenesis.procfs import client_in_words
from palingenesis.server.interfaces import CommandRefused
from palingenesis.server.service import ControlService
from palingenesis.wire import REPLY_LIMIT
from palingenesis.words import Key


def add_commands(
    control: ControlService,
    monitor: Monitor,
    config_path: str | None,
    check_config: Callable[[], object],
    further: Callable[[], dict[str, Any]] = dict,
) -> None:
    """
    Add the monitor's commands to a control socket.

    :param config_path: where the configuration file is, or would be.
    :param check_config: reads the configuration; raises a `PathError` if there is a mistake in it.
    :param further: returns what else ``INSPECT`` shows.
    """

    def sessions(filter: str = "") -> list[dict[str, Any]]:  # noqa: A002 - its name in HELP
        with _queried("SESSIONS"):
            return fitting(monitor.sessions(SessionsQuery.parsed(filter)))

    def log(filter: str = "") -> list[dict[str, Any]]:  # noqa: A002 - its name in HELP
        with _queried("LOG"):
            entries = LogQuery.parsed(filter).chosen(monitor.log(ENTRIES_LIMIT))
        return fitting(reversed(entries))[::-1]

    def inspect() -> dict[str, Any]:
        mistake = None
        try:
            check_config()
        except PathError as error:
            mistake = error.reason
        return {
            Key.PID: os.getpid(),
            Key.VERSION: __version__,
            Key.CONFIGURATION: {
                Key.PATH: config_path,
                Key.EXISTS: config_path is not None and os.path.lexists(config_path),
                Key.MISTAKE: mistake,
            },
            **monitor.inspect(),
            **further(),
        }

    def steered(steer: Callable[[str, str], Any]) -> Callable[[str], Any]:
        async def handler(id: str) -> None:  # noqa: A002 - the argument's name in HELP
            peer = control.peer
            if peer is None or peer.uid not in (0, os.geteuid()):
                raise CommandRefused("only the daemon's own user and root may steer a session")
            try:
                await maybeDeferred(steer, id, client_in_words(peer))
            except SteeringError as error:
                raise CommandRefused(str(error)) from None

        return handler

    control.command("SESSIONS", sessions, "list the sessions of agents", "[FILTER]", audit=False)
    control.command("LOG", log, "show the last entries of the ledger", "[FILTER]", audit=False)
    control.command("INSPECT", inspect, "show what the daemon works with", audit=False)
    for name, steer, summary in (
        ("HOLD", monitor.hold, "leave a session alone"),
        ("RELEASE", monitor.release, "undo HOLD"),
        ("REVIVE", monitor.revive, "revive a session now"),
        ("END", monitor.end, "end a revival, and leave its session alone"),
    ):
        control.command(name, steered(steer), summary, "ID", web=True)


def fitting(values: Iterable[dict[str, Any]], limit: int = REPLY_LIMIT) -> list[dict[str, Any]]:
    """
    Take the first values that fit into one reply.

    :param limit: the longest reply, in bytes, newline included.
    """
    taken = []
    room = limit - len("[]\n")
    for value in values:
        # In ASCII a text is never shorter than in UTF-8.
        room -= len(json.dumps(value)) + len(", ")
        if room < 0:
            break
        taken.append(value)
    return taken


@contextmanager
def _queried(command: str) -> Iterator[None]:
    """Refuse a command whose filter cannot be understood."""
    try:
        yield
    except QueryError as error:
        raise CommandRefused(f"{command} {error}") from None
