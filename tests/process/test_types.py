"""What an application sees that runs mypy without a plug-in."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.support.cases import ProcessTestCase
from tests.support.checkout import PROGRAMS, ROOT

EXAMPLES = ROOT / "examples"


class TypeTests(ProcessTestCase):
    def check(self, *paths: Path | str) -> list[str]:
        """Return mypy's errors, less those of what Twisted itself leaves untyped."""
        config = self.place.write("mypy.ini", "[mypy]\nstrict = true\n")
        done = subprocess.run(
            [
                *(sys.executable, "-m", "mypy", "--config-file", config),
                *("--platform", sys.platform, "--cache-dir", self.place.path("cache")),
                *map(str, paths),
            ],
            # mypy is compiled for the real platform, and does not run on a simulated one.
            env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            capture_output=True,
            text=True,
            cwd=self.place.directory,
        )
        if "No module named mypy" in done.stderr:
            self.skipTest("mypy is not installed")
        # A run that judged nothing would find nothing either.
        self.assertRegex(done.stdout, r"(?m)^(Success: |Found \d+ errors? ).* source files?", done)
        return [
            line
            for line in done.stdout.splitlines()
            if " error: " in line
            and not line.endswith("[no-untyped-call]")
            and 'cannot subclass "Resource"' not in line
        ]

    def test_the_examples_pass_mypy(self) -> None:
        examples = sorted(EXAMPLES.rglob("*.py"))
        self.assertIn(EXAMPLES / "own_commands.py", examples)
        self.assertEqual(self.check(*examples), [])

    def test_a_state_that_lacks_a_method_is_rejected(self) -> None:
        text = (EXAMPLES / "own_commands.py").read_text()
        without = re.sub(r"    def resume\(self\).*?(?=    def )", "", text, flags=re.DOTALL)
        errors = self.check(self.place.write("lacking.py", without))
        self.assertEqual(len(errors), 1, errors)
        self.assertIn('"Controllable"', errors[0])

    def test_states_of_every_sort_pass_and_each_lack_is_an_error(self) -> None:
        self.assertEqual(self.check(PROGRAMS / "typed.py"), [])
