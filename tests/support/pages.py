"""Pages of documentation: their code blocks, and a shell that their commands are typed into."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import docutils.core
import docutils.nodes
import docutils.parsers.rst.directives
from docutils.parsers.rst.directives.body import CodeBlock
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.support.environment import apart, unmeasured

#: Seconds until a command that prints nothing is taken to hang.
PATIENCE = 120

PROGRAMS = Path(sys.executable).parent

docutils.parsers.rst.directives.register_directive("code-block", CodeBlock)


def document(page: Path) -> docutils.nodes.document:
    """Parse a page; a mistake in its markup is an error, but for what only Sphinx knows."""
    return docutils.core.publish_doctree(
        page.read_text(),
        settings_overrides={"halt_level": 4, "report_level": 5, "syntax_highlight": "none"},
    )


def blocks(page: Path, language: str, node: docutils.nodes.Element | None = None) -> list[str]:
    """Return the code blocks of one language, below one node or in the whole page."""
    found = (node or document(page)).findall(docutils.nodes.literal_block)
    return [block.astext() for block in found if language in block["classes"]]


def section(page: Path, title: str) -> docutils.nodes.Element:
    whole = document(page)
    for found in (whole, *whole.findall(docutils.nodes.section)):
        if found[0].astext() == title:
            return found
    raise AssertionError(f"no section {title!r}")


def table(page: Path, title: str) -> list[list[str]]:
    """The rows, less the heading, of the table of that title or the first of that section."""
    titled = (
        node
        for node in document(page).findall(docutils.nodes.table)
        if isinstance(node[0], docutils.nodes.title) and node[0].astext() == title
    )
    place: docutils.nodes.Element = next(titled, None) or section(page, title)
    (body, *_) = place.findall(docutils.nodes.tbody)
    rows = body.findall(docutils.nodes.row)
    return [
        [entry.astext().replace("\n", " ") for entry in row.findall(docutils.nodes.entry)]
        for row in rows
    ]


def console_blocks(page: Path) -> dict[str, list[str]]:
    """The transcripts of a page, by the title of the section that each is in."""
    found: dict[str, list[str]] = {}
    for node in document(page).findall(docutils.nodes.literal_block):
        if "console" in node["classes"]:
            place: Any = node.parent
            while not isinstance(place, docutils.nodes.section | docutils.nodes.document):
                place = place.parent
            found.setdefault(place[0].astext(), []).append(node.astext())
    return found


def exchanges(block: str) -> list[tuple[str, str]]:
    """Split a transcript into commands and what each printed."""
    parts = re.split(r"^\$ (.*)\n?", block, flags=re.MULTILINE)[1:]
    return list(zip(parts[::2], (output.rstrip("\n") for output in parts[1::2]), strict=True))


class Shell:
    """One bash, fed a command at a time, in a home of its own."""

    def __init__(self, case: SynchronousTestCase, home: Path) -> None:
        self.home = home
        path = f"{PROGRAMS}:{os.environ['PATH']}"
        (home / "run").mkdir(mode=0o700)
        self._bash = subprocess.Popen(
            ["bash"],
            cwd=home,
            env=unmeasured(apart(str(home), str(home / "run"), PATH=path)),
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
        for pidfile in (*self.home.glob("*.pid"), *self.home.glob("run/*.pid")):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pidfile.read_text()), signal.SIGKILL)
        os.killpg(self._bash.pid, signal.SIGKILL)
        self._bash.communicate()


class PageTestCase(SynchronousTestCase):
    """
    A test that types what a page shows.

    :ivar home: the home of the person who types.
    """

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

    def type_all(self, shell: Shell, transcripts: list[str]) -> None:
        """Type transcripts, and compare what is printed."""
        for block in transcripts:
            for command, output in exchanges(block):
                if command.startswith("kill"):
                    self.stop(shell, command)
                else:
                    self.assertEqual(self.alike(shell.type(command)), self.alike(output), command)

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
