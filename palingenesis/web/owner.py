"""
Whose process is at the other end of a loopback connection.

The port is open to every user of the machine; only the kernel knows which one connected. It is
asked for this one connection, sock_diag(7). If it cannot be asked that, it lists all of them,
proc_net(5), which takes milliseconds if there are thousands.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from collections.abc import Iterator

_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
#: The states of a socket that its process holds and that is connected: ESTABLISHED, FIN_WAIT1,
#: FIN_WAIT2, CLOSE_WAIT, LAST_ACK and CLOSING, by their numbers in ``net/tcp_states.h``.
_CONNECTED = frozenset({1, 4, 5, 8, 9, 11})

# linux/netlink.h, linux/sock_diag.h and linux/inet_diag.h.
_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_REQUEST = 1
_NLMSG_ERROR = 2
_ANY_STATE = 0xFFFFFFFF
_NO_COOKIE = 0xFFFFFFFF
_MESSAGE = struct.Struct("=IHHII")
#: The header; the family, the protocol, extensions and states; the ports and the addresses in the
#: network's order; an interface and a cookie.
_QUESTION = struct.Struct("=IHHII BBBxI HH16s16s III")
#: What follows the header in an answer: the family, the state, 2 bytes and the socket's identity;
#: then its expiry, its queues, its user and its inode.
_ANSWER = struct.Struct("=BBBB48xIIIII")

#: How an IPv6 address begins that stands for one of IPv4, RFC 4291 section 2.5.5.2.
_MAPPED = b"\0" * 10 + b"\xff" * 2

Address = tuple[str, int]


class OwnerUnknown(Exception):
    """The kernel does not report the process, for example after the process has closed its end."""


class _NotAsked(Exception):
    """The kernel cannot be asked for one connection."""


def is_told() -> bool:
    """Return whether the kernel reports the owner of a connection at all; only Linux does."""
    return sys.platform == "linux"


def owner_of(client: Address, server: Address) -> int:
    """
    Return the user whose process holds the client's end of a loopback connection.

    :param client: the address and port that the client connected from.
    :param server: the address and port that it connected to.
    :raises OwnerUnknown: if no process holds that end. The kernel shows root as the owner of a
        socket that was closed, so a socket without an inode counts as nobody's.
    """
    try:
        found = _ask(client, server)
        if found is None and _ask(server, client) is None:
            # Our own end is there for certain: the kernel lacks the module that reports it.
            raise _NotAsked
    except (_NotAsked, OSError):
        found = _look_up(client, server)
    if found is not None:
        uid, state, inode = found
        if state in _CONNECTED and inode:
            return uid
    raise OwnerUnknown(f"no process holds port {client[1]}")


def _ask(client: Address, server: Address) -> tuple[int, int, int] | None:
    """Return the user, the state and the inode of a connection's end; None if there is none."""
    if sys.platform != "linux":
        raise _NotAsked
    ends = _packed(client[0]), _packed(server[0])
    family = socket.AF_INET if len(ends[0]) == 4 else socket.AF_INET6
    question = _QUESTION.pack(
        *(_QUESTION.size, _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 0, 0),
        *(family, socket.IPPROTO_TCP, 0, _ANY_STATE),
        *(socket.htons(client[1]), socket.htons(server[1]), *ends),
        *(0, _NO_COOKIE, _NO_COOKIE),
    )
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _NETLINK_SOCK_DIAG) as kernel:
        kernel.sendto(question, (0, 0))
        # The kernel has answered by now.
        answer = kernel.recv(4096, socket.MSG_DONTWAIT)
    kind = _MESSAGE.unpack_from(answer)[1]
    if kind == _NLMSG_ERROR:
        (code,) = struct.unpack_from("=i", answer, _MESSAGE.size)
        if -code == errno.ENOENT:
            return None
        raise OSError(-code, os.strerror(-code))
    if kind != _SOCK_DIAG_BY_FAMILY or len(answer) < _MESSAGE.size + _ANSWER.size:
        raise _NotAsked
    fields = _ANSWER.unpack_from(answer, _MESSAGE.size)
    return fields[7], fields[1], fields[8]


def _look_up(client: Address, server: Address) -> tuple[int, int, int] | None:
    """Do what `_ask` does, in the tables of all connections."""
    wanted = {(_in_table(client, mapped), _in_table(server, mapped)) for mapped in (False, True)}
    for table in _TABLES:
        for fields in _rows(table):
            if (fields[1], fields[2]) in wanted:
                return int(fields[7]), int(fields[3], 16), int(fields[9])
    return None


def _packed(address: str) -> bytes:
    """Return an address as bytes in the network's order; 4 of them for a mapped one too."""
    if ":" not in address:
        return socket.inet_pton(socket.AF_INET, address)
    packed = socket.inet_pton(socket.AF_INET6, address)
    return packed.removeprefix(_MAPPED)


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


def _in_table(address: Address, mapped: bool) -> bytes:
    """Write an address as the table does: words of 32 bits in the machine's order, in hex."""
    packed = _packed(address[0])
    if mapped and len(packed) == 4:
        packed = _MAPPED + packed
    words = struct.unpack(f"={len(packed) // 4}I", packed)
    return b"%s:%04X" % ("".join(f"{word:08X}" for word in words).encode(), address[1])
