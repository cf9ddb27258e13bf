"""Reference potentials: the truth behind generated data sets, at any structure, as ASE calculators.

Energies in eV, forces in eV/Angstrom, exactly the labels of the data set: same cut-offs, same accuracy.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.calculators.calculator import Calculator, all_changes

from .datacard import card, known, shipped_datasets

if TYPE_CHECKING:
    from ase import Atoms


def reference(name: str) -> Calculator:
    """The reference potential of a data set as an ASE calculator (energy in eV, forces in eV/Angstrom).

    Where its card names one (``reference: package.module:factory``), that one. ``water`` (SPC/Fw, any number of
    molecules in O, H, H order in an orthorhombic cell of at least 12 Angstrom),
    ``alanine_dipeptide_obc`` (AMBER-03 + OBC, the atom order of the data set), ``ethanol_gfn2`` and ``md17_gfn2``
    (GFN2-xTB, any neutral closed-shell molecule). ValueError for a data set without one (every DFT data set),
    or when OpenMM or tblite is missing.

    >>> calculator = reference("ethanol_gfn2")  # doctest: +SKIP
    """
    makers: dict[str, Callable[[], Calculator]] = {
        "water": _water,
        "alanine_dipeptide_obc": _alanine,
        "ethanol_gfn2": _gfn2,
        "md17_gfn2": _gfn2,
    }
    if name not in makers and (name not in shipped_datasets() or card(name).calculator):
        if spec := card(name).calculator:
            return load_calculator(spec)
        raise ValueError(f"no reference potential: the card of {name} names none (reference: package.module:factory)")
    return makers[known(name, makers, "reference potential")]()


def load_calculator(spec: str) -> Calculator:
    """The ASE calculator that ``package.module:factory`` or ``file.py:factory`` makes. ValueError: what is wrong."""
    place, colon, name = spec.rpartition(":")
    if not colon or not place or not name:
        raise ValueError(f"reference {spec!r}: write package.module:factory, such as ase.calculators.emt:EMT")
    try:
        if place.endswith(".py"):
            loaded = importlib.util.spec_from_file_location(f"ffbench_reference_{Path(place).stem}", place)
            assert loaded is not None
            assert loaded.loader is not None
            module = importlib.util.module_from_spec(loaded)
            loaded.loader.exec_module(module)
        else:
            module = importlib.import_module(place)
        made = getattr(module, name)
        calculator = made() if callable(made) else made
    except ImportError as error:
        raise ValueError(f"reference {spec!r} needs {error.name or place}: install it") from None
    except Exception as error:
        raise ValueError(f"reference {spec!r} raised {type(error).__name__}: {error}") from None
    if not hasattr(calculator, "get_property"):
        raise ValueError(f"reference {spec!r} gave {type(calculator).__name__}, which is no ASE calculator")
    return calculator


def label(
    calculator: Calculator,
    numbers: Any,
    positions: Any,
    cell: np.ndarray | None = None,
    *,
    charge: int = 0,
    spin: int = 1,
) -> tuple[np.ndarray, np.ndarray]:
    """Energies [T] and forces [T, N, 3] of ``positions`` [T, N, 3]; periodic if a ``cell`` [3, 3] is given. ``charge``
    and ``spin`` (2S+1) are in the atoms' ``info``. What the calculator raises goes through.

    >>> from ase.calculators.lj import LennardJones
    >>> pair = [[[0, 0, 0], [2 ** (1 / 6), 0, 0]]]
    >>> energy, forces = label(LennardJones(sigma=1.0, epsilon=1.0, rc=50.0), [18, 18], pair)
    >>> energy.round(6).tolist(), forces.shape
    ([-1.0], (1, 2, 3))
    """
    from ase import Atoms

    atoms = Atoms(numbers, positions[0], cell=cell, pbc=cell is not None, info={"charge": charge, "spin": spin})
    calculator.reset()  # it knows results by the atoms, without their charge
    atoms.calc = calculator
    energy, forces = np.empty(len(positions)), np.empty(np.shape(positions))
    for t, x in enumerate(positions):
        atoms.positions[:] = x
        energy[t], forces[t] = atoms.get_potential_energy(), atoms.get_forces()
    return energy, forces


class _Potential(Calculator):
    """``prepare(numbers, cell)`` makes a function positions -> (energy, forces); made anew for other atoms."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012 (ASE's own convention)

    def __init__(self, prepare: Callable[[np.ndarray, np.ndarray], Callable], name: str):
        super().__init__()
        self.prepare, self.title = prepare, name
        self._key: Any = None
        self._function: Any = None

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy", "forces"),
        system_changes: Any = all_changes,
    ):
        super().calculate(atoms, properties, system_changes)
        now: Any = self.atoms
        charge, spin = now.info.get("charge", 0), now.info.get("spin", 1)
        if charge or spin != 1:
            raise ValueError(
                f"{self.title} is set up for neutral singlets, got charge {charge} and spin multiplicity {spin}"
            )
        cell = np.asarray(now.cell) * now.pbc[:, None]
        key = (now.numbers.tobytes(), cell.tobytes())
        if key != self._key:
            self._function, self._key = self.prepare(now.numbers.copy(), cell), key
        energy, forces = self._function(now.positions)
        self.results = {"energy": float(energy), "forces": np.asarray(forces)}


