"""What the control socket controls here: the monitor, and the configuration."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from zope.interface import implementer

from palingenesis import __version__
from palingenesis.monitor.service import Monitor
from palingenesis.procfs import Credentials, client_in_words
from palingenesis.server.interfaces import CommandRefused, FixedKeys, IDaemonState
from palingenesis.server.state import reload_or_refuse
from palingenesis.wire import DaemonStatus
from palingenesis.words import OK_WORD, DaemonWord, Key


@implementer(IDaemonState)
class MonitorState:
    """
    The state of ``twistd palingenesis``.

    :param monitor: the monitor that it controls.
    :param reload: reads the configuration and applies it whole; a `PathError` that it raises
        means that nothing has changed.
    :param peer: returns the client whose command is carried out, or None if it is unknown.
    """

    def __init__(
        self, monitor: Monitor, reload: Callable[[], object], peer: Callable[[], Credentials | None]
    ) -> None:
        self._monitor = monitor
        self._reload = reload
        self._peer = peer
        self._known: tuple[Any, ...] = ()
        self._status = DaemonStatus(DaemonWord.MONITORING)

    def get_status(self) -> DaemonStatus:
        """Return the monitor's status and counts; the service fills in the uptime."""
        monitor = self._monitor
        known = (
            monitor.paused,
            monitor.current_session,
            monitor.worked,
            monitor.started,
            monitor.sessions_by_state,
            monitor.next_revival,
            monitor.keeper,
            monitor.ledger_warning,
            monitor.scan_warning,
            monitor.needs_you,
            monitor.known_sessions,
        )
        if known != self._known:
            # Only then is a status made and rendered: clients ask more often.
            self._known, self._status = known, self._made()
        return self._status

    def pause(self) -> None:
        """
        Pause; the pause outlasts a restart.

        :raises CommandRefused: when the ledger cannot be written; the pause holds all the
            same, until this daemon stops.
        """
        if warning := self._monitor.pause(client_in_words(self._peer())):
            raise CommandRefused(f"Paused, but not for after a restart: {warning}")

    def resume(self) -> None:
        """
        Resume.

        :raises CommandRefused: when the ledger cannot be written; the pause is over all the
            same, until this daemon stops.
        """
        if warning := self._monitor.resume(client_in_words(self._peer())):
            raise CommandRefused(f"Resumed, but not for after a restart: {warning}")

    def reload_config(self) -> Any:
        """
        Apply the configuration again.

        :raises CommandRefused: when it cannot be used; nothing has changed then.
        """
        return reload_or_refuse(self._reload)

    def _made(self) -> DaemonStatus:
        monitor = self._monitor
        extra = {
            Key.PID.value: os.getpid(),
            Key.VERSION.value: __version__,
            Key.SESSIONS.value: monitor.sessions_by_state,
            Key.NEXT_REVIVAL.value: monitor.next_revival,
            Key.KEEPER.value: monitor.keeper,
            Key.LEDGER.value: monitor.ledger_warning or OK_WORD,
            Key.SCAN.value: monitor.scan_warning or OK_WORD,
            Key.NEEDS_YOU.value: monitor.needs_you,
            Key.KNOWN_SESSIONS.value: monitor.known_sessions,
        }
        return DaemonStatus(
            DaemonWord.PAUSED if monitor.paused else DaemonWord.MONITORING,
            None,
            monitor.current_session,
            monitor.worked,
            monitor.started,
            FixedKeys(extra),
        )
