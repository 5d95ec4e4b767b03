"""``palingenesis config``: the file that it writes, what it finds wrong, and the editor."""

from __future__ import annotations

import json
import os
import plistlib
import re
import stat
import sys
import tomllib

from palingenesis.cli.exit_status import Exit
from palingenesis.monitor.agents import AGENTS
from tests.support.cases import COMMAND, CommandTestCase
from tests.support.checkout import ROOT
from tests.support.terminal import Terminal

CLAUDE = 'command = ["sh", "-p", "--resume", "{id}", "{prompt}"]'


class ConfigTestCase(CommandTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.file = self.place.path(".config", "palingenesis", "config.toml")

    def program(self, *names: str, content: str = "#!/bin/sh\n") -> str:
        """Make a program in the home directory, and return its path."""
        path = self.place.path(*names)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(content)
        os.chmod(path, 0o700)
        return path

    def written(self, content: str | bytes) -> str:
        """Write the configuration file, and return its path."""
        os.makedirs(os.path.dirname(self.file), 0o700, exist_ok=True)
        with open(self.file, "wb") as file:
            file.write(content if isinstance(content, bytes) else content.encode())
        os.chmod(self.file, 0o600)
        return self.file

    def mistakes(self, content: str | bytes) -> list[str]:
        """Check a file with mistakes, and return them."""
        path = self.written(content)
        done = self.run_command("config", "check")
        self.assertEqual((done.returncode, done.stdout), (Exit.USAGE, b""))
        lines = done.stderr.decode().splitlines()
        begin = f"palingenesis: {path}: "
        self.assertEqual([line for line in lines if not line.startswith(begin)], [])
        return [line.removeprefix(begin) for line in lines]


class InitTests(ConfigTestCase):
    def test_without_a_terminal_it_names_no_command_and_asks_nothing(self) -> None:
        self.program(".local", "bin", "claude")
        done = self.run_command("config", "init", stdin=-3)
        self.assertEqual((done.returncode, done.stderr), (Exit.DONE, b""))
        self.assertEqual(done.stdout.decode().splitlines()[-1], "next: palingenesis config edit")
        with open(self.file, "rb") as file:
            self.assertEqual(tomllib.load(file), {})
        self.assertEqual(stat.S_IMODE(os.stat(self.file).st_mode), 0o600)

    def test_the_commented_lines_of_a_new_file_are_valid_without_the_mark(self) -> None:
        node = self.program(".nvm", "versions", "node", "v22.1.0", "bin", "node")
        for version in ("v9.1.0", "v22.1.0"):
            self.program(
                ".nvm", "versions", "node", version, "bin", "claude",
                content="#!/usr/bin/env node\n",
            )  # fmt: skip
        self.run_command("config", "init")
        with open(self.file, encoding="utf-8") as file:
            lines = file.read().splitlines()
        first = lines.index("# [revive.claude]")
        named = [line.removeprefix("# ") for line in lines[first : first + 4]]
        self.written("\n".join([*named[:2], named[3]]))
        with open(self.file, "rb") as file:
            table = tomllib.load(file)["revive"]["claude"]
        program = os.path.join(os.path.dirname(node), "claude")
        self.assertEqual(table["command"][0], program)
        self.assertTrue(table["environment"]["PATH"].startswith(f"{os.path.dirname(node)}:"))
        self.assertEqual(self.run_command("config", "check").stderr, b"")

    def want_no_launch_agent(self, terminal: Terminal) -> None:
        """Answer the further question that there is on macOS."""
        if sys.platform == "darwin":
            terminal.wait_for("at each log-in? [y/N]")
            terminal.type(b"\n")

    def test_a_queue_is_a_comment_until_a_person_wants_it(self) -> None:
        program = self.program(".local", "bin", "codex")
        terminal = Terminal(self, *COMMAND, "config", "init")
        terminal.wait_for("[Y/n]")
        terminal.type(b"y\n")
        self.want_no_launch_agent(terminal)
        terminal.wait_for("next: palingenesis start")
        with open(self.file, encoding="utf-8") as file:
            text = file.read()
        self.assertNotIn("queue", tomllib.loads(text)["revive"]["codex"])
        self.written(text.replace("# queue", "queue"))
        with open(self.file, "rb") as file:
            queue = tomllib.load(file)["revive"]["codex"]["queue"]
        self.assertEqual(queue, [program, "queue", "--thread", "{id}", "--message", "{prompt}"])
        self.assertEqual(self.run_command("config", "check").stderr, b"")
        self.assertIn(b"queue", self.run_command("config", "show").stdout)

    def test_what_is_typed_is_a_comment_until_a_person_wants_it_where_it_can_be(self) -> None:
        self.program(".local", "bin", "claude")
        self.run_command("config", "init")
        with open(self.file, encoding="utf-8") as file:
            text = file.read()
        typed = '# type_into = "tmux"'
        self.assertEqual(typed in text, sys.platform == "linux")
        self.assertNotIn("type_into", tomllib.loads(text).get("revive", {}))
        wanted = re.sub(r"^# (?=.revive.claude|command = .*claude)", "", text, flags=re.MULTILINE)
        self.written(wanted.replace(typed, typed.removeprefix("# ")))
        with open(self.file, "rb") as file:
            claude = tomllib.load(file)["revive"]["claude"]
        self.assertEqual(claude.get("type_into"), "tmux" if sys.platform == "linux" else None)
        self.assertEqual(self.run_command("config", "check").returncode, Exit.DONE)

    def test_the_notification_of_a_new_file_needs_no_path_of_a_shell(self) -> None:
        self.run_command("config", "init")
        with open(self.file, encoding="utf-8") as file:
            lines = file.read().splitlines()
        first = lines.index("# [notify]")
        self.written("\n".join(line.removeprefix("# ") for line in lines[first : first + 2]))
        done = self.run_command("config", "check", variables={"PATH": "/usr/bin:/bin"})
        self.assertEqual((done.returncode, done.stderr), (Exit.DONE, b""))

    def test_each_agent_gets_its_command(self) -> None:
        programs = {name: self.program(".local", "bin", name) for name in AGENTS}
        self.run_command("config", "init", stdin=-3)
        with open(self.file, encoding="utf-8") as file:
            commented = re.findall(r"^# (\[revive\..*|command = .*)", file.read(), re.MULTILINE)
        self.written("\n".join(commented[: 2 * len(AGENTS)]))
        with open(self.file, "rb") as file:
            revive = tomllib.load(file)["revive"]
        self.assertEqual(
            {name: table["command"] for name, table in revive.items()},
            {name: [program, *AGENTS[name].preset] for name, program in programs.items()},
        )
        self.assertEqual(self.run_command("config", "check").stderr, b"")

    def test_the_home_of_another_account_is_named_in_comments(self) -> None:
        self.program(".local", "bin", "claude")
        for home in (".claude", ".claude-Work"):
            os.makedirs(self.place.path(home, "projects"))
        self.run_command("config", "init", stdin=-3)
        with open(self.file, encoding="utf-8") as file:
            lines = file.read().splitlines()
        self.assertIn(b"is not monitored", self.run_command("config", "check").stderr)
        first = lines.index("# [homes.claude-work]")
        self.written("\n".join(line.removeprefix("# ") for line in lines[first : first + 5]))
        with open(self.file, "rb") as file:
            directory = tomllib.load(file)["homes"]["claude-work"]["directory"]
        self.assertEqual(directory, self.place.path(".claude-Work"))
        done = self.run_command("config", "check")
        self.assertEqual((done.returncode, done.stderr), (Exit.DONE, b""))

    def test_an_existing_file_is_not_touched(self) -> None:
        self.written("# mine\n")
        self.assertIn("exists", self.assert_fails(Exit.USAGE, "config", "init"))
        with open(self.file, encoding="utf-8") as file:
            self.assertEqual(file.read(), "# mine\n")

    def test_a_link_that_leads_nowhere_is_not_followed(self) -> None:
        os.makedirs(os.path.dirname(self.file))
        os.symlink(self.place.path("elsewhere"), self.file)
        self.assertIn("exists", self.assert_fails(Exit.USAGE, "config", "init"))
        self.assertFalse(os.path.lexists(self.place.path("elsewhere")))

    def test_a_person_who_says_yes_has_a_command_named(self) -> None:
        program = self.program(".local", "bin", "claude")
        terminal = Terminal(self, *COMMAND, "config", "init")
        terminal.wait_for("[Y/n]")
        terminal.type(b"\n")
        self.want_no_launch_agent(terminal)
        terminal.wait_for("next: palingenesis start")
        self.assertEqual(terminal.wait(), Exit.DONE)
        with open(self.file, "rb") as file:
            self.assertEqual(tomllib.load(file)["revive"]["claude"]["command"][0], program)

    def test_a_person_who_interrupts_has_no_file(self) -> None:
        self.program(".local", "bin", "claude")
        terminal = Terminal(self, *COMMAND, "config", "init")
        terminal.wait_for("[Y/n]")
        terminal.type(b"\x03")
        self.assertEqual(terminal.wait(), Exit.INTERRUPTED)
        self.assertFalse(os.path.lexists(self.file))


class LaunchAgentTests(ConfigTestCase):
    """What ``config init`` asks on a simulated macOS."""

    def setUp(self) -> None:
        super().setUp()
        self.program(".local", "bin", "claude")
        self.agent = self.place.path("Library", "LaunchAgents", "palingenesis.plist")

    def init(self, answer: bytes) -> Terminal:
        path = os.pathsep.join((str(ROOT), str(ROOT / "tests" / "simulated_mac")))
        terminal = Terminal(self, *COMMAND, "config", "init", PYTHONPATH=path)
        terminal.wait_for("[Y/n]")
        terminal.type(b"y\n")
        terminal.wait_for("at each log-in? [y/N]")
        terminal.type(answer)
        return terminal

    def test_a_person_who_wants_it_has_one_that_runs_this_very_python(self) -> None:
        terminal = self.init(b"y\n")
        terminal.wait_for(f"next: launchctl bootstrap gui/{os.getuid()} ")
        self.assertEqual(terminal.wait(), Exit.DONE)
        with open(self.agent, "rb") as file:
            line = plistlib.load(file)["ProgramArguments"][-1]
        self.assertIn(f"exec {sys.executable} -P -m palingenesis start --foreground", line)
        self.assertEqual(stat.S_IMODE(os.stat(self.agent).st_mode), 0o600)

    def test_nobody_who_only_presses_return_has_one(self) -> None:
        terminal = self.init(b"\n")
        terminal.wait_for("next: palingenesis start")
        self.assertEqual(terminal.wait(), Exit.DONE)
        self.assertFalse(os.path.lexists(self.agent))

    def test_a_launch_agent_that_is_there_is_not_touched(self) -> None:
        os.makedirs(os.path.dirname(self.agent))
        with open(self.agent, "w", encoding="utf-8") as file:
            file.write("mine")
        terminal = self.init(b"y\n")
        terminal.wait_for("exists, and is left as it is")
        self.assertEqual(terminal.wait(), Exit.DONE)
        with open(self.agent, encoding="utf-8") as file:
            self.assertEqual(file.read(), "mine")


class CheckTests(ConfigTestCase):
    def test_every_mistake_is_named_one_a_line(self) -> None:
        mistakes = self.mistakes(
            "first = 1\ntimeout = -1\n[sessions]\nquiet = 'x'\nother = 2\n"
            "[homes.claude]\n[homes.b]\nagent = 'none'\ndirectory = 'relative'\n"
            "[revive.claude]\ncommand = 'text'\nprompt = 5\n"
        )
        expected = (
            "unknown key 'first'", "timeout", "sessions.quiet", "sessions: unknown key 'other'",
            "homes.claude", "homes.b.agent", "homes.b.directory", "revive.claude.command",
            "revive.claude.prompt",
        )  # fmt: skip
        self.assertEqual(len(mistakes), len(expected))
        for mistake, beginning in zip(mistakes, expected, strict=True):
            self.assertTrue(mistake.startswith(beginning), mistake)

    def test_a_command_that_is_not_about_its_session_is_a_mistake(self) -> None:
        mistakes = self.mistakes(
            '[revive.claude]\ncommand = ["claude", "--continue", "--last", "{promt}"]\n'
        )
        for mistake, word in zip(
            mistakes, ("{promt}", "{id} is missing", "--continue", "--last"), strict=True
        ):
            self.assertIn(word, mistake)

    def test_what_tables_say_of_each_other_is_checked(self) -> None:
        (first, second) = self.mistakes(f"[revive.a]\n{CLAUDE}\n[revive.b]\n{CLAUDE}\n")
        self.assertIn("revive.a: no home of this name", first)
        self.assertIn("revive.b: no home of this name", second)

    def test_what_tables_say_of_each_other_is_checked_beside_other_mistakes(self) -> None:
        mistakes = self.mistakes(
            f"first = 1\n[homes.b]\nagent = 'none'\n[revive.a]\n{CLAUDE}\n[revive.b]\n{CLAUDE}\n"
        )
        beginnings = [each.partition(":")[0] for each in mistakes]
        self.assertEqual(beginnings, ["unknown key 'first' (known", "homes.b.agent", "revive.a"])

    def test_two_homes_in_one_directory_are_a_mistake(self) -> None:
        home = 'agent = "claude"\ndirectory = "~/.claude-{}"\n'
        os.mkdir(self.place.path(".claude-a"))
        os.symlink(".claude-a", self.place.path(".claude-b"))
        (mistake,) = self.mistakes(
            f"[homes.one]\n{home.format('a')}[homes.two]\n{home.format('b')}"
        )
        self.assertEqual(mistake, "homes.two.directory: is that of [homes.one] too")

    def test_a_valid_file_is_valid_with_a_mark_and_other_line_ends(self) -> None:
        self.written(f"\ufefftimeout = 3\r\n[revive.claude]\r\n{CLAUDE}\r\n")
        done = self.run_command("config", "check")
        self.assertEqual((done.returncode, done.stderr), (Exit.DONE, b""))
        self.assertEqual(done.stdout.decode(), f"{self.file}: valid\n")

    def test_every_table_of_the_daemon_is_known(self) -> None:
        self.written(
            f"[sessions]\n[homes]\n[revive.claude]\n{CLAUDE}\n[[projects]]\ndirectory = '/srv'\n"
            "[http]\n"
        )
        self.assertEqual(self.run_command("config", "check").stderr, b"")

    def test_a_program_that_is_not_there_is_a_warning(self) -> None:
        self.written(
            '[revive.claude]\ncommand = ["/none/claude", "{id}"]\n'
            '[notify]\ncommand = ["no-such-program"]\n'
        )
        done = self.run_command("config", "check")
        self.assertEqual(done.returncode, Exit.DONE)
        first, second = done.stderr.decode().splitlines()
        self.assertIn("warning: revive.claude.command: /none/claude", first)
        self.assertIn("warning: notify.command: no-such-program", second)

    def test_a_second_account_without_a_command_is_a_warning(self) -> None:
        self.written("[homes.work]\nagent = 'claude'\ndirectory = '/none/at/all'\n")
        done = self.run_command("config", "check")
        self.assertEqual(done.returncode, Exit.DONE)
        self.assertIn(b"/none/at/all is not a directory", done.stderr)
        self.assertIn(b"[revive.work] names no command", done.stderr)

    def test_a_default_home_with_a_name_besides_is_a_warning(self) -> None:
        home = "[homes.mine]\nagent = 'claude'\ndirectory = '~/.claude'\n"
        os.mkdir(self.place.path(".claude"))
        self.written(f"{home}[revive.claude]\n{CLAUDE}\n[revive.mine]\n{CLAUDE}\n")
        done = self.run_command("config", "check")
        (line,) = done.stderr.decode().splitlines()
        self.assertIn("revive.claude: not used, since [homes.mine] is the default home", line)

    def test_a_method_that_the_agent_does_not_have_is_a_warning(self) -> None:
        queue = "queue = ['/bin/true', '{id}']"
        homes = "[homes.work]\nagent = 'claude'\ndirectory = '/'\n"
        self.written(f"{homes}[revive.work]\n{queue}\n[revive.codex]\n{queue}\n")
        done = self.run_command("config", "check")
        (line,) = done.stderr.decode().splitlines()
        self.assertIn("revive.work.queue: not used, since claude has no such way", line)

    def test_a_file_that_others_can_write_to_is_refused(self) -> None:
        path = self.written("timeout = 3\n")
        os.chmod(path, 0o666)
        said = self.assert_fails(Exit.USAGE, "config", "check")
        self.assertIn("can be written to by all (mode 0666)", said)

    def test_a_file_can_be_named(self) -> None:
        path = self.place.write("other.toml", "timeout = 'x'\n")
        self.assertIn("timeout", self.assert_fails(Exit.USAGE, "config", "check", path))
        self.assert_fails(Exit.USAGE, "config", "check", self.place.path("none.toml"))

    def test_programs_see_one_object(self) -> None:
        for content, status, mistakes, warnings in (
            (None, Exit.DONE, 0, 0),
            ("timeout = 3\n", Exit.DONE, 0, 0),
            ("[notify]\ncommand = ['/none']\n", Exit.DONE, 0, 1),
            ("timeout = 'x'\ntypo = 1\n", Exit.USAGE, 2, 0),
        ):
            if content is not None:
                self.written(content)
            done = self.run_command("config", "check", "--json")
            self.assertEqual((done.returncode, done.stderr), (status, b""))
            told = json.loads(done.stdout)
            self.assertEqual(told["path"], self.file)
            self.assertEqual((len(told["mistakes"]), len(told["warnings"])), (mistakes, warnings))

    def test_without_a_file_the_defaults_hold(self) -> None:
        done = self.run_command("config", "check")
        self.assertEqual((done.returncode, done.stderr), (Exit.DONE, b""))
        self.assertIn(b"the defaults hold", done.stdout)


class ShowTests(ConfigTestCase):
    def test_each_value_has_its_source_and_no_secret(self) -> None:
        self.written(
            "timeout = 3\n[sessions]\nquiet = 7\n[revive.claude]\n"
            'command = ["claude", "--token", "hush1", "{id}"]\nenvironment = { KEY = "hush2" }\n'
        )
        done = self.run_command("config", "show", "--json")
        self.assertEqual((done.returncode, done.stderr), (Exit.DONE, b""))
        values = json.loads(done.stdout)
        self.assertEqual(values["timeout"], {"value": 3.0, "source": self.file})
        self.assertEqual(values["sessions.quiet"], {"value": 7, "source": self.file})
        self.assertEqual(values["sessions.margin"]["source"], "default")
        self.assertEqual(values["socket"]["value"], self.place.socket)
        self.assertIn("revive.claude.environment.KEY", values)
        self.assertNotIn(b"hush", done.stdout)
        shown = self.run_command("config", "show").stdout
        self.assertRegex(shown.decode(), rf"\ntimeout = 3\.0 +# {self.file}\n")
        self.assertNotIn(b"hush", shown)

    def test_a_project_is_named_as_in_an_error(self) -> None:
        self.written('[[projects]]\ndirectory = "~/app"\n[[projects]]\ndirectory = "b"\n')
        self.assertIn("projects.2.directory", self.assert_fails(Exit.USAGE, "config", "check"))
        self.written('[[projects]]\ndirectory = "~/app"\n[[projects]]\ndirectory = "/b"\n')
        shown = self.run_command("config", "show").stdout.decode()
        self.assertRegex(shown, r'\nprojects\.2\.directory = "/b"')

    def test_the_path_is_printed_alone(self) -> None:
        self.assertEqual(self.run_command("config", "path").stdout.decode(), f"{self.file}\n")


class EditTests(ConfigTestCase):
    def test_what_was_edited_is_checked(self) -> None:
        self.written("timeout = 3\n")
        editor = self.program("editor", content='#!/bin/sh\necho "timeout = \'x\'" > "$2"\n')
        variables = {"EDITOR": f"{editor} --wait", "VISUAL": ""}
        said = self.assert_fails(Exit.USAGE, "config", "edit", variables=variables)
        self.assertIn("timeout", said)

    def test_a_running_daemon_can_be_made_to_read_it(self) -> None:
        self.place.daemon()
        self.written("timeout = 3\n")
        variables = {"EDITOR": "true", "VISUAL": ""}
        done = self.run_command("config", "edit", variables=variables)
        self.assertEqual(done.stdout.decode().splitlines()[-1], "next: palingenesis reload")
        terminal = Terminal(self, *COMMAND, "config", "edit", **variables)
        terminal.wait_for("[Y/n]")
        terminal.type(b"y\n")
        terminal.wait_for("reloaded")
        self.assertEqual(terminal.wait(), Exit.DONE)

    def test_without_a_file_or_an_editor_it_says_so(self) -> None:
        self.assertIn("config init", self.assert_fails(Exit.USAGE, "config", "edit"))
        self.written("")
        variables = {"EDITOR": "/none/editor", "VISUAL": ""}
        said = self.assert_fails(Exit.USAGE, "config", "edit", variables=variables)
        self.assertIn("/none/editor: no such file or directory; set EDITOR", said)
