"""From the text of a stop to the time when its session may go on; nothing here does I/O."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from palingenesis.words import REVIVABLE, Kind

#: Characters of a text in which a reset is looked for.
TEXT_LIMIT = 4096

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_EPOCH = re.compile(r"limit reached\|([0-9]{13}|[0-9]{10})(?![0-9])", re.IGNORECASE)
_RESET = re.compile(
    r"(?:\bresets?(?:\s+at)?|\btry\s+again\s+at)\s+"
    r"(?:(?P<month>[a-z]{3})[a-z]{0,6}\.?\s+(?P<day>[0-9]{1,2})(?:st|nd|rd|th)?"
    r"(?:,?\s+(?P<year>[0-9]{4})(?![0-9:]))?(?:\s*,|\s+at)?\s+)?"
    r"(?P<hour>[0-9]{1,2})(?::(?P<minute>[0-9]{2}))?\s*(?P<half>[ap])\.?m\b\.?"
    r"(?:\s*\((?P<zone>[^()]{1,64})\))?",
    re.IGNORECASE | re.ASCII,
)


def reset_in(text: str, at: float | None, local: tzinfo | None = None) -> float | None:
    """
    Return when a limit ends, by what an agent says of it.

    :param text: such as ``You've hit your limit · resets 8pm (Asia/Tokyo)``.
    :param at: the timestamp of the record, in seconds since the epoch; if None, only an epoch
        time counts.
    :param local: the zone of a time that names none; the machine's own if None.
    :return: seconds since the epoch; None if no time is stated, or none that exists.
    """
    text = text[:TEXT_LIMIT]
    if found := _EPOCH.search(text):
        digits = found[1]
        return stated(int(digits) / (1000 if len(digits) == 13 else 1), at)
    if at is None or (found := _RESET.search(text)) is None:
        return None
    try:
        zone = _zone(found["zone"].strip()) if found["zone"] else local
        return next((time for time in _times(found, at, zone) if time >= at - at % 60), None)
    except (ValueError, OverflowError, OSError):
        # No such hour, day or zone, or a time out of the machine's range.
        return None


def stated(reset: float | None, at: float | None) -> float | None:
    """Return a reset that a record states as a number; None if it was over when written."""
    if reset is None or (at is not None and reset < at - at % 60):
        return None
    return reset


def due(
    kind: Kind,
    reset: float | None,
    since: float,
    session: str,
    attempts: int = 0,
    *,
    margin: float = 90.0,
    stagger: float = 60.0,
    retry: Sequence[float] = (300.0, 900.0, 1800.0, 3600.0),
) -> float | None:
    """
    Return when a session may be revived, in seconds since the epoch; None if never.

    :param reset: when the limit ends, in seconds since the epoch; None if that is not stated.
    :param since: the time of the stop or, after a failed attempt, of that attempt's end.
    :param session: the session's id.
    :param attempts: how many attempts have failed since the stop.
    :param margin: seconds added to a stated reset.
    :param stagger: the most seconds that are added for the session's id.
    :param retry: seconds to wait, attempt by attempt; the last one repeats.
    """
    if kind not in REVIVABLE:
        return None
    if reset is None:
        return since + retry[min(attempts, len(retry) - 1)]
    after = reset + margin + stagger * share(session)
    if attempts:
        after = max(after, since + retry[min(attempts - 1, len(retry) - 1)])
    return after


def share(session: str) -> float:
    """Hash a session's id to a number from 0 to 1, the same one on every machine."""
    digest = hashlib.sha256(session.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _zone(name: str) -> tzinfo:
    """
    Return the zone of a name.

    :raises ValueError: if there is none, or no zone data on the machine.
    """
    try:
        return ZoneInfo(name)
    except (KeyError, OSError) as error:
        raise ValueError(name) from error


def _times(found: re.Match[str], at: float, zone: tzinfo | None) -> Iterator[float]:
    """Yield the times that a text may mean, in order, in seconds since the epoch."""
    hour, minute = int(found["hour"]), int(found["minute"] or 0)
    if not 1 <= hour <= 12 or minute > 59:
        raise ValueError(hour, minute)
    hour = hour % 12 + (12 if found["half"].lower() == "p" else 0)
    for year, month, day in _days(found, at, zone):
        try:
            first = datetime(year, month, day, hour, minute)
        except ValueError:
            continue  # no 29 February in this year
        time = _epoch(first, zone)
        yield time
        # If the clock is set back, the time comes a second time; if it is set forward, the
        # other fold is no such time (PEP 495).
        if (again := _epoch(first.replace(fold=1), zone)) > time:
            yield again


def _days(found: re.Match[str], at: float, zone: tzinfo | None) -> Iterator[tuple[int, int, int]]:
    here = datetime.fromtimestamp(at, UTC).astimezone(zone).date()
    if found["month"] is None:
        for ahead in range(3):
            day = here + timedelta(days=ahead)
            yield day.year, day.month, day.day
        return
    month, day_of_month = _MONTHS.index(found["month"].lower()) + 1, int(found["day"])
    if found["year"] is not None:
        yield int(found["year"]), month, day_of_month
        return
    for year in range(here.year, here.year + 9):  # 29 February: eight years around 2100
        yield year, month, day_of_month


def _epoch(moment: datetime, zone: tzinfo | None) -> float:
    return (moment if zone is None else moment.replace(tzinfo=zone)).timestamp()
