"""
Run twistd once the start that waits for it has been interrupted.

Usage: ``twistd_interrupted.py FIFO [ARGUMENT ...]``; the FIFO is written to as soon as this
program runs, and the arguments are twistd's.
"""

from __future__ import annotations

import os
import socket
import sys

from twisted.scripts.twistd import run

from palingenesis.starting import INTERRUPT, STARTER_VARIABLE

with open(sys.argv.pop(1), "w", encoding="ascii") as fifo:
    fifo.write("begun")
with socket.socket(fileno=os.dup(int(os.environ[STARTER_VARIABLE]))) as connection:
    assert connection.recv(len(INTERRUPT), socket.MSG_PEEK) == INTERRUPT
run()
