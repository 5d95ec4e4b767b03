"""
Serve a control socket, and the same over HTTP.

Usage: ``web_door.py DIRECTORY PLACE ...``. The token is in the directory, and the socket is
``control.sock`` there; ``CODE`` gives a code to log in with, ``EVENT`` adds an entry to the log,
and ``FLUSH`` and ``HOLD`` may be run over TCP. The sessions are those of ``sessions.json``, and a
line of the log that is JSON is an entry as a whole.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

from twisted.application.service import MultiService
from twisted.internet import reactor as global_reactor
from twisted.python import log

from palingenesis import ControlService, DaemonState, SignalService
from palingenesis.server.clock import use_monotonic_time
from palingenesis.web import Access, ControlResource
from palingenesis.web.keys import Keys, read_token
from palingenesis.web.settings import parse_place
from palingenesis.web.site import WebService


class Facts:
    """A log and sessions, each in a file."""

    def __init__(self, path: str, sessions: str) -> None:
        self._path = path
        self._sessions = sessions

    def _all(self) -> list[tuple[int, dict[str, Any]]]:
        if not os.path.exists(self._path):
            return []
        with open(self._path, encoding="utf-8") as file:
            return [(number, _entry(line.strip())) for number, line in enumerate(file, 1)]

    def add(self, event: str) -> None:
        """Add an entry."""
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(f"{event}\n")

    def sessions(self, _state: str | None = None) -> Any:
        """Return what is in the file; one session if there is none."""
        if not os.path.exists(self._sessions):
            return [{"id": "a", "state": "working"}]
        with open(self._sessions, encoding="utf-8") as file:
            return json.load(file)

    def entries(self, after: int, most: int) -> Sequence[tuple[int, Any]]:
        """Return the entries after a number."""
        return [entry for entry in self._all() if entry[0] > after][-most:]

    def last_number(self) -> int:
        """Return the number of the last entry."""
        return len(self._all())

    def log(self, count: int | None, since: float | None, session: str | None) -> Sequence[Any]:  # noqa: ARG002
        """Return the last entries."""
        return [entry for _, entry in self._all()[-(count or 20) :]]

    def night(self, since: float) -> dict[str, Any]:
        """Return a night in which one session waited, failed, and will be tried again."""
        now = time.time()
        return {
            "since": since,
            "now": now,
            "lanes": [
                {
                    "agent": "claude",
                    "session": "waiting-1",
                    "directory": "/srv/<img src=x onerror=document.title='broken'>",
                    "segments": [
                        {"what": "working", "from": since, "to": now - 3600},
                        {"what": "waiting", "from": now - 3600, "to": now},
                    ],
                    "marks": [{"at": now - 1700, "event": "failed", "words": "failed, attempt 1"}],
                    "planned": now + 600,
                }
            ],
        }

    def is_healthy(self) -> bool:
        """Return True."""
        return True


def _entry(line: str) -> dict[str, Any]:
    if line.startswith("{"):
        entry: dict[str, Any] = json.loads(line)
        return entry
    return {"event": line}


def fork() -> int:
    """Fork a child that sleeps, and return its pid."""
    pid = os.fork()
    if pid == 0:
        # The test reads the parent's output to its end.
        os.closerange(0, 3)
        time.sleep(600)
        os._exit(0)
    return pid


reactor: Any = global_reactor
use_monotonic_time(reactor)
log.startLogging(sys.stdout)
directory, *places = sys.argv[1:]
control = ControlService(DaemonState(), os.path.join(directory, "control.sock"))
keys = Keys(read_token(directory))
facts = Facts(os.path.join(directory, "log"), os.path.join(directory, "sessions.json"))
control.command("CODE", keys.issue_code, "make a code", audit=False)
control.command("EVENT", facts.add, "add an entry", "NAME")
control.command("FORK", fork, "fork a child that does nothing")
control.command("HOLD", lambda _: None, "leave a session alone", "ID", web=True)
control.command("FLUSH", lambda: {"dropped": 3}, "drop what waits", web=True)
web = WebService(reactor, ControlResource(control, access=Access(keys, control=True), facts=facts))
web.listen([parse_place(place) for place in places])
services = MultiService()
for service in (SignalService(control.reload), control, web):
    service.setServiceParent(services)
services.startService()
reactor.addSystemEventTrigger("before", "shutdown", services.stopService)
reactor.run()
