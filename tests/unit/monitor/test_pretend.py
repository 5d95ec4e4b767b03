"""What the pretend agent of the demo writes: Claude Code's own reader understands it."""

from __future__ import annotations

import json
import os
import time
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from palingenesis.monitor import pretend
from palingenesis.monitor.agents.claude import Claude
from palingenesis.monitor.owners import Snapshot
from palingenesis.monitor.processes import Process
from palingenesis.monitor.sessions import Identity, Verdict
from palingenesis.words import Kind, Owner
from tests.unit.monitor.transcripts import SESSION

AGENT = Claude()


class PretendTests(SynchronousTestCase):
    def setUp(self) -> None:
        base = os.path.abspath(self.mktemp())
        self.home = os.path.join(base, "home")
        self.here = os.path.join(base, "an app\u00e9")
        os.makedirs(self.here)
        pipe = os.path.join(base, "pipe")
        os.mkfifo(pipe)
        self.writer = os.open(pipe, os.O_RDWR)
        self.addCleanup(self.close)
        self.patch(os, "environ", {"CLAUDE_CONFIG_DIR": self.home, pretend.ALIVE_VARIABLE: pipe})
        self.patch(os, "getcwd", lambda: self.here)
        self.at = time.time()
        self.patch(pretend.time, "time", lambda: self.at)
        self.patch(pretend.time, "monotonic", lambda: self.now)
        self.patch(pretend.select, "select", self.wait)
        self.now = 0.0
        self.seen: list[tuple[Kind | None, Owner]] = []

    def close(self) -> None:
        os.close(self.writer)

    @property
    def path(self) -> str:
        (folder,) = os.listdir(os.path.join(self.home, "projects"))
        return os.path.join(self.home, "projects", folder, f"{SESSION}.jsonl")

    def read(self) -> Verdict:
        found = AGENT.read(self.path)
        assert found is not None
        self.assertEqual(found[0], Identity(SESSION, self.here))
        self.assertTrue(AGENT.is_own(self.path, found[0]))
        return found[1]

    def wait(self, *arguments: Any) -> tuple[list[int], list[int], list[int]]:
        """Look at the session as the monitor would, while a step's time passes."""
        living = Snapshot({os.getpid(): Process(os.getpid(), "1", ("python",))})
        with open(os.path.join(self.home, "sessions", f"{os.getpid()}.json")) as file:
            entry = json.load(file)
        expected = {"pid": os.getpid(), "sessionId": SESSION, "cwd": self.here}
        self.assertEqual(entry, expected)
        owners = AGENT.owners(self.home, living)
        owner = owners.witnessed(Identity(SESSION, self.here), self.path).owner
        self.seen.append((self.read().kind, owner))
        self.now += arguments[-1]
        return [], [], []

    def records(self) -> list[dict[str, Any]]:
        with open(self.path, encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    def test_a_session_works_and_stops_at_a_limit_then_goes_on_and_finishes(self) -> None:
        self.assertEqual(pretend.main(["begin", SESSION]), 1)
        verdict = self.read()
        self.assertEqual((verdict.kind, verdict.reset), (Kind.LIMIT, self.at + pretend.RESET))
        self.assertEqual(verdict.last_prompt, "Begin.")
        self.assertEqual(pretend.main(["--resume", SESSION, "go on"]), 0)
        verdict = self.read()
        self.assertEqual(verdict.kind, Kind.FINISHED)
        self.assertEqual(AGENT.last_prompt(self.path)[0], "go on")
        self.assertIsNotNone(verdict.progress)
        self.assertEqual(set(self.seen), {(None, Owner.PROGRAM)})
        self.assertEqual(len(self.seen), 10)
        self.assertEqual(os.listdir(os.path.join(self.home, "sessions")), [])

    def test_each_record_is_one_of_claude_code_s(self) -> None:
        pretend.main(["begin", SESSION])
        records = self.records()
        self.assertEqual(len({each["uuid"] for each in records}), len(records))
        for record in records:
            self.assertRegex(record["timestamp"], r"\A[-0-9]{10}T[:0-9]{8}\.[0-9]{3}Z\Z")
            self.assertIs(record["isSidechain"], False)
            self.assertEqual(record["message"]["role"], record["type"])
        self.assertEqual({each["type"] for each in records[2:-1:2]}, {"user"})
        (call,), (result,) = (record["message"]["content"] for record in records[1:3])
        self.assertEqual((call["type"], call["name"], call["input"]), ("tool_use", "Bash", {}))
        self.assertRegex(call["id"], r"\Atoolu_[0-9a-f]{32}\Z")
        self.assertEqual(records[1]["message"]["stop_reason"], "tool_use")
        self.assertEqual(
            result, {"type": "tool_result", "tool_use_id": call["id"], "content": "ok"}
        )
        last = records[-1]
        self.assertEqual((last["error"], last["apiErrorStatus"]), ("rate_limit", 429))
        self.assertEqual(last["quotaLimits"]["status"], "rejected")
        synthetic = {"model": "<synthetic>", "stop_reason": "stop_sequence"}
        text = [{"type": "text", "text": "You've hit your session limit"}]
        self.assertEqual(last["message"], {"role": "assistant", "content": text, **synthetic})
        pretend.main(["--resume", SESSION, "go on"])
        reply = self.records()[-1]["message"]
        self.assertEqual(reply["content"], [{"type": "text", "text": "Done."}])
        self.assertEqual((reply["model"], reply["stop_reason"]), ("pretend", "end_turn"))

    def test_a_session_ends_with_the_demo(self) -> None:
        self.patch(pretend.select, "select", lambda readable, *_: (readable, [], []))
        error = self.assertRaises(SystemExit, pretend.main, ["begin", SESSION])
        self.assertEqual(error.code, 1)
        self.assertEqual(os.listdir(os.path.join(self.home, "sessions")), [])

    def test_without_a_demo_nothing_is_written(self) -> None:
        self.close()
        self.writer = os.open(os.devnull, os.O_RDONLY)
        error = self.assertRaises(SystemExit, pretend.main, ["begin", SESSION])
        self.assertEqual(error.code, 1)
        self.assertFalse(os.path.exists(self.home))

    def test_other_arguments_are_a_mistake(self) -> None:
        for arguments in ([], ["begin"], ["--resume", SESSION], ["--help"]):
            self.assertEqual(pretend.main(arguments), 64)
