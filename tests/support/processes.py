"""Child processes whose output is collected, and their ends."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

from palingenesis.procfs import has_ended
from tests.support.checkout import PROGRAMS
from tests.support.patience import PATIENCE, wait_until


def _outlive(number: int, frame: object) -> None:
    """Do nothing: the signal does not end the tests, and children do not inherit this."""


# nohup(1) has SIGHUP ignored, and a script's background SIGINT and SIGQUIT. What is ignored,
# children inherit: execve(2). A Ctrl-C would end none of them.
for _number, _handler in (
    (signal.SIGHUP, _outlive),
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGQUIT, _outlive),
):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _handler)


def twistd_command() -> list[str]:
    """Make the start of a command line that runs the twistd of this Python."""
    beside = os.path.join(os.path.dirname(sys.executable), "twistd")
    if os.access(beside, os.X_OK):
        return [beside]
    return [sys.executable, "-c", "from twisted.scripts.twistd import run; run()"]


def program(name: str, *arguments: str, isolated: bool = False) -> list[str]:
    """
    Make the command that runs a module of ``tests.programs``.

    :param isolated: whether Python leaves ``site`` out, and with it all that others install.
    """
    path = str(PROGRAMS / f"{name}.py")
    return [sys.executable, *(["-S"] if isolated else []), path, *arguments]


def read_pid(path: str) -> int:
    """Read a PID file; 0 while there is none, or nothing in it."""
    with contextlib.suppress(FileNotFoundError, ValueError), open(path, encoding="ascii") as file:
        return int(file.read())
    return 0


def kill_if_there(pid: int) -> None:
    """Kill a process that may have ended by itself."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


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


def wait_for_end(pid: int, patience: float = PATIENCE) -> None:
    """Wait until a process that is no child of ours has ended."""
    wait_until(lambda: has_ended(pid), f"process {pid} is gone", patience)
