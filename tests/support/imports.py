"""Which modules a program imports."""

from __future__ import annotations

SLOW_IMPORTS = (
    "argparse",
    "dataclasses",
    "datetime",
    "importlib.metadata",
    "logging",
    "pathlib",
    "shutil",
    "subprocess",
    "tomllib",
    "twisted",
    "typing",
    "zope",
)
