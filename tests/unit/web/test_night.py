"""The picture of a night: well-formed, complete, and readable without its colours."""

from __future__ import annotations

import time
from xml.etree import ElementTree

from twisted.trial.unittest import SynchronousTestCase

from palingenesis.monitor.report import _MARKS
from palingenesis.web.night import MARKS, SEGMENTS, description, rows, svg
from palingenesis.words import Event, Kind
from tests.support.night import BEGIN, END, HOUR, entry, night_of, staged_night

SVG = "{http://www.w3.org/2000/svg}"


class PictureTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.night = night_of(staged_night())
        self.root = ElementTree.fromstring(svg(self.night))

    def titles(self) -> list[str]:
        return [each.text or "" for each in self.root.iter(f"{SVG}title")]

    def lanes(self) -> list[ElementTree.Element]:
        return [each for each in self.root.iter(f"{SVG}g") if each.get("tabindex") == "0"]

    def test_a_picture_has_a_title_a_description_and_a_lane_for_each_session(self) -> None:
        self.assertTrue(self.titles()[0].startswith("The night from "))
        described = self.root.findtext(f"{SVG}desc") or ""
        self.assertIn("A lane for each of the 5 sessions to which something happened.", described)
        self.assertEqual(len(self.lanes()), 5)

    def test_each_mark_that_the_facts_have_has_a_sign(self) -> None:
        self.assertEqual({each.value for each in _MARKS}, set(MARKS))

    def test_a_lane_says_all_that_it_shows(self) -> None:
        (label,) = (
            each.get("aria-label") or ""
            for each in self.lanes()
            if (each.get("aria-label") or "").startswith("claude app:")
        )
        for words in ("stopped, and waiting", "revival started", "revival worked", "working"):
            self.assertIn(words, label)

    def test_kinds_of_segments_differ_by_more_than_colour(self) -> None:
        # No colour is named at all.
        text = svg(self.night)
        self.assertEqual(
            {each.get("fill") for each in self.root.iter(f"{SVG}rect")},
            {"currentColor", "none", "url(#night-hatched)"},
        )
        self.assertNotIn("rgb", text)

    def test_no_mark_hides_another(self) -> None:
        (lane,) = (
            each
            for each in self.lanes()
            if (each.get("aria-label") or "").startswith("claude api:")
        )
        marks = [each for each in lane.iter(f"{SVG}text") if each.get("dx") is not None]
        self.assertEqual([each.text for each in marks], ["▸", "✗", "■"])
        self.assertEqual([each.get("dx") for each in marks], ["0", "12", "24"])

    def test_now_is_a_line_and_what_is_planned_an_outline_ahead_of_it(self) -> None:
        (now,) = (
            each
            for each in self.root.iter(f"{SVG}g")
            if (each.findtext(f"{SVG}title") or "").startswith("now, ")
        )
        line = now.find(f"{SVG}line")
        assert line is not None
        (planned,) = (
            each
            for each in self.root.iter(f"{SVG}svg")
            if (each.findtext(f"{SVG}path/{SVG}title") or "").startswith("planned")
        )
        at, ahead = (float((x or "").rstrip("%")) for x in (line.get("x1"), planned.get("x")))
        self.assertLess(at, ahead)
        self.assertLess(ahead, 100)

    def test_no_mark_is_where_the_line_of_now_is_drawn(self) -> None:
        late = entry("s", 8.99, Event.FAILED, attempt=1, exit=1)
        root = ElementTree.fromstring(svg(night_of([*staged_night(), late])))
        line = next(each for each in root.iter(f"{SVG}line") if each.get("stroke-dasharray"))
        drawn, free = map(int, (line.get("stroke-dasharray") or "").split())
        marks = [each for each in root.iter(f"{SVG}text") if each.get("dx") is not None]
        self.assertIn("✗", [each.text for each in marks])
        for mark in marks:
            # A letter stands on its y.
            bottom = int(mark.get("y") or 0) % (drawn + free)
            self.assertTrue(drawn + 9 < bottom < drawn + free, mark.text)

    def test_marks_at_either_end_are_not_cut_off(self) -> None:
        for hours, count, moved in ((0, 2, (6, 18)), (8.99, 4, (-40, -28, -16, -4))):
            known = {"attempt": 1, "exit": 1}
            entries = [entry("s", hours, Event.FAILED, **known) for _ in range(count)]
            root = ElementTree.fromstring(svg(night_of(entries)))
            shifts = [each.get("dx") for each in root.iter(f"{SVG}text") if each.get("dx")]
            self.assertEqual(shifts, [str(each) for each in moved])

    def test_each_kind_of_segment_has_a_look_of_its_own(self) -> None:
        looks: dict[str, set[tuple[str | None, ...]]] = {}
        for each in self.root.iter(f"{SVG}rect"):
            words = (each.findtext(f"{SVG}title") or "").partition(" until ")[0]
            looks.setdefault(words, set()).add((each.get("height"), each.get("fill")))
        self.assertEqual(set(looks), set(SEGMENTS.values()))
        self.assertEqual(len(set().union(*looks.values())), len(SEGMENTS))

    def test_the_legend_explains_what_is_shown_and_nothing_else(self) -> None:
        told = self.root.findtext(f"{SVG}desc") or ""
        for words in ("thin line: not known", "triangle: planned revival", "✗ revival failed"):
            self.assertIn(words, told)
        self.assertNotIn("goes on under another id", told)
        left = description(night_of([entry("s", 1, Event.LEFT)]), 0)
        now = time.strftime("%H:%M", time.gmtime(END))
        self.assertEqual(
            left,
            "A lane for the 1 session to which something happened. "
            f"The thick line is now, {now}. Thin line: not known; blank: over. "
            "Below, side by side if they are close: ◇ left by its user.",
        )

    def test_a_planned_revival_has_its_time_with_the_day_if_it_is_far(self) -> None:
        for hours, form in ((10, "%H:%M"), (60, "%a %H:%M"), (190, "%d %b %H:%M")):
            due = BEGIN + hours * HOUR
            stopped = entry("s", 8, Event.STOPPED, kind=Kind.LIMIT, due=due)
            root = ElementTree.fromstring(svg(night_of([stopped]), 0))
            when = time.strftime(form, time.gmtime(due))
            self.assertIn(when, [each.text for each in root.iter(f"{SVG}text")])
            self.assertIn(f"planned: revival at {when}", [e.text for e in root.iter(f"{SVG}title")])

    def test_what_goes_on_at_the_end_lasts_until_now(self) -> None:
        self.assertIn("stopped, and waiting until now", [words for _, _, words in rows(self.night)])

    def test_a_mark_has_its_attempt_and_its_whole_reason(self) -> None:
        needs = entry("s", 1, Event.NEEDS_YOU, reason="a new session, its context is full")
        told = [words for _, _, words in rows(night_of([needs]))]
        self.assertIn("needs you: a new session, its context is full", told)

    def test_everything_is_within_the_picture(self) -> None:
        for each in self.root.iter(f"{SVG}rect"):
            start, width = (float((each.get(name) or "").rstrip("%")) for name in ("x", "width"))
            self.assertTrue(start >= 0 and start + width <= 100.5, (start, width))

    def test_the_table_has_the_same_facts(self) -> None:
        told = list(rows(self.night))
        facts = sum(
            len(each["segments"]) + len(each["marks"]) + (each["planned"] is not None)
            for each in self.night["lanes"]
        )
        self.assertEqual(len(told), facts)
        self.assertIn("planned: revival", [words for _, _, words in told])

    def test_a_name_that_is_markup_is_text(self) -> None:
        self.assertIn("claude <b>&site", [each.text for each in self.root.iter(f"{SVG}text")])

    def test_a_name_with_controls_is_escaped(self) -> None:
        odd = entry("s", 1, Event.LEFT, directory="/home/a\x1b\x00\nb")
        root = ElementTree.fromstring(svg(night_of([odd])))
        self.assertIn("claude a\\x1b\\x00\\nb", [each.text for each in root.iter(f"{SVG}text")])

    def test_an_empty_night_is_a_picture_too(self) -> None:
        ElementTree.fromstring(svg(night_of([])))

    def test_the_scale_has_few_lines_however_long_the_night_is(self) -> None:
        for hours in (0.2, 1, 12, 24, 24 * 7, 24 * 400):
            night = night_of([], since=END - hours * HOUR)
            root = ElementTree.fromstring(svg(night))
            self.assertLessEqual(len(list(root.iter(f"{SVG}text"))), 7, hours)

    def test_the_last_moment_of_a_long_wait_stays_in_sight(self) -> None:
        far = entry("s", 1, Event.STOPPED, kind=Kind.LIMIT, due=BEGIN + 500 * HOUR)
        root = ElementTree.fromstring(svg(night_of([far])))
        self.assertTrue(list(root.iter(f"{SVG}rect")))
