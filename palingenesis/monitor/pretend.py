"""
A pretend agent for ``palingenesis demo``: it writes what Claude Code would write, with no model.

``begin ID`` begins a session in the current directory and stops at a limit; ``--resume ID PROMPT``
goes on with it and finishes. It is run as a file of its own, on the standard library alone.
"""

from __future__ import annotations

import json
import os
import select
import sys
import time
import uuid
from datetime import UTC, datetime

#: Names the pipe that the demo holds open: its end is the demo's end, and ours.
ALIVE_VARIABLE = "PALINGENESIS_DEMO"
#: Seconds of work before the limit, and until it ends.
WORK, RESET = 2.5, 6.0
#: Seconds from one record to the next.
STEP = 0.5


class Session:
    """
    A session of Claude Code, in ``$CLAUDE_CONFIG_DIR``.

    :ivar path: its transcript.
    """

    def __init__(self, identity: str) -> None:
        # First: the demo removes its directories once no agent has the pipe open.
        self._alive = os.open(os.environ[ALIVE_VARIABLE], os.O_RDONLY | os.O_NONBLOCK)
        if not _is_held_open(self._alive):
            raise SystemExit(1)
        self._id = identity
        self._directory = os.getcwd()
        home = os.environ["CLAUDE_CONFIG_DIR"]
        name = "".join(c if c.isascii() and c.isalnum() else "-" for c in self._directory)
        for below in (os.path.join("projects", name), "sessions"):
            os.makedirs(os.path.join(home, below), exist_ok=True)
        self.path = os.path.join(home, "projects", name, f"{identity}.jsonl")
        self._entry = os.path.join(home, "sessions", f"{os.getpid()}.json")

    def enter(self) -> None:
        """Enter this process in the registry of living ones."""
        entry = {"pid": os.getpid(), "sessionId": self._id, "cwd": self._directory}
        with open(f"{self._entry}.new", "w", encoding="utf-8") as file:
            json.dump(entry, file)
        os.replace(f"{self._entry}.new", self._entry)

    def leave(self) -> None:
        """Remove this process from the registry."""
        os.unlink(self._entry)

    def wait(self, seconds: float) -> None:
        """Wait; raise SystemExit if the demo ends."""
        readable, _, _ = select.select([self._alive], [], [], seconds)
        if readable:
            raise SystemExit(1)

    def prompt(self, text: str) -> None:
        """Write a prompt."""
        self._write("user", text)

    def work(self, seconds: float) -> None:
        """Call a tool again and again, for some seconds."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            call = f"toolu_{uuid.uuid4().hex}"
            self._reply({"type": "tool_use", "id": call, "name": "Bash", "input": {}}, "tool_use")
            self.wait(STEP)
            result = {"type": "tool_result", "tool_use_id": call, "content": "ok"}
            self._write("user", [result])

    def finish(self) -> None:
        """Complete the turn."""
        self._reply({"type": "text", "text": "Done."}, "end_turn")

    def stop_at_limit(self, seconds: float) -> None:
        """Stop at a usage limit that ends in some seconds."""
        self._write(
            "assistant",
            [{"type": "text", "text": "You've hit your session limit"}],
            {"model": "<synthetic>", "stop_reason": "stop_sequence"},
            isApiErrorMessage=True,
            error="rate_limit",
            apiErrorStatus=429,
            quotaLimits={"status": "rejected", "resetsAt": time.time() + seconds},
        )

    def _reply(self, content: object, reason: str) -> None:
        self._write("assistant", [content], {"model": "pretend", "stop_reason": reason})

    def _write(
        self, role: str, content: object, message: dict[str, str] | None = None, **more: object
    ) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        record = {
            "type": role,
            "uuid": str(uuid.uuid4()),
            "timestamp": now,
            "sessionId": self._id,
            "cwd": self._directory,
            "isSidechain": False,
            "message": {"role": role, "content": content, **(message or {})},
            **more,
        }
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")


def _is_held_open(pipe: int) -> bool:
    """Return whether a pipe has a writer; select(2) does not report one that has had none."""
    try:
        return bool(os.read(pipe, 1))
    except BlockingIOError:
        return True


def main(arguments: list[str]) -> int:
    """Be the agent, and return the exit status."""
    match arguments:
        case ["begin", identity]:
            prompt = "Begin."
        case ["--resume", identity, prompt]:
            pass
        case _:
            return 64
    session = Session(identity)
    session.enter()
    try:
        session.prompt(prompt)
        session.work(WORK)
        if arguments[0] == "begin":
            session.stop_at_limit(RESET)
            return 1
        session.finish()
        return 0
    finally:
        session.leave()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
