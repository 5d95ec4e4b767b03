"""A daemon that writes a ledger and kills itself before the call of the system it is told."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from palingenesis.monitor.ledger import Ledger, Stop, file
from palingenesis.monitor.times import Times
from palingenesis.words import Kind


def die_at(step: int) -> None:
    left = [step]
    for name in ("write", "fsync", "replace", "open", "close"):
        real = getattr(os, name)

        def call(*arguments: Any, real: Any = real) -> Any:
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments)

        setattr(os, name, call)


def main() -> None:
    directory, step, rotation = sys.argv[1:]
    file.ROTATION_SIZE = int(rotation)
    ledger = Ledger(directory, Times())
    tell, stdout = os.write, sys.stdout.fileno()
    die_at(int(step))
    if ledger.open():
        sys.exit(ledger.warning)
    for key in ("a", "b", "c"):
        stop = Stop("claude", "one", key, Kind.LIMIT, "/t/one.jsonl", "/home/you/app")
        attempt = ledger.intent(stop)
        tell(stdout, b"intent\n")
        ledger.started(attempt, 42, "7@boot", "/o/1.log")
        tell(stdout, b"started\n")
        ledger.worked(attempt)
        tell(stdout, b"worked\n")
    tell(stdout, b"done\n")


if __name__ == "__main__":
    main()
