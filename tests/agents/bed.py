"""One test's world: a home, an agent, its model server, a terminal and the daemon."""

from __future__ import annotations

import contextlib
import glob
import json
import os
import shutil
import signal
import tempfile
from collections.abc import Mapping
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from palingenesis.monitor.agents import AGENTS
from tests.agents.agent import Agent
from tests.agents.install import Program
from tests.agents.terminal import Tmux, Window
from tests.support.patience import wait_until
from tests.support.processes import Process, twistd_command
from tests.support.sockets import ask

#: Settings with which a night takes seconds.
QUICK = {
    "interval": 0.2,
    "quiet": 1.0,
    "margin": 0,
    "stagger": 0,
    "retry": [1.0],
    "hourly": 100,
}
#: The variable that all processes of a bed have.
MARK = "PALINGENESIS_TEST_PLACE"
#: Names the directory in which beds are made.
BEDS = "PALINGENESIS_AGENTS_BEDS"


class Bed:
    """
    A home in which an agent lives beside a daemon and a stand-in of its model server.

    At the end, all that was started here is killed, whatever has become of it.

    :ivar program: the agent's.
    :ivar server: the model server.
    :ivar home: the user's home directory.
    :ivar project: a directory to work in.
    :ivar environment: the whole environment of all that runs here: nothing is inherited.
    """

    def __init__(self, case: SynchronousTestCase, agent: Agent, program: Program) -> None:
        self.agent = agent
        self.program = program
        # Not trial's own: the path of a socket must be short.
        self._directory = tempfile.mkdtemp(prefix="b", dir=os.environ.get(BEDS, "/tmp"))
        case.addCleanup(self._clean)
        self.home = self.make("home")
        self.project = self.make("home", "app")
        self._runtime = self.make("run")
        self._socket = os.path.join(self._runtime, "palingenesis.sock")
        self.server = agent.server()
        case.addCleanup(self.server.stop)
        usual = ("/usr/local/bin", "/usr/bin", "/bin")
        self.environment = {
            "HOME": self.home,
            "LANG": "C.UTF-8",
            "PATH": os.pathsep.join([*program.search, *usual]),
            "SHELL": "/bin/sh",
            "TERM": "xterm-256color",
            "TMPDIR": self.make("tmp"),
            "USER": "you",
            "XDG_RUNTIME_DIR": self._runtime,
            "PALINGENESIS_STATE": os.path.join(self._directory, "state"),
            MARK: self._directory,
            **agent.environment(self.server.port),
        }
        self._tmux = Tmux(self._runtime, self.environment)
        for name, text in agent.files(self.server.port, self.project).items():
            self.write(text, "home", name)

    def make(self, *names: str) -> str:
        """Make a directory in the bed, and return its path."""
        path = os.path.join(self._directory, *names)
        os.makedirs(path, 0o700, exist_ok=True)
        return path

    def write(self, text: str, *names: str) -> str:
        """Write a file in the bed, and return its path."""
        path = os.path.join(self._directory, *names)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    # The agent.

    def run(self, *arguments: str, directory: str | None = None, **variables: str) -> Process:
        """Start the agent with arguments, and without a terminal."""
        command = [self.program.path, *arguments]
        environment = self.environment | variables
        return Process(command, env=environment, cwd=directory or self.project)

    def begin(
        self, prompt: str = "please do the work", directory: str | None = None, **variables: str
    ) -> Process:
        """Start a session without a terminal."""
        return self.run(*self.agent.headless(prompt), directory=directory, **variables)

    def open(self, *arguments: str, directory: str | None = None) -> Window:
        """Start the agent on a terminal, and wait until it takes a prompt."""
        command = [self.program.path, *arguments]
        window = self._tmux.open(command, directory or self.project)
        window.wait_for(self.agent.empty)
        return window

    def transcripts(self) -> list[str]:
        """List the transcripts, the one that grew last at the end."""
        found = glob.glob(os.path.join(glob.escape(self.home), self.agent.transcripts))
        return sorted(found, key=os.path.getmtime)

    def records(self, path: str | None = None) -> list[dict[str, Any]]:
        """Read the whole records of a transcript, by default of the newest one."""
        return self.agent.read(path or self.transcripts()[-1])

    def written(self, text: str) -> str:
        """Wait until a transcript has a text, and return its path."""

        def found() -> str:
            for path in self.transcripts():
                if text in self.agent.text(path):
                    return path
            return ""

        return wait_until(found, f"{text!r} in a transcript")

    def wait_for_command(self, text: str) -> None:
        """Wait until a process that runs here has a text among its arguments."""

        def runs() -> bool:
            for pid in self.processes():
                with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
                    if text.encode() in file.read():
                        return True
            return False

        wait_until(runs, f"a process with {text!r}")

    def session(self, path: str | None = None) -> str:
        """Return the id of the session in a transcript, by default in the newest one."""
        wait_until(self.transcripts, "a transcript")
        wait_until(lambda: self.records(path), "a record")
        return self.agent.identity(self.records(path))

    # The daemon.

    def daemon(
        self,
        *,
        revive: Mapping[str, object] | None = None,
        environment: Mapping[str, str] | None = None,
        work: str = "",
        **sessions: Any,
    ) -> Process:
        """
        Start the daemon, and wait until it listens.

        :param revive: settings of the agent's table ``revive`` besides the command.
        :param environment: further variables.
        :param work: the directory of a further home; none if empty.
        :param sessions: settings of the table ``sessions``.
        """
        lines = ["[sessions]"]
        lines += [f"{key} = {json.dumps(value)}" for key, value in {**QUICK, **sessions}.items()]
        preset = AGENTS[self.agent.name].preset
        revived = {"command": [self.agent.name, *preset], **(revive or {})}
        for home in [self.agent.name, *(["work"] if work else [])]:
            lines += [f"[revive.{home}]"]
            lines += [f"{key} = {json.dumps(value)}" for key, value in revived.items()]
        if work:
            lines += ["[homes.work]", f'agent = "{self.agent.name}"', f'directory = "{work}"']
        config = self.write("\n".join(lines) + "\n", "palingenesis.toml")
        pidfile = os.path.join(self._directory, "twistd.pid")
        start = [*twistd_command(), f"--pidfile={pidfile}", "-n", "palingenesis"]
        variables = {**self.environment, **(environment or {})}
        daemon = Process([*start, "--config", config], env=variables, cwd=self._directory)
        daemon.wait_for_log("Listening on")
        return daemon

    def reply(self, command: str) -> Any:
        """Ask the daemon, and return its reply."""
        return json.loads(self.command(command))

    def command(self, command: str) -> bytes:
        """Send the daemon a command, and return its line."""
        return ask(self._socket, f"{command}\n".encode())

    def steer(self, command: str) -> None:
        """Have the daemon do something."""
        answer = self.command(command)
        if answer != b"OK\n":
            raise AssertionError(f"{command}: {answer!r}")

    # The end.

    def kill(self) -> None:
        """Kill all that runs here, as a crash of the machine would."""

        def kill() -> bool:
            processes = self.processes()
            for pid in processes:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return not processes

        wait_until(kill, "all that ran in the bed has ended")

    def processes(self) -> list[int]:
        """List the processes that belong here, by their environment."""
        mark = f"{MARK}={self._directory}".encode()
        found = []
        for name in os.listdir("/proc"):
            if name.isdecimal() and int(name) != os.getpid():
                with contextlib.suppress(OSError), open(f"/proc/{name}/environ", "rb") as file:
                    if mark in file.read().split(b"\0"):
                        found.append(int(name))
        return found

    def _clean(self) -> None:
        self.kill()
        shutil.rmtree(self._directory)
