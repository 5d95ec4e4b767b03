"""``palingenesis completion``: the scripts that ``tools/generate.py`` writes."""

from __future__ import annotations

import os

_FILES = {"bash": "palingenesis.bash", "zsh": "_palingenesis", "fish": "palingenesis.fish"}


def completion(shell: str) -> str:
    """Return the script that a shell evaluates to complete the command line."""
    path = os.path.join(os.path.dirname(__file__), "completions", _FILES[shell])
    with open(path, encoding="utf-8") as file:
        return file.read()
