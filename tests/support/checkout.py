"""The checkout that is tested, and copies of it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

#: The directory that has ``pyproject.toml``.
ROOT = Path(__file__).resolve().parents[2]
#: The directory of the programs that tests start.
PROGRAMS = ROOT / "tests" / "programs"


def run(*command: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; its output is in the failure when it fails."""
    # pip and twistd must see the environment under test, and nothing of ours.
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "VIRTUAL_ENV", "COVERAGE"))
    }
    done = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        env=environment,
        timeout=300,
        check=False,
        **{"cwd": tempfile.gettempdir(), **options},
    )
    if done.returncode != 0:
        raise AssertionError(f"{command} exited {done.returncode}:\n{done.stdout}{done.stderr}")
    return done


def copy_of_the_checkout(target: Path) -> Path:
    """Copy what git tracks (or would), as a clone would have it."""
    listing = run("git", "ls-files", "-co", "--exclude-standard", "-z", cwd=ROOT).stdout
    for name in filter(None, listing.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    return target
