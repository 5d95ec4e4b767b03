"""
A control socket for daemons, and a monitor for the sessions of coding agents.

A public name is imported when it is first used (PEP 562), so that ``import palingenesis``
costs nothing.
"""

from __future__ import annotations

__version__ = "1.2.0"

TYPE_CHECKING = False
if TYPE_CHECKING:
    # The only list of the public names: at run time it is read from the source.
    from palingenesis.client.blocking import ControlClient as ControlClient
    from palingenesis.client.errors import ClientError as ClientError
    from palingenesis.config import Limits as Limits
    from palingenesis.server.interfaces import CommandRefused as CommandRefused
    from palingenesis.server.interfaces import CommandRegistry as CommandRegistry
    from palingenesis.server.interfaces import Controllable as Controllable
    from palingenesis.server.interfaces import IDaemonState as IDaemonState
    from palingenesis.server.service import ControlService as ControlService
    from palingenesis.server.signals import SignalService as SignalService
    from palingenesis.server.state import DaemonState as DaemonState
    from palingenesis.wire import DaemonStatus as DaemonStatus
else:
    #: Former public names, each with its new one. They work for two more minor releases.
    _DEPRECATED: dict[str, str] = {}

    def __getattr__(name: str) -> object:
        homes = _homes()
        if name == "__all__":
            return sorted(homes)
        if name in _DEPRECATED:
            import warnings

            new = _DEPRECATED[name]
            text = f"palingenesis.{name} is deprecated; use palingenesis.{new}"
            warnings.warn(text, DeprecationWarning, stacklevel=2)
            return globals().get(new) or __getattr__(new)
        if name not in homes:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        value = globals()[name] = getattr(import_module(homes[name]), name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *_homes()})

    def _homes() -> dict[str, str]:
        """Return each public name, and the module that it is imported from."""
        import ast

        return {
            alias.name: node.module
            for block in ast.parse(__loader__.get_source(__name__)).body
            if isinstance(block, ast.If)
            for node in block.body
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }
