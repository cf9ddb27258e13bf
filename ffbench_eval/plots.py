"""Curves of a report as small inline SVG, coloured by CSS variables so that one drawing serves light and dark.

The drawings hold no ids, scripts, styles or links of their own: they need `STYLE` on the page and nothing else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

from markupsafe import Markup, escape

from .plots_selective import molecule
from .report import Curve, Metric
from .wording import clean, number

WIDTH, HEIGHT = 400, 264
NARROW = 300  # scans come in pairs, four drawings to a row
LEFT, RIGHT, BOTTOM = 54, 12, 42
CHARACTER = 6.6  # mean width of a 12 px letter
MAX_SERIES = 24
MAX_BYTES = 600_000  # of all drawings of a page
BAR = 58  # room for the colour bar
BANDS = 10  # colours of a surface
CAP = 40.0  # kJ/mol: free energies above are one colour, as in the error
RAMP = ["#162874", "#243f99", "#2260a9", "#1e88bc", "#33a7c2", "#59bfc0", "#8cd2ba", "#c4e8b4", "#e3f4b2", "#f7fcc6"]


def _style() -> str:
    light = {f"--f{k}": c for k, c in enumerate(RAMP)}
    dark = {f"--f{k}": c for k, c in enumerate(reversed(RAMP))}
    light |= {"--on-dark": "#fff", "--on-light": "#20242a"}
    dark |= {"--on-dark": "#20242a", "--on-light": "#fff"}
    light |= {
        "--ink": "#20242a",
        "--soft": "#5d6673",
        "--line": "#d9dde3",
        "--model": "#0b5cbf",
        "--reference": "#c3bba6",
    }
    dark |= {
        "--ink": "#e3e6ea",
        "--soft": "#a0a9b5",
        "--line": "#353b44",
        "--model": "#6fb4ff",
        "--reference": "#77705f",
    }
    hues = ["#0b5cbf", "#c2511c", "#1b7f4f", "#8650b8", "#97720a", "#bd3a78", "#2f87a0", "#6b6f76"]
    bright = ["#6fb4ff", "#ff9a62", "#5fcf98", "#c39bf0", "#e0bb4a", "#f489ba", "#6dcbe3", "#b3b8bf"]
    light |= {f"--s{k}": c for k, c in enumerate(hues)}
    dark |= {f"--s{k}": c for k, c in enumerate(bright)}

    def block(values):
        return ":root{" + ";".join(f"{k}:{v}" for k, v in values.items()) + "}"

    series = "".join(
        f".plot .s{k}{{stroke:var(--s{k});stroke-width:1.2}}.plot circle.s{k}{{fill:var(--s{k})}}" for k in range(8)
    )
    surface = "".join(f".plot .f{k}{{fill:var(--f{k})}}" for k in range(BANDS))
    return (
        f"{block(light)}@media (prefers-color-scheme:dark){{{block(dark)}}}"
        ".plot{display:block;width:100%;height:auto;font:12px system-ui,sans-serif;overflow:visible}"
        ".plot text{fill:var(--soft);font-variant-numeric:tabular-nums}.plot .name{fill:var(--ink)}"
        ".plot path{fill:none;stroke-width:1.6;stroke-linejoin:round;stroke-linecap:round}"
        ".plot .grid{stroke:var(--line);stroke-width:1}.plot .zero{stroke:var(--soft);stroke-width:1}"
        ".plot .model{stroke:var(--model);stroke-width:1.8}.plot .reference{stroke:var(--reference);stroke-width:5}"
        ".plot circle.model{fill:var(--model)}"
        ".plot .mark{stroke:var(--s1);stroke-width:6;stroke-opacity:.75}"
        ".plot .target{stroke:var(--ink);stroke-width:1.2;stroke-dasharray:5 4}"
        ".plot .dashed{stroke-dasharray:6 3}"
        ".plot path.band{stroke:none;fill-rule:evenodd}.plot .edge{stroke:var(--line)}"
        ".plot .scored{stroke:#fff;stroke-width:2}.plot .scored.under{stroke:#000;stroke-width:3.4;stroke-opacity:.55}"
        f"{series}{surface}"
        ".plot circle[class]{stroke:none;fill-opacity:.6}"
        ".plot circle.atom{stroke:var(--soft);stroke-width:1;fill-opacity:1}"
        ".plot .bond{stroke:var(--soft);stroke-width:3}"
        ".plot .on-dark{fill:var(--on-dark)}.plot .on-light{fill:var(--on-light)}"
        ".strip{display:block;width:100px;height:16px}.strip .rail{stroke:var(--line);stroke-width:1}"
        ".strip .floor{fill:var(--reference);fill-opacity:.55}.strip .whisker{stroke:var(--model);stroke-width:1.6}"
        ".strip .dot{fill:var(--model)}.strip .trivial{stroke:var(--soft);stroke-width:1.5}"
    )


STYLE = Markup(_style())


@dataclass(frozen=True)
class Chart:
    """One drawing; ``svg`` is empty where the page has no room left for it."""

    name: str
    title: str
    svg: Markup
    note: str = ""


def charts(curves: dict[str, Curve], *, target: float | None = None, room: int = MAX_BYTES) -> list[Chart]:
    """Every curve of a task as a chart, in reading order; ``target`` (K) is drawn into the temperature.

    ``room``: bytes the drawings may take together; those beyond it come back without their ``svg``.
    """
    drawn = []
    top = _surface_top(curves)
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
        drawn.append(Chart(name, title(name), svg, note))
    return drawn


def title(name: str) -> str:
    """
    >>> title("rdf_O-O"), title("scan_energy_C0-C1"), title("something_new")
    ('g(r) O-O', 'Scan C0-C1: energy', 'something new')
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
    return plain.get(name) or clean(name.replace("_", " "))


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
        return _empty(name, curve)
    if log:
        series = [(k, [(x, None if v is None else max(v, floor)) for x, v in pairs]) for k, pairs in series]
        values = [max(v, floor) for v in values]
    x_axis = _Axis.over([x for _, pairs in series for x, _ in pairs], angle="(rad)" in curve.x_label, zero=0.1)
    window = _window(name, curve)
    shown = window or [*values, *([] if target is None else [target])]
    y_axis = _Axis.over(shown, log=log, pad=True)
    legend = [(_line_class(k, i), k) for i, (k, _) in enumerate(series)]
    width = NARROW if name.startswith("scan_") else WIDTH
    rows = 4 if name.startswith("risk_coverage_") else 3
    frame = _Frame(curve, x_axis, y_axis, legend, target, width=width, rows=rows)
    marks = []
    if target is not None:
        marks.append(f'<path class="target" d="M{frame.x(x_axis.low)} {frame.y(target)}H{frame.x(x_axis.high)}"/>')
    for i, (key, pairs) in sorted(enumerate(series), key=lambda e: e[1][0] != "reference"):
        marks.append(f'<path class="{_line_class(key, i)}" d="{_path(frame, pairs)}"/>')
    more = f" {_cut(window)}" if window else ""
    if target is not None:
        more += f" Dashed line: target {number(target)}."
    return frame.svg(marks, _describe(name, curve, series) + more)


