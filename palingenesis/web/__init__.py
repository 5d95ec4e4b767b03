"""
The control socket's commands, its events and its metrics, over HTTP.

The public names are imported when they are first used (PEP 562).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from palingenesis.web.access import Access
    from palingenesis.web.resource import ControlResource

__all__ = ["Access", "ControlResource"]

_HOMES = {
    "Access": "palingenesis.web.access",
    "ControlResource": "palingenesis.web.resource",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(home), name)
    globals()[name] = value
    return value
