"""From the text of a stop to the time when its limit ends; nothing here does I/O."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

#: Characters of a text in which a reset is looked for.
TEXT_LIMIT = 4096

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_EPOCH = re.compile(r"limit reached\|([0-9]{13}|[0-9]{10})(?![0-9])", re.IGNORECASE)
_RESET = re.compile(
    r"(?:\bresets?(?:\s+(?:at|on))?|\btry\s+again\s+(?:at|on))\s+"
    r"(?:(?P<weekday>mon|tue|wed|thu|fri|sat|sun)[a-z]{0,6}\.?(?:,|\s+at)?\s+)?"
    r"(?:(?P<month>[a-z]{3})[a-z]{0,6}\.?\s+(?P<day>[0-9]{1,2})(?:st|nd|rd|th)?"
    r"(?:,?\s+(?P<year>[0-9]{4})(?![0-9:]))?(?:\s*,|\s+at)?\s+)?"
    r"(?P<hour>[0-9]{1,2})(?::(?P<minute>[0-9]{2}))?\s*(?P<half>[ap])\.?m\b\.?"
    r"(?:\s*\((?P<zone>[^()]{1,64})\))?",
    re.IGNORECASE | re.ASCII,
)
_SPAN = re.compile(
    r"\b(?:resets?|try\s+again|retry)[\s-]+(?:in|after):?\s+(?:about\s+|approximately\s+)?"
    r"((?:[0-9]{1,9}(?:\.[0-9]{1,9})?\s*"
    r"(?:milliseconds?|ms|seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|h|days?|d|weeks?|w)"
    r"(?![a-z])[\s,]*(?:and\s+)?)+)",
    re.IGNORECASE | re.ASCII,
)
_PART = re.compile(r"([0-9.]+)\s*([a-z]+)")
#: Seconds of a unit, by its first letter; a millisecond's is its own.
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_BLANKS = str.maketrans("\u00a0\u202f", "  ")

#: Names of zones that Node.js still gives, with their names of today: the old ones are not in
#: every system's zone data (tc39/proposal-temporal#1076).
_RENAMED = {
    "Africa/Asmera": "Africa/Nairobi",
    "America/Buenos_Aires": "America/Argentina/Buenos_Aires",
    "America/Catamarca": "America/Argentina/Catamarca",
    "America/Coral_Harbour": "America/Panama",
    "America/Cordoba": "America/Argentina/Cordoba",
    "America/Godthab": "America/Nuuk",
    "America/Indianapolis": "America/Indiana/Indianapolis",
    "America/Jujuy": "America/Argentina/Jujuy",
    "America/Louisville": "America/Kentucky/Louisville",
    "America/Mendoza": "America/Argentina/Mendoza",
    "America/Montreal": "America/Toronto",
    "America/Santa_Isabel": "America/Tijuana",
    "Asia/Calcutta": "Asia/Kolkata",
    "Asia/Katmandu": "Asia/Kathmandu",
    "Asia/Rangoon": "Asia/Yangon",
    "Asia/Saigon": "Asia/Ho_Chi_Minh",
    "Atlantic/Faeroe": "Atlantic/Faroe",
    "Europe/Kiev": "Europe/Kyiv",
    "Europe/Uzhgorod": "Europe/Kyiv",
    "Europe/Zaporozhye": "Europe/Kyiv",
    "Pacific/Enderbury": "Pacific/Kanton",
    "Pacific/Ponape": "Pacific/Guadalcanal",
    "Pacific/Truk": "Pacific/Port_Moresby",
    "US/Alaska": "America/Anchorage",
    "US/Arizona": "America/Phoenix",
    "US/Central": "America/Chicago",
    "US/Eastern": "America/New_York",
    "US/Hawaii": "Pacific/Honolulu",
    "US/Mountain": "America/Denver",
    "US/Pacific": "America/Los_Angeles",
}

#: Seconds before its record within which a stated time is over, and not one of the next day.
JUST_PAST = 3600.0


def reset_in(text: str, at: float | None, local: tzinfo | None = None) -> float | None:
    """
    Return when a limit ends, by what an agent says of it.

    :param text: such as ``You've hit your limit · resets 8pm (Asia/Tokyo)``.
    :param at: the timestamp of the record, in seconds since the epoch; if None, only an epoch
        time counts.
    :param local: the zone of a time that names none; the machine's own if None.
    :returns: seconds since the epoch; None if no time is stated, or none that exists, or one that
        is just past: then nobody knows when the limit ends.
    """
    text = text[:TEXT_LIMIT].translate(_BLANKS)
    if found := _EPOCH.search(text):
        digits = found[1]
        return stated(int(digits) / (1000 if len(digits) == 13 else 1), at)
    if at is None:
        return None
    if (found := _RESET.search(text)) is None:
        span = _SPAN.search(text)
        return None if span is None else at + _seconds(span[1])
    try:
        zone = _zone(found["zone"].strip()) if found["zone"] else local
        return _next(_times(found, at, zone), at)
    except (ValueError, OverflowError, OSError):
        # No such hour, day or zone, or a time out of the machine's range.
        return None


def stated(reset: float | None, at: float | None) -> float | None:
    """Return a reset that a record states as a number; None if it was over when written."""
    if reset is None or (at is not None and reset < at - at % 60):
        return None
    return reset


def _zone(name: str) -> tzinfo:
    """
    Return the zone of a name.

    :raises ValueError: if there is none, or no zone data on the machine.
    """
    try:
        return ZoneInfo(_RENAMED.get(name, name))
    except (KeyError, OSError) as error:
        raise ValueError(name) from error


def _seconds(span: str) -> float:
    """Return the seconds in a text such as ``4 days 20 hours``."""
    total = 0.0
    for amount, unit in _PART.findall(span.lower()):
        milli = unit.startswith(("ms", "milli"))
        total += float(amount) * (0.001 if milli else _UNITS[unit[0]])
    return total


def _next(times: Iterator[float], at: float) -> float | None:
    """Return the first time from the record's minute on; None if one is just past."""
    past = None
    for time in times:
        if time >= at - at % 60:
            # A time that the clock repeats comes an hour later.
            return time if past is None or time - past <= JUST_PAST else None
        if time >= at - JUST_PAST:
            past = time
    return None