def points(name: str, curve: Curve) -> Markup:
    """Points with the diagonal where both axes carry the same quantity."""
    series = _series(curve)
    values = [v for _, pairs in series for _, v in pairs if v is not None]
    if not values:
        return _empty(name, curve)
    parity = name.endswith("parity")
    xs = [x for _, pairs in series for x, _ in pairs]
    both = [*xs, *values]
    log = name == "error_confidence"
    if log:  # errors span decades; those near zero lie on the lower edge
        floor = max(values) / 1e4 or 1e-12
        series = [(k, [(x, None if y is None else max(y, floor)) for x, y in pairs]) for k, pairs in series]
        values = [max(v, floor) for v in values]
    x_axis = _Axis.over(both if parity else xs, pad=True)
    y_axis = _Axis.over(both if parity else values, log=log, pad=True)
    shown = [] if (parity or log) and len(series) == 1 else [(_line_class(k, i), k) for i, (k, _) in enumerate(series)]
    frame = _Frame(curve, x_axis, y_axis, shown)
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


def surface(name: str, curve: Curve, *, top: float, outline: Curve | None = None) -> Markup:
    """Filled contours: ``x`` is the first axis, every series is one row, named by its value on the second axis.

    ``top``: where the last colour's band ends; it also holds everything above. ``outline``: the reference, whose
    20 kJ/mol line bounds what the error counts.
    """
    from contourpy import FillType, LineType, contour_generator

    grid = _grid(curve)
    if grid is None:
        return _empty(name, curve)
    x, y, z = grid
    angles = "(rad)" in curve.x_label
    frame = _Frame(
        curve,
        _Axis(float(x[0]), float(x[-1]), angle=angles),
        _Axis(float(y[0]), float(y[-1]), angle=angles),
        [],
        bar=True,
    )
    levels = [top * k / BANDS for k in range(BANDS)]
    shifted = z - min(0.0, float(z.min()))
    contours = contour_generator(x, y, shifted, fill_type=FillType.OuterOffset)
    marks = []
    for k, low in enumerate(levels):  # each over the last, so that no seam shows between them
        outer, offsets = cast(Any, contours.filled(low, float(shifted.max()) + top))
        d = "".join(
            "".join(_polygon(frame, part[a:b]) for a, b in pairwise(ends)) for part, ends in zip(outer, offsets)
        )
        if d:
            marks.append(f'<path class="band f{k}" d="{d}"/>')
    around = _grid(outline) if outline is not None and name.startswith("free_energy_surface") else None
    more = ""
    if around is not None:
        lines = contour_generator(*around, line_type=LineType.Separate).lines(20.0)
        d = "".join(_polygon(frame, part, close=False) for part in lines)
        if d:
            marks.append(f'<path class="scored under" d="{d}"/><path class="scored" d="{d}"/>')
            more = " White line: reference at 20 kJ/mol, the error is taken inside."
    spot = divmod(int(shifted.argmin()), shifted.shape[1])
    text = (
        f"{title(name)}: surface over {clean(curve.x_label)} and {clean(curve.y_label)}, lowest at "
        f"{number(float(x[spot[1]]))}, {number(float(y[spot[0]]))}; {levels[-1]:g} and above in the last colour.{more}"
    )
    return frame.svg(marks + _bar(levels, top), text)


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


