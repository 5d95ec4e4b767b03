"""
An agent without a model: it writes what Claude Code or Codex would write, and behaves as told.

Its name decides whose shape its files have. ``start ID`` begins a session, and the resume
command of either agent goes on with one. What happens in a session is told by the file
``$STAND_IN/ID.json``, a list with one way for each run; the last one repeats. Every run leaves
a line in ``$STAND_IN/ID.runs``. As Codex, ``open ID`` stays open, and takes each message of its
queue as a run, unless there is ``$STAND_IN/ID.deaf``; ``queue`` leaves one, unless there is
``$STAND_IN/ID.old``.

The standard library alone: it is run by a copy of this file that is named for the agent.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sqlite3
import sys
import time
import uuid
from datetime import UTC, datetime
from typing import Any, NoReturn

PLACE = os.environ["STAND_IN"]
#: The table of the messages that wait, as Codex 0.171.0 makes it.
QUEUE = """CREATE TABLE IF NOT EXISTS queued_items (id TEXT PRIMARY KEY NOT NULL,
    thread_id TEXT NOT NULL, payload_json TEXT NOT NULL, queue_order INTEGER NOT NULL,
    created_at_ms INTEGER NOT NULL, updated_at_ms INTEGER NOT NULL)"""


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Session:
    """
    A session of either agent: its transcript, and what shows that its process lives.

    :ivar path: the transcript.
    """

    path: str

    def __init__(self, identity: str) -> None:
        self.id = identity
        self.directory = os.getcwd()

    def append(self, record: object) -> None:
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def half(self) -> None:
        """Write half a record, as a process that is killed does."""
        with open(self.path, "a", encoding="utf-8") as file:
            file.write('{"type": "assistant", "uu')

    def prompt(self, text: str) -> None:
        raise NotImplementedError

    def work(self, size: int = 2) -> None:
        """Write what a tool was asked, and a result of a size in bytes."""
        raise NotImplementedError

    def call(self) -> None:
        """Write that a tool is called, and no result."""
        raise NotImplementedError

    def delegate(self, seconds: float) -> None:
        """Have a sub-agent write for so long; the transcript does not grow."""
        raise NotImplementedError

    def finish(self) -> None:
        raise NotImplementedError

    def limit(self, seconds: float) -> None:
        raise NotImplementedError

    def overloaded(self) -> None:
        raise NotImplementedError

    def refused(self) -> None:
        raise NotImplementedError

    def context(self) -> None:
        raise NotImplementedError

    def interrupted(self) -> None:
        raise NotImplementedError

    def left(self) -> None:
        raise NotImplementedError

    def bookkeeping(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError


class Claude(Session):
    """Claude Code's: a file for each session, and a registry of living processes."""

    def __init__(self, identity: str) -> None:
        super().__init__(identity)
        home = os.environ["CLAUDE_CONFIG_DIR"]
        name = "".join(c if c.isalnum() else "-" for c in self.directory)
        os.makedirs(os.path.join(home, "projects", name), exist_ok=True)
        os.makedirs(os.path.join(home, "sessions"), exist_ok=True)
        self.path = os.path.join(home, "projects", name, f"{identity}.jsonl")
        self.entry = os.path.join(home, "sessions", f"{os.getpid()}.json")
        told = {
            "pid": os.getpid(),
            "sessionId": identity,
            "cwd": self.directory,
            "procStart": began(),
            "status": "busy",
        }
        with open(f"{self.entry}.new", "w", encoding="utf-8") as file:
            json.dump(told, file)
        os.replace(f"{self.entry}.new", self.entry)

    def record(self, type_: str, content: object, message: Any = None, **more: Any) -> None:
        self.append(
            {
                "type": type_,
                "uuid": str(uuid.uuid4()),
                "timestamp": now(),
                "sessionId": self.id,
                "cwd": self.directory,
                "isSidechain": False,
                "message": {"role": type_, "content": content, **(message or {})},
                **more,
            }
        )

    def reply(self, content: object, reason: str) -> None:
        self.record("assistant", content, {"model": "claude-opus-4-6", "stop_reason": reason})

    def failure(self, text: str, **more: Any) -> None:
        self.record(
            "assistant",
            [{"type": "text", "text": text}],
            {"model": "<synthetic>", "stop_reason": "stop_sequence"},
            isApiErrorMessage=True,
            **more,
        )

    def prompt(self, text: str) -> None:
        self.record("user", text)

    def call(self) -> None:
        call = {"type": "tool_use", "id": "toolu_01", "name": "Bash", "input": {}}
        self.reply([call], "tool_use")

    def delegate(self, seconds: float) -> None:
        below = os.path.join(os.path.dirname(self.path), self.id, "subagents")
        os.makedirs(below, exist_ok=True)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with open(os.path.join(below, "agent-1.jsonl"), "a", encoding="utf-8") as file:
                file.write('{"type":"assistant","isSidechain":true}\n')
            time.sleep(0.1)

    def work(self, size: int = 2) -> None:
        self.call()
        content = {"type": "tool_result", "tool_use_id": "toolu_01", "content": "x" * size}
        self.record("user", [content])

    def finish(self) -> None:
        self.reply([{"type": "text", "text": "Secret words."}], "end_turn")

    def limit(self, seconds: float) -> None:
        limits = {"status": "rejected", "resetsAt": time.time() + seconds}
        text = "You've hit your session limit"
        self.failure(text, error="rate_limit", apiErrorStatus=429, quotaLimits=limits)

    def overloaded(self) -> None:
        self.failure("API Error: 529 overloaded", error="overloaded", apiErrorStatus=529)

    def refused(self) -> None:
        self.failure("Credit balance is too low", error="billing_error")

    def context(self) -> None:
        self.failure("Prompt is too long", error="invalid_request")

    def interrupted(self) -> None:
        self.record("user", [{"type": "text", "text": "[Request interrupted by user]"}])

    def left(self) -> None:
        self.record("user", "<command-name>/exit</command-name>")

    def bookkeeping(self) -> None:
        for number in range(9):
            self.append({"type": "file-history-snapshot", "messageId": str(number)})

    def close(self) -> None:
        os.unlink(self.entry)


