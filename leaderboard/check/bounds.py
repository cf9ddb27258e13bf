"""What a number can be at all, and what is worth a look, from the metrics that the kinds state."""

from __future__ import annotations

from dataclasses import dataclass

from ffbench_eval.kinds import find_metric

ROUNDING = 1e-6  # of float32


@dataclass(frozen=True)
class Bound:
    """``low`` to ``high`` is what a run of a sound model gives: outside is worth a look. ``least`` to ``most`` is what
    the definition allows, for any model however bad: outside is an error. ``continuous``: independent samples seldom
    agree to the last digit; ``zero``: an exact zero is nothing odd."""

    unit: str
    low: float
    high: float
    continuous: bool
    zero: bool
    least: float
    most: float


def bound(name: str) -> Bound | None:
    """
    >>> bound("rdf_error_O-O").unit, bound("a_new_metric")
    ('Å', None)
    """
    found = find_metric(name)
    if found is None:
        return None
    spec, _ = found
    room = ROUNDING * max((abs(x) for x in spec.domain if abs(x) < float("inf")), default=0.0)
    low, high = spec.usual or spec.domain
    return Bound(spec.unit, low, high, spec.continuous, spec.zero, spec.low - room, spec.high + room)


def few_digits(value: float, digits: int = 3) -> bool:
    """At most so many significant digits: typed in or rounded, not computed.

    >>> few_digits(0.015), few_digits(0.0154321), few_digits(0.0154321, 6)
    (True, False, True)
    """
    return value != 0 and float(f"{value:.{digits - 1}e}") == value
