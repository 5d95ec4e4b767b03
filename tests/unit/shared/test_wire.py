"""The contract on the wire, against everything that may be sent."""

from __future__ import annotations

import json
import pickle
from bisect import bisect_left

from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from palingenesis import wire
from palingenesis.text import NAME_LIMIT, printable
from palingenesis.wire import BadStatus, Command, DaemonStatus, Unfit
from palingenesis.words import DaemonWord

#: Every code point, lone surrogates among them, and the ones that have done harm more often.
TEXT = st.text(
    st.one_of(
        st.characters(),
        st.characters(categories=["Cs"]),
        st.sampled_from('\0\t\n\v\f\r\x1b\x7f\x85\x9b\u2028\u2029\u202e\u2066\ufeff\xad"\\é€😀'),
    )
)
COUNT = st.integers(0, wire.COUNT_LIMIT)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
OWN_KEYS = frozenset(DaemonStatus._fields[:-1])
EXTRA = st.dictionaries(TEXT.filter(lambda key: key not in OWN_KEYS), JSON, max_size=3)
STATES = st.sampled_from((DaemonWord.MONITORING, DaemonWord.PAUSED, "draining", 'a "b" \\c'))
STATUS = st.builds(DaemonStatus, STATES, COUNT, st.none() | TEXT, COUNT, COUNT)

some_examples = settings(max_examples=150, deadline=None)


def reply_to(line: bytes) -> bytes:
    """Answer a request line as the server does, but for what the daemon itself says."""
    return wire.render_unknown(line) if command_in(line) is None else wire.OK


def command_in(line: bytes) -> Command | None:
    """Return which command a request line is."""
    name, argument = wire.split_request(line)
    commands = {command.encode(): command for command in Command}
    return None if argument else commands.get(name)


def as_json_reads_it(text: str) -> str:
    """JSON has no lone halves of a pair beside each other: it reads them as the pair."""
    return json.loads(json.dumps(text))


def status_line(**fields: object) -> bytes:
    whole = {
        "state": "paused",
        "uptime_secs": 1,
        "current_session": None,
        "saves_count": 0,
        "total_resumes": 0,
    }
    return json.dumps(whole | fields).encode() + b"\n"


class CommandTests(SynchronousTestCase):
    def test_each_command_is_known_by_its_name(self) -> None:
        self.assertEqual(
            {command.name: command_in(command.name.encode()) for command in Command},
            {command.name: command for command in Command},
        )

    def test_the_commands_are_the_contract_s(self) -> None:
        self.assertEqual(
            [command.value for command in Command], ["STATUS", "PAUSE", "RESUME", "RELOAD", "HELP"]
        )

    @some_examples
    @given(
        st.sampled_from(Command),
        st.lists(st.booleans(), min_size=6, max_size=6),
        st.text(" \t\r\n\v\f", max_size=8),
        st.text(" \t\r\n\v\f", max_size=8),
    )
    def test_case_and_white_space_do_not_matter(
        self, command: Command, upper: list[bool], before: str, after: str
    ) -> None:
        name = "".join(
            letter.upper() if up else letter.lower()
            for letter, up in zip(command.name, upper, strict=False)
        )
        self.assertIs(command_in(f"{before}{name}{after}".encode()), command)

    def test_a_word_that_is_no_command_is_unknown(self) -> None:
        for line in (
            b"",
            b" ",
            b"STATU",
            b"STATUSS",
            b"STATUS now",
            b"STATUS STATUS",
            b"STA TUS",
            b"STATUS\0",
            b"\0STATUS",
            b"STATUS\xff",
            b"\xffSTATUS",
            b"STATUS\x1b[0m",
            b"STATUS\x1c",
            b"STATUS\nPAUSE",
            b"\xef\xbb\xbfSTATUS",
            "\u017ftatus".encode(),
            "STATUS\u2028".encode(),
            "STATUS\xa0".encode(),
            "\uff33\uff34\uff21\uff34\uff35\uff33".encode(),
            "STATUS".encode("utf-16"),
        ):
            with self.subTest(line=line):
                self.assertIsNone(command_in(line))

    def test_an_unknown_command_is_shown(self) -> None:
        self.assertEqual(reply_to(b" STATUS now\r\n"), b"ERR: Unknown command: STATUS now\n")

    def test_no_command_is_shown_as_nothing(self) -> None:
        self.assertEqual(reply_to(b" \r\n"), b"ERR: Unknown command: (nothing)\n")

    def test_what_drives_a_terminal_is_shown_escaped(self) -> None:
        self.assertEqual(
            reply_to(b"\x1b]0;x\x07\0\xff\x9b" + "\u202e\u2028é".encode()),
            "ERR: Unknown command: \\x1b]0;x\\x07\\x00\\xff\\x9b\\u202e\\u2028é\n".encode(),
        )

    def test_a_long_unknown_command_is_cut_short(self) -> None:
        self.assertEqual(
            reply_to(b"x" * wire.REQUEST_LIMIT),
            b"ERR: Unknown command: %s...\n" % (b"x" * (NAME_LIMIT - 3)),
        )

    @some_examples
    @given(
        st.one_of(
            st.binary(max_size=600),
            TEXT.map(lambda text: text.encode("utf-8", "surrogatepass")),
            st.builds(bytes.__mul__, st.binary(min_size=1, max_size=4), st.integers(1, 300)),
        )
    )
    @example(b"STATUS\nPAUSE\n")
    @example("😀".encode() * 128)
    @example("\u202e".encode() * 170)
    def test_any_bytes_at_all_give_one_short_printable_line(self, request: bytes) -> None:
        reply = reply_to(request)
        text = reply.decode("utf-8")
        self.assertEqual(reply[-1:], b"\n")
        self.assertTrue(text[:-1].isprintable(), text)
        self.assertTrue(reply == wire.OK or reply.startswith(b"ERR: "), reply)
        self.assertLessEqual(len(reply), 300)


