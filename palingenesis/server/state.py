"""A state that is ready to use, and enough for most applications."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from zope.interface import implementer

from palingenesis.paths import PathError
from palingenesis.server.interfaces import CommandRefused, IDaemonState
from palingenesis.text import VALUE_LIMIT, printable
from palingenesis.wire import DaemonStatus
from palingenesis.words import DaemonWord


@implementer(IDaemonState)
class DaemonState:
    """
    Holds whether the daemon is paused, and counts what happens to sessions.

    :param reload: reads the configuration and applies it whole. If it raises a
        `palingenesis.paths.PathError`, such as a `palingenesis.config.ConfigError`, nothing
        has changed. If None, RELOAD does nothing.
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
        """Whether the daemon is paused; the application checks it before it acts."""
        return self._paused

    def session_became_current(self, name: str | None) -> None:
        """Set the session that the daemon works on; None for none."""
        self._current_session = name

    def session_saved(self) -> None:
        """Count a session that was saved."""
        self._saves_count += 1

    def session_resumed(self) -> None:
        """Count a session that was resumed."""
        self._total_resumes += 1

    def get_status(self) -> DaemonStatus:
        """Return the state and the counts; the service fills in the uptime."""
        return DaemonStatus(
            DaemonWord.PAUSED if self._paused else DaemonWord.MONITORING,
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

        :raises CommandRefused: if it cannot be used; nothing has changed then.
        """
        return None if self._reload is None else reload_or_refuse(self._reload)


def reload_or_refuse(reload: Callable[[], object]) -> Any:
    """
    Call what applies a configuration, and return what it returns.

    :raises CommandRefused: if it raises a `PathError`: then nothing has changed.
    """
    try:
        return reload()
    except PathError as error:
        # The path is cut rather than the reason behind it.
        raise CommandRefused(f"{printable(error.path, VALUE_LIMIT)}: {error.reason}") from error
