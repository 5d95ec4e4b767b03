"""``twistd palingenesis``: its options, and the service they make."""

from __future__ import annotations

import os

from twisted.application.service import IService

from palingenesis.daemon.options import Options
from palingenesis.daemon.service import DaemonService, DaemonSettings
from palingenesis.locate import SOCKET_VARIABLE
from palingenesis.server.clock import use_monotonic_time

__all__ = ["Options", "makeService"]


def makeService(options: Options) -> IService:
    """Make the daemon, or exit with the one line that says why not."""
    from twisted.internet import reactor

    use_monotonic_time(reactor)
    settings = DaemonSettings(
        config=options.config,
        config_path=options.config_path,
        read_config=options.read_config,
        file=options.socket_file,
        is_chosen=options["socket"] is not None or SOCKET_VARIABLE in os.environ,
        endpoint=options["endpoint"],
        mode=options.mode,
        state_directory=options.state_directory,
        umask=options.umask,
        log_file=options.log_file,
        twistd=options.parent or {},
        starter=options.starter,
    )
    try:
        return DaemonService(reactor, settings)
    except (ValueError, LookupError) as error:
        why = error if isinstance(error, ValueError) else "no socket of that name was inherited"
        raise options.failed(f"--endpoint {options['endpoint']}: {why}") from None