@dataclass(frozen=True)
class _Axis:
    low: float
    high: float
    log: bool = False
    angle: bool = False

    @classmethod
    def over(cls, values, *, log=False, angle=False, pad=False, zero=0.35) -> _Axis:
        """An axis that holds the values; it starts at 0 where they begin below the share ``zero`` of the largest."""
        low, top = min(values), max(values)
        if log:
            low, top = 10 ** math.floor(math.log10(low)), 1.15 * top
            return cls(low, max(top, 10 * low), log=True)
        if angle and low >= -math.pi - 0.01 and top <= math.pi + 0.01:
            return cls(-math.pi, math.pi, angle=True)
        if 0 <= low < zero * top:
            low = 0.0
        if top - low < 1e-9 * max(abs(low), abs(top)):
            middle = (low + top) / 2
            low, top = middle - 0.05 * abs(middle), middle + 0.05 * abs(middle)
        room = (top - low) or 1.0
        if pad:
            low, top = low - (0.05 * room if low != 0 else 0), top + 0.05 * room
        elif top == low:
            top = low + room
        return cls(low, top)

    def part(self, value: float) -> float:
        """Where on the axis, 0 to 1."""
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def ticks(self, count: int) -> list[tuple[float, str]]:
        if self.angle and self.low < -3:
            names = ("-π", "-π/2", "0", "π/2", "π")
            return [(k * math.pi / 2, n) for k, n in zip(range(-2, 3), names) if k * math.pi / 2 <= self.high + 0.01]
        if self.log:
            first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high))
            decades = range(first, last + 1, max(1, math.ceil((last - first) / count)))
            return [(10.0**k, f"{10.0**k:g}") for k in decades]
        raw = (self.high - self.low) / count
        scale = 10.0 ** math.floor(math.log10(raw))
        step = next(m for m in (1, 2, 2.5, 5, 10) if m * scale >= raw * 0.999) * scale
        start, stop = math.ceil(self.low / step - 1e-6), math.floor(self.high / step + 1e-6)
        decimals = max(0, -math.floor(math.log10(step) + 1e-9) + (step / scale == 2.5))
        largest = max(abs(self.low), abs(self.high))
        if decimals > 4 or largest >= 1e6:
            return [(k * step, f"{k * step:.3g}") for k in range(start, stop + 1)]
        return [(k * step, f"{k * step + 0.0:.{decimals}f}") for k in range(start, stop + 1)]


