"""
The real daemon, as the tests start it: ``twistd palingenesis`` in a place of its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from twisted.trial.unittest import SynchronousTestCase

#: Seconds until what should take no time at all has failed; the machine may be busy.
PATIENCE = float(os.environ.get("PALINGENESIS_TEST_PATIENCE", "40"))
# What runs in the background of a script has SIGINT ignored, and so has all it starts: a
# Ctrl-C would then end nothing.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

#: The user and group of nobody.
NOBODY = 65534

#: An application that embeds the service, with a state that does what `Behaviour` says.
APPLICATION = """
import json, os
from twisted.application.service import Application
from twisted.internet import defer, reactor, task
from twisted.python import log
from zope.interface import implementer
from palingenesis.server.interfaces import CommandFailed, IDaemonState
from palingenesis.server.service import ControlService
from palingenesis.server.signals import SignalService
from palingenesis.wire import DaemonStatus

TOLD = json.loads(os.environ["TEST_BEHAVIOUR"])
STATUS = DaemonStatus("monitoring", 1)


def behave(name, result=None):
    kind, value = TOLD.get(name, ("ok", None))
    log.msg(f"{name} begins")
    if kind == "raise":
        raise RuntimeError(value)
    if kind == "refuse":
        raise CommandFailed(value)
    if kind == "answer":
        return value
    if kind == "never":
        return defer.Deferred()
    if kind == "slow":
        def done():
            log.msg(f"{name} is done")
            return result
        return task.deferLater(reactor, value, done)
    return result


@implementer(IDaemonState)
class State:
    get_status = staticmethod(lambda: behave("get_status", STATUS))
    pause = staticmethod(lambda: behave("pause"))
    resume = staticmethod(lambda: behave("resume"))
    reload_config = staticmethod(lambda: behave("reload_config"))


application = Application("test")
control = ControlService(
    State(), os.environ["TEST_SOCKET"], **json.loads(os.environ["TEST_LIMITS"])
)
SignalService(reactor, control.reload).setServiceParent(application)
control.setServiceParent(application)
"""

_T = TypeVar("_T")


def needs_root(test: _T) -> _T:
    """Skip a test that has to be another user, where we are not root."""
    if os.geteuid() != 0:
        test.skip = "only root can act as another user"  # type: ignore[attr-defined]
    return test


def needs_linux(test: _T) -> _T:
    """Skip a test of what only Linux has."""
    if sys.platform != "linux":
        test.skip = "/proc and prlimit are Linux's"  # type: ignore[attr-defined]
    return test


def twistd_command() -> list[str]:
    """Make the start of a command line that runs the twistd of this Python."""
    beside = os.path.join(os.path.dirname(sys.executable), "twistd")
    if os.access(beside, os.X_OK):
        return [beside]
    return [sys.executable, "-c", "from twisted.scripts.twistd import run; run()"]


def read_pid(path: str) -> int:
    """Read a PID file; 0 while there is none, or nothing in it."""
    with contextlib.suppress(FileNotFoundError, ValueError), open(path, encoding="ascii") as file:
        return int(file.read())
    return 0


def kill_if_there(pid: int) -> None:
    """Kill a process that may have ended by itself."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def fill_backlog(path: str) -> list[socket.socket]:
    """Connect to a socket that accepts nobody until no more fit; return the connections."""
    waiting: list[socket.socket] = []
    while True:
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client.setblocking(False)
        try:
            client.connect(path)
        except BlockingIOError:
            client.close()
            return waiting
        waiting.append(client)


def wait_until(is_so: Callable[[], _T], what: str, patience: float = PATIENCE) -> _T:
    """Look again and again until something is so, and return it; for what has no event."""
    end = time.monotonic() + patience
    while True:
        found = is_so()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"not within {patience:g} s: {what}")
        time.sleep(0.01)