class RequestTests(SynchronousTestCase):
    def test_a_command_is_a_line(self) -> None:
        self.assertEqual(wire.render_request("COUNT"), b"COUNT\n")

    def test_an_argument_follows_the_name(self) -> None:
        self.assertEqual(wire.render_request("FLUSH", "a b é"), "FLUSH a b é\n".encode())

    def test_bytes_that_are_no_text_are_sent_as_they_are(self) -> None:
        self.assertEqual(wire.render_request("FLUSH", "\udcff"), b"FLUSH \xff\n")

    def test_more_than_a_line_is_refused(self) -> None:
        self.assertRaises(ValueError, wire.render_request, "FLUSH", "a\nPAUSE")

    def test_a_line_of_512_bytes_is_the_longest(self) -> None:
        self.assertEqual(len(wire.render_request("F", "x" * 510)), 513)
        self.assertRaises(ValueError, wire.render_request, "F", "x" * 511)

    def test_the_argument_is_the_rest_of_the_line_stripped(self) -> None:
        self.assertEqual(wire.split_request(b"  flush\t a  b \r\n"), (b"FLUSH", b"a  b"))

    def test_an_empty_line_has_no_name(self) -> None:
        self.assertEqual(wire.split_request(b" \n"), (b"", b""))


class LimitTests(SynchronousTestCase):
    def test_the_limits_are_the_contract_s(self) -> None:
        self.assertEqual((wire.REQUEST_LIMIT, wire.REPLY_LIMIT), (512, 65_536))
        self.assertEqual(wire.ERROR_LIMIT, 400)


class ErrorTests(SynchronousTestCase):
    def test_a_message_is_sent_as_it_is(self) -> None:
        self.assertEqual(wire.render_error("no such file: /é"), "ERR: no such file: /é\n".encode())

    def test_a_message_of_many_lines_becomes_one(self) -> None:
        self.assertEqual(wire.render_error("a\r\nOK\n"), b"ERR: a\\r\\nOK\\n\n")

    def test_a_message_at_the_limit_is_whole(self) -> None:
        message = "x" * wire.ERROR_LIMIT
        self.assertEqual(wire.render_error(message), f"ERR: {message}\n".encode())

    def test_a_message_beyond_the_limit_says_that_it_goes_on(self) -> None:
        self.assertEqual(
            wire.render_error("x" * (wire.ERROR_LIMIT + 1)),
            f"ERR: {'x' * (wire.ERROR_LIMIT - 3)}...\n".encode(),
        )

    @some_examples
    @given(st.one_of(TEXT, TEXT.map(lambda text: text * 200)))
    def test_any_message_gives_one_bounded_printable_line(self, message: str) -> None:
        reply = wire.render_error(message)
        text = reply.decode("utf-8")
        self.assertTrue(text.startswith("ERR: ") and text.endswith("\n"), text)
        self.assertTrue(text[:-1].isprintable(), text)
        self.assertLessEqual(len(text), len("ERR: \n") + wire.ERROR_LIMIT)

    @some_examples
    @given(TEXT | st.binary(), st.integers(3, 40))
    def test_what_is_made_printable_keeps_its_limit(self, text: str | bytes, limit: int) -> None:
        shown = printable(text, limit)
        self.assertTrue(shown.isprintable(), shown)
        self.assertLessEqual(len(shown), limit)

    @some_examples
    @given(st.text(st.characters(categories=["L", "N", "P", "S"]), max_size=40))
    def test_what_is_printable_and_short_stays_as_it_is(self, text: str) -> None:
        self.assertEqual(printable(text, 40), text)
        self.assertEqual(printable(text.encode(), 40), text)

    def test_cutting_bytes_loses_nothing_that_would_be_shown(self) -> None:
        for character in "a", "é", "€", "😀":
            with self.subTest(character=character):
                self.assertEqual(printable(character.encode() * 60, 60), character * 60)


