"""
Make the socket and remove it, again and again, under a umask.

Usage: ``binder.py SOCKET UMASK TIMES``; the umask is octal.
"""

from __future__ import annotations

import os
import sys

from palingenesis.server.socketfile import SocketFile

path, umask, times = sys.argv[1:]
os.umask(int(umask, 8))
file = SocketFile(path)
for _ in range(int(times)):
    file.claim()
    listening = file.bind()
    file.remove()
    listening.close()
    file.release()
