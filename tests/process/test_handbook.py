"""The handbook: every command in it is typed, every example run, and it builds."""

from __future__ import annotations

import os
import subprocess
import sys

from palingenesis.config import load_config
from palingenesis.monitor.sessions import Kind, Reason, State
from palingenesis.monitor.settings import TABLES, settings_of
from tests.support.checkout import ROOT
from tests.support.pages import PageTestCase, Shell, blocks, section, table

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.rst"))


class HandbookTests(PageTestCase):
    def follow(self, name: str) -> None:
        self.type_all(Shell(self, self.home), blocks(DOCS / name, "console"))

    def test_the_first_steps_go_as_shown(self) -> None:
        self.follow("first-steps.rst")

    def test_the_everyday_tools_talk_the_protocol(self) -> None:
        self.need("nc", "socat")
        self.follow("protocol.rst")

    def test_socket_activation_goes_as_shown(self) -> None:
        self.need("systemd-socket-activate")
        self.follow("operations.rst")

    def test_the_embedding_application_runs(self) -> None:
        (self.home / "jobs.py").write_text(blocks(DOCS / "embedding.rst", "python")[0])
        self.follow("embedding.rst")

    def test_every_example_in_python_runs(self) -> None:
        for number, text in enumerate(blocks(DOCS / "embedding.rst", "python")):
            path = self.home / f"example_{number}.py"
            path.write_text(text)
            done = subprocess.run(
                [sys.executable, str(path)],
                cwd=self.home,
                env={**os.environ, "XDG_RUNTIME_DIR": str(self.home)},
                capture_output=True,
                text=True,
            )
            self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_every_configuration_is_a_good_one(self) -> None:
        path = self.home / "c.toml"
        for page in PAGES:
            for text in blocks(page, "toml"):
                path.write_text(text)
                load_config(str(path), TABLES)

    def test_the_configuration_of_the_monitor_shows_the_defaults(self) -> None:
        (text, *_) = blocks(DOCS / "monitor.rst", "toml")
        shown, defaults = self.home / "shown.toml", self.home / "none.toml"
        shown.write_text(text.partition("[revive")[0])
        defaults.write_text('[sessions]\nagents = ["claude", "codex"]\n')
        self.assertEqual(
            settings_of(load_config(str(shown), TABLES).tables),
            settings_of(load_config(str(defaults), TABLES).tables),
        )

    def test_every_reason_is_explained_in_the_gate_s_order(self) -> None:
        rows = table(DOCS / "monitor.rst", "Why a session is left alone")
        self.assertEqual([row[0] for row in rows], list(Reason))

    def test_every_state_and_kind_is_named(self) -> None:
        rows = table(DOCS / "monitor.rst", "States")
        self.assertEqual([row[0] for row in rows], list(State))
        text = section(DOCS / "monitor.rst", "States").astext()
        for kind in Kind:
            self.assertIn(kind, text)

    def test_it_builds_without_a_warning(self) -> None:
        done = subprocess.run(
            [*(sys.executable, "-m", "sphinx", "-q", "-W", "-E"), str(DOCS), str(self.home)],
            capture_output=True,
            text=True,
        )
        if "No module named sphinx" in done.stderr:
            self.skipTest("Sphinx is not installed")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
