"""
Become a command that has the loopback for its whole network: run in a network namespace.

Agents also keep the sockets of their servers in directories below ``/tmp`` that all of a user's
share. In a mount namespace, these are the command's own.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
import sys

#: ``SIOCSIFFLAGS`` and ``IFF_UP``, netdevice(7).
SET_FLAGS = 0x8914
UP = 1
#: The directories that agents share, by their names without the user's number.
SHARED = ("/tmp/cc-daemon-", "/tmp/codex-daemon-")


def bring_up_loopback() -> None:
    """Bring up the loopback of this network namespace."""
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, SET_FLAGS, struct.pack("16sh14x", b"lo", UP))


def hide(path: str) -> None:
    """Mount an empty directory at a path, which is made if it is missing."""
    os.makedirs(path, 0o700, exist_ok=True)
    libc = ctypes.CDLL(None, use_errno=True)
    options = f"mode=700,uid={os.getuid()}".encode()
    if libc.mount(b"tmpfs", path.encode(), b"tmpfs", 0, options) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), path)


def main(command: list[str]) -> None:
    """Shut this process off, and become a command."""
    bring_up_loopback()
    for prefix in SHARED:
        hide(f"{prefix}{os.getuid()}")
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
