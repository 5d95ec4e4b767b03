from __future__ import annotations

import json
import os
import shutil
from contextlib import AbstractContextManager
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from palingenesis.monitor import files
from palingenesis.monitor.agents import claude as claude_module
from palingenesis.monitor.agents.agent import InputLine
from palingenesis.monitor.agents.claude import Claude
from palingenesis.monitor.mounts import Mount
from palingenesis.monitor.owners import Snapshot, Witness
from palingenesis.monitor.processes import Process
from palingenesis.monitor.screen import Screen, cells_of
from palingenesis.monitor.sessions import Identity, Verdict
from palingenesis.monitor.tmux import Doubt
from palingenesis.monitor.transcript import PARSE_LIMIT, Growth, Record, Stamp
from palingenesis.words import Kind, Owner
from tests.support.needs import needs_linux
from tests.unit.monitor.claude_screens import boxed
from tests.unit.monitor.transcripts import (
    DIRECTORY,
    SESSION,
    call,
    claude,
    failure,
    judge,
    lines,
    reply,
    result,
)

AGENT = Claude()
OPENED = files.opened
AT = 1789837159.471
PROMPT = claude("user", "go on")
LIMIT = failure(
    "You've hit your session limit · resets 2:40pm (America/Chicago)",
    "rate_limit",
    quotaLimits={"status": "rejected", "resetsAt": 1789846800, "rateLimitType": "five_hour"},
    apiErrorStatus=429,
)
META = claude("user", "Continue from where you left off.", isMeta=True)
BOOKKEEPING: list[Any] = [
    {"type": "last-prompt", "lastPrompt": "go on", "sessionId": SESSION},
    {"type": "mode", "mode": "normal", "sessionId": SESSION},
    {"type": "file-history-snapshot", "messageId": "m", "snapshot": {}},
    {"type": "ai-title", "title": "a", "sessionId": SESSION},
    claude("system", subtype="stop_hook_summary", isMeta=False),
    {"type": "attachment", "attachment": {"type": "user"}, "timestamp": "2026-09-19T16:59:20Z"},
    {"type": "queue-operation", "operation": "enqueue", "timestamp": "2026-09-19T16:59:21Z"},
    {"type": "progress", "data": {"message": {"type": "assistant"}}},
    META,
]


def command(name: str) -> dict[str, Any]:
    return claude("user", f"<command-name>/{name}</command-name>\n<command-message>{name}")


def output(text: str) -> dict[str, Any]:
    return claude("user", f"<local-command-stdout>{text}</local-command-stdout>")


