"""Curves of a report as small inline SVG, coloured by CSS variables so that one drawing serves light and dark.

The drawings hold no ids, scripts, styles or links of their own: they need `STYLE` on the page and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from ...report import Curve, Metric
from ...words import clean, curve_title, number
from .axes import MAX_SERIES, NARROW, WIDTH, Axis, Frame, empty, path, tame
from .selective import molecule
from .style import STYLE
from .surface import surface, surface_top

__all__ = ["STYLE", "Chart", "charts", "line", "points", "strip", "surface"]
MAX_BYTES = 600_000  # of all drawings of a page


@dataclass(frozen=True)
class Chart:
    """One drawing; ``svg`` is empty where the page has no room left for it; ``part``: it shows some of the series."""

    name: str
    title: str
    svg: Markup
    note: str = ""
    part: bool = False

    @property
    def narrow(self) -> bool:
        return f'viewBox="0 0 {NARROW} ' in self.svg[:200]


def charts(curves: dict[str, Curve], *, target: float | None = None, room: int = MAX_BYTES) -> list[Chart]:
    """Every curve of a task as a chart, in reading order; ``target`` (K) is drawn into the temperature.

    ``room``: bytes the drawings may take together; those beyond it come back without their ``svg``.
    """
    drawn = []
    top = surface_top(curves)
    outline = curves.get("free_energy_surface_reference")
    for name in sorted(curves, key=_order):
        curve = curves[name]
        note = clean(curve.note)
        if curve.kind == "surface":
            svg = surface(name, curve, top=top, outline=outline)
            if 'class="scored"' in svg:
                note = f"{note}; white line: reference at 20".removeprefix("; ")
        elif name == "atom_importance":
            svg = molecule(curve)
        elif curve.kind == "points":
            svg = points(name, curve)
        else:
            svg = line(name, curve, target=target if name == "temperature" else None)
            window = _window(name, curve)
            note = f"{note} {_cut(window)}".strip() if window else note
        if len(curve.series) > MAX_SERIES and curve.kind != "surface":
            note = f"{note} {MAX_SERIES} of {len(curve.series)} series are drawn.".strip()
        size = len(svg.encode())
        if size > room:
            svg, note = Markup(""), "not drawn, the page would be too large; the numbers are in report.json"
        else:
            room -= size
        drawn.append(Chart(name, curve_title(name), svg, note))
    return drawn


ORDER = ("free_energy_surface", "free_energy_", "distance_", "rdf_", "force_parity", "energy_drift", "scan_")


def _order(name: str) -> tuple:
    """Surfaces, structure, the rest; a scan's energy stands beside its force; temperature last."""
    rank = next((k for k, start in enumerate(ORDER) if name.startswith(start)), len(ORDER) + (name == "temperature"))
    bond = name.removeprefix("scan_energy_").removeprefix("scan_force_")
    return (rank, bond, name) if name.startswith("scan_") else (rank, name, "")


def line(name: str, curve: Curve, *, target: float | None = None) -> Markup:
    """Lines over x; a wide pale one is the reference, gaps stay gaps."""
    series = _series(curve)
    log = name.startswith("scan_force_")  # FSD is a slope of the logarithm
    floor = 0.1
    values = [v for _, pairs in series for _, v in pairs if v is not None]
    if not values:
        return empty(name)
    if log:
        series = [(k, [(x, None if v is None else max(v, floor)) for x, v in pairs]) for k, pairs in series]
        values = [max(v, floor) for v in values]
    x_axis = Axis.over([x for _, pairs in series for x, _ in pairs], angle="(rad)" in curve.x_label, zero=0.1)
    window = _window(name, curve)
    shown = window or [*values, *([] if target is None else [target])]
    y_axis = Axis.over(shown, log=log, pad=True)
    legend = [(_line_class(k, i), k) for i, (k, _) in enumerate(series)]
    width = NARROW if name.startswith("scan_") else WIDTH
    rows = 4 if name.startswith("risk_coverage_") else 3
    frame = Frame(curve, x_axis, y_axis, legend, target, width=width, rows=rows)
    marks = []
    if target is not None:
        marks.append(f'<path class="target" d="M{frame.x(x_axis.low)} {frame.y(target)}H{frame.x(x_axis.high)}"/>')
    for i, (key, pairs) in sorted(enumerate(series), key=lambda e: e[1][0] != "reference"):
        marks.append(f'<path class="{_line_class(key, i)}" d="{path(frame, pairs)}"/>')
    more = f" {_cut(window)}" if window else ""
    if target is not None:
        more += f" Dashed line: target {number(target)}."
    return frame.svg(marks, _describe(name, curve, series) + more)


