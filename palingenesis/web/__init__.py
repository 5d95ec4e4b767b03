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


def __getattr__(name: str) -> object:
    if name == "Access":
        from palingenesis.web.access import Access

        return Access
    if name == "ControlResource":
        from palingenesis.web.resource import ControlResource

        return ControlResource
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
