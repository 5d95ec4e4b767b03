"""The state of the daemon, and its own commands, on a monitor without a world."""

from __future__ import annotations

import json
import os
from typing import Any

from twisted.internet.defer import maybeDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from palingenesis import __version__, wire
from palingenesis.config import ConfigError
from palingenesis.daemon.commands import add_commands, fitting
from palingenesis.daemon.state import MonitorState
from palingenesis.monitor.ledger import LEDGER_NAME
from palingenesis.monitor.service import Monitor
from palingenesis.monitor.settings import HomeRevival, Settings
from palingenesis.procfs import Credentials
from palingenesis.server.commands import CommandTable
from palingenesis.server.interfaces import CommandRefused, IDaemonState
from palingenesis.words import Kind
from tests.support.private import private_path
from tests.support.times import StagedTimes
from tests.unit.monitor.fake_world import FakeWorld

EPOCH = 1_800_000_000.0
PEER = Credentials(4242, 1000, 1000)


class StateTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.directory = private_path(self)
        os.mkdir(self.directory, 0o700)
        self.times = StagedTimes(self.now, self.clock.seconds)
        self.world = FakeWorld(self.times)
        self.monitor = Monitor(
            Settings(),
            self.directory,
            reactor=self.clock,
            world=self.world,
            times=self.times,
        )
        self.monitor.startService()
        self.addCleanup(self.monitor.stopService)
        self.reload: Any = lambda: None
        self.peer: Credentials | None = PEER
        self.state = MonitorState(self.monitor, lambda: self.reload(), lambda: self.peer)

    def now(self) -> float:
        return EPOCH + self.clock.seconds()

    def pass_time(self, seconds: int) -> None:
        for _ in range(seconds):
            self.clock.advance(1.0)

    def break_ledger(self) -> None:
        path = os.path.join(self.directory, LEDGER_NAME)
        os.rename(path, f"{path}.elsewhere")
        os.mkdir(path)


class StateTests(StateTestCase):
    def test_the_state_of_the_daemon_provides_the_interface(self) -> None:
        self.assertTrue(verifyObject(IDaemonState, self.state))

    def test_status_tells_what_the_monitor_does(self) -> None:
        self.world.write("s", Kind.LIMIT, reset=self.now() + 1000)
        self.pass_time(20)
        status = self.state.get_status()
        self.assertEqual(
            (status.state, status.saves_count, status.total_resumes), ("monitoring", 0, 0)
        )
        self.assertEqual(status.current_session, "/transcripts/s.jsonl")
        self.assertEqual(
            dict(status.extra),
            {
                "pid": os.getpid(),
                "version": __version__,
                "sessions": {"stopped": 1},
                "next_revival": None,
                "keeper": True,
                "ledger": "ok",
                "scan": "ok",
                "needs_you": 0,
                "known_sessions": 1,
            },
        )

    def test_status_counts_what_needs_a_person(self) -> None:
        for name, kind in (("a", Kind.ASKING), ("r", Kind.REFUSED), ("f", Kind.FINISHED)):
            self.world.write(name, kind)
        self.pass_time(20)
        self.assertEqual(self.state.get_status().extra["needs_you"], 2)

    def test_status_is_fit_for_the_wire(self) -> None:
        line = wire.render_status(self.state.get_status())
        self.assertEqual(json.loads(line)["keeper"], True)

    def test_a_pause_is_told_with_its_client(self) -> None:
        self.state.pause()
        self.assertEqual(self.state.get_status().state, "paused")
        self.assertEqual(self.monitor.log(1)[0]["by"], "uid 1000, pid 4242")
        self.state.resume()
        self.assertEqual(self.state.get_status().state, "monitoring")

    def test_a_client_that_is_unknown_is_told_as_that(self) -> None:
        self.peer = None
        self.state.pause()
        self.assertEqual(self.monitor.log(1)[0]["by"], "an unknown client")

    def test_a_pause_that_cannot_be_written_is_refused_and_holds(self) -> None:
        self.break_ledger()
        refused = self.assertRaises(CommandRefused, self.state.pause)
        self.assertIn("Paused, but not for after a restart: ", refused.message)
        self.assertEqual(self.state.get_status().state, "paused")

    def test_what_is_wrong_with_the_ledger_is_told(self) -> None:
        self.break_ledger()
        self.assertRaises(CommandRefused, self.state.pause)
        self.assertIn(LEDGER_NAME, self.state.get_status().extra["ledger"])

    def test_a_configuration_that_cannot_be_used_refuses_the_reload(self) -> None:
        def fail() -> None:
            raise ConfigError("/etc/c.toml", "sessions.interval: expected more")

        self.reload = fail
        refused = self.assertRaises(CommandRefused, self.state.reload_config)
        self.assertEqual(refused.message, "/etc/c.toml: sessions.interval: expected more")


