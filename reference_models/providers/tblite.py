"""GFN1-xTB and GFN2-xTB through tblite: semi-empirical methods as models, the baseline that trained ones are held to.

(Grimme, Bannwarth and Shushkov, J. Chem. Theory Comput. 13, 1989 (2017); Bannwarth, Ehlert and Grimme, ibid. 15, 1652
(2019).) Charge and spin of a structure are used; one structure after the other.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ffbench_data.contract import AtomsBatch, ForceField, Prediction

from . import guarded

HARTREE, BOHR = 27.211386245988, 0.529177210903  # eV, Angstrom
ELEMENTS = tuple(range(1, 87))


def gfn1(*, accuracy: float = 0.01) -> ForceField:
    """GFN1-xTB; ``accuracy`` of the self-consistent charges as in xtb (1 is its default)."""
    return _model("GFN1-xTB", accuracy)


def gfn2(*, accuracy: float = 0.01) -> ForceField:
    """GFN2-xTB, at the accuracy of the labels of `ethanol_gfn2`."""
    return _model("GFN2-xTB", accuracy)


def _model(method: str, accuracy: float) -> ForceField:
    if not accuracy > 0:
        raise ValueError(f"accuracy must be positive, got {accuracy}; 1 is the default of xtb, smaller is tighter")
    with guarded("tblite"):
        from tblite import interface  # noqa: F401  (a missing library is told now, not at the first call)
    return ForceField(
        TightBinding(method, accuracy),
        None,
        ELEMENTS,
        torch.float64,
        True,
        batched=False,
        uses_charge=True,
        uses_spin=True,
    )


@dataclass(frozen=True)
class TightBinding:
    """A picklable call: the method, and how tightly charges converge."""

    method: str
    accuracy: float

    def __call__(self, batch: AtomsBatch) -> Prediction:
        energies, forces, stresses = [], [], []
        for b, atoms in enumerate(torch.arange(batch.n_atoms.sum().item()).split(batch.n_atoms.tolist())):
            energy, force, stress = self._one(batch, b, atoms)
            energies.append(energy)
            forces.append(force)
            stresses.append(stress)
        known = [s for s in stresses if s is not None]
        return Prediction(
            torch.tensor(energies, dtype=torch.float64),
            torch.cat(forces),
            stress=torch.stack(known) if len(known) == len(stresses) else None,
        )

    def _one(self, batch: AtomsBatch, b: int, atoms: torch.Tensor):
        from tblite.interface import Calculator

        x = batch.positions[atoms].detach().double().cpu().numpy() / BOHR
        periodic, cell = batch.pbc[b].cpu().numpy(), batch.cell[b].double().cpu().numpy()
        made = Calculator(
            self.method,
            batch.atomic_numbers[atoms].cpu().numpy(),
            x,
            charge=float(batch.charge[b]),
            uhf=int(batch.spin_multiplicity[b]) - 1,
            lattice=cell / BOHR if periodic.any() else None,
            periodic=periodic if periodic.any() else None,
        )
        made.set("verbosity", 0)
        made.set("accuracy", self.accuracy)
        made.set("max-iter", 500)
        found = made.singlepoint()
        stress = None
        if periodic.all():
            volume = abs(float(torch.linalg.det(batch.cell[b].double())))
            stress = torch.from_numpy(found["virial"].copy()) * HARTREE / volume
        force = -torch.from_numpy(found["gradient"].copy()) * HARTREE / BOHR
        return float(found["energy"]) * HARTREE, force, stress
