"""Metric families and their text, as Prometheus reads them (exposition format 0.0.4). Pure.

Small on purpose: counters and gauges that somebody else counts; no registry, no histograms, no state. Names are the caller's; label values
may hold anything, for a device's text may be among them.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_ESCAPES: Final = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})
_HELP_ESCAPES: Final = str.maketrans({"\\": r"\\", "\n": r"\n"})


class Kind(enum.Enum):
    COUNTER = "counter"
    """Only grows while the process lives."""
    GAUGE = "gauge"


@dataclass(frozen=True, slots=True)
class Sample:
    """One line. Labels keep their order."""

    value: float
    labels: Mapping[str, str] = field(default_factory=dict)
    stamp_ms: int | None = None
    """Wall time of the value in milliseconds; None: when it is read."""


@dataclass(frozen=True, slots=True)
class Family:
    """All samples of one name. A family without samples is not shown."""

    name: str
    kind: Kind
    about: str
    samples: Sequence[Sample]


def render(families: Iterable[Family]) -> bytes:
    """The text of a scrape."""
    lines: list[str] = []
    for family in families:
        if not family.samples:
            continue
        lines.append(f"# HELP {family.name} {family.about.translate(_HELP_ESCAPES)}")
        lines.append(f"# TYPE {family.name} {family.kind.value}")
        lines += [_line(family.name, sample) for sample in family.samples]
    return "".join(f"{line}\n" for line in lines).encode()


def _line(name: str, sample: Sample) -> str:
    labels = ",".join(f'{label}="{value.translate(_ESCAPES)}"' for label, value in sample.labels.items())
    shown = f"{name}{{{labels}}}" if labels else name
    stamp = "" if sample.stamp_ms is None else f" {sample.stamp_ms}"
    return f"{shown} {_number(sample.value)}{stamp}"


def _number(value: float) -> str:
    """Whole numbers without a point, however large: a counter of bytes passes 2**53 never, 1e16 easily."""
    if isinstance(value, int) or (math.isfinite(value) and value == int(value) and abs(value) < 1e15):
        return str(int(value))
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return repr(value)