def listen_at(path: str, backlog: int = 5) -> socket.socket:
    """Listen at a path, as somebody else's process would."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind(path)
    listening.listen(backlog)
    return listening


def leave_stale(path: str) -> None:
    """Leave what a killed daemon leaves: a socket that nobody listens on."""
    listen_at(path).close()


def read_all(connection: socket.socket) -> bytes:
    """Read until the other end closes; a reset counts as an end too, and is marked."""
    data = bytearray()
    try:
        while received := connection.recv(65536):
            data += received
    except ConnectionResetError:
        data += b"[reset]"
    return bytes(data)


def connect(path: str) -> socket.socket:
    """Connect to a socket, and wait where its backlog is full."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # The kernel's own timeout: with Python's, a full backlog is an error at once.
        patience = struct.pack("@ll", int(PATIENCE), 0)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, patience)
        connection.connect(path)
        connection.settimeout(PATIENCE)
    except BaseException:
        connection.close()
        raise
    return connection


def ask(path: str, request: bytes = b"STATUS\n") -> bytes:
    """Send a request and return all that comes back."""
    with connect(path) as connection:
        send_all(connection, request)
        return read_all(connection)


def send_all(connection: socket.socket, data: bytes) -> None:
    """Send as much as the other end takes: who is turned away may be answered before."""
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        connection.sendall(data)


def identity(path: str) -> tuple[int, int, int, int]:
    """What tells whether a file is the same, and its mode: device, inode, mode, owner."""
    found = os.lstat(path)
    return found.st_dev, found.st_ino, found.st_mode, found.st_uid


