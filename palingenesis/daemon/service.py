"""The daemon as a service: its state, its control socket, its monitor, and its signals."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import Any, NoReturn

from twisted.application.service import MultiService
from twisted.logger import ILogObserver
from twisted.python.components import Componentized

from palingenesis.config import Config
from palingenesis.daemon.commands import add_commands
from palingenesis.daemon.logfile import log_observer
from palingenesis.daemon.metrics import add_monitor_metrics
from palingenesis.daemon.options import Options
from palingenesis.daemon.preflight import claim_as_user
from palingenesis.daemon.state import MonitorState
from palingenesis.daemon.systemd import SystemdService, take_systemd
from palingenesis.daemon.web import WebDoor, add_web_commands
from palingenesis.locate import record_of, recorded_place
from palingenesis.monitor.service import Monitor
from palingenesis.monitor.settings import settings_of
from palingenesis.server.log import get_logger, set_log_level
from palingenesis.server.service import ControlService
from palingenesis.server.signals import SignalService
from palingenesis.server.socketfile import SocketFileError
from palingenesis.text import in_short
from palingenesis.web.settings import settings_of as http_settings
from palingenesis.words import DaemonWord, Key

_log = get_logger(__name__)


class DaemonService(MultiService):
    """
    Everything that ``twistd palingenesis`` runs.

    :param reactor: the reactor to run on.
    :param options: what the command line and the configuration say.
    :raises ValueError: when the endpoint is no listening Unix socket.
    :raises LookupError: when no socket of the endpoint's name was inherited.
    """

    def __init__(self, reactor: Any, options: Options) -> None:
        super().__init__()
        self._reactor = reactor
        self._options = options
        config = options.config
        self.monitor = Monitor(
            settings_of(config.tables),
            options.state_directory,
            reactor=reactor,
            umask=options.umask,
            log=get_logger("palingenesis.monitor"),
        )
        self.control = ControlService(
            MonitorState(self.monitor, self._reload, lambda: self.control.peer),
            options.socket_file,
            endpoint=options["endpoint"],
            reactor=reactor,
            mode=options.mode,
        )
        self._apply(config)
        add_monitor_metrics(self.control.metrics, self.monitor)
        self._web = WebDoor(
            reactor,
            self.control,
            self.monitor,
            options.state_directory,
            http_settings(config.tables),
        )
        add_commands(
            self.control,
            self.monitor,
            options.config_path,
            options.read_config,
            lambda: {Key.WEB: self._web.report()},
        )
        add_web_commands(self.control, self._web)
        self._systemd = SystemdService(take_systemd(os.environ), reactor, self._in_words)
        SignalService(self.control.reload, reactor).setServiceParent(self)
        self.control.setServiceParent(self)
        self.monitor.setServiceParent(self)
        self._web.setServiceParent(self)
        # Last, and so the first to stop.
        self._systemd.setServiceParent(self)

    def setServiceParent(self, parent: Any) -> None:
        super().setServiceParent(parent)
        # Before twistd opens the file in its own way, which follows links.
        if self._options.log_file is not None and isinstance(parent, Componentized):
            parent.setComponent(ILogObserver, log_observer(self._options.log_file))

    def privilegedStartService(self) -> None:
        # With a new root, the socket could not be claimed before; twistd removes its PID
        # file when this fails, as it can no more once it is another user.
        if self._options.socket_file is not None:
            try:
                claim_as_user(self._options.socket_file, self._options.twistd)
            except SocketFileError as error:
                self._fail(error)
        super().privilegedStartService()

    def startService(self) -> None:
        try:
            super().startService()
        except SocketFileError as error:
            self._fail(error)
        # Once the reactor runs and a client is answered.
        self._reactor.callLater(0, self._started)

    def stopService(self) -> Any:
        self._forget_place()
        return super().stopService()

    def _started(self) -> None:
        self._record_place()
        # They have been blocked since before they had handlers.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGHUP, signal.SIGUSR1])
        if not self._options.starter.ready():
            _log.info("The start was interrupted: stopping")
            self._reactor.stop()

    def _record_place(self) -> None:
        """Record where it listens: a client may read a configuration that was changed since."""
        options = self._options
        if options.socket_file is None or options.is_chosen:
            return
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
        try:
            descriptor = os.open(record_of(options.state_directory), flags, 0o600)
            with os.fdopen(descriptor, "wb") as record:
                record.write(os.fsencode(options.socket_file.path) + b"\n")
        except OSError as error:
            _log.warn("Cannot record where it listens: {reason}", reason=in_short(error))

    def _forget_place(self) -> None:
        options = self._options
        recorded = recorded_place(options.state_directory)
        if options.socket_file and recorded and recorded.path == options.socket_file.path:
            with suppress(OSError):
                os.unlink(record_of(options.state_directory))

    def _fail(self, error: SocketFileError) -> NoReturn:
        self._options.starter.fail(str(error))
        twistd = self._options.twistd
        if not twistd.get("nodaemon"):
            _log.error("{error}", error=str(error))
            raise error
        with suppress(OSError):
            os.unlink(twistd["pidfile"])
        raise SystemExit(1)

    def _reload(self) -> None:
        with self._systemd.reloading():
            config = self._options.read_config()
            for key in ("socket", "mode"):
                if getattr(config, key) != getattr(self._options.config, key):
                    _log.warn("{key} cannot change while the daemon runs; restart it", key=key)
            self._apply(config)
            self.monitor.configure(settings_of(config.tables))
            self._web.configure(http_settings(config.tables))

    def _in_words(self) -> str:
        counts = self.monitor.sessions_by_state
        sessions = ", ".join(f"{count} {state}" for state, count in counts.items())
        state = DaemonWord.PAUSED if self.monitor.paused else DaemonWord.MONITORING
        return f"{state}; sessions: {sessions or 'none'}"

    def _apply(self, config: Config) -> None:
        set_log_level(config.log_level)
        self.control.configure(config.limits)
