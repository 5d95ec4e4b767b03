"""``python -m palingenesis.daemon``: the twistd of this Python, for ``palingenesis start``."""

import sys
from contextlib import suppress

from twisted.scripts.twistd import run

if __name__ == "__main__":
    sys.argv[0] = "twistd"
    # What ps(1) and the kernel call the process, proc_pid_comm(5); only Linux has it.
    with suppress(OSError), open("/proc/self/comm", "w", encoding="ascii") as name:
        name.write("twistd")
    run()
