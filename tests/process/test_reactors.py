"""The control socket on each of the reactors that an application may choose."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from unittest import skipIf, skipUnless

from twisted.trial.unittest import SynchronousTestCase

from tests.support.patience import PATIENCE
from tests.support.processes import program


class ReactorTests(SynchronousTestCase):
    """The same on each of the reactors that an application may have chosen."""

    def serve(self, reactor_name: str) -> list[str]:
        directory = tempfile.mkdtemp(prefix="p")
        self.addCleanup(shutil.rmtree, directory)
        completed = subprocess.run(
            program("on_reactor", reactor_name, os.path.join(directory, "s")),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        self.assertEqual((completed.stderr, completed.returncode), ("", 0))
        return completed.stdout.splitlines()

    def expect(self, reactor_name: str, class_name: str) -> None:
        lines = self.serve(reactor_name)
        self.assertEqual(
            lines,
            [
                "60000",
                "OK",
                "OK",
                "ERR: Command too long (512 bytes at most)",
                class_name,
            ],
        )

    def test_a_daemon_serves_on_select(self) -> None:
        self.expect("select", "SelectReactor")

    @skipUnless(hasattr(__import__("select"), "poll"), "there is no poll(2)")
    def test_a_daemon_serves_on_poll(self) -> None:
        self.expect("poll", "PollReactor")

    @skipUnless(hasattr(__import__("select"), "epoll"), "there is no epoll(7)")
    def test_a_daemon_serves_on_epoll(self) -> None:
        self.expect("epoll", "EPollReactor")

    @skipUnless(hasattr(__import__("select"), "kqueue"), "there is no kqueue(2)")
    @skipIf("simulated_macos" in sys.modules, "on the simulated Mac it is epoll(7)")
    def test_a_daemon_serves_on_kqueue(self) -> None:
        self.expect("kqueue", "KQueueReactor")

    def test_a_daemon_serves_on_asyncio(self) -> None:
        self.expect("asyncio", "AsyncioSelectorReactor")
