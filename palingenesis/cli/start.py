"""``palingenesis start``: run the daemon, and wait until it answers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from palingenesis.cli.exit_status import Exit, exit_status
from palingenesis.cli.format import complain
from palingenesis.cli.twistd import twistd_command
from palingenesis.client.blocking import ControlClient, Deadline
from palingenesis.client.errors import ClientError, InvalidReply, NotRunning
from palingenesis.locate import SYSTEMD_DESCRIPTION, locate_socket
from palingenesis.pathlock import holder
from palingenesis.paths import (
    STATE_VARIABLE,
    PathError,
    check_runtime,
    expand_home,
    runtime_directories,
    state_directory,
)
from palingenesis.procfs import command_of, has_ended
from palingenesis.text import MESSAGE_LIMIT, in_short, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

#: Seconds until the daemon has to answer: a busy machine takes its time to import Twisted.
START_TIMEOUT = 30.0
#: Seconds from one try to the next.
RETRY = 0.05

#: How much of what the daemon has logged is searched for the reason of its end, in bytes.
_LOG_LIMIT = 65_536
#: What a start prints that fails before twistd goes to the background.
_TOLD = "palingenesis: "
#: What twistd prints where a living twistd has the PID file.
_PIDFILE_IN_USE = "Another twistd server is running"
#: What twistd prints before the reason of a daemon that died in the background, as ``b'...'``.
_DIED = "An error has occurred: "
#: The class that it puts before a reason that is ours.
_START_FAILED = "__main__.StartFailed: "


def start(
    socket: str | None,
    config: str | None,
    state: str | None,
    timeout: float | None,
    foreground: bool,
) -> Exit:
    """
    Start the daemon, unless one answers already.

    In the foreground it serves the socket that a service manager hands over, sd_listen_fds(3),
    unless a path is given.

    :param socket: the path of the socket, or None to look for it.
    :param config: the configuration file, or None for the default one.
    :param state: the state directory, or None for the default one.
    :param timeout: seconds that the daemon has until it answers; None for `START_TIMEOUT`.
    :param foreground: whether to become the daemon, rather than to leave it in the background.
    :raises SocketPathError: when the path cannot be a socket's.
    """
    try:
        if config is not None:
            config = os.path.abspath(expand_home(config))
        directory = _state_directory(state)
        path = locate_socket(socket, config).path
    except PathError as error:
        complain(str(error))
        return Exit.USAGE
    except OSError as error:
        complain(f"the current directory cannot be used: {in_short(error)}")
        return Exit.USAGE
    client = ControlClient(path, START_TIMEOUT if timeout is None else timeout)
    inherits = foreground and socket is None and _is_activated()
    # An inherited socket accepts connections already, and nothing answers yet.
    running = None if inherits else _status(client)
    if isinstance(running, int):
        return _running_already(running, client)
    if running is not None and not isinstance(running, NotRunning):
        complain(str(running))
        return exit_status(running)
    options = ["palingenesis", "--state", directory]
    if socket is not None:
        options += ["--socket", path]
    if config is not None:
        options += ["--config", config]
    if inherits:
        options += ["--endpoint", SYSTEMD_DESCRIPTION]
    try:
        if foreground:
            _become([*twistd_command(), "-n", "--pidfile=", *options])
        pidfile, logfile = _files(path if socket is not None else None, directory)
        return _start(options, client, pidfile, logfile)
    except PathError as error:
        complain(f"cannot start the daemon: {error}")
    except OSError as error:
        name = printable(str(error.filename))
        complain(f"cannot start the daemon: {name}: {in_short(error)}")
    return Exit.USAGE


def _start(options: list[str], client: ControlClient, pidfile: str, logfile: str) -> Exit:
    deadline = Deadline(client.timeout)
    logged = os.path.getsize(logfile) if os.path.exists(logfile) else 0
    twistd = subprocess.Popen(  # noqa: S603
        [*twistd_command(), f"--pidfile={pidfile}", f"--logfile={logfile}", *options],
        # Not in the current directory: twistd looks for plugins and writes its files there.
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
    )
    try:
        told = twistd.communicate(timeout=client.timeout)[1].strip().splitlines()
    except subprocess.TimeoutExpired:
        return _no_answer("", client, logfile)
    if twistd.returncode:
        # Another start may have been first: its daemon has the lock before it answers.
        other = _wait(client, lambda: holder(f"{client.path}.lock") is not None, deadline)
        if isinstance(other, int):
            return _running_already(other, client)
        return _failed(told, pidfile, logfile, logged)
    for line in told:
        print(printable(line, MESSAGE_LIMIT), file=sys.stderr)
    pid = _read_pid(pidfile)
    # twistd has written its PID file by now; a daemon that ends removes it.
    answer = _wait(client, lambda: pid != 0 and not has_ended(pid), deadline)
    if isinstance(answer, int):
        print(f"started: {_pid_in_words(answer or pid)}, socket {printable(client.path)}")
        return Exit.DONE
    if answer is None:
        return _failed([], pidfile, logfile, logged)
    if isinstance(answer, NotRunning):
        return _no_answer(f" (pid {pid})", client, logfile)
    complain(str(answer))
    return Exit.NO_ANSWER


def _wait(
    client: ControlClient, lives: Callable[[], bool], deadline: Deadline
) -> int | ClientError | None:
    """
    Wait until a daemon answers.

    :returns: what `_status` does, or None where nobody lives that could answer.
    """
    while True:
        # Before the question: a daemon that answers and ends did answer.
        living = lives()
        answer = _status(client)
        # One that dies closes the connections that it has not come to accept.
        closed = isinstance(answer, InvalidReply) and not answer.received
        if not closed and not isinstance(answer, NotRunning):
            return answer
        if not living:
            return None
        try:
            time.sleep(min(RETRY, deadline.remaining()))
        except TimeoutError:
            return answer


def _status(client: ControlClient) -> int | ClientError:
    """Return the daemon's pid, 0 where it does not tell it, or why it does not answer."""
    try:
        pid = client.status().extra.get("pid")
    except ClientError as error:
        return error
    return pid if isinstance(pid, int) else 0


