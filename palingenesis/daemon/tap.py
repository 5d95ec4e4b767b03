"""``twistd palingenesis``: its options, and the service they make."""

from __future__ import annotations

from twisted.application.service import IService

from palingenesis.daemon.options import Options
from palingenesis.daemon.service import DaemonService
from palingenesis.server.clock import use_monotonic_time

__all__ = ["Options", "makeService"]


def makeService(options: Options) -> IService:
    """Make the daemon, or exit with the one line that says why not."""
    from twisted.internet import reactor

    use_monotonic_time(reactor)
    try:
        return DaemonService(reactor, options)
    except (ValueError, LookupError) as error:
        why = error if isinstance(error, ValueError) else "no socket of that name was inherited"
        raise options.failed(f"--endpoint {options['endpoint']}: {why}") from None
