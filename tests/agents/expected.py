"""
Rows that the daemon does not pass yet, and why.

A row that begins to pass fails its run ("unexpected success") until it is taken out here.
"""

from __future__ import annotations

#: The reason, by agent and test; or by agent, version and test.
EXPECTED: dict[tuple[str, str], str] = {
    ("claude", "test_open_at_a_limit"): "an open program is only seen once the reset is due",
    ("claude", "test_a_link_for_a_directory_of_projects"): "a link is left out without a word",
    ("claude", "test_a_payment_that_is_required"): "resendCannotCure is not read",
    ("claude", "test_a_rate_limit_that_is_no_usage_limit"): "every rate_limit is a limit",
    ("claude", "test_extra_usage_that_is_required"): "every rate_limit is a limit",
    ("claude", "test_credits_used_up_with_a_reset"): "the words count more than resetsAt",
    ("claude", "test_a_sub_agent_at_a_limit"): "a task's notification hides the limit before it",
    ("claude", "test_clear_begins_another_session"): "/clear is not read",
    ("claude", "test_esc_at_a_limit"): "a cancelled continuation is not read",
    ("claude", "test_ctrl_c_at_a_limit"): "a cancelled continuation is not read",
    ("claude", "test_ctrl_d_at_a_limit"): "a cancelled continuation is not read",
    ("claude", "test_exit_without_esc_in_a_turn"): "history.jsonl is not read",
    ("claude@2.1.150", "test_exit_at_a_limit"): "history.jsonl is not read",
    ("claude@2.1.150", "test_quit_at_a_limit"): "history.jsonl is not read",
    ("claude@2.1.150", "test_exit_at_an_overloaded_server"): "history.jsonl is not read",
    ("claude@2.1.150", "test_closed_at_an_overloaded_server"): "the file's order is believed",
    ("codex", "test_open_at_a_limit"): "an open program is only seen once the reset is due",
    ("codex", "test_a_cut_stream"): "the code is other, and its text is not read",
    ("codex", "test_a_limit_without_a_stated_reset"): "a limit without a reset is refused",
    ("codex", "test_a_token_that_is_not_valid"): "the status beside the code is not read",
    ("codex", "test_a_request_that_is_not_permitted"): "the status beside the code is not read",
    ("codex", "test_no_credit_after_a_full_window"): "an earlier turn's figures count",
}


def fault(agent: str, version: str, test: str) -> str | None:
    """Return why a row is not passed yet; None if it is."""
    return EXPECTED.get((f"{agent}@{version}", test)) or EXPECTED.get((agent, test))