class Codex(Session):
    """Codex's: a rollout for each session, and a lock that is held by its process."""

    def __init__(self, identity: str) -> None:
        super().__init__(identity)
        home = os.environ["CODEX_HOME"]
        day = os.path.join(home, "sessions", "2026", "09", "21")
        locks = os.path.join(home, "thread-writer-locks")
        os.makedirs(day, exist_ok=True)
        os.makedirs(locks, exist_ok=True)
        self.path = os.path.join(day, f"rollout-2026-09-21T05-00-00-{identity}.jsonl")
        self.lock = os.path.join(locks, f"{identity}.lock")
        self.held = open(self.lock, "a")  # noqa: SIM115 - held for as long as the process lives
        fcntl.flock(self.held, fcntl.LOCK_EX)
        if not os.path.exists(self.path):
            self.record("session_meta", id=identity, cwd=self.directory, originator="codex_exec")

    def record(self, type_: str, /, **payload: Any) -> None:
        self.append({"timestamp": now(), "type": type_, "payload": payload})

    def event(self, name: str, /, **payload: Any) -> None:
        self.record("event_msg", type=name, **payload)

    def failure(self, message: str, info: object) -> None:
        self.event("task_complete", error={"message": message, "codex_error_info": info})

    def prompt(self, text: str) -> None:
        self.event("task_started")
        self.event("user_message", message=text)

    def work(self, size: int = 2) -> None:
        self.record("response_item", type="function_call", name="shell", call_id="1")
        self.record("response_item", type="function_call_output", call_id="1", output="x" * size)

    def finish(self) -> None:
        self.event("task_complete", last_agent_message="Secret words.")

    def limit(self, seconds: float) -> None:
        full = {"used_percent": 100.0, "window_minutes": 300, "resets_at": time.time() + seconds}
        self.event("token_count", rate_limits={"limit_id": "codex", "primary": full})
        self.failure("You've hit your usage limit.", "usage_limit_exceeded")

    def overloaded(self) -> None:
        self.failure("The server is overloaded.", "server_overloaded")

    def refused(self) -> None:
        self.failure("Sign in again.", "unauthorized")

    def context(self) -> None:
        self.failure("Too long.", "context_window_exceeded")

    def interrupted(self) -> None:
        self.event("turn_aborted", reason="interrupted")

    def left(self) -> None:
        self.event("turn_aborted", reason="interrupted")

    def bookkeeping(self) -> None:
        self.event("token_count", rate_limits={"limit_id": "premium", "primary": None})

    def close(self) -> None:
        os.unlink(self.lock)
        self.held.close()


