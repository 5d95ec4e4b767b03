"""The README: every command in it is typed, every example run."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys

from palingenesis import config
from palingenesis.cli.exit_status import Exit
from palingenesis.monitor.settings import TABLES, settings_of
from tests.support.agents import AgentTestCase
from tests.support.cases import COMMAND
from tests.support.checkout import ROOT, copy_of_the_checkout
from tests.support.pages import (
    PageTestCase,
    Shell,
    blocks,
    console_blocks,
    exchanges,
    section,
    table,
)

README = ROOT / "README.rst"


def alike(shown: str) -> str:
    """Leave out the ids of sessions and the numbers, which differ from run to run."""
    without_ids = re.sub(r"(?m)^[0-9a-f]{4,8}(?=  claude)", "ID", shown)
    return re.sub(r"\d+", "N", without_ids)


class ReadmeTests(PageTestCase):
    def follow(self, title: str) -> None:
        """Type the transcripts of a section."""
        if title == "Embedding":
            (self.home / "jobs.py").write_text(blocks(README, "python", section(README, title))[0])
        self.type_all(Shell(self, self.home), blocks(README, "console", section(README, title)))

    def test_the_demo_shows_the_lines_that_the_page_begins_with(self) -> None:
        install, demo = (command for command, _ in exchanges(blocks(README, "console")[0]))
        (run, _), _ = exchanges(blocks(README, "console", section(README, "Set-up"))[0])
        self.assertTrue(run.startswith(install))
        shown = Shell(self, self.home).type(demo.removeprefix(".venv/bin/"))
        rest = iter(alike(shown).splitlines())
        for line in alike(blocks(README, "text")[0]).splitlines():
            self.assertIn(line, rest, shown)

    def test_the_control_socket_answers_as_shown(self) -> None:
        self.need("nc")
        self.follow("The control socket")

    def test_the_readme_has_what_a_first_visit_needs_and_no_more(self) -> None:
        self.assertLessEqual(len(README.read_text().splitlines()), 350)

    def test_no_section_has_commands_that_are_not_typed_here(self) -> None:
        typed = {
            "palingenesis",
            "A session that comes back",
            "Set-up",
            "The control socket",
            "Configuration",
            "Embedding",
        }
        self.assertEqual(set(console_blocks(README)), typed)

    def test_every_page_that_it_names_is_there(self) -> None:
        names = re.findall(r"<([\w./-]+)>`_", README.read_text())
        self.assertIn("docs/embedding.rst", names)
        self.assertEqual([name for name in names if not (ROOT / name).exists()], [])

    def test_the_completions_are_printed_as_shown(self) -> None:
        (_, block) = blocks(README, "console", section(README, "Set-up"))
        shell = Shell(self, self.home)
        for command, output in exchanges(block):
            self.assertEqual(shell.type(command), output)
        for name in ("palingenesis.bash", "_palingenesis", "palingenesis.fish"):
            self.assertIn("palingenesis", (self.home / name).read_text())

    def test_a_reload_goes_as_shown(self) -> None:
        self.follow("Configuration")

    def test_the_embedding_application_runs(self) -> None:
        self.follow("Embedding")

    def test_the_client_example_talks_to_the_embedding_one(self) -> None:
        application, client = blocks(README, "python", section(README, "Embedding"))
        (self.home / "jobs.py").write_text(application)
        shell = Shell(self, self.home)
        self.assertEqual(shell.type("twistd -y jobs.py"), "")
        done = subprocess.run(
            [sys.executable, "-c", client],
            cwd=self.home,
            capture_output=True,
            text=True,
            check=True,
        )
        self.assertEqual(done.stdout, "paused {'dropped': 0}\n")

    def test_the_two_commands_of_the_set_up_work(self) -> None:
        self.need("nc", "git")
        ((run, _), (test, _)) = exchanges(blocks(README, "console", section(README, "Set-up"))[0])
        checkout = copy_of_the_checkout(self.home / "checkout")
        shell = Shell(self, self.home)
        shell.type(f"cd {shlex.quote(str(checkout))}")
        # What the tests themselves set must not reach the fresh environment.
        shell.type("unset PYTHONPATH VIRTUAL_ENV")
        shell.type(f"({run}) > {self.home}/log 2>&1 &")
        answer = shell.type(
            "until printf 'STATUS\\n' | nc -U $XDG_RUNTIME_DIR/palingenesis.sock 2> /dev/null; "
            "do kill -0 $! || break; sleep 0.1; done"
        )
        self.assertTrue(
            answer.startswith('{"state": "monitoring"'), (self.home / "log").read_text()
        )
        shell.type("palingenesis stop; wait")
        self.assertTrue(test.endswith("trial tests"), test)
        self.assertIn("PASSED", shell.type(f"{test}.unit.shared.test_wire"))

    def test_ci_runs_all_that_the_test_command_runs(self) -> None:
        # No word after nox's options: all the parts that noxfile.py names.
        self.assertRegex(
            (ROOT / ".ci" / "run").read_text(), r'(?m)^nox --nocolor --envdir "\S+" 2>'
        )
        parts = (ROOT / "noxfile.py").read_text()
        named = re.findall(r'^    "(\w+)",$', parts.partition("sessions = [")[2], re.MULTILINE)
        self.assertLessEqual({"unit", "process", "agents"}, set(named))
        suites = re.findall(r'(?:trial\(session|"-m"), "tests\.(\w+)', parts)
        found = {path.relative_to(ROOT / "tests") for path in ROOT.glob("tests/**/test_*.py")}
        self.assertEqual({path.parts[0] for path in found}, set(suites))

    def test_the_configuration_table_has_every_key_and_its_default(self) -> None:
        rows = {key: default for key, default, _ in table(README, "Configuration")}
        self.assertEqual(rows.pop("socket"), "see below")
        defaults = config.DEFAULTS._asdict()
        self.assertEqual(rows.pop("mode"), f'"{defaults["mode"]:04o}"')
        defaults |= defaults.pop("limits")._asdict()
        for name in ("socket", "mode", "tables"):
            del defaults[name]
        shown = {
            name: f'"{value}"' if isinstance(value, str) else str(value)
            for name, value in defaults.items()
        }
        self.assertEqual(rows, shown)

    def test_the_example_configuration_is_a_good_one(self) -> None:
        path = self.home / "config.toml"
        path.write_text("\n".join(blocks(README, "toml")))
        settings = settings_of(config.load_config(str(path), TABLES).tables)
        self.assertEqual(sorted(settings.revive), ["claude", "codex"])

    def test_the_exit_statuses_are_those_of_the_command(self) -> None:
        rows = [(int(status), meaning) for status, meaning in table(README, "The command line")]
        self.assertEqual(rows, [(int(status), status.meaning) for status in Exit])


class ComingBackTests(AgentTestCase):
    """The set-up of the README, with a stand-in agent whose limit is seconds away."""

    def palingenesis(self, command: str) -> str:
        done = subprocess.run(
            [*COMMAND, *command.split()],
            env=self.place.environment(**self.variables),
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    def test_a_session_that_hits_a_limit_comes_back_by_itself(self) -> None:
        (revive, _notify) = blocks(README, "toml", section(README, "A session that comes back"))
        config_file = self.configure(revive={})
        with open(config_file, "a", encoding="utf-8") as file:
            file.write(revive)
        self.start_daemon(config_file)
        self.begin("s", "limit:3", "finish", directory=self.place.path("app")).wait()
        self.wait_for_session("s", state="waiting")
        shown = re.sub(r"(hour|minute|second)s?\b", "hour", self.palingenesis("sessions"))
        ((_, expected),) = exchanges(
            blocks(README, "console", section(README, "A session that comes back"))[0]
        )
        self.assertEqual(
            alike(shown).split()[:13],
            alike(expected).split()[:13],
        )
        self.wait_for_session("s", kind="finished")
        self.wait_for_event("ended")
        (story,) = blocks(README, "text", section(README, "A session that comes back"))
        self.assertEqual(
            re.sub(r"\d+", "N", self.palingenesis("log")).strip(), re.sub(r"\d+", "N", story)
        )