def _needs(module: str, name: str) -> None:
    from importlib.util import find_spec

    if find_spec(module) is None:
        raise ValueError(f"reference({name!r}) needs {module}: pip install 'ffbench[generate]'")


def _openmm(context: Any) -> Callable:
    from .generate.water import EV

    def function(positions: np.ndarray):
        context.setPositions(positions / 10)
        state = context.getState(energy=True, forces=True)
        forces = state.getForces(asNumpy=True)._value / (10 * EV)
        return state.getPotentialEnergy()._value / EV, forces

    return function


def _water() -> Calculator:
    _needs("openmm", "water")

    def prepare(numbers: np.ndarray, cell: np.ndarray):
        import openmm

        from .generate import water

        molecules = len(numbers) // 3
        if len(numbers) % 3 or (numbers.reshape(-1, 3) != [8, 1, 1]).any():
            raise ValueError("reference('water'): atoms must be water molecules in the order O, H, H")
        side = float(cell[0, 0])
        if side < 2 * 6.0 or not np.allclose(cell, side * np.eye(3)):
            raise ValueError(
                f"reference('water'): the cell must be periodic, cubic and at least 12 A wide, got {cell.tolist()}"
            )
        integrator = openmm.VerletIntegrator(0.001)
        return _openmm(water.context(integrator, molecules=molecules, cell=side))

    return _Potential(prepare, "SPC/Fw")


def _alanine() -> Calculator:
    _needs("openmm", "alanine_dipeptide_obc")

    def prepare(numbers: np.ndarray, cell: np.ndarray):
        import openmm
        from openmm import app

        from .generate import alanine

        wanted = [app.Element.getBySymbol(row[1]).atomic_number for row in alanine.ATOMS]
        if list(numbers) != wanted or cell.any():
            raise ValueError(
                "reference('alanine_dipeptide_obc'): atoms must be the 22 of the data set in its order, not periodic"
            )
        platform = openmm.Platform.getPlatformByName("Reference")
        return _openmm(openmm.Context(alanine.system()[1], openmm.VerletIntegrator(0.001), platform))

    return _Potential(prepare, "AMBER-03 + OBC")


def _gfn2() -> Calculator:
    _needs("tblite", "md17_gfn2")

    def prepare(numbers: np.ndarray, cell: np.ndarray):
        from .generate.ethanol import GFN2

        if cell.any():
            raise ValueError("reference('md17_gfn2'): molecules only, set pbc=False")
        return GFN2(numbers)

    return _Potential(prepare, "GFN2-xTB")
