"""The configuration file: every key, and every way to get one wrong."""

from __future__ import annotations

import errno
import os
from typing import NoReturn

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from palingenesis.config import (
    LOG_LEVELS,
    Config,
    ConfigError,
    Limits,
    check_count,
    check_mode,
    check_seconds,
    load_config,
    socket_in,
)
from tests.support.texts import ENCODABLE


class ConfigTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = os.path.join(os.path.abspath(self.mktemp()), "config.toml")
        os.mkdir(os.path.dirname(self.path))

    def load(self, content: str | bytes) -> Config:
        if isinstance(content, str):
            content = content.encode()
        with open(self.path, "wb") as file:
            file.write(content)
        return load_config(self.path)

    def refusal(self, content: str | bytes) -> str:
        """Load what cannot be used; the reason is one line and the file is named."""
        error = self.assertRaises(ConfigError, self.load, content)
        self.assertEqual(error.path, self.path)
        self.assertEqual(str(error), f"{self.path}: {error.reason}")
        self.assertEqual(len(error.reason.splitlines()), 1, error.reason)
        return error.reason


class AcceptedTests(ConfigTestCase):
    def test_an_empty_file_means_the_defaults(self) -> None:
        self.assertEqual(
            self.load(""),
            Config(
                socket=None,
                mode=0o600,
                limits=Limits(timeout=5.0, handler_timeout=30.0, max_connections=512),
                log_level="info",
            ),
        )

    def test_every_key_can_be_set(self) -> None:
        self.assertEqual(
            self.load(
                'socket = "/run/x.sock"\nmode = "0660"\ntimeout = 2\nhandler_timeout = 0.5\n'
                'max_connections = 3\nlog_level = "debug"\n'
            ),
            Config("/run/x.sock", 0o660, Limits(2.0, 0.5, 3), "debug"),
        )

    def test_every_key_is_a_field(self) -> None:
        reason = self.refusal("nonsense = 1")
        known = reason.partition("(known: ")[2].rstrip(")").split(", ")
        self.assertEqual(set(known), {*Config._fields, *Limits._fields} - {"limits", "tables"})

    def test_limits_are_frozen(self) -> None:
        with self.assertRaises(AttributeError):
            Limits().timeout = 1.0  # type: ignore[misc]

    def test_the_borders_of_the_timeouts_are_within(self) -> None:
        for key in "timeout", "handler_timeout":
            for value in "0.1", "86400", "86400.0":
                with self.subTest(key=key, value=value):
                    self.assertEqual(
                        getattr(self.load(f"{key} = {value}").limits, key), float(value)
                    )

    def test_a_whole_number_of_seconds_becomes_a_float(self) -> None:
        self.assertIs(type(self.load("timeout = 7").limits.timeout), float)

    def test_the_borders_of_max_connections_are_within(self) -> None:
        for value in 1, 65_536:
            with self.subTest(value=value):
                self.assertEqual(
                    self.load(f"max_connections = {value}").limits.max_connections, value
                )

    def test_every_log_level_is_taken(self) -> None:
        for level in LOG_LEVELS:
            with self.subTest(level=level):
                self.assertEqual(self.load(f'log_level = "{level}"').log_level, level)

    def test_a_mode_is_a_number_or_an_octal_string(self) -> None:
        for text in "0o660", '"0660"', '"660"', '"0o660"', "432":
            with self.subTest(text=text):
                self.assertEqual(self.load(f"mode = {text}").mode, 0o660)

    def test_a_relative_socket_is_beside_the_file(self) -> None:
        self.assertEqual(
            self.load('socket = "run/x.sock"').socket,
            os.path.join(os.path.dirname(self.path), "run/x.sock"),
        )

    def test_a_relative_socket_is_beside_a_file_that_was_named_relatively(self) -> None:
        self.load('socket = "x.sock"')
        self.assertEqual(
            load_config(os.path.relpath(self.path)).socket,
            os.path.join(os.path.dirname(self.path), "x.sock"),
        )

    def test_a_tilde_is_the_home_directory(self) -> None:
        self.patch(os, "environ", os.environ | {"HOME": "/home/me"})
        self.assertEqual(self.load('socket = "~/x.sock"').socket, "/home/me/x.sock")

    def test_a_unix_description_means_its_path(self) -> None:
        self.assertEqual(self.load('socket = "unix:/run/x"').socket, "/run/x")


