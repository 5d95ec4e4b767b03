"""
The PID file that twistd keeps, if it names no daemon.

twistd takes a PID file for a running daemon's whenever its PID is in use, and gives up if it
cannot read one. After a kill and a reboot, after a power cut, or in a container, in which the
next daemon gets the same PID, that is wrong: the socket's lock decides which daemon runs. Only
a file that a living twistd keeps is left alone.
"""

from __future__ import annotations

import os
import stat
import sys

from palingenesis.paths import PathError, move_aside, open_at_once
from palingenesis.procfs import arguments_of, command_of, directory_of, has_ended
from palingenesis.text import VALUE_LIMIT, in_short, printable

#: The longest content that a torn PID file can have, in bytes; more is something else.
_TORN_LIMIT = 32
#: The largest PID that kill(2) takes.
_PID_LIMIT = 2**31 - 1
#: The first words of a command line, one of which names twistd if it runs.
_COMMAND_WORDS = 5
#: What the name of a program that runs twistd begins with; a framework's Python is ``Python``.
_INTERPRETERS = ("python", "pypy", "twistd")


def check(path: str, advice: str) -> bytes | None:
    """
    Check that no living daemon keeps a PID file, and return what is in it; None if it is missing.

    :param advice: how to name another PID file.
    :raises PathError: when a living daemon keeps it, or when it is no regular file, or cannot
        be read.
    """
    try:
        with open(path, "rb", opener=open_at_once) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise PathError(path, f"is not a regular file; {advice}")
            content = file.read(_TORN_LIMIT + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise PathError(path, f"cannot be read: {in_short(error)}; {advice}") from error
    pid = _parse(content)
    if pid is not None and _is_kept_by(pid, path):
        name = command_of(pid) or "command unknown"
        raise PathError(
            path,
            f"the PID file of pid {pid} ({name}), which runs with another socket; "
            f"stop it, or {advice}",
        )
    return content


def clear_unusable(path: str, advice: str) -> list[str]:
    """
    Remove a PID file that no living daemon keeps.

    A file that is longer than a PID is some other file, and is moved aside.

    :param advice: how to name another PID file.
    :returns: what to log.
    :raises PathError: as `check` does, and when it cannot be removed.
    """
    content = check(path, advice)
    if content is None:
        return []
    shown = printable(path, VALUE_LIMIT)
    try:
        if len(content) > _TORN_LIMIT:
            moved = printable(move_aside(path), VALUE_LIMIT)
            return [f"The PID file {shown} was no PID file: moved it to {moved}"]
        os.unlink(path)
    except OSError as error:
        raise PathError(path, f"cannot be replaced: {in_short(error)}; {advice}") from error
    pid = _parse(content)
    held = "held no PID" if pid is None else f"named pid {pid}, which is no such daemon"
    return [f"The PID file {shown} {held}: removed it"]


def _parse(content: bytes) -> int | None:
    digits = content.strip()
    pid = int(digits) if digits.isdigit() and len(digits) <= _TORN_LIMIT else 0
    return pid if 0 < pid <= _PID_LIMIT else None


def _is_kept_by(pid: int, path: str) -> bool:
    """Return whether a process is a living twistd with this PID file, by its command line."""
    if pid == os.getpid() or has_ended(pid):
        return False
    arguments = arguments_of(pid)
    if not arguments and sys.platform == "darwin":
        # Another user's: of its command line, only the program's name is known.
        name = command_of(pid)
        return name is None or name.lower().startswith(_INTERPRETERS)
    if not arguments and not os.path.isdir("/proc/self"):
        return True  # Without proc(5), nothing more may be known about it.
    if not any(_is_twistd(word) for word in arguments[:_COMMAND_WORDS]):
        return False
    directory = directory_of(pid)
    if directory is None:
        return True  # It belongs to another user, and nothing more is known about it.
    kept = os.path.join(directory, _pidfile_of(arguments))
    return os.path.realpath(kept) == os.path.realpath(path)


def _is_twistd(word: str) -> bool:
    return word == "palingenesis.daemon" or os.path.basename(word).startswith(("twistd", "twisted"))


def _pidfile_of(arguments: list[str]) -> str:
    """Find the PID file that a command line of twistd names."""
    kept = "twistd.pid"
    for word, following in zip(arguments, [*arguments[1:], ""], strict=True):
        option, equals, value = word.partition("=")
        # getopt(3) takes any beginning that no other option has.
        if len(option) >= len("--pi") and "--pidfile".startswith(option):
            kept = value if equals else following
    return kept
