from __future__ import annotations

import os
import re
import sys
import tomllib
from collections.abc import Mapping
from datetime import date

from twisted.trial.unittest import SynchronousTestCase

from palingenesis.monitor import settings as settings_module
from palingenesis.monitor.agents import AGENTS
from palingenesis.monitor.homes import Home
from palingenesis.monitor.revive import Command
from palingenesis.monitor.settings import (
    TABLES,
    TYPED_LIMIT,
    HomeRevival,
    Settings,
    check_whole,
    settings_of,
)
from palingenesis.words import Method
from tests.support.checkout import ROOT
from tests.support.private import private_path

CLAUDE = ["claude", "-p", "--resume", "{id}", "{prompt}"]


def make_settings(tables: Mapping[str, object]) -> Settings:
    """Make settings as the daemon does from the tables of a configuration file."""
    checked = {name: TABLES[name](name, table) for name, table in tables.items()}
    check_whole(tables, checked)
    return settings_of(checked)


class SettingsTests(SynchronousTestCase):
    def refuse(self, tables: dict[str, object], *told: str) -> None:
        error = self.assertRaises(ValueError, make_settings, tables)
        for text in told:
            self.assertIn(text, str(error))
        self.assertNotIn("\n", str(error))

    def test_nothing_configured_gives_the_defaults(self) -> None:
        self.assertEqual(make_settings({}), Settings())

    def test_the_defaults_are_those_that_the_handbook_shows(self) -> None:
        page = (ROOT / "docs" / "monitor.rst").read_text("utf-8")
        found = re.search(r"^ +\[sessions\]\n.*?(?=^\n)", page, re.MULTILINE | re.DOTALL)
        assert found is not None
        shown = tomllib.loads(found.group())["sessions"]
        del shown["agents"]
        self.assertLess({"retry", "stall_tool", "backlog"}, shown.keys())
        self.assertEqual(make_settings({"sessions": shown}), Settings())
        other = {
            key: {bool: not value, list: [1.0]}.get(type(value), 7) for key, value in shown.items()
        }
        changed = make_settings({"sessions": other})
        for key in shown:
            self.assertNotEqual(getattr(changed, key), getattr(Settings(), key), key)

    def test_empty_tables_give_the_defaults(self) -> None:
        self.assertEqual(make_settings({"sessions": {}, "revive": {}}), Settings())

    def test_every_number_can_be_set(self) -> None:
        told = {
            "interval": 1,
            "quiet": 0,
            "margin": 0,
            "stagger": 0,
            "max_age": 1e9,
            "retry": [1, 2.5],
            "attempts": 1,
            "hourly": 100,
            "stall": 0.5,
            "stall_tool": 1e9,
            "windows": 1,
            "at_once": 1,
            "outputs": 1,
        }
        settings = make_settings({"sessions": told})
        self.assertEqual(
            {name: getattr(settings, name) for name in told}, {**told, "retry": (1.0, 2.5)}
        )

    def test_flags_can_be_set(self) -> None:
        settings = make_settings({"sessions": {"crashes": True, "backlog": True}})
        self.assertEqual((settings.crashes, settings.backlog), (True, True))

    def test_agents_can_be_named_or_left_out(self) -> None:
        self.assertEqual(make_settings({"sessions": {"agents": []}}).agents, ())
        for named in (["codex"], ["codex", "codex"]):
            self.assertEqual(make_settings({"sessions": {"agents": named}}).agents, ("codex",))

    def test_a_mistake_names_its_key_and_what_is_expected(self) -> None:
        for key, value, expected in (
            ("interval", -1, "a number of seconds above 0"),
            ("interval", 0, "a number of seconds above 0"),
            ("interval", float("nan"), "a number of seconds above 0"),
            ("interval", True, "a number of seconds above 0"),
            ("stall", 0, "a number of seconds above 0"),
            ("quiet", -0.1, "a number of seconds from 0"),
            ("margin", "90", "a number of seconds from 0"),
            ("stagger", None, "a number of seconds from 0"),
            ("max_age", 1e10, "a number of seconds from 0 to 1000000000"),
            ("attempts", 0, "a whole number from 1"),
            ("attempts", 1.0, "a whole number from 1"),
            ("hourly", True, "a whole number from 1"),
            ("retry", [], "a list of at least one number"),
            ("retry", [-1], "a number of seconds from 0"),
            ("retry", 300, "a list of at least one number"),
            ("crashes", 1, "true or false"),
            ("backlog", "yes", "true or false"),
            ("agents", ["gemini"], "a list of claude, codex"),
            ("agents", "claude", "a list of claude, codex"),
            ("agents", [["claude"]], "a list of claude, codex"),
        ):
            self.refuse({"sessions": {key: value}}, f"sessions.{key}: expected {expected}", ", not")

    def test_an_unknown_key_is_named_with_the_known_ones(self) -> None:
        self.refuse({"sessions": {"intervall": 5}}, "sessions: unknown key 'intervall'", "interval")
        self.refuse({"revive": {"claude": {"comand": []}}}, "revive.claude: unknown key 'comand'")
        self.refuse(
            {"notify": {"mail": "me"}},
            "notify: unknown key 'mail' (known: command, events, digest)",
        )

    def test_a_command_for_no_home_is_refused(self) -> None:
        self.refuse(
            {"revive": {"work": {"command": CLAUDE}}},
            f"revive.work: no home of this name (known: {', '.join(AGENTS)})",
        )

    def test_a_further_home_has_a_name_an_agent_and_a_directory(self) -> None:
        home = {"agent": "claude", "directory": "~/.claude-work/"}
        settings = make_settings({"homes": {"work": home}, "revive": {"work": {"command": CLAUDE}}})
        self.assertEqual(
            dict(settings.homes),
            {"work": Home("work", "claude", os.path.expanduser("~/.claude-work"), is_named=True)},
        )
        self.assertEqual(list(settings.revive), ["work"])

    def test_a_further_home_that_cannot_be_is_refused(self) -> None:
        home = {"agent": "claude", "directory": "/home/work"}
        for name, changed, expected in (
            ("Work!", {}, "homes.Work!: a name has 1 to 32"),
            ("codex", {}, "homes.codex: the name of an agent"),
            ("work", {"agent": "gemini"}, "homes.work.agent: expected one of claude, codex"),
            ("work", {"agent": ["claude"]}, "homes.work.agent: expected one of claude, codex"),
            ("work", {"directory": "here"}, "homes.work.directory: expected an absolute path"),
        ):
            self.refuse({"homes": {name: {**home, **changed}}}, expected)
        self.refuse({"homes": {"work": {"agent": "claude"}}}, "homes.work.directory: missing")

    def test_two_homes_in_one_directory_are_a_mistake(self) -> None:
        homes = {name: {"agent": "claude", "directory": "/home/x"} for name in ("one", "two")}
        self.refuse({"homes": homes}, "homes.two.directory: is that of [homes.one] too")

    def test_a_value_in_the_place_of_a_table_is_a_mistake(self) -> None:
        for value, shown in (
            (5, "a number"),
            (5.0, "a number"),
            ("yes", "a text"),
            (True, "true or false"),
            ([], "a list"),
            (date(2026, 1, 1), "a date or time"),
        ):
            self.refuse({"sessions": value}, f"sessions: expected a table [sessions], not {shown}")
            self.refuse({"revive": {"claude": value}}, "revive.claude: expected a table", shown)
            check_whole({"homes": value, "revive": value}, {})

    def test_a_revival_has_its_command_prompt_and_environment(self) -> None:
        told = {"command": CLAUDE, "prompt": "go on", "environment": {"A": "b"}}
        (revival,) = make_settings({"revive": {"claude": told}}).revive.values()
        self.assertEqual(
            (revival.command, revival.prompt, dict(revival.environment)),
            (tuple(CLAUDE), "go on", {"A": "b"}),
        )

    def test_an_open_program_is_handed_the_prompt_by_a_queue_or_by_its_terminal(self) -> None:
        self.patch(settings_module, "TYPES", True)
        told = {"queue": ["codex", "queue", "{id}"], "type_into": "tmux"}
        (revival,) = make_settings({"revive": {"codex": told}}).revive.values()
        self.assertEqual(revival.methods, (Method.QUEUE, Method.TYPE_INTO))
        self.assertEqual(
            revival.run_for(Method.QUEUE), Command(("codex", "queue", "{id}"), "continue", {})
        )
        self.assertIsNone(revival.run_for(Method.TYPE_INTO))

    def test_a_terminal_is_known_on_linux(self) -> None:
        methods = HomeRevival(type_into=True).methods
        self.assertEqual(methods, (Method.TYPE_INTO,) if sys.platform == "linux" else ())

    def test_a_terminal_is_only_known_on_linux(self) -> None:
        self.patch(settings_module, "TYPES", False)
        told = {"command": CLAUDE, "type_into": "tmux"}
        (revival,) = make_settings({"revive": {"claude": told}}).revive.values()
        self.assertEqual(revival.methods, (Method.COMMAND,))
        (revival,) = make_settings({"revive": {"claude": {"type_into": "tmux"}}}).revive.values()
        self.assertEqual(revival.methods, ())

    def test_a_prompt_that_cannot_be_typed_is_refused(self) -> None:
        for prompt, reason in (
            ("", "one line of printable characters"),
            (" ", "one line of printable characters"),
            (" go on", "one line of printable characters"),
            ("go on\n", "one line of printable characters"),
            ("go\non", "one line of printable characters"),
            ("go\ton", "one line of printable characters"),
            ("go \x1b[A on", "one line of printable characters"),
            ("go on\u2028", "one line of printable characters"),
            ("x" * (TYPED_LIMIT + 1), "at most 200 characters"),
            ("/clear", "begins with none of / ! # @"),
            ("!ls", "begins with none of / ! # @"),
            ("# note", "begins with none of / ! # @"),
            ("@file", "begins with none of / ! # @"),
        ):
            told = {"command": CLAUDE, "prompt": prompt, "type_into": "tmux"}
            self.refuse({"revive": {"claude": told}}, "revive.claude.prompt: a prompt that is")
            self.refuse({"revive": {"claude": told}}, reason)

    def test_a_prompt_that_can_be_typed(self) -> None:
        for prompt in (
            "x" * TYPED_LIMIT,
            "go on with /notes, #3 and @this!",
            "na\u00efve \u65e5\u672c",
        ):
            told = {"prompt": prompt, "type_into": "tmux"}
            self.assertTrue(make_settings({"revive": {"claude": told}}).revive["claude"].type_into)

    def test_a_command_may_have_any_prompt(self) -> None:
        told = {"command": CLAUDE, "prompt": "/clear\n"}
        self.assertEqual(
            make_settings({"revive": {"claude": told}}).revive["claude"].prompt, "/clear\n"
        )

    def test_a_project_s_prompt_is_typed_too(self) -> None:
        tables = {"projects": [{"directory": "/a", "prompt": "/clear"}]}
        make_settings(tables)
        typed = {"revive": {"claude": {"type_into": "tmux"}}}
        self.refuse({**tables, **typed}, "projects.1.prompt: a prompt that is typed begins with")

    def test_a_terminal_that_is_not_known_is_refused(self) -> None:
        for value in ("screen", True, ["tmux"]):
            self.refuse({"revive": {"claude": {"type_into": value}}}, 'expected "tmux"')

    def test_a_revival_without_a_method_is_refused(self) -> None:
        self.refuse({"revive": {"claude": {"prompt": "go on"}}}, "revive.claude.command: missing")

    def test_the_prompt_is_continue_by_default(self) -> None:
        settings = make_settings({"revive": {"codex": {"command": ["codex", "{id}"]}}})
        self.assertEqual(settings.revive["codex"].prompt, "continue")

    def test_a_command_must_be_a_program_and_arguments(self) -> None:
        for command in ([], [""], "claude -p", [1], ["claude", "a\0b"]):
            self.refuse(
                {"revive": {"claude": {"command": command}}},
                "revive.claude.command: expected a list of a program and its arguments",
            )

    def test_a_mistake_in_a_command_or_a_prompt_shows_no_value(self) -> None:
        for table in (
            {"command": "claude --api-key c2VjcmV0"},
            {"command": ["claude", "--api-key", "c2VjcmV0", 1]},
            {"command": CLAUDE, "prompt": ["c2VjcmV0"]},
            {"command": CLAUDE, "prompt": "c2VjcmV0\0"},
            {"command": CLAUDE, "environment": {"KEY": ["c2VjcmV0"]}},
            {"command": CLAUDE, "environment": "KEY=c2VjcmV0"},
        ):
            error = self.assertRaises(ValueError, make_settings, {"revive": {"claude": table}})
            self.assertNotIn("c2VjcmV0", str(error))
            self.assertIn("revive.claude.", str(error))

    def test_a_table_without_a_command_is_a_mistake(self) -> None:
        self.refuse({"revive": {"claude": {}}}, "revive.claude.command: missing")
        self.refuse({"notify": {}}, "notify.command: missing")

    def test_an_environment_must_be_names_and_texts(self) -> None:
        for environment, mistake in (
            ({"A": 1}, ".A: expected a text, not a number"),
            ({"A": {"B": "b"}}, ".A: expected a text, not a table"),
            ({"A": "b\0"}, ".A: expected a text without NUL"),
            ({"A=B": "x"}, ".A: expected the name of a variable, without = or NUL"),
            ({"": "x"}, ".: expected the name of a variable, without = or NUL"),
            (["A"], ": expected a table of names and texts, not a list"),
        ):
            table = {"command": CLAUDE, "environment": environment}
            self.refuse({"revive": {"claude": table}}, f"revive.claude.environment{mistake}")

    def test_no_mistake_shows_a_value_of_an_environment(self) -> None:
        for environment in (
            {"TOKEN": ["s3cret"]},
            {"TOKEN": "s3cret\0"},
            {"TOKEN=s3cret": ""},
            "TOKEN=s3cret",
            ["TOKEN=s3cret"],
        ):
            table = {"command": CLAUDE, "environment": environment}
            for revive in ({"claude": table}, {"claude": [table]}, [table]):
                with self.assertRaises(ValueError) as caught:
                    make_settings({"revive": revive})
                self.assertNotIn("s3cret", str(caught.exception))

    def test_a_prompt_must_be_a_text(self) -> None:
        told = {"command": CLAUDE, "prompt": 1}
        self.refuse(
            {"revive": {"claude": told}}, "revive.claude.prompt: expected a text, not a number"
        )

    def test_notify_is_a_program_and_its_arguments(self) -> None:
        settings = make_settings({"notify": {"command": ["notify-send", "palingenesis"]}})
        self.assertEqual(settings.notify, ("notify-send", "palingenesis"))
        self.assertEqual(settings.notify_events, {"needs-you", "worked", "gave-up"})

    def test_the_digest_has_a_time_of_day(self) -> None:
        table = {"command": ["x"], "digest": "07:35"}
        self.assertEqual(make_settings({"notify": table}).digest, (7, 35))
        for value in ("7:05", "24:00", "07:60", 7, "07:05 "):
            self.refuse(
                {"notify": {"command": ["x"], "digest": value}},
                "notify.digest: expected a time of day",
            )

    def test_the_events_of_notify_are_a_choice(self) -> None:
        table = {"command": ["x"], "events": ["left", "finished"]}
        self.assertEqual(make_settings({"notify": table}).notify_events, {"left", "ended"})
        self.refuse({"notify": {**table, "events": [["left"]]}}, "notify.events: expected a list")
        self.refuse(
            {"notify": {"command": ["x"], "events": ["intent"]}},
            "notify.events: expected a list of needs-you, worked, gave-up, stopped, started, "
            "failed, left, finished, killed, not ['intent']",
        )


