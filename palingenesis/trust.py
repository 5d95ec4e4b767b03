"""Which files and directories other users cannot change, and directories made so."""

from __future__ import annotations

import os
import stat

from palingenesis.paths import PathError
from palingenesis.procfs import is_unmapped, user_in_words
from palingenesis.text import in_short

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_LOG_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK
#: Symbolic links that are followed on the way to one file, as many as the kernel follows.
_LINKS_LIMIT = 40


def distrusted(path: str, uid: int) -> str | None:
    """
    Return why other users can change what is at a path, in one line; None if they cannot.

    The file itself and every directory above it count, on both sides of symbolic links. Root and
    a group without other members are not others, and the sticky bit protects what is in
    a directory, inode(7). What does not exist is nobody's.

    :param uid: the user whose file it is.
    """
    for place in _places(path):
        try:
            found = os.lstat(place)
        except OSError:
            continue
        if stat.S_ISLNK(found.st_mode):
            continue  # Its directory counts, and its target.
        mode = stat.S_IMODE(found.st_mode)
        if found.st_uid not in (0, uid) and not is_unmapped(found.st_uid):
            return f"{place} belongs to {user_in_words(found.st_uid)}"
        if stat.S_ISDIR(found.st_mode) and mode & stat.S_ISVTX:
            continue
        if mode & stat.S_IWOTH:
            return f"{place} can be written to by all (mode {mode:04o})"
        if mode & stat.S_IWGRP and _has_others(found.st_gid, uid):
            return f"{place} can be written to by its group (mode {mode:04o})"
    return None


def make_private(path: str, uid: int, advice: str) -> list[str]:
    """
    Make a directory and its parents if they are missing, each with mode 0700.

    :param uid: the user whose directory it is.
    :param advice: how to name another one.
    :returns: the directories that were made, the outermost first.
    :raises PathError: when others can change it, or it cannot be made; then nothing was made.
    """
    missing = []
    place = path
    while not os.path.lexists(place):
        missing.append(place)
        place = os.path.dirname(place)
    if reason := distrusted(place, uid):
        raise PathError(path, f"{reason}; {advice}")
    made: list[str] = []
    try:
        for each in reversed(missing):
            try:
                os.mkdir(each, 0o700)
            except FileExistsError:
                continue  # Another start was first.
            made.append(each)
            # The umask may have taken even the owner's bits.
            os.chmod(each, 0o700)
    except OSError as error:
        remove_made(made)
        raise PathError(path, f"cannot be made: {in_short(error)}; {advice}") from error
    return made


def check_own_state(directory: str, uid: int) -> None:
    """
    Check that the state directory is, or can be, the user's own.

    :raises PathError: if others can change it.
    """
    if reason := distrusted(directory, uid):
        raise PathError(directory, f"cannot be the state directory: {reason}; give --state DIR")


def check_writable(path: str, advice: str) -> None:
    """
    Check that a file can be written, or made; nothing is made.

    :param advice: how to name another one.
    :raises PathError: if it cannot.
    """
    if os.path.isdir(path):
        raise PathError(path, f"is a directory; {advice}")
    if not os.access(existing(path), os.W_OK):
        raise PathError(path, f"cannot be written; {advice}")


def existing(path: str) -> str:
    """Return a path, or the nearest directory above it that exists."""
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    return path


def open_log(path: str, flags: int = 0) -> int:
    """
    Open a log to append to it: this user's alone, and never through a link.

    :param flags: further flags of open(2), such as ``O_CREAT``.
    :returns: the descriptor; the file has mode 0600 if it may be made.
    :raises PathError: when it cannot be opened, is a link, or belongs to another user.
    """
    try:
        descriptor = os.open(path, _LOG_FLAGS | flags, 0o600)
    except OSError as error:
        reason = "is a symbolic link" if os.path.islink(path) else in_short(error)
        raise PathError(path, f"the log cannot be opened: {reason}") from error
    try:
        found = os.fstat(descriptor)
        # A device, such as /dev/null, keeps its owner and mode.
        if not stat.S_ISCHR(found.st_mode):
            if not stat.S_ISREG(found.st_mode):
                raise PathError(path, "the log is not a regular file")
            if found.st_uid != os.geteuid():
                raise PathError(path, f"the log belongs to {user_in_words(found.st_uid)}")
            if flags & os.O_CREAT:
                os.fchmod(descriptor, 0o600)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def write_new(path: str, text: str) -> None:
    """
    Write a new file of mode 0600, or none.

    :raises OSError: if it cannot be written, or something is at its path.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with open(os.open(path, flags, 0o600), "w", encoding="utf-8") as file:
        try:
            # The umask may have taken even the owner's bits.
            os.fchmod(file.fileno(), 0o600)
            file.write(text)
            file.flush()
        except BaseException:
            os.unlink(path)
            raise


def remove_made(directories: list[str]) -> None:
    """Remove directories that `make_private` made, unless something is in them."""
    for each in reversed(directories):
        try:
            os.rmdir(each)
        except OSError:
            return


def _places(path: str) -> Iterator[str]:
    """Yield a path and every directory above it, and the same of each link's target."""
    ahead = [os.path.abspath(path)]
    seen = set()
    links = 0
    while ahead:
        place = ahead.pop()
        while place not in seen:
            seen.add(place)
            yield place
            if links < _LINKS_LIMIT and os.path.islink(place):
                links += 1
                target = os.readlink(place)
                ahead.append(os.path.normpath(os.path.join(os.path.dirname(place), target)))
            place = os.path.dirname(place)


def _has_others(gid: int, uid: int) -> bool:
    """Return whether a group has members besides a user and root, or cannot be looked up."""
    import grp
    import pwd

    try:
        members = {pwd.getpwnam(name).pw_uid for name in grp.getgrgid(gid).gr_mem}
    except KeyError:
        return True
    members |= {user.pw_uid for user in pwd.getpwall() if user.pw_gid == gid}
    return bool(members - {0, uid})
