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
from palingenesis.locate import SYSTEMD_DESCRIPTION
from palingenesis.monitor.child import current_umask
from palingenesis.monitor.settings import TABLES, check_whole
from palingenesis.paths import PathError, config_file, expand_home, state_directory
from palingenesis.server.clock import use_monotonic_time
from palingenesis.server.socketfile import SocketFile
from palingenesis.text import in_short


class Options(usage.Options):
    """The command line of the daemon; what it gives goes before the configuration file."""

    synopsis = "[options]"
    longdesc = (
        "Monitor the sessions of AI coding agents, bring back those that stopped at a limit, and "
        "answer on a control socket. SIGHUP reloads the configuration; SIGTERM and SIGINT stop."
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
        [
            "state",
            None,
            None,
            "Directory of what the monitor must remember. [default: $PALINGENESIS_STATE, then "
            "palingenesis in the user's directory for the state of programs]",
        ],
    ]
    compData = usage.Completions(
        optActions={
            "socket": usage.CompleteFiles(),
            "config": usage.CompleteFiles("*.toml"),
            "state": usage.CompleteDirs(),
        }
    )

    config: Config
    socket_file: SocketFile | None = None
    #: What the monitor must remember is there.
    state_directory: str
    #: The umask of the commands that the monitor starts; the daemon's own where negative.
    umask: int

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
        # In the background, twistd sets a umask and a directory of its own.
        self.umask = current_umask() if twistd.get("umask") is None else -1
        try:
            self.state_directory = state_directory(self["state"])
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
        path = self.config_path
        if path is None or (self["config"] is None and not os.path.lexists(path)):
            return DEFAULTS
        return load_config(path, TABLES, check_whole)

    @property
    def config_path(self) -> str | None:
        """Where the configuration file is, or would be; None where there is no place for it."""
        return self["config"] or config_file()

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
            config_path=options.config_path,
            state_directory=options.state_directory,
            umask=options.umask,
        )
    except (ValueError, LookupError) as error:
        why = error if isinstance(error, ValueError) else "no socket of that name was inherited"
        raise preflight.failed(f"--endpoint {options['endpoint']}: {why}") from None
