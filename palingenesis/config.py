"""The configuration file: TOML, every key checked by name, type and range."""

from __future__ import annotations

import os
import reprlib
import tomllib
from dataclasses import dataclass
from typing import Any

from palingenesis.paths import PathError, read_file

LOG_LEVELS = ("debug", "info", "warn", "error", "critical")


class ConfigError(PathError):
    """
    A configuration that cannot be used.

    :ivar path: the file.
    :ivar reason: the key or line, and what is wrong with it, in one line.
    """


@dataclass(frozen=True)
class Config:
    """
    What an operator can set.

    :ivar socket: absolute path of the socket, or None for the default one.
    :ivar mode: permission bits of the socket; bits beyond the owner's let other users in.
    :ivar timeout: seconds a client has to send its command, and again to take the reply.
    :ivar handler_timeout: seconds a command may take before its client is told so.
    :ivar max_connections: clients served at once.
    :ivar log_level: the lowest level that is logged.
    """

    socket: str | None = None
    mode: int = 0o600
    timeout: float = 5.0
    handler_timeout: float = 30.0
    max_connections: int = 512
    log_level: str = "info"


def load_config(path: str) -> Config:
    """
    Read a configuration file.

    :raises ConfigError: when it cannot be read, is not TOML, or has a key that is
        unknown, of the wrong type or out of range.
    """
    try:
        values = tomllib.loads(read_file(path).decode())
    except PathError as error:
        raise ConfigError(path, error.reason) from error
    except RecursionError as error:
        raise ConfigError(path, "is nested too deep") from error
    except ValueError as error:
        raise ConfigError(path, f"is not TOML: {error}") from error
    checked = {}
    for key, value in values.items():
        try:
            check = _CHECKS[key]
        except KeyError:
            known = ", ".join(_CHECKS)
            raise ConfigError(path, f"unknown key {_shown(key)} (known: {known})") from None
        try:
            checked[key] = check(value)
        except ValueError as error:
            raise ConfigError(path, f"{key}: expected {error}, not {_shown(value)}") from None
    if socket := checked.get("socket"):
        # Relative to the file, not to wherever the daemon or a client was started.
        checked["socket"] = os.path.join(os.path.dirname(os.path.abspath(path)), socket)
    return Config(**checked)


def parse_mode(value: object) -> int:
    """
    Read the permission bits of a socket: ``0o600``, or the octal string ``"0600"``.

    :raises ValueError: when it is neither, or the owner could not use the socket, or a
        bit means nothing for a socket.
    """
    expected = 'an octal string from "0600" to "0666"'
    if isinstance(value, str):
        try:
            value = int(value, 8)
        except ValueError:
            raise ValueError(expected) from None
    if type(value) is not int or value & 0o600 != 0o600 or value & ~0o666:
        raise ValueError(expected)
    return value


def _shown(value: object) -> str:
    try:
        return reprlib.repr(value)
    except ValueError:
        return "a number of thousands of digits"


def _seconds(value: object) -> float:
    if type(value) not in (int, float) or not 0.1 <= value <= 86_400:  # type: ignore[operator]
        raise ValueError("a number of seconds from 0.1 to 86400")
    return float(value)  # type: ignore[arg-type]


def _connections(value: object) -> int:
    if type(value) is not int or not 1 <= value <= 65_536:
        raise ValueError("a whole number from 1 to 65536")
    return value


def _path(value: object) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("a path")
    return os.path.expanduser(value)


def _level(value: object) -> str:
    if value not in LOG_LEVELS:
        raise ValueError(f"one of {', '.join(LOG_LEVELS)}")
    return str(value)


_CHECKS: dict[str, Any] = {
    "socket": _path,
    "mode": parse_mode,
    "timeout": _seconds,
    "handler_timeout": _seconds,
    "max_connections": _connections,
    "log_level": _level,
}
