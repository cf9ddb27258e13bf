"""Axes, ticks, labels and legend around the marks of a drawing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from ...words import clean, curve_title

if TYPE_CHECKING:
    from ...report import Curve

WIDTH, HEIGHT = 400, 264
NARROW = 300  # scans come in pairs, four drawings to a row
LEFT, RIGHT, BOTTOM = 54, 12, 42
CHARACTER = 6.6  # mean width of a 12 px letter
MAX_SERIES = 24
BAR = 58  # room for the colour bar


def round_step(low: float, high: float, count: int) -> tuple[float, float]:
    """(step, its power of ten): 1, 2, 2.5, 5 or 10 times a power of ten, so that ``count`` steps are enough.

    >>> round_step(0.0, 1.0, 5), round_step(0.0, 12.0, 5)
    ((0.2, 0.1), (2.5, 1.0))
    """
    raw = (high - low) / count
    scale = 10.0 ** math.floor(math.log10(raw))
    return next(m for m in (1, 2, 2.5, 5, 10) if m * scale >= raw * 0.999) * scale, scale


@dataclass(frozen=True)
class Axis:
    low: float
    high: float
    log: bool = False
    angle: bool = False

    @classmethod
    def over(
        cls, values: Any, *, log: bool = False, angle: bool = False, pad: bool = False, zero: float = 0.35
    ) -> Axis:
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
        step, scale = round_step(self.low, self.high, count)
        start, stop = math.ceil(self.low / step - 1e-6), math.floor(self.high / step + 1e-6)
        decimals = max(0, -math.floor(math.log10(step) + 1e-9) + (step / scale == 2.5))
        largest = max(abs(self.low), abs(self.high))
        if decimals > 4 or largest >= 1e6:
            return [(k * step, f"{k * step:.3g}") for k in range(start, stop + 1)]
        return [(k * step, f"{k * step + 0.0:.{decimals}f}") for k in range(start, stop + 1)]


class Frame:
    """Axes, ticks, labels and legend around the marks of one chart."""

    def __init__(
        self,
        curve: Curve,
        x_axis: Axis,
        y_axis: Axis,
        legend: Sequence[tuple[str, str]],
        target: float | None = None,
        bar: bool = False,
        width: int = WIDTH,
        rows: int = 3,
    ):
        self.curve, self.x_axis, self.y_axis = curve, x_axis, y_axis
        self.whole = width
        self.legend = _legend_rows([*legend] + ([("target", "target")] if target is not None else []), width, rows)
        self.top = 10 + 18 * len(self.legend)
        self.width = width - LEFT - RIGHT - (BAR if bar else 0)
        self.height = HEIGHT - BOTTOM - self.top

    def x(self, value: float) -> str:
        return short(self.x_axis.part(value) * self.width)

    def y(self, value: float) -> str:
        return short((1 - self.y_axis.part(value)) * self.height)

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


def _legend_rows(entries: Sequence[tuple[str, str]], whole: int, most: int) -> list[list[tuple[str, str]]]:
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


def path(frame: Frame, pairs: Iterable[tuple[float, float | None]]) -> str:
    out, pen = [], False
    for x, y in pairs:
        if y is None:
            pen = False
            continue
        # Far outside points only have to leave the picture.
        part = min(3.0, max(-2.0, frame.y_axis.part(y)))
        out.append(f"{'L' if pen else 'M'}{frame.x(x)} {short((1 - part) * frame.height)}{'' if pen else 'h0'}")
        pen = True
    return "".join(out)


def polygon(frame: Frame, part: Any, close: bool = True) -> str:
    corners = [f"{frame.x(float(x))} {frame.y(float(y))}" for x, y in (part[:-1] if close else part)]
    return "M" + "L".join(corners) + ("Z" if close else "")


def tame(value: float) -> float:
    """Differences of values must not overflow."""
    return min(1e100, max(-1e100, value))


def empty(name: str) -> Markup:
    text = f"{curve_title(name)}: no data"
    return Markup(
        f'<svg class="plot" viewBox="0 0 {WIDTH} 60" role="img" aria-label="{escape(text)}">'
        f'<text x="{WIDTH // 2}" y="34" text-anchor="middle">no data</text></svg>'
    )


def short(value: float) -> str:
    text = f"{value:.1f}"
    return text.removesuffix(".0")


def _shorten(text: str, longest: int) -> str:
    text = clean(text).replace("\n", " ")
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _label(text: str, longest: int) -> Markup:
    return escape(_shorten(text, longest))


def _minus(text: str) -> str:
    return text.replace("-", "−")
