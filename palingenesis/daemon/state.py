"""What the control socket controls here: the monitor, and the configuration."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from zope.interface import implementer

from palingenesis import __version__
from palingenesis.monitor.service import Monitor
from palingenesis.paths import PathError
from palingenesis.procfs import Credentials, client_in_words
from palingenesis.server.interfaces import CommandRefused, FixedKeys, IDaemonState
from palingenesis.text import VALUE_LIMIT, printable
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
        self,
        monitor: Monitor,
        reload: Callable[[], object],
        peer: Callable[[], Credentials | None],
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
            self._known, self._status = known, _status(*known)
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
        try:
            return self._reload()
        except PathError as error:
            # The path is cut rather than the reason behind it.
            raise CommandRefused(f"{printable(error.path, VALUE_LIMIT)}: {error.reason}") from error


def _status(
    paused: bool,
    current_session: str | None,
    worked: int,
    started: int,
    sessions: Mapping[str, int],
    next_revival: float | None,
    keeper: bool | int | None,
    ledger_warning: str | None,
    scan_warning: str | None,
    needs_you: int,
    known_sessions: int,
) -> DaemonStatus:
    extra = {
        Key.PID.value: os.getpid(),
        Key.VERSION.value: __version__,
        Key.SESSIONS.value: sessions,
        Key.NEXT_REVIVAL.value: next_revival,
        Key.KEEPER.value: keeper,
        Key.LEDGER.value: ledger_warning or OK_WORD,
        Key.SCAN.value: scan_warning or OK_WORD,
        Key.NEEDS_YOU.value: needs_you,
        Key.KNOWN_SESSIONS.value: known_sessions,
    }
    state = DaemonWord.PAUSED if paused else DaemonWord.MONITORING
    return DaemonStatus(state, None, current_session, worked, started, FixedKeys(extra))
