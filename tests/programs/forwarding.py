"""
Forward connections from one Unix socket to another, one at a time, as socat(1) does.

Usage: ``forwarding.py PATH TARGET``.
"""

from __future__ import annotations

import os
import socket
import sys

path, target = sys.argv[1:]
with socket.socket(socket.AF_UNIX) as listening:
    listening.bind(f"{path}.new")
    listening.listen()
    # Whoever sees the path can connect.
    os.rename(f"{path}.new", path)
    while True:
        client, _ = listening.accept()
        with client, socket.socket(socket.AF_UNIX) as daemon:
            daemon.connect(target)
            daemon.sendall(client.recv(4096))
            while data := daemon.recv(65536):
                client.sendall(data)
