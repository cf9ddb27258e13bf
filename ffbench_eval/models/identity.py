"""Which model made a result: what it answers on fixed frames, and what can be read of its weights. Imports no torch.

A model is known by its behaviour. Card text is no part of it, so a corrected typo costs nothing; the code of a function
cannot be compared, but what it answers can. Answers are compared, not hashed: a hash of rounded numbers flips where a
number lies on the edge. What is hashed, for addresses, is what a run folder wrote down when it first met the model.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ..report import ModelCard

HERE = 1e-5  # relative: repeats on one machine, other thread counts included, differ by less
ELSEWHERE = 1e-3  # relative: other hardware and its float32 kernels
UNSTEADY = 1e-4  # relative: answers to one question that differ by more are no noise
SMALL = 0.01  # eV/Angstrom: forces of this size are compared absolutely

Row = Sequence[float]  # the answer on one frame: energy, then (norm, two projections) of each array; empty if it failed


@dataclass(frozen=True)
class Identity:
    """A model on the frames of one data set.

    ``stated`` is a hash of what the model states in fields (cutoff, dtype, elements, conservative), of the weights of
    its torch modules and of the parameters of its ASE calculators. ``answers`` has one row per frame. ``spread`` is the
    largest relative difference between two answers to the same question, ``steady`` whether that is noise.
    """

    stated: str
    answers: tuple[Row, ...]
    spread: float = 0.0
    nonce: str = ""

    @property
    def steady(self) -> bool:
        return not self.nonce

    @property
    def mark(self) -> str:
        """A short hash for addresses; of a model that answers differently every time, one that never returns."""
        rows = [[float(f"{v:.12g}") for v in row] for row in self.answers]
        return _hash([self.stated, rows, self.nonce])

    def record(self) -> dict[str, Any]:
        return {"stated": self.stated, "answers": [list(row) for row in self.answers], "mark": self.mark}


@dataclass
class Known:
    """The identities that a run folder has met, by data set; ``mark`` gives a known one its old address."""

    rows: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self):
        self.past = len(self.rows)
        self.old = {row["data"] for row in self.rows}  # data sets it was asked about in earlier runs
        self.recognised: set[str] = set()
        self.asked: set[str] = set()

    def mark(self, data: str, identity: Identity) -> str:
        """The address of ``identity``, kept for the next time (unless the model answers differently every time)."""
        self.asked.add(data)
        if not identity.steady:
            return identity.mark
        for k, row in enumerate(self.rows):
            alike = row["data"] == data and row["stated"] == identity.stated
            if alike and close(row["answers"], identity.answers, HERE + 4 * identity.spread):
                self.recognised |= {data} if k < self.past else set()
                return row["mark"]
        self.rows.append({"data": data, **identity.record()})
        return identity.mark

    def changed(self) -> set[str]:
        """Data sets asked about in earlier runs too, on which no earlier model answers like this one."""
        return (self.asked & self.old) - self.recognised


def digest(energy: float, arrays: Sequence[np.ndarray]) -> Row:
    """One frame's answer in a few numbers: the energy, and of each array its norm and two projections.

    >>> digest(1.0, [np.array([3.0, 4.0])])[:2]
    (1.0, 5.0)
    """
    out = [float(energy)]
    for values in arrays:
        flat = np.asarray(values, float).ravel()
        place = np.arange(len(flat))
        with np.errstate(over="ignore", invalid="ignore"):
            out += [math.hypot(*flat), float(flat @ np.cos(1 + 0.7 * place)), float(flat @ np.sin(2 + 1.3 * place))]
    return tuple(out) if np.isfinite(out).all() else ()


def difference(a: Row, b: Row) -> float:
    """The largest relative difference of two answers; infinite where one of them is none, or has other fields.

    >>> difference((1.0, 2.0, 1.0, 0.5), (1.0, 2.0, 1.0, 0.5)), difference((), (1.0,))
    (0.0, inf)
    """
    if len(a) != len(b):
        return math.inf
    if not a:
        return 0.0
    worst, scale = 0.0, SMALL
    for k in range(1, len(a), 3):
        size = max(a[k], b[k], SMALL)
        scale = size if k == 1 else scale
        worst = max(worst, *(abs(a[k + j] - b[k + j]) / size for j in range(3)))
    # float32 energies of thousands of eV are rounded to a ten-millionth of themselves
    return max(worst, abs(a[0] - b[0]) / (0.1 * max(abs(a[0]), abs(b[0])) + scale))


def close(a: Sequence[Row], b: Sequence[Row], tolerance: float) -> bool:
    """Whether two lists of answers are of one model."""
    return len(a) == len(b) and all(difference(x, y) <= tolerance for x, y in zip(a, b))


def fingerprint(stated: str, answers: Mapping[str, Sequence[Row]], common: str = "") -> str:
    """16 hex digits for people: eight of what is stated, eight of the answers (on the ``common`` data, if asked)."""
    chosen = {common: answers[common]} if common in answers else dict(answers)
    rounded = {k: [[float(f"{v:.5g}") for v in row] for row in rows] for k, rows in sorted(chosen.items())}
    return stated[:8] + _hash(rounded)[:8]


def same_model(a: ModelCard, b: ModelCard) -> bool:
    """Whether two cards are of one model: what is stated is the same, and answers on the same frames agree.

    Cards without answers (of older reports) are compared by fingerprint alone.
    """
    if not a.answers or not b.answers:
        return a.fingerprint == b.fingerprint
    if a.fingerprint[:8] != b.fingerprint[:8]:
        return False
    shared = a.answers.keys() & b.answers.keys()
    return all(close(a.answers[k], b.answers[k], ELSEWHERE) for k in shared)


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