def as_user(uid: int, do: Callable[[], object], umask: int | None = None) -> Any:
    """
    Do something in a forked child that is another user, and return what it returns.

    Where it raises, the exception's class and text are returned as one string.
    """
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            if umask is not None:
                os.umask(umask)
            if uid != os.geteuid():
                os.setgroups([])
                os.setgid(uid)
                os.setuid(uid)
            try:
                result = do()
            except BaseException as error:
                result = f"{type(error).__name__}: {error}"
            os.write(writable, json.dumps(result).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(writable)
    with os.fdopen(readable, "rb") as pipe:
        told = pipe.read()
    os.waitpid(child, 0)
    return json.loads(told)


class Process:
    """
    A child process whose output is collected as it comes.

    :ivar pid: its process id.
    """

    def __init__(self, command: Sequence[str], **how: Any) -> None:
        self._child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **how,
        )
        self.pid = self._child.pid
        self._news = threading.Condition()
        self._output = {"stdout": bytearray(), "stderr": bytearray()}
        self._readers = [
            threading.Thread(target=self._collect, args=(name,), daemon=True)
            for name in self._output
        ]
        for reader in self._readers:
            reader.start()

    def _collect(self, name: str) -> None:
        with getattr(self._child, name) as pipe:
            while data := os.read(pipe.fileno(), 65536):
                with self._news:
                    self._output[name] += data
                    self._news.notify_all()
        with self._news:
            self._news.notify_all()

    @property
    def log(self) -> str:
        """What came on standard output until now: the log, with ``twistd -n``."""
        return self._text("stdout")

    @property
    def stderr(self) -> str:
        """What came on standard error until now."""
        return self._text("stderr")

    def _text(self, name: str) -> str:
        with self._news:
            return self._output[name].decode("utf-8", "backslashreplace")

    @property
    def running(self) -> bool:
        """Whether it runs still."""
        return self._child.poll() is None

    def wait_for_log(self, pattern: str, times: int = 1) -> str:
        """Wait until a pattern has come in the log so many times."""
        end = time.monotonic() + PATIENCE
        with self._news:
            while True:
                text = self._output["stdout"].decode("utf-8", "backslashreplace")
                if len(re.findall(pattern, text)) >= times:
                    return text
                if time.monotonic() > end or not any(r.is_alive() for r in self._readers):
                    stderr = self._output["stderr"].decode()
                    raise AssertionError(
                        f"{pattern!r} is not in the log:\n{text}\nstandard error:\n{stderr}"
                    )
                self._news.wait(1)

    def send(self, number: int) -> None:
        """Send a signal."""
        self._child.send_signal(number)

    def wait(self, patience: float = PATIENCE) -> int:
        """Wait for the end, and return the exit status; negative for a signal."""
        try:
            status = self._child.wait(patience)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"process {self.pid} is not gone after {patience:g} s:\n{self.log}"
            ) from None
        for reader in self._readers:
            reader.join(PATIENCE)
        return status

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self._child.kill()
        self.wait()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask it to end, wait until it has, and return the exit status."""
        self.send(number)
        return self.wait()


class Place:
    """
    A private directory for one test: runtime directory, home, and PID file are in it.

    When the test is over, every process that was started here is killed.

    :ivar runtime: what ``$XDG_RUNTIME_DIR`` says; it is there.
    :ivar socket: the default path of the socket.
    :ivar pidfile: twistd's.
    """

    def __init__(self, case: SynchronousTestCase) -> None:
        # Not trial's own: the path of a socket must be short.
        self.directory = tempfile.mkdtemp(prefix="pal-", dir="/tmp")
        self.runtime = self.path("run")
        os.mkdir(self.runtime, 0o700)
        self.socket = os.path.join(self.runtime, "palingenesis.sock")
        self.pidfile = self.path("twistd.pid")
        self._processes: list[Process] = []
        case.addCleanup(self._clean)

    def path(self, *names: str) -> str:
        """Name a file in the directory."""
        return os.path.join(self.directory, *names)

    def write(self, name: str, content: str) -> str:
        """Write a file, and return its path."""
        path = self.path(name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(content)
        return path

    @property
    def leftovers(self) -> list[str]:
        """Every file and directory in the place, by its path in it, in order."""
        return sorted(
            os.path.relpath(os.path.join(directory, name), self.directory)
            for directory, directories, files in os.walk(self.directory)
            for name in directories + files
        )

    def environment(self, **further: str) -> dict[str, str]:
        """Make the environment of a process that belongs here."""
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PALINGENESIS_", "XDG_", "LISTEN_"))
        }
        return environment | {
            "HOME": self.directory,
            "XDG_RUNTIME_DIR": self.runtime,
            "PALINGENESIS_TEST_PLACE": self.directory,
            **further,
        }

    def spawn(
        self,
        command: Sequence[str],
        environment: dict[str, str] | None = None,
        files: int | None = None,
        **how: Any,
    ) -> Process:
        """
        Start a process here.

        :param environment: variables besides the usual ones.
        :param files: how many file descriptors it may have.
        :param how: what `subprocess.Popen` takes.
        """
        variables = self.environment(**environment or {})
        if "user" in how or "umask" in how:
            # Coverage's files would be somebody else's, or not to be read.
            variables = {k: v for k, v in variables.items() if not k.startswith("COVERAGE_")}
        if files is not None:

            def limit_files() -> None:
                import resource

                resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))

            how["preexec_fn"] = limit_files
        how.setdefault("cwd", self.directory)
        process = Process(command, env=variables, **how)
        self._processes.append(process)
        return process

    def twistd(
        self,
        *options: str,
        before: Sequence[str] = ("-n",),
        program: Sequence[str] | None = None,
        **how: Any,
    ) -> Process:
        """
        Start ``twistd palingenesis``, and do not wait for it.

        :param options: those of ``palingenesis``.
        :param before: those of ``twistd``.
        :param program: what to run in the place of twistd.
        """
        command = [*(program or twistd_command()), f"--pidfile={self.pidfile}"]
        return self.spawn([*command, *before, "palingenesis", *options], **how)

    def daemon(self, *options: str, **how: Any) -> Process:
        """Start the daemon in the foreground, and wait until it listens."""
        process = self.twistd(*options, **how)
        process.wait_for_log("Listening on")
        return process

    def application(
        self, limits: dict[str, float] | None = None, **behaviour: tuple[str, Any]
    ) -> Process:
        """
        Start an application that embeds the service, and wait until it listens.

        :param limits: what the service is told besides its path.
        :param behaviour: what the methods of its state do.
        """
        process = self.spawn(
            [
                *twistd_command(),
                f"--pidfile={self.pidfile}",
                "-noy",
                self.write("app.tac", APPLICATION),
            ],
            environment={
                "TEST_SOCKET": self.socket,
                "TEST_BEHAVIOUR": json.dumps(behaviour),
                "TEST_LIMITS": json.dumps(limits or {}),
            },
        )
        process.wait_for_log("Listening on")
        return process

    def strays(self) -> list[int]:
        """List the processes that were started here and run still, daemonised ones too."""
        mark = f"PALINGENESIS_TEST_PLACE={self.directory}".encode()
        found = []
        for name in os.listdir("/proc") if os.path.isdir("/proc/self") else ():
            if name.isdecimal() and int(name) != os.getpid():
                with contextlib.suppress(OSError), open(f"/proc/{name}/environ", "rb") as file:
                    if mark in file.read().split(b"\0"):
                        found.append(int(name))
        return found

    def _clean(self) -> None:
        for process in self._processes:
            if process.running:
                process.kill()
        while strays := self.strays():
            for pid in strays:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)
        shutil.rmtree(self.directory)


class ProcessTestCase(SynchronousTestCase):
    """
    A test of the real process.

    :ivar place: where its processes run.
    """

    def setUp(self) -> None:
        self.place = Place(self)

    def connect(self, path: str | None = None) -> socket.socket:
        """Connect to the daemon; closed at the end of the test."""
        connection = connect(path or self.place.socket)
        self.addCleanup(connection.close)
        return connection

    def ask(self, request: bytes = b"STATUS\n", path: str | None = None) -> bytes:
        """Send a request to the daemon, and return all that comes back."""
        return ask(path or self.place.socket, request)

    def assert_serves(self, path: str | None = None) -> None:
        """Check that the daemon answers STATUS as the contract says."""
        answer = self.ask(path=path)
        self.assertTrue(answer.endswith(b"}\n"), answer)
        self.assertIn(json.loads(answer)["state"], ("monitoring", "paused"))

    def assert_no_traceback(self, process: Process) -> None:
        """Check that nothing unforeseen has been logged."""
        for text in (process.log, process.stderr):
            self.assertNotIn("Traceback", text)
            self.assertNotIn("Unhandled", text)

    def assert_refused(self, process: Process, *told: str) -> None:
        """Check that a start has failed, and has said so in one line."""
        self.assertEqual(process.wait(), 1, process.log + process.stderr)
        self.assertEqual(process.stderr.count("\n"), 1, process.stderr)
        for text in told:
            self.assertIn(text, process.stderr)
        self.assertNotIn("Traceback", process.log)

    def assert_stops_cleanly(self, process: Process) -> None:
        """Check that SIGTERM ends the daemon well, and only the lock file is left."""
        self.assertEqual(process.stop(), 0, process.log + process.stderr)
        self.assert_no_traceback(process)
        self.assertFalse(os.path.lexists(self.place.socket))
        self.assertFalse(os.path.lexists(self.place.pidfile))


def wait_for_end(pid: int, patience: float = PATIENCE) -> None:
    """Wait until a process that is no child of ours has ended."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if not select.select([descriptor], [], [], patience)[0]:
            raise AssertionError(f"process {pid} is not gone after {patience:g} s")
    finally:
        os.close(descriptor)


def memory(pid: int, field: str = "VmRSS") -> int:
    """Tell a process's memory in bytes: ``VmRSS`` now, ``VmHWM`` at most."""
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
        for line in file:
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024
    raise AssertionError(f"no {field} of process {pid}")


def processor_time(pid: int) -> float:
    """Tell how many seconds of processor time a process has had."""
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def descriptors(pid: int) -> list[str]:
    """List the open file descriptors of a process."""
    return os.listdir(f"/proc/{pid}/fd")


def median_seconds(do: Callable[[], object], times: int = 9) -> float:
    """Tell how long something takes: the median, since the machine may be busy."""
    taken = []
    for _ in range(times):
        begin = time.monotonic()
        do()
        taken.append(time.monotonic() - begin)
    return statistics.median(taken)


@contextlib.contextmanager
def in_background(do: Callable[[threading.Event], None]) -> Iterator[None]:
    """Do something in a thread, again and again, for as long as the block lasts."""
    over = threading.Event()
    thread = threading.Thread(target=do, args=(over,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(PATIENCE)
