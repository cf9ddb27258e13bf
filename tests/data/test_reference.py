import importlib.util

import numpy as np
import pytest
from ase import Atoms

from ffbench_data import label, reference


def slope(atoms, atom, axis, h=1e-4):
    """-dE/dx by central difference."""
    energies = []
    for sign in (1, -1):
        moved = atoms.copy()
        moved.calc = atoms.calc
        moved.positions[atom, axis] += sign * h
        energies.append(moved.get_potential_energy())
    return -(energies[0] - energies[1]) / (2 * h)


def test_water():
    pytest.importorskip("openmm")
    from ffbench_data.generate import water

    x = water.lattice(np.random.default_rng(0))
    atoms = Atoms([8, 1, 1] * 64, x, cell=np.eye(3) * water.CELL, pbc=True)
    atoms.calc = reference("water")
    force = atoms.get_forces()
    assert force[4, 1] == pytest.approx(slope(atoms, 4, 1, 2e-3), abs=2e-3)
    energy, forces = label(reference("water"), atoms.numbers, x[None], atoms.cell)
    assert energy[0] == pytest.approx(atoms.get_potential_energy(), abs=1e-5)
    assert forces[0] == pytest.approx(force, abs=1e-4)
    cut = x % 12.43 if np.ptp(x) > 12.43 else x + 12.43 * (np.arange(len(x)) % 3 == 1)[:, None]
    energy_cut, forces_cut = label(reference("water"), atoms.numbers, cut[None], atoms.cell)
    assert energy_cut[0] == pytest.approx(energy[0], abs=1e-4), "a molecule cut by the boundary is the same molecule"
    assert forces_cut[0] == pytest.approx(force, abs=1e-3)
    with pytest.raises(ValueError, match="cubic"):
        Atoms("OHH", x[:3], calculator=reference("water")).get_forces()
    with pytest.raises(ValueError, match="O, H, H"):
        Atoms("HHO", x[:3], cell=np.eye(3) * 15, pbc=True, calculator=reference("water")).get_forces()


def test_alanine_dipeptide():
    pytest.importorskip("openmm")
    from ffbench_data.generate import alanine

    atoms = Atoms([row[1] for row in alanine.ATOMS], alanine.structure(), calculator=reference("alanine_dipeptide_obc"))
    assert atoms.get_forces()[8, 2] == pytest.approx(slope(atoms, 8, 2), abs=1e-4)
    with pytest.raises(ValueError, match="22"):
        Atoms("H2", [[0, 0, 0], [0, 0, 1]], calculator=reference("alanine_dipeptide_obc")).get_forces()


def test_gfn2():
    pytest.importorskip("tblite")
    atoms = Atoms("OH2", [[0, 0, 0], [0, 0.76, 0.59], [0, -0.76, 0.59]], calculator=reference("md17_gfn2"))
    assert atoms.get_potential_energy() == pytest.approx(-5.07 * 27.2114, abs=0.1)  # GFN2 water: -5.07 hartree
    assert atoms.get_forces()[1, 1] == pytest.approx(slope(atoms, 1, 1), abs=1e-3)


def test_no_reference_and_missing_engine(monkeypatch):
    with pytest.raises(ValueError, match="unknown reference potential 'md17'"):
        reference("md17")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'ffbench\[generate\]'"):
        reference("water")


def test_a_reference_that_is_built_anew_is_read_anew(tmp_path):
    """In the same process: one object while the file stays, other facts as soon as it is another."""
    import json

    from ffbench_data.atomic import write_text
    from ffbench_data.observables import read_reference

    (tmp_path / "reference").mkdir()
    write_text(tmp_path / "reference" / "reference.json", json.dumps({"starts": [1]}))
    first = read_reference(tmp_path)
    assert read_reference(tmp_path) is first
    write_text(tmp_path / "reference" / "reference.json", json.dumps({"starts": [2]}))
    assert read_reference(tmp_path).facts == {"starts": [2]}
    assert read_reference(tmp_path / "none") is None
