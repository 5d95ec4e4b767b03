"""``palingenesis completion``: the scripts that ``tools/generate.py`` writes."""

from __future__ import annotations

import pkgutil

_FILES = {"bash": "palingenesis.bash", "zsh": "_palingenesis", "fish": "palingenesis.fish"}


def completion(shell: str) -> str:
    """Return the script that a shell evaluates to complete the command line."""
    # By the package's loader: in a zip archive there is no such file.
    script = pkgutil.get_data(__package__, f"completions/{_FILES[shell]}")
    if script is None:
        raise FileNotFoundError(2, "the package has none", _FILES[shell])
    return script.decode()
