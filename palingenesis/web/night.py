"""
The picture of a night: the facts of `palingenesis.monitor.report` in, SVG out.

It is drawn in the current colour, so it is readable in light, in dark and without colours. All
that it shows in the width is in percent, so its texts keep their size on a narrow screen.
"""

from __future__ import annotations

import time
from functools import partial
from html import escape

from palingenesis.text import MESSAGE_LIMIT, NAME_LIMIT, clock, printable
from palingenesis.words import Event, Key, Kind, State

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Any

#: What each kind of segment is called.
SEGMENTS = {
    State.WORKING: "working",
    State.WAITING: "stopped, and waiting",
    State.STOPPED: "stopped",
    State.REVIVING: "being revived",
    Kind.UNKNOWN: "not known",
}
#: The sign of each event, and what it is called.
MARKS = {
    Event.STARTED: ("▸", "revival started"),
    Event.WORKED: ("✓", "revival worked"),
    Event.FAILED: ("✗", "revival failed"),
    Event.NEEDS_YOU: ("!", "needs you"),
    Event.GAVE_UP: ("■", "given up"),
    Event.LEFT: ("◇", "left by its user"),
    Event.KILLED: ("†", "ended by the daemon"),
    Event.ENDED: ("•", "revival ended"),
    Event.CONTINUED: ("→", "goes on under another id"),
}
#: Seconds that the picture looks ahead at most.
AHEAD = 6 * 3600.0
#: The room to its right, as a share of its time: if nothing is planned, and for a planned time.
MARGIN, PLANNED = 0.04, 0.15
#: Pixels: a lane's label, its bar, the marks below it, and the scale at the bottom.
_LABEL, _BAR, _MARKS, _SCALE = 18, 16, 18, 22
_LANE = _LABEL + _BAR + _MARKS
#: The width of a mark in pixels, and how close two may be, in percent, on a narrow screen.
_MARK, _CLOSE = 12, 4.5
#: Half the width of a time in the scale, in percent, on a narrow screen.
_TIME = 6.0
#: Seconds between two lines of the scale, and the most lines.
_STEPS = (300, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400)
_LINES = 6
#: How each kind of segment looks: in words, and in SVG.
_LOOKS = {
    State.WORKING: ("solid", 'fill="currentColor" fill-opacity="0.75"'),
    State.WAITING: ("hatched", 'fill="url(#night-hatched)" stroke="currentColor"'),
    State.STOPPED: ("outlined", 'fill="none" stroke="currentColor" stroke-width="2"'),
    State.REVIVING: ("half as high", 'fill="currentColor"'),
    Kind.UNKNOWN: ("thin line", 'fill="currentColor" fill-opacity="0.5"'),
}
_PATTERNS = (
    '<defs><pattern id="night-hatched" width="6" height="6" patternUnits="userSpaceOnUse" '
    'patternTransform="rotate(45)"><line x1="0" y1="0" x2="0" y2="6" stroke="currentColor" '
    'stroke-width="2"/></pattern></defs>'
)


def svg(night: Mapping[str, Any], offset: int | None = None) -> str:
    """
    Return the picture of a night, as an SVG element for a page or a file of its own.

    :param night: what `palingenesis.monitor.report.facts` returns.
    :param offset: the zone of its times, in seconds east of UTC; the local zone if None.
    """
    told = partial(_told, night["now"], offset)
    lanes = night["lanes"]
    span = _Span(night)
    height = len(lanes) * _LANE + _SCALE
    until = clock(night["now"], night["now"], offset)
    title = f"The night from {told(night[Key.SINCE])} to {until}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="100%" height="{height}" role="group" '
        'aria-labelledby="night-title night-desc" font-family="sans-serif" font-size="12">',
        f'<title id="night-title">{escape(title)}</title>',
        f'<desc id="night-desc">{escape(description(night, offset))}</desc>',
        _PATTERNS,
        *_scale(span, height, offset),
    ]
    for number, lane in enumerate(lanes):
        parts += _lane(lane, span, number * _LANE, told)
    now = span.place(night["now"])
    # Its gaps are where the marks are.
    parts.append(
        f"<g><title>now, {until}</title>"
        f'<line x1="{now}" x2="{now}" y1="0" y2="{height - _SCALE}" stroke="currentColor" '
        f'stroke-width="2" stroke-dasharray="{_LABEL + _BAR} {_MARKS}"/>'
        f'<text x="{now}" y="{height - 6}" text-anchor="middle" font-weight="bold" '
        'fill="currentColor">now</text></g></svg>'
    )
    return "\n".join(parts)


