from __future__ import annotations

import os
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from palingenesis.monitor.agents.copilot import Copilot
from palingenesis.monitor.files import Walk
from palingenesis.monitor.mounts import Mount
from palingenesis.monitor.owners import Lock, Snapshot
from palingenesis.monitor.processes import Process
from palingenesis.monitor.sessions import Identity, Verdict
from palingenesis.monitor.transcript import PARSE_LIMIT, Record
from palingenesis.words import Kind, Owner
from tests.support.needs import needs_linux
from tests.unit.monitor.transcripts import DIRECTORY, SESSION, judge, lines

AGENT = Copilot()
AT = 1795781951.31


def event(type_: str, /, agent: str | None = None, **data: Any) -> dict[str, Any]:
    record = {
        "type": type_,
        "data": data,
        "id": "342fd67f-343d-4466-b239-b5110e0b9215",
        "timestamp": "2026-11-27T12:19:11.310Z",
        "parentId": None,
    }
    return record if agent is None else {**record, "agentId": agent}


START = event("session.start", sessionId=SESSION, version=1, context={"cwd": DIRECTORY})
PROMPT = event("user.message", content="please do the work")
BEGUN = event("assistant.turn_start", turnId="0")
REPLY = event("assistant.message", content="Done.", toolRequests=[])
CALL = event("assistant.message", content="", toolRequests=[{"toolCallId": "call_1"}])
TOOL = event("tool.execution_start", toolCallId="call_1", toolName="bash")
DONE = event("tool.execution_complete", toolCallId="call_1", success=True)
OVER = event("assistant.turn_end", turnId="0")
EXIT = event("session.shutdown", shutdownType="routine")
TURN = [START, PROMPT, BEGUN]


def failed(kind: str, message: str = "x", status: int | None = None, **data: Any) -> Any:
    data |= {"errorType": kind, "message": message}
    return event("session.error", **data, **({} if status is None else {"statusCode": status}))


