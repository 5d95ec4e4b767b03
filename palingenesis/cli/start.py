"""``palingenesis start``: start the daemon, and wait until it answers."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import closing, suppress
from shlex import quote

from palingenesis.cli.exit_status import Exit, exit_status
from palingenesis.cli.format import complain
from palingenesis.cli.outcome import ALREADY_RUNNING, STARTED, in_words
from palingenesis.cli.twistd import twistd_command
from palingenesis.client.blocking import ControlClient, Deadline
from palingenesis.client.errors import ClientError, NotRunning
from palingenesis.locate import SYSTEMD_DESCRIPTION, is_chosen, locate_socket, recorded_place
from palingenesis.pathlock import holder, may_be_busy
from palingenesis.paths import (
    STATE_VARIABLE,
    PathError,
    check_runtime,
    expand_home,
    runtime_directories,
    state_directory,
)
from palingenesis.starting import ERROR, FAILED, INTERRUPT, READY, STARTER_VARIABLE, WARNING
from palingenesis.text import MESSAGE_LIMIT, in_short, printable
from palingenesis.words import Key

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from palingenesis.cli.outcome import Report
    from palingenesis.locate import Location

#: Seconds that the daemon has to start: a busy machine needs some to import Twisted.
START_TIMEOUT = 30.0
#: Seconds that an interrupted start waits for the daemon to give up.
INTERRUPT_TIMEOUT = 10.0
#: Seconds between two questions to a daemon that another start has started.
RETRY = 0.05


def start(
    given: str | None,
    config: str | None,
    state: str | None,
    timeout: float | None,
    foreground: bool,
    report: Report = in_words,
) -> Exit:
    """
    Start the daemon, unless one answers already.

    In the foreground it serves the socket that a service manager passes on, sd_listen_fds(3),
    unless a path is given.

    :param given: the path of the socket, or None to look for it.
    :param config: the configuration file, or None for the default one.
    :param state: the state directory, or None for the default one.
    :param timeout: seconds that the daemon has to start; None for `START_TIMEOUT`.
    :param foreground: whether this process becomes the daemon.
    :param report: reports a daemon that runs.
    """
    try:
        if config is not None:
            config = os.path.abspath(expand_home(config))
        directory = _state_directory(state)
        location = locate_socket(given, config)
        path = location.path
    except OSError as error:
        complain(f"the current directory cannot be used: {in_short(error)}")
        return Exit.USAGE
    client = ControlClient(path, START_TIMEOUT if timeout is None else timeout)
    inherits = foreground and given is None and _is_activated()
    # An inherited socket accepts connections already, and nothing answers yet.
    if not inherits and (status := _running(client, location, directory, report)) is not None:
        return status
    options = ["palingenesis", "--state", directory]
    if given is not None:
        options += ["--socket", path]
    if config is not None:
        options += ["--config", config]
    if inherits:
        options += ["--endpoint", SYSTEMD_DESCRIPTION]
    try:
        if foreground:
            _become([*twistd_command(), "-n", "--pidfile=", *options])
        pidfile, logfile = daemon_files(path if given is not None else None, directory)
        command = [*twistd_command(), f"--pidfile={pidfile}", f"--logfile={logfile}", *options]
        return _start(command, client, logfile, report)
    except PathError as error:
        complain(f"cannot start the daemon: {error}")
    except OSError as error:
        complain(f"cannot start the daemon: {printable(str(error.filename))}: {in_short(error)}")
    return Exit.USAGE


def daemon_files(given: str | None, state: str) -> tuple[str, str]:
    """Return the PID file and the log file; named by the socket's file name if that is given."""
    uid = os.geteuid()
    runtime, _source = runtime_directories(uid)[0]
    check_runtime(runtime, uid)
    pid, log = "palingenesis", "twistd"
    if given is not None:
        pid = log = os.path.basename(given).removesuffix(".sock") or pid
    return os.path.join(runtime, f"{pid}.pid"), os.path.join(state, f"{log}.log")


def _running(client: ControlClient, location: Location, state: str, report: Report) -> Exit | None:
    """Report a daemon that runs already, or why that is unknown; None if none runs."""
    running = _status(client)
    if isinstance(running, int):
        return _running_already(running, client, report)
    if not isinstance(running, NotRunning):
        complain(str(running))
        return exit_status(running)
    if reason := _stranded(location, state):
        complain(reason)
        return Exit.USAGE
    return None


