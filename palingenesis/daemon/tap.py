"""``twistd palingenesis``: its options, and the service they make."""

from __future__ import annotations

import atexit
import os
import re
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from twisted.application.service import IService, MultiService
from twisted.python import usage

from palingenesis import __version__
from palingenesis.config import Config, load_config, parse_mode
from palingenesis.daemon.pidfile import discard_stale
from palingenesis.paths import PathError, config_file, locate_socket
from palingenesis.server.log import get_logger, set_log_level
from palingenesis.server.service import ControlService
from palingenesis.server.signals import SignalService
from palingenesis.server.socketfile import SocketFile, SocketFileError
from palingenesis.server.state import DaemonState
from palingenesis.text import MESSAGE_LIMIT, printable

_INHERITED = re.compile(r"systemd:domain=UNIX:(index=[0-9]{1,4}|name=[^:=]+)")

_log = get_logger(__name__)


class Options(usage.Options):
    """The command line of the daemon; what it gives goes before the configuration file."""

    synopsis = "[options]"
    longdesc = (
        "Answer STATUS, PAUSE, RESUME and RELOAD on a Unix socket, for what watches over the "
        "sessions of AI coding agents. SIGHUP reloads the configuration; SIGTERM and SIGINT stop."
    )
    optParameters = [
        [
            "socket",
            "s",
            None,
            "Path of the socket. [default: $PALINGENESIS_SOCKET, then the configuration's, "
            "then palingenesis.sock in the runtime directory]",
        ],
        [
            "config",
            "c",
            None,
            "Configuration file, TOML. [default: palingenesis/config.toml in the user's "
            "configuration directory, if it is there]",
        ],
        ["mode", "m", None, "Permission bits of the socket, octal. [default: 0600]"],
        [
            "endpoint",
            "e",
            None,
            "Serve an inherited socket, such as systemd:domain=UNIX:index=0, instead of a path.",
        ],
    ]
    compData = usage.Completions(
        optActions={"socket": usage.CompleteFiles(), "config": usage.CompleteFiles("*.toml")}
    )

    config: Config
    socket_file: SocketFile | None = None

    def opt_version(self) -> None:
        """Show the version of palingenesis, and exit."""
        print(f"palingenesis {__version__}")
        raise SystemExit(0)

    def postOptions(self) -> None:
        """
        Read the configuration and claim the socket.

        That is done here, before twistd looks at its PID file and before it forks: a second
        start is told about the socket, on the terminal it was started from.
        """
        # Until there is a handler for it, a reload would kill the daemon that is starting.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
        _fill_standard_descriptors()
        twistd: Mapping[str, Any] = self.parent or {}
        try:
            if self["mode"] is not None:
                self["mode"] = _parse_mode(self["mode"])
            if self["config"] is not None:
                self["config"] = os.path.abspath(self["config"])
            self.config = self.read_config()
            _check_files(twistd)
            if self["endpoint"] is None:
                self._claim(twistd)
            else:
                self._check_endpoint()
            if twistd.get("pidfile"):
                discard_stale(twistd["pidfile"])
        except OSError as error:
            raise _refusal(f"the current directory cannot be used: {error.strerror}") from None
        except PathError as error:
            raise _refusal(error) from None

    def read_config(self) -> Config:
        """
        Read the configuration file that was named, or else the default one, if any.

        :raises ConfigError: when it cannot be used.
        """
        path = self["config"] or config_file()
        if self["config"] is None and not os.path.lexists(path):
            return Config()
        return load_config(path)

    @property
    def mode(self) -> int:
        """The permission bits of the socket."""
        return self.config.mode if self["mode"] is None else int(self["mode"])

    def _check_endpoint(self) -> None:
        endpoint = self["endpoint"]
        if self["socket"] is not None:
            raise _refusal("give --socket or --endpoint, not both")
        if not _INHERITED.fullmatch(endpoint):
            # Nothing else would keep our promises about the file and about who may connect.
            raise _refusal(
                f"--endpoint {endpoint}: expected an inherited Unix socket, such as "
                "systemd:domain=UNIX:index=0; to listen on a path, give --socket PATH"
            )

    def _claim(self, twistd: Mapping[str, Any]) -> None:
        uid = twistd.get("uid")
        path = locate_socket(self["socket"], self["config"], uid).path
        self.socket_file = SocketFile(path, self.mode)
        # One that will be another user's, or in another root, is claimed when it starts.
        if uid is None and twistd.get("chroot") is None:
            # twistd may yet refuse to start: nothing stays behind then.
            atexit.register(self.socket_file.abandon)
            self.socket_file.claim()


def makeService(options: Options) -> IService:
    """Make the daemon: its state, its control socket, and its way with signals."""
    from twisted.internet import reactor

    def reload() -> None:
        config = options.read_config()
        for key in ("socket", "mode"):
            if getattr(config, key) != getattr(options.config, key):
                _log.warn("{key} cannot change while the daemon runs; restart it", key=key)
        apply(config)

    def apply(config: Config) -> None:
        set_log_level(config.log_level)
        control.configure(
            timeout=config.timeout,
            handler_timeout=config.handler_timeout,
            max_connections=config.max_connections,
        )

    try:
        control = ControlService(
            DaemonState(reload),
            options.socket_file,
            endpoint=options["endpoint"],
            reactor=reactor,
            mode=options.mode,
        )
    except (ValueError, LookupError) as error:
        why = error if isinstance(error, ValueError) else "no socket of that name was inherited"
        raise _refusal(f"--endpoint {options['endpoint']}: {why}") from None
    apply(options.config)
    daemon = _Daemon(options)
    SignalService(reactor, control.reload).setServiceParent(daemon)
    control.setServiceParent(daemon)
    return daemon


class _Daemon(MultiService):
    """Starts the daemon's services; a failure that is not ours is told in one line."""

    def __init__(self, options: Options) -> None:
        super().__init__()
        self._twistd: Mapping[str, Any] = options.parent or {}

    def startService(self) -> None:
        try:
            super().startService()
        except SocketFileError as error:
            if not self._twistd.get("nodaemon"):
                # twistd hands it from the child to the terminal.
                raise
            with suppress(OSError):
                os.unlink(self._twistd["pidfile"])
            # sys.stderr goes to the log by now.
            print(_refusal(error), file=sys.__stderr__)
            raise SystemExit(1) from None


def _refusal(why: object) -> SystemExit:
    """Make the end of a start that fails, with the one line that says why."""
    return SystemExit(f"palingenesis: {printable(str(why), MESSAGE_LIMIT)}")


def _fill_standard_descriptors() -> None:
    # twistd puts /dev/null over the first three as it goes to the background. Where they
    # were closed, one of them would be our lock.
    while (spare := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(spare)


def _check_files(twistd: Mapping[str, Any]) -> None:
    """See that twistd will be able to write its own files."""
    files = {"--pidfile": twistd.get("pidfile"), "--logfile": twistd.get("logfile")}
    if not (twistd.get("nodaemon") or twistd.get("syslog") or twistd.get("logger")):
        files["--logfile"] = files["--logfile"] or "twistd.log"
    for option, name in files.items():
        if name and name != "-":
            path = os.path.abspath(name)
            place = path if os.path.lexists(path) else os.path.dirname(path)
            if not os.access(place, os.W_OK):
                raise PathError(path, f"cannot be written; name another with twistd {option}=FILE")


def _parse_mode(text: str) -> int:
    try:
        return parse_mode(text)
    except ValueError as error:
        raise _refusal(f"--mode: expected {error}, not {text!r}") from None
