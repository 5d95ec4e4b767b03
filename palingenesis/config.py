"""
The configuration file: TOML, every key checked by name, type and range.

The checks and the defaults of the socket's keys are here and nowhere else, so an
application that embeds the service gets the same messages for a bad argument.
"""

from __future__ import annotations

import os
import stat
from collections import namedtuple
from types import MappingProxyType

from palingenesis.paths import PathError, expand, open_at_once
from palingenesis.text import in_short

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import TracebackType
    from typing import Any, Self

    #: Takes a key and its value; returns the value to use, or raises ``ValueError``.
    Check = Callable[[str, object], object]

LOG_LEVELS = ("debug", "info", "warn", "error", "critical")
#: The largest configuration file, in bytes.
SIZE_LIMIT = 1024 * 1024

_NO_TABLES: Mapping[str, object] = MappingProxyType({})


class ConfigError(PathError):
    """
    A configuration that cannot be used.

    :ivar path: the file.
    :ivar reason: the key or line, and what is wrong with it, in one line.
    :ivar mistakes: every mistake that was found; the first one is the reason.
    """

    def __init__(self, path: str, reason: str, mistakes: Iterable[str] = ()) -> None:
        super().__init__(path, reason)
        self.mistakes = tuple(mistakes) or (reason,)


class Mistakes(ValueError):
    """
    The mistakes of a configuration or of one of its tables; the text is that of the first.

    :ivar texts: each mistake, in one line.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self.texts = tuple(texts)
        super().__init__(self.texts[0])


class Collector:
    """
    Collects mistakes, so that a check goes on after the first one.

    It is the context manager of each single check, and takes the `ValueError` or `PathError`
    that the check raises.
    """

    def __init__(self) -> None:
        self._texts: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if isinstance(error, Mistakes):
            self._texts += error.texts
        elif isinstance(error, (ValueError, PathError)):
            self._texts.append(str(error))
        else:
            return False
        return True

    def raise_all(self) -> None:
        """Raise `Mistakes` if there are any."""
        if self._texts:
            raise Mistakes(self._texts)


def check_seconds(
    name: str, value: object, least: float = 0.1, most: float = 86_400, *, above: bool = False
) -> float:
    """
    Return a number of seconds from ``least`` to ``most``.

    :param above: whether ``least`` itself is too little.
    :raises ValueError: if the value is anything else.
    """
    fits = type(value) in (int, float) and least <= value <= most  # type: ignore[operator]
    if not fits or (above and value == least):
        span = f"above {least:g}, at most" if above else f"from {least:g} to"
        raise _unexpected(name, f"a number of seconds {span} {most:.10g}", value)
    return float(value)  # type: ignore[arg-type]


def check_count(name: str, value: object, least: int = 1, most: int = 65_536) -> int:
    """
    Return a whole number from ``least`` to ``most``.

    :raises ValueError: if the value is anything else.
    """
    if type(value) is not int or not least <= value <= most:
        raise _unexpected(name, f"a whole number from {least} to {most}", value)
    return value


def check_mode(name: str, value: object) -> int:
    """
    Return the permission bits of a socket: the number ``0o600``, or its digits ``"0600"``.

    :raises ValueError: if it is neither, if the owner could not use the socket, or if a
        bit means nothing for a socket.
    """
    mode = value
    if isinstance(value, str):
        try:
            mode = int(value, 8)
        except ValueError:
            mode = None
    if type(mode) is not int or mode & 0o600 != 0o600 or mode & ~0o666:
        raise _unexpected(name, 'an octal string from "0600" to "0666"', value)
    return mode


def check_path(name: str, value: object) -> str:
    """
    Return the path of a socket, with ``~/`` and ``unix:`` expanded.

    :raises ValueError: if the value is no path.
    """
    if not isinstance(value, str) or not value or "\0" in value:
        raise _unexpected(name, "a path", value)
    try:
        return expand(value)
    except PathError as error:
        raise ValueError(f"{name}: {error}") from None


def check_level(name: str, value: object) -> str:
    """
    Return one of `LOG_LEVELS`.

    :raises ValueError: if the value is anything else.
    """
    if not isinstance(value, str) or value not in LOG_LEVELS:
        raise _unexpected(name, f"one of {', '.join(LOG_LEVELS)}", value)
    return value


class Limits(namedtuple("Limits", ("timeout", "handler_timeout", "max_connections"))):
    """
    The limits of a control socket's clients: an immutable value, checked when it is made.

    :param timeout: seconds a client has to send its command, and again to take the reply.
    :param handler_timeout: seconds a command may take until its client gets ``ERR:``.
    :param max_connections: clients served at once.
    :raises ValueError: if one of them is of the wrong type or out of range.
    """

    __slots__ = ()

    if TYPE_CHECKING:
        timeout: float
        handler_timeout: float
        max_connections: int

    def __new__(
        cls, timeout: float = 5.0, handler_timeout: float = 30.0, max_connections: int = 512
    ) -> Self:
        return super().__new__(
            cls,
            check_seconds("timeout", timeout),
            check_seconds("handler_timeout", handler_timeout),
            check_count("max_connections", max_connections),
        )

    @classmethod
    def _make(cls, iterable: Iterable[Any]) -> Self:  # type: ignore[override]
        # _replace calls this: changed limits are checked like new ones.
        return cls(*iterable)


class Config(
    namedtuple(
        "Config",
        ("socket", "mode", "limits", "log_level", "tables"),
        defaults=(None, 0o600, Limits(), "info", _NO_TABLES),
    )
):
    """
    The settings of an operator.

    :ivar socket: absolute path of the socket; None for the one in the runtime directory.
    :ivar mode: permission bits of the socket; bits beyond the owner's let other users in.
    :ivar limits: the limits of the socket's clients.
    :ivar log_level: the lowest level that is logged.
    :ivar tables: the further tables that the file has, by name, as their checks return them.
    """

    __slots__ = ()

    socket: str | None
    mode: int
    limits: Limits
    log_level: str
    tables: Mapping[str, object]


#: The settings without a configuration file.
DEFAULTS = Config()
#: The keys outside of tables.
KEYS = ("socket", "mode", *Limits._fields, "log_level")

_CHECKS: dict[str, Check] = {"socket": check_path, "mode": check_mode, "log_level": check_level}


def load_config(
    path: str,
    tables: Mapping[str, Check] = _NO_TABLES,  # type: ignore[assignment]
    whole: Callable[[Mapping[str, object], Mapping[str, Any]], None] = lambda *_: None,
) -> Config:
    """
    Read a configuration file.

    :param tables: checks of further tables that the file may have, by their names. Each is
        called with the name and the table, and returns what goes into `Config.tables`.
    :param whole: checks what those tables say of each other. It is called with what the file has,
        and with those tables that have no mistake, as their checks return them.
    :raises ConfigError: if the file cannot be read, is not TOML, or has a key that is
        unknown, of the wrong type or out of range. It has all of these mistakes.
    """
    settings: dict[str, Any] = {}
    limits: dict[str, Any] = {}
    further: dict[str, object] = {}
    collector = Collector()
    try:
        written = parse(path, read_file(path))
        for key, value in written.items():
            with collector:
                if key in tables:
                    further[key] = tables[key](key, value)
                elif key in Limits._fields:
                    Limits(**{key: value})  # type: ignore[arg-type]
                    limits[key] = value
                elif key in _CHECKS:
                    settings[key] = _CHECKS[key](key, value)
                else:
                    known = ", ".join([*KEYS, *(f"[{name}]" for name in tables)])
                    raise ValueError(f"unknown key {_shown(key)} (known: {known})")
        with collector:
            whole(written, further)
        collector.raise_all()
    except Mistakes as error:
        raise ConfigError(path, str(error), error.texts) from None
    except ValueError as error:
        raise ConfigError(path, str(error)) from None
    settings["limits"] = Limits(**limits)
    if "socket" in settings:
        settings["socket"] = _beside(path, settings["socket"])
    return Config(**settings, tables=MappingProxyType(further))


def check_trusted(path: str, uid: int) -> None:
    """
    Check that no other user can change a configuration file, which names commands to run.

    :param uid: the user who runs them.
    :raises ConfigError: when another user can.
    """
    from palingenesis.trust import distrusted

    if reason := distrusted(path, uid):
        raise ConfigError(path, f"others could name commands in it: {reason}; take that from them")


def socket_in(path: str) -> str | None:
    """
    Read ``socket`` from a configuration file, and ignore every other mistake in it.

    A client has to find a daemon that was started before the mistake was made. So if the
    file is not TOML, a line of its own that sets ``socket`` still counts. A file that
    cannot be read sets nothing.

    :returns: the socket's absolute path, or None if the file does not set it.
    :raises ConfigError: if the value of ``socket`` is no path.
    """
    try:
        content = read_file(path)
    except ConfigError:
        return None
    # Parsing takes longer than all the rest, and this key is seldom there.
    if b"socket" not in content:
        return None
    try:
        values = parse(path, content)
    except ConfigError:
        values = _socket_line(path, content)
    if "socket" not in values:
        return None
    try:
        return _beside(path, check_path("socket", values["socket"]))
    except ValueError as error:
        raise ConfigError(path, str(error)) from None


def read_file(path: str) -> bytes:
    """
    Read a configuration file whole, without waiting for one that is a FIFO or a device.

    :raises ConfigError: if it cannot be read, is no regular file, or is larger than
        `SIZE_LIMIT`.
    """
    try:
        with open(path, "rb", opener=open_at_once) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ConfigError(path, "is not a regular file; name another")
            content = file.read(SIZE_LIMIT + 1)
    except OSError as error:
        raise ConfigError(path, f"cannot be read: {in_short(error)}") from error
    if len(content) > SIZE_LIMIT:
        raise ConfigError(path, f"is larger than {SIZE_LIMIT} bytes; name another")
    # Editors of some systems begin a file of UTF-8 with this mark.
    return content.removeprefix(b"\xef\xbb\xbf")


def parse(path: str, content: bytes) -> dict[str, object]:
    """
    Parse the content of a configuration file, without checking it.

    :raises ConfigError: if it is not TOML.
    """
    import tomllib

    try:
        return tomllib.loads(content.decode())
    except UnicodeDecodeError as error:
        raise ConfigError(path, "is not TOML, which is text in UTF-8; save it as that") from error
    except RecursionError as error:
        raise ConfigError(path, "is nested too deep") from error
    except ValueError as error:
        raise ConfigError(path, f"is not TOML: {error}") from error


def _socket_line(path: str, content: bytes) -> dict[str, object]:
    for line in content.splitlines():
        if line.lstrip().startswith(b"["):
            break  # The keys from here on belong to a table.
        if line.lstrip().startswith(b"socket"):
            try:
                return parse(path, line)
            except ConfigError:
                continue
    return {}


def _beside(path: str, socket: str) -> str:
    # Relative to the file, not to the current directory of a daemon or a client.
    return os.path.join(os.path.dirname(os.path.abspath(path)), socket)


def _unexpected(name: str, expected: str, value: object) -> ValueError:
    return ValueError(f"{name}: expected {expected}, not {_shown(value)}")


def _shown(value: object) -> str:
    # Imported for a mistake only.
    import reprlib

    try:
        return reprlib.repr(value)
    except ValueError:
        return "a number of thousands of digits"
