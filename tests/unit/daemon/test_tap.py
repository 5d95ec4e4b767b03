"""The command line of the daemon, and the service it makes."""

from __future__ import annotations

import io
import os
import sys
from typing import Any

from twisted.application.service import IServiceMaker, MultiService
from twisted.internet import reactor
from twisted.logger import formatEvent, globalLogPublisher
from twisted.plugin import getPlugins
from twisted.python.usage import UsageError

from palingenesis import paths
from palingenesis.config import Config, Limits
from palingenesis.daemon import tap
from palingenesis.server.interfaces import CommandRefused
from palingenesis.server.log import set_log_level
from palingenesis.server.service import ControlService
from palingenesis.server.signals import SignalService
from palingenesis.server.socketfile import SocketFile
from tests.support.needs import needs_root
from tests.support.sockets import leave_stale, listen_at
from tests.support.taps import TapTestCase
from tests.support.users import NOBODY


class OptionsTests(TapTestCase):
    def test_a_socket_is_claimed_before_anything_else_happens(self):
        options = self.options("--socket", self.path)
        self.assertEqual(options.socket_file.path, self.path)
        self.assertEqual(os.listdir(self.directory), ["s.sock.lock"])
        self.assertIn(f"has {self.path}; stop that one", self.refusal("--socket", self.path))

    @needs_root
    def test_a_daemon_that_is_to_be_another_user_claims_it_as_that_one(self):
        os.chown(self.directory, NOBODY, NOBODY)
        path = os.path.join(self.directory, "sub", "s.sock")
        options = self.options("--socket", path, twistd={"uid": NOBODY, "pidfile": ""})
        self.assertIsInstance(options.socket_file, SocketFile)
        for made in os.path.dirname(path), f"{path}.lock":
            self.assertEqual(os.stat(made).st_uid, NOBODY)
        self.assertEqual(os.geteuid(), 0)

    @needs_root
    def test_a_start_as_another_user_that_fails_is_told_before_the_fork(self):
        os.chown(self.directory, NOBODY, NOBODY)
        closed = os.path.join(self.directory, "closed")
        os.mkdir(closed, 0o700)
        path = os.path.join(closed, "s.sock")
        told = self.refusal("--socket", path, twistd={"uid": NOBODY, "pidfile": ""})
        self.assertIn("permission denied", told)
        self.assertEqual(os.geteuid(), 0)
        self.assertEqual(os.listdir(closed), [])

    @needs_root
    def test_the_home_of_one_user_is_not_used_as_another(self):
        twistd = {"uid": NOBODY, "pidfile": "", "nodaemon": True}
        told = self.refusal("--socket", self.path, twistd=twistd)
        self.assertIn(f"{self.directory}: is not the home of uid {NOBODY}; set HOME", told)
        os.chown(self.directory, NOBODY, NOBODY)
        closed = os.path.join(self.directory, "closed")
        os.mkdir(closed, 0o700)
        state = os.path.join(closed, "state")
        told = self.refusal("--socket", self.path, "--state", state, twistd=twistd)
        self.assertIn(f"{state}: uid {NOBODY} cannot write there; ", told)
        self.assertEqual(os.listdir(closed), [])

    @needs_root
    def test_a_start_as_another_user_says_which_home_and_state_it_uses(self):
        os.chown(self.directory, NOBODY, NOBODY)
        (told,) = self.warnings(
            "--socket", self.path, twistd={"uid": NOBODY, "pidfile": "", "nodaemon": True}
        )
        state = os.path.join(self.directory, ".local", "state", "palingenesis")
        self.assertEqual(
            told,
            f"palingenesis: as uid {NOBODY}, it uses the home {self.directory} and the state "
            f"directory {state}",
        )

    @needs_root
    def test_a_user_without_an_entry_in_the_password_file_is_refused(self):
        unknown = 2_000_000_001
        self.assertEqual(
            self.refusal("--socket", self.path, twistd={"uid": unknown, "pidfile": ""}),
            f"palingenesis: --uid {unknown}: no such user in the password file; "
            "add it, or name another",
        )

    @needs_root
    def test_a_daemon_that_is_to_be_another_user_is_where_that_ones_clients_look(self):
        del os.environ["XDG_RUNTIME_DIR"]
        os.chown(self.directory, NOBODY, NOBODY)
        runtime = os.path.join(self.directory, f"session-{NOBODY}")
        os.mkdir(runtime, 0o700)
        os.chown(runtime, NOBODY, NOBODY)
        os.chmod(self.directory, 0o711)
        options = self.options(twistd={"uid": NOBODY, "pidfile": ""})
        self.assertEqual(options.socket_file.path, os.path.join(runtime, "palingenesis.sock"))

    def test_the_command_line_goes_before_the_environment_and_that_before_the_file(self):
        config = self.config('socket = "configured.sock"\nmode = "0660"\n')
        in_place = os.path.join(self.directory, "{}").format
        options = self.options("--config", config)
        self.assertEqual(options.socket_file.path, in_place("configured.sock"))
        self.assertEqual(options.mode, 0o660)
        os.environ["PALINGENESIS_SOCKET"] = in_place("environment.sock")
        options = self.options("--config", config)
        self.assertEqual(options.socket_file.path, in_place("environment.sock"))
        options = self.options("--config", config, "--socket", self.path, "--mode", "0606")
        self.assertEqual(options.socket_file.path, self.path)
        self.assertEqual(options.socket_file.mode, 0o606)

    def test_the_default_is_private_and_in_the_runtime_directory(self):
        options = self.options()
        self.assertEqual(
            options.socket_file.path, os.path.join(self.directory, "palingenesis.sock")
        )
        self.assertEqual(options.mode, 0o600)
        self.assertEqual(options.config, Config())

    def test_the_default_configuration_is_read_where_there_is_one(self):
        os.makedirs(os.path.join(self.directory, ".config", "palingenesis"))
        self.config("timeout = 7", ".config/palingenesis/config.toml")
        self.assertEqual(self.options().config.limits.timeout, 7)
        self.config("timeout = 'soon'", ".config/palingenesis/config.toml")
        self.assertIn("timeout", self.refusal())

    def test_a_relative_configuration_is_found_after_a_change_of_directory(self):
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(self.directory)
        self.config("timeout = 7")
        options = self.options("--config", "c.toml")
        os.chdir("/")
        self.assertEqual(options.read_config().limits.timeout, 7)

    def test_a_configuration_may_be_named_below_the_home_directory(self):
        self.config("timeout = 7")
        self.assertEqual(self.options("--config", "~/c.toml").config.limits.timeout, 7)

    def test_a_configuration_that_others_can_write_to_is_refused(self):
        config = self.config("timeout = 7")
        os.chmod(config, 0o666)
        told = self.refusal("--config", config)
        self.assertIn(f"{config}: others could name commands in it", told)
        self.assertIn(f"{config} can be written to by all (mode 0666)", told)
        os.chmod(config, 0o600)
        os.chmod(self.directory, 0o777)
        told = self.refusal("--config", config, "--socket", self.path)
        self.assertIn(f"{self.directory} can be written to by all (mode 0777)", told)
        self.assertEqual(os.listdir(self.directory), ["c.toml"])

    @needs_root
    def test_a_configuration_of_another_user_is_refused_to_root(self):
        config = self.config("timeout = 7")
        os.chown(config, NOBODY, NOBODY)
        self.assertIn(f"belongs to uid {NOBODY}", self.refusal("--config", config))

    def test_a_mode_that_makes_no_sense_is_refused(self):
        for mode in ("", "0400", "0777", "1600", "rw", "8", "-600", "0600 0600"):
            self.assertIn("--mode", self.refusal("--mode", mode))
        self.assertEqual(os.listdir(self.directory), [])

    def test_a_socket_and_an_endpoint_at_once_are_refused(self):
        told = self.refusal("--socket", self.path, "--endpoint", "systemd:domain=UNIX:index=0")
        self.assertIn("not both", told)

    def test_an_endpoint_that_is_no_inherited_unix_socket_is_refused(self):
        for endpoint in (
            "",
            f"unix:{self.path}",
            "tcp:8000",
            "systemd:domain=INET:index=0",
            "systemd:domain=UNIX:",
            "systemd:domain=UNIX:index=0:foo=bar",
            "systemd:domain=UNIX:index=99999999999999999999",
            "systemd:domain=UNIX:index=0:index=1",
            "systemd:domain=UNIX:index=abc",
        ):
            self.assertIn("expected an inherited Unix socket", self.refusal("--endpoint", endpoint))

    def test_a_name_that_was_not_inherited_is_refused(self):
        options = self.options("--endpoint", "systemd:domain=UNIX:name=nowhere")
        error = self.assertRaises(SystemExit, tap.makeService, options)
        self.assertIn("no socket of that name was inherited", str(error))

    def test_a_configuration_that_is_a_fifo_does_not_hold_it_up(self):
        fifo = os.path.join(self.directory, "c.toml")
        os.mkfifo(fifo)
        self.assertIn("not a regular file", self.refusal("--config", fifo))
        self.assertIn("not a regular file", self.refusal("--config", fifo, "--socket", self.path))

    def test_a_socket_in_another_root_is_claimed_there(self):
        self.options("--socket", self.path, twistd={"chroot": self.directory, "pidfile": ""})
        self.assertEqual(os.listdir(self.directory), [])

    def test_what_would_drive_a_terminal_is_shown_escaped(self):
        for words in (
            ("--socket", "/nowhere/\n/\x1b[31m" + "x" * 200),
            ("--config", "no\nsuch\x1b[31m"),
            ("--endpoint", "no\nsuch\x1b[31m"),
            ("--mode", "06\n00"),
        ):
            self.assertTrue(self.refusal(*words).isprintable())

    def test_an_empty_socket_is_refused_and_not_taken_for_none(self):
        self.refusal("--socket", "")

    def test_further_words_are_an_error(self):
        self.assertRaises(UsageError, self.options, "--socket", self.path, "start")
        self.assertRaises(UsageError, self.options, "--sockte", self.path)

    def test_a_stale_pid_file_is_discarded_with_the_claim(self):
        pidfile = self.config(str(os.getpid()), "twistd.pid")
        self.options("--socket", self.path, twistd={"uid": None, "pidfile": pidfile})
        self.assertFalse(os.path.lexists(pidfile))

    def test_a_pid_file_stays_where_the_claim_fails(self):
        pidfile = self.config(str(os.getpid()), "twistd.pid")
        os.mkdir(self.path)
        with self.assertRaises(SystemExit):
            self.options("--socket", self.path, twistd={"uid": None, "pidfile": pidfile})
        self.assertTrue(os.path.lexists(pidfile))

    def test_a_mode_that_lets_others_in_warns_of_a_directory_that_does_not(self):
        os.chmod(self.directory, 0o700)
        told = self.warnings("--socket", self.path, "--mode", "0666")
        self.assertEqual(
            told,
            [
                f"palingenesis: mode 0666 lets in other users, but the directory {self.directory} "
                "keeps them out; chmod it, or choose another path"
            ],
        )

    def test_a_mode_that_the_directory_allows_warns_of_nothing(self):
        os.chmod(self.directory, 0o755)
        self.assertEqual(self.warnings("--socket", self.path, "--mode", "0666"), [])

    def test_a_daemon_at_the_other_default_place_is_told_of(self):
        other = os.path.join(self.directory, "other")
        os.mkdir(other, 0o700)
        self.patch(paths, "_last_resort", lambda _: other)
        socket = os.path.join(other, "palingenesis.sock")
        self.addCleanup(listen_at(socket).close)
        (told,) = self.warnings()
        self.assertIn(f"serves {socket} already (/tmp/palingenesis-UID)", told)
        self.assertIn(f"pid {os.getpid()} ", told)

    def test_a_stale_socket_at_the_other_default_place_is_not(self):
        other = os.path.join(self.directory, "other")
        os.mkdir(other, 0o700)
        self.patch(paths, "_last_resort", lambda _: other)
        leave_stale(os.path.join(other, "palingenesis.sock"))
        self.assertEqual(self.warnings(), [])

    def test_a_directory_in_the_place_of_a_file_of_twistds_is_refused(self):
        for option in "pidfile", "logfile":
            told = self.refusal("--socket", self.path, twistd={option: self.directory})
            self.assertEqual(
                told,
                f"palingenesis: {self.directory}: is a directory; "
                f"name another with twistd --{option}=FILE",
            )
        self.assertEqual(os.listdir(self.directory), [])

    def test_an_unusable_pid_file_is_replaced(self):
        pidfile = self.config("", "twistd.pid")
        self.options("--socket", self.path, twistd={"uid": None, "pidfile": pidfile})
        self.assertFalse(os.path.lexists(pidfile))

    def test_a_socket_is_written_as_people_write_it(self):
        self.assertEqual(self.options("--socket", f"unix:{self.path}").socket_file.path, self.path)
        self.assertEqual(
            self.options("--socket", "~/t.sock").socket_file.path, self.path[:-6] + "t.sock"
        )
        self.assertIn("abstract", self.refusal("--socket", "@x"))

    def warnings(self, *words: str, twistd: Any = None) -> list[str]:
        """Return what a start prints on the terminal, one in the background by default."""
        terminal = io.StringIO()
        self.patch(sys, "stderr", terminal)
        self.options(*words, twistd=twistd or {"pidfile": "", "logfile": "-"})
        return terminal.getvalue().splitlines()


