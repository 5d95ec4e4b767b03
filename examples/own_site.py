"""
An application with a site of its own, in which its control socket is served over HTTP too.

Run it with ``twistd -ny own_site.py``. The site is on a Unix socket here; its own page is at
``/``, and status, commands, events and metrics are below ``/control/``::

    curl --unix-socket site.sock http://localhost/control/api/v1/status
    curl --unix-socket site.sock -X POST http://localhost/control/api/v1/commands/FLUSH
"""

from __future__ import annotations

import secrets
from typing import Any

from twisted.application.internet import StreamServerEndpointService
from twisted.application.service import Application
from twisted.internet import reactor
from twisted.internet.endpoints import serverFromString
from twisted.web.resource import Resource

from palingenesis import ControlService, DaemonState
from palingenesis.web import ControlResource
from palingenesis.web.site import BoundedSite

queue = ["mail", "fax"]


class Page(Resource):
    """The application's own page."""

    def render_GET(self, request: Any) -> bytes:  # noqa: N802, ARG002 - Twisted's name
        """Answer with the length of the queue."""
        return f"{len(queue)} jobs wait\n".encode()


control = ControlService(DaemonState(extra=lambda: {"jobs": len(queue)}), "site-control.sock")
control.command("FLUSH", queue.clear, "drop what waits", web=True)
control.metric("jobs_waiting", "gauge", "jobs that wait", lambda: len(queue))

# Twisted's interfaces are opaque to a type checker without the zope plug-in.
root: Any = Resource()
root.putChild(b"", Page())
# Over TCP a program needs the token; over a Unix socket, the kernel's word is enough.
root.putChild(b"control", ControlResource(control, secrets.token_urlsafe(32)))

application = Application("site")
control.setServiceParent(application)
site = serverFromString(reactor, "unix:site.sock:mode=600")
StreamServerEndpointService(site, BoundedSite(root, reactor)).setServiceParent(application)
