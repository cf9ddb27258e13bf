"""Structures on which the model gave no answer: they failed, and no source is credited with a warning.

A score that is ranked must not be had by leaving things out: without this a model that answers NaN where it expects to
be wrong has fewer failures, and with the lowest confidence for such structures it would rank these failures perfectly.
So they count as failed, with an error no smaller than the trivial one, and as the structures trusted most. The bounds
stay bounds: the oracle knows them, and the random order is random for them too.
"""

from __future__ import annotations

import numpy as np

from .cases import Cases
from .given import RandomScore
from .labels import Rule


def labels_with(
    cases: Cases, sample: np.ndarray, silent: Cases, silent_sample: np.ndarray, rule: Rule, limit: float
) -> dict[str, np.ndarray]:
    """``failed``, ``residual`` and ``sample`` [n + m] of n labelled cases and then of the m silent ones whose truth is
    known: their residual is the error of zero forces, and at least the largest of the part and just above ``limit``."""
    trivial, rows = _trivial(silent, rule)
    residual, failed = np.asarray(cases.residual), np.asarray(cases.failed)
    least = max(np.nextafter(limit, np.inf), residual.max(initial=0.0))
    return {
        "failed": np.concatenate([failed, np.ones(len(trivial), bool)]),
        "residual": np.concatenate([residual, np.maximum(trivial, least)]),
        "sample": np.concatenate([cases.per_case(sample), silent_sample[rows]]),
    }


def confidence_with(source: str, confidence: np.ndarray, residual: np.ndarray) -> np.ndarray:
    """Confidences [n + m] from those [n] of the cases with an answer and all residuals [n + m]."""
    more = len(residual) - len(confidence)
    if source == "oracle":
        return -residual
    if source == "random":
        return np.random.default_rng(RandomScore().seed).random(len(residual))
    return np.concatenate([confidence, np.full(more, confidence.max(initial=-np.inf) if len(confidence) else 0.0)])


def _trivial(silent: Cases, rule: Rule) -> tuple[np.ndarray, np.ndarray]:
    """(error of the trivial answer, the structure's row) of every silent case whose truth is known; an energy has no
    trivial answer and counts 0 here."""
    rows = np.arange(len(silent))
    energy, forces = silent.reference_energy, silent.reference_forces
    if rule.quantity == "energy":
        rows = rows[np.isfinite(energy)] if energy is not None else rows[:0]
        return np.zeros(len(rows)), rows
    if forces is None or not len(rows):
        return np.zeros(0), rows[:0]
    size = np.linalg.norm(forces, axis=1)
    known = np.logical_and.reduceat(np.isfinite(size), silent.offsets[:-1])
    if rule.quantity == "atom_force":
        return size[known[silent.owner]], silent.owner[known[silent.owner]]
    return np.maximum.reduceat(size, silent.offsets[:-1])[known], rows[known]
