"""
The same status over HTTP: the control socket's resource, or a plain resource of twisted.web.

Usage: ``web_servers.py ours|plain SOCKET``. A TCP port beside the socket serves HTTP; its number is
in ``SOCKET.port``. The token of both is ``TOKEN``.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from twisted.internet import reactor
from twisted.web.resource import Resource
from twisted.web.server import Site

from palingenesis import ControlService, DaemonState
from palingenesis.web import ControlResource
from palingenesis.web.resource import HEADERS
from palingenesis.web.settings import Place
from palingenesis.web.site import WebService

TOKEN = "a-token-of-forty-three-characters-is-as-usual"


class Plain(Resource):
    """The same bytes, head and body, to any client."""

    isLeaf = True  # noqa: N815 - Twisted's name
    body = (
        b'{"state": "monitoring", "uptime_secs": 1, "current_session": null, "saves_count": 0, '
        b'"total_resumes": 0}\n'
    )

    def render_GET(self, request: Any) -> bytes:  # noqa: N802 - Twisted's name
        for name, value in HEADERS.items():
            request.setHeader(name, value)
        request.setHeader(b"content-type", b"application/json")
        request.responseHeaders.removeHeader(b"server")
        return self.body


def main() -> None:
    which, path = sys.argv[1:]
    loop: Any = reactor
    control = ControlService(DaemonState(), path)
    if which == "ours":
        web = WebService(loop, ControlResource(control, TOKEN))
        web.startService()
        web.listen([Place(host="127.0.0.1")])
        (place,) = web.addresses.values()
        port = place.port
    else:
        # As quiet as ours: an access log would be most of what is measured.
        site = Site(Plain())
        site.log = lambda _: None  # type: ignore[method-assign,assignment,misc]
        port = loop.listenTCP(0, site, interface="127.0.0.1", backlog=128).getHost().port
    with open(f"{path}.port.new", "w", encoding="ascii") as file:
        file.write(str(port))
    os.rename(f"{path}.port.new", f"{path}.port")
    control.startService()
    loop.addSystemEventTrigger("before", "shutdown", control.stopService)
    loop.run()


if __name__ == "__main__":
    main()