class VerdictTests(SynchronousTestCase):
    """What the last records mean."""

    def kind(self, *records: Any) -> Kind | None:
        return judge("claude", *records).kind

    def test_a_limit_with_a_stated_reset(self) -> None:
        verdict = judge("claude", PROMPT, LIMIT)
        self.assertEqual((verdict.kind, verdict.key), (Kind.LIMIT, LIMIT["uuid"]))
        self.assertEqual((verdict.at, verdict.reset), (AT, 1789846800.0))

    def test_which_limit_of_the_account_is_reached_is_told(self) -> None:
        self.assertEqual(judge("claude", LIMIT).window, "five_hour")
        figures = {"status": "rejected", "resetsAt": 1789846800, "rateLimitType": 7}
        self.assertIsNone(judge("claude", failure("", "rate_limit", quotaLimits=figures)).window)

    def test_bookkeeping_after_the_stop_changes_nothing(self) -> None:
        self.assertEqual(
            judge("claude", PROMPT, LIMIT, *BOOKKEEPING), judge("claude", PROMPT, LIMIT)
        )

    def test_a_limit_that_only_its_text_tells(self) -> None:
        for text in (
            "Claude AI usage limit reached|1789846800",
            "5-hour limit reached ∙ resets 3am (UTC)",
            "You've hit your limit · resets 8pm (Asia/Tokyo)",
            "You've hit your weekly limit · resets Sep 22, 7pm (Europe/Moscow)",
            "You're out of extra usage · resets 3pm (UTC)",
        ):
            verdict = judge("claude", PROMPT, failure(text))
            self.assertEqual(verdict.kind, Kind.LIMIT, text)
            self.assertIsNotNone(verdict.reset, text)

    def test_a_limit_without_a_reset_needs_its_code(self) -> None:
        text = "API Error: Request rejected (429) · Rate limited"  # anthropics/claude-code#69023
        self.assertEqual(judge("claude", failure(text, "rate_limit")).kind, Kind.LIMIT)
        self.assertEqual(judge("claude", failure("usage limit reached")).kind, Kind.UNKNOWN)

    def test_a_limit_in_the_words_of_the_model_is_none(self) -> None:
        text = "You've hit your session limit · resets 2:40pm (America/Chicago)"
        self.assertEqual(self.kind(PROMPT, reply(text)), Kind.FINISHED)  # subsy/ralph-tui#100
        self.assertIsNone(self.kind(PROMPT, call("Bash"), result(text)))
        self.assertIsNone(self.kind(claude("user", text)))

    def test_each_error_code_has_its_kind(self) -> None:
        for error, kind in (
            ("overloaded", Kind.TRANSIENT),
            ("server_error", Kind.TRANSIENT),
            ("authentication_failed", Kind.REFUSED),
            ("oauth_org_not_allowed", Kind.REFUSED),
            ("account_on_hold", Kind.REFUSED),
            ("billing_error", Kind.REFUSED),
            ("verification_required", Kind.REFUSED),
            ("cloud_credential_error", Kind.REFUSED),
            ("model_not_found", Kind.REFUSED),
            ("unknown", Kind.UNKNOWN),
            ("something new", Kind.UNKNOWN),
        ):
            self.assertEqual(self.kind(failure("API Error", error)), kind, error)

    def test_texts_of_older_errors(self) -> None:
        for text, kind in (
            ("API Error: 500 {}", Kind.TRANSIENT),
            ("API Error: 529 Overloaded. This is a server-side issue", Kind.TRANSIENT),
            ("Request timed out", Kind.TRANSIENT),
            ("API Error: Connection error.", Kind.TRANSIENT),
            ("API Error: The socket connection was closed unexpectedly", Kind.TRANSIENT),
            ("API Error: Stream idle timeout - partial response received", Kind.TRANSIENT),
            ('API Error: {"type":"error","error":{"type":"api_error"}}', Kind.TRANSIENT),
            ("API Error: 504 Gateway Time-out", Kind.TRANSIENT),
            ("Unable to connect to API (ECONNRESET)", Kind.TRANSIENT),
            ("API Error: 5000", Kind.UNKNOWN),
            ("Credit balance is too low", Kind.REFUSED),
            ("Not logged in · Please run /login", Kind.REFUSED),
            ("OAuth token has expired", Kind.REFUSED),
            ("You're out of usage credits", Kind.REFUSED),
            ("Prompt is too long", Kind.CONTEXT),
        ):
            self.assertEqual(self.kind(failure(text)), kind, text)

    def test_a_transport_s_words_count_beside_no_other_code(self) -> None:
        for error, kind in (
            (None, Kind.TRANSIENT),
            ("unknown", Kind.TRANSIENT),
            ("invalid_request", Kind.UNKNOWN),
            ("something new", Kind.UNKNOWN),
        ):
            text = "API Error: 400 messages.3: there is no such connection"
            self.assertEqual(self.kind(failure(text, error)), kind, error)

    def test_a_prompt_that_is_too_long_stays_so(self) -> None:
        # anthropics/claude-code#23377
        self.assertEqual(self.kind(failure("Prompt is too long", "invalid_request")), Kind.CONTEXT)

    def test_a_limit_that_waiting_does_not_cure_is_refused(self) -> None:
        for text in (
            "You've hit your monthly spend limit · raise it at https://claude.ai/settings/usage",
            "You're out of usage credits",
            "Your organization is out of usage",
            "Extra usage is required for long context requests",
            "Your seat type doesn't include Claude Code",
            "This model requires usage credits",
            "Usage credits required for 1M context",
        ):
            self.assertEqual(self.kind(failure(text, "rate_limit")), Kind.REFUSED, text)

    def test_a_stated_reset_makes_a_limit_of_any_rate_limit(self) -> None:
        text = "You've hit your monthly spend limit · your 5-hour limit resets 7pm (UTC)"
        for more in ({}, {"quotaLimits": {"resetsAt": 1789846800}}):
            verdict = judge("claude", failure(text, "rate_limit", **more))
            self.assertEqual(verdict.kind, Kind.LIMIT)
            self.assertIn(verdict.reset, (1789844400.0, 1789846800.0))

    def test_a_busy_server_is_no_usage_limit(self) -> None:
        text = "Server is temporarily limiting requests (not your usage limit)"
        self.assertEqual(self.kind(failure(text, "rate_limit")), Kind.TRANSIENT)

    def test_a_status_says_what_the_code_does_not(self) -> None:
        for status, kind in (
            (401, Kind.REFUSED),
            (403, Kind.REFUSED),
            (402, Kind.REFUSED),
            (404, Kind.UNKNOWN),
            (413, Kind.CONTEXT),
            (499, Kind.UNKNOWN),
            (500, Kind.TRANSIENT),
            (504, Kind.TRANSIENT),
            (505, Kind.UNKNOWN),
            (529, Kind.TRANSIENT),
            ("529", Kind.UNKNOWN),
            ([529], Kind.UNKNOWN),
        ):
            for error in ("unknown", None):
                record = failure("API Error", error, apiErrorStatus=status)
                self.assertEqual(self.kind(record), kind, status)

    def test_the_program_says_whether_an_error_passes(self) -> None:
        self.assertEqual(self.kind(failure("?", apiErrorIsTransient=True)), Kind.TRANSIENT)
        record = failure("?", "server_error", resendCannotCure=True)
        self.assertEqual(self.kind(record), Kind.REFUSED)

    def test_the_detail_of_an_error_says_more_than_its_code(self) -> None:
        figures = {"status": "rejected", "resetsAt": 1789846800}
        for detail, error, kind in (
            ("long_context_credits_required", "rate_limit", Kind.REFUSED),
            ("model_requires_usage_credits", "rate_limit", Kind.REFUSED),
            ("consent_unanswered", "rate_limit", Kind.REFUSED),
            ("api_key_auth_disabled", "invalid_request", Kind.REFUSED),
            ("invalid_credential_header", "invalid_request", Kind.REFUSED),
            ("no_allowed_fallback", "invalid_request", Kind.REFUSED),
            ("oauth_refresh_store_refused", "invalid_request", Kind.REFUSED),
            ("org_disabled_credential", "invalid_request", Kind.REFUSED),
            ("provider_credentials", "invalid_request", Kind.REFUSED),
            ("stored_login_refused", "invalid_request", Kind.REFUSED),
            ("network_edge_blocked", "invalid_request", Kind.REFUSED),
            ("message_over_context_limit", "invalid_request", Kind.CONTEXT),
            ("autocompact_thrashing", "invalid_request", Kind.CONTEXT),
            ("empty_completion", None, Kind.TRANSIENT),
            ("no_response", None, Kind.TRANSIENT),
            ("stream_idle_timeout", None, Kind.TRANSIENT),
            ("usage_limit_reached", "rate_limit", Kind.LIMIT),
        ):
            record = failure("?", error, apiError=detail, quotaLimits=figures)
            self.assertEqual(self.kind(record), kind, detail)

    def test_a_busy_server_in_any_words(self) -> None:
        # Its words may name a time, which is not that of an account's limit.
        text = "API Error: Request rejected (429) · Please try again in 30 seconds"
        verdict = judge("claude", failure(text, "rate_limit", apiErrorIsTransient=True))
        self.assertEqual((verdict.kind, verdict.reset), (Kind.TRANSIENT, None))

    def test_the_figures_of_a_limit_that_is_not_reached_are_no_reset(self) -> None:
        figures = {"status": "allowed_warning", "resetsAt": 1789846800}
        verdict = judge("claude", failure("?", "rate_limit", quotaLimits=figures))
        self.assertEqual((verdict.kind, verdict.reset), (Kind.LIMIT, None))

    def test_a_prompt_that_was_typed_is_no_command_s(self) -> None:
        for source, typed in ((None, False), ("sdk", False), ("typed", True)):
            more = {} if source is None else {"promptSource": source}
            verdict = judge("claude", LIMIT, claude("user", "go on", **more))
            prompt = None if typed else "go on"
            self.assertEqual((verdict.prompt, verdict.last_typed), (prompt, typed))

    def notice(self, **more: Any) -> dict[str, Any]:
        text = "<task-notification>\n<status>failed</status>\n</task-notification>"
        origin = {"kind": "task-notification"}
        return claude("user", text, origin=origin, promptSource="system", **more)

    def test_a_notice_behind_a_failed_turn_changes_nothing(self) -> None:
        over = claude("system", subtype="turn_duration")
        for notices in ([self.notice()], [self.notice(), self.notice(queueTranscriptOnly=True)]):
            self.assertEqual(self.kind(PROMPT, LIMIT, *notices), Kind.LIMIT)
            self.assertEqual(self.kind(PROMPT, LIMIT, over, *notices), Kind.LIMIT)
        interrupted = claude("user", "[Request interrupted by user]")
        self.assertEqual(self.kind(PROMPT, interrupted, self.notice()), Kind.USER)

    def test_a_notice_behind_a_finished_turn_begins_one(self) -> None:
        self.assertIsNone(self.kind(PROMPT, reply(), self.notice()))
        self.assertIsNone(self.kind(self.notice()))
        unread = self.notice(queueTranscriptOnly=True)
        self.assertEqual(self.kind(PROMPT, reply(), unread), Kind.FINISHED)

    def test_a_notice_is_no_prompt_of_a_person(self) -> None:
        early = "2026-09-19T10:00:00Z"
        prompt = claude("user", "go on", timestamp=early)
        verdict = judge("claude", prompt, LIMIT, self.notice())
        self.assertEqual((verdict.last_prompt, verdict.last_prompt_at), ("go on", 1789812000.0))

    def test_what_the_program_writes_at_its_own_end_is_left_out(self) -> None:
        early = call("Bash", timestamp="2026-09-19T10:00:00Z")
        for text in ("Exit code 137", "Exit code 143\nhalf of it"):
            verdict = judge("claude", PROMPT, early, result(text, toolUseResult=f"Error: {text}"))
            self.assertEqual((verdict.at, verdict.progress), (1789812000.0, 1789812000.0), text)
        interrupted = claude("user", "[Request interrupted by user]", interruptedByShutdown=True)
        self.assertIsNone(self.kind(PROMPT, early, interrupted))
        for text in ("Exit code 1", "It printed: Exit code 137"):
            self.assertEqual(judge("claude", PROMPT, early, result(text)).at, AT, text)

    def test_a_failed_compaction_at_a_limit_is_a_limit(self) -> None:
        hit = "You've hit your session limit · resets 7pm (UTC)"
        compact = claude(
            "system", subtype="local_command", content=f"Error during compaction: {hit}"
        )
        text = f"Prompt is too long · automatic compaction failed: {hit}"
        for record in (failure(text, "invalid_request"), compact):
            verdict = judge("claude", PROMPT, reply(), record)
            self.assertEqual((verdict.kind, verdict.reset), (Kind.LIMIT, 1789844400.0))

    def test_a_full_context_by_its_other_code(self) -> None:
        text = "API Error: the response reached the model's context window limit"
        self.assertEqual(self.kind(failure(text, "max_output_tokens")), Kind.CONTEXT)

    def test_leaving_while_the_program_waits(self) -> None:
        for text in (
            "Automatic continue cancelled · /rate-limit-options to wait again",
            "Automatic continue cancelled · Claude Code exited during the wait",
        ):
            record = claude("system", subtype="informational", content=text)
            self.assertEqual(self.kind(PROMPT, LIMIT, record), Kind.USER)
            self.assertIsNone(self.kind(PROMPT, LIMIT, record, PROMPT))

    def test_the_prompt_of_a_continuation_begins_a_turn(self) -> None:
        record = claude("user", "Your limit has reset.", isMeta=True)
        origin = {"kind": "auto-continuation"}
        self.assertIsNone(self.kind(PROMPT, LIMIT, {**record, "origin": origin}))

    def test_a_prompt_that_names_the_error_before_it_is_the_later_one(self) -> None:
        early = "2026-09-19T16:00:00Z"  # the clock was set back
        over = claude("system", subtype="turn_duration", uuid="aaaaaaaa-1")
        for parent in (LIMIT["uuid"], "aaaaaaaa-1"):
            record = {**PROMPT, "parentUuid": parent, "timestamp": early}
            self.assertIsNone(self.kind(PROMPT, LIMIT, over, record))
        self.assertEqual(self.kind(LIMIT, over, {**PROMPT, "timestamp": early}), Kind.LIMIT)

    def test_the_denial_of_a_tool_call_proves_no_progress(self) -> None:
        verdict = judge("claude", PROMPT, result(toolDenialKind="interrupted"))
        self.assertEqual((verdict.kind, verdict.progress), (None, None))

    def test_a_finished_turn_is_finished(self) -> None:
        self.assertEqual(self.kind(PROMPT, reply()), Kind.FINISHED)

    def test_the_reason_of_a_reply_s_end(self) -> None:
        for reason, kind in (
            ("stop_sequence", Kind.FINISHED),
            ("model_context_window_exceeded", Kind.CONTEXT),
            ("refusal", Kind.UNKNOWN),
            ("unlikely", Kind.UNKNOWN),
        ):
            self.assertEqual(self.kind(PROMPT, reply("Done.", reason)), kind, reason)

    def test_the_middle_of_a_turn(self) -> None:
        for records in (
            [PROMPT],
            [PROMPT, call("Bash")],
            [PROMPT, call("Bash"), result()],
            [PROMPT, reply("Let me see.", None)],
        ):
            self.assertIsNone(self.kind(*records))

    def test_a_reply_without_a_reason_is_finished_once_the_turn_is_over(self) -> None:
        # anthropics/claude-code#20222
        over = claude("system", subtype="turn_duration", durationMs=88947)
        self.assertEqual(self.kind(PROMPT, reply("Done.", None), over), Kind.FINISHED)
        self.assertIsNone(self.kind(PROMPT, call("Bash"), over))

    def test_a_question_to_a_person(self) -> None:
        for name in ("AskUserQuestion", "ExitPlanMode"):
            self.assertEqual(self.kind(PROMPT, call(name)), Kind.ASKING)
            self.assertIsNone(self.kind(PROMPT, call(name), result()))

    def test_a_call_whose_name_is_no_text(self) -> None:
        block = {"type": "tool_use", "name": ["AskUserQuestion"]}
        self.assertIsNone(self.kind(PROMPT, claude("assistant", [block])))

    def test_an_interruption_is_the_user_s_end(self) -> None:
        for text in ("[Request interrupted by user]", "[Request interrupted by user for tool use]"):
            for content in (text, [{"type": "text", "text": text}]):
                record = claude("user", content)
                self.assertEqual(self.kind(PROMPT, call("Bash"), record), Kind.USER)

    def test_an_interruption_by_its_key(self) -> None:
        record = claude("user", "stop", interruptedMessageId="msg_01")
        self.assertEqual(self.kind(PROMPT, record), Kind.USER)

    def test_words_about_an_interruption_are_none(self) -> None:
        self.assertIsNone(self.kind(claude("user", "why [Request interrupted by user]?")))

    def test_leaving_is_the_user_s_end(self) -> None:
        for name in ("exit", "quit"):
            records = [LIMIT, command(name), output("Bye!"), *BOOKKEEPING]
            self.assertEqual(self.kind(*records), Kind.USER, name)

    def test_words_about_leaving_are_none(self) -> None:
        record = claude("user", "what does <command-name>/exit</command-name> do?")
        self.assertIsNone(self.kind(PROMPT, record))

    def test_what_the_user_does_without_the_model_is_no_turn(self) -> None:
        self.assertEqual(self.kind(PROMPT, LIMIT, command("usage"), output("")), Kind.LIMIT)
        record = claude("system", subtype="local_command", content="<command-name>/cost")
        self.assertEqual(self.kind(PROMPT, reply(), record), Kind.FINISHED)

    def test_a_command_for_the_shell_does_not_hide_one_for_the_model(self) -> None:
        shell = [claude("user", f"<bash-{name}>ls") for name in ("input", "stdout")]
        self.assertIsNone(self.kind(PROMPT, reply(), command("review"), *shell))

    def test_a_command_for_the_model_is_a_prompt(self) -> None:
        self.assertIsNone(self.kind(PROMPT, reply(), command("review")))

    def test_a_compaction_is_no_stop(self) -> None:
        boundary = claude("system", subtype="compact_boundary", content="Conversation compacted")
        summary = claude("user", "This session is being continued …", isCompactSummary=True)
        self.assertIsNone(self.kind(PROMPT, call("Bash"), result(), boundary, summary))
        self.assertEqual(self.kind(PROMPT, reply(), boundary, summary), Kind.FINISHED)

    def test_a_retry_is_no_stop(self) -> None:
        retry = claude("system", subtype="api_error", retryAttempt=3, maxRetries=10)
        self.assertIsNone(self.kind(PROMPT, call("Bash"), result(), retry))

    def test_an_announcement_to_continue_changes_nothing(self) -> None:
        text = "Usage limit reached · continuing automatically at 2:40pm"
        record = claude("system", subtype="informational", content=text)
        self.assertEqual(self.kind(PROMPT, LIMIT, record), Kind.LIMIT)

    def test_whether_the_program_goes_on_by_itself(self) -> None:
        for text, goes_on in (
            ("Usage limit reached · set to continue automatically at 2:40pm", True),
            ("Usage limit reached again · set to continue automatically at 2:40pm", True),
            # Its words can be others.
            ("At 2:40pm, this continues", True),
            ("Usage limit has reset · Press enter to continue", False),
            ("Automatic continue was turned off · this task will not resume on its own", False),
            ("Automatic continue stopped after repeated usage limit hits", False),
            ("Automatic continue stopped · the limit now resets more than 24 hours out", False),
            ("Automatic continue did not run · so this task did not resume on its own", False),
        ):
            record = claude("system", subtype="informational", content=text)
            verdict = judge("claude", PROMPT, LIMIT, record)
            self.assertEqual((verdict.kind, verdict.goes_on), (Kind.LIMIT, goes_on), text)

    def test_without_a_word_it_does_not_go_on_by_itself(self) -> None:
        self.assertFalse(judge("claude", PROMPT, LIMIT).goes_on)

    def test_the_last_word_of_a_session_counts(self) -> None:
        armed = claude("system", subtype="informational", content="set to continue automatically")
        stale = claude("system", subtype="informational", content="Press enter to continue")
        self.assertFalse(judge("claude", PROMPT, LIMIT, armed, stale).goes_on)
        self.assertTrue(judge("claude", PROMPT, LIMIT, stale, armed).goes_on)

    def test_a_word_before_the_limit_is_of_another_one(self) -> None:
        armed = claude("system", subtype="informational", content="set to continue automatically")
        self.assertFalse(judge("claude", PROMPT, armed, LIMIT).goes_on)
        self.assertFalse(judge("claude", PROMPT, reply(), armed).goes_on)

    def test_a_sub_agent_s_records_are_not_the_session_s(self) -> None:
        # cheapestinference/claude-auto-retry#36
        record = {**LIMIT, "isSidechain": True}
        self.assertIsNone(self.kind(PROMPT, call("Task"), record))

    def test_a_record_to_the_program_itself_is_none_even_if_it_is_not_parsed(self) -> None:
        for more, work in (({}, True), ({"isMeta": True}, False), ({"isSidechain": True}, False)):
            record = {**more, **result("x" * PARSE_LIMIT, **more)}
            self.assertEqual(self.kind(reply(), record) is None, work, more)

    def test_the_reply_that_resuming_writes_is_none(self) -> None:
        record = claude(
            "assistant",
            [{"type": "text", "text": "No response requested."}],
            message={"model": "<synthetic>", "stop_reason": "stop_sequence"},
        )
        verdict = judge("claude", PROMPT, LIMIT, META, record)
        self.assertEqual((verdict.kind, verdict.progress), (Kind.LIMIT, None))

    def test_progress_is_the_agent_s_last_record_without_error(self) -> None:
        early, late = "2026-09-19T10:00:00Z", "2026-09-19T11:00:00Z"
        worked = [call("Bash", timestamp=early), result(timestamp=late)]
        verdict = judge("claude", PROMPT, *worked, LIMIT, PROMPT, LIMIT)
        self.assertEqual(verdict.progress, 1789815600.0)

    def test_a_prompt_proves_no_progress(self) -> None:
        self.assertIsNone(judge("claude", PROMPT, LIMIT, PROMPT).progress)

    def test_a_huge_record_is_work_in_the_middle_of_a_turn(self) -> None:
        verdict = judge("claude", PROMPT, reply(), PROMPT, result("x" * PARSE_LIMIT))
        self.assertEqual((verdict.kind, verdict.at), (None, AT))

    def test_a_huge_prompt_proves_no_progress_and_a_huge_result_does(self) -> None:
        huge = "x" * PARSE_LIMIT
        for record, progress in (
            (claude("user", huge), None),
            (result(huge), AT),
            (reply(huge), AT),
        ):
            self.assertEqual(judge("claude", PROMPT, record).progress, progress)

    def test_a_time_in_the_words_of_another_error_is_no_reset(self) -> None:
        verdict = judge("claude", failure("Down for maintenance · try again at 8pm (UTC)"))
        self.assertEqual((verdict.kind, verdict.reset), (Kind.UNKNOWN, None))

    def test_a_huge_record_of_a_sub_agent_is_skipped(self) -> None:
        record = {"isSidechain": True, **result("x" * PARSE_LIMIT, isSidechain=True)}
        self.assertEqual(self.kind(PROMPT, reply(), record), Kind.FINISHED)

    def test_each_record_has_a_key_of_its_own(self) -> None:
        nameless = [{**PROMPT, "uuid": uuid} for uuid in ("", "x", 5, "../../../../etc", None)]
        keys = {judge("claude", *nameless[:n]).key for n in range(1, 6)}
        self.assertEqual(len(keys), 5)

    def test_nothing_meaningful_is_unknown(self) -> None:
        self.assertEqual(judge("claude", *BOOKKEEPING), Verdict(Kind.UNKNOWN, ""))