class BoundsOfANightTests(SynchronousTestCase):
    def settings(self, **sessions: object) -> Settings:
        return make_settings({"sessions": sessions})

    def refusal(self, tables: dict[str, object]) -> str:
        return str(self.assertRaises(ValueError, make_settings, tables))

    def test_hours_are_minutes_since_midnight(self) -> None:
        self.assertEqual(self.settings(hours="22:05-08:30").hours, (22 * 60 + 5, 8 * 60 + 30))

    def test_hours_that_are_no_two_times_of_day_are_refused(self) -> None:
        times = 'a time of day to another, such as "22:00-08:00"'
        for value, expected in (
            *((each, times) for each in ("22-8", "24:00-08:00", "22:60-08:00", 22)),
            ("08:00-08:00", "two different times of day"),
        ):
            text = self.refusal({"sessions": {"hours": value}})
            self.assertEqual(text, f"sessions.hours: expected {expected}, not {value!r}")

    def test_a_home_may_have_its_own_number_of_starts(self) -> None:
        command = {"command": ["claude", "{id}"], "hourly": 10}
        settings = make_settings({"sessions": {"hourly": 3}, "revive": {"claude": command}})
        self.assertEqual((settings.hourly_of("claude"), settings.hourly_of("codex")), (10, 3))

    def test_a_command_of_another_session_than_the_stopped_one_is_refused(self) -> None:
        for arguments, reason in (
            (["claude", "{id}", "{promt}"], "unknown placeholder {promt}"),
            (["claude", "{prompt}"], "{id} is missing"),
            (["claude", "--continue", "{id}"], "--continue takes the newest session"),
            (["codex", "--last", "{id}"], "--last takes the newest session"),
        ):
            self.assertIn(reason, self.refusal({"revive": {"claude": {"command": arguments}}}))