def points(name: str, curve: Curve) -> Markup:
    """Points with the diagonal where both axes carry the same quantity."""
    series = _series(curve)
    values = [v for _, pairs in series for _, v in pairs if v is not None]
    if not values:
        return empty(name)
    parity = name.endswith("parity")
    xs = [x for _, pairs in series for x, _ in pairs]
    both = [*xs, *values]
    log = name == "error_confidence"
    if log:  # errors span decades; those near zero lie on the lower edge
        floor = max(values) / 1e4 or 1e-12
        series = [(k, [(x, None if y is None else max(y, floor)) for x, y in pairs]) for k, pairs in series]
        values = [max(v, floor) for v in values]
    x_axis = Axis.over(both if parity else xs, pad=True)
    y_axis = Axis.over(both if parity else values, log=log, pad=True)
    shown = [] if (parity or log) and len(series) == 1 else [(_line_class(k, i), k) for i, (k, _) in enumerate(series)]
    frame = Frame(curve, x_axis, y_axis, shown)
    marks = []
    if parity:
        low, high = x_axis.low, x_axis.high
        marks.append(f'<path class="reference" d="M{frame.x(low)} {frame.y(low)}L{frame.x(high)} {frame.y(high)}"/>')
    for i, (key, pairs) in enumerate(series):
        marks += [
            f'<circle class="{_line_class(key, i)}" cx="{frame.x(x)}" cy="{frame.y(y)}" r="2.2"/>'
            for x, y in pairs
            if y is not None
        ]
    return frame.svg(marks, _describe(name, curve, series) + (" On the wide line both agree." if parity else ""))


def strip(metric: Metric) -> Markup:
    """A ruler from 0: the noise floor as a band up to its p95, the value with its interval, the trivial baseline."""
    if metric.value is None or metric.floor is None or metric.value < 0:
        return Markup("")
    low, high = metric.interval or (metric.value, metric.value)
    end = 1.05 * max(metric.trivial or 0, metric.floor.p95, metric.value, high)
    if end <= 0:
        return Markup("")

    def at(v: float) -> str:
        return f"{2 + 96 * min(1.0, max(0.0, v / end)):.1f}"

    text = f"value {number(metric.value)}, noise floor up to {number(metric.floor.p95)}"
    tick = ""
    if metric.trivial is not None:
        text += f", trivial baseline {number(metric.trivial)}"
        tick = f'<path class="trivial" d="M{at(metric.trivial)} 2V14"/>'
    return Markup(
        f'<svg class="strip" viewBox="0 0 100 16" role="img" aria-label="{escape(text)}"><title>{escape(text)}</title>'
        f'<path class="rail" d="M2 8H98"/><path class="floor" d="M2 3H{at(metric.floor.p95)}V13H2Z"/>{tick}'
        f'<path class="whisker" d="M{at(low)} 8H{at(high)}"/>'
        f'<circle class="dot" cx="{at(metric.value)}" cy="8" r="3.4"/></svg>'
    )


def _series(curve: Curve) -> list[tuple[str, list[tuple[float, float | None]]]]:
    chosen = list(curve.series.items())[:MAX_SERIES]
    x = [tame(v) for v in curve.x]
    return [(name, list(zip(x, [None if v is None else tame(v) for v in y]))) for name, y in chosen if x and y]


def _line_class(name: str, index: int) -> str:
    if name in ("model", "reference"):
        return name
    if name.endswith(" here"):  # a place on a curve, not a curve
        return "mark"
    return f"s{index % 8}" + (" dashed" if index >= 8 else "")


def _window(name: str, curve: Curve) -> tuple[float, float] | None:
    """A scan's repulsive wall hides everything else: show 1.5 times the stretched end, and as much below zero."""
    known = [v for v in curve.series.get("reference", []) if v is not None]
    values = [v for series in curve.series.values() for v in series if v is not None]
    if not name.startswith("scan_energy_") or not known or known[-1] <= 0:
        return None
    edge = 1.5 * known[-1]
    low, high = max(min(values), -edge), min(max(values), edge)
    return None if (low, high) == (min(values), max(values)) else (low, high)


def _cut(window: tuple[float, float]) -> str:
    return f"Shown up to {number(window[1])}."


def _describe(name: str, curve: Curve, series: Sequence[tuple[str, Sequence[tuple[float, float | None]]]]) -> str:
    """The alternative text: what the axes are and where each series has its extremes."""
    text = f"{curve_title(name)}: {clean(curve.y_label)} over {clean(curve.x_label)}."
    for key, pairs in series[:6]:
        known = [(y, x) for x, y in pairs if y is not None]
        if known:
            (low, _), (high, at) = min(known), max(known)
            text += f" {clean(key)}: {number(low)} to {number(high)}, highest at {number(at)}."
    return text + (f" And {len(series) - 6} more series." if len(series) > 6 else "")
