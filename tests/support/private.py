"""A place that nobody else can change, for what is only kept in such a one."""

from __future__ import annotations

import os
import shutil
import tempfile

from twisted.trial.unittest import SynchronousTestCase

#: A directory in memory, where fsync(2) takes no time; None if there is none.
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK | os.X_OK) else None


def private_path(case: SynchronousTestCase) -> str:
    """
    Return a path without links at which nothing is, and delete what is there after a test.

    It is as ``mktemp`` of trial, whose directories have the modes that the umask leaves.
    """
    directory = os.path.realpath(tempfile.mkdtemp(prefix="pal-", dir=MEMORY))
    case.addCleanup(shutil.rmtree, directory, ignore_errors=True)
    return os.path.join(directory, "made")