def _running_already(pid: int, client: ControlClient) -> Exit:
    print(f"already running: {_pid_in_words(pid)}, socket {printable(client.path)}")
    return Exit.DONE


def _no_answer(which: str, client: ControlClient, logfile: str) -> Exit:
    complain(
        f"the daemon{which} has not answered after {client.timeout:g} s, and may still do so; "
        f"its log is {printable(logfile)}"
    )
    return Exit.NO_ANSWER


def _failed(told: list[str], pidfile: str, logfile: str, logged: int) -> Exit:
    """Say why the daemon has ended, by what twistd printed and by what came in its log."""
    if told and told[-1].startswith(_TOLD):
        complain(printable(told[-1].removeprefix(_TOLD), MESSAGE_LIMIT))
        return Exit.USAGE
    if any(line.startswith(_PIDFILE_IN_USE) for line in told):
        pid = _read_pid(pidfile)
        complain(
            f"cannot start the daemon: the PID file {printable(pidfile)} is kept by pid {pid} "
            f"({command_of(pid) or 'command unknown'}), which serves another socket; stop that "
            "one, or give --socket another file name"
        )
        return Exit.USAGE
    # In the log, the error may yet be written when twistd has printed it.
    reason = _told_by_child(told) or _last_error(logfile, logged) or "it gave no reason"
    complain(
        f"the daemon died as it started: {printable(reason, MESSAGE_LIMIT)}; "
        f"see {printable(logfile)}"
    )
    return Exit.NOT_RUNNING


def _told_by_child(told: list[str]) -> str:
    """Find what a daemon has told the twistd that started it, or what that one died of itself."""
    for line in told:
        if line.startswith(_DIED):
            reason = line.removeprefix(_DIED).removeprefix("b")[1:-1]
            return reason.removeprefix(_START_FAILED).strip()
    return told[-1].strip() if told else ""


def _last_error(path: str, offset: int) -> str:
    """
    Find the last error in a log, or the last line of its traceback; nothing where there is none.

    :param offset: where to begin, in bytes; a shorter log has been rotated since.
    """
    try:
        with open(path, "rb") as file:
            file.seek(offset if offset <= os.fstat(file.fileno()).st_size else 0)
            lines = file.read(_LOG_LIMIT).decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    found, goes_on = "", False
    for line in lines:
        if not line.startswith("\t"):
            goes_on = "#error] " in line or "#critical] " in line
            found = line.partition("] ")[2] if goes_on else found
        elif goes_on and line.strip():
            found = line.strip()
    return found


def _state_directory(given: str | None) -> str:
    directory = state_directory(None if given is None else expand_home(given))
    if not os.path.isabs(directory):
        raise PathError(
            directory, f"no home directory is known; give --state DIR, or set {STATE_VARIABLE}"
        )
    return directory


def _files(socket: str | None, state: str) -> tuple[str, str]:
    """Name the PID file and the log file, and make their directories."""
    uid = os.geteuid()
    runtime, _source = runtime_directories(uid)[0]
    check_runtime(runtime, uid)
    for directory in runtime, state:
        os.makedirs(directory, 0o700, exist_ok=True)
    name = "palingenesis"
    if socket is not None:
        name = os.path.basename(socket).removesuffix(".sock") or name
    return os.path.join(runtime, f"{name}.pid"), os.path.join(state, "twistd.log")


def _is_activated() -> bool:
    """Return whether a service manager has handed a socket to this very process."""
    meant = os.environ.get("LISTEN_PID") == str(os.getpid())
    return meant and os.environ.get("LISTEN_FDS", "0") != "0"


def _become(command: list[str]) -> NoReturn:
    os.chdir("/")
    # Until twistd has loaded the plugin, which goes on so, a reload would kill the daemon.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP, signal.SIGUSR1])
    os.execv(command[0], command)  # noqa: S606


def _read_pid(path: str) -> int:
    try:
        with open(path, encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return 0


def _pid_in_words(pid: int) -> str:
    return f"pid {pid}" if pid else "pid unknown"
