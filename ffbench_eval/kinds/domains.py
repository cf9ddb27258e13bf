"""Intervals of a report stay inside what a metric can be, and claim no certainty that samples cannot give."""

from __future__ import annotations

import math

from ffbench_metrics import Interval, within

from ..report import Metric
from . import find_metric


def domain(name: str) -> tuple[float, float]:
    """(lowest, highest) value of a metric; infinite for one that is not known.

    >>> domain("force_cosine"), domain("rdf_error_O-O")[0], domain("auroc.test.probe"), domain("my_metric")
    ((-1, 1), 0.0, (0.0, 1), (-inf, inf))
    """
    found = find_metric(name)
    return found[0].domain if found else (-math.inf, math.inf)


def stated(metrics: dict[str, Metric]) -> dict[str, Metric]:
    """Metrics of one task as a report states them: with the version of their definition, and `with_known_intervals`."""
    out = {}
    for name, m in with_known_intervals(metrics).items():
        found = find_metric(name)
        out[name] = m.model_copy(update={"version": found[0].version}) if found else m
    return out


def known_interval(name: str, value: float, interval: tuple[float, float] | None) -> tuple[float, float] | None:
    """An interval inside the metric's domain; ``None`` for one of width zero, which no number of samples can know.

    >>> known_interval("force_cosine", 0.9999, (0.9996, 1.0002)), known_interval("fsd", 2.0, (2.0, 2.0))
    ((0.9996, 1.0), None)
    """
    if interval is None:
        return None
    _, low, high = within(Interval(value, *interval), domain(name))
    return None if high - low <= 1e-12 * max(abs(low), abs(high)) else (low, high)


def with_known_intervals(metrics: dict[str, Metric]) -> dict[str, Metric]:
    """Metrics of one task with intervals as `known_interval` leaves them; one that is lost is said in the note."""
    out = {}
    for name, m in metrics.items():
        kept = None if m.value is None else known_interval(name, m.value, m.interval)
        if kept != m.interval:
            ends = dict(zip(("low", "high"), kept or (None, None)))
            m = m.model_copy(update={"uncertainty": m.uncertainty.model_copy(update=ends)})
            m = m.noted("no interval: all samples are equal") if kept is None else m
        out[name] = m
    return out