class _Daemon:
    """
    A daemon that starts in the background, and what it reports.

    :param command: what starts it.
    :ivar pid: its pid once it serves, else 0.
    :ivar reason: why its start fails, in its own words; empty if it does not report that.
    :ivar error: the last error that it has logged.
    """

    def __init__(self, command: list[str]) -> None:
        self.pid = 0
        self.reason = self.error = ""
        self._output = tempfile.TemporaryFile()  # noqa: SIM115
        self._connection, theirs = socket.socketpair()
        with theirs:
            self._twistd = subprocess.Popen(  # noqa: S603
                command,
                # Not in the current directory: twistd looks for plugins and writes files there.
                cwd="/",
                env={**os.environ, STARTER_VARIABLE: str(theirs.fileno())},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=subprocess.STDOUT,
                # Ctrl-C at the terminal is for us: see `interrupt`.
                start_new_session=True,
            )

    def listen(self, deadline: Deadline) -> None:
        """
        Read what it reports until it serves, fails or dies.

        :raises TimeoutError: at the deadline.
        """
        received = b""
        while not (self.pid or self.reason):
            self._connection.settimeout(deadline.remaining())
            data = self._connection.recv(4096)
            if not data:
                break
            *lines, received = (received + data).split(b"\n")
            for line in lines:
                name, _, value = line.decode().partition("=")
                self._take(name, value)
        self._twistd.wait(deadline.remaining())

    def interrupt(self) -> None:
        """Have it stop, unless it serves by now; returns when it has, or `pid` is known."""
        with suppress(OSError):  # It has reported, and closed its end.
            self._connection.send(INTERRUPT)
        # After the timeout, it still stops as soon as it reads the message.
        with suppress(TimeoutError, subprocess.TimeoutExpired):
            self.listen(Deadline(INTERRUPT_TIMEOUT))

    def close(self) -> None:
        """Close what connects it with this process."""
        self._output.close()
        self._connection.close()

    def last_words(self) -> str:
        """Return the last line that twistd has printed."""
        self._output.seek(0)
        lines = self._output.read().decode("utf-8", "replace").strip().splitlines()
        return lines[-1].strip() if lines else ""

    def _take(self, name: str, value: str) -> None:
        if name == READY:
            self.pid = int(value)
        elif name == FAILED:
            self.reason = value
        elif name == ERROR:
            self.error = value
        elif name == WARNING:
            complain(value)


def _start(command: list[str], client: ControlClient, logfile: str, report: Report) -> Exit:
    deadline = Deadline(client.timeout)
    with closing(_Daemon(command)) as daemon:
        try:
            daemon.listen(deadline)
        except (TimeoutError, subprocess.TimeoutExpired):
            complain(
                f"the daemon has not started after {client.timeout:g} s, and may still do so; "
                f"its log is {printable(logfile)}"
            )
            return Exit.NO_ANSWER
        except KeyboardInterrupt:
            return _interrupted(daemon)
        if daemon.pid:
            report(STARTED, daemon.pid, client.path)
            return Exit.DONE
        # Another start may have been first: its daemon has the lock before it answers.
        other = _await_other(client, deadline)
        if other is not None:
            return _running_already(other, client, report)
        if daemon.reason:
            complain(daemon.reason)
            return Exit.USAGE
        reason = daemon.error or daemon.last_words() or "it gave no reason"
        complain(
            f"the daemon died as it started: {printable(reason, MESSAGE_LIMIT)}"
            # It may have died before it had one.
            + (f"; see {printable(logfile)}" if os.path.exists(logfile) else "")
        )
        return Exit.NOT_RUNNING


def _interrupted(daemon: _Daemon) -> Exit:
    daemon.interrupt()
    if daemon.pid:
        complain(
            f"interrupted, but the daemon runs, pid {daemon.pid}; `palingenesis stop` stops it"
        )
    return Exit.INTERRUPTED


def _await_other(client: ControlClient, deadline: Deadline) -> int | None:
    """Wait for the reply of a daemon that holds the lock; None if none holds it."""
    while holder(f"{client.path}.lock") is not None or may_be_busy(client.path):
        answer = _status(client)
        if isinstance(answer, int):
            return answer
        try:
            time.sleep(min(RETRY, deadline.remaining()))
        except TimeoutError:
            break
    return None


def _stranded(location: Location, state: str) -> str | None:
    """Return what to do about a daemon that runs where the configuration no longer looks."""
    recorded = recorded_place(state)
    if recorded is None or recorded.path == location.path or is_chosen(location):
        return None
    running = _status(ControlClient(recorded.path))
    if not isinstance(running, int):
        return None
    old, new = printable(recorded.path), printable(location.path)
    return (
        f"already running: {_pid_in_words(running)}, socket {old}, but {location.source} is now "
        f"{new}; stop it with `palingenesis --socket {quote(old)} stop`, then start it again"
    )


def _status(client: ControlClient) -> int | ClientError:
    """Return the daemon's pid, 0 if it does not report it, or why it does not answer."""
    try:
        pid = client.status().extra.get(Key.PID)
    except ClientError as error:
        return error
    return pid if isinstance(pid, int) else 0


def _running_already(pid: int, client: ControlClient, report: Report) -> Exit:
    report(ALREADY_RUNNING, pid, client.path)
    return Exit.DONE


def _state_directory(given: str | None) -> str:
    directory = state_directory(None if given is None else expand_home(given))
    if not os.path.isabs(directory):
        raise PathError(
            directory, f"no home directory is known; give --state DIR, or set {STATE_VARIABLE}"
        )
    return directory


def _is_activated() -> bool:
    """Return whether a service manager has passed a socket to this very process."""
    meant = os.environ.get("LISTEN_PID") == str(os.getpid())
    return meant and os.environ.get("LISTEN_FDS", "0") != "0"


def _become(command: list[str]) -> NoReturn:
    os.chdir("/")
    # Until twistd has loaded the plugin, which does the same, a reload would kill the daemon.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP, signal.SIGUSR1])
    os.execv(command[0], command)  # noqa: S606


def _pid_in_words(pid: int) -> str:
    return f"pid {pid}" if pid else "pid unknown"
