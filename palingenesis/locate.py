"""The place of the socket: one rule for the daemon and its clients."""

from __future__ import annotations

import os
from collections import namedtuple

from palingenesis.paths import (
    PathError,
    check_runtime,
    config_file,
    runtime_directories,
    socket_path,
    state_directory,
)
from palingenesis.procfs import peer_credentials

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from palingenesis.procfs import Credentials

SOCKET_NAME = "palingenesis.sock"
SOCKET_VARIABLE = "PALINGENESIS_SOCKET"
#: The source of a place that the daemon itself has recorded.
RECORDED = "recorded by the daemon"
#: The description of a socket that systemd passes, for ``twistd palingenesis --endpoint``.
SYSTEMD_DESCRIPTION = "systemd:domain=UNIX:index=0"


class Location(namedtuple("Location", ("path", "source"))):
    """
    Where the socket is.

    :ivar path: its absolute path.
    :ivar source: what determines it, in words: ``--socket``, ``$PALINGENESIS_SOCKET``, ...
    """

    __slots__ = ()

    path: str
    source: str


def locate_socket(
    given: str | None = None, config: str | None = None, uid: int | None = None
) -> Location:
    """
    Find the path of the socket; nothing is created.

    :param given: the path that the user gave; it takes precedence.
    :param config: the configuration file; the default one if None. Only its ``socket`` is
        used, and only if there is neither ``given`` nor ``$PALINGENESIS_SOCKET``.
    :param uid: the user whose socket it is; our own if None.
    :raises PathError: if the path cannot name a socket, see
        `palingenesis.paths.socket_path`, or if the runtime directory is not safe to use.
    """
    if given is not None:
        return Location(socket_path(given), "--socket")
    if variable := os.environ.get(SOCKET_VARIABLE):
        return Location(socket_path(variable), f"${SOCKET_VARIABLE}")
    file = config or config_file()
    if file is not None and os.path.lexists(file):
        # Imported only if there is a file: a client has to start quickly.
        from palingenesis.config import socket_in

        if configured := socket_in(file):
            return Location(socket_path(configured), f"socket in {file}")
    uid = os.geteuid() if uid is None else uid
    directory, source = runtime_directories(uid)[0]
    check_runtime(directory, uid)
    return Location(socket_path(os.path.join(directory, SOCKET_NAME)), source)


def is_chosen(location: Location) -> bool:
    """Return whether the user named this socket: then any application may own it."""
    return location.source in ("--socket", f"${SOCKET_VARIABLE}")


def record_of(state: str) -> str:
    """Return the file in a state directory that has the path of the daemon's socket."""
    return os.path.join(state, "socket")


def recorded_place(state: str | None = None) -> Location | None:
    """
    Return where the daemon of a state directory listens, by its own record.

    The configuration may have named another socket when the daemon started.

    :param state: the state directory; the default one if None.
    """
    try:
        record = record_of(state or state_directory())
        with open(record, "rb") as file:
            return Location(socket_path(os.fsdecode(file.read().rstrip(b"\n"))), RECORDED)
    except (ImportError, OSError, PathError):
        return None


def serving_elsewhere(
    location: Location, uid: int | None = None
) -> Iterator[tuple[Location, Credentials | None]]:
    """
    Yield the other places at which a process listens, each with that process.

    A daemon that was started in another environment, by cron(8) or before a login, may serve at
    another default place, and one that was started with another configuration where its own
    record says. Nothing is yielded if the user chose the location for this command. The process
    is None if the kernel does not name it.

    :param location: what `locate_socket` returned.
    :param uid: the user whose sockets they are; our own if None.
    """
    import socket

    from palingenesis.pathlock import may_be_busy

    uid = os.geteuid() if uid is None else uid
    for place in _other_places(location, uid):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.setblocking(False)
            try:
                check_runtime(os.path.dirname(place.path), uid)
                connection.connect(place.path)
            except BlockingIOError:
                pass  # Its backlog is full: a process listens.
            except ConnectionRefusedError:
                if not may_be_busy(place.path):
                    continue
            except (OSError, PathError):
                continue
            yield place, peer_credentials(connection)


def _other_places(location: Location, uid: int) -> Iterator[Location]:
    if is_chosen(location):
        return
    defaults = [
        Location(os.path.join(directory, SOCKET_NAME), source)
        for directory, source in runtime_directories(uid)
    ]
    known = [location.path]
    if location.source in [place.source for place in defaults]:
        for place in defaults:
            if place.path not in known:
                known.append(place.path)
                yield place
    recorded = recorded_place() if uid == os.geteuid() else None
    if recorded is not None and recorded.path not in known:
        yield recorded
