"""
What is checked and claimed before twistd forks, while its output is still on the terminal.

Each check raises `palingenesis.paths.PathError` with the one line to show.
"""

from __future__ import annotations

import atexit
import os
import pwd
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from palingenesis.daemon.pidfile import clear_unusable
from palingenesis.daemon.starter import Starter
from palingenesis.locate import SYSTEMD_DESCRIPTION, Location, serving_elsewhere
from palingenesis.paths import PathError
from palingenesis.server.endpoints import SYSTEMD_PATTERN
from palingenesis.server.log import get_logger
from palingenesis.server.socketfile import SocketFile
from palingenesis.text import MESSAGE_LIMIT, printable

_log = get_logger(__name__)


def failed(why: object) -> SystemExit:
    """Return the SystemExit for a failed start, with the one line that says why."""
    return SystemExit(f"palingenesis: {printable(str(why), MESSAGE_LIMIT)}")


def prepare_process() -> None:
    """Prepare the process: a signal mask of its own, and descriptors for a lock that stays."""
    # Until they have handlers, a reload or a rotation of the log would kill the daemon that
    # is starting. An inherited mask would stay for good, in the agents too: daemon(7).
    signal.pthread_sigmask(signal.SIG_SETMASK, [signal.SIGHUP, signal.SIGUSR1])
    # twistd puts /dev/null over the first three as it goes to the background. If they were
    # closed, one of them would be our lock.
    while (spare := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(spare)


def check_endpoint(endpoint: str) -> None:
    """Check that an endpoint is an inherited Unix socket."""
    if not SYSTEMD_PATTERN.fullmatch(endpoint):
        # Only then do our promises about the file and about its clients hold.
        raise PathError(
            f"--endpoint {endpoint}",
            f"expected an inherited Unix socket, such as {SYSTEMD_DESCRIPTION}; "
            "to listen on a path, give --socket PATH",
        )


def _advice(option: str, starter: Starter) -> str:
    """Return how to name another file, by an option of the command that was typed."""
    if not starter:
        return f"name another with twistd {option}=FILE"
    return "give --state DIR" if option == "--logfile" else "give --socket another file name"


def check_files(twistd: Mapping[str, Any], starter: Starter) -> None:
    """Check that twistd will be able to write its own files."""
    files = {"--pidfile": twistd.get("pidfile"), "--logfile": twistd.get("logfile")}
    if not (twistd.get("nodaemon") or twistd.get("syslog") or twistd.get("logger")):
        files["--logfile"] = files["--logfile"] or "twistd.log"
    for option, name in files.items():
        if name and name != "-":
            path = os.path.abspath(name)
            advice = _advice(option, starter)
            if os.path.isdir(path):
                raise PathError(path, f"is a directory; {advice}")
            place = path if os.path.lexists(path) else os.path.dirname(path)
            if not os.access(place, os.W_OK):
                raise PathError(path, f"cannot be written; {advice}")


def check_user(twistd: Mapping[str, Any]) -> None:
    """Check that twistd can become the user that its --uid names."""
    uid = twistd.get("uid")
    if uid is None or uid == os.geteuid():
        return
    try:
        pwd.getpwuid(uid)
    except KeyError:
        # twistd looks up its groups, and would die of that after the fork.
        raise PathError(
            f"--uid {uid}", "no such user in the password file; add it, or name another"
        ) from None
    if os.geteuid() != 0:
        raise PathError(f"--uid {uid}", "only root can become another user; leave the option out")


def claim(location: Location, mode: int, twistd: Mapping[str, Any], starter: Starter) -> SocketFile:
    """
    Claim the socket, as the user that the daemon will be.

    The claim is rolled back when this process exits without having bound the socket. A
    socket in another root is claimed only when the daemon starts, because it is there.
    """
    file = SocketFile(location.path, mode)
    if twistd.get("chroot") is None:
        # twistd may yet fail to start: nothing stays behind then.
        atexit.register(file.roll_back)
        claim_as_user(file, twistd)
        for text in _warnings(location, file, twistd.get("uid")):
            _log.warn("{text}", text=text)
            if starter:
                starter.warn(text)
            elif not twistd.get("nodaemon"):
                # The log is elsewhere then.
                print(f"palingenesis: {text}", file=sys.stderr)
        file.closed_directory = None  # It has been reported.
    return file


def claim_as_user(file: SocketFile, twistd: Mapping[str, Any]) -> None:
    """Claim a socket, so that what is made for it belongs to the user the daemon will be."""
    with _as_user(twistd.get("uid"), twistd.get("gid")):
        file.claim()


def prepare_pidfile(twistd: Mapping[str, Any], starter: Starter) -> None:
    """Remove a PID file that would keep twistd from starting without a reason."""
    if path := twistd.get("pidfile"):
        for text in clear_unusable(path, _advice("--pidfile", starter)):
            _log.warn("{text}", text=text)


def _warnings(location: Location, file: SocketFile, uid: int | None) -> Iterator[str]:
    if file.closed_directory is not None:
        yield printable(
            f"mode {file.mode:04o} lets in other users, but the directory "
            f"{file.closed_directory} keeps them out; chmod it, or choose another path",
            MESSAGE_LIMIT,
        )
    for place, credentials in serving_elsewhere(location, uid):
        yield printable(
            f"{credentials or 'another process'} serves {place.path} already ({place.source}), the "
            "default place of programs started in another environment",
            MESSAGE_LIMIT,
        )


@contextmanager
def _as_user(uid: int | None, gid: int | None) -> Iterator[None]:
    """Be another user for a while, as far as files go: new files belong to that user."""
    if uid is None or uid == os.geteuid():
        yield
        return
    entry = pwd.getpwuid(uid)
    undo: list[Callable[[], None]] = []
    groups, own_gid, own_uid = os.getgroups(), os.getegid(), os.geteuid()
    try:
        os.initgroups(entry.pw_name, entry.pw_gid if gid is None else gid)
        undo.append(lambda: os.setgroups(groups))
        os.setegid(entry.pw_gid if gid is None else gid)
        undo.append(lambda: os.setegid(own_gid))
        os.seteuid(uid)
        undo.append(lambda: os.seteuid(own_uid))
        yield
    finally:
        for step in reversed(undo):
            step()
