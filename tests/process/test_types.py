"""What an application sees that runs mypy without a plug-in."""

from __future__ import annotations

import re
import subprocess
import sys

from tests.support.cases import ProcessTestCase
from tests.support.checkout import PROGRAMS, ROOT

EXAMPLES = ROOT / "examples"


class TypeTests(ProcessTestCase):
    def check(self, *paths: str) -> list[str]:
        """Return mypy's errors, those of Twisted's own untyped functions left out."""
        config = self.place.write("mypy.ini", "[mypy]\nstrict = true\n")
        options = ["--config-file", config, "--cache-dir", self.place.path("cache")]
        done = subprocess.run(
            [sys.executable, "-m", "mypy", *options, *paths],
            capture_output=True,
            text=True,
            cwd=self.place.directory,
        )
        if "No module named mypy" in done.stderr:
            self.skipTest("mypy is not installed")
        self.assertRegex(done.stdout, r"(?m)^(Success|Found \d+ errors? ).* source files?", done)
        return [
            line
            for line in done.stdout.splitlines()
            if " error: " in line and not line.endswith("[no-untyped-call]")
        ]

    def test_the_examples_pass(self) -> None:
        for example in ("own_commands.py", "smallest.py", "plain_reactor.py", "asyncio_reactor.py"):
            self.assertEqual(self.check(str(EXAMPLES / example)), [])

    def test_a_state_that_lacks_a_method_is_rejected(self) -> None:
        text = (EXAMPLES / "own_commands.py").read_text()
        without = re.sub(r"    def resume\(self\).*?(?=    def )", "", text, flags=re.DOTALL)
        errors = self.check(self.place.write("lacking.py", without))
        self.assertEqual(len(errors), 1, errors)
        self.assertIn('"Controllable"', errors[0])

    def test_states_of_every_sort_pass_and_each_lack_is_an_error(self) -> None:
        self.assertEqual(self.check(str(PROGRAMS / "typed.py")), [])
