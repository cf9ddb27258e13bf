"""Free-energy surfaces as filled contours."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any, cast

from markupsafe import Markup

from ...report import Curve
from ...words import clean, curve_title, number
from .axes import BAR, BOTTOM, HEIGHT, WIDTH, Axis, Frame, empty, polygon
from .style import BANDS

CAP = 40.0  # kJ/mol: free energies above are one colour, as in the error


def surface(name: str, curve: Curve, *, top: float, outline: Curve | None = None) -> Markup:
    """Filled contours: ``x`` is the first axis, every series is one row, named by its value on the second axis.

    ``top``: where the last colour's band ends; it also holds everything above. ``outline``: the reference, whose
    20 kJ/mol line bounds what the error counts.
    """
    from contourpy import FillType, LineType, contour_generator

    grid = _grid(curve)
    if grid is None:
        return empty(name)
    x, y, z = grid
    angles = "(rad)" in curve.x_label
    frame = Frame(
        curve,
        Axis(float(x[0]), float(x[-1]), angle=angles),
        Axis(float(y[0]), float(y[-1]), angle=angles),
        [],
        bar=True,
    )
    levels = [top * k / BANDS for k in range(BANDS)]
    shifted = z - min(0.0, float(z.min()))
    contours = contour_generator(x, y, shifted, fill_type=FillType.OuterOffset)
    marks = []
    for k, low in enumerate(levels):  # each over the last, so that no seam shows between them
        outer, offsets = cast(Any, contours.filled(low, float(shifted.max()) + top))
        d = "".join("".join(polygon(frame, part[a:b]) for a, b in pairwise(ends)) for part, ends in zip(outer, offsets))
        if d:
            marks.append(f'<path class="band f{k}" d="{d}"/>')
    around = _grid(outline) if outline is not None and name.startswith("free_energy_surface") else None
    more = ""
    if around is not None:
        lines = contour_generator(*around, line_type=LineType.Separate).lines(20.0)
        d = "".join(polygon(frame, part, close=False) for part in lines)
        if d:
            marks.append(f'<path class="scored under" d="{d}"/><path class="scored" d="{d}"/>')
            more = " White line: reference at 20 kJ/mol, the error is taken inside."
    spot = divmod(int(shifted.argmin()), shifted.shape[1])
    text = (
        f"{curve_title(name)}: surface over {clean(curve.x_label)} and {clean(curve.y_label)}, lowest at "
        f"{number(float(x[spot[1]]))}, {number(float(y[spot[0]]))}; {levels[-1]:g} and above in the last colour.{more}"
    )
    return frame.svg(marks + _bar(levels, top), text)


def _grid(curve: Curve):
    """(x [X], y [Y], z [Y, X]) of a surface, closed over the period if its axes are angles; ``None`` if it is none."""
    import numpy as np

    try:
        rows = sorted((float(name), values) for name, values in curve.series.items())
    except ValueError:
        return None
    x, y = np.array(curve.x), np.array([k for k, _ in rows])
    if len(x) < 2 or len(y) < 2 or any(len(v) != len(x) for _, v in rows) or not np.isfinite(y).all():
        return None
    if (np.diff(x) <= 0).any() or (np.diff(y) <= 0).any():
        return None
    z = np.array([[np.nan if v is None else v for v in values] for _, values in rows])
    if np.isnan(z).all():
        return None
    if "(rad)" in curve.x_label:
        if abs(x[-1] - x[0] + x[1] - x[0] - 2 * np.pi) < 0.05:
            x, z = np.append(x, x[0] + 2 * np.pi), np.column_stack([z, z[:, 0]])
        if abs(y[-1] - y[0] + y[1] - y[0] - 2 * np.pi) < 0.05:
            y, z = np.append(y, y[0] + 2 * np.pi), np.vstack([z, z[0]])
    return x, y, np.ma.masked_invalid(z)


def surface_top(curves: dict[str, Curve]) -> float:
    """One colour scale for all surfaces of a task, so that they can be compared."""
    values = [
        v for c in curves.values() if c.kind == "surface" for row in c.series.values() for v in row if v is not None
    ]
    largest = min(CAP, max(values, default=0.0))
    return BANDS * _nice(largest / BANDS) if largest > 0 else float(BANDS)


def _nice(raw: float) -> float:
    """The next round step.

    >>> _nice(3.53), _nice(0.011)
    (4.0, 0.02)
    """
    scale = 10.0 ** math.floor(math.log10(raw))
    return float(f"{next(m for m in (1, 2, 2.5, 4, 5, 10) if m * scale >= raw * 0.999) * scale:.6g}")


def _bar(levels: list[float], top: float) -> list[str]:
    x, y, height = WIDTH - BAR, 10, HEIGHT - BOTTOM - 10
    step = height / BANDS
    out = [
        f'<!--bar--><rect class="f{k}" x="{x}" y="{y + height - (k + 1) * step:.1f}" width="12" height="{step:.1f}"/>'
        for k in range(BANDS)
    ]
    for k in range(0, BANDS, 2):
        out.append(f'<!--bar--><text x="{x + 17}" y="{y + height - k * step + 4:.1f}">{levels[k]:g}</text>')
    out.append(f'<!--bar--><text x="{x + 17}" y="{y + 4}">{top:g}+</text>')
    return out
