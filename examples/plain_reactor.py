"""A control socket in a program that has no application and no twistd: ``reactor.run()``."""

from typing import Any

from twisted.internet import reactor

from palingenesis import ControlService, DaemonState, SignalService
from palingenesis.server.clock import use_monotonic_time

# First of all: deadlines then do not depend on the wall clock.
use_monotonic_time(reactor)

control = ControlService(DaemonState(), "plain.sock")
signals = SignalService(control.reload)
control.startService()
signals.startService()

core: Any = reactor
core.addSystemEventTrigger("before", "shutdown", control.stopService)
core.run()
