"""
A revival: one command, run once for one session, watched until it ends.

It is never waited for. It outlives the daemon, which finds it again by its pid and start time.
"""

from __future__ import annotations

import inspect
import os
import re
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field

from palingenesis.monitor import child, output, processes
from palingenesis.monitor.agents import AGENTS
from palingenesis.monitor.child import CommandError, ResourceError
from palingenesis.monitor.homes import Home
from palingenesis.monitor.ledger import Attempt
from palingenesis.monitor.sessions import ID, Identity
from palingenesis.monitor.times import Times

OUTPUT_DIRECTORY = "output"
#: Files of output that are kept, beside those of commands that still run.
OUTPUT_FILES = 20
#: Bytes of output that a file holds at most: the first half, and the last of what follows.
OUTPUT_SIZE = 16 * 1024 * 1024
#: Seconds between SIGTERM and SIGKILL.
GRACE = 10.0
#: Seconds from the start within which an end is a quick failure, unless a record came of it.
QUICK = 10.0
#: Quick failures in a row, with the same exit, after which a session is given up.
QUICK_LIMIT = 2

#: What stands for something of the session in a command's arguments.
PLACEHOLDERS = ("id", "prompt", "directory")
#: What agents set for their own children, and a revival is none.
_HIDDEN = frozenset[str]().union(*(agent.own_variables for agent in AGENTS.values()))
_PLACEHOLDER = re.compile(rf"\{{({'|'.join(PLACEHOLDERS)})\}}")
#: Kept, since an upgrade of the package may take the file away under a running daemon.
_OUTPUT_SOURCE = inspect.getsource(output)


@dataclass(frozen=True, slots=True)
class Command:
    """
    What the configuration says about an agent's revival.

    :ivar arguments: the program and its arguments, with placeholders in the arguments.
    :ivar prompt: what ``{prompt}`` stands for.
    :ivar environment: what is added to the daemon's environment.
    """

    arguments: Sequence[str]
    prompt: str = "continue"
    environment: Mapping[str, str] = field(default_factory=dict)


def gives(command: Command, text: str) -> bool | None:
    """
    Return whether a command begins a turn with a prompt of this text.

    None if it cannot be known: a script may have a text of its own.
    """
    text, prompt = text.strip(), command.prompt.strip()
    named = [each for each in command.arguments if "{prompt}" in each]
    if not named:
        return text in map(str.strip, command.arguments) or None
    if "{prompt}" in named:
        return text == prompt
    return prompt in text and any(text in each.replace("{prompt}", prompt) for each in named)


def arguments_for(command: Command, session: Identity) -> list[str]:
    """
    Replace the placeholders in a command's arguments, each once; the program's name has none.

    :raises CommandError: if the id is not one that is safe as an argument.
    """
    if not ID.fullmatch(session.id):
        raise CommandError(f"the session's id {session.id!r} is not fit for a command line")
    values = {"id": session.id, "prompt": command.prompt, "directory": session.directory}
    program, *others = command.arguments
    # One pass for all: what was put in is not looked at again.
    return [program, *(_PLACEHOLDER.sub(lambda found: values[found[1]], each) for each in others)]


def check_directory(path: str) -> None:
    """
    Check that a session can be revived in a directory: it exists, is ours, and is no link.

    An agent records the directory that getcwd(3) returned, which has no links: if it has one
    today, it leads to another place than the session's.

    :raises CommandError: if it cannot be used.
    """
    try:
        found = os.lstat(path)
        real = os.path.realpath(path, strict=True)
    except (OSError, ValueError) as error:
        raise CommandError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    if not os.path.isabs(path):
        raise CommandError(f"{path}: not an absolute path")
    if stat.S_ISLNK(found.st_mode) or real != os.path.normpath(path):
        raise CommandError(f"{path}: a link that leads to {real}")
    if not stat.S_ISDIR(found.st_mode):
        raise CommandError(f"{path}: not a directory")
    if found.st_uid != os.geteuid():
        raise CommandError(f"{path}: belongs to uid {found.st_uid}, not to the daemon's user")
    if not os.access(path, os.X_OK):
        raise CommandError(f"{path}: cannot be entered (mode {stat.S_IMODE(found.st_mode):04o})")


def find_program(command: Command, inherited: Mapping[str, str]) -> str:
    """
    Find the program of a command, as it would be found at its start.

    :param inherited: the daemon's environment.
    :raises CommandError: if there is none that can be run.
    """
    environment = child.child_environment(inherited, command.environment)
    return child.find_program(command.arguments[0], environment)


def environment_for(
    command: Command, home: Home, directory: str, inherited: Mapping[str, str]
) -> dict[str, str]:
    """
    Return the environment that a command gets for a session in a directory.

    :param inherited: the daemon's environment.
    """
    added = {**home.environment, **command.environment, "PWD": directory}
    return child.child_environment({n: v for n, v in inherited.items() if n not in _HIDDEN}, added)


