"""The process that listens at a socket, in words for a person."""

from __future__ import annotations

import socket

from palingenesis.locate import serving_elsewhere
from palingenesis.procfs import has_ended, peer_credentials

TYPE_CHECKING = False
if TYPE_CHECKING:
    from palingenesis.locate import Location
    from palingenesis.procfs import Credentials


def listener_of(connection: socket.socket) -> str:
    """
    Describe the process that listens at the other end of a connection.

    The kernel names the process that called listen(2). If that one has ended, another has
    inherited the socket, and a dead process is not worth naming.
    """
    return _in_words(peer_credentials(connection))


def _in_words(credentials: Credentials | None) -> str:
    if credentials is None:
        return "a process that the kernel does not name"
    if credentials.pid and has_ended(credentials.pid):
        return "a process that inherited the socket"
    return str(credentials)


def listener_elsewhere(location: Location) -> str | None:
    """
    Find a daemon at a default place other than the location.

    The default place depends on the environment, so a daemon that was started by cron(8) or
    before a log-in may serve at another one.

    :returns: the process and its socket, or None if there is none.
    """
    for place, credentials in serving_elsewhere(location):
        return f"{_in_words(credentials)}, listens at {place.path}"
    return None