class VerdictTests(SynchronousTestCase):
    """What the newest events mean."""

    def verdict(self, *records: Any) -> Verdict:
        return judge("copilot", *TURN, *records)

    def test_a_finished_turn_is_finished(self) -> None:
        for records in (
            [REPLY, OVER],
            [REPLY, OVER, EXIT],
            [CALL, TOOL, DONE, OVER, BEGUN, REPLY, OVER],
            [REPLY, OVER, event("session.usage_record"), event("session.title_changed")],
        ):
            verdict = self.verdict(*records)
            self.assertEqual((verdict.kind, verdict.at, verdict.progress), (Kind.FINISHED, AT, AT))

    def test_the_middle_of_a_turn(self) -> None:
        for records in (
            [],
            [REPLY],
            [CALL],
            [CALL, TOOL],
            [CALL, TOOL, EXIT],
            [CALL, TOOL, DONE],
            [CALL, TOOL, DONE, OVER],
            [CALL, TOOL, DONE, OVER, BEGUN],
            [REPLY, OVER, PROMPT],
            [failed("query", status=500), PROMPT],
            [failed("query", status=500), CALL],
            [REPLY, OVER, BEGUN],
        ):
            self.assertIsNone(self.verdict(*records).kind, records)

    def test_each_error_has_its_kind(self) -> None:
        retried = "Failed to get response from the AI model; retried 5 times (total retry wait time"
        too_long = "The provider rejected the prompt as too long, but automatic recovery could not"
        for error, kind in (
            (failed("rate_limit", "429 You have hit your rate limit.", 429), Kind.LIMIT),
            (failed("rate_limit", "Too many requests"), Kind.LIMIT),
            (failed("query", "429", 429), Kind.LIMIT),
            (failed("quota", "You have no quota"), Kind.REFUSED),
            (failed("authentication", "Authentication failed"), Kind.REFUSED),
            (failed("authorization"), Kind.REFUSED),
            (failed("policy"), Kind.REFUSED),
            (failed("context_limit"), Kind.CONTEXT),
            (failed("query", too_long), Kind.CONTEXT),
            (failed("query", f"{retried}: 5.69 seconds) Last error: 529", 529), Kind.TRANSIENT),
            (failed("query", f"{retried}: 5.00 seconds) Last error: EOF"), Kind.TRANSIENT),
            (failed("query", "x", 500), Kind.TRANSIENT),
            (failed("query", "Connection error"), Kind.TRANSIENT),
            (failed("query", "x", 402), Kind.REFUSED),
            (failed("query", "Connection error", 400), Kind.UNKNOWN),
            (failed("query", "x"), Kind.UNKNOWN),
            (failed("another", "x"), Kind.UNKNOWN),
            (event("session.error", errorType=["query"], message=1, statusCode="5"), Kind.UNKNOWN),
        ):
            for after in ([], [EXIT]):
                verdict = self.verdict(OVER, error, *after)
                self.assertEqual((verdict.kind, verdict.progress), (kind, None), error)

    def test_resets_are_read_from_the_text(self) -> None:
        for kind, message, seconds in (
            # github/copilot-cli#2336
            ("rate_limit", "Please try again in 2 hours.", 7200),
            # microsoft/vscode#325598
            ("rate_limit", "Sorry, retry after 840 seconds.", 840),
            ("quota", "Try again in 3 days", 3 * 86400),
        ):
            verdict = self.verdict(OVER, failed(kind, message, 429))
            assert verdict.reset is not None
            self.assertEqual((verdict.kind, round(verdict.reset - AT)), (Kind.LIMIT, seconds))
        self.assertIsNone(self.verdict(failed("rate_limit", "Please wait.", 429)).reset)

    def test_the_user_s_end(self) -> None:
        for reason in ("user_initiated", "user_abort", "remote_command"):
            verdict = self.verdict(CALL, TOOL, OVER, event("abort", reason=reason), EXIT)
            self.assertEqual(verdict.kind, Kind.USER)

    def test_a_stop_at_the_user_s_own_limit_of_credits(self) -> None:
        verdict = self.verdict(event("abort", reason="autopilot_credit_limit"))
        self.assertEqual(verdict.kind, Kind.REFUSED)

    def test_what_waits_for_a_person(self) -> None:
        other = event("tool.execution_complete", toolCallId="call_2", success=True)
        for name in ("permission", "user_input", "elicitation", "exit_plan_mode"):
            asked = event(f"{name}.requested", requestId="r")
            answered = event(f"{name}.completed", requestId="r")
            for after, kind in (
                ([], Kind.ASKING),
                ([other], Kind.ASKING),
                ([EXIT], Kind.ASKING),
                ([answered], None),
                ([answered, DONE], None),
                ([answered, OVER, BEGUN], None),
            ):
                verdict = self.verdict(CALL, TOOL, asked, *after)
                self.assertEqual(verdict.kind, kind, after)
                wanted = kind is Kind.ASKING and name == "permission"
                self.assertEqual(verdict.permission, wanted)

    def test_a_question_is_asking(self) -> None:
        for tool in ("ask_user", "exit_plan_mode"):
            question = event("tool.execution_start", toolCallId="call_1", toolName=tool)
            self.assertEqual(self.verdict(CALL, question).kind, Kind.ASKING)
            self.assertIsNone(self.verdict(CALL, question, DONE).kind)

    def test_of_two_requests_each_waits_for_its_own_answer(self) -> None:
        asked = [event("permission.requested", requestId=each) for each in "ab"]
        for answered in "ab":
            answer = event("permission.completed", requestId=answered)
            self.assertEqual(self.verdict(CALL, TOOL, *asked, answer).kind, Kind.ASKING)

    def test_a_call_of_a_tool_is_told_from_a_reply(self) -> None:
        for record, calling in ((CALL, True), (TOOL, True), (REPLY, False), (DONE, False)):
            self.assertEqual(self.verdict(record).calling, calling, record)

    def test_the_last_prompt_is_not_an_older_one_if_it_is_too_long(self) -> None:
        stop = failed("rate_limit")
        self.assertEqual(self.verdict(stop).last_prompt, "please do the work")
        huge = {**PROMPT, "data": {"content": "x" * PARSE_LIMIT}}
        self.assertIsNone(self.verdict(huge, stop).last_prompt)

    def test_a_sub_agent_s_events_say_nothing(self) -> None:
        theirs = event("session.error", "task_1", errorType="rate_limit", message="x")
        self.assertEqual(self.verdict(REPLY, OVER, theirs).kind, Kind.FINISHED)

    def test_an_event_that_is_too_long(self) -> None:
        long = "x" * PARSE_LIMIT
        done = {**DONE, "data": {**DONE["data"], "result": long}}
        self.assertIsNone(self.verdict(REPLY, OVER, done).kind)
        self.assertIsNone(self.verdict(REPLY, OVER, {**PROMPT, "data": {"content": long}}).kind)
        theirs = {"type": "abort", "agentId": "task_1", "data": {"reason": long}}
        self.assertEqual(self.verdict(REPLY, OVER, theirs).kind, Kind.FINISHED)

    def test_the_key_is_the_event_s_id_if_that_is_one(self) -> None:
        stop = failed("rate_limit")
        self.assertEqual(self.verdict(stop).key, stop["id"])
        for key in ("", "short", "x" * 65, "../../etc", 5, None):
            self.assertRegex(self.verdict({**stop, "id": key}).key, r"\A@[0-9]+\Z")

    def test_values_of_another_type(self) -> None:
        for record in ({"type": 1}, {"type": "abort", "data": 1}, {"type": "session.error"}):
            self.assertIn(self.verdict(record).kind, (None, Kind.USER, Kind.UNKNOWN))


