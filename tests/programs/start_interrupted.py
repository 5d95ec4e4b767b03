"""Run ``palingenesis start``, and interrupt it when the daemon has just reported that it runs."""

from __future__ import annotations

import socket
import sys

from palingenesis.cli import start
from palingenesis.cli.main import main
from palingenesis.client.blocking import Deadline
from palingenesis.starting import READY

listen = start._Daemon.listen


def be_interrupted(self: start._Daemon, deadline: Deadline) -> None:
    """Raise what Ctrl-C raises, once."""
    setattr(start._Daemon, "listen", listen)  # noqa: B010
    self._connection.settimeout(deadline.remaining())
    assert READY.encode() in self._connection.recv(4096, socket.MSG_PEEK)
    raise KeyboardInterrupt


setattr(start._Daemon, "listen", be_interrupted)  # noqa: B010
sys.exit(main(["start"]))
