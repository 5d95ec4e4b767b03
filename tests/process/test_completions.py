"""The completions, as the shells make them, and the manual; and that they are up to date."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from palingenesis import config
from palingenesis.cli.exit_status import Exit
from palingenesis.cli.main import COMMANDS
from palingenesis.monitor.settings import TABLES
from palingenesis.web.settings import check_http
from tests.support.cases import CommandTestCase
from tests.support.checkout import ROOT
from tests.support.patience import PATIENCE
from tests.support.terminal import Terminal

COMPLETIONS = os.path.join(ROOT, "palingenesis", "cli", "completions")
_LINES = re.MULTILINE | re.DOTALL
MANUAL = os.path.join(ROOT, "man", "palingenesis.1")


def needs(program: str) -> Any:
    """Skip a test if a program is not installed."""

    def mark(test: Any) -> Any:
        if shutil.which(program) is None:
            test.skip = f"{program} is not installed"
        return test

    return mark


class GeneratedTests(SynchronousTestCase):
    def test_the_committed_files_are_what_the_parser_gives(self) -> None:
        for tool in ("shtab", "argparse_manpage"):
            if importlib.util.find_spec(tool) is None:
                self.skipTest(f"{tool} is not installed")
        script = os.path.join(ROOT, "tools", "generate.py")
        spec = importlib.util.spec_from_file_location("generate", script)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        for path, text in module.generate().items():
            with open(os.path.join(ROOT, path), encoding="utf-8") as file:
                self.assertEqual(file.read(), text, f"{path} is old: run tools/generate.py")


#: What is typed, and what it becomes.
CASES = (
    ("palingenesis relo", ["reload"]),
    ("palingenesis --socket /none stat", ["status"]),
    ("palingenesis status --js", ["--json"]),
    ("palingenesis --timeout 3 status --wat", ["--watch"]),
    ("palingenesis status --socket ./pypr", ["./pyproject.toml"]),
)


class CompletionTests(CommandTestCase):
    def output(self, *command: str) -> str:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=self.environment(),
            capture_output=True,
            timeout=PATIENCE,
            text=True,
        )
        self.assertEqual(done.stderr, "")
        return done.stdout

    def in_bash(self, typed: str) -> list[str]:
        code = (
            'source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1));'
            '_shtab_palingenesis; printf "%s\\n" "${COMPREPLY[@]}"'
        )
        script = os.path.join(COMPLETIONS, "palingenesis.bash")
        return self.output("bash", "--norc", "-c", code, script, *typed.split(" ")).splitlines()

    def in_fish(self, typed: str) -> list[str]:
        script = os.path.join(COMPLETIONS, "palingenesis.fish")
        code = f"source {shlex.quote(script)}; complete -C '{typed}'"
        shown = self.output("fish", "--no-config", "-c", code)
        return [line.partition("\t")[0] for line in shown.splitlines()]

    @needs("bash")
    def test_bash_completes(self) -> None:
        for typed, completed in CASES:
            self.assertEqual(self.in_bash(typed), completed)
        self.assertEqual(set(self.in_bash("palingenesis ")), set(COMMANDS))

    @needs("fish")
    def test_fish_completes(self) -> None:
        for typed, completed in CASES:
            self.assertEqual(self.in_fish(typed), completed)
        self.assertEqual(set(self.in_fish("palingenesis ")), set(COMMANDS))

    @needs("zsh")
    def test_zsh_completes(self) -> None:
        # Only its line editor completes: keys are typed, and what is run then tells.
        zsh = Terminal(self, "zsh", "-f", "-i", TERM="dumb")
        setting_up = (
            f"cd {shlex.quote(str(ROOT))}; fpath=({shlex.quote(COMPLETIONS)} $fpath);"
            "autoload -U compinit; compinit -u -D;"
            'palingenesis() { print "ran"": $*"; }; print "rea""dy"\n'
        )
        zsh.type(setting_up.encode())
        zsh.wait_for("ready")
        for typed, (completed,) in CASES:
            zsh.type(typed.encode() + b"\t\n")
            expected = f"{typed.rpartition(' ')[0]} {completed}".removeprefix("palingenesis ")
            zsh.wait_for(f"ran: {expected}")


class ManualTests(CommandTestCase):
    @needs("man")
    def test_the_manual_reads_well(self) -> None:
        done = subprocess.run(
            ["man", "--warnings", "-l", MANUAL],
            env=self.environment(MANWIDTH="80", LC_ALL="C.UTF-8", MANROFFOPT="-c"),
            capture_output=True,
            timeout=PATIENCE,
            text=True,
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("palingenesis - control the daemon", done.stdout)
        for name in COMMANDS:
            self.assertIn(f"palingenesis {name}\n", done.stdout)
        for section in ("EXIT STATUS", "ENVIRONMENT", "FILES", "CONFIGURATION", "EXAMPLES"):
            self.assertIn(f"\n{section}\n", done.stdout)

    def test_the_manual_shows_values_as_the_file_has_them(self) -> None:
        with open(MANUAL, encoding="utf-8") as file:
            text = file.read().replace(r"\-", "-").replace(r"\(dq", '"')
        command = {"command": ["true"]}
        for key, table, others in (("hours", "sessions", {}), ("digest", "notify", command)):
            found = re.search(rf'^\.B {key}\n.*such as "([^"]+)"', text, re.MULTILINE)
            assert found is not None
            TABLES[table](table, {key: found[1], **others})

    def test_the_manual_has_every_key_of_the_configuration(self) -> None:
        with open(MANUAL, encoding="utf-8") as file:
            text = file.read()
        tables = dict(
            re.findall(r"^Keys of (\[+[\w.]+\]+).*?:\n(.*?)(?=^\.P$|^\.SH|\Z)", text, _LINES)
        )
        name = re.compile(r"^\.B (\w+)$", re.MULTILINE)
        shown = {title: name.findall(keys) for title, keys in tables.items()}
        for key in config.KEYS:
            self.assertIn(f"\n.B {key}\n", text)
        unknown = {"x": 1}
        for title, check, value in (
            ("[sessions]", TABLES["sessions"], unknown),
            ("[homes.NAME]", TABLES["homes"], {"work": unknown}),
            ("[revive.HOME]", TABLES["revive"], {"claude": unknown}),
            ("[[projects]]", TABLES["projects"], [unknown]),
            ("[notify]", TABLES["notify"], unknown),
            ("[http]", check_http, unknown),
        ):
            with self.subTest(table=title):
                error = str(self.assertRaises(ValueError, check, "table", value))
                known = re.findall(r"\(known: (.*)\)", error)[0].split(", ")
                self.assertEqual(sorted(known), sorted(shown[title]))

    def test_the_manual_has_every_exit_status(self) -> None:
        with open(MANUAL, encoding="utf-8") as file:
            text = file.read().replace("\\-", "-")
        for status in Exit:
            self.assertIn(f".B {int(status)}\n{status.meaning}\n", text)
