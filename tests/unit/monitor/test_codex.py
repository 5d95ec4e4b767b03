from __future__ import annotations

import os
import sqlite3
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from palingenesis.monitor.agents.codex import Codex
from palingenesis.monitor.owners import Lock, Snapshot, Witness
from palingenesis.monitor.processes import Process
from palingenesis.monitor.sessions import Identity, Verdict
from palingenesis.monitor.transcript import PARSE_LIMIT, Growth, Record, Stamp
from palingenesis.words import Kind, Owner
from tests.support.needs import needs_linux
from tests.unit.monitor.transcripts import (
    DIRECTORY,
    META,
    SESSION,
    codex,
    event,
    item,
    judge,
    lines,
)

AGENT = Codex()
AT = 1789652700.0
STARTED = event("task_started", model_context_window=272000)
DONE = event("task_complete", turn_id="t", last_agent_message="Finished.")
ABORTED = event("turn_aborted", turn_id="t", reason="interrupted")
ASKED = [
    item("message", role="user", content=[{"type": "input_text", "text": "go on"}]),
    event("user_message", message="go on"),
]
WORK = [
    item("function_call", name="exec_command", arguments="{}", call_id="c"),
    item("function_call_output", call_id="c", output="ok"),
]


def failed(info: Any, message: str = "stream error") -> Any:
    error = {"message": message, "codex_error_info": info}
    return event("task_complete", last_agent_message=None, error=error)


def limited(message: str) -> Any:
    return failed("usage_limit_exceeded", message)


def window(percent: float, reset: Any = None) -> dict[str, Any]:
    return {"used_percent": percent, "window_minutes": 300, "resets_at": reset}


def count(primary: Any, secondary: Any = None, limit: str = "codex") -> Any:
    limits = {"limit_id": limit, "primary": primary, "secondary": secondary}
    return event("token_count", info=None, rate_limits=limits)


