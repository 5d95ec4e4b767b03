"""The README: every command in it is typed, every example run."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import docutils.core
import docutils.nodes
import docutils.parsers.rst.directives
from docutils.parsers.rst.directives.body import CodeBlock
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from palingenesis import config
from palingenesis.cli.exit_status import Exit
from palingenesis.monitor.settings import TABLES, settings_of
from tests.support.agents import AgentTestCase
from tests.support.cases import COMMAND
from tests.support.checkout import ROOT, copy_of_the_checkout

README = ROOT / "README.rst"
#: Seconds until a command that prints nothing is taken to hang.
PATIENCE = 120

PROGRAMS = Path(sys.executable).parent

docutils.parsers.rst.directives.register_directive("code-block", CodeBlock)


def document() -> docutils.nodes.document:
    """Parse the README; a mistake in its markup is an error."""
    return docutils.core.publish_doctree(
        README.read_text(),
        settings_overrides={"halt_level": 2, "report_level": 5, "syntax_highlight": "none"},
    )


def blocks(language: str, node: docutils.nodes.Element | None = None) -> list[str]:
    """The code blocks of one language, below one node or in the whole README."""
    found = (node or document()).findall(docutils.nodes.literal_block)
    return [block.astext() for block in found if language in block["classes"]]


def section(title: str) -> docutils.nodes.Element:
    for found in document().findall(docutils.nodes.section):
        if found[0].astext() == title:
            return found
    raise AssertionError(f"no section {title!r}")


def table(title: str) -> list[list[str]]:
    """The rows of the first table of a section, its heading left out."""
    (body, *_) = section(title).findall(docutils.nodes.tbody)
    return [[entry.astext().replace("\n", " ") for entry in row] for row in body]


def exchanges(block: str) -> list[tuple[str, str]]:
    """Split a transcript into commands and what each printed."""
    parts = re.split(r"^\$ (.*)\n?", block, flags=re.MULTILINE)[1:]
    return list(zip(parts[::2], (output.rstrip("\n") for output in parts[1::2]), strict=True))


class Shell:
    """One bash, fed a command at a time, in a home of its own."""

    def __init__(self, case: SynchronousTestCase, home: Path) -> None:
        self.home = home
        environment = dict(os.environ, HOME=str(home), PATH=f"{PROGRAMS}:{os.environ['PATH']}")
        for name in ("PALINGENESIS_SOCKET", "XDG_CONFIG_HOME"):
            environment.pop(name, None)
        environment["XDG_RUNTIME_DIR"] = str(home / "run")
        (home / "run").mkdir(mode=0o700)
        self._bash = subprocess.Popen(
            ["bash"],
            cwd=home,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        case.addCleanup(self._end)

    def type(self, command: str) -> str:
        """Type a command, and return what it printed once it is done."""
        bash = self._bash
        assert bash.stdin is not None
        assert bash.stdout is not None
        bash.stdin.write(f"{command}\necho; echo END-OF-OUTPUT\n")
        bash.stdin.flush()
        lines: list[str] = []
        watchdog = threading.Timer(PATIENCE, os.killpg, (bash.pid, signal.SIGKILL))
        watchdog.start()
        try:
            while (line := bash.stdout.readline()) != "END-OF-OUTPUT\n":
                if not line:
                    raise AssertionError(f"{command} never ended, after printing {lines}")
                lines.append(line)
        finally:
            watchdog.cancel()
        return "".join(lines).rstrip("\n")

    def _end(self) -> None:
        for pidfile in self.home.glob("*.pid"):
            os.kill(int(pidfile.read_text()), signal.SIGKILL)
        os.killpg(self._bash.pid, signal.SIGKILL)
        self._bash.communicate()


class ReadmeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="palin-"))
        self.addCleanup(shutil.rmtree, self.home)

    def alike(self, text: str) -> str:
        """Leave out of an output what differs between machines and moments."""
        for here, there in (
            (f"{self.home}/run", "/run/user/N"),
            (str(self.home), "/home/you"),
            (str(PROGRAMS), "/home/you/.venv/bin"),
        ):
            text = text.replace(here, there)
        text = re.sub(r"owner \S+\b", "owner you", text)
        text = re.sub(r"\d+(\.\d+)?", "N", text)
        return text.replace("N seconds", "N second")

    def follow(self, title: str | None = None) -> None:
        """Type the transcripts of a section, and compare what is printed."""
        shell = Shell(self, self.home)
        if title == "Embedding":
            (self.home / "jobs.py").write_text(blocks("python", section(title))[0])
        for block in blocks("console", section(title) if title else None):
            for command, output in exchanges(block):
                if command.startswith("kill"):
                    self.stop(shell, command)
                else:
                    self.assertEqual(self.alike(shell.type(command)), self.alike(output), command)
            if title is None:
                return

    def stop(self, shell: Shell, command: str) -> None:
        """Type a kill, and see that it leaves no process and no socket behind."""
        self.assertEqual(shell.type(f"{command}; wait"), "")
        deadline = time.monotonic() + 20
        while list(self.home.glob("*.pid")) or list(self.home.glob("run/*.sock")):
            self.assertLess(time.monotonic(), deadline, "the daemon does not stop")
            time.sleep(0.02)

    def need(self, *programs: str) -> None:
        for program in programs:
            if shutil.which(program) is None:
                raise SkipTest(f"{program} is not installed")

    def test_the_first_screen_is_what_happens(self) -> None:
        self.need("nc")
        self.follow()

    def test_the_command_line_does_what_it_says(self) -> None:
        self.follow("The command line")

    def test_the_completions_are_printed_as_shown(self) -> None:
        (_, block) = blocks("console", section("Set-up"))
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
        application, client = blocks("python", section("Embedding"))
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
        ((run, _), (test, _)) = exchanges(blocks("console", section("Set-up"))[0])
        checkout = copy_of_the_checkout(self.home / "checkout")
        shell = Shell(self, self.home)
        shell.type(f"cd {shlex.quote(str(checkout))}")
        # What the tests themselves set must not reach the fresh environment.
        shell.type("unset PYTHONPATH VIRTUAL_ENV ${!COVERAGE*}")
        shell.type(f"({run}) > {self.home}/log 2>&1 &")
        answer = shell.type(
            "until printf 'STATUS\\n' | nc -N -U $XDG_RUNTIME_DIR/palingenesis.sock 2> /dev/null; "
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
        self.assertLessEqual({"unit", "process"}, set(named))
        suites = re.findall(r'trial\(session, "tests\.(\w+)"\)', parts)
        found = {path.relative_to(ROOT / "tests") for path in ROOT.glob("tests/**/test_*.py")}
        self.assertEqual({path.parts[0] for path in found}, set(suites))

    def test_the_configuration_table_has_every_key_and_its_default(self) -> None:
        rows = {key: default for key, default, _ in table("Configuration")}
        self.assertEqual(rows.pop("socket"), "see below")
        defaults = config.DEFAULTS._asdict()
        self.assertEqual(rows.pop("mode"), f'"{defaults["mode"]:04o}"')
        for name in ("socket", "mode", "tables"):
            del defaults[name]
        shown = {
            name: f'"{value}"' if isinstance(value, str) else str(value)
            for name, value in defaults.items()
        }
        self.assertEqual(rows, shown)

    def test_the_example_configuration_is_a_good_one(self) -> None:
        path = self.home / "config.toml"
        path.write_text("\n".join(blocks("toml")))
        settings = settings_of(config.load_config(str(path), TABLES).tables)
        self.assertEqual(sorted(settings.revive), ["claude", "codex"])

    def test_the_exit_statuses_are_those_of_the_command(self) -> None:
        rows = [(int(status), meaning) for status, meaning in table("The command line")]
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
        (revive, _notify) = blocks("toml", section("A session that comes back"))
        config_file = self.configure(revive={})
        with open(config_file, "a", encoding="utf-8") as file:
            file.write(revive)
        self.start_daemon(config_file)
        self.begin("s", "limit:3", "finish", directory=self.place.path("app")).wait()
        self.wait_for_session("s", state="waiting")
        shown = re.sub(r"(hour|minute|second)s?\b", "hour", self.palingenesis("sessions"))
        ((_, expected),) = exchanges(blocks("console", section("A session that comes back"))[0])
        self.assertEqual(
            re.sub(r"\d+", "N", shown).split()[:13],
            re.sub(r"\d+", "N", expected).split()[:13],
        )
        self.wait_for_session("s", kind="finished")
        self.wait_for_event("worked")
        (story,) = blocks("text", section("A session that comes back"))
        self.assertEqual(
            re.sub(r"\d+", "N", self.palingenesis("log")).strip(), re.sub(r"\d+", "N", story)
        )
