"""
Make the socket and remove it, again and again, under a umask, until standard input ends.

Usage: ``binder.py SOCKET UMASK TIMES``; the umask is octal, and it is done that often at least.
"""

from __future__ import annotations

import os
import select
import sys

from palingenesis.server.socketfile import SocketFile

path, umask, times = sys.argv[1:]
os.umask(int(umask, 8))
file = SocketFile(path)
done = 0
while done < int(times) or not select.select([sys.stdin], [], [], 0)[0]:
    file.claim()
    listening = file.bind()
    file.remove()
    listening.close()
    file.release()
    done += 1