class VerdictTests(SynchronousTestCase):
    """What the last records mean."""

    def verdict(self, *records: Any) -> Verdict:
        return judge("codex", META, *records)

    def test_a_finished_turn_is_finished(self) -> None:
        verdict = self.verdict(STARTED, *ASKED, *WORK, DONE, count(window(5, AT + 9)))
        self.assertEqual((verdict.kind, verdict.at, verdict.progress), (Kind.FINISHED, AT, AT))

    def test_the_middle_of_a_turn(self) -> None:
        for records in ([STARTED], [DONE, STARTED, *ASKED], [STARTED, *ASKED, *WORK]):
            self.assertIsNone(self.verdict(*records).kind)

    def test_a_prompt_after_a_stop_begins_a_turn(self) -> None:
        self.assertIsNone(self.verdict(STARTED, DONE, ASKED[0]).kind)
        self.assertIsNone(self.verdict(STARTED, failed("unauthorized"), ASKED[1]).kind)

    def test_an_interruption_is_the_user_s_end(self) -> None:
        marker = [{"type": "input_text", "text": "<turn_aborted>\n…"}]
        after = item("message", role="user", content=marker)
        for records in ([STARTED, ABORTED], [STARTED, *WORK, ABORTED, after, WORK[1]]):
            self.assertEqual(self.verdict(*records).kind, Kind.USER)

    def test_what_codex_says_in_the_user_s_name_is_no_prompt(self) -> None:
        content = [{"type": "input_text", "text": "<environment_context>"}]
        verdict = self.verdict(STARTED, DONE, item("message", role="user", content=content))
        self.assertEqual(verdict.kind, Kind.FINISHED)

    def test_a_limit_whose_window_is_full(self) -> None:
        figures = count(window(100.0, AT + 60), window(80.0, AT + 9999))
        verdict = self.verdict(STARTED, *ASKED, figures, limited("You've hit your usage limit."))
        self.assertEqual((verdict.kind, verdict.reset), (Kind.LIMIT, AT + 60))

    def test_the_latest_reset_of_two_full_windows(self) -> None:
        figures = count(window(99.0, AT + 60), window(100.0, AT + 9999))
        self.assertEqual(self.verdict(STARTED, figures, limited("")).reset, AT + 9999)

    def test_which_limit_of_the_account_is_reached_is_told(self) -> None:
        for name in ("codex", "codex_bengalfox"):
            figures = count(window(100, AT + 60), limit=name)
            self.assertEqual(self.verdict(STARTED, figures, limited("")).window, name)
        figures = event("token_count", rate_limits={"primary": window(100, AT + 60)})
        self.assertIsNone(self.verdict(STARTED, figures, limited("")).window)

    def test_a_window_is_full_from_99_percent_on(self) -> None:
        for percent, kind in ((98.9, Kind.REFUSED), (99, Kind.LIMIT)):
            figures = count(window(percent, AT + 60))
            verdict = self.verdict(STARTED, figures, limited("Plan and billing."))
            reset = AT + 60 if kind is Kind.LIMIT else None
            self.assertEqual((verdict.kind, verdict.reset), (kind, reset))

    def test_figures_that_are_all_null_are_passed_over(self) -> None:
        # saaranshM/unsnooze#20
        empty = count(window(0), limit="premium")
        verdict = self.verdict(
            STARTED, count(window(100, AT + 60)), empty, count(None), limited("")
        )
        self.assertEqual((verdict.kind, verdict.reset), (Kind.LIMIT, AT + 60))

    def test_figures_of_a_window_that_is_over_are_not_believed(self) -> None:
        verdict = self.verdict(STARTED, count(window(100, AT - 3600)), limited("try again at 3pm."))
        self.assertEqual(verdict.kind, Kind.LIMIT)
        assert verdict.reset is not None
        self.assertGreater(verdict.reset, AT)

    def test_a_limit_that_only_its_text_dates(self) -> None:
        message = "You've hit your usage limit. … or try again at Sep 20th, 2026 12:11 PM."
        verdict = self.verdict(STARTED, limited(message))
        self.assertEqual(verdict.kind, Kind.LIMIT)
        self.assertIsNotNone(verdict.reset)

    def test_a_limit_whose_reset_is_just_past_is_one_without(self) -> None:
        # What stands there once a reset is just past is read like this, in any zone.
        message = "You've hit your usage limit. … or try again at once."
        verdict = self.verdict(STARTED, count(window(100, AT - 5)), limited(message))
        self.assertEqual((verdict.kind, verdict.reset), (Kind.LIMIT, None))

    def test_a_limit_without_a_reset_is_a_plan_that_is_used_up(self) -> None:
        # saaranshM/unsnooze#28
        verdict = self.verdict(STARTED, limited("Upgrade to Pro (https://chatgpt.com/explore/pro)"))
        self.assertEqual(verdict.kind, Kind.REFUSED)

    def test_each_error_code_has_its_kind(self) -> None:
        for info, kind in (
            ("context_window_exceeded", Kind.CONTEXT),
            ("server_overloaded", Kind.TRANSIENT),
            ({"http_connection_failed": {"http_status_code": 502}}, Kind.TRANSIENT),
            ({"response_stream_connection_failed": {}}, Kind.TRANSIENT),
            ({"response_stream_disconnected": {"http_status_code": None}}, Kind.TRANSIENT),
            ({"response_too_many_failed_attempts": {}}, Kind.TRANSIENT),
            ("internal_server_error", Kind.TRANSIENT),
            ("unauthorized", Kind.REFUSED),
            ("session_budget_exceeded", Kind.REFUSED),
            ("other", Kind.UNKNOWN),
            ("rate_limit_exceeded", Kind.TRANSIENT),
            ("flex_unavailable", Kind.TRANSIENT),
            ("usage_not_included", Kind.REFUSED),
            ("bio_policy", Kind.UNKNOWN),
            ("misalignment_policy_violation", Kind.UNKNOWN),
            ("invalid_prompt", Kind.UNKNOWN),
            ({"two": 1, "keys": 2}, Kind.UNKNOWN),
            (["unauthorized"], Kind.UNKNOWN),
            (None, Kind.UNKNOWN),
        ):
            self.assertEqual(self.verdict(STARTED, failed(info)).kind, kind, info)

    def test_a_status_says_what_the_code_does_not(self) -> None:
        for code in (
            "http_connection_failed",
            "response_stream_connection_failed",
            "response_stream_disconnected",
            "response_too_many_failed_attempts",
        ):
            for status, kind in (
                (401, Kind.REFUSED),
                (403, Kind.REFUSED),
                (400, Kind.UNKNOWN),
                (429, Kind.TRANSIENT),
                (503, Kind.TRANSIENT),
                ("401", Kind.TRANSIENT),
                (None, Kind.TRANSIENT),
            ):
                info = {code: {"http_status_code": status}}
                self.assertEqual(self.verdict(STARTED, failed(info)).kind, kind, info)

    def test_a_text_says_what_the_code_does_not(self) -> None:
        for text, kind in (
            ("stream disconnected before completion: stream closed", Kind.TRANSIENT),
            ("unexpected status 503 Service Unavailable: busy", Kind.TRANSIENT),
            ("request timed out", Kind.TRANSIENT),
            ("error sending request for url (http://127.0.0.1/)", Kind.TRANSIENT),
            ("exceeded retry limit, last status: 429 Too Many Requests", Kind.TRANSIENT),
            ("unexpected status 401 Unauthorized: mock", Kind.REFUSED),
            ("unexpected status 403 Forbidden: mock", Kind.REFUSED),
            ("exceeded retry limit, last status: 401 Unauthorized", Kind.REFUSED),
            ("unexpected status 429 Too Many Requests: mock", Kind.TRANSIENT),
            ("stream disconnected before completion: Rate limit is exceeded.", Kind.TRANSIENT),
            ("Connection failed: error sending request", Kind.TRANSIENT),
            ("Selected model is at capacity. Please try a different model.", Kind.TRANSIENT),
            ("We\u2019re currently experiencing high demand", Kind.TRANSIENT),
            ("Quota exceeded. Check your plan and billing details.", Kind.REFUSED),
            ("unexpected status 404 Not Found: mock", Kind.UNKNOWN),
            ("something else", Kind.UNKNOWN),
        ):
            for info in ("other", None):
                self.assertEqual(self.verdict(STARTED, failed(info, text)).kind, kind, text)
            self.assertEqual(self.verdict(failed("invalid_prompt", text)).kind, Kind.UNKNOWN)

    def test_a_limit_that_says_to_try_again_later(self) -> None:
        # Since 0.171 the apostrophe is another one.
        for you in ("You've", "You\u2019ve"):
            text = f"{you} hit your usage limit. Upgrade to Pro (https://…) or try again later."
            verdict = self.verdict(STARTED, limited(text))
            self.assertEqual((verdict.kind, verdict.reset), (Kind.LIMIT, None))

    def test_a_plan_without_quota_is_no_limit(self) -> None:
        full = count(window(100, AT + 60))
        for text in (
            "Quota exceeded. Check your plan and billing details.",
            "To use Codex with your ChatGPT plan, upgrade to Plus: https://…",
        ):
            for records in ([STARTED], [STARTED, full, DONE, STARTED], [STARTED, full]):
                self.assertEqual(self.verdict(*records, limited(text)).kind, Kind.REFUSED, text)

    def test_a_compaction_in_a_full_window_is_finished(self) -> None:
        full = count(window(100, AT + 60))
        silent = event("task_complete", turn_id="t", last_agent_message=None)
        for compacted in (
            event("context_compacted"),
            event("item_completed", item={"type": "ContextCompaction"}),
        ):
            verdict = self.verdict(STARTED, full, compacted, silent)
            self.assertEqual((verdict.kind, verdict.reset), (Kind.FINISHED, None))
            # What follows it in a turn may meet the limit all the same.
            verdict = self.verdict(STARTED, compacted, full, silent)
            self.assertEqual((verdict.kind, verdict.reset), (Kind.LIMIT, AT + 60))

    def test_a_limit_while_compacting_is_dated_by_its_text(self) -> None:
        verdict = self.verdict(
            STARTED, limited("You\u2019ve hit your usage limit. Try again in 2h")
        )
        self.assertEqual((verdict.kind, verdict.reset), (Kind.LIMIT, AT + 7200))

    def test_figures_of_an_earlier_turn_are_not_this_one_s(self) -> None:
        full = count(window(100, AT + 60))
        text = "You've hit your usage limit. Try again in 2 hours."
        for earlier in ([STARTED, full, DONE], [full, STARTED], [full, ABORTED]):
            verdict = self.verdict(*earlier, STARTED, limited(text))
            self.assertEqual((verdict.kind, verdict.reset), (Kind.LIMIT, AT + 7200))

    def test_a_limit_before_errors_were_recorded(self) -> None:
        # 0.130 to 0.144: a turn that ends without a message, in a full window
        silent = event("task_complete", turn_id="t", last_agent_message=None)
        full, free = count(window(100, AT + 60)), count(window(40, AT + 60))
        verdict = self.verdict(STARTED, full, silent)
        self.assertEqual((verdict.kind, verdict.reset), (Kind.LIMIT, AT + 60))
        self.assertIsNone(verdict.progress)
        for records in (
            [STARTED, free, silent],
            [STARTED, silent],
            [STARTED, full, DONE, STARTED, silent],
            [STARTED, count(window(100, AT - 3600)), silent],
            [STARTED, full, DONE],
        ):
            self.assertEqual(self.verdict(*records).kind, Kind.FINISHED)

    def test_settings_after_a_failed_turn_are_no_progress(self) -> None:
        settings = event("thread_settings_applied", settings={})
        records = [STARTED, *ASKED, failed("server_overloaded")]
        self.assertEqual(self.verdict(*records, settings), self.verdict(*records))

    def test_an_error_that_is_no_object_is_one_all_the_same(self) -> None:
        self.assertEqual(self.verdict(event("task_complete", error="boom")).kind, Kind.UNKNOWN)

    def test_progress_is_the_agent_s_last_record_without_error(self) -> None:
        early = "2026-09-17T13:00:00.000Z"
        output = codex("response_item", {"type": "function_call_output", "output": "ok"}, early)
        verdict = self.verdict(STARTED, output, *ASKED, limited(""), STARTED, *ASKED, limited(""))
        self.assertEqual(verdict.progress, AT - 45 * 60)

    def test_a_prompt_proves_no_progress(self) -> None:
        self.assertIsNone(self.verdict(STARTED, *ASKED).progress)

    def test_a_question_to_a_person(self) -> None:
        question = item("function_call", name="request_user_input", call_id="c", arguments="{}")
        self.assertEqual(self.verdict(STARTED, question).kind, Kind.ASKING)
        self.assertIsNone(self.verdict(STARTED, question, WORK[1]).kind)

    def test_a_huge_output_is_work_in_the_middle_of_a_turn(self) -> None:
        output = item("function_call_output", call_id="c", output="x" * PARSE_LIMIT)
        verdict = self.verdict(STARTED, output)
        self.assertEqual((verdict.kind, verdict.progress), (None, AT))

    def test_the_key_changes_with_every_record_that_means_something(self) -> None:
        records = [STARTED, *ASKED, *WORK, DONE]
        keys = {self.verdict(*records[:n]).key for n in range(1, 7)}
        self.assertEqual(len(keys), 6)

    def test_a_rollout_that_was_written_anew_has_another_key(self) -> None:
        keys = {
            self.verdict(STARTED, {**DONE, "timestamp": f"2026-09-17T13:45:0{n}.000Z"}).key
            for n in range(2)
        }
        self.assertEqual(len(keys), 2)

    def test_whatever_the_agent_and_its_tools_write_is_progress(self) -> None:
        for record in (
            *map(item, ("reasoning", "function_call", "function_call_output")),
            *map(item, ("custom_tool_call", "custom_tool_call_output")),
            *map(item, ("local_shell_call", "web_search_call")),
            *map(event, ("agent_message", "agent_reasoning")),
        ):
            verdict = self.verdict(STARTED, *ASKED, record)
            self.assertEqual((verdict.kind, verdict.progress), (None, AT), record)

    def test_a_call_of_a_tool_is_told_from_its_result(self) -> None:
        for name in ("function_call", "custom_tool_call", "local_shell_call"):
            self.assertTrue(self.verdict(STARTED, item(name)).calling, name)
        for name in ("function_call_output", "custom_tool_call_output", "web_search_call"):
            self.assertFalse(self.verdict(STARTED, item(name)).calling, name)

    def test_figures_do_not_change_the_key(self) -> None:
        figures = count(window(5, AT))
        self.assertEqual(self.verdict(STARTED, DONE), self.verdict(STARTED, DONE, figures))

    def test_nothing_meaningful_is_unknown(self) -> None:
        self.assertEqual(self.verdict(), Verdict(Kind.UNKNOWN, ""))