class CommandTests(StateTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.table = CommandTable(self.state, self.clock)
        self.mistake: str | None = None
        add_commands(self.table_as_service(), self.monitor, "/etc/c.toml", self.check)

    def table_as_service(self) -> Any:
        table = self.table

        class Control:
            command = staticmethod(table.register)

            @property
            def peer(self) -> Credentials | None:
                return table.peer

        return Control()

    def check(self) -> None:
        if self.mistake is not None:
            raise ConfigError("/etc/c.toml", self.mistake)

    def ask(self, line: bytes) -> Any:
        reply = self.table.run(line, PEER)
        assert isinstance(reply, bytes)
        self.assertLessEqual(len(reply), wire.REPLY_LIMIT)
        return json.loads(reply) if reply[:1] in b"[{" else reply.decode()

    def test_only_the_daemon_s_own_user_and_root_steer_a_session(self) -> None:
        self.world.write("4f1c-a", Kind.LIMIT, reset=self.now() + 1000)
        self.pass_time(20)
        stranger = Credentials(4242, os.geteuid() + 1, 4242)
        for command in (b"HOLD", b"RELEASE", b"REVIVE", b"END"):
            for peer in (stranger, None):
                line = command + b" 4f1c"
                reply = self.successResultOf(maybeDeferred(self.table.run, line, peer))
                self.assertIn(b"only the daemon's own user and root", reply)
        self.assertEqual(self.monitor.log(10)[-1]["event"], "stopped")

    def test_revive_alone_of_all_commands_starts_a_program(self) -> None:
        revival = HomeRevival(("claude", "--resume", "{id}"))
        self.monitor.configure(Settings(revive={"claude": revival}))
        self.world.write("4f1c-a", Kind.LIMIT, reset=self.now() + 100_000)
        self.pass_time(20)
        own = Credentials(os.getpid(), os.geteuid(), os.getegid())
        usages = [*self.ask(b"HELP")]
        usages.sort(key=lambda usage: usage.startswith("REVIVE"))
        for usage in usages:
            self.assertEqual(self.world.starts, [], usage)
            name, *arguments = usage.split()
            line = f"{name} 4f1c" if arguments == ["ID"] else name
            self.successResultOf(maybeDeferred(self.table.run, line.encode(), own))
            self.pass_time(20)
        self.assertEqual(len(self.world.starts), 1)

    def test_a_session_is_steered_by_the_beginning_of_its_id(self) -> None:
        self.world.write("4f1c-a", Kind.LIMIT, reset=self.now() + 1000)
        self.pass_time(20)
        own = Credentials(os.getpid(), os.geteuid(), os.getegid())
        held = self.successResultOf(maybeDeferred(self.table.run, b"HOLD 4f1c", own))
        self.assertEqual(held, b"OK\n")
        refused = self.successResultOf(maybeDeferred(self.table.run, b"END 4f1c", own))
        self.assertIn(b"no revival of it runs", refused)

    def test_sessions_tells_each_with_what_holds_it(self) -> None:
        self.world.write("s", Kind.LIMIT, reset=self.now() + 1000)
        self.pass_time(20)
        (session,) = self.ask(b"SESSIONS")
        self.assertEqual(
            list(session),
            [
                "agent",
                "id",
                "directory",
                "transcript",
                "state",
                "kind",
                "since",
                "due",
                "until",
                "attempts",
                "held",
                "needs",
                "home",
                "variables",
                "owner",
                "who",
                "method",
                "doubt",
                "output",
            ],
        )
        self.assertEqual((session["kind"], session["held"]), ("limit", "no-method"))

    def test_sessions_leaves_out_what_does_not_fit(self) -> None:
        for number in range(40):
            self.world.write(f"s{number}", None, directory="/" + "x" * 4000)
        self.pass_time(6)
        sessions = self.ask(b"SESSIONS")
        self.assertEqual(len(sessions), 15)

    def test_log_tells_the_last_entries(self) -> None:
        for _ in range(15):
            self.state.pause()
            self.state.resume()
        self.assertEqual(len(self.ask(b"LOG")), 20)
        self.assertEqual([e["event"] for e in self.ask(b"LOG 3")], ["resumed", "paused", "resumed"])
        self.assertEqual(len(self.ask(b"LOG 1000000")), 30)

    def test_log_leaves_out_the_oldest_where_it_is_too_long(self) -> None:
        for number in range(500):
            self.monitor.pause(f"{number:0200}")
            self.monitor.resume("x")
        entries = self.ask(b"LOG 1000")
        self.assertLess(len(entries), 1000)
        self.assertEqual(entries, self.monitor.log(len(entries)))

    def test_log_takes_a_number_and_nothing_else(self) -> None:
        for word in (b"x", b"-1", b"0", b"1.5", b"9" * 30):
            self.assertIn("expected a number from 1 to 1000", self.ask(b"LOG " + word))

    def test_log_can_be_filtered(self) -> None:
        for _ in range(30):
            self.pass_time(1)
            self.state.pause()
            self.state.resume()
        since = self.now() - 12
        self.assertEqual(len(self.ask(b"LOG since=%f" % since)), 26)
        self.assertEqual(len(self.ask(b"LOG since=%f count=3" % since)), 3)
        self.assertEqual(self.ask(b"LOG session=none"), [])
        for word in (b"since=yesterday", b"count=0", b"session="):
            self.assertTrue(self.ask(b"LOG " + word).startswith("ERR: LOG "))

    def test_sessions_come_in_pages_and_by_filter(self) -> None:
        for number in range(150):
            kind = Kind.ASKING if number == 0 else Kind.FINISHED
            self.world.write(f"s{number:03}", kind)
        self.pass_time(20)
        first = [each["id"] for each in self.ask(b"SESSIONS")]
        self.assertEqual((len(first), first[0]), (100, "s000"))
        second = [each["id"] for each in self.ask(f"SESSIONS after={first[-1]}".encode())]
        self.assertEqual(len({*first, *second}), 150)
        self.assertEqual(self.ask(f"SESSIONS after={second[-1]}".encode()), [])
        self.assertEqual(self.ask(b"SESSIONS state=working"), [])
        self.assertEqual(len(self.ask(b"SESSIONS agent=claude home=claude state=stopped")), 100)
        self.assertEqual(self.ask(b"SESSIONS home=work"), [])
        for word in (b"x", b"state=busy", b"agent=none", b"count=3"):
            self.assertTrue(self.ask(b"SESSIONS " + word).startswith("ERR: SESSIONS "))

    def test_inspect_tells_the_configuration_and_its_mistake(self) -> None:
        self.mistake = "unknown key"
        told = self.ask(b"INSPECT")
        self.assertEqual(
            told["configuration"],
            {"path": "/etc/c.toml", "exists": False, "mistake": "unknown key"},
        )
        self.assertEqual(told["version"], __version__)
        self.assertIn("agents", told)

    def test_inspect_shows_neither_an_environment_nor_a_secret_argument(self) -> None:
        secret = "c2VjcmV0LXNlY3JldA"
        revival = HomeRevival(
            ("sh", "--api-key", secret, f"--token={secret}"), environment={"KEY": secret}
        )
        self.monitor.configure(Settings(revive={"claude": revival}))
        self.assertNotIn(secret, json.dumps(self.ask(b"INSPECT")))

    def test_help_lists_the_commands_of_the_monitor(self) -> None:
        self.assertEqual(
            list(self.ask(b"HELP"))[5:],
            [
                "SESSIONS [FILTER]",
                "LOG [FILTER]",
                "INSPECT",
                "HOLD ID",
                "RELEASE ID",
                "REVIVE ID",
                "END ID",
            ],
        )

    def test_what_fits_is_taken_from_the_beginning(self) -> None:
        values = [{"a": number} for number in range(100)]
        taken = fitting(values, limit=50)
        self.assertEqual(taken, values[: len(taken)])
        self.assertLessEqual(len(wire.render_value(taken)), 50)
        self.assertGreater(len(wire.render_value(values[: len(taken) + 1])), 50)