class ProjectTests(SynchronousTestCase):
    def projects(self, *tables: dict[str, object]) -> Settings:
        return make_settings({"projects": list(tables)})

    def test_the_longest_directory_that_fits_counts(self) -> None:
        settings = self.projects(
            {"directory": "/home/app", "prompt": "go on"},
            {"directory": "/home/app/private", "revive": False},
        )
        inner, outer = (settings.project_of(f"/home/app{end}") for end in ("/private/a", "/b"))
        assert inner is not None and outer is not None
        self.assertEqual((inner.revive, outer.revive, outer.prompt), (False, True, "go on"))
        self.assertIsNone(settings.project_of("/home/application"))

    def test_a_project_changes_the_prompt_and_adds_to_the_environment(self) -> None:
        (project,) = self.projects(
            {"directory": "/a", "prompt": "go on", "environment": {"B": "2"}}
        ).projects
        revival = project.changed(HomeRevival(("claude", "{id}"), environment={"A": "1"}))
        self.assertEqual(revival.prompt, "go on")
        self.assertEqual(dict(revival.environment), {"A": "1", "B": "2"})

    def test_a_home_s_sessions_are_brought_back_as_the_project_says(self) -> None:
        settings = make_settings(
            {
                "projects": [{"directory": "/a", "prompt": "go on"}],
                "revive": {"claude": {"command": CLAUDE}},
            }
        )
        found = [settings.revival_of("claude", directory) for directory in ("/a/b", "/b")]
        self.assertEqual([each and each.prompt for each in found], ["go on", "continue"])
        self.assertIsNone(settings.revival_of("codex", "/a/b"))

    def test_a_project_that_cannot_be_is_refused(self) -> None:
        for tables, reason in (
            ({"a": 1}, "projects: expected tables [[projects]], not a table"),
            ([{"prompt": "x"}], "projects.1.directory: missing"),
            ([{"directory": "here"}], "projects.1.directory: expected an absolute path"),
        ):
            error = self.assertRaises(ValueError, make_settings, {"projects": tables})
            self.assertIn(reason, str(error))


class EnvironmentFileTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = private_path(self)

    def write(self, content: str, mode: int = 0o600) -> None:
        with open(self.path, "w", encoding="utf-8") as file:
            file.write(content)
        os.chmod(self.path, mode)

    def environment(self, **more: object) -> dict[str, str]:
        table = {"command": ["claude", "{id}"], "environment_file": self.path, **more}
        (command,) = make_settings({"revive": {"claude": table}}).revive.values()
        return dict(command.environment)

    def test_the_lines_of_the_file_are_variables_that_the_configuration_overrides(self) -> None:
        self.write("# a comment\n\nTOKEN=a=b\nOTHER=1\n")
        self.assertEqual(
            self.environment(environment={"OTHER": "2"}), {"TOKEN": "a=b", "OTHER": "2"}
        )

    def test_a_file_that_cannot_be_used_is_refused_without_its_content(self) -> None:
        for content, mode, reason in (
            ("TOKEN=secret\n", 0o640, "others may read it; run chmod 600 on it"),
            ("TOKEN secret\n", 0o600, "line 1 is not NAME=value"),
            ("A=1\n1B=secret\n", 0o600, "line 2 is not NAME=value"),
            ("A=" + "s" * 65536, 0o600, "larger than 65536 bytes"),
        ):
            self.write(content, mode)
            text = str(self.assertRaises(ValueError, self.environment))
            self.assertIn(reason, text)
            self.assertNotIn("secret", text)

    def test_a_file_that_others_could_exchange_is_refused(self) -> None:
        self.write("A=1\n")
        os.chmod(os.path.dirname(self.path), 0o777)
        text = str(self.assertRaises(ValueError, self.environment))
        self.assertIn(f"{self.path}: others could name variables in it: ", text)

    def test_a_fifo_is_no_file_of_variables(self) -> None:
        os.mkfifo(self.path, 0o600)
        text = str(self.assertRaises(ValueError, self.environment))
        self.assertIn(f"{self.path}: not a file of the daemon's user", text)

    def test_a_missing_file_and_a_directory_are_refused(self) -> None:
        self.assertIn("No such file", str(self.assertRaises(ValueError, self.environment)))
        os.mkdir(self.path)
        self.assertIn("Is a directory", str(self.assertRaises(ValueError, self.environment)))
