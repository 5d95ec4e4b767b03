"""
Whose process is at the other end of a loopback connection, as proc_net(5) has it.

The port is open to every user of the machine; only the kernel knows which one connected.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address

_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
#: The states of a socket that its process holds and that is connected: ESTABLISHED, FIN_WAIT1,
#: FIN_WAIT2, CLOSE_WAIT, LAST_ACK and CLOSING, by their numbers in ``net/tcp_states.h``.
_CONNECTED = frozenset({b"01", b"04", b"05", b"08", b"09", b"0B"})

Address = tuple[str, int]


class OwnerUnknown(Exception):
    """The kernel does not tell whose process it is, as when the process has closed its end."""


def is_told() -> bool:
    """Return whether the kernel tells the owner of a connection at all; only Linux does."""
    return sys.platform == "linux"


def owner_of(client: Address, server: Address) -> int:
    """
    Return the user whose process holds the client's end of a loopback connection.

    :param client: the address and port that the client connected from.
    :param server: the address and port that it connected to.
    :raises OwnerUnknown: if no process holds that end. The kernel shows root as the owner of a
        socket that was closed, so a socket without an inode counts as nobody's.
    """
    wanted = {_row_key(client, server, mapped) for mapped in (False, True)}
    for table in _TABLES:
        for fields in _rows(table):
            if (fields[1], fields[2]) in wanted and fields[3] in _CONNECTED and fields[9] != b"0":
                return int(fields[7])
    raise OwnerUnknown(f"no process holds port {client[1]}")


def _rows(table: str) -> Iterator[list[bytes]]:
    try:
        with open(table, "rb") as file:
            # The first line names the columns.
            for line in file.read().splitlines()[1:]:
                fields = line.split()
                if len(fields) > 9:
                    yield fields
    except OSError:
        return


def _row_key(client: Address, server: Address, mapped: bool) -> tuple[bytes, bytes]:
    return _in_table(client, mapped), _in_table(server, mapped)


def _in_table(address: Address, mapped: bool) -> bytes:
    """Write an address as the table does: words of 32 bits in the machine's order, in hex."""
    host = ip_address(address[0])
    if isinstance(host, IPv6Address) and host.ipv4_mapped is not None:
        host = host.ipv4_mapped
    if mapped and isinstance(host, IPv4Address):
        host = IPv6Address(f"::ffff:{host}")
    words = struct.unpack(f"={len(host.packed) // 4}I", host.packed)
    return b"%s:%04X" % ("".join(f"{word:08X}" for word in words).encode(), address[1])
