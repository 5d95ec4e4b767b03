from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from palingenesis.monitor import owners, world
from palingenesis.monitor.homes import Home
from palingenesis.monitor.sessions import Identity
from palingenesis.monitor.times import Times
from palingenesis.monitor.world import World
from palingenesis.words import Owner
from tests.support.needs import needs_linux


class LookTests(SynchronousTestCase):
    """A look at the processes of this machine."""

    def setUp(self) -> None:
        directory = os.path.abspath(self.mktemp())
        os.makedirs(os.path.join(directory, "sessions"))
        self.home = Home("claude", "claude", directory)
        self.world = World(self.mktemp(), self.fail, Times(), {})

    def test_an_entry_that_cannot_be_read_is_named(self) -> None:
        path = os.path.join(self.home.directory, "sessions", f"{os.getpid()}.json")
        with open(path, "w"):
            pass
        warnings = self.world.look([self.home], ()).warnings
        self.assertTrue(any(warning.startswith(f"{path} cannot be read") for warning in warnings))

    @needs_linux("hidepid is an option of /proc")
    def test_what_cannot_be_seen_is_said_of_each_home(self) -> None:
        self.patch(owners, "hides_processes", lambda _: True)
        missing = Home("work", "claude", "/nonexistent")
        living = self.world.look([self.home, missing], ())
        # Another daemon of the user's own, which has a warning of its own, may run here.
        (warning,) = [each for each in living.warnings if "can be revived" in each]
        self.assertIn(f"No session in {self.home.directory} can be revived", warning)
        self.assertIn("hidepid", warning)
        session = Identity("unlikely-77", "/nonexistent")
        witness = living.of(self.home).witness(session, os.path.join(self.home.directory, "x"))
        self.assertEqual(witness.owner, Owner.UNKNOWN)

    def test_a_home_that_is_not_monitored_has_unknown_owners(self) -> None:
        witness = self.world.look([], ()).of(self.home).witness(Identity("x", "/"), "/x")
        self.assertEqual(witness.who, f"{self.home.directory} is not monitored")

    def test_a_look_at_many_processes_belongs_in_a_thread(self) -> None:
        for limit, slow in ((10**9, False), (0, True)):
            self.patch(world, "MANY_PROCESSES", limit)
            self.world.look([], ())
            self.assertEqual(self.world.slow, slow)
