"""
Run twistd, and delete the socket's directory between the claim of the path and the bind.

Usage: ``twistd_unable_to_bind.py DIRECTORY [ARGUMENT ...]``; the arguments are twistd's.
"""

from __future__ import annotations

import shutil
import sys
from typing import Any

from twisted.scripts.twistd import run

from palingenesis.server.socketfile import SocketFile

directory = sys.argv.pop(1)
bind = SocketFile.bind


def bind_without_directory(self: SocketFile) -> Any:
    """Bind where the directory has just gone."""
    shutil.rmtree(directory)
    return bind(self)


SocketFile.bind = bind_without_directory  # type: ignore[method-assign]
run()
