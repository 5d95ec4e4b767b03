"""
An application with commands of the monitor's names, as ``twistd -y`` runs it.

``$TEST_SOCKET`` is the path, ``$TEST_REPLIES`` JSON: what each command replies, and the further
keys of ``STATUS``. ``LOG`` takes the number of entries, the last ones; other filters are ignored.
"""

from __future__ import annotations

import json
import os
from functools import partial
from typing import Any

from twisted.application.service import Application

from palingenesis.server.service import ControlService
from palingenesis.server.state import DaemonState

REPLIES: dict[str, Any] = json.loads(os.environ["TEST_REPLIES"])


def log(number: str = "") -> Any:
    return REPLIES["LOG"][-int(number if number.isdecimal() else "20") :]


def sessions(_filter: str = "") -> Any:
    return REPLIES["SESSIONS"]


application = Application("monitored")
extra = REPLIES.pop("STATUS", {})
control = ControlService(DaemonState(extra=lambda: extra), os.environ["TEST_SOCKET"])
for name, reply in REPLIES.items():
    if name == "LOG":
        control.command(name, log, "tell the last entries", "[FILTER]", audit=False)
    elif name == "SESSIONS":
        control.command(name, sessions, "list the sessions", "[FILTER]", audit=False)
    else:
        control.command(name, partial(json.loads, json.dumps(reply)), "reply", audit=False)
control.setServiceParent(application)
