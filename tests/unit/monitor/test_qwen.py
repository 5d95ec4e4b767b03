from __future__ import annotations

import json
import os
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from palingenesis.monitor.agents.qwen import Qwen
from palingenesis.monitor.files import Walk
from palingenesis.monitor.mounts import Mount
from palingenesis.monitor.owners import Snapshot
from palingenesis.monitor.processes import Process
from palingenesis.monitor.sessions import Identity, Verdict
from palingenesis.monitor.transcript import PARSE_LIMIT, Record
from palingenesis.words import Kind, Owner
from tests.unit.monitor.transcripts import DIRECTORY, SESSION, judge, lines

AGENT = Qwen()
AT = 1795782003.164


def record(type_: str, **more: Any) -> dict[str, Any]:
    return {
        "uuid": "8c448c2e-41e3-479d-a123-c358e9a2d76a",
        "sessionId": SESSION,
        "timestamp": "2026-11-27T12:20:03.164Z",
        "type": type_,
        "cwd": DIRECTORY,
        "version": "0.24.4",
        **more,
    }


def said(type_: str, *parts: Any, **more: Any) -> dict[str, Any]:
    return record(type_, message={"role": "model", "parts": list(parts)}, **more)


def telemetry(name: str, prompt: str = f"{SESSION}########0", **more: Any) -> dict[str, Any]:
    event = {"event.name": f"qwen-code.{name}", "prompt_id": prompt, **more}
    return record("system", subtype="ui_telemetry", systemPayload={"uiEvent": event})


def failed(message: str, status: int | None = None, **more: Any) -> dict[str, Any]:
    more |= {} if status is None else {"status_code": status}
    return telemetry("api_error", error_message=message, **more)


USAGE = {"totalTokenCount": 110}
PROMPT = said("user", {"text": "please do the work"}, provenance="real_user")
REPLY = said("assistant", {"text": "Done."}, usageMetadata=USAGE)
CALL = said("assistant", {"functionCall": {"name": "run_shell_command"}}, usageMetadata=USAGE)
RESULT = said("tool_result", {"functionResponse": {"name": "run_shell_command"}})


class VerdictTests(SynchronousTestCase):
    """What the newest records mean."""

    def verdict(self, *records: Any) -> Verdict:
        return judge("qwen", PROMPT, *records)

    def test_a_finished_turn_is_finished(self) -> None:
        for records in ([REPLY], [CALL, RESULT, REPLY], [REPLY, telemetry("api_response")]):
            verdict = self.verdict(*records)
            self.assertEqual((verdict.kind, verdict.at, verdict.progress), (Kind.FINISHED, AT, AT))

    def test_the_middle_of_a_turn(self) -> None:
        for records in ([], [CALL], [CALL, RESULT], [REPLY, PROMPT], [failed("x", 500), PROMPT]):
            self.assertIsNone(self.verdict(*records).kind, records)
        self.assertTrue(self.verdict(CALL).calling)
        self.assertEqual(self.verdict().prompt, "please do the work")

    def test_a_reply_that_is_not_whole(self) -> None:
        self.assertEqual(self.verdict(said("assistant", {"text": "beg"})).kind, Kind.UNKNOWN)

    def test_each_error_has_its_kind(self) -> None:
        full = "This model's maximum context length is 128000 tokens. However, your messages"
        for error, kind in (
            (failed("429 You have hit your rate limit.", 429), Kind.LIMIT),
            (failed("429 You exceeded your current quota", 429), Kind.REFUSED),
            (failed("529 Overloaded", 529), Kind.TRANSIENT),
            (failed("500", 500), Kind.TRANSIENT),
            (failed("401 Incorrect API key", 401), Kind.REFUSED),
            (failed("403", 403), Kind.REFUSED),
            (failed(f"400 {full}", 400), Kind.CONTEXT),
            (failed("400 timed out", 400), Kind.UNKNOWN),
            (failed("terminated (cause: UND_ERR_SOCKET: other side closed)"), Kind.TRANSIENT),
            (failed("x", error_type="TypeError:UND_ERR_SOCKET"), Kind.TRANSIENT),
            (failed("Connection error."), Kind.TRANSIENT),
            (failed("x"), Kind.UNKNOWN),
            (telemetry("api_error", error_message=1, status_code="5"), Kind.UNKNOWN),
        ):
            verdict = self.verdict(error)
            self.assertEqual((verdict.kind, verdict.progress), (kind, None), error)

    def test_a_reset_is_read_from_the_text(self) -> None:
        error = failed("429 You have hit your rate limit. Please try again in 2 hours.", 429)
        self.assertEqual(self.verdict(error).reset, AT + 7200)

    def test_an_error_of_a_request_of_its_own_says_nothing(self) -> None:
        own = f"{SESSION}#managed-auto-memory-extractor-b44397a6#0"
        self.assertEqual(self.verdict(REPLY, failed("x", 500, prompt=own)).kind, Kind.FINISHED)

    def test_the_user_s_end(self) -> None:
        cancelled = said("tool_result", toolCallResult={"status": "cancelled"})
        self.assertEqual(self.verdict(CALL, cancelled).kind, Kind.USER)

    def test_what_waits_for_a_person(self) -> None:
        for name in ("ask_user_question", "exit_plan_mode"):
            question = said("assistant", {"functionCall": {"name": name}}, usageMetadata=USAGE)
            self.assertEqual(self.verdict(question).kind, Kind.ASKING)
            self.assertIsNone(self.verdict(question, RESULT).kind)

    def test_a_record_that_is_too_long(self) -> None:
        long = said("tool_result", {"text": "x" * PARSE_LIMIT})
        self.assertIsNone(self.verdict(REPLY, long).kind)

    def test_a_record_that_is_too_long_and_no_message_says_nothing(self) -> None:
        long = telemetry("api_error", error_message="x" * PARSE_LIMIT, status_code=500)
        self.assertEqual(self.verdict(REPLY, long).kind, Kind.FINISHED)

    def test_the_last_prompt_is_not_an_older_one_if_it_is_too_long(self) -> None:
        stop = failed("429", 429)
        self.assertEqual(self.verdict(stop).last_prompt, "please do the work")
        huge = said("user", {"text": "x" * PARSE_LIMIT})
        self.assertIsNone(self.verdict(huge, stop).last_prompt)
        self.assertEqual(self.verdict(CALL, RESULT, stop).last_prompt, "please do the work")

    def test_the_key_is_the_record_s_id_if_that_is_one(self) -> None:
        self.assertEqual(self.verdict(REPLY).key, REPLY["uuid"])
        for key in ("", "short", "x" * 65, "../../etc", 5, None):
            self.assertRegex(self.verdict({**REPLY, "uuid": key}).key, r"\A@[0-9]+\Z")

    def test_calls_and_results_are_progress_and_a_prompt_is_none(self) -> None:
        for record, progress, calling in (
            (CALL, AT, True),
            (RESULT, AT, False),
            (PROMPT, None, False),
        ):
            verdict = self.verdict(record)
            self.assertEqual((verdict.progress, verdict.calling), (progress, calling), record)

    def test_values_of_another_type(self) -> None:
        for value in ({"type": 1}, {"type": "system", "systemPayload": 1}, said("user", 1, "x")):
            self.assertIn(self.verdict(REPLY, value).kind, (None, Kind.FINISHED))


class SessionTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.home = self.mktemp()
        self.path = os.path.join(self.home, "projects", "-app", "chats", f"{SESSION}.jsonl")
        os.makedirs(os.path.dirname(self.path))
        with open(self.path, "wb") as file:
            file.write(lines([PROMPT]))

    def owner(self, *processes: Process) -> Owner:
        mounts = (Mount("/", "ext4", os.stat(self.home).st_dev),)
        snapshot = Snapshot({each.pid: each for each in processes}, mounts=mounts)
        owners = AGENT.owners(self.home, snapshot)
        return owners.witness(Identity(SESSION, DIRECTORY), self.path).owner

    def register(self, **entry: Any) -> None:
        os.mkdir(os.path.join(self.home, "sessions"))
        with open(os.path.join(self.home, "sessions", "7.json"), "w", encoding="ascii") as file:
            json.dump({"pid": 7, "procStart": "10245a22-562e:613523", **entry}, file)

    def test_sessions_are_found_in_the_home(self) -> None:
        found = [each for each in AGENT.sessions(self.home, Walk(self.fail)) if each is not None]
        self.assertEqual([transcript for transcript, _ in found], [self.path])
        self.assertEqual(AGENT.identity([Record(1, PROMPT)]), Identity(SESSION, DIRECTORY))

    def test_a_session_without_a_process_is_gone(self) -> None:
        self.assertEqual(self.owner(), Owner.GONE)

    def test_a_process_in_the_directory(self) -> None:
        process = Process(7, "1", ("node", "/x/bin/qwen"), "node", directory=DIRECTORY)
        self.assertEqual(self.owner(process), Owner.PROGRAM)

    def test_another_agent_in_the_directory(self) -> None:
        process = Process(7, "1", ("claude",), "claude", directory=DIRECTORY)
        self.assertEqual(self.owner(process), Owner.GONE)

    def test_a_living_process_in_the_registry(self) -> None:
        self.register(sessionId=SESSION, cwd="/elsewhere")
        process = Process(7, "613523", ("node",), "node", directory="/elsewhere")
        self.assertEqual(self.owner(process), Owner.PROGRAM)
        self.assertEqual(self.owner(), Owner.GONE)
