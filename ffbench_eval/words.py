"""Words and numbers as people read them, shared by the page and the terminal table."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Sequence
from statistics import median
from typing import TypeGuard

from .kinds import find_metric
from .report import Metric


def clean(text: str) -> str:
    """Without control characters and text-direction overrides, which a hostile name could carry.

    >>> clean("a" + chr(27) + "[31m b")
    'a[31m b'
    """
    return "".join(c for c in text if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cf", "Cs"))


def metric_name(key: str) -> str:
    """
    >>> metric_name("rdf_error_O-O"), metric_name("my_metric")
    ('g(r) error O-O', 'my metric')
    >>> metric_name("auroc.test.linear_probe")
    'AUROC of failures, test, linear probe'
    """
    found = find_metric(key)
    return clean(found[0].label_of(found[1]) if found else key.replace("_", " "))


def curve_title(name: str) -> str:
    """The heading of a curve.

    >>> curve_title("rdf_O-O"), curve_title("scan_energy_C0-C1"), curve_title("something_new")
    ('g(r) O-O', 'Scan C0-C1: energy', 'something new')
    >>> curve_title("on_trajectory_force_mae")
    'force MAE on its own trajectory'
    """
    plain = {
        "distance_histogram": "h(r), all distances",
        "free_energy_phi": "F(phi)",
        "free_energy_psi": "F(psi)",
        "free_energy_surface": "F(phi, psi), model",
        "free_energy_surface_reference": "F(phi, psi), reference",
        "energy_drift": "Total energy at constant energy",
        "force_parity": "Force components, model against reference",
        "temperature": "Temperature",
        "reliability_parity": "Reliability: stated against observed",
        "error_confidence": "Error against confidence",
        "atom_importance": "Attention each atom receives",
    }
    for start, words in (
        ("rdf_", "g(r) {}"),
        ("scan_energy_", "Scan {}: energy"),
        ("scan_force_", "Scan {}: force"),
        ("risk_coverage_", "Risk against coverage, {}"),
    ):
        if name.startswith(start):
            return clean(words.format(name.removeprefix(start).replace("_", " ")))
    return plain.get(name) or metric_name(name)


def unit_name(unit: str) -> str:
    """Empty for a pure number.

    >>> unit_name("m^2/s"), unit_name("cm^-1"), unit_name("1")
    ('m²/s', 'cm⁻¹', '')
    """
    return "" if unit == "1" else clean(unit.replace("^-1", "⁻¹").replace("^2", "²").replace("^3", "³"))


def number(value: float, last: int | None = None) -> str:
    """``value`` to the decimal place 10**``last``, by default to three significant digits.

    >>> number(0.012345), number(2.3e-9), number(1234.5), number(0.0)
    ('0.0123', '2.30e-9', '1234', '0')
    """
    if value == 0:
        return "0"
    lead = math.floor(math.log10(abs(value)))
    place = lead - 2 if last is None else last
    if lead < -4 or lead > 5:
        mantissa, exponent = f"{value:.{max(0, min(5, lead - place))}e}".split("e")
        return f"{mantissa}e{int(exponent)}"
    text = f"{value:.{max(0, -place)}f}"
    return text.lstrip("-") if float(text) == 0 else text


SMALL = 0.1  # below this an eV is read better in meV
NOTHING, AS_TEXT = 1e-6, "1e-6"  # of an energy or a force in (m)eV: rounding


def small(metrics: Iterable[Metric | None]) -> bool:
    """Whether a column of these is read better in meV: most of its values are small.

    >>> small([Metric(value=0.006, unit="eV"), Metric(value=0.05, unit="eV"), Metric(value=0.9, unit="eV"), None])
    True
    """
    values = [abs(m.value) for m in metrics if known(m) and m.value and m.unit.startswith("eV")]
    return bool(values) and median(values) < SMALL


def in_one_unit(metrics: Sequence[Metric | None]) -> list[Metric | None]:
    """A column of one metric with every value in meV where that is read better (`small`), else as it is."""
    return [m and in_small_units(m, always=True) for m in metrics] if small(metrics) else list(metrics)


def with_unit(key: str, metrics: Iterable[Metric | None]) -> str:
    """What people read over a column of the metric ``key``: its name, and its unit if it has one.

    >>> with_unit("force_mae", [None, Metric(value=0.1, unit="eV/Å")])
    'force MAE (eV/Å)'
    """
    unit = next((unit_name(m.unit) for m in metrics if m), "")
    return f"{metric_name(key)} ({unit})" if unit else metric_name(key)


def in_small_units(metric: Metric, always: bool = False) -> Metric:
    """The same metric in meV where its value in eV is small; ``always``: whatever its value.

    >>> in_small_units(Metric(value=0.0061, unit="eV/Å", trivial=0.747)).unit
    'meV/Å'
    """
    if not metric.unit.startswith("eV"):
        return metric
    if not always and (metric.value is None or abs(metric.value) >= SMALL):
        return metric
    floor, interval = metric.floor, metric.interval
    return metric.model_copy(
        update={
            "unit": "m" + metric.unit,
            "value": None if metric.value is None else 1000 * metric.value,
            "interval": interval and (1000 * interval[0], 1000 * interval[1]),
            "trivial": None if metric.trivial is None else 1000 * metric.trivial,
            "floor": floor and floor.model_copy(update={"median": 1000 * floor.median, "p95": 1000 * floor.p95}),
        }
    )


def last_digit(metric: Metric) -> int | None:
    """The decimal place that an interval of this width leaves meaningful: two digits of its half width."""
    if metric.interval is None or metric.value is None:
        return None
    low, high = metric.interval
    if not high > low:
        return None
    largest = max(abs(low), abs(high), abs(metric.value))
    lead = math.floor(math.log10(largest))
    return min(lead, max(lead - 4, math.floor(math.log10((high - low) / 2)) - 1))


def value_text(metric: Metric) -> str:
    """The value, ``>= 10`` for a censored one, and never a zero for a missing one.

    >>> value_text(Metric(value=None, unit="m^2/s", not_scored="needs 100 ps"))
    'no value'
    """
    if metric.value is None:
        return "no value"
    if censored(metric):
        return f">= {metric.value:g}"
    if _rounding(metric, metric.value):
        return f"< {AS_TEXT}"
    return number(metric.value, last_digit(metric))


def _rounding(metric: Metric, *values: float) -> bool:
    """Whether all of these are as good as zero for the metric's unit, and not all of them zero."""
    return metric.unit.lstrip("m").startswith("eV") and any(values) and max(map(abs, values)) < NOTHING


