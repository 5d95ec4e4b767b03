"""A state that is ready to use, and enough for most applications."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from zope.interface import implementer

from palingenesis.paths import PathError
from palingenesis.server.interfaces import CommandRefused, IDaemonState
from palingenesis.text import VALUE_LIMIT, printable
from palingenesis.wire import MONITORING, PAUSED, DaemonStatus


@implementer(IDaemonState)
class DaemonState:
    """
    Knows whether the daemon is paused, and counts what happens to sessions.

    :param reload: reads the configuration and applies it whole; a
        `palingenesis.paths.PathError` that it raises, such as a
        `palingenesis.config.ConfigError`, means that nothing has changed. Where None, there
        is nothing to reload, and RELOAD does nothing.
    :param extra: returns further keys for ``STATUS``, each value fit for JSON.
    """

    def __init__(
        self,
        reload: Callable[[], object] | None = None,
        *,
        extra: Callable[[], Mapping[str, Any]] | None = None,
    ) -> None:
        self._reload = reload
        self._extra = extra
        self._paused = False
        self._current_session: str | None = None
        self._saves_count = 0
        self._total_resumes = 0

    @property
    def paused(self) -> bool:
        """Whether the daemon is paused; the application looks at it before it acts."""
        return self._paused

    def session_became_current(self, name: str | None) -> None:
        """Note which session the daemon is busy with; None for none."""
        self._current_session = name

    def session_saved(self) -> None:
        """Note that a session was saved."""
        self._saves_count += 1

    def session_resumed(self) -> None:
        """Note that a session was resumed."""
        self._total_resumes += 1

    def get_status(self) -> DaemonStatus:
        """Return the state and the counts; the service fills in the uptime."""
        return DaemonStatus(
            PAUSED if self._paused else MONITORING,
            None,
            self._current_session,
            self._saves_count,
            self._total_resumes,
            None if self._extra is None else self._extra(),
        )

    def pause(self) -> None:
        """Pause."""
        self._paused = True

    def resume(self) -> None:
        """Resume."""
        self._paused = False

    def reload_config(self) -> Any:
        """
        Apply the configuration again.

        :raises CommandRefused: when it cannot be used; nothing has changed then.
        """
        if self._reload is None:
            return None
        try:
            return self._reload()
        except PathError as error:
            # The path is cut rather than the reason behind it.
            raise CommandRefused(f"{printable(error.path, VALUE_LIMIT)}: {error.reason}") from error
