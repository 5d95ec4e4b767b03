"""
Metrics in Prometheus' text format, version 0.0.4.

https://github.com/prometheus/docs, ``exposition_formats``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from palingenesis.server.metrics import Metric, Metrics, Sample

MEDIA_TYPE = b"text/plain; version=0.0.4; charset=utf-8"


def render(metrics: Metrics) -> bytes:
    """Read every metric, and render it."""
    return "".join(_family(metric, samples) for metric, samples in metrics.collect()).encode()


def _family(metric: Metric, samples: Iterable[Sample]) -> str:
    lines = [
        f"# HELP {metric.name} {_escape(metric.help)}\n",
        f"# TYPE {metric.name} {metric.kind}\n",
    ]
    for labels, value in samples:
        if isinstance(value, tuple):
            lines.append(_line(f"{metric.name}_sum", labels, value[0]))
            lines.append(_line(f"{metric.name}_count", labels, value[1]))
        else:
            lines.append(_line(metric.name, labels, value))
    return "".join(lines)


def _line(name: str, labels: Mapping[str, str], value: float) -> str:
    quoted = ",".join(f'{label}="{_escape(text, quote=True)}"' for label, text in labels.items())
    return f"{name}{{{quoted}}} {_number(value)}\n" if quoted else f"{name} {_number(value)}\n"


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value == int(value) and abs(value) < 2**53 else repr(float(value))


def _escape(text: str, *, quote: bool = False) -> str:
    text = text.replace("\\", r"\\").replace("\n", r"\n")
    # What cannot be UTF-8, as an undecodable file name, must not spoil the whole exposition.
    text = text.encode("utf-8", "backslashreplace").decode()
    return text.replace('"', r"\"") if quote else text
