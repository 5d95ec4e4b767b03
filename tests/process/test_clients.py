"""Both clients with the real daemon, as other users, and in a Python of their own."""

from __future__ import annotations

import errno
import os
import signal
import subprocess

from twisted.trial.unittest import SynchronousTestCase

from palingenesis.client.errors import (
    ErrorReply,
    PermissionDenied,
    StaleSocket,
    TimedOut,
    connect_error,
)
from palingenesis.words import DaemonWord
from tests.support.checkout import ROOT
from tests.support.clients import BlockingClientTestCase, DeferredClientTestCase
from tests.support.imports import SLOW_IMPORTS
from tests.support.impostors import (
    STATUS_LINE,
    answer,
)
from tests.support.needs import needs_root
from tests.support.patience import PATIENCE
from tests.support.processes import program
from tests.support.users import NOBODY, as_user


class BlockingDaemonTests(BlockingClientTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.daemon = self.place.daemon()

    def test_the_daemon_is_paused_and_resumed(self) -> None:
        calls = self.client()
        self.assertEqual(calls.status().state, DaemonWord.MONITORING)
        calls.pause()
        calls.pause()
        self.assertEqual(calls.status().state, DaemonWord.PAUSED)
        calls.resume()
        self.assertEqual(calls.status().state, DaemonWord.MONITORING)
        calls.reload()

    def test_a_reload_that_fails_is_refused(self) -> None:
        os.makedirs(self.place.path(".config", "palingenesis"))
        self.place.write(".config/palingenesis/config.toml", "nonsense = 1")
        error = self.assertRaises(ErrorReply, self.client().reload)
        self.assertIn("nonsense", error.message)

    def test_a_stopped_daemon_times_out(self) -> None:
        self.daemon.send(signal.SIGSTOP)
        self.assertRaises(TimedOut, self.client(0.3).status)

    def test_a_killed_daemon_leaves_a_stale_socket(self) -> None:
        self.daemon.kill()
        self.assertRaises(StaleSocket, self.client().status)


class DeferredDaemonTests(DeferredClientTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.daemon = self.place.daemon()

    async def test_the_daemon_is_paused_and_resumed(self) -> None:
        calls = self.client()
        await calls.pause()
        self.assertEqual((await calls.status()).state, DaemonWord.PAUSED)
        await calls.resume()
        self.assertEqual((await calls.status()).state, DaemonWord.MONITORING)
        await calls.reload()

    async def test_a_reload_that_fails_is_refused(self) -> None:
        os.makedirs(self.place.path(".config", "palingenesis"))
        self.place.write(".config/palingenesis/config.toml", "nonsense = 1")
        error = await self.assertFailure(self.client().reload(), ErrorReply)
        self.assertIn("nonsense", error.message)

    async def test_a_stopped_daemon_times_out(self) -> None:
        self.daemon.send(signal.SIGSTOP)
        await self.assertFailure(self.client(0.3).status(), TimedOut)


@needs_root
class OtherUserTests(BlockingClientTestCase):
    def setUp(self) -> None:
        super().setUp()
        os.chmod(self.place.directory, 0o755)
        self.listen(answer(STATUS_LINE))

    def denied(self) -> str:
        result = as_user(NOBODY, lambda: self.client().status())
        self.assertIsInstance(result, str)
        kind, _, text = result.partition(": ")
        self.assertEqual(kind, "PermissionDenied")
        return text

    def test_a_socket_of_somebody_else_is_told_with_its_owner(self) -> None:
        os.chmod(self.place.runtime, 0o755)
        os.chmod(self.path, 0o600)
        text = self.denied()
        self.assertIn("it belongs to root (mode 0600)", text)
        self.assertIn("run this as root", text)

    def test_a_closed_directory_is_told_with_its_owner(self) -> None:
        text = self.denied()
        self.assertIn(f"the directory {self.place.runtime} belongs to root (mode 0700)", text)

    def test_an_owner_without_a_name_is_a_number(self) -> None:
        os.chown(self.path, 54321, 54321)
        error = connect_error(self.client().location, errno.EACCES)
        self.assertIn("it belongs to uid 54321", str(error))

    def test_the_owner_is_a_field(self) -> None:
        os.chmod(self.place.runtime, 0o755)
        os.chmod(self.path, 0o600)

        def owner() -> object:
            try:
                self.client().status()
            except PermissionDenied as error:
                return error.owner
            return None

        self.assertEqual(as_user(NOBODY, owner), 0)


class ImportTests(SynchronousTestCase):
    def test_the_blocking_client_imports_nothing_slow(self) -> None:
        done = subprocess.run(
            program("imported", "palingenesis.client.blocking", isolated=True),
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            check=True,
            text=True,
            timeout=PATIENCE,
        )
        self.assertEqual(set(SLOW_IMPORTS) & set(done.stderr.split()), set())
