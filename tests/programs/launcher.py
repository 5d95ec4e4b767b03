"""
Hand a listening socket on as an init system does, see sd_listen_fds(3), and become a program.

Usage: ``launcher.py {child,parent} DESCRIPTOR PROGRAM [ARGUMENT ...]``; the first word tells
which process the socket is said to be meant for.
"""

from __future__ import annotations

import os
import sys

receiver, descriptor, *program = sys.argv[1:]
os.dup2(int(descriptor), 3)
pid = os.getpid() if receiver == "child" else os.getppid()
os.environ |= {"LISTEN_PID": str(pid), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "control"}
os.execv(program[0], program)
