"""What the checks of an entry share: a fault, and when two numbers are the same."""

from __future__ import annotations

import math

RELATIVE = 1e-9  # the tolerance of printing a double, with room for another order of summation
UNKNOWN = (math.nan, math.nan)  # an interval whose samples are not in the entry
Fault = tuple[str, str]  # (where below the metric or task, what is wrong)
Expected = tuple[float, tuple[float, float] | None]  # value and interval


def close(a: float, b: float, scale: float = 0.0, tolerance: float = RELATIVE) -> bool:
    return bool(abs(a - b) <= tolerance * max(abs(a), abs(b), scale) + 1e-300)


def same(a: float | None, b: float | None) -> bool:
    if a is None or b is None:
        return a is b
    return close(a, b, 1.0)
