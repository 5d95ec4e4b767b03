from __future__ import annotations

import json
import os
import socket

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from palingenesis.monitor.transcript import (
    BEGINNING,
    FIRST_WINDOW,
    HEAD_WINDOW,
    LAST_LINES,
    LAST_RECORDS,
    LAST_WINDOW,
    PARSE_LIMIT,
    Growth,
    Record,
    Stamp,
    field,
    growth_of,
    mapping,
    number,
    opened,
    timestamp,
)


class FileTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = self.mktemp()

    def write(self, content: bytes) -> None:
        with open(self.path, "wb") as file:
            file.write(content)

    def last(self, limit: int = 10**9) -> list[Record]:
        with opened(self.path) as transcript:
            return [record for record, _ in zip(transcript.last(), range(limit), strict=False)]

    def first(self) -> list[Record]:
        with opened(self.path) as transcript:
            return list(transcript.first())


def line(n: int, size: int = 0) -> bytes:
    return json.dumps({"n": n, "filler": "x" * size}).encode() + b"\n"


class LastRecordsTests(FileTestCase):
    def numbers(self) -> list[object]:
        return [record.value and record.value["n"] for record in self.last()]

    def test_records_come_newest_first(self) -> None:
        self.write(line(1) + line(2) + line(3))
        self.assertEqual(self.numbers(), [3, 2, 1])

    def test_an_empty_file_has_none(self) -> None:
        self.write(b"")
        self.assertEqual(self.numbers(), [])

    def test_only_lines_that_are_wanted_are_parsed(self) -> None:
        self.write(line(1) + line(2) + line(3))
        with opened(self.path) as transcript:
            found = list(transcript.last(lambda each: b'"n": 2' in each))
        self.assertEqual([record.value and record.value["n"] for record in found], [2])

    def test_half_a_last_line_does_not_count(self) -> None:
        self.write(line(1) + line(2)[:-1])
        self.assertEqual(self.numbers(), [1])

    def test_a_file_of_half_a_line_has_none(self) -> None:
        self.write(line(1)[:-1])
        self.assertEqual(self.numbers(), [])

    def test_a_line_that_cannot_be_read_is_skipped(self) -> None:
        # A killed writer's half line, continued by the next: anthropics/claude-code#52387.
        self.write(line(1) + b'{"n": 5, "fil' + line(2) + b"\xff\n[1]\n\n" + line(3))
        self.assertEqual(self.numbers(), [3, 1])

    def test_what_nests_too_deeply_is_skipped(self) -> None:
        self.write(line(1) + b"[" * 100_000 + b"\n" + b'{"n":' * 50_000 + b"\n")
        self.assertEqual(self.numbers(), [1])

    def test_a_record_that_takes_long_to_parse_is_told_by_its_beginning(self) -> None:
        for filler in (b"[]," * 100_000, b"[" * 400 + b"]" * 400 + b",", b"1," * 400_000):
            hostile = b'{"n": 2, "filler": [' + filler * (300_000 // len(filler) + 1) + b"0]}\n"
            self.assertLess(len(hostile), PARSE_LIMIT)
            self.write(hostile * 3 + line(3))
            self.assertEqual(self.numbers()[0], 3)
            self.assertIn(None, self.numbers())
            self.assertTrue(self.last()[-1].beginning.startswith(b'{"n": 2'))

    def test_a_long_record_of_source_code_is_parsed(self) -> None:
        code = "    return {name: values[0] for name, values in found.items()}  # so far\n" * 10_000
        self.write(json.dumps({"n": 1, "filler": code}).encode() + b"\n")
        self.assertEqual(self.numbers(), [1])

    def test_records_behind_the_first_window_are_reached(self) -> None:
        self.write(line(1) + b"".join(line(2, FIRST_WINDOW // 3) for _ in range(20)))
        self.assertEqual(self.numbers(), [2] * 20 + [1])

    def test_a_record_longer_than_the_first_window_is_whole(self) -> None:
        self.write(line(1) + line(2, 3 * FIRST_WINDOW) + line(3))
        self.assertEqual(self.numbers(), [3, 2, 1])

    def test_a_huge_record_is_told_by_its_beginning(self) -> None:
        self.write(line(1) + line(2, PARSE_LIMIT) + line(3))
        records = self.last()
        self.assertEqual([r.value is None for r in records], [False, True, False])
        self.assertTrue(records[1].beginning.startswith(b'{"n": 2, '))

    def test_a_huge_record_without_its_newline_does_not_count(self) -> None:
        self.write(line(1) + line(2, 2 * FIRST_WINDOW)[:-1])
        self.assertEqual(self.numbers(), [1])

    def test_a_record_whose_beginning_is_out_of_reach_is_told_of(self) -> None:
        self.write(line(1) + line(2, LAST_WINDOW) + line(3))
        records = self.last()
        self.assertEqual([r.value and r.value["n"] for r in records], [3, None])
        self.assertEqual(records[1].beginning, b"")
        self.assertEqual(records[1].end, os.path.getsize(self.path) - len(line(3)))

    def test_an_end_of_nothing_but_one_line_has_no_records(self) -> None:
        self.write(b"x" * (LAST_WINDOW + FIRST_WINDOW))
        self.assertEqual(self.last(), [])

    def test_only_so_many_lines_are_looked_at(self) -> None:
        self.write(line(1) + b"\n" * (LAST_LINES + 1))
        self.assertEqual(self.last(), [])

    def test_only_so_many_records_are_read(self) -> None:
        self.write(line(1) * (LAST_RECORDS + 5))
        self.assertEqual(len(self.last()), LAST_RECORDS)

    def test_all_records_together_are_parsed_up_to_a_bound(self) -> None:
        self.write(b"".join(line(n, PARSE_LIMIT // 4) for n in range(8)))
        self.assertEqual(sum(record.value is not None for record in self.last()), 3)

    def test_what_is_appended_while_it_is_read_is_left_to_the_next_reading(self) -> None:
        self.write(line(1))
        with opened(self.path) as transcript, open(self.path, "ab") as file:
            file.write(line(2))
            file.flush()
            self.assertEqual([r.end for r in transcript.last()], [len(line(1))])

    def test_a_file_cut_short_while_it_is_read_ends_the_reading(self) -> None:
        self.write(line(1) * 10)
        with opened(self.path) as transcript:
            os.truncate(self.path, 5)
            self.assertEqual(list(transcript.last()), [])

    @settings(max_examples=200, deadline=None)
    @given(st.lists(st.binary(max_size=40) | st.just(b'{"a": 1}'), max_size=30))
    def test_any_lines_are_read_as_a_whole_file_would_be(self, written: list[bytes]) -> None:
        content = b"\n".join(written)
        self.write(content)
        expected = []
        for text in content.split(b"\n")[:-1]:
            try:
                value = json.loads(text)
            except ValueError:
                continue
            if isinstance(value, dict):
                expected.append(value)
        self.assertEqual([r.value for r in self.last()], expected[::-1])

    @settings(max_examples=50, deadline=None)
    @given(st.lists(st.integers(0, 3 * FIRST_WINDOW), max_size=8))
    def test_every_record_ends_where_its_line_does(self, sizes: list[int]) -> None:
        self.write(b"".join(line(n, size) for n, size in enumerate(sizes)))
        ends = [sum(len(line(n, s)) for n, s in enumerate(sizes[:k])) for k in range(len(sizes))]
        self.assertEqual(
            [r.end for r in self.last()],
            [*ends[1:], os.path.getsize(self.path)][::-1][: len(sizes)],
        )


class FirstRecordsTests(FileTestCase):
    def test_records_come_oldest_first(self) -> None:
        self.write(line(1) + b"nonsense\n" + line(2) + b"half")
        self.assertEqual([r.value and r.value["n"] for r in self.first()], [1, 2])

    def test_a_long_first_record_is_told_by_its_beginning(self) -> None:
        self.write(line(1, HEAD_WINDOW) + line(2))
        self.assertEqual([r.value for r in self.first()], [None])
        self.assertTrue(self.first()[0].beginning.startswith(b'{"n": 1, '))

    def test_only_the_beginning_of_the_file_is_read(self) -> None:
        self.write(b"\n" * 10 * HEAD_WINDOW)
        self.assertEqual(self.first(), [])

    def test_first_records_that_take_long_to_parse_are_told_by_their_beginnings(self) -> None:
        self.write((b'{"n": 1, "filler": [' + b"[]," * 30_000 + b"0]}\n") * 2)
        self.assertEqual([record.value is None for record in self.first()], [False, True])

    def test_each_record_has_its_end_and_its_beginning(self) -> None:
        short = line(1)
        costly = b'{"n": 2, "filler": [' + b"[]," * 70_000 + b"[]]}\n"
        self.write(b"nonsense\n" + short + costly + line(3))
        begin = len(b"nonsense\n" + short)
        self.assertEqual(
            self.first(),
            [
                Record(begin, {"n": 1, "filler": ""}),
                Record(begin + len(costly), None, costly[:BEGINNING]),
                Record(begin + len(costly) + len(line(3)), {"n": 3, "filler": ""}),
            ],
        )

    def test_what_begins_in_reach_and_ends_beyond_it_is_told_by_its_beginning(self) -> None:
        huge = line(2, HEAD_WINDOW)
        self.write(line(1) + huge)
        self.assertEqual(self.first()[1:], [Record(0, None, huge[:BEGINNING])])
        self.write(line(1) + line(2)[:-1])
        self.assertEqual(len(self.first()), 1)

    def test_what_is_appended_after_the_opening_is_not_read(self) -> None:
        self.write(line(1))
        with opened(self.path) as transcript:
            with open(self.path, "ab") as file:
                file.write(line(2))
            self.assertEqual(len(list(transcript.first())), 1)


class OpeningTests(SynchronousTestCase):
    def refused(self, path: str) -> None:
        with self.assertRaises(OSError), opened(path):
            pass

    def test_a_transcript_that_is_gone_is_not_opened(self) -> None:
        self.refused(self.mktemp())

    def test_a_fifo_is_not_waited_for(self) -> None:
        path = self.mktemp()
        os.mkfifo(path)
        self.refused(path)

    def test_a_link_is_not_followed(self) -> None:
        path = self.mktemp()
        os.symlink(__file__, path)
        self.refused(path)

    def test_links_in_a_circle(self) -> None:
        path = self.mktemp()
        os.symlink(os.path.basename(path), path)
        self.refused(path)

    def test_a_directory_is_not_opened_as_a_transcript(self) -> None:
        path = self.mktemp()
        os.mkdir(path)
        self.refused(path)

    def test_a_device_is_not_opened_as_a_transcript(self) -> None:
        self.refused("/dev/zero")

    def test_a_socket_is_not_opened_as_a_transcript(self) -> None:
        path = os.path.relpath(self.mktemp())
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            self.refused(path)

    def test_no_descriptor_is_left_open(self) -> None:
        before = len(os.listdir("/dev/fd"))
        for _ in range(3):
            self.refused("/dev/zero")
        self.assertEqual(len(os.listdir("/dev/fd")), before)


class ValueTests(SynchronousTestCase):
    def test_a_value_that_is_no_object_is_an_empty_one(self) -> None:
        self.assertEqual(mapping({"a": 1}), {"a": 1})
        for value in (None, "text", 5, [1], True):
            self.assertEqual(mapping(value), {})

    def test_a_growth_is_of_a_transcript_and_other_files_by_their_newest_time(self) -> None:
        stamp = Stamp(1, 2, 3, 5 * 10**9)
        for others, at in (([], 5.0), ([("b", 1, 7 * 10**9), ("a", 1, 1)], 7.0)):
            self.assertEqual(growth_of(stamp, others), Growth((stamp, *sorted(others)), at))
        self.assertEqual(growth_of(None), Growth((None,), 0.0))
        other = ("a", 1, 2 * 10**9)
        self.assertEqual(growth_of(None, [other]), Growth((None, other), 2.0))

    def test_a_field_of_a_record_that_is_not_parsed(self) -> None:
        beginning = b'{"type": "user","isMeta":true,"cwd":"/caf\\u00e9","message":{"content":"a'
        found = [field(beginning, name) for name in ("type", "isMeta", "cwd", "content", "uuid")]
        self.assertEqual(found, ["user", True, "/café", None, None])

    def test_a_key_inside_a_text_is_no_field(self) -> None:
        beginning = json.dumps({"text": '{"type":"assistant"}', "type": "user"}).encode()
        self.assertEqual(field(beginning, "type"), "user")

    def test_numbers_are_positive_and_finite(self) -> None:
        values = (1, 2.5, 0, -1, True, "3", None, float("nan"), float("inf"), 10**400, [])
        self.assertEqual([number(value) for value in values], [1.0, 2.5] + [None] * 9)

    def test_times_have_a_zone(self) -> None:
        self.assertEqual(timestamp("1970-01-01T00:01:00.500Z"), 60.5)
        for value in (
            "1970-01-01T00:01:00",
            "yesterday",
            "",
            60,
            None,
            "9" * 50,
            "0001-01-01T00:00+23:59",
        ):
            self.assertIn(timestamp(value), (None, -62135683140.0), value)
