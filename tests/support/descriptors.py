"""Room for many open files in one test: on most machines a process may have 1024."""

from __future__ import annotations

import resource

from twisted.trial.unittest import SkipTest, SynchronousTestCase

#: What a test has open besides, and more than that.
_SPARE = 200


def allow_descriptors(case: SynchronousTestCase, number: int) -> None:
    """
    Let a test open so many files until it is over.

    :raises SkipTest: if the machine does not allow it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = number + _SPARE
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise SkipTest(f"needs {needed} file descriptors: ulimit -n")
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
        case.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
