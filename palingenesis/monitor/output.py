"""
The output of a command, in a file of bounded size: its beginning and its end.

The daemon runs this as a program of its own, in a session of its own. A pipe to the daemon would
break when the daemon ends, and a file that the command writes to itself has no bound: a limit of
the system's (RLIMIT_FSIZE) would hold for the command's own files too.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress

#: Bytes that are read at once; less than half of any bound.
PART = 16384
CUT = b"\n[palingenesis left out the middle: the output had grown too large]\n"


def copy(source: int, file: int, bound: int) -> None:
    """
    Copy all that comes from a descriptor to a file that has at most so many bytes.

    The first half of the bound is kept; what comes later replaces what came between. Only the
    open file is written to, so nothing that is put in the place of its name is touched.
    """
    size = 0
    while data := os.read(source, PART):
        # The command must not wait for room on a disk.
        with suppress(OSError):
            if size + len(data) > bound:
                os.ftruncate(file, bound // 2)
                size = bound // 2 + os.write(file, CUT)
            size += os.write(file, data)


if __name__ == "__main__":
    copy(sys.stdin.fileno(), sys.stdout.fileno(), int(sys.argv[1]))
