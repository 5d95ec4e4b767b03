"""
Run twistd, and end it as the reactor starts.

Usage: ``twistd_dying.py {loudly,silently} [ARGUMENT ...]``; the first word tells whether the log
has the error, and the arguments are twistd's.
"""

from __future__ import annotations

import os
import sys

from twisted.internet import reactor
from twisted.logger import Logger
from twisted.scripts.twistd import run

loudly = sys.argv.pop(1) == "loudly"


def die() -> None:
    """End without any clean-up."""
    if loudly:
        try:
            raise RuntimeError("out of luck")
        except RuntimeError:
            Logger().failure("Unhandled error")
    os._exit(1)


reactor.addSystemEventTrigger("before", "startup", die)
run()
