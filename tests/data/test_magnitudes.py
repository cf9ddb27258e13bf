"""Labels in another unit are found on single frames, in every shipped data set; the right ones pass."""

import numpy as np
import pyarrow as pa
import pytest
from ase import units

from ffbench_data import Frames, load_frames
from ffbench_data.builders.read import KCAL, read_npz
from ffbench_data.datacard import card
from ffbench_data.magnitudes import atom_energy, bond_stiffness, check_magnitudes, thermal_range, total_energy
from ffbench_data.own.units import judge
from ffbench_data.schema import to_table
from ffbench_data.validate import check_frames

HA, BOHR, KJ = units.Hartree, units.Bohr, units.kJ / units.mol
SETS = {
    "three_bpa": "3bpa/train_300K",
    "acac": "acac/train_600K",
    "md17": "md17/ethanol_train",
    "lips": "lips/val_1000",
    "gete": "gete/val_300",
    "water": "",
    "alanine_dipeptide_obc": "",
    "ethanol_gfn2": "",
}
WRONG = {  # factors of energy, forces, lengths
    "Hartree and Hartree/A": (1 / HA, 1 / HA, 1),
    "Hartree and Hartree/Bohr": (1 / HA, BOHR / HA, 1),
    "kcal/mol": (1 / KCAL, 1 / KCAL, 1),
    "kJ/mol": (1 / KJ, 1 / KJ, 1),
    "meV": (1e3, 1e3, 1),
    "eV read as kcal/mol": (KCAL, KCAL, 1),
    "energies in Hartree": (1 / HA, 1, 1),
    "energies in kcal/mol": (1 / KCAL, 1, 1),
    "energies in kJ/mol": (1 / KJ, 1, 1),
    "eV energies read as kcal/mol": (KCAL, 1, 1),
    "forces in Hartree/Bohr": (1, BOHR / HA, 1),
    "forces in kcal/mol/A": (1, 1 / KCAL, 1),
    "forces in kJ/mol/nm": (1, 10 / KJ, 1),
    "forces in meV/A": (1, 1e3, 1),
    "gradients": (1, -1, 1),
    "Bohr": (1, 1, 1 / BOHR),
    "nm": (1, 1, 0.1),
    "Angstrom read as Bohr": (1, 1, BOHR),
}