def rows(
    night: Mapping[str, Any], told: Callable[[float], str] | None = None
) -> Iterator[tuple[str, str, str]]:
    """
    Yield the facts of the picture as the rows of a table: session, time, and what happened.

    :param told: returns a time in words; that in the local zone if None.
    """
    told = told or partial(_told, night["now"], None)
    for lane in night["lanes"]:
        facts = [(each["from"], _segment(each, told)) for each in lane["segments"]]
        facts += [(each[Key.AT], _mark(each)) for each in lane["marks"]]
        facts.sort(key=lambda fact: fact[0])
        for at, words in facts:
            yield name_of(lane), told(at), words
        if lane["planned"] is not None:
            yield name_of(lane), told(lane["planned"]), "planned: revival"


def _told(now: float, offset: int | None, at: float) -> str:
    return "now" if at == now else clock(at, now, offset)


def name_of(lane: Mapping[str, Any]) -> str:
    """Return how a lane's session is called: by its agent and the end of its directory."""
    directory = lane.get(Key.DIRECTORY)
    where = directory.rstrip("/").rpartition("/")[2] if isinstance(directory, str) else ""
    return printable(f"{lane[Key.AGENT]} {where or lane[Key.SESSION][:8]}", NAME_LIMIT)


class _Span:
    """The time that the picture shows, as its width."""

    def __init__(self, night: Mapping[str, Any]) -> None:
        now = night["now"]
        planned = [lane["planned"] for lane in night["lanes"] if lane["planned"] is not None]
        self.start: float = night[Key.SINCE]
        self.now: float = now
        #: What is planned later is shown here.
        self.last: float = min(max([now, *planned]), now + AHEAD)
        margin = PLANNED if planned else MARGIN
        self.end: float = self.last + max(self.last - self.start, 1.0) * margin

    def percent(self, at: float) -> float:
        """Return the place of a time, from 0 to 100."""
        share = (at - self.start) / (self.end - self.start)
        return round(100 * min(max(share, 0.0), 1.0), 2)

    def place(self, at: float) -> str:
        """Return the place of a time, as SVG wants it."""
        return f"{self.percent(at):g}%"


def _lane(
    lane: Mapping[str, Any], span: _Span, top: int, told: Callable[[float], str]
) -> Iterator[str]:
    facts = "; ".join(f"{at} {words}" for _, at, words in rows({"lanes": [lane]}, told))
    label = f"{name_of(lane)}: {facts or 'nothing'}"
    directory = lane.get(Key.DIRECTORY)
    full = f"{lane[Key.AGENT]} {directory or ''} {lane[Key.SESSION]}"
    yield f'<g role="img" tabindex="0" aria-label="{escape(printable(label, 4000))}">'
    yield (
        f'<text x="0" y="{top + 13}" fill="currentColor">{escape(name_of(lane))}'
        f"<title>{escape(printable(full, MESSAGE_LIMIT))}</title></text>"
    )
    bar = f'y="{top + _LABEL}" height="{_BAR}"'
    places = {
        Kind.UNKNOWN: f'y="{top + _LABEL + _BAR // 2}" height="1"',
        State.REVIVING: f'y="{top + _LABEL + _BAR // 2}" height="{_BAR // 2}"',
    }
    for each in lane["segments"]:
        start, end = span.percent(each["from"]), span.percent(each["to"])
        yield (
            f'<rect x="{start:g}%" width="{max(end - start, 0.2):g}%" '
            f"{places.get(each['what'], bar)} "
            f"{_LOOKS[each['what']][1]}><title>{escape(_segment(each, told))}</title></rect>"
        )
    if lane["planned"] is not None:
        at, when = span.place(min(lane["planned"], span.last)), told(lane["planned"])
        # One with its day needs more room.
        place = f'x="{at}"' if len(when) == len("00:00") else 'x="100%" text-anchor="end"'
        yield (
            f'<svg x="{at}" width="{_MARK}" {bar}><path d="M1 2v12l9-6z" fill="none" '
            f'stroke="currentColor" stroke-width="2"><title>planned: revival at {when}</title>'
            "</path></svg>"
            f'<text {place} y="{top + _LABEL + _BAR + 13}" fill="currentColor">{when}</text>'
        )
    for each, shift in _side_by_side(lane["marks"], span):
        yield (
            f'<text x="{span.place(each[Key.AT])}" dx="{shift}" y="{top + _LABEL + _BAR + 13}" '
            f'text-anchor="middle" fill="currentColor">{MARKS[each[Key.EVENT]][0]}'
            f"<title>{escape(_at(each, told))}</title></text>"
        )
    yield "</g>"


