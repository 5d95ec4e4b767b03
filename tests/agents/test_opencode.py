"""opencode, as it really is."""

from __future__ import annotations

import os

from tests.agents import basics, permissions
from tests.agents.answers import Hold, Say
from tests.agents.opencode import Opencode
from tests.agents.terminal import Window


class OpencodeTests(basics.Basics):
    kind = Opencode
    agent: Opencode
    open_owner = "owner-unknown"
    closed = "user"

    def interrupt(self, window: Window) -> None:
        window.keys("Escape")
        window.wait_for("again to interrupt")
        window.keys("Escape")

    def test_it_works_beside_a_daemon_that_looks_all_the_time(self) -> None:
        """Its own writing never waits for the daemon: every turn is finished."""
        runs = [self.agent.runs(f"echo {number}") for number in range(10)]
        self.bed.server.answers(*runs, Say("All of it is done."))
        self.bed.daemon(interval=0.1, quiet=1.0)
        self.assertEqual(self.bed.begin().wait(), 0)
        self.assert_told(kind="finished")
        self.assertEqual(len(self.bed.server.asked), len(runs) + 1)

    def test_no_file_appears_beside_a_database_that_is_closed(self) -> None:
        self.bed.server.answers(Say())
        self.bed.begin().wait()
        path = self.bed.transcripts()[0]
        self.agent.close(path)
        before = os.listdir(os.path.dirname(path))
        self.bed.daemon(backlog=True)
        self.assert_told(kind="finished")
        self.assertEqual(os.listdir(os.path.dirname(path)), before)

    def test_another_session_is_open(self) -> None:
        """All of its processes share the database: none of its sessions is proven gone."""
        self.bed.server.answers(*self.agent.limits(None), Hold())
        self.bed.begin().wait()
        limited = self.bed.session()
        self.bed.open(directory=self.bed.make("home", "other"))
        self.bed.daemon(backlog=True)
        self.assert_told(limited, kind="limit", held="owner-unknown")


class PermissionsTests(permissions.Permissions):
    kind = Opencode
    title = "opencode"

    def apply(self) -> None:
        self.bed.write(self.shown("json"), "home", "app", "opencode.json")
