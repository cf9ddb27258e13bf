"""What an ASE calculator's ``results`` hold besides energy and forces: stress, uncertainty, embedding of each atom."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from ffbench_data.prediction import NAMES

# Uncertainties of the energy (eV) and of the forces (eV/Angstrom), and whether the number is a variance (MACE).
OF_ENERGY = {**dict.fromkeys(NAMES["uncertainty"], False), "energy_var": True}
OF_FORCES = {"forces_uncertainty": False, "forces_std": False, "forces_var": True}
Hook = str | Callable[[Any, Any], Any] | bool | None


def plain(value: Any) -> np.ndarray:
    """A copy in float64: calculators reuse their arrays, and some hand over tensors with a graph. ValueError for
    complex numbers, whose imaginary part would be dropped, and for those that a mask hides."""
    given = value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else value
    if np.iscomplexobj(given) or np.ma.is_masked(given):
        kind = "complex" if np.iscomplexobj(given) else "masked"
        raise ValueError(f"the calculator gave {kind} numbers where real ones are expected")
    return np.array(given, dtype=float)


def number(value: Any, name: str = "an energy", unit: str = "eV") -> float:
    values = plain(value)
    if values.size != 1:
        raise ValueError(f"the calculator gave {name} of shape {values.shape}: one number ({unit}) is expected")
    return float(values.reshape(-1)[0])


def array(values: Any, shape: tuple[int, ...], name: str) -> np.ndarray:
    values = plain(values)
    if values.shape != shape:
        raise ValueError(f"the calculator gave {name} of shape {values.shape}, expected {shape}")
    return values


def stress(value: Any) -> np.ndarray | None:
    """[3, 3] eV/Angstrom^3 from a matrix or Voigt's six numbers (xx, yy, zz, yz, xz, xy), the sign as ASE's."""
    from ase.stress import voigt_6_to_full_3x3_stress

    if value is None:
        return None
    values = plain(value).squeeze()
    if values.shape == (6,):
        return voigt_6_to_full_3x3_stress(values)
    if values.shape != (3, 3):
        raise ValueError(f"the calculator gave stress of shape {values.shape}, expected (3, 3) or (6,)")
    return values


def uncertainty(calculator: Any, atoms: Any, hook: Hook = None) -> float | None:
    """One number for the structure, larger = less certain, from ``calculator.results`` or the ``hook``.

    By default the uncertainty of the energy (eV) under any of its names; without one, that of the forces: the largest
    norm over the atoms (eV/Angstrom). A hook is the name of a result, or a function of the calculator and the atoms;
    ``False`` takes none.
    """
    if hook is False:
        return None
    if hook is not None and hook is not True:
        return number(_hooked(calculator, atoms, hook, "uncertainty"), "an uncertainty", "larger = less certain")
    results = getattr(calculator, "results", {})
    for name, variance in OF_ENERGY.items():
        if results.get(name) is not None:
            values = plain(results[name])
            if values.size != 1:
                raise ValueError(
                    f"the calculator gave {name} of shape {values.shape}: one number for the structure is due; "
                    "say what to make of it: from_ase(..., uncertainty=lambda calculator, atoms: ...), or False"
                )
            return float(np.sqrt(values.reshape(-1)[0]) if variance else values.reshape(-1)[0])
    for name, variance in OF_FORCES.items():
        if results.get(name) is not None:
            spread = plain(results[name])
            if spread.shape not in ((len(atoms),), (len(atoms), 3)):
                raise ValueError(f"the calculator gave {name} of shape {spread.shape}, expected ({len(atoms)}, 3)")
            squares = (spread if variance else spread**2).reshape(len(atoms), -1)
            return float(np.sqrt(squares.sum(1).max()))
    return None


def embedding(calculator: Any, atoms: Any, hook: Hook = None) -> np.ndarray | None:
    """[N, D], a row for each atom, from ``calculator.results`` or the ``hook``.

    A hook is the name of a result or of a method that is called with the atoms (MACE: ``get_descriptors``), or a
    function of the calculator and the atoms; ``False`` takes none.
    """
    if hook is False:
        return None
    if hook is not None and hook is not True:
        values = _hooked(calculator, atoms, hook, "embedding")
    else:
        results = getattr(calculator, "results", {})
        values = next((results[k] for k in NAMES["embedding"] if results.get(k) is not None), None)
    if values is None:
        return None
    values = plain(values)
    if values.ndim < 2 or len(values) != len(atoms):
        raise ValueError(
            f"the calculator gave an embedding of shape {values.shape}: a row for each of {len(atoms)} atoms is due"
        )
    return values.reshape(len(atoms), -1)


def _hooked(calculator: Any, atoms: Any, hook: Hook, what: str) -> Any:
    if callable(hook):
        return hook(calculator, atoms)
    if not isinstance(hook, str):
        raise ValueError(f"{what}: {hook!r} must be the name of a result or method, a function, or False")
    results: Mapping[str, Any] = getattr(calculator, "results", {})
    if results.get(hook) is not None:
        return results[hook]
    method = getattr(calculator, hook, None)
    if not callable(method):
        raise ValueError(
            f"{what}={hook!r}: the calculator has no such result or method; its results: {', '.join(sorted(results))}"
        )
    return method(atoms)