class RefusedTests(ConfigTestCase):
    def test_a_missing_file_is_named(self) -> None:
        error = self.assertRaises(ConfigError, load_config, self.path)
        self.assertEqual(str(error), f"{self.path}: cannot be read: no such file or directory")

    def test_a_directory_is_no_configuration(self) -> None:
        error = self.assertRaises(ConfigError, load_config, os.path.dirname(self.path))
        self.assertEqual(error.reason, "cannot be read: is a directory")

    def test_a_file_that_may_not_be_read_says_so(self) -> None:
        def refuse(path: str, _flags: int) -> NoReturn:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

        # Not by its mode: root may read everything.
        self.patch(os, "open", refuse)
        error = self.assertRaises(ConfigError, load_config, self.path)
        self.assertEqual(error.reason, "cannot be read: permission denied")

    def test_an_unknown_key_is_named_with_the_known_ones(self) -> None:
        self.assertEqual(
            self.refusal("time_out = 1"),
            "unknown key 'time_out' (known: socket, mode, timeout, handler_timeout, "
            "max_connections, log_level)",
        )

    def test_a_table_is_an_unknown_key(self) -> None:
        self.assertIn("unknown key 'palingenesis'", self.refusal("[palingenesis]\ntimeout = 1"))

    def test_keys_have_one_case(self) -> None:
        self.assertIn("unknown key 'Timeout'", self.refusal("Timeout = 1"))

    def test_what_is_not_toml_is_told_with_its_line(self) -> None:
        self.assertIn("line 2", self.refusal("timeout = 1\ntimeout 2\n"))

    def test_a_key_given_twice_is_told_with_its_line(self) -> None:
        self.assertIn("line 2", self.refusal("timeout = 1\ntimeout = 2\n"))

    def test_what_is_not_utf_8_is_not_toml(self) -> None:
        self.assertIn("is not TOML", self.refusal(b'log_level = "\xff"\n'))

    def test_seconds_out_of_range_are_refused(self) -> None:
        for key in "timeout", "handler_timeout":
            for value in ("0", "-1", "0.09", "86400.1", "86401", "nan", "inf", "-inf", "true"):
                with self.subTest(key=key, value=value):
                    reason = self.refusal(f"{key} = {value}")
                    self.assertTrue(
                        reason.startswith(
                            f"{key}: expected a number of seconds from 0.1 to 86400, not "
                        ),
                        reason,
                    )

    def test_seconds_of_another_type_are_refused(self) -> None:
        for value in ('"5"', "[5]", "{}", "1979-05-27", "07:32:00"):
            with self.subTest(value=value):
                self.assertIn(
                    "timeout: expected a number of seconds", self.refusal(f"timeout = {value}")
                )

    def test_a_senseless_max_connections_is_refused(self) -> None:
        for value in ("0", "-1", "65537", "1.0", '"1"', "true", "[]"):
            with self.subTest(value=value):
                self.assertIn(
                    "max_connections: expected a whole number from 1 to 65536, not ",
                    self.refusal(f"max_connections = {value}"),
                )

    def test_an_unknown_log_level_is_refused(self) -> None:
        for value in ('"INFO"', '"warning"', '""', "1", "[]", "{}"):
            with self.subTest(value=value):
                self.assertIn(
                    "log_level: expected one of debug, info, warn, error, critical, not ",
                    self.refusal(f"log_level = {value}"),
                )

    def test_a_socket_that_is_no_path_is_refused(self) -> None:
        for value in ('""', "1", "true", '["x"]', '"a\\u0000b"'):
            with self.subTest(value=value):
                self.assertIn("socket: expected a path, not ", self.refusal(f"socket = {value}"))

    def test_an_abstract_socket_is_refused_with_the_reason(self) -> None:
        self.assertIn("socket: @x: is the name of an abstract", self.refusal('socket = "@x"'))

    def test_a_value_of_many_lines_is_shown_in_one(self) -> None:
        self.assertIn(r"not 'a\nb\u2028'", self.refusal('timeout = """a\nb\u2028"""'))

    def test_arrays_nested_too_deep_are_refused(self) -> None:
        self.refusal("timeout = " + "[" * 5000 + "]" * 5000)

    def test_a_number_too_long_to_be_read_is_refused(self) -> None:
        self.refusal("timeout = " + "9" * 5000)

    def test_a_number_too_long_to_be_shown_is_refused(self) -> None:
        self.assertIn("timeout", self.refusal("timeout = 0x" + "f" * 5000))

    @settings(max_examples=150, deadline=None)
    @given(
        st.binary(max_size=60)
        | st.text(ENCODABLE, max_size=60).map(str.encode)
        | st.tuples(
            st.sampled_from(list(Config._fields[:-1])),
            st.text(ENCODABLE, max_size=20).map(repr)
            | st.integers().map(str)
            | st.floats().map(str),
        ).map(lambda pair: f"{pair[0]} = {pair[1]}\n".encode())
    )
    def test_any_content_gives_a_config_or_a_reason_in_one_line(self, content: bytes) -> None:
        try:
            loaded = self.load(content)
        except ConfigError as error:
            self.assertEqual(len(error.reason.splitlines()), 1, error.reason)
        else:
            self.assertIsInstance(loaded, Config)


