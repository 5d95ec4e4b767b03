"""The metrics of the monitor, beside those that every control socket has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Never

from palingenesis.monitor.ledger import Entry
from palingenesis.monitor.service import Monitor
from palingenesis.server.metrics import MetricKind, Metrics
from palingenesis.words import Event, Key, Kind

#: What is counted of a revival.
_OUTCOMES = (Event.STARTED, Event.WORKED, Event.FAILED, Event.GAVE_UP)


def add_monitor_metrics(metrics: Metrics, monitor: Monitor) -> None:
    """Add the monitor's metrics; what happens to sessions is counted from now on."""
    stops: Counter[tuple[str, str]] = Counter()
    revivals: Counter[tuple[str, str]] = Counter()
    seconds: dict[str, float] = {}

    def count(entry: Entry) -> None:
        if entry.agent is None:
            return
        if entry.event is Event.STOPPED:
            stops[entry.agent, entry.kind or Kind.UNKNOWN] += 1
        elif entry.event in _OUTCOMES:
            revivals[entry.agent, entry.event] += 1
        if entry.event is Event.WORKED and entry.seconds is not None:
            seconds[entry.agent] = seconds.get(entry.agent, 0.0) + entry.seconds

    monitor.observe(count)

    def revived() -> list[tuple[dict[str, str], float]]:
        return [({Key.AGENT: agent}, total) for agent, total in seconds.items()]

    def next_revival() -> float | list[Never]:
        return [] if monitor.next_revival is None else monitor.next_revival

    gauge, counter, summary = MetricKind.GAUGE, MetricKind.COUNTER, MetricKind.SUMMARY
    add = metrics.add
    add(
        "palingenesis_sessions",
        gauge,
        "sessions that grew lately",
        lambda: _pairs(monitor.sessions_by_agent, Key.STATE),
    )
    add("palingenesis_stops_total", counter, "stops of sessions", lambda: _pairs(stops, Key.KIND))
    add("palingenesis_revivals_total", counter, "revivals", lambda: _pairs(revivals, Key.OUTCOME))
    add(
        "palingenesis_revived_seconds_total",
        counter,
        "seconds that revived sessions worked",
        revived,
    )
    add(
        "palingenesis_next_revival_timestamp_seconds",
        gauge,
        "when the next session goes on, seconds since 1970",
        next_revival,
    )
    add(
        "palingenesis_scan_seconds",
        summary,
        "seconds that scans took",
        lambda: (monitor.scan_seconds, monitor.scans),
    )
    add(
        "palingenesis_ledger_ok",
        gauge,
        "whether the ledger can be read and written",
        lambda: monitor.ledger_warning is None,
    )


def _pairs(counts: Mapping[tuple[str, str], int], label: str) -> list[tuple[dict[str, str], int]]:
    return [({Key.AGENT: agent, label: each}, count) for (agent, each), count in counts.items()]
