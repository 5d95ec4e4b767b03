"""A daemon that starts one revival, writes down who it is, and is then killed."""

from __future__ import annotations

import json
import os
import signal
import sys

from palingenesis.monitor.homes import Home
from palingenesis.monitor.revive import Command, start
from palingenesis.monitor.sessions import Identity
from palingenesis.monitor.times import Times


def main() -> None:
    state, directory, session, *arguments = sys.argv[1:]
    revival = start(
        Command(arguments),
        Home("claude", "claude", "/none"),
        Identity(session, directory),
        state,
        Times(),
        lambda: None,
    )
    print(json.dumps([revival.pid, revival.began, revival.output]), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
