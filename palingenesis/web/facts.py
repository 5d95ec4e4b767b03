"""What HTTP serves of a daemon with sessions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol


class Facts(Protocol):
    """What a daemon with sessions knows beside its status; an application has none."""

    def sessions(self, state: str | None = None) -> Sequence[Any]:
        """Return the sessions, or those in a state, as ``SESSIONS`` does."""

    def log(self, count: int | None, since: float | None, session: str | None) -> Sequence[Any]:
        """Return the log's last entries, chosen as ``LOG`` does; None is not given."""

    def entries(self, after: int, most: int) -> Sequence[tuple[int, Any]]:
        """
        Return the log's entries with a number above this one, with their numbers, in order.

        :param most: how many entries at most; of more, the last ones.
        """

    def last_number(self) -> int:
        """Return the number of the newest entry; 0 without any."""

    def night(self, since: float) -> Any:
        """Return what happened since a time, as `palingenesis.web.night.svg` takes it."""

    def is_healthy(self) -> bool:
        """Return whether the daemon does what it is for."""
