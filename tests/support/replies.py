"""The server's own replies, word for word as the contract has them."""

from __future__ import annotations

TIMED_OUT = b"ERR: Connection timeout\n"
TOO_LONG = b"ERR: Command too long (512 bytes at most)\n"
STOPPING = b"ERR: The daemon is stopping\n"
