"""What the control socket needs of a daemon, of an application and of a reactor."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeAlias, TypeVar

from twisted.internet.defer import Deferred
from zope.interface import Interface, Invalid
from zope.interface.verify import verifyObject

from palingenesis.wire import DaemonStatus

_T = TypeVar("_T")

#: A result, or a Deferred or a coroutine of it.
Answer: TypeAlias = _T | Deferred[_T] | Coroutine[Any, Any, _T]


class CommandRefused(Exception):
    """
    Raised to refuse a command; the client gets ``ERR:`` and the message.

    :ivar message: one plain line for the user who sent the command.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = str(message)


class FixedKeys(dict[str, Any]):
    """
    Further keys of a `DaemonStatus` that never change, nor do their values.

    A status with such keys is rendered only once for as long as the state returns its equal.
    """


class IDaemonState(Interface):
    """
    A daemon as its control socket sees it.

    Each method may answer at once, with a Deferred, or with a coroutine. To refuse a command,
    it raises `CommandRefused` (or its Deferred fails with it). Any other exception is logged
    with its traceback, and the client learns only that the command failed.
    """

    def get_status() -> Answer[DaemonStatus]:
        """Return the daemon's status."""

    def pause() -> Answer[None]:
        """Pause; do nothing if paused already."""

    def resume() -> Answer[None]:
        """Resume; do nothing if not paused."""

    def reload_config() -> Answer[None]:
        """Read the configuration again and apply it whole, or raise and change nothing."""


class Controllable(Protocol):
    """
    A provider of `IDaemonState`, for type checkers without a plug-in.

    A class needs neither a base class nor a declaration: the four methods are enough.
    """

    def get_status(self) -> Answer[DaemonStatus]:
        """See `IDaemonState`."""

    def pause(self) -> Answer[None]:
        """See `IDaemonState`."""

    def resume(self) -> Answer[None]:
        """See `IDaemonState`."""

    def reload_config(self) -> Answer[None]:
        """See `IDaemonState`."""


class CommandRegistry(Protocol):
    """
    Anything that commands can be added to: a `ControlService`, or a harness in a test.

    For a function that adds an application's commands.
    """

    def command(
        self,
        name: str,
        handler: Callable[..., Any],
        summary: str,
        argument: str | None = None,
        *,
        audit: bool = True,
    ) -> None:
        """See `ControlService.command`."""


def check_state(state: object) -> None:
    """
    Check that a state has the methods of `IDaemonState`, declared or not.

    :raises TypeError: if it lacks one.
    """
    own_class = state if isinstance(state, type) else type(state)
    lacking = [name for name in IDaemonState.names() if not callable(getattr(state, name, None))]
    if lacking:
        why = f"it lacks {', '.join(lacking)}"
    else:
        try:
            verifyObject(IDaemonState, state, tentative=True)
        except Invalid as invalid:
            why = " ".join(str(invalid).split())
            if state is own_class:
                why = "it is a class; give an object of it"
        else:
            return
    raise TypeError(f"{own_class.__name__} does not provide IDaemonState: {why}")


class Clock(Protocol):
    """What deadlines need of a reactor: ``twisted.internet.interfaces.IReactorTime``."""

    def callLater(self, delay: float, call: Callable[..., object], /, *args: object) -> Any:
        """Call a function after a number of seconds; return an ``IDelayedCall``."""

    def seconds(self) -> float:
        """Return the time, in seconds from any beginning."""


class Reactor(Clock, Protocol):
    """What a listening port needs of a reactor: ``IReactorTime`` and ``IReactorFDSet``."""

    def addReader(self, reader: Any, /) -> None:
        """Watch for input."""

    def removeReader(self, reader: Any, /) -> None:
        """Stop watching for input."""

    def addWriter(self, writer: Any, /) -> None:
        """Watch for room to write."""

    def removeWriter(self, writer: Any, /) -> None:
        """Stop watching for room to write."""