def _side_by_side(
    marks: Iterable[Mapping[str, Any]], span: _Span
) -> Iterator[tuple[Mapping[str, Any], int]]:
    """Yield each mark, and by how many pixels it is moved, so that none is hidden."""
    groups: list[list[Mapping[str, Any]]] = []
    for each in marks:
        close = groups and span.percent(each[Key.AT]) - span.percent(groups[-1][0][Key.AT]) < _CLOSE
        if close:
            groups[-1].append(each)
        else:
            groups.append([each])
    for group in groups:
        start = span.percent(group[0][Key.AT])
        first = _MARK // 2 if start < _CLOSE / 2 else 0
        # What lies ahead of now has not happened.
        if start + len(group) * _CLOSE > span.percent(span.now):
            first = -_MARK * (len(group) - 1) - _MARK // 3
        for number, each in enumerate(group):
            yield each, first + number * _MARK


def _scale(span: _Span, height: int, offset: int | None) -> Iterator[str]:
    whole = span.end - span.start
    step = next((each for each in _STEPS if whole / each <= _LINES), None)
    if step is None:
        step = int(whole / _LINES / 86_400 + 1) * 86_400
    if offset is None:
        offset = time.localtime(span.start).tm_gmtoff
    form = "%H:%M" if step < 86_400 else "%d %b"
    at = (int(span.start + offset) // step + 1) * step - offset
    while at < span.end:
        x = span.place(at)
        yield (
            f'<line x1="{x}" x2="{x}" y1="0" y2="{height - _SCALE}" stroke="currentColor" '
            'stroke-opacity="0.2"/>'
        )
        near = abs(span.percent(at) - span.percent(span.now)) < 2 * _TIME
        if not near and _TIME < span.percent(at) < 100 - _TIME:
            yield (
                f'<text x="{x}" y="{height - 6}" text-anchor="middle" fill="currentColor">'
                f"{time.strftime(form, time.gmtime(at + offset))}</text>"
            )
        at += step


def description(night: Mapping[str, Any], offset: int | None = None) -> str:
    """Return what the picture shows, and what those of its signs mean that are in it."""
    lanes, now = night["lanes"], night["now"]
    whats = {each["what"] for lane in lanes for each in lane["segments"]}
    looks = [f"{look}: {SEGMENTS[what]}" for what, (look, _) in _LOOKS.items() if what in whats]
    if any(lane["planned"] is not None for lane in lanes):
        looks.append("triangle: planned revival")
    if any(not lane["segments"] or lane["segments"][-1]["to"] < now for lane in lanes):
        looks.append("blank: over")
    events = {each[Key.EVENT] for lane in lanes for each in lane["marks"]}
    signs = [f"{sign} {words}" for event, (sign, words) in MARKS.items() if event in events]
    which = "the 1 session" if len(lanes) == 1 else f"each of the {len(lanes)} sessions"
    told = [
        f"A lane for {which} to which something happened.",
        f"The thick line is now, {clock(now, now, offset)}.",
    ]
    if looks:
        told.append(f"{'; '.join(looks).capitalize()}.")
    if signs:
        told.append(f"Below, side by side if they are close: {'; '.join(signs)}.")
    return " ".join(told)


def _segment(segment: Mapping[str, Any], told: Callable[[float], str]) -> str:
    return f"{SEGMENTS[segment['what']]} until {told(segment['to'])}"


def _mark(mark: Mapping[str, Any]) -> str:
    # The rest has the attempt and the reason.
    return MARKS[mark[Key.EVENT]][1] + str(mark["words"]).removeprefix(mark[Key.EVENT])


def _at(mark: Mapping[str, Any], told: Callable[[float], str]) -> str:
    return f"{told(mark[Key.AT])} {_mark(mark)}"
