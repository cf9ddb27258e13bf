"""Reference potentials: the truth itself as an ASE calculator, where a dataset has one."""

from __future__ import annotations

from ase.calculators.calculator import Calculator, all_changes

from .datacard import known

KNOWN = ("water", "alanine_dipeptide_obc", "ethanol_gfn2", "md17_gfn2")


class _Potential(Calculator):
    """An ASE calculator around ``potential(atomic_numbers, positions) -> (energy, forces)``."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def __init__(self, potential):
        super().__init__()
        self.potential = potential

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.results["energy"], self.results["forces"] = self.potential(self.atoms.numbers, self.atoms.positions)


def reference(name: str) -> Calculator:
    """The potential that labelled dataset ``name``, as an ASE calculator (energies eV, forces eV/Angstrom).

    ``water`` is SPC/Fw for the 64-molecule cell of the dataset, ``alanine_dipeptide_obc`` AMBER-03 + OBC in the
    dataset's atom order, ``ethanol_gfn2`` and ``md17_gfn2`` GFN2-xTB for any molecule.

    ValueError for a dataset without one, or when the engine is missing (extra ``generate``).
    """
    known(name, KNOWN, "reference potential")
    try:
        return _Potential({"water": _water, "alanine_dipeptide_obc": _alanine}.get(name, _gfn2)())
    except ImportError as error:
        raise ValueError(f"the reference of {name!r} needs pip install 'ffbench[generate]' ({error})") from None


def _gfn2():
    import tblite  # noqa: F401

    from .generate.ethanol import GFN2

    made: dict[bytes, GFN2] = {}

    def potential(numbers, positions):
        key = numbers.tobytes()
        if key not in made:
            made[key] = GFN2(numbers, accuracy=0.01)
        return made[key](positions)

    return potential


def _water():
    import openmm

    from .generate import water

    return _openmm(water.context(openmm.VerletIntegrator(0.001)), water.EV)


def _alanine():
    import openmm

    from .generate import alanine

    _, system = alanine.system()
    platform = openmm.Platform.getPlatformByName("Reference")
    return _openmm(openmm.Context(system, openmm.VerletIntegrator(0.001), platform), alanine.EV)


def _openmm(context, ev: float):
    def potential(numbers, positions):
        expected = context.getSystem().getNumParticles()
        if len(positions) != expected:
            raise ValueError(
                f"this reference potential is for {expected} atoms in the dataset's order, got {len(positions)}"
            )
        context.setPositions(positions / 10)
        state = context.getState(energy=True, forces=True)
        return state.getPotentialEnergy()._value / ev, state.getForces(asNumpy=True)._value / (10 * ev)

    return potential