class IdentityTests(SynchronousTestCase):
    def identity(self, *values: Any) -> Identity | None:
        return AGENT.identity(Record(n, value) for n, value in enumerate(values))

    def test_the_first_record_that_names_both(self) -> None:
        records = [{"type": "summary", "leafUuid": "x"}, {"sessionId": "other"}, PROMPT]
        self.assertEqual(self.identity(*records), Identity(SESSION, DIRECTORY))

    def test_a_sub_agent_s_file_is_no_session(self) -> None:
        self.assertIsNone(self.identity({**PROMPT, "isSidechain": True}))

    def test_bookkeeping_alone_is_no_session(self) -> None:
        self.assertIsNone(self.identity({"type": "summary"}))

    def test_ids_that_are_no_names(self) -> None:
        for session in ("../../x", "--help", "", "a" * 129, "a b", "a\n", "a/b", ".", "é", 5, None):
            self.assertIsNone(self.identity({**PROMPT, "sessionId": session}), session)

    def test_directories_that_are_no_places(self) -> None:
        for directory in ("app", "", "/a\0b", "/" + "a" * 5000, "/\ud800", 5):
            self.assertIsNone(self.identity({**PROMPT, "cwd": directory}), directory)

    def test_a_first_record_that_is_not_parsed(self) -> None:
        record = Record(0, None, json.dumps(PROMPT).encode()[:-40])
        found = AGENT.identity([record])
        self.assertEqual(found, Identity(SESSION, DIRECTORY))


