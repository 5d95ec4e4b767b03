"""The ``twistd`` of this very Python."""

from __future__ import annotations

import os
import sys


def twistd_command() -> list[str]:
    """
    Return the beginning of the command line that runs twistd.

    The one beside this Python has the same packages; the first on the PATH may belong to
    another, and for ``uv tool`` and ``pipx`` there is none on it.
    """
    beside = os.path.join(os.path.dirname(sys.executable), "twistd")
    if os.access(beside, os.X_OK):
        return [beside]
    return [sys.executable, "-c", "from twisted.scripts.twistd import run; run()"]
