"""Metrics, as Prometheus' own parser reads them."""

from __future__ import annotations

from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from palingenesis.config import Limits
from palingenesis.web.metrics import MEDIA_TYPE
from tests.support.web import DoorTestCase


class ExpositionTests(DoorTestCase):
    def families(self) -> dict[str, Any]:
        reply = self.ask(path="/metrics")
        self.assertEqual(reply.headers["content-type"].encode(), MEDIA_TYPE)
        return {
            family.name: family for family in text_string_to_metric_families(reply.body.decode())
        }

    def values(self, name: str) -> dict[tuple[str, ...], float]:
        return {
            tuple(sample.labels.values()): sample.value
            for family in self.families().values()
            for sample in family.samples
            if sample.name == name
        }

    def test_the_socket_s_own(self) -> None:
        families = self.families()
        self.assertEqual(
            {name: family.type for name, family in families.items()},
            {
                "palingenesis_build_info": "gauge",
                "palingenesis_start_time_seconds": "gauge",
                "palingenesis_paused": "gauge",
                "palingenesis_connections": "gauge",
                "palingenesis_commands": "counter",
                "palingenesis_command_seconds": "summary",
                "palingenesis_rejected": "counter",
            },
        )
        self.assertTrue(all(family.documentation for family in families.values()))

    def test_commands_are_counted_by_their_outcome(self) -> None:
        self.families()
        self.control.command("FAIL", self.flush, "fail")
        for line in (b"STATUS\n", b"status\n", b"PAUSE\n", b"FAIL\n", b"NOTHING\n"):
            self.control.factory.call(line)
        self.flushLoggedErrors()
        self.assertEqual(
            self.values("palingenesis_commands_total"),
            {("STATUS", "ok"): 2, ("PAUSE", "ok"): 1, ("FAIL", "failed"): 1},
        )
        self.assertEqual(self.values("palingenesis_command_seconds_count")[("STATUS",)], 2)
        self.assertEqual(self.values("palingenesis_paused"), {(): 1})

    def flush(self) -> None:
        raise RuntimeError("no")

    def test_rejections_are_counted(self) -> None:
        self.families()
        self.control.configure(Limits(max_connections=1))
        self.control.factory.others = 1
        self.control.factory.call(b"STATUS\n")
        self.assertEqual(self.values("palingenesis_rejected_total"), {("limit",): 1})

    def test_an_application_s_own(self) -> None:
        self.control.metric("jobs_waiting", "gauge", "jobs that wait", lambda: 3)
        self.control.metric(
            "jobs_total",
            "counter",
            'a \\ and "quotes"',
            lambda: [({"queue": 'ma"il\\\n'}, 1), ({"queue": "fax"}, 2.5)],
        )
        self.control.metric("job_seconds", "summary", "seconds", lambda: (1.5, 2))
        self.assertEqual(self.values("jobs_waiting"), {(): 3})
        self.assertEqual(self.values("jobs_total"), {('ma"il\\\n',): 1, ("fax",): 2.5})
        self.assertEqual(self.values("job_seconds_sum"), {(): 1.5})
        self.assertEqual(self.values("job_seconds_count"), {(): 2})

    def test_numbers_of_every_size(self) -> None:
        numbers = [0, -1.5, 1e300, 2**60, float("inf"), float("-inf"), True, 1e-9]
        self.control.metric(
            "sizes", "gauge", "sizes", lambda: [({"n": str(n)}, v) for n, v in enumerate(numbers)]
        )
        self.assertEqual(list(self.values("sizes").values()), [float(n) for n in numbers])

    def test_a_metric_that_cannot_be_read_is_left_out_and_logged_once(self) -> None:
        readings: list[Any] = []
        self.control.metric("bad", "gauge", "fails", lambda: readings.pop())
        self.control.metric("good", "gauge", "works", lambda: 1)
        for reading in ("x", [({"a b": "c"}, 1)], [({"a": "1"}, 1), ({"a": "1"}, 2)], [(1, 2)]):
            readings.append(reading)
            families = self.families()
            self.assertNotIn("bad", families)
            self.assertIn("good", families)
        self.assertEqual(len(self.flushLoggedErrors()), 1)
        readings.append(5)
        self.assertEqual(self.values("bad"), {(): 5})

    def test_text_that_is_not_unicode_spoils_nothing(self) -> None:
        self.control.metric("files", "gauge", "files", lambda: [({"name": "\udcff"}, 1)])
        self.assertEqual(self.values("files"), {("\\udcff",): 1})

    def test_what_is_no_metric_is_told_when_it_is_given(self) -> None:
        self.control.metric("taken", "gauge", "g", lambda: 1)
        for name, kind, meaning, read in (
            ("9", "gauge", "g", lambda: 1),
            ("a b", "gauge", "g", lambda: 1),
            ("palingenesis_x", "gauge", "g", lambda: 1),
            ("taken", "gauge", "g", lambda: 1),
            ("jobs", "counter", "g", lambda: 1),
            ("jobs", "histogram", "g", lambda: 1),
            ("jobs", "gauge", "", lambda: 1),
            ("jobs", "gauge", "a\nb", lambda: 1),
            ("jobs", "gauge", "g", 1),
        ):
            self.assertRaises(ValueError, self.control.metric, name, kind, meaning, read)
