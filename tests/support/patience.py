"""Waiting for what has no event, on a machine that may be busy."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

_T = TypeVar("_T")


#: Seconds until what should take no time at all has failed; the machine may be busy.
PATIENCE = float(os.environ.get("PALINGENESIS_TEST_PATIENCE", "40"))

#: How often a test repeats what only chance brings about.
REPEATS = int(os.environ.get("PALINGENESIS_TEST_REPEATS", "1"))


def wait_until(is_so: Callable[[], _T], what: str, patience: float = PATIENCE) -> _T:
    """Look again and again until something is so, and return it; for what has no event."""
    end = time.monotonic() + patience
    while True:
        found = is_so()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"not within {patience:g} s: {what}")
        time.sleep(0.01)


@contextlib.contextmanager
def in_background(do: Callable[[threading.Event], None]) -> Iterator[None]:
    """Do something in a thread, again and again, for as long as the block lasts."""
    over = threading.Event()
    thread = threading.Thread(target=do, args=(over,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(PATIENCE)
