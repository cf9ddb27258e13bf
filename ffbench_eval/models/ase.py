"""ASE calculators behind the contract."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ffbench_data.contract import AtomsBatch, ForceField, Prediction

from . import results as read
from .results import Hook

if TYPE_CHECKING:
    from ase import Atoms


def is_calculator(thing: Any) -> bool:
    """Whether this is an ASE calculator or a class of such (an `ase.Atoms` is none)."""
    return hasattr(thing, "get_potential_energy") and not hasattr(thing, "get_positions")


def from_ase(
    calculator: Any,
    *,
    elements: Any = None,
    conservative: bool = True,
    card: Mapping[str, Any] | None = None,
    uses_charge: bool = False,
    uses_spin: bool = False,
    batched: bool = False,
    embedding: Hook = None,
    uncertainty: Hook = None,
) -> ForceField:
    """A model from an ASE calculator, one structure after the other: correct, and the slow road.

    Give the calculator, its class, or a function without arguments that makes one: worker processes (``workers=``,
    which share the replicas) need the function where the calculator itself cannot be pickled.

    ``batched=True`` asks the package behind the calculator about all structures of a batch in one call, where that is
    known (`packages.KNOWN`: MACE, ORB, fairchem, AIMNet2, metatomic, MatterSim, GRACE); ValueError for others.

    The energy is the force-consistent one (``free_energy``) where the calculator has it, else ``energy``: electronic
    structure codes report as ``energy`` the value extrapolated to zero smearing, whose gradient the forces are not.
    ``stress`` of periodic systems (eV/Angstrom^3, 3 x 3 or Voigt, ASE's sign), an uncertainty and an embedding of each
    atom are handed on where one calculation gives them too (`results`); ``embedding`` and ``uncertainty`` name another
    result, a method or a function of calculator and atoms, or are ``False``.

    ``uses_charge`` and ``uses_spin`` say that the calculator reads the total charge and spin of the atoms it gets:
    there they are under every name in use (`handed_over`). Without them, only neutral singlets are asked about.

    >>> from ase.calculators.lj import LennardJones
    >>> from_ase(LennardJones()).name
    'LennardJones'
    """
    if isinstance(calculator, Mapping):
        raise ValueError(
            "calculator: a mapping of data sets goes to evaluate as it is, or as {name: from_ase(one), ...}"
        )
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
    uses: dict[str, Any] = {"uses_charge": uses_charge, "uses_spin": uses_spin}
    if batched:
        from .packages import batched_call

        call, stated = batched_call(made, None if ready else calculator)
        stated = {"dtype": torch.float64, "elements": None, **stated}
        stated |= {} if elements is None else {"elements": elements}
        return ForceField(call, stated.pop("cutoff", None), conservative=conservative, card=card, **stated, **uses)
    one = _AseCall(made, None if ready else calculator, embedding, uncertainty)
    return ForceField(one, None, elements, torch.float64, conservative, card, batched=False, **uses)


class _AseCall:
    def __init__(
        self, calculator: Any, make: Callable[[], Any] | None = None, embedding: Hook = None, uncertainty: Hook = None
    ):
        self.calculator, self.make = calculator, make
        self.embedding, self.uncertainty = embedding, uncertainty
        self.state = (0, 1)  # charge and spin multiplicity of the last structure

    def __getstate__(self):
        return self.__dict__ if self.make is None else {**self.__dict__, "calculator": None, "state": (0, 1)}

    def __setstate__(self, state: dict[str, Any]):
        self.__dict__.update(state)
        if self.make is not None:
            self.calculator = self.make()

    def __call__(self, batch: AtomsBatch) -> Prediction:
        said = []
        for atoms, state in structures(batch):
            if state != self.state and hasattr(self.calculator, "reset"):
                self.calculator.reset()  # what it keeps of the last structure is known by its atoms, not by ``info``
            self.state = state
            handed_over(self.calculator, atoms, *state)
            energy, forces, stress = answer(self.calculator, atoms)
            more = {
                "stress": stress,
                "uncertainty": read.uncertainty(self.calculator, atoms, self.uncertainty),
                "embedding": read.embedding(self.calculator, atoms, self.embedding),
            }
            said.append({"energy": energy, "forces": forces, **more})
        return joined(said)


def structures(batch: AtomsBatch) -> Iterator[tuple[Atoms, tuple[int, int]]]:
    """(`ase.Atoms`, (charge, spin multiplicity)) of each system; copies: some calculators move the atoms they get."""
    from ase import Atoms

    start = 0
    for b, n in enumerate(batch.n_atoms.tolist()):
        rows = slice(start, start + n)
        start += n
        atoms = Atoms(
            batch.atomic_numbers[rows].cpu().numpy().copy(),
            batch.positions[rows].detach().cpu().numpy().copy(),
            cell=batch.cell[b].cpu().numpy().copy(),
            pbc=batch.pbc[b].cpu().numpy().copy(),
        )
        yield atoms, (int(batch.charge[b]), int(batch.spin_multiplicity[b]))


def joined(said: list[dict[str, Any]]) -> Prediction:
    """One prediction of the answers on single structures; what some of them lack, the whole lacks."""
    of_atoms = ("forces", "embedding")
    kept = {}
    for name in said[0]:
        values = [one[name] for one in said]
        if all(v is not None for v in values):
            kept[name] = torch.from_numpy(
                np.concatenate(values) if name in of_atoms else np.stack(values).astype(float)
            )
    return Prediction(**kept)


def handed_over(calculator: Any, atoms: Any, charge: int, multiplicity: int) -> None:
    """State charge and spin of ``atoms`` where calculators look for them.

    ``atoms.info``: charge and spin (fairchem, ORB, MACE), total_charge and total_spin, all spins as 2S+1; the methods
    set_charge and set_mult of a calculator (AIMNet2); for others than neutral singlets, charges and magnetic moments of
    the atoms with these sums (tblite, xtb, codes of electronic structure).
    """
    atoms.info |= {"charge": charge, "total_charge": charge}
    atoms.info |= dict.fromkeys(("spin", "total_spin", "spin_multiplicity", "mult"), multiplicity)
    for method, value in (("set_charge", charge), ("set_mult", multiplicity)):
        if hasattr(calculator, method):
            getattr(calculator, method)(value)
    if charge:
        atoms.set_initial_charges(_shared(charge, len(atoms)))
    if multiplicity != 1:
        atoms.set_initial_magnetic_moments(_shared(multiplicity - 1, len(atoms)))


def _shared(total: int, atoms: int) -> np.ndarray:
    """[N], equal but for the last and exactly ``total`` in any order of the sum: some codes cut its digits off."""
    values = np.full(atoms, np.floor(total / atoms * 2**20) / 2**20)
    values[-1] = total - values[:-1].sum()
    return values


def answer(calculator: Any, atoms: Any) -> tuple[float, np.ndarray, np.ndarray | None]:
    """(energy, forces [N, 3], stress [3, 3] or ``None``) of one structure, from one calculation."""
    offered = getattr(calculator, "implemented_properties", ())
    results = _results(calculator, atoms.copy(), [p for p in ("energy", "free_energy", "forces") if p in offered])
    if "forces" not in results or not {"energy", "free_energy"} & results.keys():
        ask = [atoms.copy(), atoms.copy()]  # one of the old kind, or one that computes a single property at a time
        for one in ask:
            one.calc = calculator
        forces = read.array(ask[0].get_forces(), (len(atoms), 3), "forces")
        return read.number(ask[1].get_potential_energy(force_consistent="free_energy" in offered)), forces, None
    energy = results["free_energy"] if results.get("free_energy") is not None else results["energy"]
    stress = read.stress(results.get("stress")) if atoms.pbc.all() else None
    return read.number(energy), read.array(results["forces"], (len(atoms), 3), "forces"), stress


def _results(calculator: Any, atoms: Any, wanted: list[str]) -> dict[str, Any]:
    """What one calculation of all ``wanted`` properties gives; as ASE does it, property by property. Empty for a
    calculator that is not of ASE's own class."""
    from ase.calculators.calculator import PropertyNotImplementedError

    if not all(hasattr(calculator, name) for name in ("calculate", "check_state", "reset", "results")):
        return {}
    changes = calculator.check_state(atoms)
    if changes:
        calculator.reset()
    if not set(wanted) <= calculator.results.keys():
        wanted = wanted or ["energy", "forces"]
        try:
            calculator.calculate(atoms, wanted, changes)
        except PropertyNotImplementedError:
            if "free_energy" not in wanted:
                raise
            # metatomic's says that it offers every property that ASE knows
            calculator.calculate(atoms, [p for p in wanted if p != "free_energy"], changes)
    return calculator.results
