from __future__ import annotations

import os
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from palingenesis.monitor import owners, revive, world
from palingenesis.monitor.child import CommandError
from palingenesis.monitor.homes import Home
from palingenesis.monitor.ledger import Attempt, Stop
from palingenesis.monitor.revive import Command
from palingenesis.monitor.sessions import Identity
from palingenesis.monitor.times import Times
from palingenesis.monitor.world import World
from palingenesis.words import Kind, Owner
from tests.support.needs import needs_linux
from tests.support.times import StagedTimes


class LookTests(SynchronousTestCase):
    """A look at the processes of this machine."""

    def setUp(self) -> None:
        directory = os.path.abspath(self.mktemp())
        os.makedirs(os.path.join(directory, "sessions"))
        self.home = Home("claude", "claude", directory)
        self.world = World(self.mktemp(), self.fail, Times(), {"PATH": "/bin:/usr/bin"})

    def test_a_program_is_found_in_the_daemon_s_path_or_the_command_s(self) -> None:
        self.patch(os, "environ", {"PATH": "/nonexistent"})
        found = self.world.program(Command(("sh", "{id}")))
        self.assertTrue(found.endswith("/sh"))
        elsewhere = Command(("sh", "{id}"), environment={"PATH": "/nonexistent"})
        self.assertRaises(CommandError, self.world.program, elsewhere)

    def test_a_directory_that_no_command_can_enter_is_named(self) -> None:
        self.assertIsNone(self.world.directory_warning("/"))
        for path in ("/nonexistent", "relative", __file__):
            warning = self.world.directory_warning(path)
            self.assertTrue((warning or "").startswith(f"{path}: "), warning)

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


class HomesTests(SynchronousTestCase):
    """Which homes are monitored, and which one a stop is of."""

    def setUp(self) -> None:
        self.base = os.path.abspath(self.mktemp())
        self.claude = os.path.join(self.base, ".claude")
        os.makedirs(self.claude)
        self.world = World(self.mktemp(), self.fail, Times(), {"HOME": self.base})

    def test_the_default_homes_that_exist_or_are_named_are_monitored(self) -> None:
        claude, codex = (
            Home(name, name, os.path.join(self.base, f".{name}")) for name in ("claude", "codex")
        )
        self.assertEqual(self.world.homes(None), [claude])
        self.assertEqual(self.world.homes(["codex"]), [codex])
        self.assertEqual(self.world.homes([]), [])

    def test_a_home_that_is_named_counts_instead_of_the_default_one(self) -> None:
        link = os.path.join(self.base, "link")
        os.symlink(self.claude, link)
        work = Home("work", "claude", link, is_named=True)
        other = Home("other", "claude", "/other", is_named=True)
        self.assertEqual(self.world.homes(None, [work, other]), [work, other])

    def test_a_stop_is_of_the_home_that_holds_its_transcript(self) -> None:
        work = Home("work", "claude", "/second", is_named=True)
        self.world.homes(None, [Home("codex", "codex", "/second/x", is_named=True), work])
        default = Home("claude", "claude", self.claude)
        for path, home in (
            ("/second/x/projects/a/s.jsonl", work),
            (f"{self.claude}/projects/a/s.jsonl", default),
            ("/gone/projects/a/s.jsonl", default),
        ):
            stop = Stop("claude", "s", "key", Kind.LIMIT, path, "/d")
            self.assertEqual(self.world.home_of(stop), home, path)


class CommandTests(SynchronousTestCase):
    """What a command is started with, and with what one is found again."""

    NOW = 5000.0

    def setUp(self) -> None:
        directory = os.path.abspath(self.mktemp())
        os.mkdir(directory)
        self.path = os.path.join(directory, "s.jsonl")
        self.times = StagedTimes(lambda: self.NOW, lambda: 7.0)
        self.world = World("/state", self.fail, self.times, {"HOME": directory}, umask=0o027)
        self.given: list[Any] = []
        for name in ("start", "adopt", "output_warning"):
            self.patch(revive, name, lambda *given, **more: self.given.extend((given, more)))

    def test_a_command_has_the_daemon_s_environment_and_umask(self) -> None:
        command, home, session = Command(("x",)), Home("a", "claude", "/h"), Identity("s", "/d")
        self.world.start(command, home, session, ["/o"], 3, self.setUp)
        given, more = self.given
        self.assertEqual(given[:4], (command, home, session, "/state"))
        self.assertEqual(given[5], self.setUp)
        environment = self.world._environment
        expected = {"in_use": ["/o"], "keep": 3, "environment": environment, "umask": 0o027}
        self.assertEqual(more, expected)

    def test_a_command_that_is_found_again_is_quiet_since_its_session_grew(self) -> None:
        stop = Stop("claude", "s", "key", Kind.LIMIT, self.path, "/d")
        command = Command(("x",))
        for grown, slept, quiet in (
            (None, 0.0, 1000.0),
            (3000.0, 0.0, 1000.0),
            (4800.0, 0.0, 200.0),
            (4800.0, 150.0, 50.0),
        ):
            self.times.slept = slept
            if grown is not None:
                with open(self.path, "w"):
                    pass
                os.utime(self.path, (grown, grown))
            self.given.clear()
            attempt = Attempt(stop, 1, 4000.0)
            self.world.adopt(attempt, command)
            (found, made, _, since), _ = self.given
            self.assertEqual((found, made, since), (attempt, command, quiet))

    def test_the_output_is_kept_in_the_state_directory(self) -> None:
        self.world.output_warning()
        self.assertEqual(self.given, [("/state",), {}])
