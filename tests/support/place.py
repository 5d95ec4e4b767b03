"""A private directory for one test, and the programs that run in it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from palingenesis.darwin import Kernel
from tests.support.checkout import PROGRAMS
from tests.support.environment import MEASURED, apart, unmeasured
from tests.support.processes import Process, twistd_command


class Place:
    """
    A private directory for one test: runtime directory, home, and PID file are in it.

    When the test is over, every process that was started here is killed.

    :ivar runtime: what ``$XDG_RUNTIME_DIR`` says; it is there.
    :ivar socket: the default path of the socket.
    :ivar pidfile: twistd's.
    :ivar state: what ``$PALINGENESIS_STATE`` says; it is outside, and made by the daemon.
    """

    def __init__(self, case: SynchronousTestCase) -> None:
        # Not trial's own: the path of a socket must be short.
        self.directory = tempfile.mkdtemp(prefix="pal-", dir="/tmp")
        self.runtime = self.path("run")
        os.mkdir(self.runtime, 0o700)
        self.socket = os.path.join(self.runtime, "palingenesis.sock")
        self.pidfile = self.path("twistd.pid")
        self.state = f"{self.directory}.state"
        self._is_measured = type(case).__module__ in MEASURED
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
        # Under a wide umask too: a configuration that others can write to is rejected.
        os.chmod(path, 0o600)
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
        known = {"PALINGENESIS_STATE": self.state, **further}
        variables = apart(self.directory, self.runtime, **known)
        return variables if self._is_measured else unmeasured(variables)

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
            variables = unmeasured(variables)
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
        self,
        limits: dict[str, float] | None = None,
        endpoint: str = "",
        **behaviour: tuple[str, Any],
    ) -> Process:
        """
        Start an application that embeds the service, and wait until it listens.

        :param limits: what the service is told besides its path.
        :param endpoint: what to listen on instead of the path.
        :param behaviour: what the methods of its state do, and its own command FLUSH.
        """
        process = self.spawn(
            [
                *twistd_command(),
                f"--pidfile={self.pidfile}",
                "-noy",
                str(PROGRAMS / "embedding.py"),
            ],
            environment={
                "TEST_SOCKET": self.socket,
                "TEST_ENDPOINT": endpoint,
                "TEST_BEHAVIOUR": json.dumps(behaviour),
                "TEST_LIMITS": json.dumps(limits or {}),
            },
        )
        process.wait_for_log("Listening on")
        return process

    def strays(self) -> list[int]:
        """List the processes that were started here and run still, daemonised ones too."""
        if sys.platform == "darwin":
            return self._strays_of_macos()
        mark = f"PALINGENESIS_TEST_PLACE={self.directory}".encode()
        found = []
        for name in os.listdir("/proc") if os.path.isdir("/proc/self") else ():
            if name.isdecimal() and int(name) != os.getpid():
                with contextlib.suppress(OSError), open(f"/proc/{name}/environ", "rb") as file:
                    if mark in file.read().split(b"\0"):
                        found.append(int(name))
        return found

    def _strays_of_macos(self) -> list[int]:
        """List them by their command lines too: the kernel hides some programs' environment."""
        mark = f"PALINGENESIS_TEST_PLACE={self.directory}"
        kernel = Kernel()
        found = []
        for pid in kernel.pids():
            with contextlib.suppress(OSError):
                if pid != os.getpid() and (
                    self.directory in "\0".join(kernel.arguments(pid)[1])
                    or mark in kernel.environment(pid)
                ):
                    found.append(pid)
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
        shutil.rmtree(self.state, ignore_errors=True)
