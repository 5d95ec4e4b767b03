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
from contextlib import contextmanager, suppress
from typing import Any

from palingenesis.daemon.logfile import PrivateLogFile
from palingenesis.daemon.pidfile import clear_unusable
from palingenesis.daemon.starter import Starter
from palingenesis.locate import SYSTEMD_DESCRIPTION, Location, serving_elsewhere
from palingenesis.paths import PathError, home_directory
from palingenesis.server.endpoints import SYSTEMD_PATTERN
from palingenesis.server.log import get_logger
from palingenesis.server.socketfile import SocketFile
from palingenesis.text import MESSAGE_LIMIT, printable
from palingenesis.trust import check_writable, distrusted, existing, make_private, remove_made

_log = get_logger(__name__)

#: Open files that a daemon on macOS allows itself, if the hard limit does.
DESCRIPTORS = 4096


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


def prepare_macos() -> None:
    """
    On macOS, choose Twisted's reactor on kqueue(2), and allow enough open files.

    Twisted's own choice there is select(2), which takes no descriptor above 1023; the soft limit
    is 256, and a client needs one. A reactor that ``twistd --reactor`` has installed stays.
    """
    if sys.platform == "darwin":
        import resource

        if "twisted.internet.reactor" not in sys.modules:
            from twisted.internet import kqreactor

            kqreactor.install()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            # Without them the daemon serves fewer clients, and says so to those over the limit.
            with suppress(OSError, ValueError):
                resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


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


def _twistd_files(twistd: Mapping[str, Any]) -> dict[str, str]:
    """Return the paths of the files that twistd writes, by option."""
    log = "" if twistd.get("syslog") or twistd.get("logger") else twistd.get("logfile")
    if log is None and not twistd.get("nodaemon"):
        log = "twistd.log"
    files = {"--pidfile": twistd.get("pidfile"), "--logfile": log}
    return {option: os.path.abspath(name) for option, name in files.items() if name and name != "-"}


def check_files(twistd: Mapping[str, Any], starter: Starter) -> None:
    """Check that twistd will be able to write its own files; nothing is made."""
    for option, path in _twistd_files(twistd).items():
        check_writable(path, _advice(option, starter))


def prepare_files(twistd: Mapping[str, Any], starter: Starter) -> PrivateLogFile | None:
    """
    Make the directories of twistd's files, open the log, and remove a stale PID file.

    The directories that were made are removed if the start fails.

    :returns: the log; None if twistd logs to elsewhere than a file.
    """
    log = None
    for option, path in _twistd_files(twistd).items():
        advice = _advice(option, starter)
        with _as_owner(os.path.dirname(path), twistd) as uid:
            atexit.register(remove_made, make_private(os.path.dirname(path), uid, advice))
            if option == "--logfile":
                try:
                    log = PrivateLogFile.fromFullPath(path)
                except PathError as error:
                    raise PathError(error.path, f"{error.reason}; {advice}") from error
                continue
        for text in clear_unusable(path, advice):
            _log.warn("{text}", text=text)
    return log


def check_user(twistd: Mapping[str, Any], state: str) -> None:
    """
    Check that twistd can become the user that its --uid names, and print whose files it uses.

    Home and state directory are found by the environment, which is still that of root.

    :param state: the state directory.
    """
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
    home = home_directory() or "/"
    advice = "set HOME to the home of that user"
    if not os.path.isdir(home) or os.stat(home).st_uid != uid:
        raise PathError(home, f"is not the home of uid {uid}; {advice}")
    place = existing(state)
    with _as_user(uid, twistd.get("gid")):
        if not os.access(place, os.W_OK, effective_ids=True):
            raise PathError(state, f"uid {uid} cannot write there; {advice}, or give --state DIR")
    print(
        f"palingenesis: as uid {uid}, it uses the home {home} and the state directory {state}",
        file=sys.stderr,
    )


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


def _warnings(location: Location, file: SocketFile, uid: int | None) -> Iterator[str]:
    if file.closed_directory is not None:
        yield printable(
            f"mode {file.mode:04o} lets in other users, but the directory "
            f"{file.closed_directory} keeps them out; chmod it, or choose another path",
            MESSAGE_LIMIT,
        )
    for place, credentials in serving_elsewhere(location, uid):
        yield printable(
            f"{credentials or 'another process'} serves {place.path} already ({place.source}): "
            "programs that look there do not reach this daemon",
            MESSAGE_LIMIT,
        )


@contextmanager
def _as_owner(directory: str, twistd: Mapping[str, Any]) -> Iterator[int]:
    """Be the user that the daemon will be, if a directory is not safe for root's files."""
    uid = os.geteuid()
    if twistd.get("uid") is None or not distrusted(directory, uid):
        yield uid
        return
    with _as_user(twistd["uid"], twistd.get("gid")):
        yield twistd["uid"]


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