class IdentityTests(SynchronousTestCase):
    def identity(self, **payload: Any) -> Identity | None:
        return AGENT.identity([Record(0, codex("session_meta", {**META["payload"], **payload}))])

    def test_the_first_record_tells(self) -> None:
        self.assertEqual(self.identity(), Identity(SESSION, DIRECTORY))

    def test_a_fork_s_own_record_comes_first(self) -> None:
        other = codex("session_meta", {"id": "other", "cwd": "/"})
        found = AGENT.identity([Record(0, META), Record(1, other)])
        self.assertEqual(found, Identity(SESSION, DIRECTORY))

    def test_a_sub_agent_s_rollout_is_no_session(self) -> None:
        self.assertIsNone(self.identity(source={"subagent": {"thread_spawn": {}}}))

    def test_a_source_that_is_no_object_says_nothing(self) -> None:
        for source in (None, "cli", "subagent"):
            self.assertEqual(self.identity(source=source), Identity(SESSION, DIRECTORY))

    def test_ids_and_directories_that_are_none(self) -> None:
        self.assertIsNone(self.identity(id="../../x"))
        self.assertIsNone(self.identity(id="--help"))
        self.assertIsNone(self.identity(cwd="relative"))

    def test_a_first_record_that_is_not_parsed(self) -> None:
        beginning = b'{"timestamp":"x","type":"session_meta","payload":{"id":"abc","cwd":"/x","ba'
        self.assertEqual(AGENT.identity([Record(0, None, beginning)]), Identity("abc", "/x"))

    def test_no_meta_no_session(self) -> None:
        self.assertIsNone(AGENT.identity([]))
        self.assertIsNone(AGENT.identity([Record(0, DONE)]))
        self.assertIsNone(AGENT.identity([Record(0, None, b'{"type":"event_msg"')]))

    def test_the_environment_decides_where_home_is(self) -> None:
        self.assertEqual(AGENT.home({"CODEX_HOME": "/x", "HOME": "/h"}), "/x")
        self.assertEqual(AGENT.home({"HOME": "/h"}), "/h/.codex")


