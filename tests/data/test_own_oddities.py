"""Labels that pass every check of size and are not what they seem, labelled by ASE's EMT potential."""

import json

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from ffbench_data import load_frames
from ffbench_data.frames import Frames
from ffbench_data.own.facts import read_facts
from ffbench_data.own.oddities import held, per_atom
from ffbench_data.own.options import Options
from ffbench_data.own.seal import add
from ffbench_data.schema import to_table

REPEATS = ((2, 2, 2), (2, 2, 1))


@pytest.fixture(scope="module")
def copper():
    """24 rattled cells of 32 copper atoms and as many of 16: (atoms, energy, forces, ASE's stress)."""
    rng = np.random.default_rng(5)
    out = []
    for repeat in REPEATS:
        for _ in range(24):
            a = bulk("Cu", cubic=True) * repeat
            a.rattle(0.02, rng=rng)
            a.calc = EMT()
            e, f, s = a.get_potential_energy(), a.get_forces(), a.get_stress(voigt=False)
            a.calc = None
            out.append((a, e, f, s))
    return out


def seal(folder, rows, name="mine", **options):
    """``rows`` of (atoms, energy, forces, stress or None) as extended XYZ, added."""
    written = []
    for a, e, f, s in rows:
        b = Atoms(a.numbers, a.positions, cell=a.cell, pbc=a.pbc)
        b.calc = SinglePointCalculator(b, energy=e, forces=f)
        if s is not None:
            b.info["stress"] = np.asarray(s)
        written.append(b)
    write(folder / "a.extxyz", written)
    return add(name, [folder / "a.extxyz"], Options(**options), out=folder / "out")


@pytest.mark.parametrize("both", [False, True])
def test_energies_of_an_atom_are_told_from_hartree(copper, tmp_path, both):
    rows = copper if both else copper[:24]
    each = [(a, e / len(a), f, None) for a, e, f, _ in rows]
    with pytest.raises(ValueError, match=r"energies per atom .*what fits is --units energy=eV/atom,forces=eV/Angstrom"):
        seal(tmp_path, each)
    folder = seal(tmp_path, each, units="eV/atom")
    for frames in load_frames(str(folder)).values():
        for k, row in enumerate(frames.table["source_index"].to_pylist()):
            assert frames.energy[k] == pytest.approx(rows[row][1], abs=1e-6)


def mixed(scale):
    """Twenty molecules of many sizes; energies are those of free atoms (eV, rounded) plus 0.3 eV of noise, times
    ``scale`` of their number of atoms; no forces."""
    rng = np.random.default_rng(2)
    names = ["CH4", "H2O", "CH3OH", "CH3CH2OH", "C6H6", "C2H4", "C2H6", "H2CO", "CH3CHO", "HCOOH"] * 2
    made = [molecule(n) for n in names]
    free = {1: -13.6, 6: -1030.0, 8: -2043.0}
    energy = [(sum(free[z] for z in a.numbers) + rng.normal(0, 0.3)) * scale(len(a)) for a in made]
    return made, energy


def test_energies_that_do_not_grow_with_the_system_are_refused(tmp_path):
    made, energy = mixed(lambda n: 1 / n)
    for k, (a, e) in enumerate(zip(made, energy)):
        a.rattle(0.01, seed=k)
        a.info["energy"] = e
    write(tmp_path / "b.extxyz", made)
    with pytest.raises(ValueError, match=r"do not grow with the number of atoms.*eV/atom"):
        add("b", [tmp_path / "b.extxyz"], Options(forces_key="none"), out=tmp_path / "out")


@pytest.mark.parametrize("shift", [0.0, 5.0])
def test_total_energies_are_not_taken_for_those_of_an_atom(shift):
    made, energy = mixed(lambda n: 1)
    table = to_table(
        [a.numbers for a in made], [a.positions for a in made], [e + shift for e in energy],
        [np.full((len(a), 3), np.nan) for a in made],
    )  # fmt: skip
    assert per_atom(Frames(table)) == []


def told(folder):
    found = json.loads((folder / "validation.json").read_text())["findings"]
    return {f["check"]: f["message"] for f in found if f["level"] == "warning"}


def test_forces_held_at_zero_are_told(copper, tmp_path):
    still = []
    for a, e, f, _ in copper[:24]:
        g = f.copy()
        g[:8] = 0
        still.append((a, e, g, None))
    assert "exactly 0 on 25 % of the atoms" in told(seal(tmp_path, still))["held"]
    (tmp_path / "free").mkdir()
    assert "held" not in told(seal(tmp_path / "free", [(a, e, f, None) for a, e, f, _ in copper[:24]]))


def test_an_equation_of_state_has_no_forces_by_symmetry(tmp_path):
    """Atoms at their sites in cells of other size are labels; the same zeros beside moving atoms are none."""
    frames = []
    for k in range(20):
        a = bulk("Cu", "fcc", a=3.4 + 0.02 * k, cubic=True)
        a.info["energy"], a.arrays["forces"] = 0.5 * (k - 10) ** 2 / 100 - 14.0, np.zeros((4, 3))
        frames.append(a)
    write(tmp_path / "eos.xyz", frames, format="extxyz")
    folder = add("eos", [tmp_path / "eos.xyz"], Options(), out=tmp_path / "out")
    assert read_facts(str(folder))["labels"] == {"energy": True, "forces": True}
    for k, a in enumerate(frames):
        a.rattle(0.1, seed=k)
    write(tmp_path / "moved.xyz", frames, format="extxyz")
    with pytest.raises(ValueError, match="every force on 20 structures is 0"):
        add("moved", [tmp_path / "moved.xyz"], Options(), out=tmp_path / "out")


def test_a_system_at_rest_is_not_held():
    a = bulk("Cu")
    table = to_table([a.numbers] * 20, [a.positions] * 20, [0.0] * 20, [np.zeros((1, 3))] * 20)
    assert held(Frames(table)) == []


def test_stress_of_another_unit_and_sign_is_told_and_can_be_said(copper, tmp_path):
    strained = []
    for a, *_ in copper[:24]:
        b = a.copy()
        b.set_cell(0.98 * b.cell, scale_atoms=True)
        b.calc = EMT()
        s = b.get_stress(voigt=False)
        strained.append((b, b.get_potential_energy(), b.get_forces(), -s / units.GPa * 10))
    assert "GPa" in told(seal(tmp_path, strained))["stress_size"]
    folder = seal(tmp_path, strained, name="said", units="eV,eV/Angstrom,Angstrom,-kbar")
    frames = load_frames(str(folder), split="test")
    row = frames.table["source_index"][0].as_py()
    want = -strained[row][3] / 10 * units.GPa
    np.testing.assert_allclose(np.array(frames.table["cauchy_stress"][0].as_py()), want, atol=1e-6)
    assert "stress_size" not in told(folder)
