"""
Kill this process at a call of the system: ``$PALINGENESIS_TEST_KILL`` is its number, from 1.

Calls count from the first line of the ledger that says that a session has stopped. If it ends
with ``+``, the process is killed after the call, and not before it. ``start`` is the call that
starts a command. With ``$PALINGENESIS_TEST_ROTATION`` the ledger's file is replaced when it has
so many bytes of lines.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

#: The calls that count, by the module that has them. The program's children are not killed.
CALLS = (
    (os, ("write", "fsync", "open", "close", "replace", "unlink", "ftruncate", "mkdir")),
    # What macOS has for fsync(2) is an fcntl(2).
    (fcntl, ("flock", "fcntl") if sys.platform == "darwin" else ("flock",)),
    # A fork; what it returns to has the command as its child already.
    (subprocess, ("_fork_exec",)),
)
_told = os.environ.pop("PALINGENESIS_TEST_KILL")
_is_after = _told.endswith("+")
_number = 0 if _told.startswith("start") else int(_told.rstrip("+"))
_count = 0
_is_armed = False


def _counted(real: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any, **known: Any) -> Any:
        global _count, _is_armed
        data = arguments[1] if real is _WRITE and len(arguments) > 1 else b""
        _is_armed = _is_armed or b'"event":"stopped"' in bytes(data)
        _count += _is_armed
        # The process that writes the output is started before, in the root directory.
        starts = real is _START and known.get("cwd") != "/"
        is_due = _is_armed and (_count == _number or (starts and not _number))
        if is_due and not _is_after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = real(*arguments, **known)
        if is_due:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    return call


if _rotation := os.environ.pop("PALINGENESIS_TEST_ROTATION", ""):
    from palingenesis.monitor.ledger import file

    file.ROTATION_SIZE = int(_rotation)

_WRITE, _START = os.write, subprocess.Popen.__init__
for _module, _names in CALLS:
    for _name in _names:
        setattr(_module, _name, _counted(getattr(_module, _name)))
subprocess.Popen.__init__ = _counted(_START)  # type: ignore[method-assign]
