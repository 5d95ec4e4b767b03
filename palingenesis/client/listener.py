"""The process that listens at a socket, in words for a person."""

from __future__ import annotations

from palingenesis.locate import serving_elsewhere
from palingenesis.procfs import has_ended

TYPE_CHECKING = False
if TYPE_CHECKING:
    from palingenesis.locate import Location
    from palingenesis.procfs import Credentials


def listener_in_words(credentials: Credentials | None) -> str:
    """
    Describe the process that listens at a socket.

    The kernel names the process that called listen(2). If that one has ended, another has
    inherited the socket, and a dead process is not worth naming.

    :param credentials: as the kernel names it to a client; None if it does not.
    """
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
        return f"{listener_in_words(credentials)}, listens at {place.path}"
    return None
