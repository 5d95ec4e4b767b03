"""The table ``[http]`` of a configuration file: its keys, defaults and checks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import ip_address
from types import MappingProxyType
from typing import Any, NamedTuple

from palingenesis.config import check_mode
from palingenesis.paths import PathError, socket_path
from palingenesis.text import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from palingenesis.config import Check

#: The place at which the page is opened if the configuration names none.
DEFAULT_PORT = 7654

_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?")


class Place(NamedTuple):
    """
    A place to listen at: the path of a Unix socket, or an address of the loopback and a port.

    :ivar path: the path; None for an address.
    :ivar host: the address; empty for a path.
    :ivar port: the port; 0 for any free one.
    """

    path: str | None = None
    host: str = ""
    port: int = 0

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class HTTPSettings(NamedTuple):
    """
    The settings of ``[http]``.

    :ivar listen: where to listen; nowhere if empty.
    :ivar mode: permission bits of a Unix socket.
    :ivar hosts: names beside the loopback's under which the port may be asked for.
    :ivar users: users that may ask, beside our own and root, by name or number.
    :ivar control: whether a browser's session may change something over TCP.
    """

    listen: tuple[Place, ...] = ()
    mode: int = 0o600
    hosts: tuple[str, ...] = ()
    users: tuple[int, ...] = ()
    control: bool = False


def settings_of(checked: Mapping[str, object]) -> HTTPSettings:
    """Return the settings of tables that :data:`TABLES` has checked."""
    found = checked.get("http")
    return found if isinstance(found, HTTPSettings) else HTTPSettings()


def check_http(name: str, table: object) -> HTTPSettings:
    """
    Check the table ``[http]``.

    :raises ValueError: if a value is not allowed; the text names its key.
    """
    if not isinstance(table, dict):
        raise ValueError(f"{name}: expected a table [{name}]")
    checked: dict[str, Any] = {}
    for key, value in table.items():
        if key not in _CHECKS:
            known = ", ".join(_CHECKS)
            raise ValueError(f"{name}: unknown key {printable(repr(key))} (known: {known})")
        checked[key] = _CHECKS[key](f"{name}.{key}", value)
    return HTTPSettings(**checked)


def parse_place(text: str) -> Place:
    """
    Read where to listen: ``unix:PATH``, ``127.0.0.1:PORT`` or ``[::1]:PORT``.

    :raises ValueError: if it is none of these, or the address is not the loopback's.
    :raises palingenesis.paths.PathError: if the path cannot name a socket.
    """
    if text.startswith("unix:"):
        return Place(path=socket_path(text))
    host, colon, port = text.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit() and int(port) <= 65535):
        raise ValueError(f"{printable(text)}: expected unix:PATH, 127.0.0.1:PORT or [::1]:PORT")
    name = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        loopback = ip_address(name).is_loopback
    except ValueError:
        loopback = False
    if not loopback or (":" in name) != host.startswith("["):
        raise ValueError(
            f"{printable(text)}: only the loopback's addresses are served, 127.0.0.1:PORT or "
            "[::1]:PORT; from elsewhere use ssh -L 7654:127.0.0.1:7654 HOST, or a reverse proxy "
            "on a Unix socket"
        )
    return Place(host=name, port=int(port))


def check_host(host: object) -> str:
    """
    Return a host's name in small letters, with its port if it has one.

    :raises ValueError: if it is none.
    """
    if not isinstance(host, str) or not _HOST.fullmatch(host):
        raise ValueError(f"hosts: expected names such as watch.example, not {host!r}")
    return host.lower()


def host_name(host: str) -> str | None:
    """Return the name in a ``Host`` header, without its port; None if it is malformed."""
    match = _HOST.fullmatch(host)
    return None if match is None else match["name"]


def user_id(user: object) -> int:
    """
    Return the number of a user, by its name or its number.

    :raises ValueError: if there is no such user.
    """
    if type(user) is int and user >= 0:
        return user
    if isinstance(user, str) and user:
        import pwd

        try:
            return pwd.getpwnam(user).pw_uid
        except KeyError:
            raise ValueError(f"users: there is no user {printable(user)}") from None
    raise ValueError(f"users: expected names of users, not {user!r}")


def _listen(name: str, value: object) -> tuple[Place, ...]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise ValueError(f"{name}: expected a place or a list of places")
    places = []
    for text in texts:
        try:
            place = parse_place(text)
        except (ValueError, PathError) as error:
            raise ValueError(f"{name}: {error}") from None
        if place.path is not None and not text.removeprefix("unix:").startswith(("/", "~/")):
            raise ValueError(f"{name}: {printable(text)}: expected an absolute path")
        if place not in places:
            places.append(place)
    return tuple(places)


def _hosts(name: str, value: object) -> tuple[str, ...]:
    return tuple(check_host(each) for each in _list(name, value))


def _users(name: str, value: object) -> tuple[int, ...]:
    return tuple(user_id(each) for each in _list(name, value))


def _list(name: str, value: object) -> list[object]:
    if not isinstance(value, list):
        raise ValueError(f"{name}: expected a list")
    return value


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{name}: expected true or false")
    return value


_CHECKS: Mapping[str, Check] = {
    "listen": _listen,
    "mode": check_mode,
    "hosts": _hosts,
    "users": _users,
    "control": _flag,
}

#: The table in a configuration file, by name, and its check.
TABLES: Mapping[str, Check] = MappingProxyType({"http": check_http})
