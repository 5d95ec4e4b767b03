"""
Commands that the daemon runs: their environment, their program, and their start.

`subprocess.Popen` sets up the child in C between fork and exec, and reports a program that cannot
be run to the daemon. It calls waitpid(2) only for its own pids, as Twisted's reapers do for
theirs, so neither reaps the other's children.
"""

from __future__ import annotations

import os
import signal
import stat
import subprocess
from collections.abc import Mapping, Sequence

from palingenesis.text import MESSAGE_LIMIT, printable
from palingenesis.trust import distrusted

#: Beginnings of the variables that a service manager sets for the daemon only; sd_notify(3),
#: sd_listen_fds(3).
_OURS = ("WATCHDOG_", "LISTEN_")
_STOPPING = frozenset({signal.SIGHUP, signal.SIGINT, signal.SIGTERM})


class CommandError(Exception):
    """A command cannot be started; the text says why, in one line."""

    def __init__(self, reason: str) -> None:
        super().__init__(printable(reason, MESSAGE_LIMIT))


class ResourceError(CommandError):
    """What any command needs is missing: a process, a descriptor, or a file for its output."""


def child_environment(
    inherited: Mapping[str, str], added: Mapping[str, str] | None = None
) -> dict[str, str]:
    """
    Return a command's environment: the daemon's own without what its service manager set.

    :param added: variables that are set besides.
    """
    kept = {
        name: value
        for name, value in inherited.items()
        if name != "NOTIFY_SOCKET" and not name.startswith(_OURS)
    }
    kept.update(added or {})
    return kept


def find_program(name: str, environment: Mapping[str, str]) -> str:
    """
    Return the path of the program that a command names, by the ``PATH`` of its environment.

    Relative entries of ``PATH`` are ignored: they would name files of the project. So are
    directories that cannot be searched, and programs that other users can change.

    :param name: a name, an absolute path, or a path that begins with ``~/``.
    :raises CommandError: if there is no such program, or it cannot be run.
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
        if not name or not os.path.isabs(directory) or not os.access(directory, os.X_OK):
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
    if not os.access(path, os.X_OK):
        return "not executable"
    return distrusted(path, os.geteuid())


def current_umask() -> int:
    """
    Return the process's umask, which can only be read by setting it.

    ``twistd`` sets 0077 when it goes to the background; a command that does a person's work needs
    the umask from before.
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
    Start a command in a session of its own; it inherits these descriptors and no others.

    :param stdin: the descriptor of its standard input.
    :param output: the descriptor of its standard output and standard error.
    :param umask: its umask; the daemon's own if negative.
    :raises CommandError: if it cannot be started.
    :raises ResourceError: if no command can be.
    """
    if signal.pthread_sigmask(signal.SIG_BLOCK, ()) & _STOPPING:
        # The command would inherit the mask, and only SIGKILL could end it.
        raise ResourceError("the daemon is starting or stopping")
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
        if error.filename is None:
            # Not the program: fork(2), or the descriptors to it.
            raise ResourceError(f"no process can be started: {error.strerror}") from None
        reason = error.strerror
        if isinstance(error, FileNotFoundError) and os.path.exists(error.filename):
            reason = "the interpreter that its first line names is not there"
        raise CommandError(f"{error.filename}: {reason}") from None
    except (ValueError, subprocess.SubprocessError) as error:
        raise CommandError(f"{program}: {error}") from None


def start_with(
    given: bytes,
    arguments: Sequence[str],
    program: str,
    environment: Mapping[str, str],
    output: int = subprocess.DEVNULL,
) -> subprocess.Popen[bytes]:
    """
    Start a command in ``/`` as `start` does, with a text on its standard input.

    :param given: the text, far shorter than a pipe's buffer.
    """
    # The reading end is open here, so this write neither waits nor fails.
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb"):
        with os.fdopen(writer, "wb"):
            os.set_blocking(writer, False)
            os.write(writer, given)
        return start(arguments, program, environment, "/", stdin=reader, output=output)
