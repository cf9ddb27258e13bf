"""A molecule coloured by the share of attention each atom receives, as inline SVG like those of `plots`."""

from __future__ import annotations

import math

from markupsafe import Markup, escape

from ...report import Curve
from .axes import HEIGHT, WIDTH
from .style import BANDS as SHADES  # pale = much

EDGE = 34
BAR = 46
MOST_ATOMS = 200  # points of a curve
SYMBOLS = {1: "H", 3: "Li", 5: "B", 6: "C", 7: "N", 8: "O", 9: "F", 14: "Si", 15: "P", 16: "S", 17: "Cl", 35: "Br"}


def molecule(curve: Curve) -> Markup:
    """``curve``: x per atom, series ``y``, ``z`` (Angstrom), ``element``, ``importance``; nothing for anything else."""
    wanted = ("y", "z", "element", "importance")
    n = len(curve.x)
    if not 0 < n <= MOST_ATOMS or any(len(curve.series.get(k, ())) != n or None in curve.series[k] for k in wanted):
        return Markup("")
    x, y, z = ([_tame(v) for v in values] for values in (curve.x, curve.series["y"], curve.series["z"]))
    element = [min(118, max(0, int(_tame(v)))) for v in curve.series["element"]]
    importance = [max(0.0, _tame(v)) for v in curve.series["importance"]]
    spans = [max(v) - min(v) or 1.0 for v in (x, y)]
    scale = min((WIDTH - BAR - 2 * EDGE) / spans[0], (HEIGHT - 2 * EDGE) / spans[1], 70.0)
    left = (WIDTH - BAR - scale * spans[0]) / 2 - scale * min(x)
    top = (HEIGHT - scale * spans[1]) / 2 + scale * max(y)
    at = [(left + scale * a, top - scale * b) for a, b in zip(x, y, strict=True)]
    largest = max(importance) or 1.0
    text = "Attention each atom receives: " + ", ".join(
        f"{SYMBOLS.get(e, str(e))}{k} {v:.2f}" for k, (e, v) in enumerate(zip(element, importance, strict=True))
    )
    marks = [
        f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(text)}">',
        f"<title>{escape(text)}</title>",
    ]
    for i, j in _bonds(element, x, y, z):
        (a, b), (c, d) = at[i], at[j]
        marks.append(f'<path class="bond" d="M{a:.1f} {b:.1f}L{c:.1f} {d:.1f}"/>')
    for k in sorted(range(n), key=lambda k: z[k]):  # what is nearer is drawn over what is behind
        shade = min(SHADES - 1, int(SHADES * importance[k] / largest))
        radius = 10 if element[k] == 1 else 15
        side = "light" if shade >= SHADES // 2 else "dark"
        marks.append(f'<circle class="f{shade} atom" cx="{at[k][0]:.1f}" cy="{at[k][1]:.1f}" r="{radius}"/>')
        name = SYMBOLS.get(element[k], str(element[k]))
        marks.append(
            f'<text class="on-{side}" x="{at[k][0]:.1f}" y="{at[k][1] + 4:.1f}" text-anchor="middle">{name}</text>'
        )
    step = (HEIGHT - 60) / SHADES
    for k in range(SHADES):
        low = HEIGHT - 30 - (k + 1) * step
        marks.append(f'<rect class="f{k}" x="{WIDTH - BAR}" y="{low:.1f}" width="12" height="{step:.1f}"/>')
    for value, height in ((0.0, HEIGHT - 30), (largest, 30)):
        marks.append(f'<text x="{WIDTH - BAR + 17}" y="{height + 4:.1f}">{value:.2g}</text>')
    return Markup("".join([*marks, "</svg>"]))


def _tame(value: float | None) -> float:
    """Differences of values must not overflow."""
    return min(1e6, max(-1e6, float(value or 0)))


def _bonds(element: list[int], x: list[float], y: list[float], z: list[float]) -> list[tuple[int, int]]:
    from ase.data import covalent_radii

    out = []
    for i in range(len(x)):
        for j in range(i):
            limit = 1.2 * (covalent_radii[element[i]] + covalent_radii[element[j]])
            if math.dist((x[i], y[i], z[i]), (x[j], y[j], z[j])) < limit:
                out.append((i, j))
    return out