class _Frame:
    """Axes, ticks, labels and legend around the marks of one chart."""

    def __init__(self, curve, x_axis, y_axis, legend, target=None, bar=False, width=WIDTH, rows=3):
        self.curve, self.x_axis, self.y_axis = curve, x_axis, y_axis
        self.whole = width
        self.legend = _legend_rows(legend + ([("target", "target")] if target is not None else []), width, rows)
        self.top = 10 + 18 * len(self.legend)
        self.width = width - LEFT - RIGHT - (BAR if bar else 0)
        self.height = HEIGHT - BOTTOM - self.top

    def x(self, value: float) -> str:
        return _short(self.x_axis.part(value) * self.width)

    def y(self, value: float) -> str:
        return _short((1 - self.y_axis.part(value)) * self.height)

    def svg(self, marks: list[str], text: str) -> Markup:
        out = [
            f'<svg class="plot" viewBox="0 0 {self.whole} {HEIGHT}" role="img" aria-label="{escape(text)}">',
            *self._legend(),
        ]
        for value, name in self.x_axis.ticks(6 if self.whole == WIDTH else 4):
            x = LEFT + float(self.x(value))
            out.append(f'<path class="grid" d="M{x:.1f} {self.top}v{self.height}"/>')
            out.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 17}" text-anchor="middle">{_minus(name)}</text>')
        for value, name in self.y_axis.ticks(5):
            y = self.top + float(self.y(value))
            zero = "zero" if value == 0 and not self.y_axis.angle else "grid"
            out.append(f'<path class="{zero}" d="M{LEFT} {y:.1f}h{self.width}"/>')
            out.append(f'<text x="{LEFT - 7}" y="{y + 4:.1f}" text-anchor="end">{_minus(name)}</text>')
        middle, centre = LEFT + self.width / 2, self.top + self.height / 2
        out.append(
            f'<text x="{middle:.0f}" y="{HEIGHT - 8}" text-anchor="middle">{_label(self.curve.x_label, 50)}</text>'
        )
        out.append(
            f'<text transform="translate(13 {centre:.0f}) rotate(-90)" text-anchor="middle">'
            f"{_label(self.curve.y_label, 36)}</text>"
        )
        # A nested viewport cuts off what leaves the axes, without an id for a clip path.
        out.append(
            f'<svg x="{LEFT}" y="{self.top}" width="{self.width}" height="{self.height}" '
            f'viewBox="0 0 {self.width} {self.height}">'
        )
        inside = [m for m in marks if not m.startswith("<!--bar-->")]
        out += [*inside, "</svg>", *[m.removeprefix("<!--bar-->") for m in marks if m not in inside], "</svg>"]
        return Markup("".join(out))

    def _legend(self) -> list[str]:
        out = []
        for row, entries in enumerate(self.legend):
            x, y = LEFT, 12 + 18 * row
            for style, name in entries:
                out.append(f'<path class="{style}" d="M{x} {y}h20"/>')
                out.append(f'<text class="name" x="{x + 26}" y="{y + 4}">{escape(name)}</text>')
                x += 44 + int(CHARACTER * len(name))
        return out


def _legend_rows(entries, whole: int, most: int) -> list[list[tuple[str, str]]]:
    rows: list[list[tuple[str, str]]] = []
    used = whole
    for style, name in entries[:MAX_SERIES]:
        short = _shorten(name, 28)
        width = 44 + int(CHARACTER * len(short))
        if used + width > whole - LEFT:
            if len(rows) == most:
                break
            rows.append([])
            used = 0
        rows[-1].append((style, short))
        used += width
    return rows


def _series(curve: Curve) -> list[tuple[str, list[tuple[float, float | None]]]]:
    chosen = list(curve.series.items())[:MAX_SERIES]
    x = [_tame(v) for v in curve.x]
    return [(name, list(zip(x, [None if v is None else _tame(v) for v in y]))) for name, y in chosen if x and y]


def _tame(value: float) -> float:
    """Differences of values must not overflow."""
    return min(1e100, max(-1e100, value))


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


def _path(frame: _Frame, pairs) -> str:
    out, pen = [], False
    for x, y in pairs:
        if y is None:
            pen = False
            continue
        # Far outside points only have to leave the picture.
        part = min(3.0, max(-2.0, frame.y_axis.part(y)))
        out.append(f"{'L' if pen else 'M'}{frame.x(x)} {_short((1 - part) * frame.height)}{'' if pen else 'h0'}")
        pen = True
    return "".join(out)


def _polygon(frame: _Frame, part, close: bool = True) -> str:
    corners = [f"{frame.x(float(x))} {frame.y(float(y))}" for x, y in (part[:-1] if close else part)]
    return "M" + "L".join(corners) + ("Z" if close else "")


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


def _surface_top(curves: dict[str, Curve]) -> float:
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


def _describe(name: str, curve: Curve, series) -> str:
    """The alternative text: what the axes are and where each series has its extremes."""
    text = f"{title(name)}: {clean(curve.y_label)} over {clean(curve.x_label)}."
    for key, pairs in series[:6]:
        known = [(y, x) for x, y in pairs if y is not None]
        if known:
            (low, _), (high, at) = min(known), max(known)
            text += f" {clean(key)}: {number(low)} to {number(high)}, highest at {number(at)}."
    return text + (f" And {len(series) - 6} more series." if len(series) > 6 else "")


def _empty(name: str, curve: Curve) -> Markup:
    text = f"{title(name)}: no data"
    return Markup(
        f'<svg class="plot" viewBox="0 0 {WIDTH} 60" role="img" aria-label="{escape(text)}">'
        f'<text x="{WIDTH // 2}" y="34" text-anchor="middle">no data</text></svg>'
    )


def _short(value: float) -> str:
    text = f"{value:.1f}"
    return text.removesuffix(".0")


def _shorten(text: str, longest: int) -> str:
    text = clean(text).replace("\n", " ")
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _label(text: str, longest: int) -> Markup:
    return escape(_shorten(text, longest))


def _minus(text: str) -> str:
    return text.replace("-", "−")
