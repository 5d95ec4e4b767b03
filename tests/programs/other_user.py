"""
Ask for the status as another user, and print the reply, or the error's class.

Usage: ``other_user.py SOCKET UID``, as root.
"""

from __future__ import annotations

import os
import socket
import sys

path, uid = sys.argv[1], int(sys.argv[2])
os.setgroups([])
os.setgid(uid)
os.setuid(uid)
with socket.socket(socket.AF_UNIX) as connection:
    try:
        connection.connect(path)
        connection.sendall(b"STATUS\n")
    except BrokenPipeError:
        # The server's reply came first; it can be read.
        pass
    except OSError as error:
        print(type(error).__name__, end="")
        sys.exit()
    print(connection.recv(4096).decode(), end="")
