"""
Who may: which process asks, under which name, with which key, and from which page.

A loopback port is open to every user of the machine and to every page in a browser. Over a
Unix socket the kernel says who asks, and that is enough.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from enum import Enum, auto
from functools import lru_cache, partial
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any, NamedTuple, Protocol
from weakref import WeakKeyDictionary

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

from palingenesis.procfs import Credentials, client_in_words, peer_credentials
from palingenesis.web.keys import WRONG_SECONDS, Keys
from palingenesis.web.owner import OwnerUnknown, is_told, owner_of
from palingenesis.web.problem import Problem
from palingenesis.web.settings import check_host, host_name, user_id

_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="palingenesis"'}

_NOT_PERMITTED = "Permission denied: not the daemon's own user, nor root"


class Visitor(NamedTuple):
    """
    Who sent a request.

    :ivar by: the client in words, for the audit line.
    :ivar peer: the process, if the kernel reports it; over TCP its user alone, with a pid of 0
        and a gid of -1.
    :ivar has_key: whether the request came with a right key, or needs none.
    :ivar is_local: whether the kernel vouches for it, so that every command is allowed.
    :ivar may_change: whether it may change something.
    :ivar has_ended: returns whether the session has ended since.
    """

    by: str
    peer: Credentials | None = None
    has_key: bool = False
    is_local: bool = False
    may_change: bool = False
    has_ended: Callable[[], bool] = lambda: False


class Need(Enum):
    """What a request needs, besides the name of this server."""

    NOTHING = auto()
    #: To come from a process of a user that may connect.
    USER = auto()
    #: A right key too.
    KEY = auto()


class Guard(Protocol):
    """What the resource asks of `Access`, or of what stands for it."""

    keys: Keys | None

    def admit(self, request: Any, need: Need) -> Visitor:
        """Return who sent a request, or raise a `Problem`."""

    def check_origin(self, request: Any, visitor: Visitor) -> None:
        """Raise a `Problem` if a page of another origin sent a request."""


class Access:
    """
    Decides about each request.

    :param keys: the token, the codes and the sessions.
    :param hosts: names beside the loopback's under which the port may be asked for, with or
        without a port.
    :param users: names or numbers of users beside our own and root that may connect.
    :param control: whether a browser's session may change something over TCP.
    :param admit_others: whether over a Unix socket every user that can connect may ask.
    :raises ValueError: if a host is malformed or a user is unknown.
    """

    def __init__(
        self,
        keys: Keys,
        *,
        hosts: Iterable[str] = (),
        users: Iterable[str | int] = (),
        control: bool = False,
        admit_others: bool = False,
    ) -> None:
        self.keys: Keys | None = keys
        self._keys = keys
        self._hosts = frozenset(check_host(host) for host in hosts)
        self._users = frozenset(user_id(user) for user in users)
        self._control = control
        self._admit_others = admit_others
        #: Who is at the other end of a connection, with the token; the kernel is asked once.
        self._visitors: WeakKeyDictionary[Any, Visitor] = WeakKeyDictionary()

    def admit(self, request: Any, need: Need) -> Visitor:
        """
        Return who sent a request.

        :raises Problem: if it may not be answered.
        """
        address = request.getClientAddress()
        if isinstance(address, UNIXAddress):
            return self._admit_local(request)
        self._check_host(request)
        if need is Need.NOTHING:
            return Visitor(f"http, {_shown(address)}")
        visitor = self._visitors.get(request.transport)
        if visitor is None:
            visitor = self._visitors[request.transport] = self._find_visitor(request, address)
        if need is Need.USER:
            return visitor._replace(has_key=False)
        key = _bearer(request)
        if key is None:
            raise Problem(HTTPStatus.UNAUTHORIZED, "A key is needed", _CHALLENGE)
        if self._keys.is_token(key):
            return visitor
        if self._keys.is_session(key):
            has_ended = partial(self._has_ended, key)
            return visitor._replace(may_change=self._control, has_ended=has_ended)
        raise wrong_key(self._keys)

    def check_origin(self, request: Any, visitor: Visitor) -> None:
        """
        Check that a request that changes something comes from our own page.

        A program on a Unix socket sends no ``Origin``; a browser behind a proxy does.

        :raises Problem: if it comes from another page.
        """
        origins = header_values(request, b"origin")
        sites = header_values(request, b"sec-fetch-site")
        host = "".join(header_values(request, b"host")[:1]).lower()
        own = {f"http://{host}", f"https://{host}"}
        if not origins and visitor.is_local:
            right = True
        else:
            right = len(origins) == 1 and bool(host) and origins[0].lower() in own
        if not right or any(site != "same-origin" for site in sites):
            raise Problem(HTTPStatus.FORBIDDEN, "The request comes from another origin")

    def _admit_local(self, request: Any) -> Visitor:
        peer = peer_credentials(request.transport.getHandle())
        if peer is not None and not self._admit_others and not self._is_admitted(peer.uid):
            raise Problem(HTTPStatus.FORBIDDEN, _NOT_PERMITTED)
        return Visitor(
            f"http, {client_in_words(peer)}, unix",
            peer,
            has_key=True,
            is_local=True,
            may_change=True,
        )

    def _has_ended(self, key: bytes) -> bool:
        return not self._keys.is_session(key)

    def _is_admitted(self, uid: int) -> bool:
        return uid in (0, os.geteuid()) or uid in self._users

    def _check_host(self, request: Any) -> None:
        sent = request.requestHeaders.getRawHeaders(b"host", [b""])
        if len(sent) > 1:
            raise Problem(HTTPStatus.BAD_REQUEST, "The Host header comes twice")
        host = sent[0].decode("latin-1").lower()
        name = host_name(host)
        if name is None or not (host in self._hosts or name in self._hosts or _is_loopback(name)):
            raise Problem(HTTPStatus.MISDIRECTED_REQUEST, "The Host header names another server")

    def _find_visitor(self, request: Any, address: Any) -> Visitor:
        """Return who is at the other end of a connection, as far as the kernel reports it."""
        uid = self._find_owner(request, address)
        if uid is not None and not self._is_admitted(uid):
            raise Problem(HTTPStatus.FORBIDDEN, _NOT_PERMITTED)
        by = f"http, uid {'unknown' if uid is None else uid}, {_shown(address)}"
        # The kernel names the user of a connection over TCP, and not the process.
        return Visitor(by, None if uid is None else Credentials(0, uid, -1), has_key=True)

    def _find_owner(self, request: Any, address: Any) -> int | None:
        if not is_told() or not isinstance(address, IPv4Address | IPv6Address):
            return None
        server = request.getHost()
        # One end is enough: any process may connect to the loopback from the machine's own
        # address in another network.
        if not (_is_loopback(address.host) or _is_loopback(server.host)):
            return None
        try:
            return owner_of((address.host, address.port), (server.host, server.port))
        except OwnerUnknown:
            raise Problem(
                HTTPStatus.FORBIDDEN, "The kernel does not report the user of this connection"
            ) from None


class Unguarded:
    """Stands for `Access` in an application that guards the resource itself."""

    keys: Keys | None = None

    def admit(self, request: Any, need: Need) -> Visitor:
        """Return who sent a request, as far as its address shows it."""
        by = f"http, {_shown(request.getClientAddress())}"
        return Visitor(by, has_key=need is not Need.NOTHING, may_change=True)

    def check_origin(self, request: Any, visitor: Visitor) -> None:
        """Do nothing: the application has decided."""


def header_values(request: Any, name: bytes) -> list[str]:
    """Return the values of a header, whatever bytes they are."""
    return [value.decode("latin-1") for value in request.requestHeaders.getRawHeaders(name, ())]


def wrong_key(keys: Keys) -> Problem:
    """Count a wrong key, and return the problem to raise."""
    if keys.count_wrong():
        return Problem(
            HTTPStatus.TOO_MANY_REQUESTS,
            "Too many wrong keys",
            {"Retry-After": f"{WRONG_SECONDS:.0f}"},
        )
    return Problem(HTTPStatus.UNAUTHORIZED, "The key is wrong", _CHALLENGE)


def _bearer(request: Any) -> bytes | None:
    sent = request.requestHeaders.getRawHeaders(b"authorization", [])
    if not sent:
        return None
    if len(sent) > 1:
        raise Problem(HTTPStatus.BAD_REQUEST, "The Authorization header comes twice")
    scheme, _, key = sent[0].partition(b" ")
    return key.strip() if scheme.lower() == b"bearer" else b""


@lru_cache(maxsize=64)
def _is_loopback(name: str) -> bool:
    if name == "localhost":
        return True
    try:
        host = ip_address(name.strip("[]"))
    except ValueError:
        return False
    mapped = getattr(host, "ipv4_mapped", None)
    return (host if mapped is None else mapped).is_loopback


def _shown(address: Any) -> str:
    if isinstance(address, IPv6Address):
        return f"[{address.host}]:{address.port}"
    if isinstance(address, IPv4Address):
        return f"{address.host}:{address.port}"
    return "unix"
