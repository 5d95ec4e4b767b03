"""``twistd palingenesis``: its options, and the service they make."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from twisted.application.service import IService
from twisted.python import usage

from palingenesis import __version__
from palingenesis.config import DEFAULTS, Config, check_mode, load_config
from palingenesis.daemon import preflight
from palingenesis.daemon.service import DaemonService
from palingenesis.paths import PathError, config_file, expand_home
from palingenesis.server.clock import use_monotonic_time
from palingenesis.server.endpoints import SYSTEMD_DESCRIPTION
from palingenesis.server.socketfile import SocketFile
from palingenesis.text import in_short


class Options(usage.Options):
    """The command line of the daemon; what it gives goes before the configuration file."""

    synopsis = "[options]"
    longdesc = (
        "Answer STATUS, PAUSE, RESUME and RELOAD on a Unix socket, for a monitor of the "
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
            f"Serve an inherited socket, such as {SYSTEMD_DESCRIPTION}, instead of a path.",
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
        preflight.prepare_process()
        twistd: Mapping[str, Any] = self.parent or {}
        try:
            if self["mode"] is not None:
                self["mode"] = check_mode("--mode", self["mode"])
            if self["config"] is not None:
                self["config"] = os.path.abspath(expand_home(self["config"]))
            self.config = self.read_config()
            preflight.check_files(twistd)
            preflight.check_user(twistd)
            if self["endpoint"] is None:
                self.socket_file = preflight.claim(
                    self["socket"], self["config"], self.mode, twistd
                )
            elif self["socket"] is not None:
                raise preflight.failed("give --socket or --endpoint, not both")
            else:
                preflight.check_endpoint(self["endpoint"])
            preflight.prepare_pidfile(twistd)
        except OSError as error:
            raise preflight.failed(
                f"the current directory cannot be used: {in_short(error)}"
            ) from None
        except (PathError, ValueError) as error:
            raise preflight.failed(error) from None

    def read_config(self) -> Config:
        """
        Read the configuration file that was named, or else the default one, if any.

        :raises ConfigError: when it cannot be used.
        """
        path = self["config"] or config_file()
        if path is None or (self["config"] is None and not os.path.lexists(path)):
            return DEFAULTS
        return load_config(path)

    @property
    def mode(self) -> int:
        """The permission bits of the socket."""
        return self.config.mode if self["mode"] is None else int(self["mode"])


def makeService(options: Options) -> IService:
    """Make the daemon, or exit with the one line that says why not."""
    from twisted.internet import reactor

    use_monotonic_time(reactor)
    try:
        return DaemonService(
            reactor,
            options.config,
            options.read_config,
            options.parent or {},
            file=options.socket_file,
            endpoint=options["endpoint"],
            mode=options.mode,
        )
    except (ValueError, LookupError) as error:
        why = error if isinstance(error, ValueError) else "no socket of that name was inherited"
        raise preflight.failed(f"--endpoint {options['endpoint']}: {why}") from None
