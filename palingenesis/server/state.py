"""The default daemon: it watches over the sessions of AI coding agents."""

from __future__ import annotations

import time
from collections.abc import Callable

from zope.interface import implementer

from palingenesis.config import ConfigError
from palingenesis.server.interfaces import CommandFailed, IDaemonState
from palingenesis.text import printable
from palingenesis.wire import MONITORING, PAUSED, DaemonStatus

#: How much of the path of a configuration is shown, in characters.
SHOWN_LIMIT = 150


@implementer(IDaemonState)
class DaemonState:
    """
    Counts what happens to sessions, and tells whether to go on watching them.

    Whatever watches the sessions reports to it, and looks at `paused` before it acts.

    :param reload: reads the configuration and applies it whole; a `ConfigError` it raises
        means that nothing has changed. Where None, there is nothing to reload.
    :param monotonic: tells seconds, from any beginning, that never run backwards.
    """

    def __init__(
        self,
        reload: Callable[[], None] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reload = reload
        self._monotonic = monotonic
        self._started = monotonic()
        self._paused = False
        self._current_session: str | None = None
        self._saves_count = 0
        self._total_resumes = 0

    @property
    def paused(self) -> bool:
        """Whether sessions are left alone for now."""
        return self._paused

    def session_became_current(self, name: str | None) -> None:
        """Note which session is watched now; None when it is none."""
        self._current_session = name

    def session_saved(self) -> None:
        """Note that a session was saved."""
        self._saves_count += 1

    def session_resumed(self) -> None:
        """Note that a session was resumed."""
        self._total_resumes += 1

    def get_status(self) -> DaemonStatus:
        """Tell the state, the uptime and the counts."""
        return DaemonStatus(
            PAUSED if self._paused else MONITORING,
            int(self._monotonic() - self._started),
            self._current_session,
            self._saves_count,
            self._total_resumes,
        )

    def pause(self) -> None:
        """Pause."""
        self._paused = True

    def resume(self) -> None:
        """Resume."""
        self._paused = False

    def reload_config(self) -> None:
        """
        Apply the configuration as it is now.

        :raises CommandFailed: when it cannot be used; nothing has changed then.
        """
        if self._reload is None:
            return
        try:
            self._reload()
        except ConfigError as error:
            # The path is cut rather than the reason behind it.
            path = printable(error.path, SHOWN_LIMIT)
            raise CommandFailed(f"{path}: {error.reason}") from error
