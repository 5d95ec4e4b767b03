"""The daemon as a service: its state, its control socket, and its way with signals."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NoReturn

from twisted.application.service import MultiService

from palingenesis.config import Config
from palingenesis.daemon.commands import add_commands
from palingenesis.daemon.systemd import NotifyService, take_environment
from palingenesis.daemon.preflight import claim_as_user, failed
from palingenesis.daemon.state import MonitorState
from palingenesis.monitor.service import Monitor
from palingenesis.monitor.settings import settings_of
from palingenesis.server.log import get_logger, set_log_level
from palingenesis.server.service import ControlService
from palingenesis.server.signals import SignalService
from palingenesis.server.socketfile import SocketFile, SocketFileError, SocketInUse
from palingenesis.wire import MONITORING, PAUSED

_log = get_logger(__name__)


class StartFailed(Exception):
    """The start failed after twistd went to the background; the log has the whole reason."""

    # twistd shows the class with its module and the text, and 100 bytes of them in all.
    __module__ = "__main__"


class DaemonService(MultiService):
    """
    Everything that ``twistd palingenesis`` runs.

    :param reactor: what to run on.
    :param config: the configuration, as it is now.
    :param read_config: reads it again, for RELOAD; raises `palingenesis.config.ConfigError`.
    :param twistd: twistd's own options.
    :param file: the socket's file, or None where it serves an endpoint.
    :param endpoint: the description of an inherited socket, or None.
    :param mode: permission bits of the socket.
    :param config_path: where the configuration file is, or would be.
    :param state_directory: where the monitor keeps its ledger.
    :param umask: what the agents that are revived get; -1 for the daemon's own.
    :raises ValueError: when the endpoint is no listening Unix socket.
    :raises LookupError: when no socket of the endpoint's name was inherited.
    """

    def __init__(
        self,
        reactor: Any,
        config: Config,
        read_config: Callable[[], Config],
        twistd: Mapping[str, Any],
        *,
        file: SocketFile | None,
        endpoint: str | None,
        mode: int,
        config_path: str | None,
        state_directory: str,
        umask: int,
    ) -> None:
        super().__init__()
        self._config = config
        self._read_config = read_config
        self._twistd = twistd
        self._file = file
        self.monitor = Monitor(
            settings_of(config.tables),
            state_directory,
            reactor=reactor,
            umask=umask,
            log=get_logger("palingenesis.monitor"),
        )
        self.control = ControlService(
            MonitorState(self.monitor, self._reload, lambda: self.control.peer),
            file,
            endpoint=endpoint,
            reactor=reactor,
            mode=mode,
        )
        self._apply(config)
        add_commands(self.control, self.monitor, config_path, read_config)
        self._notify = NotifyService(take_environment(os.environ), reactor, self._in_words)
        SignalService(self.control.reload, reactor).setServiceParent(self)
        self.control.setServiceParent(self)
        self.monitor.setServiceParent(self)
        # Last, and so the first to stop.
        self._notify.setServiceParent(self)

    def privilegedStartService(self) -> None:
        # With a new root, the socket could not be claimed before; twistd removes its PID
        # file when this fails, as it can no more once it is another user.
        if self._file is not None:
            try:
                claim_as_user(self._file, self._twistd)
            except SocketFileError as error:
                self._fail(error)
        super().privilegedStartService()

    def startService(self) -> None:
        try:
            super().startService()
        except SocketFileError as error:
            self._fail(error)

    def _fail(self, error: SocketFileError) -> NoReturn:
        if not self._twistd.get("nodaemon"):
            _log.error("{error}", error=str(error))
            # twistd shows 100 bytes of it where it was started: the reason comes first.
            raise StartFailed(
                str(error) if isinstance(error, SocketInUse) else error.reason
            ) from None
        with suppress(OSError):
            os.unlink(self._twistd["pidfile"])
        # sys.stderr goes to the log by now.
        print(failed(error), file=sys.__stderr__)
        raise SystemExit(1)

    def _reload(self) -> None:
        with self._notify.reloading():
            config = self._read_config()
            for key in ("socket", "mode"):
                if getattr(config, key) != getattr(self._config, key):
                    _log.warn("{key} cannot change while the daemon runs; restart it", key=key)
            self._apply(config)
            self.monitor.configure(settings_of(config.tables))

    def _in_words(self) -> str:
        counts = self.monitor.sessions_by_state
        sessions = ", ".join(f"{count} {state}" for state, count in counts.items())
        state = PAUSED if self.monitor.paused else MONITORING
        return f"{state}; sessions: {sessions or 'none'}"

    def _apply(self, config: Config) -> None:
        set_log_level(config.log_level)
        self.control.configure(
            timeout=config.timeout,
            handler_timeout=config.handler_timeout,
            max_connections=config.max_connections,
        )