@dataclass(frozen=True, slots=True)
class Ended:
    """
    How a revival's command ended.

    :ivar exit: its exit status, negative for a signal; None if another process than this
        daemon started it.
    :ivar stalled: whether it was ended because nothing grew.
    :ivar quick: whether it ended by itself within `QUICK` seconds of its start.
    """

    exit: int | None
    stalled: bool
    quick: bool


class Revival:
    """
    A command that runs for a session; made by :func:`start` or :func:`adopt`.

    :ivar pid: its process id, which is its group's as well.
    :ivar began: its start time, as `processes.Process` has it; None if it cannot be read.
    :ivar output: the path of the file that takes its output; None if it is unknown.
    :param writer: the process that writes its output to the file.
    :param quiet: seconds since anything grew, for one that another daemon started.
    :param is_certain: whether it is certainly that command; else it is never signalled.
    """

    def __init__(
        self,
        pid: int,
        began: str | None,
        output: str | None,
        times: Times,
        process: subprocess.Popen[bytes] | None = None,
        *,
        writer: subprocess.Popen[bytes] | None = None,
        quiet: float = 0.0,
        is_certain: bool = True,
    ) -> None:
        self.pid = pid
        self.began = began
        self.output = output
        self._times = times
        self._process = process
        self._writer = writer
        self.is_certain = is_certain
        self._started = times.monotonic()
        self._grown = self._started - max(0.0, quiet)
        self._ran_at = self._started
        self._killing: float | None = None
        self._stalled = False

    @property
    def is_ending(self) -> bool:
        """Whether it was sent SIGTERM."""
        return self._killing is not None

    def grew(self, ago: float = 0.0) -> None:
        """Note that the session has grown, so many seconds ago."""
        self._grown = max(self._grown, self._times.monotonic() - max(0.0, ago))

    def end(self) -> None:
        """Begin to end it and its process group: SIGTERM, and SIGKILL `GRACE` seconds later."""
        if self._killing is None:
            self._killing = self._times.monotonic() + GRACE
            self._signal(signal.SIGTERM)

    def poll(self, stall: float) -> Ended | None:
        """
        Return how it ended, or None while it runs; made to be called at each tick.

        :param stall: seconds without growth after which it is ended.
        """
        if self._writer is not None:
            self._writer.poll()
        now = self._times.monotonic()
        if self._killing is None:
            if self._is_gone():
                return self._ended(now)
            if self._runs():
                self._ran_at = now
            if now - self._grown >= stall:
                self._stalled = True
                self.end()
            return None
        if now < self._killing:
            # An unreaped child holds its pid, so its group can still be signalled below. What
            # another daemon started is not ours to hold: its group is beyond proof once it ends.
            return self._ended(now) if self._process is None and self._is_gone() else None
        self._signal(signal.SIGKILL)
        return self._ended(now) if self._is_gone() else None

    def _ended(self, now: float) -> Ended:
        status = None if self._process is None else self._process.returncode
        soon = now - self._started < QUICK
        return Ended(
            status, self._stalled, self._process is not None and soon and not self.is_ending
        )

    def _runs(self) -> bool:
        if self._process is not None:
            return self._process.poll() is None
        return self.began is not None and processes.is_alive(self.pid, self.began)

    def _is_gone(self) -> bool:
        if self._runs():
            return False
        # A command that goes to the background continues in its children. A command that ran longer
        # may leave a server of the project's behind, which is none of its work.
        return self._ran_at - self._started >= QUICK or not processes.is_led_by(self.pid)

    def _signal(self, number: int) -> None:
        if not self.is_certain:
            return
        if self._process is None:
            found = processes.look_at(self.pid)
            if found is None or found.began != self.began or not found.leads:
                return
        elif self._process.returncode is not None and not processes.is_led_by(self.pid):
            return
        # Nothing is left but zombies (macOS says EPERM), or processes of another user.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)


def start(
    command: Command,
    home: Home,
    session: Identity,
    state_directory: str,
    times: Times,
    intend: Callable[[], object],
    *,
    in_use: Iterable[str] = (),
    keep: int = OUTPUT_FILES,
    environment: Mapping[str, str] = os.environ,
    umask: int = -1,
) -> Revival:
    """
    Start the command that revives a session.

    :param intend: writes the intent; called when all is ready, immediately before the start. What
        it raises ends the start.
    :param home: where the session is; a named one is named in the command's environment.
    :param keep: how many files of output are kept, beside those.
    :param in_use: the output files of the revivals that run.
    :param environment: the daemon's environment.
    :param umask: the command's umask; the daemon's own if negative.
    :raises CommandError: if it cannot be started; then nothing runs.
    :raises ResourceError: if no command can be.
    """
    arguments = arguments_for(command, session)
    program = find_program(command, environment)
    check_directory(session.directory)
    full = environment_for(command, home, session.directory, environment)
    name = f"{home.agent}-{session.id}"
    with _output(state_directory, name, in_use, keep) as (sink, path, writer):
        intend()
        process = child.start(arguments, program, full, session.directory, output=sink, umask=umask)
    found = processes.look_at(process.pid)
    began = None if found is None else found.began
    return Revival(process.pid, began, path, times, process, writer=writer)


