"""Which socket a client asks."""

from __future__ import annotations

import os

from palingenesis.client.errors import SocketPathError
from palingenesis.locate import locate_socket
from palingenesis.paths import PathError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from palingenesis.locate import Location


def find_socket(path: str | os.PathLike[str] | None = None) -> Location:
    """
    Find the socket as the daemon itself does.

    :param path: the path that the user gave, if any.
    :raises SocketPathError: if the path cannot be a socket's.
    """
    try:
        return locate_socket(None if path is None else os.fspath(path))
    except PathError as error:
        raise SocketPathError(error.path, error.reason) from error
