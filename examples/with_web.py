"""
A web server that can be paused from its control socket.

Run it with ``twistd -ny with_web.py``; after ``palingenesis --socket web.sock pause`` it
answers 503 until ``resume``.
"""

from __future__ import annotations

from typing import Any

from twisted.application.internet import StreamServerEndpointService
from twisted.application.service import Application
from twisted.internet import reactor
from twisted.internet.endpoints import serverFromString
from twisted.web.resource import Resource
from twisted.web.server import Site

from palingenesis import ControlService, DaemonState


class Page(Resource):
    """Answers with a greeting, or with 503 while the state is paused."""

    isLeaf = True  # noqa: N815 - Twisted's name

    def __init__(self) -> None:
        super().__init__()
        self.served = 0
        self.state = DaemonState(extra=lambda: {"served": self.served})

    def render_GET(self, request: Any) -> bytes:  # noqa: N802 - Twisted's name
        """Answer a request."""
        if self.state.paused:
            request.setResponseCode(503)
            return b"paused\n"
        self.served += 1
        return b"hello\n"


page = Page()

application = Application("web")
ControlService(page.state, "web.sock").setServiceParent(application)
web = serverFromString(reactor, "unix:web-http.sock")
StreamServerEndpointService(web, Site(page)).setServiceParent(application)