def adopt(
    attempt: Attempt, command: Command | None, times: Times, quiet: float = 0.0
) -> Revival | None:
    """
    Find a command again that a daemon before this one started; None if it no longer runs.

    Without a pid and start time, the daemon ended between the intent and the record of the
    start: then a process of ours with the arguments and the directory of the command, which
    started after the intent, is taken for it. It may still be a person's, so it is never ended.

    :param command: what the configuration says today; None if it names no command.
    :param quiet: seconds since anything of the session grew.
    """
    if attempt.pid is not None and attempt.began is not None:
        if not processes.is_alive(attempt.pid, attempt.began):
            return None
        revival = Revival(attempt.pid, attempt.began, attempt.output, times, quiet=quiet)
        if attempt.killed is not None:
            revival.end()
        return revival
    found = None if command is None else _alike(attempt, command, times.wall() - attempt.at)
    if found is None:
        return None
    return Revival(found.pid, found.began, attempt.output, times, quiet=quiet, is_certain=False)


def _alike(attempt: Attempt, command: Command, age: float) -> processes.Process | None:
    """Find a process that is like the command of an attempt, and at most so many seconds old."""
    identity = Identity(attempt.stop.session, attempt.stop.directory)
    _, *arguments = arguments_for(command, identity)
    for process in processes.ours():
        # Before them stand the program, and the interpreter of one that is a script.
        alike = arguments and list(process.arguments[-len(arguments) :]) == arguments
        if not alike or not process.leads or not process.is_in(identity.directory):
            continue
        # The clock that an intent is dated by, and the one of a process, may differ a little.
        if process.age is not None and process.age <= age + 1.0:
            return process
    return None


def output_warning(state_directory: str) -> str | None:
    """Return why no command's output can be kept, in one line; None if nothing is known."""
    directory = os.path.join(state_directory, OUTPUT_DIRECTORY)
    try:
        found = os.stat(directory)
    except FileNotFoundError:
        return None  # It is made when it is needed.
    except OSError as error:
        return f"{directory}: {error.strerror}"
    if not stat.S_ISDIR(found.st_mode):
        return f"{directory}: not a directory, so no command's output can be kept; move it aside"
    if not os.access(directory, os.W_OK | os.X_OK):
        return f"{directory}: no command's output can be written there"
    return None


@contextmanager
def _output(
    state_directory: str, name: str, in_use: Iterable[str], keep: int
) -> Iterator[tuple[int, str, subprocess.Popen[bytes]]]:
    """
    Give a descriptor for a command's output, the file that takes it, and the process between.

    If the command is not started, file and process are gone afterwards.
    """
    with ExitStack() as undo, ExitStack() as closing:
        descriptor, path = _open_output(state_directory, name, in_use, keep)
        closing.callback(os.close, descriptor)
        undo.callback(_remove, path)
        try:
            source, sink = os.pipe()
        except OSError as error:
            raise ResourceError(f"no pipe for a command's output: {error.strerror}") from None
        closing.callback(os.close, source)
        closing.callback(os.close, sink)
        writer = _start_writer(source, descriptor)
        undo.callback(writer.wait)
        undo.callback(writer.kill)
        yield sink, path, writer
        undo.pop_all()


def _remove(path: str) -> None:
    with suppress(OSError):
        os.unlink(path)


def _start_writer(source: int, file: int) -> subprocess.Popen[bytes]:
    """Start the process that copies a command's output to its file, until the command ends."""
    python = [sys.executable, "-I", "-S", "-c", _OUTPUT_SOURCE, str(OUTPUT_SIZE)]
    try:
        return child.start(python, sys.executable, {}, "/", stdin=source, output=file)
    except CommandError as error:
        raise ResourceError(f"no process for a command's output: {error}") from None


def _open_output(
    state_directory: str, name: str, in_use: Iterable[str], keep: int
) -> tuple[int, str]:
    directory = os.path.join(state_directory, OUTPUT_DIRECTORY)
    try:
        os.makedirs(directory, 0o700, exist_ok=True)
        _remove_old(directory, set(in_use), keep)
        stamp = time.time_ns() // 1000
        path = os.path.join(directory, f"{stamp}-{name}.log")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW
        return os.open(path, flags, 0o600), path
    except OSError as error:
        raise ResourceError(
            f"{directory}: cannot make the file for the command's output: {error.strerror}"
        ) from None


def _remove_old(directory: str, in_use: set[str], keep: int) -> None:
    ended = []
    with os.scandir(directory) as entries:
        for entry in entries:
            # A file that cannot be asked about is none of the daemon's.
            with suppress(OSError):
                if entry.is_file(follow_symlinks=False) and entry.path not in in_use:
                    ended.append((entry.stat(follow_symlinks=False).st_mtime, entry.path))
    # One less: the file to come is one of them.
    for _, path in sorted(ended)[: max(0, len(ended) - keep + 1)]:
        os.unlink(path)