class HomeTests(SynchronousTestCase):
    def test_the_environment_names_the_home(self) -> None:
        self.assertEqual(AGENT.home({"CLAUDE_CONFIG_DIR": "/x/y/", "HOME": "/h"}), "/x/y")

    def test_the_home_directory_is_the_default(self) -> None:
        for given in ({}, {"CLAUDE_CONFIG_DIR": ""}, {"CLAUDE_CONFIG_DIR": "relative"}):
            self.assertEqual(AGENT.home({"HOME": "/h", **given}), "/h/.claude")


class RegistryTestCase(SynchronousTestCase):
    """A home with entries of processes."""

    def setUp(self) -> None:
        self.home = self.mktemp()
        self.directory = os.path.abspath(self.mktemp())
        os.makedirs(os.path.join(self.home, "sessions"))
        os.mkdir(self.directory)
        self.identity = Identity(SESSION, self.directory)

    def entry(self, pid: int = 42, content: bytes | None = None, **more: Any) -> None:
        value = {"pid": pid, "sessionId": SESSION, "cwd": "/", "procStart": "777", **more}
        with open(os.path.join(self.home, "sessions", f"{pid}.json"), "wb") as file:
            file.write(json.dumps(value).encode() if content is None else content)


class OwnerTests(RegistryTestCase):
    """Whether the session's process lives, by registry and processes."""

    def owner(self, *living: Process) -> Owner:
        snapshot = Snapshot({process.pid: process for process in living})
        return AGENT.owners(self.home, snapshot).witnessed(self.identity, "/x").owner

    def process(self, name: str = "claude", start: str = "777", directory: str = "/") -> Process:
        return Process(42, start, (name,), directory=directory)

    def test_an_entry_of_a_living_process(self) -> None:
        self.entry()
        self.assertEqual(self.owner(self.process()), Owner.PROGRAM)

    def test_a_start_time_may_be_a_number(self) -> None:
        self.entry(procStart=777)
        self.assertEqual(self.owner(self.process("anything")), Owner.PROGRAM)

    def test_an_entry_that_a_kill_left_behind(self) -> None:
        self.entry()
        self.assertEqual(self.owner(), Owner.GONE)

    @needs_linux("the start times are Linux's")
    def test_a_pid_that_is_used_again(self) -> None:
        self.entry()
        self.assertEqual(self.owner(self.process(start="999")), Owner.GONE)

    @needs_linux("the start times are Linux's")
    def test_an_entry_of_another_user_s_process(self) -> None:
        self.entry()
        for start, owner in (("777", Owner.PROGRAM), ("999", Owner.GONE)):
            other = Process(42, start)
            snapshot = Snapshot({}, look_at={42: other}.get)
            self.assertEqual(
                AGENT.owners(self.home, snapshot).witnessed(self.identity, "/x").owner, owner
            )

    def test_an_entry_without_a_start_time_needs_a_process_of_ours(self) -> None:
        self.entry(procStart=None)
        snapshot = Snapshot({}, look_at={42: Process(42, "999")}.get)
        self.assertEqual(
            AGENT.owners(self.home, snapshot).witnessed(self.identity, "/x").owner, Owner.GONE
        )

    def test_an_entry_without_a_start_time_is_taken_for_living(self) -> None:
        self.entry(procStart=None)
        self.assertEqual(self.owner(self.process("anything")), Owner.PROGRAM)

    def test_another_session_in_the_same_directory(self) -> None:
        # anthropics/claude-code#37737
        self.entry(sessionId="other", cwd=self.directory)
        self.assertEqual(self.owner(self.process("anything")), Owner.PROGRAM)

    def test_a_process_with_another_session_elsewhere_is_no_owner(self) -> None:
        self.entry(sessionId="other")
        self.assertEqual(self.owner(self.process()), Owner.GONE)

    def test_an_entry_that_cannot_be_read(self) -> None:
        for content in (b"", b"{", b"[]", b"{}", b'{"sessionId": 5}', b"[" * 50_000, b"\xff"):
            self.entry(content=content)
            self.assertEqual(self.owner(self.process()), Owner.UNKNOWN, content[:9])
            self.assertEqual(self.owner(), Owner.GONE, content[:9])

    def test_an_entry_that_cannot_be_read_is_named(self) -> None:
        self.entry(content=b"")
        for name, owner, words in (
            ("claude", Owner.UNKNOWN, "no session of this home is revived"),
            ("anything", Owner.GONE, "it is ignored: its process is no agent's"),
        ):
            owners = AGENT.owners(self.home, Snapshot({42: self.process(name)}))
            self.assertEqual(owners.witnessed(self.identity, "/x").owner, owner)
            (warning,) = owners.warnings
            self.assertIn(os.path.join(self.home, "sessions", "42.json"), warning)
            self.assertIn(words, warning)

    def test_an_entry_that_is_a_fifo_is_not_waited_for(self) -> None:
        os.mkfifo(os.path.join(self.home, "sessions", "42.json"))
        self.assertEqual(self.owner(self.process()), Owner.UNKNOWN)

    def test_a_registry_that_cannot_be_read(self) -> None:
        os.rmdir(os.path.join(self.home, "sessions"))
        with open(os.path.join(self.home, "sessions"), "w"):
            pass
        self.assertEqual(self.owner(), Owner.UNKNOWN)

    def test_a_session_without_registry_and_process_is_gone(self) -> None:
        os.rmdir(os.path.join(self.home, "sessions"))
        self.assertEqual(self.owner(), Owner.GONE)

    def test_a_process_in_the_directory_that_no_entry_tells_of(self) -> None:
        self.assertEqual(self.owner(self.process(directory=self.directory)), Owner.PROGRAM)

    def test_a_process_in_the_directory_by_any_of_its_names(self) -> None:
        for name in ("claude-code", "claude.exe", "claude bg-spare", "/x/claude/versions/2.1.270"):
            process = self.process(name, directory=self.directory)
            self.assertEqual(self.owner(process), Owner.PROGRAM, name)

    def test_another_program_in_the_directory(self) -> None:
        self.assertEqual(self.owner(self.process("vim", directory=self.directory)), Owner.GONE)

    def test_no_processes_to_look_at(self) -> None:
        owners = AGENT.owners(self.home, Snapshot(None))
        self.assertEqual(owners.witnessed(self.identity, "/x").owner, Owner.UNKNOWN)

    def test_a_process_that_waited_for_a_person(self) -> None:
        self.entry(status="waiting")
        owners = AGENT.owners(self.home, Snapshot({}))
        self.assertTrue(owners.is_asking(self.identity))
        self.assertFalse(owners.is_asking(Identity("other", "/")))
        self.assertFalse(owners.wants_permission(self.identity))

    def test_a_process_that_waited_for_a_permission(self) -> None:
        for words, wanted in (
            ("permission prompt", True),
            ("sandbox request", True),
            ("worker request", True),
            ("input needed", False),
            ("dialog open", False),
            (7, False),
        ):
            self.entry(status="waiting", waitingFor=words)
            owners = AGENT.owners(self.home, Snapshot({}))
            self.assertEqual(owners.wants_permission(self.identity), wanted, words)

    def history(self, *lines: object) -> None:
        with open(os.path.join(self.home, "history.jsonl"), "w") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)

    def test_leaving_that_only_the_history_tells(self) -> None:
        for command in ("/exit", "/quit", "/exit "):
            line = {
                "display": command,
                "timestamp": 2_000_500,
                "project": "/",
                "sessionId": SESSION,
            }
            self.history(line, {**line, "display": "/help", "timestamp": 3_000_000})
            owners = AGENT.owners(self.home, Snapshot({}))
            for since, left in ((2000.0, True), (2000.5, False), (2001.0, False)):
                self.assertEqual(owners.has_left(self.identity, since), left, command)
            self.assertFalse(owners.has_left(Identity("other", "/"), 0.0))

    def test_words_about_leaving_in_the_history_are_none(self) -> None:
        line = {"timestamp": 2_000_500, "project": "/", "sessionId": SESSION}
        lines = [{**line, "display": text} for text in ("what is /exit", "/exit now", "exit")]
        self.history(*lines, {**line, "display": "x", "pasted": '"display":"/exit"'})
        self.assertFalse(AGENT.owners(self.home, Snapshot({})).has_left(self.identity, 0.0))

    def test_no_history_and_nonsense_in_it(self) -> None:
        self.assertFalse(AGENT.owners(self.home, Snapshot({})).has_left(self.identity, 0.0))
        self.history({"display": "/exit"}, {"display": "/exit", "sessionId": 5, "timestamp": "x"})
        self.assertFalse(AGENT.owners(self.home, Snapshot({})).has_left(self.identity, 0.0))
        self.history({"display": "/exit", "sessionId": SESSION, "timestamp": "2026"})
        self.assertFalse(AGENT.owners(self.home, Snapshot({})).has_left(self.identity, 0.0))

    def test_a_new_session_that_only_the_history_tells_of(self) -> None:
        for command in ("/clear", "/reset", "/new"):
            line = {"display": command, "timestamp": 2_000_500, "sessionId": SESSION}
            self.history(line)
            owners = AGENT.owners(self.home, Snapshot({}))
            self.assertTrue(owners.has_left(self.identity, 2000.0), command)

    def test_entries_of_the_dead_are_not_read(self) -> None:
        read: list[str] = []
        self.patch(files, "opened", lambda path: self.opened(path, read))
        for pid in range(1000, 1200):
            self.entry(pid, b"[" * 50_000)
        self.entry()
        owners = AGENT.owners(self.home, Snapshot({42: self.process()}))
        self.assertEqual(owners.witnessed(self.identity, "/x").owner, Owner.PROGRAM)
        self.assertEqual(
            [os.path.basename(path) for path in read], ["42.json", "daemon.status.json"]
        )
        for pid in range(1000, 1200):
            os.utime(os.path.join(self.home, "sessions", f"{pid}.json"), (pid, pid))
        owners.is_asking(self.identity)
        self.assertLess(len(read), 110)
        # The newest alone.
        self.assertIn("1199.json", map(os.path.basename, read))

    def opened(self, path: str, read: list[str]) -> AbstractContextManager[int]:
        read.append(path)
        return OPENED(path)

    def test_an_entry_of_our_own_command_is_none(self) -> None:
        self.entry(sessionId="other", cwd=self.directory)
        command = Process(42, "777", ("claude",), leader=41)
        snapshot = Snapshot({}, look_at={42: command}.get, commands={41})
        owner = AGENT.owners(self.home, snapshot).witnessed(self.identity, "/x").owner
        self.assertEqual(owner, Owner.GONE)

    def test_an_entry_in_the_directory_that_the_newest_record_names(self) -> None:
        self.entry(sessionId="other", cwd=self.directory)
        self.identity = Identity(SESSION, "/elsewhere", self.directory)
        self.assertEqual(self.owner(self.process("anything")), Owner.PROGRAM)

    def test_an_entry_in_the_directory_by_another_name(self) -> None:
        link = os.path.abspath(self.mktemp())
        os.symlink(self.directory, link)
        self.entry(sessionId="other", cwd=link)
        process = self.process("anything")
        snapshot = Snapshot({42: process}, mounts=(Mount("/", "ext4"),))
        owner = AGENT.owners(self.home, snapshot).witnessed(self.identity, "/x").owner
        self.assertEqual(owner, Owner.PROGRAM)

    def test_names_that_are_no_pids_are_left_alone(self) -> None:
        for name in ("x.json", "1.txt", "٣.json", "-1.json", "9" * 50 + ".json"):
            # As bytes: not every locale can have each of them in a path.
            with open(os.path.join(os.fsencode(self.home), b"sessions", name.encode()), "w"):
                pass
        self.assertEqual(self.owner(self.process("anything")), Owner.GONE)


