"""What holds for every agent: whatever a file holds, a reading of it ends, and ends well."""

from __future__ import annotations

import json
import os
import re
import tomllib
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from palingenesis.monitor.agents import AGENTS
from palingenesis.monitor.agents import agent as agent_module
from palingenesis.monitor.agents.agent import STATUSES, Agent, Step, What
from palingenesis.monitor.homes import Home
from palingenesis.monitor.mounts import Mount
from palingenesis.monitor.owners import Snapshot
from palingenesis.monitor.processes import Process
from palingenesis.monitor.revive import Command, environment_for
from palingenesis.monitor.sessions import Identity, Verdict
from palingenesis.words import Kind, Owner
from tests.support.checkout import ROOT
from tests.support.needs import needs_linux
from tests.support.texts import ENCODABLE
from tests.unit.monitor.transcripts import (
    DIRECTORY,
    META,
    SESSION,
    call,
    claude,
    event,
    failure,
    item,
    lines,
    reply,
    result,
)

LIMIT = "You've hit your session limit · resets 2:40pm (America/Chicago)"
CLAUDE = [
    claude("user", "go on"),
    call("Bash"),
    result(),
    claude("system", subtype="api_error", retryAttempt=1),
    reply(),
    claude("user", "<command-name>/exit</command-name>"),
    failure(LIMIT, "rate_limit", quotaLimits={"resetsAt": 1789846800}),
    {"type": "mode", "sessionId": SESSION},
]
LIMITS = {"primary": {"used_percent": 100, "resets_at": 1789846800}, "secondary": None}
CODEX = [
    META,
    event("task_started"),
    item("message", role="user", content=[{"type": "input_text", "text": "go on"}]),
    item("function_call", name="exec_command"),
    event("token_count", rate_limits=LIMITS),
    event("task_complete", error={"message": LIMIT, "codex_error_info": "usage_limit_exceeded"}),
]
COPILOT = [
    {
        "type": "session.start",
        "data": {"sessionId": SESSION, "context": {"cwd": DIRECTORY}},
        "timestamp": "2026-09-17T13:45:00.000Z",
    },
    {"type": "user.message", "data": {"content": "go on"}},
    {"type": "assistant.turn_start", "data": {"turnId": "0"}},
    {"type": "tool.execution_start", "data": {"toolCallId": "c", "toolName": "ask_user"}},
    {"type": "tool.execution_complete", "data": {"toolCallId": "c", "success": True}},
    {"type": "assistant.turn_end", "data": {"turnId": "0"}},
    {
        "type": "session.error",
        "data": {"errorType": "rate_limit", "message": "limit reached|1789846800"},
        "id": "342fd67f-343d-4466-b239-b5110e0b9215",
        "timestamp": "2026-09-17T13:45:00.000Z",
    },
]
QWEN = [
    {
        "type": type_,
        "sessionId": SESSION,
        "cwd": DIRECTORY,
        "uuid": "8c448c2e-41e3-479d-a123-c358e9a2d76a",
        "timestamp": "2026-09-17T13:45:00.000Z",
        **more,
    }
    for type_, more in (
        ("user", {"message": {"parts": [{"text": "go on"}]}}),
        ("assistant", {"message": {"parts": [{"functionCall": {"name": "run_shell_command"}}]}}),
        ("tool_result", {"toolCallResult": {"status": "success"}}),
        (
            "system",
            {
                "systemPayload": {
                    "uiEvent": {
                        "event.name": "qwen-code.api_error",
                        "prompt_id": "########0",
                        "error_message": "limit reached|1789846800",
                        "status_code": 429,
                    }
                }
            },
        ),
    )
]
#: Further records, whose order says nothing.
MORE = {
    "claude": [
        claude("user", [{"type": "text", "text": "go on"}], origin={"kind": "task-notification"}),
        claude("user", "x", isMeta=True, origin={"kind": "auto-continuation"}),
        claude("system", subtype="informational", content="Usage limit reset"),
        claude("system", subtype="local_command", content="Error during compaction: x"),
        result("Exit code 137", toolUseResult="Error: Exit code 137"),
        failure("?", "unknown", apiErrorStatus=529, apiError="x", apiErrorIsTransient=False),
    ],
    "codex": [
        event("user_message", message="go on"),
        event("agent_message", message="Done."),
        event("turn_aborted", reason="interrupted"),
        event("error", message="x", codex_error_info={"http_connection_failed": {"status": 500}}),
        event("item_completed", item={"type": "AgentMessage", "content": [{"text": "x"}]}),
        event("task_complete", last_agent_message="Done."),
        item("message", role="assistant", content=[{"type": "output_text", "text": "x"}]),
        {"type": "turn_context", "payload": {"cwd": DIRECTORY}},
        {"type": "compacted", "payload": {"message": "x"}},
    ],
    "copilot": [
        {"type": "assistant.message", "data": {"content": "", "toolRequests": [{"name": "x"}]}},
        {"type": "abort", "data": {"reason": "user"}},
        {"type": "session.shutdown", "data": {"shutdownType": "routine"}},
        {"type": "permission.requested", "data": {"permissionRequest": {"kind": "shell"}}},
    ],
    "qwen": [],
}
#: Values of every shape that JSON has.
SHAPES: tuple[Any, ...] = (None, True, 1e300, "x", ["x"], [[]], [{"x": 5}])
REAL = [("claude", CLAUDE), ("codex", CODEX), ("copilot", COPILOT), ("qwen", QWEN)]
#: The agents whose transcripts are files of lines.
FILES = sorted(name for name, agent in AGENTS.items() if type(agent).read is Agent.read)
TEXT = st.text(ENCODABLE)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXT
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


