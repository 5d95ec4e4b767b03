"""
Claim a path when told to, print what came of it, and hold it until the end of standard input.

Usage: ``claimant.py SOCKET``; each of the two steps waits for a line.
"""

from __future__ import annotations

import sys

from palingenesis.server.socketfile import SocketFile, SocketFileError

file = SocketFile(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
try:
    file.claim()
    listening = file.bind()
except SocketFileError as error:
    print(f"{type(error).__name__}: {error}", flush=True)
else:
    print("serves", flush=True)
sys.stdin.readline()
