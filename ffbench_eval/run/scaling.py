"""What a suite costs on many workers, simulated from the measured costs of its units, and what bounds it."""

from __future__ import annotations

import heapq
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .plan import Ready

OVERHEAD_S = 0.007  # of a unit beyond its work: given out, sealed, read (benchmarks/scaling.py)
MOST = 100_000


@dataclass(frozen=True)
class Wall:
    """A suite on so many workers: ``seconds`` until the last is done, and the share of all their time that is work."""

    workers: int
    seconds: float
    efficiency: float


def parse(text: str) -> int:
    """Workers of ``N`` machines, or of ``NxGPU`` with so many GPUs each: one worker for a GPU, or for a machine.

    >>> parse("8"), parse("4x8")
    (8, 32)
    """
    found = re.fullmatch(r"(\d+)(?:x(\d+))?", text.strip())
    workers = int(found[1]) * int(found[2] or 1) if found else 0
    if not 1 <= workers <= MOST:
        raise ValueError(f"machines: {text!r}: write N, or NxGPU for N machines with so many GPUs each, such as 4x8")
    return workers


def wall(costs: Sequence[float], workers: int, overhead: float = OVERHEAD_S) -> float:
    """Seconds until all units are done when whoever is free takes the longest one left.

    ``costs`` [U] in seconds. At most 4/3 - 1/(3 W) times the best order there is (Graham 1969).

    >>> wall([3.0, 2.0, 2.0, 2.0], 2, overhead=0.0)
    5.0
    """
    if not costs:
        return 0.0
    free = [0.0] * min(workers, len(costs))
    for cost in sorted(costs, reverse=True):
        heapq.heapreplace(free, free[0] + cost + overhead)
    return max(free)


def table(costs: Sequence[float], workers: int) -> list[Wall]:
    """1, 2, 4 ... ``workers``."""
    counts, n = [], 1
    while n < workers:
        counts.append(n)
        n *= 2
    work = sum(costs)
    return [Wall(n, s, work / (n * s) if s else 1.0) for n in [*counts, workers] for s in [wall(costs, n)]]


def costs_of(runs: Sequence[Ready]) -> dict[str, float]:
    """Seconds of every unit that is yet to run, by address."""
    return {address: seconds for p in runs for address, seconds in p.costs.items()}


def bound(runs: Sequence[Ready], costs: Mapping[str, float]) -> tuple[str, float, int]:
    """(task, seconds, workers): the longest unit, below which no number of workers gets, and the fewest workers that
    come within 5 % of it (as `wall` has it)."""
    longest = max(costs, key=lambda a: costs[a])
    task = next(p.task.name for p in runs if longest in p.costs)
    seconds = costs[longest]
    low, high = 1, len(costs)
    while low < high:
        middle = (low + high) // 2
        if wall(list(costs.values()), middle) <= 1.05 * seconds + OVERHEAD_S:
            high = middle
        else:
            low = middle + 1
    return task, seconds, low