def paths(value: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Give the way to every value inside a value."""
    inner: Any = value.items() if isinstance(value, dict) else ()
    inner = enumerate(value) if isinstance(value, list) else inner
    return [above, *(path for key, below in inner for path in paths(below, (*above, key)))]


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


class ReadingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = self.mktemp()

    def read(self, agent: str, content: bytes) -> tuple[Identity, Verdict] | None:
        with open(self.path, "wb") as file:
            file.write(content)
        return AGENTS[agent].read(self.path)

    def check(self, agent: str, content: bytes) -> None:
        """Check that a reading gives what it may give, and gives it twice."""
        known = Identity(SESSION, DIRECTORY)
        found = self.read(agent, content)
        self.assertEqual(found, self.read(agent, content))
        reading = AGENTS[agent].read(self.path, known)
        assert reading is not None
        verdict = reading[1]
        self.assertTrue(verdict.kind is None or isinstance(verdict.kind, Kind))
        self.assertTrue(verdict.key.isprintable() and len(verdict.key) <= 100)
        for time in (verdict.at, verdict.reset, verdict.progress):
            self.assertTrue(time is None or -1e12 < time < 1e15)

    def test_a_session_and_what_its_end_says(self) -> None:
        for agent, records in REAL:
            found = self.read(agent, lines(records))
            assert found is not None
            self.assertEqual(found[0], Identity(SESSION, DIRECTORY))
            self.assertEqual((found[1].kind, found[1].reset), (Kind.LIMIT, 1789846800.0))

    def test_a_file_without_a_session(self) -> None:
        for agent in FILES:
            self.assertIsNone(self.read(agent, b"nonsense\n"))

    def test_a_file_that_is_not_there(self) -> None:
        for agent in AGENTS.values():
            self.assertRaises(FileNotFoundError, agent.read, self.path)

    @settings(max_examples=150, deadline=None)
    @given(st.sampled_from(FILES), st.binary(max_size=400))
    def test_any_bytes_are_read_to_an_end(self, agent: str, content: bytes) -> None:
        self.check(agent, content)

    @settings(max_examples=150, deadline=None)
    @given(st.sampled_from(FILES), st.lists(VALUES, max_size=4))
    def test_any_json_is_read_to_an_end(self, agent: str, values: list[Any]) -> None:
        self.check(agent, lines(values))

    @settings(max_examples=400, deadline=None)
    @given(st.data(), VALUES)
    def test_real_records_with_anything_in_a_place(self, data: st.DataObject, new: Any) -> None:
        agent, records = data.draw(st.sampled_from(REAL))
        record = data.draw(st.sampled_from(records))
        path = data.draw(st.sampled_from(paths(record)))
        self.check(agent, lines([*records, replaced(record, path, new)]))

    def test_a_value_of_another_shape_spoils_no_reading(self) -> None:
        for agent, records in REAL:
            before = lines(records)
            for record in (*records, *MORE[agent]):
                for path in paths(record):
                    for new in SHAPES:
                        found = self.read(agent, before + lines([replaced(record, path, new)]))
                        assert found is not None
                        kind = found[1].kind
                        self.assertTrue(kind is None or isinstance(kind, Kind), (record, path))

    def test_any_truncated_transcript_is_read_to_an_end(self) -> None:
        for agent, records in REAL:
            content = lines(records)
            ends = {0, *(n + 1 for n, byte in enumerate(content) if byte == 10)}
            whole = {n: self.read(agent, content[:n]) for n in ends}
            for n in range(0, len(content), 3):
                expected = whole[max(end for end in ends if end <= n)]
                self.assertEqual(self.read(agent, content[:n]), expected, n)

    @settings(max_examples=100, deadline=None)
    @given(st.data())
    def test_any_transcript_with_a_changed_byte_is_read_to_an_end(
        self, data: st.DataObject
    ) -> None:
        agent, records = data.draw(st.sampled_from(REAL))
        content = bytearray(lines(records))
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        self.check(agent, bytes(content))

    def test_records_are_the_same_with_white_space(self) -> None:
        for agent, records in REAL:
            tight = b"".join(
                json.dumps(record, separators=(",", ":")).encode() + b"\n" for record in records
            )
            loose = self.read(agent, lines(records))
            found = self.read(agent, tight)
            assert loose is not None
            assert found is not None
            self.assertEqual(loose[1].kind, found[1].kind)

    def test_a_huge_file_is_not_read_whole(self) -> None:
        # A sparse file: 300 GiB that would take minutes.
        for agent, records in REAL:
            with open(self.path, "wb") as file:
                file.write(lines(records[:1]))
                file.seek(300 * 2**30)
                file.write(b"\n" + lines(records))
            found = AGENTS[agent].read(self.path)
            assert found is not None
            self.assertEqual(found[1].kind, Kind.LIMIT)
            os.unlink(self.path)


class SettingsTests(SynchronousTestCase):
    """What an agent is started with."""

    def test_the_commands_are_those_that_the_handbook_shows(self) -> None:
        page = (ROOT / "docs" / "monitor.rst").read_text("utf-8")
        found = re.search(
            r"^ +\[revive\.claude\]\n.*?(?=^ +\[\[projects)", page, re.MULTILINE | re.DOTALL
        )
        assert found is not None
        shown = tomllib.loads(found.group())["revive"]
        self.assertEqual(shown.keys(), AGENTS.keys())
        for name, agent in AGENTS.items():
            self.assertEqual(shown[name]["command"], [name, *agent.preset])
            if agent.queue_preset:
                self.assertEqual(shown[name]["queue"], [name, *agent.queue_preset])

    def test_a_status_of_a_model_s_server_means_the_same_for_every_agent(self) -> None:
        for statuses, kind in (
            ((401, 402, 403), Kind.REFUSED),
            ((408, 500, 501, 529, 599), Kind.TRANSIENT),
            ((413,), Kind.CONTEXT),
            ((429,), Kind.LIMIT),
            ((200, 400, 404, 405, 407, 409, 412, 414, 428, 430, 499, 600), None),
        ):
            self.assertEqual({STATUSES.get(status) for status in statuses}, {kind}, statuses)

    def test_each_agent_has_its_home_and_the_variable_that_names_another(self) -> None:
        for name, variable, home in (
            ("claude", "CLAUDE_CONFIG_DIR", "/h/.claude"),
            ("codex", "CODEX_HOME", "/h/.codex"),
            ("copilot", "COPILOT_HOME", "/h/.copilot"),
            ("qwen", "QWEN_HOME", "/h/.qwen"),
        ):
            agent = AGENTS[name]
            self.assertEqual(agent.home({"HOME": "/h"}), home)
            self.assertEqual(agent.home({"HOME": "/h", variable: "/x"}), "/x")
            self.assertEqual(dict(agent.variables("/x")), {variable: "/x"})

    def test_each_agent_has_the_names_of_its_programs(self) -> None:
        for name, programs in (
            ("claude", {"claude", "claude.exe", "claude-code", "claude-agent-sdk"}),
            ("codex", {"codex", "codex.js"}),
            ("copilot", {"copilot", "copilot.exe"}),
            ("opencode", {"opencode", "opencode.exe"}),
            ("qwen", {"qwen", "qwen-code"}),
        ):
            self.assertEqual(AGENTS[name].programs, programs)

    def test_an_agent_s_marks_of_its_own_children_are_kept_from_a_command(self) -> None:
        marks = ("CLAUDECODE", "CLAUDE_CODE_ENTRYPOINT", "CLAUDE_CODE_SSE_PORT")
        marks += ("CLAUDE_CODE_CHILD_SESSION", "CODEX_SANDBOX", "CODEX_SANDBOX_NETWORK_DISABLED")
        inherited = dict.fromkeys((*marks, "PATH", "CODEX_HOME"), "1")
        found = environment_for(Command(("x",)), Home("x", "claude", "/x"), "/d", inherited)
        self.assertEqual(found, {"PATH": "1", "CODEX_HOME": "1", "PWD": "/d"})

    def test_a_home_is_an_absolute_path_whatever_the_environment_says(self) -> None:
        self.patch(agent_module, "home_directory", lambda: "/users/me")
        agent = AGENTS["codex"]
        for environment, home in (
            ({"CODEX_HOME": "/x/../y/", "HOME": "/h"}, "/y"),
            ({"CODEX_HOME": "relative", "HOME": "/h"}, "/h/.codex"),
            ({"HOME": "/h"}, "/h/.codex"),
            ({"HOME": "relative"}, "/users/me/.codex"),
            ({"HOME": ""}, "/users/me/.codex"),
            ({}, "/users/me/.codex"),
        ):
            self.assertEqual(agent.home(environment), home)
        self.patch(agent_module, "home_directory", lambda: None)
        self.assertEqual(agent.home({}), "/dev/null/.codex")


class StepTests(SynchronousTestCase):
    def test_a_step_says_only_what_it_was_given(self) -> None:
        step = Step(What.END, "key", 5.0)
        self.assertEqual(step.verdict(), Verdict(None, "key", 5.0))
        self.assertFalse(step.progress)

    def test_the_last_prompt_was_typed_only_if_there_is_one(self) -> None:
        for prompt, typed, found in (
            ("go on", True, (None, True)),
            ("go on", False, ("go on", False)),
            (None, True, (None, False)),
        ):
            verdict = Step(What.PROMPT, "key", None, prompt=prompt, typed=typed).verdict()
            self.assertEqual((verdict.prompt, verdict.last_typed), found)

    def test_progress_has_the_newest_time_that_is_known(self) -> None:
        steps = [
            Step(What.END, "d", 9.0),
            *(Step(What.WORK, "c", at, progress=True) for at in (None, 5.0, 7.0)),
        ]
        self.assertEqual(AGENTS["codex"].progress(steps), 5.0)


class OwnWordsTests(SynchronousTestCase):
    """Where an agent itself keeps a session, and how a command line names it."""

    PLACES = (
        f"/h/projects/-home-you-app/{SESSION}.jsonl",
        f"/h/sessions/2026/09/21/rollout-2026-09-21T05-00-00-{SESSION}.jsonl",
        f"/h/session-state/{SESSION}/events.jsonl",
        f"/h/projects/-home-you-app/chats/{SESSION}.jsonl",
    )
    NAMES = ("claude", "codex", "copilot", "qwen")

    def test_each_agent_knows_its_own_place(self) -> None:
        for name, path in zip(self.NAMES, self.PLACES, strict=True):
            found = [
                AGENTS[name].is_own(each, Identity(SESSION, DIRECTORY)) for each in (path, "/h/x")
            ]
            self.assertEqual(found, [True, False], name)

    def test_a_command_line_that_names_a_transcript_names_its_session(self) -> None:
        for name, path in zip(self.NAMES, self.PLACES, strict=True):
            process = Process(42, "1", ("less", path), directory="/")
            snapshot = Snapshot({42: process}, look_at=lambda _, found=process: found)
            owners = AGENTS[name].owners("/nonexistent", snapshot)
            witness = owners.witness(Identity(SESSION, DIRECTORY), path)
            self.assertEqual(witness.who, "pid 42 (less)", name)


class OwnerTests(SynchronousTestCase):
    def owner(self, kind: str) -> Owner:
        here = os.path.dirname(os.path.abspath(__file__))
        snapshot = Snapshot({}, mounts=(Mount("/", kind, os.stat(here).st_dev),))
        owners = AGENTS["claude"].owners(self.mktemp(), snapshot)
        return owners.witness(Identity(SESSION, DIRECTORY), __file__).owner

    def test_an_owner_is_gone_where_all_writers_are_seen(self) -> None:
        self.assertEqual(self.owner("ext4"), Owner.GONE)

    @needs_linux("macOS asks the path itself for its file system")
    def test_an_owner_is_unknown_where_others_may_write(self) -> None:
        self.assertEqual(self.owner("nfs4"), Owner.UNKNOWN)