class ServiceTests(TapTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.addCleanup(set_log_level, "info")
        self.messages: list[str] = []
        # Not the reactor of the tests: what it has scheduled would never come.
        self.clocks: list[object] = []
        self.patch(tap, "use_monotonic_time", self.clocks.append)
        globalLogPublisher.addObserver(self.observe)
        self.addCleanup(globalLogPublisher.removeObserver, self.observe)

    def observe(self, event: Any) -> None:
        self.messages.append(formatEvent(event))

    def control(self, config: str) -> ControlService:
        self.options_made = self.options("--socket", self.path, "--config", self.config(config))
        service = tap.makeService(self.options_made)
        self.assertIsInstance(service, MultiService)
        signals, control, _monitor, _web, _notify = service
        self.assertIsInstance(signals, SignalService)
        self.assertIsInstance(control, ControlService)
        return control

    def limits(self, control: ControlService) -> Limits:
        return control.factory.commands.limits

    def test_the_reactor_is_given_a_clock_that_nobody_sets(self):
        self.control("")
        self.assertEqual(self.clocks, [reactor])

    def test_the_configuration_is_applied(self):
        control = self.control("timeout = 1\nhandler_timeout = 2\nmax_connections = 3\n")
        self.assertEqual(self.limits(control), (1, 2, 3))

    def test_a_reload_applies_the_configuration_as_it_is_now(self):
        control = self.control("timeout = 1\n")
        self.config("handler_timeout = 2\nmax_connections = 3\n")
        self.assertIsNone(self.successResultOf(control.reload()))
        self.assertEqual(self.limits(control), (5, 2, 3))

    def test_a_reload_of_a_broken_configuration_changes_nothing_and_says_why(self):
        control = self.control("timeout = 1\n")
        for content, told in (
            ("timeout = 2\nmax_connections = 0\n", "max_connections"),
            ("timeout = 2\nmx_connections = 9\n", "mx_connections"),
            ("timeout = 2\nx\n", "line 2"),
        ):
            path = self.config(content)
            refused = self.failureResultOf(control.reload(), CommandRefused).value
            self.assertTrue(refused.message.startswith(path), refused)
            self.assertIn(told, refused.message)
            self.assertEqual(control.factory.commands.limits.timeout, 1)

    def test_a_reload_of_a_configuration_that_others_can_write_to_changes_nothing(self):
        control = self.control("timeout = 1\n")
        os.chmod(self.config("timeout = 2\n"), 0o606)
        refused = self.failureResultOf(control.reload(), CommandRefused).value
        self.assertIn("can be written to by all (mode 0606)", refused.message)
        self.assertEqual(control.factory.commands.limits.timeout, 1)

    def test_a_reload_says_what_cannot_change_and_keeps_the_rest(self):
        control = self.control("timeout = 1\n")
        self.config('timeout = 2\nmode = "0660"\nsocket = "other.sock"\n')
        self.assertIsNone(self.successResultOf(control.reload()))
        self.assertEqual(control.factory.commands.limits.timeout, 2)
        for key in ("mode", "socket"):
            self.assertIn(f"{key} cannot change while the daemon runs; restart it", self.messages)

    def test_the_log_level_is_applied(self):
        control = self.control('log_level = "error"\n')
        self.successResultOf(control.reload())
        self.assertEqual([m for m in self.messages if "RELOAD" in m], [])
        self.config('log_level = "info"\n')
        self.successResultOf(control.reload())
        self.assertEqual(len([m for m in self.messages if "RELOAD" in m]), 1)

    def test_a_wider_mode_lets_others_in(self):
        self.assertFalse(self.control("").factory.admit_others)
        self.options_made.socket_file.release()
        self.assertTrue(self.control('mode = "0660"\n').factory.admit_others)

    def test_an_endpoint_that_cannot_be_served_is_refused(self):
        for endpoint in ("nonsense:1", "systemd:domain=UNIX:index=9", "tcp:0", ""):
            with self.assertRaises(SystemExit) as raised:
                tap.makeService(self.options("--endpoint", endpoint))
            self.assertIn("--endpoint", str(raised.exception))
            self.assertIn(endpoint, str(raised.exception))
            self.assertNotIn("\n", str(raised.exception))
        self.assertEqual(os.listdir(self.directory), [])


class PluginTests(TapTestCase):
    def test_the_plugin_is_found(self):
        (plugin,) = (p for p in getPlugins(IServiceMaker) if p.tapname == "palingenesis")
        self.assertIs(plugin.options, tap.Options)
        self.assertEqual(plugin.makeService, tap.makeService)
