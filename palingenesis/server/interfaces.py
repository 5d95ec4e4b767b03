"""What a daemon provides so that it can be controlled."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeAlias, TypeVar

from twisted.internet.defer import Deferred
from zope.interface import Interface

from palingenesis.wire import DaemonStatus

_T = TypeVar("_T")

#: A result now, or a Deferred or coroutine of it.
Answer: TypeAlias = _T | Deferred[_T] | Coroutine[Deferred[Any], Any, _T]


class CommandFailed(Exception):
    """
    A command that the daemon refuses; the client is told ``ERR: `` and the message.

    :ivar message: one plain line for the person who typed the command.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = str(message)


class IDaemonState(Interface):
    """
    A daemon as its control socket sees it.

    Each method may answer at once, with a Deferred, or with a coroutine. A refusal is
    raised (or the Deferred fails) as `CommandFailed`; any other exception is logged with
    its traceback, and the client is told only that the command failed.
    """

    def get_status() -> Answer[DaemonStatus]:
        """Tell how the daemon is."""

    def pause() -> Answer[None]:
        """Pause; when paused already, do nothing."""

    def resume() -> Answer[None]:
        """Resume; when not paused, do nothing."""

    def reload_config() -> Answer[None]:
        """Read the configuration again and apply it whole, or fail and change nothing."""
