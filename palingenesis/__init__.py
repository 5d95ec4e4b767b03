"""
A control socket for daemons, and a monitor for the sessions of coding agents.

The public names are imported when they are first used (PEP 562), so that ``import
palingenesis`` costs nothing.
"""

from __future__ import annotations

__version__ = "1.1.0"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from palingenesis.client.blocking import ControlClient
    from palingenesis.client.errors import ClientError
    from palingenesis.server.interfaces import CommandRefused, IDaemonState
    from palingenesis.server.service import ControlService
    from palingenesis.server.signals import SignalService
    from palingenesis.server.state import DaemonState
    from palingenesis.wire import DaemonStatus

__all__ = [
    "ClientError",
    "CommandRefused",
    "ControlClient",
    "ControlService",
    "DaemonState",
    "DaemonStatus",
    "IDaemonState",
    "SignalService",
]

_HOMES = {
    "ClientError": "palingenesis.client.errors",
    "CommandRefused": "palingenesis.server.interfaces",
    "ControlClient": "palingenesis.client.blocking",
    "ControlService": "palingenesis.server.service",
    "DaemonState": "palingenesis.server.state",
    "DaemonStatus": "palingenesis.wire",
    "IDaemonState": "palingenesis.server.interfaces",
    "SignalService": "palingenesis.server.signals",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
