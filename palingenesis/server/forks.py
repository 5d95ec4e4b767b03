"""What a forked child closes, since its parent goes on with it."""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet


class Started(Protocol):
    """A service that listens."""

    def forget(self) -> None:
        """In a forked child: close what is the parent's, and change nothing."""


#: The services of this process that a forked child must not keep open.
started_here: WeakSet[Started] = WeakSet()


def _forget_all() -> None:
    for service in list(started_here):
        service.forget()
    started_here.clear()


os.register_at_fork(after_in_child=_forget_all)