def frames_of(name, shared_data):
    if SETS[name]:
        frames = Frames(read_npz(shared_data / f"{SETS[name]}.npz", method="", periodic=None))
    else:
        frames = load_frames(name, split="test")
    return frames[:: max(1, len(frames) // 40)]


def changed(frames, energy=1.0, forces=1.0, lengths=1.0):
    o = frames.offsets

    def split(a):
        return [a[o[i] : o[i + 1]] for i in range(len(frames))]

    return Frames(
        to_table(
            split(frames.atomic_numbers),
            split(frames.positions * lengths),
            frames.energy * energy,
            split(frames.forces.astype(float) * forces),
            cell=frames.cell * lengths,
            pbc=frames.pbc,
        )
    )


def errors(frames, name):
    kelvin = thermal_range(card(name).temperature_K)
    return {f.check for f in check_frames(frames, name, temperature=kelvin) if f.level == "error"}


@pytest.mark.filterwarnings("ignore::ffbench_data.builders.labels.NotUsed")
@pytest.mark.parametrize("name", SETS)
def test_every_unit_mistake_in_every_data_set_is_an_error(name, shared_data):
    frames = frames_of(name, shared_data)
    assert errors(frames, name) == set()
    kelvin = thermal_range(card(name).temperature_K)
    assert {f.level for f in check_magnitudes(frames, name, kelvin)} == {"ok"}
    missed = [what for what, factors in WRONG.items() if not errors(changed(frames, *factors), name)]
    assert missed == []


def test_one_molecule_is_enough(shared_data):
    """One frame of 3BPA in Hartree and Hartree/A, which passed every check."""
    one = frames_of("three_bpa", shared_data)[:1]
    assert {f.level for f in check_magnitudes(one, "", (300.0, 1200.0))} == {"ok"}
    found = check_magnitudes(changed(one, 1 / HA, 1 / HA), "", (300.0, 1200.0))
    assert {f.check for f in found if f.level == "error"} == {"bond_stiffness", "force_size", "total_energy"}
    assert any("in Hartree?" in f.message for f in found)


def test_scans_have_no_temperature_and_still_a_bond(shared_data):
    scans = load_frames("ethanol_gfn2", "bond_scans", "test")
    assert "error" not in {f.level for f in check_magnitudes(scans, "", (500.0, 500.0))}
    table = scans.table.set_column(
        scans.table.column_names.index("atomic_forces"),
        "atomic_forces",
        changed(scans, forces=1 / HA).table["atomic_forces"],
    )
    assert "error" in {f.level for f in bond_stiffness(Frames(table), "")}


def test_free_atoms_against_published_calculations(shared_data):
    """wB97X and PBE atoms of BOTNet-datasets, and Hartree-Fock krypton (-2752.055 Hartree)."""
    import json

    atoms = json.loads((shared_data / "isolated_atoms.json").read_text())
    for theory in ("3bpa", "acac"):
        for symbol, energy in atoms[theory].items():
            z = {"H": 1, "C": 6, "N": 7, "O": 8}[symbol]
            assert atom_energy(z) == pytest.approx(energy, rel=4e-3)
    assert atom_energy(36) == pytest.approx(-2752.055 * HA, rel=2e-3)
    assert atom_energy(18) == pytest.approx(atom_energy(17) * 527.54 / 460.148, rel=1e-4)


def test_a_spring_gives_its_constant_and_its_sign():
    rng = np.random.default_rng(0)
    r = 1.09 + 0.03 * rng.normal(size=100)
    x = np.zeros((100, 2, 3))
    x[:, 1, 2] = r
    f = np.zeros_like(x)
    f[:, 1, 2], f[:, 0, 2] = -31 * (r - 1.09), 31 * (r - 1.09)

    def found(factor):
        return next(iter(bond_stiffness(Frames(to_table([6, 1], x, np.zeros(100), factor * f)), "")))

    assert found(1.0).value == pytest.approx(31, rel=1e-6)
    assert [found(s).level for s in (1.0, 1.3, 1.9, 4.184, 23.06, 1 / 27.2, -1.0, 0.0)] == [
        "ok", "ok", "warning", "warning", "error", "error", "error", "error"
    ]  # fmt: skip
    assert "kcal/mol/A" in found(23.06).message
    assert "wrong sign" in found(-1.0).message


def test_valence_energies_are_no_mistake():
    """Energies without cores (GFN2: 0.074 of all-electron ones; a force field: none of it) say nothing of units."""
    for name in ("ethanol_gfn2", "water", "alanine_dipeptide_obc"):
        assert total_energy(load_frames(name, split="test")[:5], "") == []


def test_a_spin_that_the_electrons_do_not_allow():
    def levels(numbers=(1,), **state):
        x = np.zeros((1, len(numbers), 3))
        x[0, :, 0] = np.arange(len(numbers))
        frames = Frames(to_table(list(numbers), x, [0.0], 0 * x, **state))
        return [f.level for f in check_frames(frames, "") if f.check == "electrons"]

    assert levels() == []  # of free atoms hardly any file states the spin
    assert levels((8, 1)) == ["warning"]
    assert levels(spin_multiplicity=2) == ["note"]
    assert levels(charge=1) == ["note"]
    assert levels(charge=-1, spin_multiplicity=2) == ["warning", "note"]


def test_the_build_says_its_kinds_of_warnings(shared_data, tmp_path):
    from typer.testing import CliRunner

    from ffbench_data.cli import app

    said = CliRunner().invoke(app, ["build", "gete", "--source", str(shared_data / "gete"), "--out", str(tmp_path)])
    assert said.exit_code == 0, said.exception
    assert "warning: net_force, blocked/train: net force up to" in said.output
    assert "warning: work, gete: " in said.output


def test_shuffled_ev_read_as_kcal_is_not_built(shared_data, tmp_path):
    """998 frames of MD17 in eV under upstream's name, which is in kcal/mol: no trajectory can tell."""
    from ffbench_data import build

    with np.load(shared_data / "md17/ethanol_train.npz") as d:
        np.savez(tmp_path / "md17_ethanol.npz", z=d["z"], R=d["pos"], E=d["energy"], F=d["forces"])
    with pytest.raises(ValueError, match=r"force constant of C-H bonds 1\.\d+ eV/A\^2.*kcal/mol/A twice"):
        build("md17", tmp_path, tmp_path / "out")


def test_a_split_without_labels_is_refused_unless_the_card_asks():
    from ffbench_data.validate import validate

    x = np.zeros((3, 2, 3))
    x[:, 1, 0] = 0.74
    table = to_table([1, 1], x, [np.nan] * 3, x)
    assert any("no frame has energy" in f.message for f in validate({"c": {"test": table}}) if f.level == "error")
    scan = to_table([1, 1], x, [-31.7] * 3, x * np.nan)
    assert any(
        f.check == "finite" and f.level == "error"
        for f in validate({"300K_to_600K": {"test": scan}}, card("three_bpa"))
    )
    assert not any(
        f.check == "finite" and f.level == "error" for f in validate({"dihedral": {"test": scan}}, card("three_bpa"))
    )
    assert pa.types.is_floating(table["energy"].type)


def real(count=300, **changes):
    """Frames of the ethanol data in their order of time, 50 fs or more apart, with other labels."""
    frames = load_frames("ethanol_gfn2", split="test")[:count]
    z, x = frames.stacked()
    made = {"energy": frames.energy, "forces": frames.forces.reshape(x.shape)} | changes
    return Frames(to_table(z, x, made["energy"], made["forces"]))


def test_energies_of_other_frames_are_doubted():
    """The same numbers, each given to the frame half a file away: size and spread are right, and they mean nothing."""
    energy = real().energy
    told = {
        name: [f.check for f in judge(real(energy=e), (500, 500)) if f.level == "warning"]
        for name, e in (("own", energy), ("of others", np.roll(energy, 150)))
    }
    assert told == {"own": [], "of others": ["belonging"]}


def test_where_neighbours_in_time_lie_too_far_apart_the_nearest_frames_tell_the_units():
    """Energies a fifth of their size: any size is possible, but their differences are a fifth of the forces' work."""
    found = judge(real(energy=real().energy / 5), (500, 500))
    assert "work" in [f.check for f in found if f.level == "error"]
