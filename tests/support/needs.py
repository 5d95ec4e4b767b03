"""What a test needs of the machine; where that is missing, the test is skipped."""

from __future__ import annotations

import os
import sys
from typing import TypeVar

_T = TypeVar("_T")


def needs_root(test: _T) -> _T:
    """Skip a test that has to be another user, where we are not root."""
    if os.geteuid() != 0:
        test.skip = "only root can act as another user"  # type: ignore[attr-defined]
    return test


def needs_linux(test: _T) -> _T:
    """Skip a test of what only Linux has."""
    if sys.platform != "linux":
        test.skip = "/proc and prlimit are Linux's"  # type: ignore[attr-defined]
    return test
