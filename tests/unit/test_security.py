"""Each sentence of ``SECURITY.rst`` is kept by tests, which stand here beside it."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.support.checkout import ROOT

PAGE = ROOT / "SECURITY.rst"
#: The sections that promise nothing about the program.
WITHOUT_PROMISES = ("Reporting",)

#: Each sentence's beginning, as far as it is like no other's, and the tests that keep it: a module
#: below ``tests``, and the names of tests in it.
KEPT = {
    "The socket has mode 0600 from its first moment": (
        "process.test_socketfile test_the_mode_is_never_looser_not_for_a_moment",
        "unit.server.test_socketfile test_the_mode_is_what_was_asked_for_whatever_the_umask",
    ),
    "Its directory must belong to": (
        "unit.server.test_socketfile test_a_directory_of_another_users_is_refused",
        "unit.server.test_socketfile test_a_directory_all_can_write_to_is_refused",
    ),
    "On Linux the kernel names the process": (
        "unit.shared.test_procfs test_the_kernel_tells_who_connected",
    ),
    "Users other than the daemon's own and root": (
        "process.test_contract test_another_user_is_rejected_though_the_mode_was_loosened_by_hand",
        "process.test_contract test_another_user_is_served_where_the_mode_lets_it_in",
    ),
    "A user who is let in can": (
        "process.test_contract test_another_user_is_served_where_the_mode_lets_it_in",
    ),
    "Only the daemon's own user and root can hold": (
        "unit.daemon.test_state test_only_the_daemon_s_own_user_and_root_steer_a_session",
    ),
    "``REVIVE`` alone starts a program": (
        "unit.daemon.test_state test_revive_alone_of_all_commands_starts_a_program",
    ),
    "No command stops the daemon": (
        "process.test_contract test_a_handler_that_exits_ends_nothing",
    ),
    "``PAUSE``, ``RESUME``, ``RELOAD``": (
        "unit.server.test_protocol test_what_changes_the_daemon_leaves_a_line",
        "unit.server.test_commands test_an_own_command_leaves_a_line_with_its_argument",
        "unit.server.test_commands test_help_leaves_no_line_in_the_log",
    ),
    "HTTP is off until": ("process.test_web_daemon test_without_it_no_module_of_the_web_is_there",),
    "It listens only on Unix": (
        "process.test_web_daemon test_an_address_of_elsewhere_is_one_line_that_says_how_else",
    ),
    "Only the daemon's own user and root turn it on": (
        "process.test_web_daemon test_another_user_opens_nothing_however_wide_the_mode_is",
    ),
    "On Linux the kernel names the user of each connection": (
        "process.test_web_attacks test_no_source_address_hides_the_user",
    ),
    "Users other than the daemon's own, root and": (
        "process.test_web_attacks "
        "test_the_token_and_a_session_s_key_are_worth_nothing_to_another_user",
        "process.test_web test_another_user_reads_and_changes_nothing_whatever_the_key",
    ),
    "They can only get ``/health``": (
        "process.test_web test_health_is_for_everybody",
        "unit.web.test_access test_health_needs_no_user",
    ),
    "On macOS the key alone decides": (
        "unit.web.test_access test_without_a_kernel_that_tells_the_token_decides",
    ),
    "Programs send the token": (
        "process.test_web_attacks "
        "test_the_token_s_file_the_socket_and_the_browser_s_file_are_closed",
        "process.test_web_daemon test_a_reload_closes_the_ports_whose_token_others_can_read",
        "process.test_web_daemon "
        "test_a_token_s_file_that_others_can_read_is_told_and_the_daemon_runs_on",
    ),
    "The token only reads: while the daemon": (
        "process.test_web "
        "test_a_token_that_was_collected_while_the_daemon_was_down_changes_nothing",
    ),
    "Over TCP only a browser's session": (
        "unit.web.test_access test_a_token_never_does",
        "unit.web.test_access test_a_session_does_not_unless_it_is_configured",
    ),
    "A code that works once": (
        "unit.web.test_access test_a_code_is_good_once",
        "unit.web.test_access test_a_code_is_good_for_a_minute",
    ),
    "It ends after 12 hours": (
        "unit.web.test_access test_a_session_ends_after_twelve_hours",
        "process.test_web_daemon test_a_port_that_is_closed_ends_the_sessions",
        "process.test_web_daemon test_revoke_ends_sessions",
    ),
    "A page of another origin": (
        "process.test_web_browser test_a_page_of_another_loopback_port_reads_and_changes_nothing",
        "process.test_web_attacks test_no_reply_sets_a_cookie_or_lets_another_origin_read",
        "process.test_web_attacks test_no_host_that_only_looks_like_ours_is_answered",
    ),
    "Programs should use ``127.0.0.1``": (
        "process.test_web_attacks test_another_user_can_have_the_other_address_of_localhost",
    ),
    "Over a Unix socket, HTTP allows": (
        "process.test_web_attacks "
        "test_a_wide_socket_opens_no_page_and_revives_nothing_for_another_user",
        "process.test_web test_the_unix_socket_is_ours_alone_and_goes_with_the_daemon",
    ),
    "If ``mode`` in ``[http]`` is widened": (
        "process.test_web_attacks test_a_wide_socket_lets_everybody_in_or_those_in_users_alone",
    ),
    "No key and no code": (
        "process.test_web_daemon test_a_code_is_in_no_log",
        "process.test_web_attacks test_no_token_key_or_code_is_on_a_command_line",
    ),
    "The path is claimed with ``flock``": (
        "process.test_socketfile test_of_twenty_that_claim_a_stale_path_at_once_one_has_it",
        "unit.server.test_socketfile test_a_held_lock_leaves_a_stale_socket_alone",
    ),
    "Under that lock, a socket": (
        "unit.server.test_socketfile test_a_stale_socket_is_replaced",
        "unit.server.test_socketfile test_a_file_is_never_moved_over_another",
    ),
    "Everything else, and everything of another user's": (
        "unit.server.test_socketfile test_a_live_listener_that_holds_no_lock_is_never_evicted",
        "unit.server.test_socketfile test_what_belongs_to_another_user_stays_whatever_it_is",
        "unit.server.test_socketfile test_a_directory_at_the_path_stays",
        "unit.server.test_socketfile test_a_device_at_the_path_stays",
    ),
    "A start makes directories only below": (
        "unit.shared.test_trust test_nothing_is_made_where_others_can_change_it",
        "process.test_start_files test_each_directory_is_private_whatever_the_umask",
        "process.test_start_files test_a_start_that_fails_leaves_no_directory_that_it_made",
    ),
    "``palingenesis stop`` sends a signal only": (
        "process.test_start_stop test_a_forwarder_in_front_of_the_daemon_is_left_alone",
    ),
    "It runs only commands that the configuration names": (
        "process.test_revive test_every_character_that_a_shell_would_love_arrives",
        "process.test_revive test_a_directory_of_another_user_is_unfit",
        "process.test_revive test_a_link_to_elsewhere",
    ),
    "Ids come from transcripts": (
        "process.test_revive test_an_id_that_is_an_option_a_path_or_lines_is_refused",
        "unit.monitor.test_claude test_ids_that_are_no_names",
    ),
    "A configuration, an ``environment_file`` and the state directory": (
        "process.test_trust test_what_others_can_change_is_refused_at_run_time",
        "process.test_trust test_what_others_can_change_is_refused_at_the_start",
    ),
    "A program that another user can change": (
        "process.test_trust test_what_others_can_change_is_refused_at_run_time",
        "process.test_revive test_a_program_that_others_can_change_is_not_run",
    ),
    "Root's daemon accepts": ("process.test_trust test_root_accepts_only_what_is_root_s",),
    "It adds no flag": ("unit.test_security test_no_flag_that_bypasses_permissions_is_added",),
    "A revived agent may do what its own settings": (
        "unit.monitor.test_scan test_another_user_s_transcripts_are_left_alone_and_warned_about",
        "process.test_revive test_a_directory_of_another_user_is_unfit",
    ),
    "The state directory has mode 0700": (
        "process.test_revival test_no_file_of_the_monitor_is_open_to_others",
        "process.test_start_files test_each_directory_is_private_whatever_the_umask",
        "process.test_start_files test_a_log_that_others_could_read_is_closed_to_them",
    ),
    "None of them is opened through a symbolic link": (
        "process.test_start_files test_a_link_in_the_place_of_the_log_is_not_followed",
        "unit.monitor.test_ledger_file test_a_link_in_the_place_of_the_ledger_is_refused",
        "unit.monitor.test_keeper test_a_link_in_the_place_of_the_lock_is_not_followed",
    ),
    "No word of a conversation is logged or sent": (
        "process.test_revival test_no_word_of_a_conversation_is_logged",
        "process.test_notify test_each_event_is_one_line_without_an_id_or_a_path",
        "process.test_revive test_the_output_goes_to_a_private_file",
    ),
    "No value of ``environment``": (
        "unit.daemon.test_state test_inspect_shows_neither_an_environment_nor_a_secret_argument",
        "unit.monitor.test_settings test_a_mistake_in_a_command_or_a_prompt_shows_no_value",
        "unit.shared.test_redacted test_each_way_to_pass_a_secret_is_hidden",
    ),
    "Nothing is sent anywhere unless": (
        "process.test_notify test_without_a_command_nothing_runs",
        "unit.test_security test_nothing_but_notify_post_opens_a_connection_elsewhere",
    ),
}
#: What turns off the questions of an agent, or its sandbox.
BYPASSES = re.compile(
    r"dangerously|bypass-?permissions|skip-permissions|--yolo|--full-auto|--allow-all|approval-mode"
)
#: What opens a connection to another machine.
CONNECTING = re.compile(
    r"urllib\.request|http\.client|web\.client|create_connection|smtplib|HostnameEndpoint|connectTCP"
)


def sentences(text: str) -> list[str]:
    """Return the sentences of a page, without those of sections that promise nothing."""
    found: list[str] = []
    sections = re.split(r"^(.+)\n-+\n", text, flags=re.MULTILINE)
    for title, body in zip(sections[1::2], sections[2::2], strict=True):
        if title not in WITHOUT_PROMISES:
            for paragraph in re.split(r"\n\n|^- ", body, flags=re.MULTILINE):
                one = " ".join(paragraph.split())
                found += re.split(r"(?<=[.?!])\s+(?=[A-Z`*])", one) if one else []
    return found


class SecurityTests(SynchronousTestCase):
    def test_each_sentence_is_kept_by_tests(self) -> None:
        found = sentences(PAGE.read_text(encoding="utf-8"))
        self.assertGreater(len(found), 20)
        for sentence in found:
            known = [beginning for beginning in KEPT if sentence.startswith(beginning)]
            self.assertEqual(len(known), 1, f"{sentence!r}: name the tests that keep it in KEPT")

    def test_no_tests_are_named_for_a_sentence_that_is_gone(self) -> None:
        found = sentences(PAGE.read_text(encoding="utf-8"))
        gone = [each for each in KEPT if not any(one.startswith(each) for one in found)]
        self.assertEqual(gone, [])

    def test_the_tests_that_are_named_exist(self) -> None:
        for sentence, tests in KEPT.items():
            self.assertTrue(tests, sentence)
            for test in tests:
                module, name = test.split()
                path = Path(ROOT, "tests", *module.split(".")).with_suffix(".py")
                source = path.read_text(encoding="utf-8")
                self.assertIn(f"    def {name}(self", source, f"{sentence!r}: {test}")

    def test_a_sentence_ends_where_the_next_begins(self) -> None:
        body = "- A b\n  (``C``). ``D`` is e.\n- F.\n"
        page = f"Page\n====\n\nOne\n---\n\n{body}\nReporting\n---------\n\nG.\n"
        self.assertEqual(sentences(page), ["A b (``C``).", "``D`` is e.", "F."])

    def test_no_flag_that_bypasses_permissions_is_added(self) -> None:
        self.assertEqual(self.files_with(BYPASSES), [])

    def test_nothing_but_notify_post_opens_a_connection_elsewhere(self) -> None:
        self.assertEqual(self.files_with(CONNECTING), ["cli/notify_post.py"])

    def files_with(self, pattern: re.Pattern[str]) -> list[str]:
        """Return the files of the package in which something stands."""
        package = ROOT / "palingenesis"
        files = sorted(each for each in package.rglob("*") if each.suffix in (".py", ".js"))
        self.assertGreater(len(files), 100)
        found = [each for each in files if pattern.search(each.read_text(encoding="utf-8"))]
        return [str(each.relative_to(package)) for each in found]
