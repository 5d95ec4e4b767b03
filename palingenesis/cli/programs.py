"""The agents on this system: where their programs are, and what these need to run."""

from __future__ import annotations

import os
import re
from collections import namedtuple

from palingenesis.paths import home_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: Where programs are for every user, and so for a daemon that no shell has started.
_SYSTEM = ("/usr/local/bin", "/usr/bin", "/bin")
#: Where the installers of agents and the managers of Node.js versions put programs: a variable,
#: the directory in the home if it is not set, and where the programs are below.
_MANAGED = (
    ("", ".local", "bin"),
    ("", ".claude", "local"),
    ("", ".opencode", "bin"),
    ("BUN_INSTALL", ".bun", "bin"),
    ("VOLTA_HOME", ".volta", "bin"),
    ("ASDF_DATA_DIR", ".asdf", "shims"),
    ("", ".npm-global", "bin"),
)
#: The first line of a script whose interpreter is looked for in ``PATH``.
_ENV_LINE = re.compile(rb"#!\s*/usr/bin/env\s+(?:-S\s+)?([\w.-]+)")


class Found(namedtuple("Found", "path search_path")):
    """
    A program that was found.

    :ivar path: its absolute path.
    :ivar search_path: the ``PATH`` without which it does not run; None if it needs none.
    """

    __slots__ = ()

    path: str
    search_path: str | None


def find(name: str, environment: Mapping[str, str]) -> Found | None:
    """Find the program of an agent, in ``PATH`` first."""
    places = list(dict.fromkeys(_places(environment)))
    for directory in places:
        path = os.path.join(directory, name)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return Found(path, _search_path(path, places))
    return None


def _places(environment: Mapping[str, str]) -> Iterator[str]:
    for directory in environment.get("PATH", "").split(os.pathsep):
        if os.path.isabs(directory):
            # Some managers make a link for each shell, which is gone when the shell is.
            yield os.path.realpath(directory)
    home = environment.get("HOME") or home_directory() or ""
    for variable, name, below in _MANAGED:
        base = environment.get(variable, "") or os.path.join(home, name)
        if os.path.isabs(base):
            yield os.path.join(base, below)
    yield from _of_nvm(environment.get("NVM_DIR") or os.path.join(home, ".nvm"))
    yield from _SYSTEM
    yield "/opt/homebrew/bin"


def _of_nvm(base: str) -> list[str]:
    """Return the directories of nvm's versions of Node.js, the newest first."""
    versions = os.path.join(base, "versions", "node")
    try:
        names = os.listdir(versions)
    except OSError:
        return []
    names.sort(key=lambda name: [int(part) for part in re.findall(r"\d+", name)], reverse=True)
    return [os.path.join(versions, name, "bin") for name in names]


def _search_path(path: str, places: list[str]) -> str | None:
    """Return the ``PATH`` in which a script finds its interpreter, if it needs one."""
    try:
        with open(path, "rb") as file:
            line = _ENV_LINE.match(file.readline(256))
    except OSError:
        return None
    if line is None:
        return None
    interpreter = line[1].decode()
    # The version that belongs to the program is beside it.
    for directory in (os.path.dirname(path), os.path.dirname(os.path.realpath(path)), *places):
        if os.access(os.path.join(directory, interpreter), os.X_OK):
            if directory in _SYSTEM:
                return None
            return os.pathsep.join((directory, *_SYSTEM))
    return None
