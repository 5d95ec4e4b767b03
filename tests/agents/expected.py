"""
Rows that the daemon does not pass yet, and why.

A row that begins to pass fails its run ("unexpected success") until it is taken out here.
"""

from __future__ import annotations

_HISTORY = "history.jsonl is not read"
_CANCELLED = "a cancelled continuation is not read"
_RATE = "every rate_limit is a limit"
_STATUS = "the status beside the code is not read"
_OPEN = "an open program is only seen once the reset is due"
_OTHER = "the code is other, and its text is not read"
_NO_ERROR = "a limit that names no error is taken for a finished turn"

#: The reason by test, for each agent.
EXPECTED: dict[str, dict[str, str]] = {
    "claude": {
        "test_open_at_a_limit": _OPEN,
        "test_a_link_for_a_directory_of_projects": "a link is left out without a word",
        "test_a_payment_that_is_required": "resendCannotCure is not read",
        "test_a_rate_limit_that_is_no_usage_limit": _RATE,
        "test_extra_usage_that_is_required": _RATE,
        "test_credits_used_up_with_a_reset": "the words count more than resetsAt",
        "test_a_sub_agent_at_a_limit": "a task's notification hides the limit before it",
        "test_clear_begins_another_session": "/clear is not read",
        "test_esc_at_a_limit": _CANCELLED,
        "test_ctrl_c_at_a_limit": _CANCELLED,
        "test_ctrl_d_at_a_limit": _CANCELLED,
        "test_exit_without_esc_in_a_turn": _HISTORY,
        "test_a_limit_while_compacting": "the words of a failed /compact are not read",
        "test_a_limit_while_compacting_by_itself": "its words are those of a full context",
        "test_a_killed_background_worker_has_a_supervisor": "the supervisor is not looked for",
        "test_a_stopped_background_session": "the state of a job is not read",
        "test_a_killed_tool_is_no_progress": "what a resume writes itself counts as work",
    },
    "codex": {
        "test_open_at_a_limit": _OPEN,
        "test_a_cut_stream": _OTHER,
        "test_a_rate_limit_in_the_stream": "its code is not known",
        "test_a_limit_without_a_stated_reset": "a limit without a reset is refused",
        "test_a_token_that_is_not_valid": _STATUS,
        "test_a_request_that_is_not_permitted": _STATUS,
        "test_no_credit_after_a_full_window": "an earlier turn's figures count",
    },
}
#: Where a version differs from that; None if it passes there.
DIFFERENT: dict[str, dict[str, str | None]] = {
    "claude@2.1.150": {
        "test_a_killed_tool_is_no_progress": None,
        "test_a_sub_agent_at_a_limit": None,
    },
    "codex@0.146.0": {
        "test_a_gateway_that_fails": _OTHER,
        "test_a_refused_connection": _OTHER,
    },
    "codex@0.130.0": {
        "test_a_cut_stream": None,
        "test_a_rate_limit_in_the_stream": None,
        "test_a_limit_without_a_stated_reset": None,
        "test_a_request_that_is_not_permitted": None,
        "test_a_token_that_is_not_valid": None,
        "test_no_credit_after_a_full_window": None,
        "test_a_directory_by_a_link": _NO_ERROR,
        "test_a_fork_is_a_session_of_its_own": _NO_ERROR,
        "test_a_killed_tool_is_no_progress": _NO_ERROR,
        "test_a_limit_in_a_loop_of_tools": _NO_ERROR,
        "test_a_limit_with_a_stated_reset": _NO_ERROR,
        "test_a_person_goes_on_first": _NO_ERROR,
        "test_a_refused_connection": _NO_ERROR,
        "test_closed_at_a_limit": _NO_ERROR,
        "test_killed_at_a_limit": _NO_ERROR,
        "test_new_begins_another_session": _NO_ERROR,
        "test_quit_at_a_limit": _NO_ERROR,
        "test_revived_in_a_loop_of_tools": _NO_ERROR,
        "test_revived_once": _NO_ERROR,
        "test_the_daemon_killed_before_a_revival": _NO_ERROR,
        "test_the_daemon_killed_during_a_revival": _NO_ERROR,
        "test_the_same_limit_again_and_again": _NO_ERROR,
        "test_two_sessions_in_a_directory": _NO_ERROR,
        "test_open_at_a_limit": _NO_ERROR,
    },
}


def fault(agent: str, version: str, test: str) -> str | None:
    """Return why a row is not passed yet; None if it is."""
    different = DIFFERENT.get(f"{agent}@{version}", {})
    return different[test] if test in different else EXPECTED[agent].get(test)
