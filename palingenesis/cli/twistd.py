"""The ``twistd`` of this very Python."""

from __future__ import annotations

import sys


def twistd_command() -> list[str]:
    """
    Return the beginning of the command line that runs twistd.

    This Python runs it, since a script beside it may belong to another one: an environment that
    was copied or moved still has the scripts of the first.

    :raises FileNotFoundError: when this Python does not know where it is.
    """
    if not sys.executable:
        raise FileNotFoundError(2, "the path of this interpreter is unknown", "python")
    # Without -P, modules in the current directory would go before those of the library.
    return [sys.executable, "-P", "-m", "palingenesis.daemon"]
