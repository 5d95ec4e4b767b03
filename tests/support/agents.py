"""A place with stand-in agents in it, and a daemon that monitors them."""

from __future__ import annotations

import json
import os
import signal
import sys
import uuid
from typing import Any

from tests.support.cases import ProcessTestCase
from tests.support.checkout import PROGRAMS
from tests.support.needs import needs_revivals
from tests.support.patience import wait_until
from tests.support.processes import Process

AGENTS = ("claude", "codex")
#: The resume commands of both agents, as the configuration has them.
RESUME = {
    "claude": ["claude", "-p", "--resume", "{id}", "{prompt}"],
    "codex": ["codex", "exec", "resume", "{id}", "{prompt}"],
}
#: The command that hands an open Codex a message.
QUEUE = ["codex", "queue", "--thread", "{id}", "--message", "{prompt}"]
#: Settings with which a night takes seconds.
QUICK = {
    "interval": 0.1,
    "quiet": 0.2,
    "margin": 0,
    "stagger": 0,
    "retry": [0.2],
    "hourly": 100,
}


@needs_revivals
class AgentTestCase(ProcessTestCase):
    """
    A test of the real daemon with stand-in agents.

    A test calls its sessions by short names. Their ids are different for each test, as real
    ones are: a session is left alone while any command line of the user's has its id as a word.

    :ivar state: the state directory.
    :ivar told: where agents are told how to behave, and tell what they did.
    :ivar bin: where the agents are.
    """

    def setUp(self) -> None:
        super().setUp()
        self.namespace = uuid.uuid4()
        self.state = self.place.state
        self.told = self.place.path("stand-in")
        self.bin = self.place.path("bin")
        for directory in (self.told, self.bin):
            os.mkdir(directory)
        with open(PROGRAMS / "stand_in_agent.py", encoding="utf-8") as file:
            source = file.read()
        for agent in AGENTS:
            os.mkdir(self.place.path(agent))
            path = os.path.join(self.bin, agent)
            with open(path, "w", encoding="utf-8") as file:
                # Without site, by which the coverage of each process is measured.
                file.write(f"#!{sys.executable} -S\n{source}")
            os.chmod(path, 0o755)

    @property
    def variables(self) -> dict[str, str]:
        return {
            "CLAUDE_CONFIG_DIR": self.place.path("claude"),
            "CODEX_HOME": self.place.path("codex"),
            "STAND_IN": self.told,
            "PATH": os.pathsep.join([self.bin, os.environ.get("PATH", os.defpath)]),
        }

    def configure(
        self,
        *,
        revive: dict[str, list[str]] | None = None,
        prompt: str = "continue",
        queue: bool = False,
        notify: list[str] | None = None,
        **sessions: Any,
    ) -> str:
        """Write the configuration; JSON's numbers, texts and lists are TOML's too."""
        lines = ["[sessions]"]
        lines += [f"{key} = {json.dumps(value)}" for key, value in {**QUICK, **sessions}.items()]
        for agent, command in (RESUME if revive is None else revive).items():
            lines += [f"[revive.{agent}]", f"command = {json.dumps(command)}"]
            lines += [f"prompt = {json.dumps(prompt)}"]
            lines += [f"queue = {json.dumps(QUEUE)}"] * (queue and agent == "codex")
        if notify is not None:
            lines += ["[notify]", f"command = {json.dumps(notify)}"]
        return self.place.write("c.toml", "\n".join(lines) + "\n")

    def monitor(self, **settings: Any) -> Process:
        """Start the daemon with a configuration, and wait until it listens."""
        return self.start_daemon(self.configure(**settings))

    def start_daemon(self, config: str, **environment: str) -> Process:
        variables = {**self.variables, **environment}
        return self.place.daemon("--config", config, environment=variables)

    def id_of(self, session: str) -> str:
        """Return the id of the session that this test calls so."""
        return str(uuid.uuid5(self.namespace, session))

    def begin(self, session: str, *ways: str, agent: str = "claude", **how: Any) -> Process:
        """Begin a session in a directory of its own; the ways are those of its runs."""
        directory = self.tell(session, *ways, directory=how.pop("directory", None))
        command = [os.path.join(self.bin, agent), how.pop("how", "start"), self.id_of(session)]
        return self.place.spawn(command, environment=self.variables, cwd=directory, **how)

    def tell(self, session: str, *ways: str, directory: str | None = None) -> str:
        """Say how a session behaves in each run, and make its directory, which is returned."""
        with open(self.note_of(session, "json"), "w", encoding="utf-8") as file:
            json.dump(ways, file)
        directory = directory or self.place.path(f"project-{session}")
        os.makedirs(directory, exist_ok=True)
        return directory

    def note_of(self, session: str, name: str) -> str:
        """Return the path of a file that the stand-in looks for."""
        return os.path.join(self.told, f"{self.id_of(session)}.{name}")

    def runs(self, session: str) -> list[dict[str, Any]]:
        """Return each run of the agent in a session, the first one by ourselves."""
        path = os.path.join(self.told, f"{self.id_of(session)}.runs")
        if not os.path.exists(path):
            return []
        with open(path, encoding="utf-8") as file:
            return [json.loads(line) for line in file if line.endswith("\n")]

    def reply(self, command: str) -> Any:
        return json.loads(self.ask(command.encode() + b"\n"))

    def session(self, session: str) -> dict[str, Any]:
        """Return a session as SESSIONS does; empty if it is not there."""
        session_id = self.id_of(session)
        return next((each for each in self.reply("SESSIONS") if each["id"] == session_id), {})

    def story(self) -> list[str]:
        return [entry["event"] for entry in self.reply("LOG 1000")]

    def wait_for_session(self, session: str, **expected: Any) -> dict[str, Any]:
        """Wait until a session is told with what is expected, and return all of it."""

        def is_so() -> dict[str, Any] | None:
            told = self.session(session)
            return told if expected.items() <= told.items() else None

        try:
            return wait_until(is_so, f"{session}: {expected}") or {}
        except AssertionError as error:
            raise AssertionError(f"{error}; told: {self.session(session)}") from None

    def wait_for_event(self, event: str, times: int = 1) -> list[dict[str, Any]]:
        """Wait until the ledger tells an event so many times, and return all entries."""
        try:
            wait_until(lambda: self.story().count(event) >= times, f"{times} times {event}")
        except AssertionError as error:
            raise AssertionError(f"{error}; told: {self.reply('LOG 1000')}") from None
        return list(self.reply("LOG 1000"))

    def wait_for_looks(self, number: int = 3) -> None:
        """
        Wait until the daemon has looked so many times from now.

        A finished session that begins now is seen by a look that begins later.
        """
        for _ in range(number):
            name = f"probe-{os.urandom(4).hex()}"
            self.begin(name, "finish").wait()
            self.wait_for_session(name, kind="finished")

    def kill_run(self, session: str, number: int = -1) -> None:
        os.kill(self.runs(session)[number]["pid"], signal.SIGKILL)
