"""
Paths: how one is written, where the default ones are, and which directory is safe.

The places depend on the environment alone, by the same rules on every system: those of the XDG
Base Directory Specification.
"""

from __future__ import annotations

import os
import stat
import sys
from enum import IntEnum

from palingenesis.procfs import user_in_words
from palingenesis.text import MESSAGE_LIMIT, in_short, printable

#: The longest path of a Unix socket, in bytes: ``sun_path`` less its NUL, unix(7).
PATH_LIMIT = 107 if sys.platform == "linux" else 103

#: The variable that has the state directory, unless the command line has it.
STATE_VARIABLE = "PALINGENESIS_STATE"


class PathError(Exception):
    """
    A path that cannot be used; its subclasses are about the file at the path.

    :ivar path: the path.
    :ivar reason: why it cannot be used, and what to do, in one line.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return printable(f"{self.path}: {self.reason}", MESSAGE_LIMIT)


class Exposure(IntEnum):
    """What other users can do to the files in a directory, the worst last."""

    #: Nothing: only the owner can enter the directory.
    PRIVATE = 0
    #: Reach them: the mode of each file decides.
    OPEN = 1
    #: Replace them, for the members of the directory's group.
    GROUP_WRITABLE = 2
    #: Replace them, for everybody.
    WORLD_WRITABLE = 3
    #: Replace them, for the user that owns the directory.
    FOREIGN = 4
    #: There is no directory.
    NO_DIRECTORY = 5


def exposure(found: os.stat_result, uid: int) -> Exposure:
    """
    Return what other users can do to a user's files in a directory.

    A directory that belongs to root is as safe as the user's own. The sticky bit keeps other
    users from replacing files that are not theirs, inode(7).

    :param found: the result of stat(2), or of lstat(2) if a symbolic link is to count as no
        directory.
    :param uid: the user.
    """
    mode = found.st_mode
    if not stat.S_ISDIR(mode):
        return Exposure.NO_DIRECTORY
    if found.st_uid not in (0, uid):
        return Exposure.FOREIGN
    if not mode & stat.S_ISVTX:
        if mode & stat.S_IWOTH:
            return Exposure.WORLD_WRITABLE
        if mode & stat.S_IWGRP:
            return Exposure.GROUP_WRITABLE
    return Exposure.OPEN if mode & 0o077 else Exposure.PRIVATE


def socket_path(path: str) -> str:
    """
    Make a path absolute and check that it can name a socket.

    ``~/`` is the home directory, and ``unix:PATH`` means PATH.

    :raises PathError: if it is empty, contains a NUL, is longer than `PATH_LIMIT` bytes,
        begins with ``@``, or is below a home directory that is not known.
    """
    path = expand(path)
    try:
        path = os.path.abspath(path)
    except OSError as error:
        raise PathError(path, f"the current directory is gone ({in_short(error)})") from error
    size = len(os.fsencode(path))
    if size > PATH_LIMIT:
        raise PathError(
            path,
            f"{size} bytes is too long for a Unix socket ({PATH_LIMIT} at most); "
            "choose a shorter path",
        )
    return path


def expand(path: str) -> str:
    """
    Expand ``~/`` and ``unix:`` in the path of a socket.

    :raises PathError: as `socket_path` does, except for the length.
    """
    path = path.removeprefix("unix:")
    if not path or "\0" in path:
        raise PathError(repr(path), "is not the path of a file")
    if path.startswith("@"):
        raise PathError(
            path,
            "is the name of an abstract socket, which has no owner and no mode; "
            f"give the path of a file, ./{path} if it is one",
        )
    return expand_home(path)


def expand_home(path: str) -> str:
    """
    Replace ``~/`` by the home directory, which a shell does not do in ``--option=~/x``.

    :raises PathError: if no home directory is known.
    """
    if not path.startswith("~/"):
        return path
    home = home_directory()
    if home is None:
        raise PathError(path, "no home directory is known; give an absolute path")
    return os.path.join(home, path[2:].lstrip("/"))


def home_directory() -> str | None:
    """Return our user's home: ``$HOME``, else that of the password file; None if unknown."""
    home = os.environ.get("HOME", "")
    if not os.path.isabs(home):
        import pwd

        try:
            home = pwd.getpwuid(os.getuid()).pw_dir
        except KeyError:
            return None
    return home if os.path.isabs(home) else None


