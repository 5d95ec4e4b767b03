"""An application with a command that forks a child, which exits as any program does."""

from __future__ import annotations

import os
import sys

from twisted.application.service import Application

from palingenesis import ControlService, DaemonState, SignalService

control = ControlService(DaemonState(), os.environ["TEST_SOCKET"])


def leave() -> None:
    """Fork a child that exits; what is registered for an exit runs in it."""
    if os.fork() == 0:
        try:
            sys.exit()
        finally:
            import atexit

            atexit._run_exitfuncs()
            os._exit(0)


control.command("LEAVE", leave, "fork a child that exits")
application = Application("exiting")
SignalService(control.reload).setServiceParent(application)
control.setServiceParent(application)