class StatusTests(SynchronousTestCase):
    def test_a_status_is_one_line_of_json_with_its_keys_in_order(self) -> None:
        self.assertEqual(
            wire.render_status(DaemonStatus(DaemonWord.MONITORING, 3725, "main", 12, 4)),
            b'{"state": "monitoring", "uptime_secs": 3725, "current_session": "main", '
            b'"saves_count": 12, "total_resumes": 4}\n',
        )

    def test_no_session_is_null(self) -> None:
        self.assertIn(b'"current_session": null', wire.render_status(DaemonStatus("paused", 0)))

    def test_extra_keys_follow_the_contract_s_own(self) -> None:
        line = wire.render_status(DaemonStatus("paused", 1, extra={"pid": 7, "a": [None, 1.5]}))
        self.assertEqual(
            list(json.loads(line).items())[4:],
            [("total_resumes", 0), ("pid", 7), ("a", [None, 1.5])],
        )

    def test_the_state_is_a_plain_string(self) -> None:
        self.assertEqual(DaemonStatus("paused", 1).state, DaemonWord.PAUSED)

    def test_a_status_survives_pickling(self) -> None:
        status = DaemonStatus("paused", 1, "é", 2, 3, {"x": 1})
        self.assertEqual(pickle.loads(pickle.dumps(status)), status)

    def test_a_status_is_immutable(self) -> None:
        with self.assertRaises(AttributeError):
            DaemonStatus("paused", 1).uptime_secs = 2  # type: ignore[misc]

    @some_examples
    @given(STATUS, EXTRA)
    @example(DaemonStatus("paused", 0, "\ud800"), {})
    @example(DaemonStatus("paused", 0, "\x1b[2J\u2028\u202e\x9b"), {"\u2029": "\x7f"})
    def test_every_reader_of_json_reads_what_was_meant(
        self, status: DaemonStatus, extra: dict[str, object]
    ) -> None:
        fields = status._asdict() | {"state": status.state}
        del fields["extra"]
        meant = json.loads(json.dumps(fields | extra))
        line = wire.render_status(DaemonStatus(*status[:-1], extra))
        self.assertEqual(json.loads(line), meant)
        self.assertEqual(list(json.loads(line))[:5], list(DaemonStatus._fields[:-1]))

    @some_examples
    @given(STATUS, EXTRA)
    def test_a_rendered_status_is_one_printable_line(
        self, status: DaemonStatus, extra: dict[str, object]
    ) -> None:
        text = wire.render_status(DaemonStatus(*status[:-1], extra)).decode("utf-8")
        self.assertTrue(text.endswith("}\n"), text)
        self.assertTrue(text[:-1].isprintable(), text)

    @some_examples
    @given(STATUS, EXTRA)
    def test_what_is_rendered_is_parsed_again(
        self, status: DaemonStatus, extra: dict[str, object]
    ) -> None:
        session = status.current_session
        expected = DaemonStatus(
            status.state,
            status.uptime_secs,
            None if session is None else as_json_reads_it(session),
            status.saves_count,
            status.total_resumes,
            json.loads(json.dumps(extra)),
        )
        line = wire.render_status(DaemonStatus(*status[:-1], extra))
        self.assertEqual(wire.parse_status(line), expected)

    def test_a_value_of_the_wrong_kind_is_refused_by_name(self) -> None:
        for fields, name in (
            ({"state": ""}, "state"),
            ({"state": "x" * 61}, "state"),
            ({"state": "a\x1b[m"}, "state"),
            ({"state": None}, "state"),
            ({"state": []}, "state"),
            ({"uptime_secs": -1}, "uptime_secs"),
            ({"uptime_secs": 1.0}, "uptime_secs"),
            ({"uptime_secs": True}, "uptime_secs"),
            ({"uptime_secs": "1"}, "uptime_secs"),
            ({"uptime_secs": float("nan")}, "uptime_secs"),
            ({"saves_count": False}, "saves_count"),
            ({"saves_count": -1}, "saves_count"),
            ({"total_resumes": [0]}, "total_resumes"),
            ({"total_resumes": 1e3}, "total_resumes"),
            ({"current_session": 1}, "current_session"),
            ({"current_session": b"main"}, "current_session"),
            ({"current_session": False}, "current_session"),
        ):
            with self.subTest(fields=fields):
                error = self.assertRaises(
                    BadStatus, DaemonStatus, **({"state": "paused", "uptime_secs": 1} | fields)
                )
                self.assertIn(name, error.reason)

    def test_extra_keys_never_replace_the_contract_s_own(self) -> None:
        for name in OWN_KEYS:
            with self.subTest(name=name):
                self.assertRaises(BadStatus, DaemonStatus, "paused", 1, extra={name: 1})

    def test_a_status_changed_by_replacement_is_checked_as_well(self) -> None:
        status = DaemonStatus("paused", 1)
        for fields in ({"extra": {"state": "monitoring"}}, {"uptime_secs": "1}\n{"}):
            with self.subTest(fields=fields):
                self.assertRaises(
                    BadStatus, lambda fields=fields: wire.render_status(status._replace(**fields))
                )

    def test_an_extra_key_that_only_reads_like_ours_never_replaces_it(self) -> None:
        class Alias:
            def __str__(self) -> str:
                return "state"

        self.assertRaises(
            BadStatus, lambda: wire.render_status(DaemonStatus("paused", 1, extra={Alias(): 1}))
        )

    def test_extra_values_that_are_not_fit_for_json_are_refused(self) -> None:
        circular: list[object] = []
        circular.append(circular)
        deep: list[object] = []
        for _ in range(100_000):
            deep = [deep]
        for value in (object(), b"x", {1, 2}, float("nan"), float("inf"), circular, deep, 1j):
            status = DaemonStatus("paused", 1, extra={"x": value})
            with self.subTest(value=type(value)):
                self.assertRaises(Unfit, wire.render_status, status)
        # Not all at once: so deep a nest may be too much for the interpreter's own clean-up.
        while deep:
            deep = deep[0]  # type: ignore[assignment]

    def test_keys_that_are_no_strings_are_refused_at_any_depth(self) -> None:
        for value in ({1: "x"}, {"a": [{None: 1}]}, ({True: 1},)):
            with self.subTest(value=value):
                error = self.assertRaises(Unfit, wire.render_value, value)
                self.assertIn("no string", error.reason)

    def test_an_uptime_of_none_is_filled_in(self) -> None:
        self.assertIn(b'"uptime_secs": 7,', wire.render_status(DaemonStatus("paused"), 7))

    def test_a_number_too_long_to_be_written_is_refused(self) -> None:
        for name in "uptime_secs", "saves_count", "total_resumes":
            for value in 10**5000, -(10**5000):
                with self.subTest(name=name, negative=value < 0):
                    fields = {"state": "paused", "uptime_secs": 1, name: value}
                    self.assertRaises(
                        BadStatus,
                        lambda fields=fields: wire.render_status(DaemonStatus(**fields)),
                    )

    def test_the_largest_count_is_rendered(self) -> None:
        status = DaemonStatus("paused", wire.COUNT_LIMIT, None, wire.COUNT_LIMIT, wire.COUNT_LIMIT)
        self.assertEqual(wire.parse_status(wire.render_status(status)), status)

    def test_a_count_above_the_largest_is_refused(self) -> None:
        for name in "uptime_secs", "saves_count", "total_resumes":
            with self.subTest(name=name):
                fields = {"state": "paused", "uptime_secs": 1, name: wire.COUNT_LIMIT + 1}
                self.assertRaises(BadStatus, DaemonStatus, **fields)

    def test_a_line_at_the_limit_is_rendered(self) -> None:
        size = len(wire.render_status(DaemonStatus("paused", 1, "")))
        line = wire.render_status(DaemonStatus("paused", 1, "x" * (wire.REPLY_LIMIT - size)))
        self.assertEqual(len(line), wire.REPLY_LIMIT)

    def test_a_line_beyond_the_limit_is_refused(self) -> None:
        size = len(wire.render_status(DaemonStatus("paused", 1, "")))
        status = DaemonStatus("paused", 1, "x" * (wire.REPLY_LIMIT - size + 1))
        error = self.assertRaises(Unfit, wire.render_status, status)
        self.assertIn(str(wire.REPLY_LIMIT + 1), error.reason)