def _times(found: re.Match[str], at: float, zone: tzinfo | None) -> Iterator[float]:
    """Yield the times that a text may mean, in order, in seconds since the epoch."""
    hour, minute = int(found["hour"]), int(found["minute"] or 0)
    if not 1 <= hour <= 12:
        raise ValueError(hour)
    hour = hour % 12 + (12 if found["half"].lower() == "p" else 0)
    for year, month, day in _days(found, at, zone):
        try:
            first = datetime(year, month, day, hour, minute)
        except ValueError:
            continue  # no such minute, or no 29 February in this year
        time = _epoch(first, zone)
        yield time
        # If the clock is set back, the time comes a second time; if it is set forward, the
        # other fold is no such time (PEP 495).
        if (again := _epoch(first.replace(fold=1), zone)) > time:
            yield again


def _days(found: re.Match[str], at: float, zone: tzinfo | None) -> Iterator[tuple[int, int, int]]:
    here = datetime.fromtimestamp(at, UTC).astimezone(zone).date()
    if found["month"] is None:
        weekday = found["weekday"]
        for ahead in range(-1, 9):
            day = here + timedelta(days=ahead)
            if weekday is None or _WEEKDAYS.index(weekday.lower()) == day.weekday():
                yield day.year, day.month, day.day
        return
    month, day_of_month = _MONTHS.index(found["month"].lower()) + 1, int(found["day"])
    if found["year"] is not None:
        yield int(found["year"]), month, day_of_month
        return
    for year in range(here.year - 1, here.year + 9):  # 29 February: eight years around 2100
        yield year, month, day_of_month


def _epoch(moment: datetime, zone: tzinfo | None) -> float:
    return moment.replace(tzinfo=zone).timestamp()
