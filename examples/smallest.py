"""
The smallest application with a control socket.

Run it with ``twistd -ny smallest.py``; ask it with ``palingenesis --socket smallest.sock status``.
"""

from twisted.application.service import Application

from palingenesis import ControlService, DaemonState

application = Application("smallest")
ControlService(DaemonState(), "smallest.sock").setServiceParent(application)
