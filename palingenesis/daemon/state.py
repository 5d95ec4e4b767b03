"""What the control socket controls here: the monitor, and the configuration."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from zope.interface import implementer

from palingenesis import __version__
from palingenesis.monitor.service import Monitor
from palingenesis.paths import PathError
from palingenesis.procfs import Credentials
from palingenesis.server.interfaces import CommandRefused, IDaemonState
from palingenesis.text import VALUE_LIMIT, printable
from palingenesis.wire import MONITORING, PAUSED, DaemonStatus


@implementer(IDaemonState)
class MonitorState:
    """
    The state of ``twistd palingenesis``.

    :param monitor: what is controlled.
    :param reload: reads the configuration and applies it whole; a `PathError` that it raises
        means that nothing has changed.
    :param peer: tells the client whose command is carried out, where the kernel tells it.
    """

    def __init__(
        self,
        monitor: Monitor,
        reload: Callable[[], object],
        peer: Callable[[], Credentials | None],
    ) -> None:
        self._monitor = monitor
        self._reload = reload
        self._peer = peer

    def get_status(self) -> DaemonStatus:
        """Return what the monitor does, and its counts; the service fills in the uptime."""
        monitor = self._monitor
        return DaemonStatus(
            PAUSED if monitor.paused else MONITORING,
            None,
            monitor.current_session,
            monitor.worked,
            monitor.started,
            {
                "pid": os.getpid(),
                "version": __version__,
                "sessions": monitor.sessions_by_state,
                "next_revival": monitor.next_revival,
                "keeper": monitor.keeper,
                "ledger": monitor.ledger_trouble or "ok",
            },
        )

    def pause(self) -> None:
        """
        Pause, for after a restart too.

        :raises CommandRefused: when the ledger cannot be written; the pause holds all the
            same, until this daemon ends.
        """
        if trouble := self._monitor.pause(self._who()):
            raise CommandRefused(f"Paused, but not for after a restart: {trouble}")

    def resume(self) -> None:
        """
        Resume.

        :raises CommandRefused: when the ledger cannot be written; the pause is over all the
            same, until this daemon ends.
        """
        if trouble := self._monitor.resume(self._who()):
            raise CommandRefused(f"Resumed, but not for after a restart: {trouble}")

    def reload_config(self) -> Any:
        """
        Apply the configuration again.

        :raises CommandRefused: when it cannot be used; nothing has changed then.
        """
        try:
            return self._reload()
        except PathError as error:
            # The path is cut rather than the reason behind it.
            raise CommandRefused(f"{printable(error.path, VALUE_LIMIT)}: {error.reason}") from error

    def _who(self) -> str:
        peer = self._peer()
        return "an unknown client" if peer is None else f"uid {peer.uid}, pid {peer.pid}"
