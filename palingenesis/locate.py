"""Which socket is meant: one rule for the daemon and its clients."""

from __future__ import annotations

import os
from collections import namedtuple

from palingenesis.paths import (
    PathError,
    check_runtime,
    config_file,
    runtime_directories,
    socket_path,
)
from palingenesis.procfs import peer_credentials

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from palingenesis.procfs import Credentials

SOCKET_NAME = "palingenesis.sock"
SOCKET_VARIABLE = "PALINGENESIS_SOCKET"
#: The description of a socket that systemd handed over, for ``twistd palingenesis --endpoint``.
SYSTEMD_DESCRIPTION = "systemd:domain=UNIX:index=0"


class Location(namedtuple("Location", ("path", "source"))):
    """
    Where the socket is.

    :ivar path: its absolute path.
    :ivar source: what decides it, in words: ``--socket``, ``$PALINGENESIS_SOCKET``, ...
    """

    __slots__ = ()

    path: str
    source: str


def locate_socket(
    given: str | None = None, config: str | None = None, uid: int | None = None
) -> Location:
    """
    Find the path of the socket; nothing is created.

    :param given: the path a person gave, which decides.
    :param config: the configuration file to look in; the default one where None. It is
        read only when neither ``given`` nor ``$PALINGENESIS_SOCKET`` decides, and nothing
        but its ``socket`` counts.
    :param uid: the user whose socket it is; our own where None.
    :raises PathError: when the path cannot name a socket, see
        `palingenesis.paths.socket_path`, or the runtime directory is not safe to use.
    """
    if given is not None:
        return Location(socket_path(given), "--socket")
    if variable := os.environ.get(SOCKET_VARIABLE):
        return Location(socket_path(variable), f"${SOCKET_VARIABLE}")
    file = config or config_file()
    if file is not None and os.path.lexists(file):
        # Seldom is there one, and a client that starts has no time to lose.
        from palingenesis.config import socket_in

        if configured := socket_in(file):
            return Location(socket_path(configured), f"socket in {file}")
    uid = os.geteuid() if uid is None else uid
    directory, source = runtime_directories(uid)[0]
    check_runtime(directory, uid)
    return Location(socket_path(os.path.join(directory, SOCKET_NAME)), source)


def other_places(location: Location, uid: int | None = None) -> list[Location]:
    """
    List the sockets that exist at the other default places.

    A daemon that was started in another environment, by cron(8) or before a login, may
    serve there. None where the location is not itself a default place, because then
    somebody chose it.

    :param location: what `locate_socket` found.
    :param uid: the user whose sockets they are; our own where None.
    """
    uid = os.geteuid() if uid is None else uid
    places = [
        (directory, Location(os.path.join(directory, SOCKET_NAME), source))
        for directory, source in runtime_directories(uid)
    ]
    if location.source not in [place.source for _, place in places]:
        return []
    return [
        place
        for directory, place in places
        if place.path != location.path and os.path.lexists(place.path) and _is_safe(directory, uid)
    ]


def serving_elsewhere(
    location: Location, uid: int | None = None
) -> Iterator[tuple[Location, Credentials | None]]:
    """
    Yield the other default places at which a process listens, each with that process.

    The process is None where the kernel does not tell it.

    :param location: what `locate_socket` found.
    :param uid: the user whose sockets they are; our own where None.
    """
    import socket

    for place in other_places(location, uid):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.setblocking(False)
            try:
                connection.connect(place.path)
            except BlockingIOError:
                pass  # Its backlog is full, and so it is some process's.
            except OSError:
                continue
            yield place, peer_credentials(connection)


def _is_safe(directory: str, uid: int) -> bool:
    try:
        check_runtime(directory, uid)
    except PathError:
        return False
    return True
