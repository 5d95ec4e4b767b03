"""The command line of ``twistd palingenesis``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from twisted.python import usage

from palingenesis import __version__
from palingenesis.config import DEFAULTS, Config, check_mode, check_trusted, load_config
from palingenesis.daemon import preflight
from palingenesis.daemon.logfile import PrivateLogFile
from palingenesis.daemon.starter import Starter, take_starter
from palingenesis.locate import SOCKET_VARIABLE, SYSTEMD_DESCRIPTION, locate_socket
from palingenesis.monitor.child import current_umask
from palingenesis.monitor.settings import TABLES, check_whole
from palingenesis.paths import PathError, config_file, expand_home, state_directory
from palingenesis.server.socketfile import SocketFile
from palingenesis.text import MESSAGE_LIMIT, in_short, printable
from palingenesis.trust import check_own_state
from palingenesis.web.settings import TABLES as HTTP_TABLES


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
    #: Where the monitor keeps what it must remember.
    state_directory: str
    #: The umask of the commands that the monitor starts; the daemon's own if negative.
    umask: int
    #: Where the daemon logs; None if twistd does not log to a file.
    log_file: PrivateLogFile | None = None
    #: The process that waits for the daemon to start; known once the options are parsed.
    starter: Starter

    def opt_version(self) -> None:
        """Show the version of palingenesis, and exit."""
        print(f"palingenesis {__version__}")
        raise SystemExit(0)

    def postOptions(self) -> None:
        """
        Read the configuration and claim the socket.

        That happens here, before twistd reads its PID file and before it forks: a second start
        fails with the socket's holder as the reason, on the terminal it was started from.
        """
        preflight.prepare_process()
        preflight.prepare_macos()
        self.starter = take_starter(os.environ)
        # In the background, twistd sets a umask and a directory of its own.
        self.umask = current_umask() if self.twistd.get("umask") is None else -1
        try:
            self._prepare()
        except OSError as error:
            raise self.failed(f"the current directory cannot be used: {in_short(error)}") from None
        except (PathError, ValueError) as error:
            raise self.failed(error) from None

    def _prepare(self) -> None:
        twistd = self.twistd
        self.state_directory = state_directory(self["state"])
        if self["mode"] is not None:
            self["mode"] = check_mode("--mode", self["mode"])
        if self["config"] is not None:
            self["config"] = os.path.abspath(expand_home(self["config"]))
        self.config = self.read_config()
        preflight.check_user(twistd, self.state_directory)
        check_own_state(self.state_directory, self.uid)
        preflight.check_files(twistd, self.starter)
        if self["endpoint"] is None:
            location = locate_socket(self["socket"], self["config"], self.uid)
            self.socket_file = preflight.claim(location, self.mode, twistd, self.starter)
        elif self["socket"] is not None:
            raise ValueError("give --socket or --endpoint, not both")
        else:
            preflight.check_endpoint(self["endpoint"])
        self.log_file = preflight.prepare_files(twistd, self.starter)

    def failed(self, why: object) -> SystemExit:
        """Return the end of a start that fails, and report it to the process that waits."""
        if self.starter:
            self.starter.fail(str(why))
        return SystemExit(f"palingenesis: {printable(str(why), MESSAGE_LIMIT)}")

    def read_config(self) -> Config:
        """
        Read the configuration file that was named, or else the default one, if any.

        :raises ConfigError: when it cannot be used.
        """
        path = self.config_path
        if path is None or (self["config"] is None and not os.path.lexists(path)):
            return DEFAULTS
        check_trusted(path, self.uid)
        return load_config(path, {**TABLES, **HTTP_TABLES}, check_whole)

    @property
    def config_path(self) -> str | None:
        """Where the configuration file is, or would be; None if there is no place for it."""
        return self["config"] or config_file()

    @property
    def twistd(self) -> Mapping[str, Any]:
        """The options of twistd itself."""
        return self.parent or {}

    @property
    def uid(self) -> int:
        """The user that the daemon is, or will be."""
        uid = self.twistd.get("uid")
        return os.geteuid() if uid is None else int(uid)

    @property
    def is_chosen(self) -> bool:
        """Whether ``--socket`` or ``$PALINGENESIS_SOCKET`` names the socket."""
        return self["socket"] is not None or SOCKET_VARIABLE in os.environ

    @property
    def mode(self) -> int:
        """The permission bits of the socket."""
        return self.config.mode if self["mode"] is None else int(self["mode"])