class ParseStatusTests(SynchronousTestCase):
    def test_keys_unknown_to_us_are_kept(self) -> None:
        status = wire.parse_status(status_line(load=0.5, pid=7))
        self.assertEqual(status, DaemonStatus("paused", 1, extra={"load": 0.5, "pid": 7}))

    def test_the_order_of_the_keys_does_not_matter(self) -> None:
        fields = json.loads(status_line())
        line = json.dumps(dict(reversed(fields.items()))).encode()
        self.assertEqual(wire.parse_status(line), DaemonStatus("paused", 1))

    def test_of_a_key_given_twice_the_last_counts(self) -> None:
        line = status_line().replace(b"{", b'{"uptime_secs": "x", ', 1)
        self.assertEqual(wire.parse_status(line), DaemonStatus("paused", 1))

    def test_each_key_must_be_there(self) -> None:
        for name in OWN_KEYS:
            fields = json.loads(status_line())
            del fields[name]
            with self.subTest(name=name):
                error = self.assertRaises(BadStatus, wire.parse_status, json.dumps(fields).encode())
                self.assertEqual(error.reason, f"no {name}")

    def test_values_of_the_wrong_kind_are_refused(self) -> None:
        for fields in (
            {"state": "a\nb"},
            {"uptime_secs": None},
            {"state": {}},
            {"uptime_secs": True},
            {"uptime_secs": float("nan")},
            {"uptime_secs": float("inf")},
            {"uptime_secs": 1e300},
            {"saves_count": "1"},
            {"saves_count": -1},
            {"total_resumes": None},
            {"current_session": ["main"]},
        ):
            with self.subTest(fields=fields):
                self.assertRaises(BadStatus, wire.parse_status, status_line(**fields))

    def test_what_is_no_json_object_is_refused(self) -> None:
        for line in (
            b"",
            b"\n",
            b"OK\n",
            b"ERR: no\n",
            b"[]\n",
            b"null\n",
            b'"state"\n',
            b"1\n",
            b"{\n",
            b"\xff\n",
            status_line() + status_line(),
            status_line(x="x").replace(b'"x"}', b'"\x80"}'),
            b"9" * 10_000,
            b"[" * 60_000,
        ):
            with self.subTest(line=line[:20]):
                self.assertRaises(BadStatus, wire.parse_status, line)

    def test_nesting_at_the_edge_of_what_can_be_read_is_read_or_refused(self) -> None:
        def parse(name: str, opening: bytes, closing: bytes, depth: int) -> DaemonStatus | None:
            value = opening * depth + b"1" + closing * depth
            try:
                return wire.parse_status(status_line(**{name: "HERE"}).replace(b'"HERE"', value))
            except BadStatus:
                return None

        for opening, closing in (b"[", b"]"), (b'{"a":', b"}"):
            deepest = bisect_left(
                range(60_000),
                True,
                key=lambda depth: parse("x", opening, closing, depth) is None,
            )
            for name in "state", "uptime_secs", "current_session":
                for depth in range(deepest - 20, deepest + 20):
                    # Showing what is wrong may take one level more than reading it did.
                    self.assertIsNone(parse(name, opening, closing, depth))

    @some_examples
    @given(
        st.one_of(
            st.binary(max_size=300),
            JSON.map(lambda value: json.dumps(value).encode()),
            st.dictionaries(st.sampled_from(sorted(OWN_KEYS)) | TEXT, JSON | STATES).map(
                lambda fields: status_line(**fields)
            ),
            st.tuples(st.integers(0, 200), st.binary(max_size=3)).map(
                lambda cut: status_line()[: cut[0]] + cut[1] + status_line()[cut[0] + 1 :]
            ),
        )
    )
    def test_any_bytes_at_all_give_a_status_or_a_refusal(self, line: bytes) -> None:
        try:
            status = wire.parse_status(line)
        except BadStatus:
            return
        self.assertEqual(wire.parse_status(wire.render_status(status)), status)
