"""``twistd jobs``: a plugin of its own, with a control socket in it."""

from typing import Any

from twisted.application.service import MultiService
from twisted.python import usage

from palingenesis import ControlService, DaemonState, SignalService


class Options(usage.Options):
    """The command line of ``twistd jobs``."""

    optParameters = [["socket", "s", "jobs.sock", "Path of the control socket."]]


def makeService(options: Any) -> MultiService:
    """Make the service."""
    service = MultiService()
    control = ControlService(DaemonState(), options["socket"])
    SignalService(control.reload).setServiceParent(service)
    control.setServiceParent(service)
    return service