def runtime_directories(uid: int) -> list[tuple[str, str]]:
    """
    Return a user's runtime directories, each with the name of its source.

    The first is the default one. A program that was started outside of a session of the
    user, by cron(8) for example, has another default than one inside of it.
    """
    found = []
    # By the XDG Base Directory Specification, relative paths are ignored.
    variable = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(variable):
        found.append((variable, "$XDG_RUNTIME_DIR"))
    directory = _of_the_session(uid)
    if directory != variable and os.path.isdir(directory):
        found.append((directory, "/run/user/UID"))
    # Not $TMPDIR: a service and the user's shell seldom have the same.
    found.append((_last_resort(uid), "/tmp/palingenesis-UID"))  # noqa: S108 - see check_runtime
    return found


def check_runtime(directory: str, uid: int) -> None:
    """
    Check that a runtime directory is safe; a missing one is.

    Only the one in ``/tmp`` is checked, because any user can have made that.

    :raises PathError: if it is not that user's alone.
    """
    if directory != _last_resort(uid):
        return
    advice = "set XDG_RUNTIME_DIR, or name a socket elsewhere"
    try:
        found = os.lstat(directory)
    except FileNotFoundError:
        return
    judged = exposure(found, uid)
    if judged is Exposure.NO_DIRECTORY:
        raise PathError(directory, f"is not a directory; {advice}")
    if found.st_uid != uid:
        raise PathError(
            directory, f"belongs to {user_in_words(found.st_uid)}, not to uid {uid}; {advice}"
        )
    if judged is not Exposure.PRIVATE:
        raise PathError(directory, f"is open to others; chmod 0700 it, or {advice}")


def _of_the_session(uid: int) -> str:
    return f"/run/user/{uid}"


def _last_resort(uid: int) -> str:
    return f"/tmp/palingenesis-{uid}"  # noqa: S108 - see check_runtime


def state_directory(given: str | None = None) -> str:
    """
    Return the path of the state directory; nothing is created.

    :param given: the path that the user gave. If None, ``$PALINGENESIS_STATE``; else below
        ``$XDG_STATE_HOME`` or ``~/.local/state``, on every system; without a home directory, a
        place in the runtime directory.
    :raises PathError: if it begins with ``~/`` and no home directory is known.
    """
    if path := given or os.environ.get(STATE_VARIABLE):
        return os.path.abspath(expand_home(path))
    base = _base("XDG_STATE_HOME", ".local/state")
    # A reboot clears the runtime directory, but a place below the current one would be worse.
    return os.path.join(base or runtime_directories(os.geteuid())[0][0], "palingenesis")


def config_file() -> str | None:
    """
    Return the path of the default configuration file, whether it exists or not.

    It is below ``$XDG_CONFIG_HOME`` or ``~/.config``, on every system. None if no home directory
    is known.
    """
    base = _base("XDG_CONFIG_HOME", ".config")
    return None if base is None else os.path.join(base, "palingenesis", "config.toml")


def unread_directory() -> str | None:
    """Return the directory in which macOS's programs keep files, and we none, if it exists."""
    if sys.platform == "darwin" and (home := home_directory()) is not None:
        path = os.path.join(home, "Library", "Application Support", "palingenesis")
        if os.path.lexists(path):
            return path
    return None


def _base(variable: str, below_home: str) -> str | None:
    """Return a base directory of the XDG specification, which has relative ones ignored."""
    base = os.environ.get(variable, "")
    if os.path.isabs(base):
        return base
    home = home_directory()
    return None if home is None else os.path.join(home, below_home)


def move_aside(path: str) -> str:
    """
    Rename a file to the first free one of ``PATH.moved-1``, ``PATH.moved-2``, ...

    :returns: its new path.
    :raises OSError: if it cannot be moved.
    """
    number = 1
    while True:
        aside = f"{path}.moved-{number}"
        try:
            # Unlike a rename, a link never replaces what is there.
            os.link(path, aside, follow_symlinks=False)
        except FileExistsError:
            number += 1
        else:
            os.unlink(path)
            return aside


def open_at_once(path: str, flags: int) -> int:
    """Open a file, as an opener of ``open``; a FIFO would wait until a process writes to it."""
    return os.open(path, flags | os.O_NONBLOCK)
