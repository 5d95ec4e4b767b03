"""Codex's server as an editor runs it: JSON-RPC by lines on its standard input and output."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from typing import Any

from tests.agents.bed import Bed


class EditorServer:
    """
    A server with one session.

    :param bed: where it runs; it is ended with it.
    """

    def __init__(self, bed: Bed) -> None:
        self._process = subprocess.Popen(
            [bed.program.path, "app-server"],
            env=bed.environment,
            cwd=bed.project,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        self._number = 0
        client = {"name": "editor", "title": "An editor", "version": "1"}
        self._ask("initialize", clientInfo=client)
        self._send(method="initialized")
        self._thread = self._ask("thread/start", cwd=bed.project)["thread"]["id"]

    def turn(self, prompt: str) -> None:
        """Begin a turn."""
        self._ask("turn/start", threadId=self._thread, input=[{"type": "text", "text": prompt}])

    def kill(self) -> None:
        """Kill it: the program that was started is only the parent of the real one."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()

    def _ask(self, method: str, **parameters: Any) -> Any:
        """Send a request, and return its result; notifications are passed over."""
        self._number += 1
        self._send(id=self._number, method=method, params=parameters)
        assert self._process.stdout is not None
        for line in self._process.stdout:
            reply = json.loads(line)
            if reply.get("id") == self._number and "method" not in reply:
                if "result" not in reply:
                    raise AssertionError(f"{method}: {reply}")
                return reply["result"]
        raise AssertionError(f"{method}: no reply")

    def _send(self, **message: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()
