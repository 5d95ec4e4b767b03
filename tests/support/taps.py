"""A test case for what ``twistd palingenesis`` is made of."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from palingenesis import paths
from palingenesis.daemon import tap


class TapTestCase(SynchronousTestCase):
    """
    A test in an environment of its own.

    :ivar directory: home and runtime directory.
    :ivar path: a path for the socket, in it.
    """

    def setUp(self) -> None:
        self.addCleanup(os.umask, os.umask(0o077))
        self.directory = tempfile.mkdtemp(prefix="pal-", dir="/tmp")
        self.addCleanup(shutil.rmtree, self.directory)
        # The options hold SIGHUP back until the daemon runs, which it never does here.
        self.addCleanup(signal.pthread_sigmask, signal.SIG_UNBLOCK, [signal.SIGHUP, signal.SIGUSR1])
        self.path = os.path.join(self.directory, "s.sock")
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PALINGENESIS_", "XDG_", "LISTEN_"))
        }
        self.patch(
            os,
            "environ",
            kept | {"HOME": self.directory, "XDG_RUNTIME_DIR": self.directory},
        )
        # A user's own daemon may listen at the real ones.
        self.patch(paths, "_of_the_session", f"{self.directory}/session-{{}}".format)
        self.patch(paths, "_last_resort", f"{self.directory}/last-resort-{{}}".format)

    def config(self, content: str, name: str = "c.toml") -> str:
        """Write a configuration file, and return its path."""
        path = os.path.join(self.directory, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(content)
        # Under a wide umask too: others must not be able to write to it.
        os.chmod(path, 0o600)
        return path

    def options(self, *words: str, twistd: Any = None) -> tap.Options:
        """Parse options of ``palingenesis``; `twistd` stands for twistd's own."""
        options = tap.Options()
        if twistd is None:
            twistd = {"nodaemon": True}
        # Not into the current directory, which is not private under a wide umask.
        parent: Any = {"logfile": "-", **twistd}
        options.parent = parent
        self.addCleanup(self._hang_up, options)
        options.parseOptions(words)
        if options.socket_file is not None:
            self.addCleanup(options.socket_file.release)
        return options

    def _hang_up(self, options: tap.Options) -> None:
        # Options that are wrong are found before there is one.
        if hasattr(options, "starter"):
            options.starter.close()

    def refusal(self, *words: str, twistd: Any = None) -> str:
        """Return the one line with which options are refused."""
        error = self.assertRaises(SystemExit, self.options, *words, twistd=twistd)
        self.assertNotIn("\n", str(error))
        self.assertTrue(str(error).startswith("palingenesis: "), error)
        return str(error)
