"""
An application that embeds the service, as ``twistd -y`` runs it.

The methods of its state do what ``$TEST_BEHAVIOUR`` says, JSON: method to ``[kind, value]``.
``$TEST_SERVICE`` is what the service is given besides the state, JSON too.
"""

from __future__ import annotations

import json
import os
from typing import Any

from twisted.application.service import Application
from twisted.internet import defer, reactor, task
from twisted.python import log
from zope.interface import implementer

from palingenesis.server.interfaces import CommandRefused, IDaemonState
from palingenesis.server.service import ControlService
from palingenesis.server.signals import SignalService
from palingenesis.wire import DaemonStatus

TOLD = json.loads(os.environ["TEST_BEHAVIOUR"])
STATUS = DaemonStatus("monitoring", 1)


def behave(name: str, result: Any = None) -> Any:
    kind, value = TOLD.get(name, ("ok", None))
    log.msg(f"{name} begins")
    if kind == "raise":
        raise RuntimeError(value)
    if kind == "refuse":
        raise CommandRefused(value)
    if kind == "answer":
        return value
    if kind == "never":
        return defer.Deferred()
    if kind == "slow":

        def done() -> Any:
            log.msg(f"{name} is done")
            return result

        return task.deferLater(reactor, value, done)
    return result


@implementer(IDaemonState)
class State:
    get_status = staticmethod(lambda: behave("get_status", STATUS))
    pause = staticmethod(lambda: behave("pause"))
    resume = staticmethod(lambda: behave("resume"))
    reload_config = staticmethod(lambda: behave("reload_config"))


application = Application("test")
control = ControlService(State(), **json.loads(os.environ["TEST_SERVICE"]))
SignalService(control.reload).setServiceParent(application)
control.setServiceParent(application)