class ModeTests(SynchronousTestCase):
    def test_every_mode_that_lets_the_owner_in_is_taken(self) -> None:
        for mode in 0o600, 0o620, 0o640, 0o660, 0o606, 0o666:
            with self.subTest(mode=oct(mode)):
                self.assertEqual(check_mode("mode", mode), mode)
                self.assertEqual(check_mode("mode", f"{mode:04o}"), mode)

    def test_every_other_mode_is_refused(self) -> None:
        for mode in (0, 0o400, 0o200, 0o066, 0o700, 0o610, 0o601, 0o1600, 0o4600, 600, -0o600):
            with self.subTest(mode=mode):
                self.assertRaises(ValueError, check_mode, "mode", mode)
                self.assertRaises(ValueError, check_mode, "mode", f"{mode:o}")

    def test_what_is_no_mode_is_refused(self) -> None:
        for value in ("", "rw", "0x180", "0888", "600.0", 384.0, True, None, [0o600], b"0600"):
            with self.subTest(value=value):
                error = self.assertRaises(ValueError, check_mode, "--mode", value)
                self.assertEqual(
                    str(error),
                    f'--mode: expected an octal string from "0600" to "0666", not {value!r}',
                )


class ArgumentTests(SynchronousTestCase):
    """The checks as an application meets them."""

    def test_a_bad_argument_is_told_in_the_configuration_s_words(self) -> None:
        error = self.assertRaises(ValueError, check_seconds, "timeout", -3)
        self.assertEqual(
            str(error), "timeout: expected a number of seconds from 0.1 to 86400, not -3"
        )
        error = self.assertRaises(ValueError, check_count, "max_connections", 0)
        self.assertEqual(
            str(error), "max_connections: expected a whole number from 1 to 65536, not 0"
        )

    def test_other_bounds_are_told_and_held(self) -> None:
        self.assertEqual(check_seconds("margin", 0, 0), 0.0)
        error = self.assertRaises(ValueError, check_seconds, "stall", 0, 0, 10, above=True)
        self.assertEqual(
            str(error), "stall: expected a number of seconds above 0, at most 10, not 0"
        )
        error = self.assertRaises(ValueError, check_count, "attempts", 11, 1, 10)
        self.assertIn("from 1 to 10, not 11", str(error))


