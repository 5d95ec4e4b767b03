"""axe-core, which finds what keeps people from using a page, from the npm registry."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import Any

from twisted.trial.unittest import SkipTest

VERSION = "4.14.1"
#: Seconds that its download may take.
_PATIENCE = 120.0
_RUN = """
const done = arguments[0];
axe.run().then((result) => done(result.violations.map((each) =>
  [each.id, each.nodes.map((node) => node.html + ": " + node.failureSummary)])));
"""


def source() -> str:
    """
    Return the script, from a cache outside the checkout.

    :raises SkipTest: if there is no npm, or no download.
    """
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    prefix = os.path.join(base, "palingenesis-web", f"axe-core-{VERSION}")
    path = os.path.join(prefix, "node_modules", "axe-core", "axe.min.js")
    if not os.path.exists(path):
        npm = shutil.which("npm")
        if npm is None:
            raise SkipTest("axe-core is not here, and there is no npm to fetch it")
        command = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts"]
        try:
            subprocess.run(
                [*command, f"--prefix={prefix}", f"axe-core@{VERSION}"],
                check=True,
                capture_output=True,
                timeout=_PATIENCE,
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise SkipTest(f"axe-core cannot be fetched: {error}") from None
    with open(path, encoding="utf-8") as file:
        return file.read()


def violations(browser: Any, script: str) -> list[Any]:
    """Return what it finds in the page that the browser shows: each rule, and the elements."""
    browser.execute_script(script)
    found: list[Any] = browser.execute_async_script(_RUN)
    return found