def censored(metric: Metric) -> bool:
    """Nothing failed within the protocol's length, so the true value may be anything above."""
    return metric.uncertainty.censored


def interval_text(metric: Metric) -> str:
    """The 95 % interval, or why there is none.

    >>> interval_text(Metric(value=1.234, unit="K", interval=(1.0, 1.5)))
    '1.00 to 1.50'
    """
    if metric.interval is not None:
        if _rounding(metric, *metric.interval):
            return f"below {AS_TEXT}"
        place = last_digit(metric)
        low, high = (0 if _rounding(metric, end) else end for end in metric.interval)
        return f"{number(low, place)} to {number(high, place)}"
    return clean(metric.interval_note) if censored(metric) else f"none: {why_no_interval(metric)}"


def why_no_interval(metric: Metric) -> str:
    if metric.value is None:
        return "no value"
    return clean(metric.interval_note) or "no reason given"


def score_text(metric: Metric) -> str:
    """The score, ``not scored: why``, or a dash where the metric defines none."""
    if metric.not_scored:
        return f"not scored: {clean(metric.not_scored)}"
    return "–" if metric.score is None else f"{metric.score:.2f}"


def duration(seconds: float) -> str:
    """
    >>> duration(75), duration(400), duration(9000)
    ('75 s', '6.7 min', '2.5 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s" if seconds >= 1 else f"{seconds:.2g} s"
    return f"{seconds / 60:.1f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def known(metric: Metric | None) -> TypeGuard[Metric]:
    return metric is not None and metric.value is not None


def quantity(metric: Metric) -> str:
    return f"{value_text(metric)} {unit_name(metric.unit)}".strip()


def many(count: int, what: str) -> str:
    """
    >>> many(1, "scan"), many(2, "chunk of frames")
    ('1 scan', '2 chunks of frames')
    """
    head, _, tail = what.partition(" ")
    return f"{count} {head}{'' if count == 1 else 's'}{' ' + tail if tail else ''}"
