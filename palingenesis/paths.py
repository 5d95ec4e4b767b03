"""
Where the socket and the configuration file are: one rule for the daemon and its clients.

On Linux and macOS the places follow from the environment alone; elsewhere ``platformdirs``
knows them. It is imported only there, because that takes longer than asking the daemon.
"""

from __future__ import annotations

import os
import stat
import sys
from collections import namedtuple

from palingenesis.text import MESSAGE_LIMIT, printable

#: The longest path of a Unix socket, in bytes: ``sun_path`` less its NUL, unix(7).
PATH_LIMIT = 107 if sys.platform == "linux" else 103

#: The largest configuration file, in bytes.
SIZE_LIMIT = 1024 * 1024
SOCKET_NAME = "palingenesis.sock"
SOCKET_VARIABLE = "PALINGENESIS_SOCKET"


class PathError(Exception):
    """
    A path that cannot be used; its subclasses are about the file that is there.

    :ivar path: the path.
    :ivar reason: why it cannot be used, and what to do, in one line.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return printable(f"{self.path}: {self.reason}", MESSAGE_LIMIT)


class Location(namedtuple("Location", ("path", "rule"))):
    """
    Where the socket is.

    :ivar path: its absolute path.
    :ivar rule: what decided it, in words: ``--socket``, ``$PALINGENESIS_SOCKET``, ...
    """

    __slots__ = ()

    path: str
    rule: str


def locate_socket(
    given: str | None = None, config: str | None = None, uid: int | None = None
) -> Location:
    """
    Find the path of the socket; nothing is created.

    :param given: the path a person gave, which decides.
    :param config: the configuration file to look in; the default one where None. It is
        read only when neither ``given`` nor ``$PALINGENESIS_SOCKET`` decides.
    :param uid: whose socket it is; our own where None.
    :raises PathError: when the path is empty or too long for a socket, the runtime
        directory is not safe to use, or the configuration file cannot be used.
    """
    if given is not None:
        return Location(socket_path(given), "--socket")
    if variable := os.environ.get(SOCKET_VARIABLE):
        return Location(socket_path(variable), f"${SOCKET_VARIABLE}")
    if configured := _configured_socket(config):
        return Location(socket_path(configured), f"socket in {config or config_file()}")
    directory, rule = runtime_directory(os.geteuid() if uid is None else uid)
    return Location(socket_path(os.path.join(directory, SOCKET_NAME)), rule)


def socket_path(path: str) -> str:
    """
    Make a path absolute and see that it can name a socket.

    :raises PathError: when it is empty, holds a NUL, or is longer than `PATH_LIMIT` bytes.
    """
    if not path or "\0" in path:
        raise PathError(repr(path), "is not the path of a file")
    try:
        path = os.path.abspath(path)
    except OSError as error:
        raise PathError(path, f"the current directory is gone: {error.strerror}") from error
    size = len(os.fsencode(path))
    if size > PATH_LIMIT:
        raise PathError(
            path,
            f"{size} bytes is too long for a Unix socket ({PATH_LIMIT} at most); "
            "choose a shorter path",
        )
    return path


def runtime_directory(uid: int) -> tuple[str, str]:
    """
    Find a user's runtime directory, and say which rule led to it.

    :raises PathError: when the last resort, a directory in ``/tmp``, is not that user's alone.
    """
    if sys.platform == "linux":
        # The XDG Base Directory Specification has relative paths ignored.
        variable = os.environ.get("XDG_RUNTIME_DIR", "")
        if os.path.isabs(variable):
            return variable, "$XDG_RUNTIME_DIR"
        directory = f"/run/user/{uid}"
        if os.path.isdir(directory):
            return directory, "/run/user/UID"
    elif sys.platform != "darwin":
        import platformdirs

        return platformdirs.user_runtime_dir(), "the platform's runtime directory"
    # Not $TMPDIR: a service and a person's shell seldom agree about it.
    directory = f"/tmp/palingenesis-{uid}"  # noqa: S108 - checked to be ours alone
    _require_private(directory, uid)
    return directory, "/tmp/palingenesis-UID"  # noqa: S108


def config_file() -> str:
    """Find the path of the default configuration file, whether it exists or not."""
    if sys.platform == "linux":
        base = os.environ.get("XDG_CONFIG_HOME", "")
        if not os.path.isabs(base):
            base = os.path.expanduser("~/.config")
        directory = os.path.join(base, "palingenesis")
    else:
        import platformdirs

        directory = platformdirs.user_config_dir("palingenesis", appauthor=False)
    return os.path.join(directory, "config.toml")


def read_file(path: str) -> bytes:
    """
    Read a configuration file whole, and at once, whatever it is.

    :raises PathError: when it cannot be read, is no regular file, or is larger than
        `SIZE_LIMIT`.
    """
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise PathError(path, "is not a regular file; name another")
            content = file.read(SIZE_LIMIT + 1)
    except OSError as error:
        raise PathError(path, f"cannot be read: {error.strerror}") from error
    if len(content) > SIZE_LIMIT:
        raise PathError(path, f"is larger than {SIZE_LIMIT} bytes; name another")
    return content


def _open_at_once(path: str, flags: int) -> int:
    # A FIFO would hold us up until somebody writes to it.
    return os.open(path, flags | os.O_NONBLOCK)


def _configured_socket(config: str | None) -> str | None:
    path = config or config_file()
    if config is None and not os.path.lexists(path):
        return None
    # Parsing takes longer than all the rest, and seldom is this key there.
    if b"socket" not in read_file(path):
        return None
    from palingenesis.config import load_config

    return load_config(path).socket


def _require_private(directory: str, uid: int) -> None:
    advice = "set XDG_RUNTIME_DIR, or name a socket elsewhere"
    try:
        found = os.lstat(directory)
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(found.st_mode):
        raise PathError(directory, f"is not a directory; {advice}")
    if found.st_uid != uid:
        raise PathError(directory, f"belongs to uid {found.st_uid}, not to uid {uid}; {advice}")
    if found.st_mode & 0o077:
        raise PathError(directory, f"is open to others; chmod 0700 it, or {advice}")