class TablesTests(ConfigTestCase):
    """Tables that the daemon adds."""

    def check(self, name: str, value: object) -> object:
        if value == {"bad": 1}:
            raise ValueError(f"{name}.bad: expected nothing, not 1")
        return name, value

    def load_with(self, content: str) -> Config:
        with open(self.path, "w", encoding="utf-8") as file:
            file.write(content)
        return load_config(self.path, {"sessions": self.check})

    def test_a_table_is_what_its_check_returns(self) -> None:
        loaded = self.load_with("timeout = 1\n[sessions]\nquiet = 3\n")
        self.assertEqual(loaded.limits.timeout, 1)
        self.assertEqual(loaded.tables["sessions"], ("sessions", {"quiet": 3}))

    def test_a_table_that_is_missing_is_left_out(self) -> None:
        self.assertNotIn("sessions", self.load_with("timeout = 1").tables)

    def test_a_mistake_in_a_table_is_told_in_its_check_s_words(self) -> None:
        error = self.assertRaises(ConfigError, self.load_with, "[sessions]\nbad = 1")
        self.assertEqual(error.reason, "sessions.bad: expected nothing, not 1")

    def test_the_known_keys_name_the_tables(self) -> None:
        error = self.assertRaises(ConfigError, self.load_with, "x = 1")
        self.assertIn("log_level, [sessions])", error.reason)


class SocketInTests(ConfigTestCase):
    """All that a client reads of the file."""

    def socket(self, content: str | bytes) -> str | None:
        with open(self.path, "wb") as file:
            file.write(content if isinstance(content, bytes) else content.encode())
        return socket_in(self.path)

    def test_other_mistakes_are_ignored(self) -> None:
        for mistake in (
            'timeout = "soon"',
            "sokcet = 1",
            "timeout 5",
            "timeout = ",
            '"',
            "x = [" + "[" * 5000,
            b"\xff",
        ):
            content = mistake if isinstance(mistake, bytes) else mistake.encode()
            with self.subTest(mistake=content[:20]):
                self.assertEqual(self.socket(content + b'\nsocket = "/run/x"\n'), "/run/x")
                self.assertEqual(self.socket(b'socket = "/run/x"\n' + content), "/run/x")

    def test_a_file_that_is_not_toml_at_all_sets_nothing(self) -> None:
        for content in ("the socket is at /run/x", "socket = ", b"\xffsocket"):
            with self.subTest(content=content):
                self.assertIsNone(self.socket(content))

    def test_a_socket_of_another_table_is_not_ours(self) -> None:
        self.assertIsNone(self.socket('[other]\nsocket = "/run/x"\n'))
        self.assertIsNone(self.socket('oops\n[other]\nsocket = "/run/x"\n'))

    def test_a_file_that_cannot_be_read_sets_nothing(self) -> None:
        self.assertIsNone(socket_in(self.path))
        self.assertIsNone(socket_in(os.path.dirname(self.path)))

    def test_a_relative_socket_is_beside_the_file(self) -> None:
        self.assertEqual(
            self.socket('socket = "x.sock"'), os.path.join(os.path.dirname(self.path), "x.sock")
        )

    def test_a_socket_that_is_no_path_is_an_error(self) -> None:
        error = self.assertRaises(ConfigError, self.socket, "socket = 5")
        self.assertEqual(error.reason, "socket: expected a path, not 5")


class LimitTests(ConfigTestCase):
    """The contract's own figure."""

    def test_a_file_of_one_mebibyte_is_read_and_one_byte_more_is_not(self) -> None:
        self.assertEqual(self.load(b"#" * 1_048_576), Config())
        self.assertEqual(
            self.refusal(b"#" * 1_048_577), "is larger than 1048576 bytes; name another"
        )
