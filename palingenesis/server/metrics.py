"""
The registry of metrics: their names, and the functions that read their values.

It knows neither a format nor a transport. Nothing is read or counted before somebody asks for
the registry.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import StrEnum
from numbers import Real
from typing import NamedTuple, TypeAlias

from palingenesis import __version__
from palingenesis.server.log import get_logger
from palingenesis.server.protocol import ControlFactory
from palingenesis.words import DaemonWord, Key

#: How the names of our own metrics begin; an application's own must not.
PREFIX = "palingenesis_"

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*")

_log = get_logger(__name__)

#: A number; of a summary, the sum and the count of what was observed.
Value: TypeAlias = float | tuple[float, int]
#: One value of a metric, with its labels.
Sample: TypeAlias = tuple[Mapping[str, str], Value]
#: What a metric's reader returns: one value, or pairs of labels and a value.
Reading: TypeAlias = Value | Iterable[Sample]


class MetricKind(StrEnum):
    """The types of metrics, as Prometheus names them."""

    COUNTER = "counter"
    GAUGE = "gauge"
    SUMMARY = "summary"


class Metric(NamedTuple):
    """
    A metric.

    :ivar name: its name, prefix included.
    :ivar kind: its type.
    :ivar help: what it measures, with its unit.
    :ivar read: returns its value or its values.
    """

    name: str
    kind: MetricKind
    help: str
    read: Callable[[], Reading]


class Metrics:
    """The metrics of one daemon, in the order in which they were added."""

    def __init__(self) -> None:
        self._metrics: dict[str, Metric] = {}
        self._failed: set[str] = set()

    def add(self, name: str, kind: str, help: str, read: Callable[[], Reading]) -> None:  # noqa: A002
        """
        Add a metric.

        :param name: matches ``[a-zA-Z_:][a-zA-Z0-9_:]*``; of a counter, ends in ``_total``.
        :param kind: one of `MetricKind`.
        :param help: what is measured, with its unit, in one line.
        :param read: called at each reading. It returns a number; or an iterable of labels and
            numbers: ``[({"queue": "mail"}, 3)]``. For a summary, a pair of the sum and the count
            stands for a number.
        :raises ValueError: if the name is malformed or taken, the kind is unknown, the help is
            empty or more than a line, or ``read`` cannot be called.
        """
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ValueError(f"metric name {name!r}: expected {_NAME.pattern}")
        if kind not in list(MetricKind):
            raise ValueError(
                f"kind of {name}: expected one of {', '.join(MetricKind)}, not {kind!r}"
            )
        if kind == MetricKind.COUNTER and not name.endswith("_total"):
            raise ValueError(f"metric name {name}: a counter's ends in _total")
        if name in self._metrics:
            raise ValueError(f"metric {name} is registered already")
        if not isinstance(help, str) or not help.strip() or not help.isprintable():
            raise ValueError(f"help of {name}: expected a printable line")
        if not callable(read):
            raise ValueError(f"reader of {name}: {read!r} cannot be called")
        self._metrics[name] = Metric(name, MetricKind(kind), help, read)

    def collect(self) -> Iterator[tuple[Metric, list[Sample]]]:
        """
        Read every metric.

        One whose reader raises, or returns no values of its kind, is logged once and left out
        until it reads again.
        """
        for metric in list(self._metrics.values()):
            try:
                samples = _samples(metric, metric.read())
            except Exception:
                if metric.name not in self._failed:
                    self._failed.add(metric.name)
                    _log.failure("The metric {name} cannot be read", name=metric.name)
                continue
            self._failed.discard(metric.name)
            yield metric, samples


def _samples(metric: Metric, reading: Reading) -> list[Sample]:
    if _is_value(metric.kind, reading):
        return [({}, reading)]  # type: ignore[list-item]
    samples: list[Sample] = []
    seen = set()
    for labels, value in reading:  # type: ignore[union-attr,misc]
        if not _is_value(metric.kind, value):
            raise ValueError(f"{value!r} is no value of a {metric.kind}")
        for label in labels:
            if not _LABEL.fullmatch(label):
                raise ValueError(f"label {label!r}: expected {_LABEL.pattern}")
        key = tuple(sorted((label, str(text)) for label, text in labels.items()))
        if key in seen:
            raise ValueError(f"the labels {dict(labels)!r} come twice")
        seen.add(key)
        samples.append(({label: str(text) for label, text in labels.items()}, value))
    return samples


def _is_value(kind: MetricKind, value: object) -> bool:
    if kind is MetricKind.SUMMARY:
        return (
            isinstance(value, tuple)
            and len(value) == 2
            and all(isinstance(each, Real) and math.isfinite(each) for each in value)
        )
    return isinstance(value, Real)


class CommandCounts:
    """Counts the commands of a daemon, by their outcome, and the time that they take."""

    def __init__(self) -> None:
        self._outcomes: Counter[tuple[str, str]] = Counter()
        self._seconds: dict[str, tuple[float, int]] = {}

    def count(self, command: str, outcome: str, seconds: float) -> None:
        """Count one command."""
        self._outcomes[command, outcome] += 1
        total, count = self._seconds.get(command, (0.0, 0))
        self._seconds[command] = (total + seconds, count + 1)

    def outcomes(self) -> list[tuple[dict[str, str], int]]:
        """Return how many commands ended how."""
        return [
            ({Key.COMMAND: command, Key.OUTCOME: outcome}, count)
            for (command, outcome), count in self._outcomes.items()
        ]

    def seconds(self) -> list[tuple[dict[str, str], tuple[float, int]]]:
        """Return the seconds that each command took in all, and how often it was run."""
        return [({Key.COMMAND: command}, taken) for command, taken in self._seconds.items()]


def check_own_name(name: object) -> None:
    """
    Check that an application's metric has no name of ours.

    :raises ValueError: if it begins with `PREFIX`.
    """
    if isinstance(name, str) and name.startswith(PREFIX):
        raise ValueError(f"metric name {name}: only the control socket's begin with {PREFIX}")


def daemon_metrics(factory: ControlFactory) -> Metrics:
    """Return the metrics that every daemon has; commands are counted from now on."""
    metrics = Metrics()
    commands = factory.commands
    counts = CommandCounts()
    commands.observers.add(counts.count)
    rejected: Counter[str] = Counter()

    def reject(reason: str) -> None:
        rejected[reason] += 1

    factory.rejections.add(reject)

    def paused() -> list[tuple[dict[str, str], bool]]:
        reply = commands.peek()
        if not isinstance(reply, bytes) or reply.startswith(b"ERR:"):
            return []
        return [({}, json.loads(reply)[Key.STATE] == DaemonWord.PAUSED)]

    def rejections() -> list[tuple[dict[str, str], int]]:
        return [({Key.REASON: reason}, count) for reason, count in rejected.items()]

    def version() -> list[tuple[dict[str, str], int]]:
        return [({Key.VERSION: __version__}, 1)]

    started = time.time()
    gauge, counter, summary = MetricKind.GAUGE, MetricKind.COUNTER, MetricKind.SUMMARY
    add = metrics.add
    add("palingenesis_build_info", gauge, "the version, as a label", version)
    add("palingenesis_start_time_seconds", gauge, "start, seconds since 1970", lambda: started)
    add("palingenesis_paused", gauge, "whether the daemon is paused", paused)
    add("palingenesis_connections", gauge, "clients that are served", lambda: factory.connected)
    add("palingenesis_commands_total", counter, "commands that have ended", counts.outcomes)
    add("palingenesis_command_seconds", summary, "seconds that commands took", counts.seconds)
    add("palingenesis_rejected_total", counter, "clients that were rejected", rejections)
    return metrics
