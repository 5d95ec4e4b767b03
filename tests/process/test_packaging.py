"""The package as people install it: real builds, real virtual environments."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
import zipfile
from email import message_from_bytes
from functools import cache
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.support.checkout import copy_of_the_checkout, run


@cache
def built() -> tuple[Path, Path, Path]:
    """Build the wheel, once; return a place for environments, the checkout and the wheel."""
    base = Path(tempfile.mkdtemp(prefix="palingenesis-packaging-"))
    atexit.register(shutil.rmtree, base)
    base.chmod(0o755)
    checkout = copy_of_the_checkout(base / "checkout")
    run(sys.executable, "-m", "build", "--outdir", base / "dist", checkout)
    (wheel,) = (base / "dist").glob("*.whl")
    return base, checkout, wheel


class PackagingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.base, self.checkout, self.wheel = built()

    def environment(self, name: str, *requirement: object) -> Path:
        """Make a virtual environment with one thing installed; return its bin directory."""
        place = self.base / name
        run(sys.executable, "-m", "venv", "--without-pip", place)
        python = place / "bin" / "python"
        run(sys.executable, "-m", "pip", "--python", python, "install", "-q", *requirement)
        return place / "bin"

    def assert_has_the_plugin(self, twistd: Path) -> None:
        self.assertIn("\n    palingenesis ", run(twistd, "--help").stdout)
        # Twisted's own plugins are still there: ours do not shadow them.
        self.assertIn("\n    web ", run(twistd, "--help").stdout)

    def test_a_wheel_has_the_plugin_and_works_where_nothing_can_be_written(self) -> None:
        programs = self.environment("wheel", self.wheel)
        for directory, _, _ in os.walk(self.base / "wheel"):
            os.chmod(directory, 0o555)
        self.addCleanup(run, "chmod", "-R", "u+w", self.base / "wheel")
        # Without its capabilities, root is held back by permissions like everyone else.
        bound = ("setpriv", "--bounding-set=-all") if os.geteuid() == 0 else ()
        shown = run(*bound, programs / "twistd", "--help")
        self.assertIn("palingenesis", shown.stdout)
        self.assertNotIn("Traceback", shown.stdout + shown.stderr)
        self.assertEqual(list((self.base / "wheel").rglob("dropin.cache")), [])
        helped = run(*bound, programs / "twistd", "-n", "palingenesis", "--help")
        self.assertIn("--socket", helped.stdout)

    def test_an_editable_installation_has_the_plugin(self) -> None:
        self.assert_has_the_plugin(self.environment("edit", "-e", self.checkout) / "twistd")

    def test_the_wheel_holds_the_plugin_file_and_no_package_around_it(self) -> None:
        names = set(zipfile.ZipFile(self.wheel).namelist())
        self.assertIn("twisted/plugins/palingenesis_plugin.py", names)
        self.assertEqual(
            {name for name in names if name.startswith("twisted/")},
            {"twisted/plugins/palingenesis_plugin.py"},
        )
        self.assertIn("palingenesis/py.typed", names)
        for name in ("palingenesis.bash", "_palingenesis", "palingenesis.fish"):
            self.assertIn(f"palingenesis/cli/completions/{name}", names)
        self.assertFalse({name for name in names if name.startswith(("tests/", "benchmarks/"))})

    def test_the_wheel_needs_three_packages_and_no_more(self) -> None:
        with zipfile.ZipFile(self.wheel) as wheel:
            (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
            metadata = message_from_bytes(wheel.read(name))
        needed = {
            requirement.split(">")[0]
            for requirement in metadata.get_all("Requires-Dist", [])
            if "extra ==" not in requirement
        }
        self.assertEqual(
            {name.replace("-", ".") for name in needed},
            {"twisted", "zope.interface"},
        )

    def test_the_wheel_puts_manual_and_completions_where_they_are_looked_for(self) -> None:
        names = {
            name.split(".data/data/")[1]
            for name in zipfile.ZipFile(self.wheel).namelist()
            if ".data/data/" in name
        }
        self.assertEqual(
            names,
            {
                "share/man/man1/palingenesis.1",
                "share/bash-completion/completions/palingenesis",
                "share/zsh/site-functions/_palingenesis",
                "share/fish/vendor_completions.d/palingenesis.fish",
            },
        )
