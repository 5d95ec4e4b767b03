"""The state directory: making it, and checking that it is private."""

from __future__ import annotations

import os
import stat

from palingenesis.paths import PathError
from palingenesis.trust import make_private


class StateError(PathError):
    """
    A file or directory of the monitor's state cannot be used.

    :ivar path: its path.
    :ivar reason: why it cannot be used, and what to do, in one line.
    """


def prepare_directory(path: str) -> None:
    """
    Make the state directory and its parents, private, if they are missing.

    :raises StateError: if it cannot be made, or if others can change it or a directory above it;
        see also `check_directory`.
    """
    try:
        make_private(path, os.geteuid(), "name another with --state")
        check_directory(path)
    except OSError as error:
        raise StateError(path, f"cannot make the state directory: {error.strerror}") from None
    except StateError:
        raise
    except PathError as error:
        raise StateError(path, f"the state directory: {error.reason}") from None


def check_directory(path: str) -> None:
    """
    Check that the state directory is private.

    :raises StateError: if it belongs to another user, or lets the group or others in (any bit of
        mode 0077).
    :raises OSError: if it is not there.
    """
    found = os.stat(path)
    if not stat.S_ISDIR(found.st_mode):
        raise StateError(path, "the state directory is not a directory; move it aside")
    if found.st_uid != os.geteuid():
        raise StateError(
            path, f"the state directory belongs to uid {found.st_uid}; name another with --state"
        )
    if found.st_mode & 0o077:
        raise StateError(
            path,
            f"the state directory has mode {stat.S_IMODE(found.st_mode):04o}, which lets other "
            "users in; run chmod 700 on it",
        )
