"""The benchmarks: their pages are made from kept figures, and a peer may be absent."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import docutils.core
import docutils.nodes
from twisted.trial.unittest import SynchronousTestCase

from tests.support.checkout import ROOT
from tests.support.impostors import STATUS_LINE, answer, impostor
from tests.support.place import Place

#: Seconds that a short run may take on a busy machine.
PATIENCE = 300


def run(root: Path, *arguments: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run the benchmarks of a checkout, with another $PATH if one is given."""
    environment = dict(os.environ) if path is None else os.environ | {"PATH": path}
    return subprocess.run(
        [sys.executable, "benchmarks/run.py", *arguments],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def parse(page: Path) -> docutils.nodes.document:
    """Parse reStructuredText; a mistake in its markup is an error."""
    return docutils.core.publish_doctree(
        page.read_text(), settings_overrides={"halt_level": 2, "report_level": 5}
    )


class LoadTests(SynchronousTestCase):
    """The load of either generator."""

    def test_a_load_that_is_over_before_its_first_answer_counts_that_one(self) -> None:
        place = Place(self)
        generators = [[sys.executable, str(ROOT / "benchmarks" / "loadgen.py")]]
        if compiler := shutil.which("cc"):
            compiled = place.path("loadgen")
            source = str(ROOT / "benchmarks" / "loadgen.c")
            subprocess.run([compiler, "-o", compiled, source], check=True, timeout=PATIENCE)
            generators.append([compiled])
        with impostor(place.socket, answer(STATUS_LINE)):
            for command in generators:
                loaded = subprocess.run(
                    [*command, place.socket, "1", "0.000001"],
                    capture_output=True,
                    text=True,
                    timeout=PATIENCE,
                )
                self.assertEqual(loaded.returncode, 0, loaded.stderr)
                self.assertRegex(loaded.stdout, r"\Acount=1 ")


class KeptPagesTests(SynchronousTestCase):
    """The pages of this checkout."""

    def test_the_pages_are_what_the_kept_figures_give(self) -> None:
        checked = run(ROOT, "--check")
        self.assertEqual((checked.returncode, checked.stderr), (0, ""))

    def test_the_benchmarks_page_has_a_table_for_each_kept_section(self) -> None:
        kept = json.loads((ROOT / "benchmarks" / "figures.json").read_text())
        titles = [
            each.astext()
            for each in parse(ROOT / "benchmarks/README.rst").findall(docutils.nodes.table)
        ]
        self.assertEqual(len(titles), len(kept))

    def test_the_readme_tells_three_figures_and_where_they_come_from(self) -> None:
        (told,) = (
            each
            for each in parse(ROOT / "README.rst").findall(docutils.nodes.section)
            if each[0].astext() == "How fast it is"
        )
        self.assertEqual(len(list(told.findall(docutils.nodes.list_item))), 3)
        self.assertIn("benchmarks/run.py", told.astext())
        links = [each["refuri"] for each in told.findall(docutils.nodes.reference)]
        self.assertEqual(links, ["benchmarks/README.rst"])


class CopiedPagesTests(SynchronousTestCase):
    """The pages of a copy, whose figures can be changed."""

    def setUp(self) -> None:
        self.root = Path(self.mktemp())
        self.root.mkdir()
        shutil.copy(ROOT / "README.rst", self.root)
        shutil.copytree(
            ROOT / "benchmarks",
            self.root / "benchmarks",
            ignore=shutil.ignore_patterns("__pycache__"),
        )
        self.figures = self.root / "benchmarks" / "figures.json"
        self.pages = [self.root / "benchmarks" / "README.rst", self.root / "README.rst"]

    def kept(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.figures.read_text())
        return found

    def change(self, section: str, row: str, quantity: str, values: Sequence[float]) -> None:
        kept = self.kept()
        kept[section]["rows"][row][quantity] = values
        self.figures.write_text(json.dumps(kept))

    def each_round(self, value: float) -> list[float]:
        """Make the values of a quantity that was the same in each of the kept rounds."""
        return [value] * len(self.kept()["commands"]["rows"]["palingenesis"]["rate"])

    def test_a_changed_figure_is_noticed_on_both_pages(self) -> None:
        self.change("commands", "palingenesis", "rate", self.each_round(12_345))
        checked = run(self.root, "--check")
        self.assertEqual(checked.returncode, 1)
        for page in self.pages:
            self.assertIn(str(page.resolve()), checked.stderr)

    def test_rendering_puts_a_changed_figure_on_both_pages(self) -> None:
        self.change("commands", "palingenesis", "rate", self.each_round(12_345))
        rendered = run(self.root, "--render")
        self.assertEqual((rendered.returncode, rendered.stderr), (0, ""))
        for page in self.pages:
            self.assertIn("12,345", page.read_text())

    def test_rendering_leaves_the_rest_of_the_readme_alone(self) -> None:
        self.change("commands", "palingenesis", "rate", self.each_round(12_345))
        marker = re.compile(r"(?<=\.\. benchmarks begin\n).*(?=\.\. benchmarks end)", re.DOTALL)
        before = marker.sub("", self.pages[1].read_text())
        run(self.root, "--render")
        self.assertEqual(marker.sub("", self.pages[1].read_text()), before)

    def test_a_readme_without_the_markers_is_left_alone(self) -> None:
        self.pages[1].write_text("No figures here.\n")
        rendered = run(self.root, "--render")
        self.assertEqual(rendered.returncode, 1)
        self.assertIn(".. benchmarks begin", rendered.stderr)
        self.assertEqual(self.pages[1].read_text(), "No figures here.\n")

    def test_a_ratio_is_taken_within_each_round(self) -> None:
        for row, rates in (
            ("palingenesis", [100, 200, 900]),
            ("LineReceiver, callLater", [50, 400, 300]),
        ):
            # Round by round 2, 0.5 and 3; the ratio of the medians would be 0.67.
            self.change("commands", row, "rate", rates)
            self.change("commands", row, "cost", [1, 1, 1])
        for row in set(self.kept()["commands"]["rows"]) - {
            "palingenesis",
            "LineReceiver, callLater",
        }:
            self.change("commands", row, "rate", [1, 1, 1])
            self.change("commands", row, "cost", [1, 1, 1])
        rendered = run(self.root, "--render")
        self.assertEqual((rendered.returncode, rendered.stderr), (0, ""))
        self.assertIn("2.00 (0.50-3.00)", self.pages[0].read_text())

    def test_a_section_measured_alone_replaces_its_own_figures_only(self) -> None:
        kept = self.kept()
        measured = run(self.root, "cli", "--quick", "--write")
        self.assertEqual(measured.returncode, 0, measured.stderr)
        now = self.kept()
        self.assertNotEqual(now.pop("cli"), kept.pop("cli"))
        self.assertEqual(now, kept)
        self.assertEqual(run(self.root, "--check").returncode, 0)

    def test_without_rust_the_row_of_tokio_says_so(self) -> None:
        empty = self.root / "bin"
        empty.mkdir()
        measured = run(self.root, "peers", "--quick", path=str(empty.resolve()))
        self.assertEqual(measured.returncode, 0, measured.stderr)
        for clients in (4, 16):
            self.assertRegex(measured.stdout, rf"(?m)^tokio, one thread +{clients} +absent ")
        self.assertIn("Absent: tokio, one thread (cargo is not installed).", measured.stdout)

    def test_a_page_without_tokio_is_still_made(self) -> None:
        kept = self.kept()
        rows = kept["peers"]["rows"]
        kept["peers"]["rows"] = {name: rows[name] for name in rows if "tokio" not in name}
        self.figures.write_text(json.dumps(kept))
        rendered = run(self.root, "--render")
        self.assertEqual((rendered.returncode, rendered.stderr), (0, ""))
        self.assertIn("tokio was absent", self.pages[1].read_text().replace("\n", " "))