class GrowthTests(SynchronousTestCase):
    def test_the_rollouts_of_sub_agents_of_the_newest_day_grow_with_the_session(self) -> None:
        home = os.path.abspath(self.mktemp())
        paths = []
        for time, (day, name, parent) in enumerate(
            (
                ("2026/09/17", "rollout-1.jsonl", None),
                ("2026/09/17", "rollout-2.jsonl", SESSION),
                ("2026/09/17", "rollout-3.jsonl", "other"),
                ("2026/09/17", "rollout-4.jsonl", 5),
                ("2026/09/17", "notes-5.jsonl", SESSION),
                ("2026/09/16", "rollout-6.jsonl", SESSION),
            ),
            1000,
        ):
            path = os.path.join(home, "sessions", day, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            source = {"subagent": {"thread_spawn": {"parent_thread_id": parent}}}
            with open(path, "wb") as file:
                file.write(lines([codex("session_meta", {"id": name, "source": source})]))
            os.utime(path, (time, time))
            paths.append(path)
        found = AGENT.growth(home, Identity(SESSION, "/"), paths[0])
        stamp = Stamp.of(os.lstat(paths[0]))
        size = os.path.getsize(paths[1])
        self.assertEqual(found, Growth((stamp, (paths[1], size, 1001 * 10**9)), 1001.0))


class OwnerTests(SynchronousTestCase):
    """Whether the session's process lives, by its lock and the processes."""

    identity = Identity(SESSION, DIRECTORY)

    def setUp(self) -> None:
        self.home = self.mktemp()
        self.lock = os.path.join(self.home, "thread-writer-locks", f"{SESSION}.lock")
        os.mkdir(self.home)
        self.transcript = os.path.join(self.home, f"rollout-x-{SESSION}.jsonl")
        self.write(META)

    def write(self, meta: Any) -> None:
        with open(self.transcript, "wb") as file:
            file.write(lines([meta]))

    def owner(
        self,
        *arguments: str,
        isolated: bool = False,
        held: bool = False,
        cwd: str = "/x",
    ) -> Owner:
        process = Process(42, "1", arguments or ("codex",), directory=cwd)
        locks = set()
        if held:
            status = os.stat(self.lock)
            locks.add(Lock(status.st_dev, status.st_ino, 42))
        snapshot = Snapshot({42: process}, frozenset(locks), isolated=isolated)
        return AGENT.owners(self.home, snapshot).witnessed(self.identity, self.transcript).owner

    def make_lock(self) -> None:
        os.makedirs(os.path.dirname(self.lock), exist_ok=True)
        with open(self.lock, "w"):
            pass

    @needs_linux("macOS lists no locks: it asks for each one, see test_macos")
    def test_a_held_lock_is_an_owner(self) -> None:
        self.make_lock()
        self.assertEqual(self.owner(held=True), Owner.PROGRAM)

    def test_a_free_lock_is_no_owner(self) -> None:
        self.make_lock()
        self.assertEqual(self.owner(), Owner.GONE)

    def test_a_session_without_lock_and_process_is_gone_in_a_container_too(self) -> None:
        self.assertEqual(self.owner(isolated=True), Owner.GONE)

    @needs_linux("macOS lists no locks: it asks for each one, see test_macos")
    def test_a_lock_that_may_be_held_in_another_container(self) -> None:
        self.make_lock()
        self.assertEqual(self.owner(isolated=True), Owner.UNKNOWN)

    def test_a_process_in_the_directory_outweighs_a_free_lock(self) -> None:
        self.make_lock()
        self.assertEqual(self.owner(cwd=DIRECTORY), Owner.PROGRAM)

    @needs_linux("macOS lists no locks: it asks for each one, see test_macos")
    def test_a_server_counts_by_its_locks_and_not_by_its_directory(self) -> None:
        self.make_lock()
        for arguments in (
            ("codex", "app-server", "--managed-daemon"),
            ("node", "/usr/lib/node_modules/@openai/codex/bin/codex.js", "app-server"),
        ):
            self.assertEqual(self.owner(*arguments, cwd=DIRECTORY), Owner.GONE)
            self.assertEqual(self.owner(*arguments, held=True), Owner.SERVER)

    def test_a_server_may_have_a_session_that_never_had_a_lock(self) -> None:
        self.assertEqual(self.owner("codex", "app-server"), Owner.UNKNOWN)
        self.assertEqual(self.owner("codex", "exec", "app-server is slow"), Owner.GONE)

    @needs_linux("macOS lists no locks: it asks for each one, see test_macos")
    def test_no_locks_to_look_at(self) -> None:
        self.make_lock()
        owners = AGENT.owners(self.home, Snapshot({}))
        self.assertEqual(owners.witnessed(self.identity, self.transcript).owner, Owner.UNKNOWN)

    def test_an_editor_s_session_without_a_lock_is_unknown_while_any_codex_lives(self) -> None:
        meta = {**META["payload"], "source": "vscode"}
        for originator, owner in (("codex_vscode", Owner.UNKNOWN), ("codex-tui", Owner.GONE)):
            self.transcript += "x"
            self.write(codex("session_meta", {**meta, "originator": originator}))
            self.assertEqual(self.owner(), owner, originator)
            gone = AGENT.owners(self.home, Snapshot({})).witnessed(self.identity, self.transcript)
            self.assertEqual(gone.owner, Owner.GONE)
            self.transcript += "y"
            long = {**meta, "originator": originator, "instructions": "x" * PARSE_LIMIT}
            self.write(codex("session_meta", long))
            self.assertEqual(self.owner(), owner, originator)

    @needs_linux("macOS lists no locks: it asks for each one, see test_macos")
    def test_a_server_is_named(self) -> None:
        self.make_lock()
        status = os.stat(self.lock)
        lock = Lock(status.st_dev, status.st_ino, 17433)
        server = Process(17433, "1", ("codex", "app-server"), directory="/")
        snapshot = Snapshot({17433: server}, frozenset({lock}))
        witness = AGENT.owners(self.home, snapshot).witnessed(self.identity, self.transcript)
        self.assertEqual(witness.who, "Codex's server, pid 17433")

    def test_the_newest_turn_tells_where_the_session_is(self) -> None:
        turns = [codex("turn_context", {"cwd": cwd}) for cwd in ("/old", "/tree")]
        with open(self.transcript, "wb") as file:
            file.write(lines([META, *turns, DONE]))
        found = AGENT.read(self.transcript)
        assert found is not None
        self.assertEqual(found[0], Identity(SESSION, DIRECTORY, "/tree"))

    def witness(self, holder: int | None, *processes: Process) -> Witness:
        """Return who has the session while a process holds its lock, or one that is not seen."""
        self.make_lock()
        status = os.stat(self.lock)
        lock = Lock(status.st_dev, status.st_ino, holder or 0)
        snapshot = Snapshot({each.pid: each for each in processes}, frozenset({lock}))
        return AGENT.owners(self.home, snapshot).witnessed(self.identity, self.transcript)

    @needs_linux("macOS lists no locks: it asks for each one, see test_macos")
    def test_what_has_the_lock_is_interactive_at_a_terminal(self) -> None:
        for interactive, terminal, *arguments in (
            (True, "pts/3", "codex"),
            (True, "pts/3", "node", "/x/bin/codex", "resume", SESSION),
            (False, None, "codex"),
            (False, "pts/3", "codex", "exec", "continue"),
            (False, "pts/3", "codex", "review"),
            (False, "pts/3", "codex", "mcp-server"),
            (False, "pts/3", "codex", "exec-server"),
            (False, "pts/3", "node", "/x/bin/codex", "-c", "a=b", "e", "continue"),
            (False, None, "codex", "app-server"),
            (False, "pts/3", "codex", "app-server", "--listen", "unix://"),
        ):
            process = Process(42, "1", tuple(arguments), directory="/x", terminal=terminal)
            self.assertEqual(self.witness(42, process).is_interactive, interactive, arguments)

    @needs_linux("macOS lists no locks: it asks for each one, see test_macos")
    def test_codex_s_own_server_is_interactive_and_its_terminal_is_named(self) -> None:
        server = Process(42, "1", ("codex", "app-server", "--managed-daemon"), directory="/x")
        witness = self.witness(42, server)
        self.assertTrue(witness.is_interactive)
        self.assertEqual(witness.who, "Codex's server, pid 42")
        terminal = Process(7, "1", ("codex",), directory=DIRECTORY, terminal="pts/3")
        for command in ("exec", "resume"):
            other = Process(6, "1", ("codex", command), directory=DIRECTORY)
            witness = self.witness(42, server, other, terminal)
            self.assertTrue(witness.is_interactive)
            self.assertEqual(witness.who, "pid 7 (codex) at pts/3")

    @needs_linux("macOS lists no locks: it asks for each one, see test_macos")
    def test_of_two_in_its_directory_only_the_one_that_has_it_is_named(self) -> None:
        server = Process(42, "1", ("codex", "app-server", "--managed-daemon"), directory="/x")
        one, other = (
            Process(7 + n, "1", ("codex",), directory=DIRECTORY, terminal=f"pts/{n}")
            for n in (0, 1)
        )
        witness = self.witness(8, one, other)
        self.assertEqual((witness.is_interactive, witness.who), (True, "pid 8 (codex) at pts/1"))
        witness = self.witness(42, server, one, other)
        self.assertEqual((witness.is_interactive, witness.who), (True, "Codex's server, pid 42"))

    def test_a_program_in_the_directory_is_not_known_to_have_this_session(self) -> None:
        terminal = Process(7, "1", ("codex",), directory=DIRECTORY, terminal="pts/3")
        self.make_lock()
        snapshot = Snapshot({7: terminal}, frozenset())
        witness = AGENT.owners(self.home, snapshot).witnessed(self.identity, self.transcript)
        self.assertEqual((witness.owner, witness.is_interactive), (Owner.PROGRAM, False))
        headless = Process(42, "1", ("codex", "exec"), directory=DIRECTORY)
        self.assertFalse(self.witness(42, headless, terminal).is_interactive)

    @needs_linux("macOS lists no locks: it asks for each one, see test_macos")
    def test_a_holder_that_is_not_named_is_one_of_those_that_run(self) -> None:
        terminal = Process(7, "1", ("codex",), directory="/x", terminal="pts/3")
        headless = Process(8, "1", ("codex", "exec"), directory="/x")
        self.assertTrue(self.witness(None, terminal).is_interactive)
        self.assertFalse(self.witness(None, terminal, headless).is_interactive)
        self.assertFalse(self.witness(None).is_interactive)

    def test_the_last_prompt_is_read_however_the_session_goes_on(self) -> None:
        with open(self.transcript, "wb") as file:
            file.write(lines([META, STARTED, *ASKED, DONE, STARTED, *WORK]))
        self.assertEqual(AGENT.last_prompt(self.transcript), ("go on", AT))
        self.write(META)
        self.assertEqual(AGENT.last_prompt(self.transcript), (None, None))

    def test_a_rollout_is_named_by_its_session(self) -> None:
        self.assertTrue(AGENT.is_own(f"/x/rollout-2026-{SESSION}.jsonl", self.identity))
        self.assertFalse(AGENT.is_own("/x/rollout-2026-copy.jsonl", self.identity))


class QueueTests(SynchronousTestCase):
    """Whether a message waits for a session, by the database that Codex 0.171.0 makes."""

    SCHEMA = """
        CREATE TABLE queued_items (
            id TEXT PRIMARY KEY NOT NULL,
            thread_id TEXT NOT NULL,
            payload_json TEXT NOT NULL,
            queue_order INTEGER NOT NULL,
            created_at_ms INTEGER NOT NULL,
            updated_at_ms INTEGER NOT NULL
        );
        CREATE UNIQUE INDEX queued_items_thread_order_idx
            ON queued_items(thread_id, queue_order);
    """
    WAITS = f"""
        INSERT INTO queued_items VALUES ('01a21d65-1a1d-7333-bd0d-cee0ba67bc7c', '{SESSION}',
            '{{"UserInput":{{"content":[{{"type":"text","text":"continue","text_elements":[]}}]}}}}',
            0, 1795789494813, 1795789494813);
    """

    def setUp(self) -> None:
        self.home = os.path.abspath(self.mktemp())
        os.mkdir(self.home)
        self.path = os.path.join(self.home, "queue_1.sqlite")

    def make(self, *statements: str, name: str = "queue_1.sqlite") -> sqlite3.Connection:
        connection = sqlite3.connect(os.path.join(self.home, name))
        self.addCleanup(connection.close)
        connection.execute("PRAGMA journal_mode = wal")
        for statement in statements:
            connection.executescript(statement)
        return connection

    def is_queued(self, session: str = SESSION) -> bool | None:
        owners = AGENT.owners(self.home, Snapshot({}))
        return owners.is_queued(Identity(session, DIRECTORY))

    def test_a_message_waits_until_its_row_is_gone(self) -> None:
        connection = self.make(self.SCHEMA)
        self.assertIs(self.is_queued(), False)
        connection.executescript(self.WAITS)
        self.assertIs(self.is_queued(), True)
        self.assertIs(self.is_queued("019f0000-0000-7000-8000-000000000000"), False)
        connection.executescript("DELETE FROM queued_items")
        self.assertIs(self.is_queued(), False)

    def test_nothing_waits_before_there_is_a_queue(self) -> None:
        self.make(name="state_5.sqlite")
        self.assertIs(self.is_queued(), False)

    def test_a_queue_that_may_be_elsewhere_tells_nothing(self) -> None:
        self.assertIsNone(self.is_queued())

    def test_a_look_finds_one_state_of_the_queue(self) -> None:
        connection = self.make(self.SCHEMA, self.WAITS)
        owners = AGENT.owners(self.home, Snapshot({}))
        identity = Identity(SESSION, DIRECTORY)
        self.assertIs(owners.is_queued(identity), True)
        connection.executescript("DELETE FROM queued_items")
        self.assertIs(owners.is_queued(identity), True)

    def test_tables_that_are_not_known_tell_nothing(self) -> None:
        self.make("CREATE TABLE queued_items (id TEXT, thread TEXT)")
        self.assertIsNone(self.is_queued())

    def test_a_view_tells_nothing(self) -> None:
        self.make(
            "CREATE VIEW queued_items AS SELECT '' AS thread_id, '' AS payload_json, "
            "0 AS queue_order"
        )
        self.assertIsNone(self.is_queued())

    def test_a_newer_queue_beside_it_tells_nothing(self) -> None:
        self.make(self.SCHEMA)
        self.make(self.SCHEMA, name="queue_2.sqlite")
        self.assertIsNone(self.is_queued())

    def test_a_damaged_file_tells_nothing(self) -> None:
        for content in (b"no database at all", b"SQLite format 3\0" + bytes(4080)):
            with open(self.path, "wb") as file:
                file.write(content)
            self.assertIsNone(self.is_queued(), content[:20])

    def test_what_is_no_file_of_ours_tells_nothing(self) -> None:
        os.symlink("/etc/passwd", self.path)
        self.assertIsNone(self.is_queued())
        os.unlink(self.path)
        os.mkfifo(self.path)
        self.assertIsNone(self.is_queued())

    def test_too_many_rows_tell_nothing(self) -> None:
        self.make(
            self.SCHEMA,
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000) "
            "INSERT INTO queued_items SELECT i, i, '', 0, 0, 0 FROM n",
        )
        self.assertIsNone(self.is_queued())

    def test_no_file_is_left_beside_it(self) -> None:
        self.make(self.SCHEMA, self.WAITS).close()
        self.assertIs(self.is_queued(), True)
        self.assertEqual(os.listdir(self.home), ["queue_1.sqlite"])
