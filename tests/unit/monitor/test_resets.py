from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from palingenesis.monitor import resets
from palingenesis.monitor.resets import reset_in
from tests.support.texts import ENCODABLE

BERLIN = ZoneInfo("Europe/Berlin")


def without_old_names(name: str) -> ZoneInfo:
    """Return a zone as on a system whose zone data have only the names of today."""
    if name in resets._RENAMED:
        raise ZoneInfoNotFoundError(name)
    return ZoneInfo(name)


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


class ResetTests(SynchronousTestCase):
    def means(self, text: str, written: str, expected: str | float | None) -> None:
        found = reset_in(text, at(written), BERLIN)
        self.assertEqual(found, at(expected) if isinstance(expected, str) else expected)

    def test_seconds_after_a_bar(self) -> None:
        # anthropics/claude-code#11429
        self.means("Claude AI usage limit reached|1762952400", "2025-11-11T16:40:06Z", 1762952400.0)

    def test_milliseconds_after_a_bar(self) -> None:
        self.means("usage limit reached|1762952400500", "2025-11-11T16:40:06Z", 1762952400.5)

    def test_another_number_of_digits_is_nonsense(self) -> None:
        for digits in ("176295240", "17629524001", "1" * 400, "١٧٦٢٩٥٢٤٠٠"):
            self.means(f"usage limit reached|{digits}", "2025-11-11T16:40:06Z", None)

    def test_a_time_in_a_named_zone(self) -> None:
        self.means(
            "You've hit your session limit · resets 2:40pm (America/Chicago)",
            "2026-09-19T16:59:19Z",
            1789846800.0,
        )

    def test_a_full_hour_later_on_the_same_day(self) -> None:
        self.means(
            "You've hit your limit · resets 8pm (Asia/Tokyo)",
            "2026-04-15T00:43:47Z",
            "2026-04-15T11:00Z",
        )

    def test_a_local_time_on_the_next_day(self) -> None:
        self.means("5-hour limit reached ∙ resets 3am", "2026-01-10T21:00Z", "2026-01-11T02:00Z")

    def test_a_date_without_a_year(self) -> None:
        self.means(
            "Weekly limit reached · resets Dec 2, 7pm (Europe/Moscow)",
            "2025-11-29T10:00Z",
            "2025-12-02T16:00Z",
        )

    def test_a_date_without_a_year_may_be_in_the_next_one(self) -> None:
        self.means("resets Jan 2 at 7pm (UTC)", "2025-12-30T10:00Z", "2026-01-02T19:00Z")

    def test_every_month_has_its_name(self) -> None:
        names = "Jan, Feb, March, Apr, May, June, July, Aug, Sept, Oct, Nov, December"
        for month, name in enumerate(names.split(", "), 1):
            expected = f"2026-{month:02}-02T19Z"
            self.means(f"resets {name} 2, 7pm (UTC)", "2026-01-01T10:00Z", expected)

    def test_a_leap_day_waits_for_its_year(self) -> None:
        self.means("resets Feb 29, 7pm (UTC)", "2026-01-01T10:00Z", "2028-02-29T19:00Z")

    def test_a_date_with_a_year(self) -> None:
        self.means(
            "You've hit your usage limit. To get more access now, … or try again at "
            "Sep 20th, 2026 12:11 PM.",
            "2026-09-17T13:45Z",
            "2026-09-20T10:11Z",
        )

    def test_a_date_of_the_past_is_no_reset(self) -> None:
        self.means("try again at Sep 10th, 2026 12:11 PM.", "2026-09-17T13:45Z", None)

    def test_the_minute_of_the_record_is_not_the_next_day(self) -> None:
        for second in (0, 15, 59):
            written = f"2026-09-21T05:36:{second:02}Z"
            self.means("… try again at 7:36 AM.", written, "2026-09-21T05:36Z")

    def test_noon_and_midnight_are_times(self) -> None:
        self.means("resets 12pm (UTC)", "2026-09-21T05:00Z", "2026-09-21T12:00Z")
        self.means("resets 12am (UTC)", "2026-09-21T05:00Z", "2026-09-22T00:00Z")

    def test_an_older_wording_is_read(self) -> None:
        # anthropics/claude-code#10188
        self.means(
            "Claude usage limit reached. Your limit will reset at 10am (America/Lima).",
            "2025-10-23T12:01:44Z",
            "2025-10-23T15:00Z",
        )

    def test_a_time_that_spring_leaves_out_is_moved_on(self) -> None:
        self.means("resets 2:30am (America/New_York)", "2026-03-08T05:00Z", "2026-03-08T07:30Z")

    def test_a_time_that_autumn_repeats_is_the_first(self) -> None:
        self.means("resets 1:30am (America/New_York)", "2026-11-01T04:00Z", "2026-11-01T05:30Z")

    def test_a_time_that_autumn_repeats_is_the_second_after_the_first(self) -> None:
        self.means("resets 1:30am (America/New_York)", "2026-11-01T05:45Z", "2026-11-01T06:30Z")

    def test_a_time_that_is_just_past_is_not_tomorrow_s(self) -> None:
        for text, written in (
            ("You've hit your session limit · resets 2:40pm (America/Chicago)", "19:41:00"),
            ("You've hit your session limit · resets 2:40pm (America/Chicago)", "20:40:00"),
            ("You've hit your weekly limit · resets Sep 19 at 7pm (UTC)", "19:30:00"),
            ("try again at Sep 19th, 2026 7:00 PM (UTC)", "19:30:00"),
            ("Limit reached · resets Sat 7:00pm (UTC)", "19:30:00"),
        ):
            self.means(text, f"2026-09-19T{written}Z", None)

    def test_a_time_before_midnight_is_just_past_after_it(self) -> None:
        self.means("resets 11:50pm (UTC)", "2026-09-19T00:10:00Z", None)
        self.means("resets Dec 31, 11:50pm (UTC)", "2027-01-01T00:10:00Z", None)

    def test_a_time_more_than_an_hour_ago_is_tomorrow_s(self) -> None:
        self.means("resets 3am (UTC)", "2026-09-19T04:00:01Z", "2026-09-20T03:00Z")

    def test_a_day_of_the_week(self) -> None:
        for text, expected in (
            ("Opus weekly limit reached ∙ resets Mon 12:00am", "2026-09-20T22:00Z"),
            ("Weekly limit reached · resets Monday at 12am", "2026-09-20T22:00Z"),
            ("resets Sat, 7pm (UTC)", "2026-09-19T19:00Z"),
            ("resets Sat 3pm (UTC)", "2026-09-26T15:00Z"),
            ("resets on Sun, Sep 27, 3pm (UTC)", "2026-09-27T15:00Z"),
        ):
            self.means(text, "2026-09-19T16:59:19Z", expected)

    def test_every_day_of_the_week_has_its_name(self) -> None:
        for day, name in enumerate(("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"), 21):
            self.means(f"resets {name} 7pm (UTC)", "2026-09-21T10:00Z", f"2026-09-{day}T19Z")

    def test_a_span_counts_from_the_record(self) -> None:
        for text, seconds in (
            # openai/codex#3257, #3899, #3124
            ("You've hit your usage limit. Try again in 4 days 20 hours 9 minutes.", 418_140),
            ("Upgrade to Pro (https://openai.com/…) or try again in 5 days 22 hours.", 511_200),
            ("or try again in 1 day 1 hour 1 minute.", 90_060),
            ("Rate limit reached for mock. Please try again in 1.5s.", 1.5),
            ("Please try again in 6m0s.", 360),
            ("Please try again in 20ms.", 0.02),
            ("Please try again in 2 hours.", 7_200),  # github/copilot-cli#2336
            ("retry after 840 seconds", 840),  # microsoft/vscode#325598
            ("Retry-After: 12 seconds", 12),
            ("limit reached, resets in 2h 13m", 7_980),
            ("try again in about 1 hour and 5 min", 3_900),
            ("TRY AGAIN IN 2 WEEKS", 1_209_600),
        ):
            found = reset_in(text, 1000.0)
            assert found is not None, text
            self.assertAlmostEqual(found, 1000.0 + seconds, msg=text)

    def test_a_span_without_a_unit_or_an_anchor_is_none(self) -> None:
        for text in ("try again in a moment", "try again in 5", "try again in 5 parsecs"):
            self.assertIsNone(reset_in(text, 1000.0), text)
        self.assertIsNone(reset_in("try again in 5 minutes", None))

    def test_blanks_that_do_not_break_are_blanks(self) -> None:
        self.means("resets\u00a03:00\u202fpm (UTC)", "2026-09-19T12:00Z", "2026-09-19T15:00Z")

    def test_zones_by_their_old_names(self) -> None:
        self.patch(resets, "ZoneInfo", without_old_names)
        for name, expected in (
            ("Asia/Calcutta", "2026-09-19T14:30Z"),
            ("Asia/Saigon", "2026-09-19T13:00Z"),
            ("Asia/Katmandu", "2026-09-19T14:15Z"),
            ("Europe/Kiev", "2026-09-19T17:00Z"),
            ("America/Buenos_Aires", "2026-09-19T23:00Z"),
        ):
            self.means(f"resets 8pm ({name})", "2026-09-19T12:00Z", expected)

    def test_every_old_name_means_a_zone(self) -> None:
        for name, today in resets._RENAMED.items():
            self.assertIn("/", name)
            self.assertEqual(ZoneInfo(today).key, today, name)

    def test_nonsense_is_no_time(self) -> None:
        for text in (
            "resets 45:99",
            "resets 13pm",
            "resets 0am",
            "resets 3:60pm",
            "resets Foo 3, 3pm",
            "resets Feb 30, 2027 3pm",
            "resets Dec 0, 3pm",
            "resets 3pm (Moon/Crater)",
            "resets 3pm (../../etc/passwd)",
            "resets 3pm (/etc/localtime)",
            "resets 3pm (Europe)",
            "resets \uff13pm",
            "presets 3pm",
            "resets Jan 1, 9999 3pm (Etc/GMT+12)" * 200,
            "",
        ):
            found = reset_in(text, at("2026-09-21T05:00Z"), BERLIN)
            self.assertTrue(found is None or found > at("9990-01-01T00:00Z"), text)

    def test_a_text_without_a_record_s_time_has_no_anchor(self) -> None:
        self.assertIsNone(reset_in("resets 3pm (UTC)", None))

    def test_an_epoch_needs_no_anchor(self) -> None:
        self.assertEqual(reset_in("limit reached|1762952400", None), 1762952400.0)

    def test_an_epoch_before_the_record_is_not_believed(self) -> None:
        self.means("Claude AI usage limit reached|1762952400", "2025-11-13T00:00Z", None)

    def test_an_epoch_in_the_minute_of_the_record_is_believed(self) -> None:
        for second in (0, 59):
            written = f"2025-11-12T13:00:{second:02}Z"
            self.means("limit reached|1762952400", written, "2025-11-12T13:00Z")
            self.means("limit reached|1762952399", written, None)

    def test_the_machine_s_own_zone_is_taken_where_none_is_given(self) -> None:
        written = at("2026-06-10T21:00Z")
        found = reset_in("resets 3am", written)
        assert found is not None
        self.assertEqual(datetime.fromtimestamp(found).hour, 3)
        self.assertLess(found - written, 86400 + 3600)

    @given(st.text(ENCODABLE), st.floats(-1e18, 1e18))
    def test_any_text_at_any_time_gives_a_time_or_none(self, text: str, written: float) -> None:
        found = reset_in("resets " + text, written, BERLIN)
        self.assertTrue(found is None or found >= written - 60)

    @given(
        st.sampled_from(["America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "UTC"]),
        st.integers(1_700_000_000, 1_900_000_000),
        st.integers(1, 12),
        st.integers(0, 59),
        st.sampled_from(["am", "pm"]),
    )
    def test_a_time_of_day_is_at_most_a_day_ahead(
        self, zone: str, written: int, hour: int, minute: int, half: str
    ) -> None:
        text = f"resets {hour}:{minute:02}{half} ({zone})"
        found = reset_in(text, float(written))
        if found is None:  # it is just past: an hour before, it is ahead
            before = reset_in(text, float(written - 3600))
            assert before is not None
            self.assertLessEqual(before, written)
        else:
            self.assertLessEqual(written - 60, found)
            self.assertLessEqual(found, written + 86400 + 3600)

    def test_utc_is_known(self) -> None:
        now = at("2026-09-21T05:00Z")
        self.assertEqual(reset_in("resets 3pm (UTC)", now), now + 10 * 3600)
        self.assertEqual(datetime.fromtimestamp(now, UTC).hour, 5)
