"""Foreign models behind the contract: ASE calculators and plain torch modules."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ffbench_data.contract import AtomsBatch, ForceField, Prediction


def is_calculator(thing: Any) -> bool:
    """Whether this is an ASE calculator or a class of such (an `ase.Atoms` is none)."""
    return hasattr(thing, "get_potential_energy") and not hasattr(thing, "get_positions")


def from_ase(calculator: Any, *, elements=None, conservative: bool = True, card=None) -> ForceField:
    """A model from an ASE calculator, one structure after the other: correct, and the slow road.

    Give the calculator, its class, or a function without arguments that makes one: worker processes (``workers=``,
    which share the replicas) need the function where the calculator itself cannot be pickled.

    The energy is the force-consistent one (``free_energy``) where the calculator has it, else ``energy``: electronic
    structure codes report as ``energy`` the value extrapolated to zero smearing, whose gradient the forces are not.
    ``stress`` of periodic systems is handed on where one calculation gives it too.

    >>> from ase.calculators.lj import LennardJones
    >>> from_ase(LennardJones()).name
    'LennardJones'
    """
    ready = is_calculator(calculator) and not isinstance(calculator, type)
    if not ready and not callable(calculator):
        raise ValueError(
            f"calculator must be an ASE calculator, its class, or a function that makes one, got {calculator!r}"
        )
    made = calculator if ready else calculator()
    if not is_calculator(made):
        raise ValueError(
            f"calculator must be an ASE calculator, its class, or a function that makes one, got {type(made).__name__}"
        )
    card = {"name": type(made).__name__, **(card or {})}
    call = _AseCall(made, None if ready else calculator)
    return ForceField(call, None, elements, torch.float64, conservative, card, batched=False)


class _AseCall:
    def __init__(self, calculator, make=None):
        self.calculator, self.make = calculator, make

    def __getstate__(self):
        return self.__dict__ if self.make is None else {"calculator": None, "make": self.make}

    def __setstate__(self, state):
        self.__dict__.update(state)
        if self.make is not None:
            self.calculator = self.make()

    def __call__(self, batch: AtomsBatch) -> Prediction:
        from ase import Atoms

        energies, forces, stresses = [], [], []
        start = 0
        for b, n in enumerate(batch.n_atoms.tolist()):
            rows = slice(start, start + n)
            atoms = Atoms(  # copies: some calculators move or wrap the atoms they get
                batch.atomic_numbers[rows].cpu().numpy().copy(),
                batch.positions[rows].detach().cpu().numpy().copy(),
                cell=batch.cell[b].cpu().numpy().copy(),
                pbc=batch.pbc[b].cpu().numpy().copy(),
            )
            energy, force, stress = answer(self.calculator, atoms)
            energies.append(energy)
            forces.append(force)
            stresses.append(stress)
            start += n
        known = [s for s in stresses if s is not None]
        return Prediction(
            torch.tensor(energies, dtype=torch.float64),
            torch.from_numpy(np.concatenate(forces)),
            stress=torch.from_numpy(np.stack(known)) if known and len(known) == len(stresses) else None,
        )


def answer(calculator: Any, atoms: Any) -> tuple[float, np.ndarray, np.ndarray | None]:
    """(energy, forces [N, 3], stress [3, 3] or ``None``) of one structure, from one calculation."""
    offered = getattr(calculator, "implemented_properties", ())
    results = _results(calculator, atoms.copy(), [p for p in ("energy", "free_energy", "forces") if p in offered])
    if "forces" not in results or not {"energy", "free_energy"} & results.keys():
        ask = [atoms.copy(), atoms.copy()]  # one of the old kind, or one that computes a single property at a time
        for one in ask:
            one.calc = calculator
        forces = _array(ask[0].get_forces(), (len(atoms), 3), "forces")
        return _number(ask[1].get_potential_energy(force_consistent="free_energy" in offered)), forces, None
    energy = results["free_energy"] if results.get("free_energy") is not None else results["energy"]
    stress = _stress(results.get("stress")) if atoms.pbc.all() else None
    return _number(energy), _array(results["forces"], (len(atoms), 3), "forces"), stress


def _results(calculator: Any, atoms: Any, wanted: list[str]) -> dict[str, Any]:
    """What one calculation of all ``wanted`` properties gives; as ASE does it, property by property. Empty for a
    calculator that is not of ASE's own class."""
    if not all(hasattr(calculator, name) for name in ("calculate", "check_state", "reset", "results")):
        return {}
    changes = calculator.check_state(atoms)
    if changes:
        calculator.reset()
    if not set(wanted) <= calculator.results.keys():
        calculator.calculate(atoms, wanted or ["energy", "forces"], changes)
    return calculator.results


def _plain(value: Any) -> np.ndarray:
    """A copy in float64: calculators reuse their arrays, and some hand over tensors with a graph."""
    return np.array(value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else value, dtype=float)


def _number(energy: Any) -> float:
    values = _plain(energy)
    if values.size != 1:
        raise ValueError(f"the calculator gave an energy of shape {values.shape}: one number (eV) is expected")
    return float(values.reshape(-1)[0])


def _array(values: Any, shape: tuple[int, ...], name: str) -> np.ndarray:
    values = _plain(values)
    if values.shape != shape:
        raise ValueError(f"the calculator gave {name} of shape {values.shape}, expected {shape}")
    return values


def _stress(stress: Any) -> np.ndarray | None:
    from ase.stress import voigt_6_to_full_3x3_stress

    if stress is None:
        return None
    values = _plain(stress)
    return values if values.shape == (3, 3) else voigt_6_to_full_3x3_stress(values) if values.shape == (6,) else None
