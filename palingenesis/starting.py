"""
What ``palingenesis start`` and the daemon that it starts say to each other.

`start` passes one end of a pair of connected sockets to the daemon, and its descriptor in
`STARTER_VARIABLE`. The daemon sends lines of ``NAME=VALUE``, ends with ``READY`` or ``FAILED``, and
closes its end, as a process that dies does too. `start` sends `INTERRUPT` if it is interrupted:
a daemon that has not sent ``READY`` by then stops.
"""

from __future__ import annotations

#: The environment variable with the number of the descriptor.
STARTER_VARIABLE = "PALINGENESIS_STARTER"
#: The daemon serves; the value is its pid.
READY = "READY"
#: The start fails; the value is the reason.
FAILED = "FAILED"
#: An error that the daemon has logged, and from which it may die.
ERROR = "ERROR"
#: A warning for the person who starts the daemon.
WARNING = "WARNING"
#: What `start` sends.
INTERRUPT = b"INTERRUPT\n"
