"""``palingenesis start``: run the daemon, and wait until it answers."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from palingenesis.cli.exit_status import Exit, exit_status
from palingenesis.cli.format import complain
from palingenesis.cli.twistd import twistd_command
from palingenesis.client.blocking import ControlClient
from palingenesis.client.errors import ClientError, NotRunning, TimedOut
from palingenesis.client.listener import has_ended
from palingenesis.locate import locate_socket
from palingenesis.paths import PathError, check_runtime, runtime_directories, state_directory
from palingenesis.text import MESSAGE_LIMIT, in_short, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

#: Seconds until the daemon has to answer: a busy machine takes its time to import Twisted.
START_TIMEOUT = 30.0
#: Seconds from one try to the next.
RETRY = 0.05

#: What a start prints that fails before twistd goes to the background.
_TOLD = "palingenesis: "
#: What twistd prints before the reason of a daemon that died in the background.
_DIED = "An error has occurred: "


def start(
    socket: str | None,
    config: str | None,
    state: str | None,
    timeout: float | None,
    foreground: bool,
) -> Exit:
    """
    Start the daemon, unless one answers already.

    :param socket: the path of the socket, or None to look for it.
    :param config: the configuration file, or None for the default one.
    :param state: the state directory, or None for the default one.
    :param timeout: seconds that the daemon has until it answers; None for `START_TIMEOUT`.
    :param foreground: whether to become the daemon, rather than to leave it in the background.
    :raises SocketPathError: when the path cannot be a socket's.
    """
    if config is not None:
        config = os.path.abspath(os.path.expanduser(config))
    try:
        path = locate_socket(socket, config).path
    except PathError as error:
        complain(str(error))
        return Exit.USAGE
    client = ControlClient(path, START_TIMEOUT if timeout is None else timeout)
    running = _status(client)
    if isinstance(running, int):
        print(f"already running: {_pid_in_words(running)}, socket {path}")
        return Exit.DONE
    if not isinstance(running, NotRunning):
        complain(str(running))
        return exit_status(running)
    options = ["palingenesis", "--socket", path] if socket is not None else ["palingenesis"]
    if config is not None:
        options += ["--config", config]
    try:
        directory = state_directory(state)
        options += ["--state", directory]
        if foreground:
            _become([*twistd_command(), "-n", "--pidfile=", *options])
        pidfile, logfile = _files(path if socket is not None else None, directory)
    except PathError as error:
        complain(f"cannot start the daemon: {error}")
        return Exit.USAGE
    except OSError as error:
        complain(f"cannot start the daemon: {error.filename}: {in_short(error)}")
        return Exit.USAGE
    return _start(
        [f"--pidfile={pidfile}", f"--logfile={logfile}", *options], client, pidfile, logfile
    )


def _start(options: list[str], client: ControlClient, pidfile: str, logfile: str) -> Exit:
    # Not in the current directory: twistd looks for plugins and writes its files there.
    done = subprocess.run(  # noqa: S603
        [*twistd_command(), *options],
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
    )
    told = done.stderr.strip().splitlines()
    if done.returncode:
        reason = told[-1] if told else "twistd said nothing"
        if reason.startswith(_TOLD):
            complain(printable(reason.removeprefix(_TOLD), MESSAGE_LIMIT))
            return Exit.USAGE
        for line in told:
            # What the child told its parent, as twistd shows it; a remark follows it.
            reason = line.partition(_DIED)[2] or reason
        return _died(reason)
    for line in told:
        print(printable(line, MESSAGE_LIMIT), file=sys.stderr)
    return _wait(client, pidfile, logfile)


def _wait(client: ControlClient, pidfile: str, logfile: str) -> Exit:
    """Wait until the daemon answers, or has died."""
    end = time.monotonic() + client.timeout
    pid = _read_pid(pidfile)
    while True:
        answer = _status(client)
        if isinstance(answer, int):
            print(f"started: {_pid_in_words(answer or pid)}, socket {client.path}")
            return Exit.DONE
        pid = pid or _read_pid(pidfile)
        if pid and has_ended(pid):
            return _died(_last_line(logfile))
        if not isinstance(answer, NotRunning) or time.monotonic() > end:
            complain(str(answer))
            return Exit.NO_ANSWER
        time.sleep(RETRY)


def _status(client: ControlClient) -> int | ClientError:
    """Return the daemon's pid, 0 where it does not tell it, or why it does not answer."""
    try:
        pid = client.status().extra.get("pid")
    except TimedOut as error:
        return error
    except ClientError as error:
        return error
    return pid if isinstance(pid, int) else 0


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


def _died(reason: str) -> Exit:
    complain(f"the daemon died as it started: {printable(reason, MESSAGE_LIMIT)}")
    return Exit.NOT_RUNNING


def _last_line(path: str) -> str:
    """Return the last line of a log that says something."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 4096))
            lines = file.read().decode("utf-8", "replace").split("\n")
    except OSError as error:
        return f"{path}: {in_short(error)}"
    said = [line.strip() for line in lines if line.strip()]
    return said[-1] if said else f"{path} is empty"


def _become(command: list[str]) -> NoReturn:
    os.chdir("/")
    os.execv(command[0], command)  # noqa: S606


def _read_pid(path: str) -> int:
    try:
        with open(path, encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return 0


def _pid_in_words(pid: int) -> str:
    return f"pid {pid}" if pid else "pid unknown"
