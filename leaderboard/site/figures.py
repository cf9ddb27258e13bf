"""Drawings of the site: small curves and scatter plots as inline SVG, few bytes each, coloured by the style sheet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from ffbench_eval.page.svg.axes import round_step
from ffbench_eval.report import Curve
from ffbench_eval.words import clean, number

POINTS = 26  # of a small curve
LINES = 5


def small(curve: Curve, label: str, points: int = POINTS) -> Markup:
    """A thumbnail of a curve: the lines, the ends of both axes, what they are and in which unit, a legend.

    >>> drawn = small(Curve(x_label="r (Å)", y_label="g(r)", x=[0, 1], series={"model": [1, 2]}), "g(r)")
    >>> [word in drawn for word in ("svg", "r (Å)", "g(r)", "model")]
    [True, True, True, True]
    """
    xs, series = _thinned(_drawn(curve), points)
    series = {n: y for n, y in series.items() if sum(v is not None for v in y) > 1}
    values = [v for y in series.values() for v in y if v is not None]
    if len(xs) < 2 or not values or curve.kind != "line":
        return Markup("")
    low, high = min(values), max(values)
    if high <= low:
        low, high = low - 0.5, high + 0.5
    x0, x1 = min(xs), max(xs)
    width = (x1 - x0) or 1.0
    lines, legend = [], []
    for k, (name, y) in enumerate(series.items()):
        d = _path([(round((x - x0) / width * 200), None if v is None else round(110 - (v - low) / (high - low) * 94))
                   for x, v in zip(xs, y)])  # fmt: skip
        style = "r" if name == "reference" else "m" if name == "model" else f"c{k % 6}"
        lines.append((name == "reference", f'<path class="{style}" d="{d}"/>'))
        legend.append(f'<i class="{style}"></i>{escape(clean(name)[:24])}')
    drawn = "".join(text for _, text in sorted(lines, key=lambda e: not e[0]))
    said = f"{clean(curve.y_label)}, {_end(low)} to {_end(high)}"
    return Markup(
        f'<small class="lg">{escape(said)}</small>'
        f'<svg class="k" viewBox="0 8 200 132" role="img" aria-label="{escape(f"{label}: {said}")}">{drawn}'
        f'<path class="a" d="M0 14V113H200"/><text x="0" y="125">{_end(x0)}</text>'
        f'<text x="200" y="125" class="e">{_end(x1)}</text><text x="100" y="137" class="i">'
        f"{escape(clean(curve.x_label)[:36])}</text></svg>"
        f'<small class="lg">{" ".join(legend)}</small>'
    )


def _end(value: float) -> str:
    """The end of an axis, with a true minus."""
    text = number(value)
    return f"−{text[1:]}" if text.startswith("-") else text


def dot(value: float, interval: tuple[float, ...] | None, axis: tuple[float, float]) -> Markup:
    """A value as a dot on its 95 % interval, on an axis from ``axis[0]`` to ``axis[1]``, which may be the smaller
    one: better is to the right. The style sheet draws it.

    >>> str(dot(0.5, (0.25, 0.75), (0, 1))), str(dot(2, None, (0, 1)))
    ('<i class="bar" style="--x:50;--l:25;--w:50"></i>', '<i class="bar" style="--x:100"></i>')
    """
    low, high = axis
    width = (high - low) or 1.0
    at = [round(100 * min(max((v - low) / width, 0.0), 1.0)) for v in (value, *(interval or ()))]
    line = f";--l:{min(at[1:])};--w:{abs(at[2] - at[1])}" if interval else ""
    return Markup(f'<i class="bar" style="--x:{at[0]}{line}"></i>')


FAR = 1e30  # beyond, a value is a gap: scales would overflow


def _drawn(curve: Curve) -> Curve:
    keep = [k for k, x in enumerate(curve.x) if abs(x) < FAR]
    series = {n: [_near(y[k]) for k in keep] for n, y in curve.series.items()}
    return curve.model_copy(update={"x": [curve.x[k] for k in keep], "series": series})


def _near(value: float | None) -> float | None:
    return None if value is None or abs(value) >= FAR else value


def _path(points: list[tuple[int, int | None]]) -> str:
    """Relative steps, the shortest way to write it; gaps start anew.

    >>> _path([(0, 5), (3, 2), (6, None), (9, 1), (12, 1)])
    'M0 5l3-3M9 1l3 0'
    """
    out, last = "", None
    for x, y in points:
        if y is None:
            last = None
            continue
        if last is None:
            out += f"M{x} {y}l"
        else:
            dx, dy = x - last[0], y - last[1]
            out += f"{'' if out[-1] == 'l' or dx < 0 else ' '}{dx}{'' if dy < 0 else ' '}{dy}"
        last = (x, y)
    return out.replace("lM", "M").rstrip("l")


def _thinned(curve: Curve, points: int) -> tuple[list[float], dict[str, list[float | None]]]:
    """At most ``points`` points: the means of neighbours; at most `LINES` lines."""
    step = max(1, math.ceil(len(curve.x) / points))

    def mean(values: Sequence[float | None]):
        known = [v for v in values if v is not None]
        return sum(known) / len(known) if known else None

    def thin(values: Sequence[float | None]):
        return [mean(values[i : i + step]) for i in range(0, len(values), step)]

    return thin(curve.x), {k: thin(v) for k, v in list(curve.series.items())[:LINES]}


@dataclass(frozen=True)
class Dot:
    """One model in a scatter plot. ``hollow``: forces that are not the gradient of an energy; ``other``: trained on
    another level of theory than the data."""

    x: float
    y: float
    name: str
    link: str
    hollow: bool = False
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None
    other: bool = False
    full: str = ""  # organisation, name and version


WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 460, 320, 56, 42, 12, 14


def scatter(dots: list[Dot], x_label: str, y_label: str, *, log_x: bool = False, log_y: bool = False) -> Markup:
    """Models as linked points with their 95 % intervals; names beside them while there are few. Beyond `FAR`: none."""
    dots = [d for d in dots if max(abs(v) for v in (d.x, d.y, *(d.x_range or ()), *(d.y_range or ()))) < FAR]
    if not dots:
        return Markup("")
    x_axis = _scale([v for d in dots for v in (d.x, *(d.x_range or ()))], log_x)
    y_axis = _scale([v for d in dots for v in (d.y, *(d.y_range or ()))], log_y)
    inner_w, inner_h = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def px(v: float) -> float:
        return LEFT + _part(v, x_axis, log_x) * inner_w

    def py(v: float) -> float:
        return TOP + (1 - _part(v, y_axis, log_y)) * inner_h

    out = [
        f'<svg class="s" viewBox="0 0 {WIDTH} {HEIGHT}" role="group" '
        f'aria-label="{escape(y_label)} against {escape(x_label)}, {len(dots)} models">'
    ]
    for v in _ticks(x_axis, log_x):
        out.append(f'<path class="g" d="M{px(v):.0f} {TOP}V{HEIGHT - BOTTOM}"/>')
        out.append(f'<text class="i" x="{px(v):.0f}" y="{HEIGHT - BOTTOM + 15}">{v:g}</text>')
    for v in _ticks(y_axis, log_y):
        out.append(f'<path class="g" d="M{LEFT} {py(v):.0f}H{WIDTH - RIGHT}"/>')
        out.append(f'<text class="e" x="{LEFT - 6}" y="{py(v) + 4:.0f}">{v:g}</text>')
    out.append(f'<text class="i" x="{LEFT + inner_w / 2:.0f}" y="{HEIGHT - 6}">{escape(x_label)}</text>')
    out.append(
        f'<text class="i" transform="translate(13 {TOP + inner_h / 2:.0f}) rotate(-90)">{escape(y_label)}</text>'
    )
    for d in dots:
        x, y = px(d.x), py(d.y)
        bars = ""
        if d.x_range:
            bars += f"M{px(d.x_range[0]):.0f} {y:.0f}H{px(d.x_range[1]):.0f}"
        if d.y_range:
            bars += f"M{x:.0f} {py(d.y_range[0]):.0f}V{py(d.y_range[1]):.0f}"
        if bars:
            out.append(f'<path class="w" d="{bars}"/>')
    places = _names([(px(d.x), py(d.y), clean(d.name)) for d in dots])
    for d, (line, text) in zip(dots, places):
        title = escape(f"{clean(d.full or d.name)}: {number(d.x)}, {number(d.y)}")
        kind = ("o" if d.hollow else "d") + (" t" if d.other else "")
        out.append(
            f'<a href="{escape(d.link)}" data-n="{escape(clean(d.full or d.name))}"><title>{title}</title>{line}{text}'
            f'<circle class="{kind}" cx="{px(d.x):.0f}" cy="{py(d.y):.0f}" r="4.5"/></a>'
        )
    return Markup("".join(out) + "</svg>")


NAMED = 40  # models; beyond, names are in the tooltips alone
LETTER, LINE, GAP = 6.7, 12, 3  # width and height of the names' letters, about, and the room beside them
AROUND = [(8, -6, ""), (-8, -6, " e"), (8, 14, ""), (-8, 14, " e")] + [
    (side * 10, dy, " e" if side < 0 else "")
    for step in range(1, 9)
    for dy in (14 + 13 * step, -6 - 13 * step)
    for side in (1, -1)
]


def _names(points: list[tuple[float, float, str]]) -> list[tuple[str, str]]:
    """(line to the name, name) beside every point where no other name or point lies; empty where there is no room."""
    if len(points) > NAMED:
        return [("", "")] * len(points)
    taken = [(x - 5, y - 5, x + 5, y + 5) for x, y, _ in points]
    out = {}
    for k in sorted(range(len(points)), key=lambda k: points[k][0]):
        x, y, name = points[k]
        out[k] = ("", "")
        width = LETTER * len(name)
        for dx, dy, end in AROUND:
            left = x + dx - (width if end else 0)
            box = (left - GAP, y + dy - LINE + 2, left + width + GAP, y + dy + 2)
            inside = box[0] > LEFT and box[2] < WIDTH - 2 and box[1] > 0 and box[3] < HEIGHT - BOTTOM
            if inside and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                far = abs(dy) > LINE + 2
                line = f'<path class="g" d="M{x:.0f} {y:.0f}L{x + dx:.0f} {y + dy - 3:.0f}"/>' if far else ""
                out[k] = line, f'<text class="n{end}" x="{x + dx:.0f}" y="{y + dy:.0f}">{escape(name)}</text>'
                break
    return [out[k] for k in range(len(points))]


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _scale(values: list[float], log: bool) -> tuple[float, float]:
    if log:
        good = [v for v in values if v > 0]
        low, high = (min(good), max(good)) if good else (0.1, 1.0)
        room = 1.5 if high > 8 * low else 3.0
        return low / room, high * room
    low, high = min(values), max(values)
    low = min(low, 0.0)  # half a difference must not look like all of it
    room = (high - low) or abs(high) or 1.0
    return (low - 0.06 * room if low else 0.0), high + 0.08 * room


def _part(v: float, axis: tuple[float, float], log: bool) -> float:
    low, high = axis
    if log:
        return (math.log(max(v, low)) - math.log(low)) / (math.log(high) - math.log(low))
    return min(1.0, max(0.0, (v - low) / (high - low)))


def _ticks(axis: tuple[float, float], log: bool) -> list[float]:
    low, high = axis
    if log:
        found = [m * 10.0**k for k in range(-12, 13) for m in (1, 2, 5) if low <= m * 10.0**k <= high]
        if len(found) > 7:
            found = [v for v in found if abs(math.log10(v) % 1) < 1e-9 or abs(math.log10(v) % 1 - 1) < 1e-9]
        return found
    step, _ = round_step(low, high, 5)
    return [round(k * step, 10) for k in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]