class SupervisorTests(SynchronousTestCase):
    """Sessions in the background, which a supervisor starts again."""

    def setUp(self) -> None:
        self.home = self.mktemp()
        os.mkdir(self.home)
        self.identity = Identity(SESSION, "/work")
        self.write("daemon.status.json", {"supervisorPid": 99, "supervisorProcStart": "555"})
        self.job()

    def write(self, name: str, value: object) -> None:
        path = os.path.join(self.home, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            json.dump(value, file)

    def job(self, name: str = SESSION[:8], **more: Any) -> None:
        value = {"state": "working", "backend": "daemon", "sessionId": SESSION, **more}
        self.write(f"jobs/{name}/state.json", value)

    def witness(self, start: str = "555", directory: str = "/") -> Witness:
        arguments = ("claude", "daemon", "run", "--origin", "transient")
        snapshot = Snapshot({99: Process(99, start, arguments, directory=directory)})
        return AGENT.owners(self.home, snapshot).witnessed(self.identity, "/x")

    def test_a_session_whose_process_was_killed_is_not_gone(self) -> None:
        witness = self.witness()
        self.assertEqual(witness.owner, Owner.SERVER)
        self.assertEqual(witness.who, "Claude's supervisor, pid 99")

    def test_a_session_that_goes_on_in_the_background_is_not_gone(self) -> None:
        os.unlink(os.path.join(self.home, "jobs", SESSION[:8], "state.json"))
        self.job("11112222", sessionId="11112222-0", resumeSessionId=SESSION)
        self.assertEqual(self.witness().owner, Owner.SERVER)

    @needs_linux("the start times are Linux's")
    def test_a_supervisor_that_has_ended_starts_nothing(self) -> None:
        self.assertEqual(self.witness(start="777").owner, Owner.GONE)
        snapshot = Snapshot({})
        owners = AGENT.owners(self.home, snapshot)
        self.assertEqual(owners.witnessed(self.identity, "/x").owner, Owner.GONE)

    def test_a_supervisor_has_no_session_by_its_directory(self) -> None:
        self.identity = Identity("22223333", "/work")
        self.assertEqual(self.witness(directory="/work").owner, Owner.GONE)

    def test_a_job_of_another_session_or_without_the_supervisor(self) -> None:
        self.job(sessionId="other")
        self.assertEqual(self.witness().owner, Owner.GONE)
        self.job(backend="terminal")
        self.assertEqual(self.witness().owner, Owner.GONE)

    def test_a_job_that_cannot_be_read_is_only_of_the_session_that_it_is_named_for(self) -> None:
        os.unlink(os.path.join(self.home, "jobs", SESSION[:8], "state.json"))
        self.job("11112222")
        with open(os.path.join(self.home, "jobs", "11112222", "state.json"), "w"):
            pass
        self.assertEqual(self.witness().owner, Owner.GONE)

    def test_a_job_that_cannot_be_read_may_be_the_session_s(self) -> None:
        with open(os.path.join(self.home, "jobs", SESSION[:8], "state.json"), "w"):
            pass
        self.assertEqual(self.witness().owner, Owner.SERVER)

    def test_a_status_that_cannot_be_read_leaves_the_owner_unknown(self) -> None:
        with open(os.path.join(self.home, "daemon.status.json"), "w"):
            pass
        witness = self.witness()
        self.assertEqual(witness.owner, Owner.UNKNOWN)
        self.assertIn("daemon.status.json cannot be read", witness.who or "")

    def test_a_session_that_was_stopped_is_left(self) -> None:
        self.job(state="stopped", updatedAt="2026-09-19T17:00:00.000Z")
        self.assertEqual(self.witness().owner, Owner.GONE)
        owners = AGENT.owners(self.home, Snapshot({}))
        stopped = 1789837200.0
        for since, left in ((stopped - 1, True), (stopped + 1, False)):
            self.assertEqual(owners.has_left(self.identity, since), left)
        self.job(state="done", updatedAt="2026-09-19T17:00:00.000Z")
        self.assertFalse(AGENT.owners(self.home, Snapshot({})).has_left(self.identity, 0.0))

    def test_what_names_no_supervisor_starts_nothing(self) -> None:
        for pid in (None, "99", True, 0, -99, 2**31):
            self.write("daemon.status.json", {"supervisorPid": pid, "supervisorProcStart": "555"})
            self.assertEqual(self.witness().owner, Owner.GONE, pid)

    def test_a_start_time_of_a_supervisor_may_be_a_number_or_missing(self) -> None:
        for start in (555, None):
            self.write("daemon.status.json", {"supervisorPid": 99, "supervisorProcStart": start})
            self.assertEqual(self.witness().owner, Owner.SERVER, start)

    def test_jobs_that_cannot_be_listed_leave_the_owner_unknown(self) -> None:
        shutil.rmtree(os.path.join(self.home, "jobs"))
        self.assertEqual(self.witness().owner, Owner.GONE)
        with open(os.path.join(self.home, "jobs"), "w"):
            pass
        witness = self.witness()
        self.assertEqual(witness.owner, Owner.UNKNOWN)
        self.assertIn("jobs cannot be read", witness.reason or "")

    def test_a_job_whose_ids_are_no_texts_may_be_the_session_s(self) -> None:
        self.job(sessionId=[SESSION], resumeSessionId=7)
        self.assertEqual(self.witness().owner, Owner.SERVER)

    def test_a_job_that_says_no_time_was_stopped_when_it_was_written(self) -> None:
        self.job(state="stopped")
        path = os.path.join(self.home, "jobs", SESSION[:8], "state.json")
        os.utime(path, (5000.0, 5000.0))
        owners = AGENT.owners(self.home, Snapshot({}))
        for since, left in ((4999.0, True), (5000.0, False)):
            self.assertEqual(owners.has_left(self.identity, since), left)

    def test_a_stopped_job_of_another_session_leaves_none(self) -> None:
        self.job(state="stopped", sessionId=SESSION[:8] + "-other", updatedAt="2026-09-19T17:00Z")
        self.assertFalse(AGENT.owners(self.home, Snapshot({})).has_left(self.identity, 0.0))


class InputLineTests(SynchronousTestCase):
    """The input line of the one program that has a session open."""

    def setUp(self) -> None:
        self.home = os.path.abspath(self.mktemp())
        self.directory = os.path.join(self.home, "sessions")
        os.makedirs(self.directory)
        self.processes = {pid: Process(pid, "777", ("claude",)) for pid in (42, 43)}
        self.patch(claude_module, "look_at", self.processes.get)

    def entry(self, pid: int = 42, **more: object) -> None:
        entry = {"sessionId": SESSION, "procStart": "777", "status": "idle", **more}
        with open(os.path.join(self.directory, f"{pid}.json"), "w") as file:
            json.dump({**entry, "kind": more.get("kind", "interactive")}, file)

    def find(self) -> InputLine:
        return AGENT.input_line(self.home, Identity(SESSION, self.home))

    def doubt(self) -> str:
        return str(self.assertRaises(Doubt, self.find))

    def test_an_idle_program_has_it(self) -> None:
        self.entry(43, sessionId="other")
        self.entry(44)  # it has ended
        self.entry(0)
        for kind in ("interactive", None):
            self.entry(kind=kind)
            found = self.find()
            self.assertEqual((found.pid, found.start), (42, "777"))

    def test_a_program_that_is_not_idle_or_has_no_terminal_is_in_doubt(self) -> None:
        for more, doubt in (
            ({"status": "busy\n"}, "it does not say that it is idle (its status: busy\\n)"),
            ({"status": None}, "it does not say that it is idle (its status: unknown)"),
            ({"kind": "bg"}, "it is a session in the background"),
            # A kill has left the entry, and another process has its pid by now.
            ({"procStart": "778"}, "its program is not in the registry"),
            ({"procStart": None}, "its program is not in the registry"),
            ({"sessionId": "other"}, "its program is not in the registry"),
        ):
            self.entry(**more)
            self.assertEqual(self.doubt(), doubt)

    def test_a_session_in_several_programs_is_in_doubt(self) -> None:
        self.entry(42)
        self.entry(43)
        self.assertEqual(self.doubt(), "several programs have it")

    def test_a_registry_that_cannot_be_read_is_in_doubt(self) -> None:
        with open(os.path.join(self.directory, "42.json"), "w"):
            pass
        self.assertEqual(self.doubt(), f"{self.directory} cannot be read")

    def test_vim_s_keys_need_their_mode(self) -> None:
        self.entry()
        made, typed = boxed(80, 24), boxed(80, 24, "go on", column=7)
        before, after = (
            Screen(
                cells_of("\n".join(each.rows), each.height),
                *(each.width, each.cursor),
                cursor_shown=each.shown,
            )
            for each in (made, typed)
        )
        line = self.find()
        self.assertIsNone(line.doubt_of_empty(before))
        self.assertIsNone(line.doubt_of_typed(before, after, "go on"))
        with open(os.path.join(self.home, "settings.json"), "w") as file:
            json.dump({"editorMode": "vim"}, file)
        line = self.find()
        for doubt in (line.doubt_of_empty(before), line.doubt_of_typed(before, after, "go on")):
            self.assertIn("vim's keys are in use", doubt or "")


class GrowthTests(SynchronousTestCase):
    def test_the_files_of_sub_agents_grow_with_the_session(self) -> None:
        folder = os.path.abspath(self.mktemp())
        below = os.path.join(folder, SESSION, "subagents")
        os.makedirs(below)
        paths = [os.path.join(folder, f"{SESSION}.jsonl"), os.path.join(below, "agent-1.jsonl")]
        for time, path in enumerate([*paths, os.path.join(below, "notes.txt")], 1000):
            with open(path, "w") as file:
                file.write("x")
            os.utime(path, (time, time))
        found = AGENT.growth("/h", Identity(SESSION, "/"), paths[0])
        stamp = Stamp.of(os.lstat(paths[0]))
        self.assertEqual(found, Growth((stamp, (paths[1], 1, 1001 * 10**9)), 1001.0))


class FolderTests(SynchronousTestCase):
    def is_own(self, folder: str, directory: str, name: str = f"{SESSION}.jsonl") -> bool:
        return AGENT.is_own(f"/h/projects/{folder}/{name}", Identity(SESSION, directory))

    def test_a_folder_s_name_is_made_of_the_directory_s(self) -> None:
        for folder, directory in (
            ("-home-you-app", "/home/you/app"),
            ("-home-you--app-x-1", "/home/you/.app_x 1"),
            ("-home----", "/home/é\N{GRINNING FACE}"),
        ):
            self.assertTrue(self.is_own(folder, directory), directory)

    def test_a_long_name_is_cut_and_hashed(self) -> None:
        directory = "/" + "a" * 300
        self.assertTrue(self.is_own("-" + "a" * 199 + "-x1y2z3", directory))
        self.assertFalse(self.is_own("-" + "a" * 198 + "-x1y2z3", directory))
        self.assertTrue(self.is_own("-" + "a" * 199, "/" + "a" * 199))

    def test_other_folders_and_names_are_not_the_agent_s(self) -> None:
        self.assertFalse(self.is_own("-home-you-app.bak", "/home/you/app"))
        self.assertFalse(self.is_own("-home-you-app", "/home/you/other"))
        self.assertFalse(self.is_own("-home-you-app", "/home/you/app", "copy.jsonl"))


class DirectoryTests(SynchronousTestCase):
    def test_the_newest_record_tells_where_the_session_is(self) -> None:
        path = self.mktemp()
        for worktree, current in (("/home/you/app/tree", "/home/you/app/tree"), (DIRECTORY, None)):
            with open(path, "wb") as file:
                file.write(lines([PROMPT, {**PROMPT, "cwd": worktree}]))
            found = AGENT.read(path)
            assert found is not None
            self.assertEqual(found[0], Identity(SESSION, DIRECTORY, current))

    def test_the_newest_record_tells_it_even_if_it_is_huge(self) -> None:
        path = self.mktemp()
        with open(path, "wb") as file:
            file.write(lines([PROMPT, result("x" * PARSE_LIMIT, cwd="/home/you/app/tree")]))
        found = AGENT.read(path)
        assert found is not None
        self.assertEqual(found[0].current, "/home/you/app/tree")

    def test_a_directory_that_is_no_place_changes_nothing(self) -> None:
        for directory in ("x", "/a\0b", 5, None):
            known = Identity(SESSION, DIRECTORY, "/tree")
            self.assertEqual(known.moved(directory), known)
