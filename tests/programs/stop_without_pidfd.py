"""
Run the ``palingenesis`` command as if the system forbade pidfd_open(2).

Usage: ``stop_without_pidfd.py ERROR [ARGUMENT ...]``; the error is a name of errno(3), and the
arguments are the command's.
"""

from __future__ import annotations

import errno
import os
import sys

from palingenesis.cli.main import main


def forbid(_pid: int, _flags: int = 0) -> int:
    """Fail as the system call does."""
    number = getattr(errno, sys.argv[1])
    raise OSError(number, os.strerror(number))


os.pidfd_open = forbid  # type: ignore[assignment]
sys.exit(main(sys.argv[2:]))
