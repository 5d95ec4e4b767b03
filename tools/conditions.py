"""
Run tests by this Python under conditions that a machine may have.

``python tools/conditions.py ordinary umask-077 -- tests.unit.shared`` runs some tests under both;
without a suite it runs the tests that start no process. What the machine cannot do is reported
and left out. Only root can become an ordinary user.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence

#: The user and group of nobody.
NOBODY = "65534"
ORDINARY = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
NAMESPACE = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
SUITES = ("tests.unit",)
CONDITIONS = (
    *("root", "ordinary", "pid-namespace"),
    *("umask-0", "umask-077", "locale-C", "locale-latin-1"),
)


def works(*command: str) -> bool:
    """Return whether a command can be run here."""
    try:
        return subprocess.run(command, capture_output=True, cwd="/").returncode == 0
    except OSError:
        return False


def latin_1(directory: str) -> dict[str, str] | None:
    """Make a locale whose character set is Latin-1, and return the variables that choose it."""
    name = "en_US.ISO-8859-1"
    path = os.path.join(directory, name)
    if not works("localedef", "-i", "en_US", "-f", "ISO-8859-1", path):
        return None
    return {"LOCPATH": directory, "LC_ALL": name}


def run(conditions: Sequence[str], suites: Sequence[str]) -> int:
    """Run tests under all of some conditions, and return their exit status."""
    base = tempfile.mkdtemp(prefix="pal-conditions-")
    home = os.path.join(base, "home")
    os.mkdir(home)
    prefix: list[str] = []
    environment = {**os.environ, "HOME": home, "PYTHONDONTWRITEBYTECODE": "1"}
    # Python would take another locale in the place of this one.
    environment |= {"PYTHONCOERCECLOCALE": "0"}
    umask = -1
    missing = []
    if "root" in conditions and os.geteuid() != 0:
        missing.append("root")
    if "pid-namespace" in conditions:
        if works(*NAMESPACE, sys.executable, "-c", ""):
            prefix += NAMESPACE
        else:
            missing.append("pid-namespace")
    if "ordinary" in conditions and os.geteuid() == 0:
        if works(*ORDINARY, sys.executable, "-c", "import twisted"):
            prefix += ORDINARY
            for path in (base, home):
                os.chown(path, int(NOBODY), int(NOBODY))
        else:
            missing.append("ordinary")
    if "umask-0" in conditions:
        umask = 0
    elif "umask-077" in conditions:
        umask = 0o077
    if "locale-C" in conditions:
        environment["LC_ALL"] = "C"
    elif "locale-latin-1" in conditions:
        chosen = latin_1(base)
        if chosen is None:
            missing.append("locale-latin-1")
        else:
            environment |= chosen
    met = [each for each in conditions if each not in missing]
    print(f"Python {sys.version.split()[0]} under {', '.join(met) or 'nothing'}", flush=True)
    if missing:
        print(f"This machine cannot have {', '.join(missing)}", flush=True)
    # Not several jobs: trial's workers wait for ever under another locale than its own.
    trial = [sys.executable, "-m", "twisted.trial", f"--temp-directory={base}/trial"]
    try:
        return subprocess.run([*prefix, *trial, *suites], env=environment, umask=umask).returncode
    finally:
        shutil.rmtree(base, ignore_errors=True)


def main(arguments: Sequence[str]) -> int:
    """Run the tests that the arguments name under the conditions that they name."""
    split = arguments.index("--") if "--" in arguments else len(arguments)
    conditions, suites = arguments[:split], arguments[split + 1 :]
    if unknown := set(conditions) - set(CONDITIONS):
        print(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(CONDITIONS)}")
        return 2
    return run(conditions, suites or SUITES)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
