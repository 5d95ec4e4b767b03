"""What a test needs of the machine; if that is missing, the test is skipped."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TypeVar

from palingenesis.monitor.owners import FIRST_NAMESPACE

_T = TypeVar("_T")


def _in_a_shared_volume(directory: str) -> bool:
    """Return whether processes that are not seen here may write to a directory."""
    try:
        isolated = os.readlink("/proc/self/ns/pid") != FIRST_NAMESPACE
    except OSError:
        return False
    return isolated and os.stat(directory).st_dev != os.stat("/").st_dev


def needs_root(test: _T) -> _T:
    """Skip a test that has to be another user, where we are not root."""
    if os.geteuid() != 0:
        test.skip = "only root can act as another user"  # type: ignore[attr-defined]
    return test


def needs_linux(why: str) -> Callable[[_T], _T]:
    """
    Skip a test of what only Linux has.

    :param why: why it shows nothing, or fails, on macOS.
    :raises TypeError: if it is given the test itself, which would never run then.
    """
    if callable(why):
        raise TypeError(f"a reason is needed: {why!r}")

    def decorate(test: _T) -> _T:
        if sys.platform != "linux":
            test.skip = why  # type: ignore[attr-defined]
        return test

    return decorate


def needs_revivals(test: _T) -> _T:
    """Skip a test of revivals below ``/tmp`` if the daemon rightly refuses all of them."""
    if _in_a_shared_volume("/tmp"):
        test.skip = "/tmp is a volume of a container: no owner is ever proven gone"  # type: ignore[attr-defined]
    return test
