"""
Commands that the daemon runs: their environment, their program, and their start.

`subprocess.Popen` does between fork and exec in C what a trampoline would do after it, and a
program that cannot be run is an error in the daemon instead of in a process nobody reads. It
asks waitpid(2) about its own pid alone, as Twisted's reapers do about theirs, so the two do
not take each other's children.
"""

from __future__ import annotations

import os
import signal
import stat
import subprocess
from collections.abc import Mapping, Sequence

from palingenesis.text import MESSAGE_LIMIT, printable

#: What a service manager means for the daemon alone; sd_notify(3), sd_listen_fds(3).
_OURS = ("WATCHDOG_", "LISTEN_")
_STOPPING = frozenset({signal.SIGHUP, signal.SIGINT, signal.SIGTERM})


class CommandError(Exception):
    """A command that cannot be started; its text says why, in one line."""

    def __init__(self, reason: str) -> None:
        super().__init__(printable(reason, MESSAGE_LIMIT))


def child_environment(
    inherited: Mapping[str, str], added: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Make a command's environment: the daemon's own, less its service manager's, and more."""
    kept = {
        name: value
        for name, value in inherited.items()
        if name != "NOTIFY_SOCKET" and not name.startswith(_OURS)
    }
    kept.update(added or {})
    return kept


def find_program(name: str, environment: Mapping[str, str]) -> str:
    """
    Find the program that a command names, in the ``PATH`` of its own environment.

    Relative entries of ``PATH`` are left out: they would mean the project's files.

    :param name: a name, an absolute path, or one that begins with ``~/``.
    :raises CommandError: when there is none that can be run.
    """
    if os.sep in name:
        path = os.path.expanduser(name)
        if not os.path.isabs(path):
            raise CommandError(f"{name}: a relative path; name the program or its absolute path")
        if reason := _unfit(path):
            raise CommandError(f"{path}: {reason}")
        return path
    reasons = []
    for directory in environment.get("PATH", os.defpath).split(os.pathsep):
        path = os.path.join(directory, name)
        if not name or not os.path.isabs(directory):
            continue
        reason = _unfit(path)
        if reason is None:
            return path
        if reason != _MISSING:
            reasons.append(f"{path}: {reason}")
    raise CommandError(
        reasons[0] if reasons else f"{name}: {_MISSING} in the daemon's PATH; name its path instead"
    )


_MISSING = "no such program"


def _unfit(path: str) -> str | None:
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return _MISSING
    except (OSError, ValueError) as error:
        return getattr(error, "strerror", None) or str(error)
    if not stat.S_ISREG(found.st_mode):
        return "not a file"
    return None if os.access(path, os.X_OK) else "not executable"


def current_umask() -> int:
    """
    Tell the process's umask, by setting it twice.

    ``twistd`` sets its own, 0077, when it goes to the background; a command that works for a
    person needs the one from before.
    """
    umask = os.umask(0o077)
    os.umask(umask)
    return umask


def start(
    arguments: Sequence[str],
    program: str,
    environment: Mapping[str, str],
    directory: str,
    *,
    stdin: int = subprocess.DEVNULL,
    output: int = subprocess.DEVNULL,
    umask: int = -1,
) -> subprocess.Popen[bytes]:
    """
    Start a command in a session of its own, with no descriptor of the daemon's but these.

    :param output: the descriptor for what it prints and for its errors.
    :param umask: its umask; the daemon's own where negative.
    :raises CommandError: when it cannot be started.
    """
    if signal.pthread_sigmask(signal.SIG_BLOCK, ()) & _STOPPING:
        # It would inherit the mask, and no polite signal could ever end it.
        raise CommandError("the daemon is starting or stopping")
    try:
        return subprocess.Popen(  # noqa: S603 - an argument list, no shell
            list(arguments),
            executable=program,
            env=dict(environment),
            cwd=directory,
            stdin=stdin,
            stdout=output,
            stderr=output,
            umask=umask,
            close_fds=True,
            restore_signals=True,
            start_new_session=True,
        )
    except OSError as error:
        raise CommandError(f"{error.filename or program}: {error.strerror}") from None
    except (ValueError, subprocess.SubprocessError) as error:
        raise CommandError(f"{program}: {error}") from None
