"""What simple sources look at: numpy features [n, F] of cases, per structure or per atom."""

from __future__ import annotations

import numpy as np

from .cases import Cases


def pooled_embedding(cases: Cases) -> np.ndarray:
    """Mean embedding of each structure [T, D], or the embedding of each atom [A, D]."""
    if cases.embedding is None:
        raise ValueError("the model gives no embedding: return one per atom, or name a layer as embedding= in its card")
    if cases.level == "atom":
        return cases.embedding.astype(float)
    total = np.add.reduceat(cases.embedding.astype(float), cases.offsets[:-1])
    return total / cases.n_atoms[:, None]


def size(cases: Cases) -> np.ndarray:
    """Number of atoms of the structure [n, 1]."""
    return cases.per_case(cases.n_atoms.astype(float))[:, None]


def counts(cases: Cases, elements: np.ndarray) -> np.ndarray:
    """Atoms of each element per structure [T, Z]; elements that are not listed are left out."""
    hit = (cases.atomic_numbers[:, None] == elements[None]).astype(float)
    return np.add.reduceat(hit, cases.offsets[:-1])


def composition(cases: Cases, elements: np.ndarray) -> np.ndarray:
    """Counts of the elements [n, Z]; at level atom also which element the atom is [n, 2 Z]."""
    whole = cases.per_case(counts(cases, elements))
    if cases.level == "structure":
        return whole
    return np.hstack([whole, (cases.atomic_numbers[:, None] == elements[None]).astype(float)])


def answer(cases: Cases, elements: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Plain numbers of the answer: energy without the elements' shares, per structure and atom, norms of forces."""
    norm = np.linalg.norm(cases.forces, axis=1)
    start, n = cases.offsets[:-1], cases.n_atoms
    energy = cases.energy - counts(cases, elements) @ offsets
    columns = [
        energy,
        energy / n,
        np.add.reduceat(norm, start) / n,
        np.maximum.reduceat(norm, start),
        np.sqrt(np.add.reduceat(norm**2, start) / n),
    ]
    out = cases.per_case(np.stack(columns, 1))
    if cases.level == "atom":
        out = np.hstack([out, norm[:, None]])
    return np.hstack([out, size(cases), composition(cases, elements)])


def element_energies(cases: Cases) -> tuple[np.ndarray, np.ndarray]:
    """(elements [Z], eV per atom [Z]) that explain the predicted energies best, by least squares."""
    elements = np.unique(cases.atomic_numbers)
    shares, *_ = np.linalg.lstsq(counts(cases, elements), cases.energy, rcond=None)
    return elements, shares


def standardised(train: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(mean, standard deviation) of columns [F]; a constant column gets 1."""
    spread = train.std(0)
    return train.mean(0), np.where(spread > 1e-9 * (1 + np.abs(train).max(0)), spread, 1.0)
