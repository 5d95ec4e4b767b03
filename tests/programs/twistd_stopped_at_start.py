"""
Run twistd, and send it SIGTERM in each phase of the reactor's start.

The arguments are twistd's.
"""

from __future__ import annotations

import os
import signal

from twisted.internet import reactor
from twisted.scripts.twistd import run

for phase in "before", "during", "after":
    reactor.addSystemEventTrigger(phase, "startup", os.kill, os.getpid(), signal.SIGTERM)
run()
