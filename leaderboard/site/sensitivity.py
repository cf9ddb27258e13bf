"""What places owe to the weights of the tasks: the ranking again with other weights, told in one line each."""

from __future__ import annotations

from dataclasses import dataclass

from .scoring import Score, rank

SHOWN = 3  # names of the best


@dataclass(frozen=True)
class Variant:
    """``said``: what was changed; ``best``: names of the first level, ``apart`` levels; ``moved``: most places that a
    model moves, and which."""

    said: str
    best: tuple[str, ...]
    apart: int
    moved: int
    who: str


def variants(
    scores: dict[str, dict[str, Score]], weights: dict[str, float], names: dict[str, str]
) -> tuple[int, list[Variant]]:
    """(models that ran all counted tasks, the ranking among them with the given weights and with others)."""
    counted = [t for t, w in weights.items() if w > 0]
    whole = {m: s for m, s in scores.items() if all(t in s and s[t].value is not None for t in counted)}
    if len(whole) < 3 or len(counted) < 2:
        return len(whole), []
    tried = {"as it stands": weights, "all tasks equal": dict.fromkeys(counted, 1.0)}
    tried |= {f"without {t.replace('_', ' ')}": {k: w for k, w in weights.items() if k != t} for t in counted}
    usual = _order(whole, weights)
    out = []
    for said, other in tried.items():
        ranks, order = rank(whole, other), _order(whole, other)
        moves = {m: abs(order.index(m) - usual.index(m)) for m in usual}
        who = max(usual, key=lambda m: moves[m])
        first = [names[m] for m in order if ranks[m].level == 1]
        more = (f"and {len(first) - SHOWN} more",) if len(first) > SHOWN else ()
        apart = max(r.level for r in ranks.values())
        out.append(Variant(said, (*first[:SHOWN], *more), apart, moves[who], names[who] if moves[who] else ""))
    return len(whole), out


def _order(scores: dict[str, dict[str, Score]], weights: dict[str, float]) -> list[str]:
    found = rank(scores, weights)
    return sorted(found, key=lambda m: -found[m].score)
