"""Foreign models behind the contract: ASE calculators and plain torch modules."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ffbench_data.contract import AtomsBatch, ForceField, Prediction


def from_ase(calculator: Any, *, elements=None, conservative: bool = True, card=None) -> ForceField:
    """A model from an ASE calculator, one structure after the other: correct, and the slow road.

    Give the calculator, or a function without arguments that makes one: worker processes (``workers=``, which share
    the replicas) need the function where the calculator itself cannot be pickled.

    >>> from ase.calculators.lj import LennardJones
    >>> from_ase(LennardJones()).name
    'LennardJones'
    """
    made = calculator if hasattr(calculator, "get_potential_energy") else calculator()
    if not hasattr(made, "get_potential_energy"):
        raise ValueError(
            f"calculator must be an ASE calculator or a function that makes one, got {type(made).__name__}"
        )
    card = {"name": type(made).__name__, **(card or {})}
    call = _AseCall(made, None if made is calculator else calculator)
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

        energies, forces = [], []
        start = 0
        for b, n in enumerate(batch.n_atoms.tolist()):
            rows = slice(start, start + n)
            atoms = Atoms(
                batch.atomic_numbers[rows].cpu().numpy(),
                batch.positions[rows].detach().cpu().numpy(),
                cell=batch.cell[b].cpu().numpy(),
                pbc=batch.pbc[b].cpu().numpy(),
                calculator=self.calculator,
            )
            forces.append(np.array(atoms.get_forces(), float))
            energies.append(float(atoms.get_potential_energy()))
            start += n
        return Prediction(torch.tensor(energies, dtype=torch.float64), torch.from_numpy(np.concatenate(forces)))