class IdentityTests(SynchronousTestCase):
    def test_a_session_is_named_by_its_records(self) -> None:
        found = AGENT.identity([Record(1, START)])
        self.assertEqual(found, Identity(SESSION, DIRECTORY))

    def test_a_first_event_that_is_too_long(self) -> None:
        found = AGENT.identity([Record(0, None, lines([START]))])
        self.assertEqual(found, Identity(SESSION, DIRECTORY))
        self.assertIsNone(AGENT.identity([Record(0, None, lines([PROMPT]))]))

    def test_records_without_an_id_are_no_session(self) -> None:
        for record in (PROMPT, event("session.start"), event("session.start", context=1)):
            self.assertIsNone(AGENT.identity([Record(1, record)]))

    def test_sessions_are_found_in_the_home(self) -> None:
        home = self.mktemp()
        path = os.path.join(home, "session-state", SESSION, "events.jsonl")
        os.makedirs(os.path.dirname(path))
        with open(path, "wb") as file:
            file.write(lines(TURN))
        found = [each for each in AGENT.sessions(home, Walk(self.fail)) if each is not None]
        self.assertEqual([transcript for transcript, _ in found], [path])


class OwnersTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.home = self.mktemp()
        self.directory = os.path.join(self.home, "session-state", SESSION)
        os.makedirs(self.directory)

    def make(self, name: str) -> Lock:
        path = os.path.join(self.directory, name)
        with open(path, "w", encoding="ascii") as file:
            file.write("7")
        status = os.stat(path)
        return Lock(status.st_dev, status.st_ino)

    def owner(self, *processes: Process, locks: frozenset[Lock] | None = frozenset()) -> Owner:
        mounts = (Mount("/", "ext4", os.stat(self.home).st_dev),)
        snapshot = Snapshot({each.pid: each for each in processes}, locks, mounts)
        owners = AGENT.owners(self.home, snapshot)
        path = os.path.join(self.directory, "events.jsonl")
        return owners.witness(Identity(SESSION, DIRECTORY), path).owner

    def test_a_session_without_a_process_is_gone(self) -> None:
        self.assertEqual(self.owner(), Owner.GONE)

    def test_the_files_of_a_killed_process(self) -> None:
        self.make("inuse.7.lock")
        self.make("inuse.7.hold")
        other = Process(7, "1", ("vi",), "vi", directory=DIRECTORY)
        self.assertEqual(self.owner(other), Owner.GONE)

    @needs_linux("macOS lists no locks: it asks for each one, see test_macos")
    def test_a_lock_that_is_held(self) -> None:
        lock = self.make("inuse.7.hold")
        self.assertEqual(self.owner(locks=frozenset({lock})), Owner.PROGRAM)
        other = self.make("inuse.8.lock")
        self.assertEqual(self.owner(locks=frozenset({other})), Owner.GONE)

    @needs_linux("macOS lists no locks: it asks for each one, see test_macos")
    def test_locks_that_cannot_be_listed(self) -> None:
        self.make("inuse.7.hold")
        self.assertEqual(self.owner(locks=None), Owner.UNKNOWN)

    def test_a_living_process_that_a_file_names(self) -> None:
        self.make("inuse.7.lock")
        process = Process(7, "1", ("/x/copilot", "--allow-all-tools"), "MainThread", directory="/")
        self.assertEqual(self.owner(process), Owner.PROGRAM)

    def test_a_process_in_the_directory(self) -> None:
        process = Process(7, "1", ("node", "/x/bin/copilot"), "node", directory=DIRECTORY)
        self.assertEqual(self.owner(process), Owner.PROGRAM)

    def test_other_names_prove_nothing(self) -> None:
        for name in ("inuse.x.lock", "inuse.7.lock.old", "inuse.99999999999.lock"):
            self.make(name)
        self.assertEqual(self.owner(), Owner.GONE)

    def test_a_directory_that_cannot_be_listed(self) -> None:
        os.rmdir(self.directory)
        self.make_file()
        self.assertEqual(self.owner(), Owner.UNKNOWN)

    def make_file(self) -> None:
        with open(self.directory, "w", encoding="ascii"):
            pass
