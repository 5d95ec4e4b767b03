"""Functions that are called when something changes; without any, a change costs one test."""

from __future__ import annotations

from collections.abc import Callable

from palingenesis.server.log import get_logger

_log = get_logger(__name__)


class Observers:
    """
    The functions that are called at each change of one kind.

    An observer that raises is logged, and spoils nothing for the others.
    """

    __slots__ = ("_observers",)

    def __init__(self) -> None:
        self._observers: tuple[Callable[..., object], ...] = ()

    def __bool__(self) -> bool:
        return bool(self._observers)

    def add(self, observer: Callable[..., object]) -> Callable[[], None]:
        """
        Call a function at each change from now on.

        :returns: a function that ends it, and may be called twice.
        """
        self._observers = (*self._observers, observer)

        def remove() -> None:
            self._observers = tuple(each for each in self._observers if each is not observer)

        return remove

    def notify(self, *what: object) -> None:
        """Call each observer with what has changed."""
        for observer in self._observers:
            try:
                observer(*what)
            except Exception:
                _log.failure("An observer failed")