def began() -> str:
    """Return when this process started, as proc_pid_stat(5) has it in field 22."""
    try:
        with open("/proc/self/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def kill() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("still alive")


def wait_for_the_end() -> NoReturn:
    while True:
        time.sleep(600)


def behave(session: Session, prompt: str, way: str) -> int:
    """Do what a way says, and return the exit status."""
    name, _, value = way.partition(":")
    seconds = float(value or 0)
    if name == "nothing":
        return 0
    if name == "fail":
        return 3
    if name == "read-stdin":
        sys.stdin.read()
    if name == "background":
        if os.fork():
            return 0
        time.sleep(seconds)
        name = "finish"
    if name == "elsewhere":
        # An agent that goes on under another id.
        session = type(session)(str(uuid.uuid4()))
        name = "finish"
    session.prompt(prompt)
    match name:
        case "prompt-only":
            return 3
        case "subagent":
            session.delegate(seconds)
        case "call":
            session.call()
            time.sleep(seconds)
        case "hang":
            wait_for_the_end()
        case "stubborn":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            wait_for_the_end()
        case "again":
            # The same limit, and nothing done before it.
            session.limit(seconds)
            return 1
    session.work()
    match name:
        case "finish" | "read-stdin" | "subagent" | "call":
            session.finish()
        case "limit":
            session.limit(seconds)
            session.bookkeeping()
            return 1
        case "alive":
            session.limit(seconds)
            wait_for_the_end()
        case "work":
            wait_for_the_end()
        case "overloaded":
            session.overloaded()
        case "refused":
            session.refused()
        case "context":
            session.context()
        case "interrupted":
            session.interrupted()
        case "left":
            session.left()
        case "killed":
            session.half()
            kill()
        case "huge":
            session.work(3 * 1024 * 1024)
            kill()
        case _:
            raise ValueError(way)
    return 0


def queue_of() -> sqlite3.Connection:
    """Open the database of the messages that wait; it is made if it is missing."""
    # Codex makes its other databases beside it.
    sqlite3.connect(os.path.join(os.environ["CODEX_HOME"], "state_5.sqlite")).close()
    path = os.path.join(os.environ["CODEX_HOME"], "queue_1.sqlite")
    connection = sqlite3.connect(path, timeout=10, isolation_level=None)
    with open(os.path.join(PLACE, "queue.lock"), "a", encoding="ascii") as lock:
        # Of two processes that change the journal at once, one gets: database is locked.
        fcntl.flock(lock, fcntl.LOCK_EX)
        connection.execute("PRAGMA journal_mode = wal")
        connection.execute(QUEUE)
    return connection


def leave_message(identity: str, text: str) -> int:
    """Leave a message for an open program, and return the exit status."""
    if os.path.exists(os.path.join(PLACE, f"{identity}.old")):
        print("error: unexpected argument '--thread' found", file=sys.stderr)
        return 2
    value = json.dumps({"UserInput": {"content": [{"type": "text", "text": text}]}})
    row = (str(uuid.uuid4()), identity, value, time.time_ns(), 0, 0)
    queue_of().execute("INSERT INTO queued_items VALUES (?, ?, ?, ?, ?, ?)", row)
    return 0


def take_messages(session: Session) -> NoReturn:
    """Take the messages that wait for an open program, one after the other."""
    queue = queue_of()
    deaf = os.path.join(PLACE, f"{session.id}.deaf")
    query = "SELECT id, payload_json FROM queued_items WHERE thread_id = ? ORDER BY queue_order"
    while True:
        found = None if os.path.exists(deaf) else queue.execute(query, (session.id,)).fetchone()
        if found is not None:
            queue.execute("DELETE FROM queued_items WHERE id = ?", (found[0],))
            text = json.loads(found[1])["UserInput"]["content"][0]["text"]
            behave(session, text, note(session.id, ["taken", text]))
        time.sleep(0.05)


def note(identity: str, arguments: list[str]) -> str:
    """Leave a line about this run, and return its way."""
    runs = os.path.join(PLACE, f"{identity}.runs")
    with open(runs, "a+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        number = len(file.readlines())
        umask = os.umask(0)
        os.umask(umask)
        told = {
            "at": time.time(),
            "pid": os.getpid(),
            "arguments": arguments,
            "directory": os.getcwd(),
            "leads": os.getsid(0) == os.getpid(),
            "umask": umask,
            "environment": sorted(os.environ),
        }
        file.write(json.dumps(told) + "\n")
    with open(os.path.join(PLACE, f"{identity}.json"), encoding="utf-8") as file:
        ways = json.load(file)
    return str(ways[min(number, len(ways) - 1)])


def main() -> int:
    agent = os.path.basename(sys.argv[0])
    match sys.argv[1:]:
        case ["start", identity]:
            prompt = "Begin."
        case ["-p", "--resume", identity, prompt] if agent == "claude":
            pass
        case ["exec", "resume", identity, prompt] if agent == "codex":
            pass
        case ["open", identity] if agent == "codex":
            prompt = "Begin."
        case ["queue", "--thread", identity, "--message", text] if agent == "codex":
            return leave_message(identity, text)
        case _:
            print(f"{agent}: cannot understand {sys.argv[1:]}", file=sys.stderr)
            return 64
    way = note(identity, sys.argv[1:])
    session = Claude(identity) if agent == "claude" else Codex(identity)
    print("Secret words.", flush=True)
    status = behave(session, prompt, way)
    if sys.argv[1] == "open":
        take_messages(session)
    session.close()
    return status


if __name__ == "__main__":
    sys.exit(main())
