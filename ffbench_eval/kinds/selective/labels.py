"""What counts as wrong: rules that turn errors into labels."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ffbench_data.datacard import known

from .cases import Cases

UNITS = {"energy": "eV", "force": "eV/Å", "atom_force": "eV/Å"}


@dataclass(frozen=True)
class Rule:
    """A case fails if its residual exceeds ``threshold``, or the ``quantile`` of the residuals of the training part.

    ``quantity``: ``energy`` |E - E_ref| of the structure, ``force`` the largest |F - F_ref| of its atoms,
    ``atom_force`` |F - F_ref| of each atom (the cases are then atoms).
    """

    quantity: str
    quantile: float | None = None
    threshold: float | None = None


RULES = {
    "energy_quantile": Rule("energy", quantile=0.5),  # Mehdi, Cho and Isayev, arXiv:2605.00640
    "energy_absolute": Rule("energy", threshold=0.043),  # 1 kcal/mol
    "force_quantile": Rule("force", quantile=0.5),
    "force_absolute": Rule("force", threshold=0.05),
    "atom_force_quantile": Rule("atom_force", quantile=0.5),
    "atom_force_absolute": Rule("atom_force", threshold=0.05),
}


def residual(cases: Cases, quantity: str) -> np.ndarray:
    """Errors [n] in eV or eV/Angstrom; NaN where the truth is not known."""
    truth = cases.reference_energy if quantity == "energy" else cases.reference_forces
    if truth is None:
        raise ValueError(f"cases carry no reference {'energy' if quantity == 'energy' else 'forces'}: nothing to label")
    if quantity == "energy":
        return np.abs(cases.energy - truth)
    per_atom = np.linalg.norm(cases.forces - truth, axis=1)
    return per_atom if quantity == "atom_force" else np.maximum.reduceat(per_atom, cases.offsets[:-1])


def threshold_of(train: Cases, rule: Rule) -> float:
    """The error (eV or eV/Angstrom) above which a case fails."""
    if rule.threshold is not None:
        return float(rule.threshold)
    errors = residual(train, rule.quantity)
    errors = errors[np.isfinite(errors)]
    if not len(errors):
        raise ValueError(f"no training case has a reference for {rule.quantity!r}: no quantile of its errors exists")
    assert rule.quantile is not None  # a rule has the one or the other
    return float(np.quantile(errors, rule.quantile))


def label(cases: Cases, rule: Rule | str, threshold: float | None = None) -> Cases:
    """The cases with ``residual`` and ``failed``. Give ``threshold`` (of the training part) for any other part.

    >>> from ffbench_eval.kinds.selective.cases import Cases
    >>> two = Cases(np.array([1, 1]), np.zeros((2, 3)), np.array([0, 1, 2]), np.zeros(2), np.zeros((2, 3)),
    ...             reference_energy=np.array([0.01, 0.1]))
    >>> label(two, "energy_absolute").failed
    array([False,  True])
    """
    if isinstance(rule, str):
        rule = RULES[known(rule, RULES, "rule")]
    limit = threshold_of(cases, rule) if threshold is None else threshold
    errors = residual(cases, rule.quantity)
    level = "atom" if rule.quantity == "atom_force" else "structure"
    return replace(cases, residual=errors, failed=errors > limit, level=level)


def one_class(failed: np.ndarray) -> str:
    """Why labels cannot be learnt or ranked: all of one class; empty if both occur."""
    if len(failed) == 0:
        return "there are no cases"
    if failed.all() or not failed.any():
        return f"all {len(failed)} cases {'fail' if failed.all() else 'are reliable'}: one class only"
    return ""
