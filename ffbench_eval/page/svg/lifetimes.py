"""How long each replica could be trusted: a bar per replica, up to where it broke or left the truth."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup, escape

from ...words import many, number

WIDTH, ROW, LEFT, MAX_ROWS = 400, 22, 16, 12


def lifetimes(stable: Sequence[float | None], trusted: Sequence[float | None], length: float) -> Markup:
    """Bars over ``length`` (ps): trusted in the model's colour, then bonds that hold where the truth disagrees, then
    nothing, because the replica broke. ``trusted`` may be empty: the stable part then counts as it is.

    >>> "replica" in lifetimes([10.0, 3.0], [10.0, 2.0], 10.0)
    True
    """
    rows = [(s, t) for s, t in zip(stable, trusted or stable) if s is not None][:MAX_ROWS]
    if not rows or length <= 0:
        return Markup("")
    height = ROW * len(rows) + 46
    marks = []

    def at(time: float) -> str:
        return f"{LEFT + (WIDTH - LEFT - 6) * min(1.0, time / length):.1f}"

    for k, (end, good) in enumerate(rows):
        good = end if good is None else min(good, end)
        y = 8 + k * ROW
        marks.append(f'<path class="rail" d="M{at(0)} {y + 6}H{at(length)}"/>')
        if end > good:
            marks.append(f'<path class="astray" d="M{at(good)} {y + 6}H{at(end)}"/>')
        if good > 0:
            marks.append(f'<path class="trusted" d="M{at(0)} {y + 6}H{at(good)}"/>')
        if end < length:
            marks.append(f'<path class="broke" d="M{at(end)} {y}V{y + 12}"/>')
        marks.append(f'<text x="0" y="{y + 10}">{k}</text>')
    base = 8 + ROW * len(rows)
    for time in (0.0, length / 2, length):
        anchor = "start" if time == 0 else "end" if time == length else "middle"
        marks.append(f'<text x="{at(time)}" y="{base + 12}" text-anchor="{anchor}">{number(time)} ps</text>')
    key = [("trusted", "trusted")]
    key += [("astray", "the truth disagrees")] if any(t is not None and t < s for s, t in rows) else []
    key += [("broke", "broke")] if any(s < length for s, _ in rows) else []
    x = LEFT
    for mark, words in key:
        d = f"M{x} {base + 28}H{x + 14}" if mark != "broke" else f"M{x + 7} {base + 22}V{base + 34}"
        marks.append(f'<path class="{mark}" d="{d}"/><text class="name" x="{x + 20}" y="{base + 32}">{words}</text>')
        x += 44 + 7 * len(words)
    told = f"{many(len(rows), 'replica')}: " + ", ".join(
        f"{number(end if good is None else min(good, end))} of {number(length)} ps" for end, good in rows
    )
    text = escape(told)
    return Markup(
        f'<svg class="plot lifetimes" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{text}">'
        f"<title>{text}</title>{''.join(marks)}</svg>"
    )
