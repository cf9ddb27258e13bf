"""`ffbench data add`: what is found, what is asked for in one line, and what lies in the sealed folder."""

import json
import re

import numpy as np
import pytest
from ase import Atoms, units
from ase.io import write

from ffbench_data import card, load_frames, verify
from ffbench_data.observables import read_reference
from ffbench_data.own.facts import read_facts
from ffbench_data.own.options import Options
from ffbench_data.own.order import _newton
from ffbench_data.own.seal import add, seal_of
from ffbench_data.own.units import parse_units
from tests.data import own_files as files

HARTREE, BOHR = units.Hartree, units.Bohr


@pytest.fixture(scope="module")
def frames():
    return files.ethanol(60)


def seal(folder, atoms, name="mine", file="a.extxyz", **options):
    write(folder / file, atoms)
    return add(name, [folder / file], Options(**options), out=folder / "out")


def scaled(frames, energy=1.0, forces=1.0, length=1.0):
    out = files.atoms_of(frames)
    for a in out:
        a.positions *= length
        a.info["energy"] *= energy
        a.arrays["forces"] *= forces
    return out


def test_a_plain_file_is_sealed_like_the_shipped_ones(frames, tmp_path):
    folder = seal(tmp_path, files.atoms_of(frames), temperature="500", theory="GFN2-xTB")
    assert verify("mine", root=tmp_path / "out")["version"] == "1.0.0"
    parts = load_frames(str(folder))
    assert {k: len(v) for k, v in parts.items()} == {"train": 42, "val": 6, "test": 12}
    about = card(str(folder))
    assert (about.theory, about.temperature_K, about.redistributable) == ("GFN2-xTB", 500, False)
    rows = np.concatenate([f.table["source_index"].to_numpy() for f in parts.values()])
    assert sorted(rows) == list(range(60))
    for f in parts.values():
        for k, row in enumerate(f.table["source_index"].to_pylist()):
            assert f.energy[k] == pytest.approx(frames.energy[row], abs=1e-6)
            np.testing.assert_allclose(f[k].forces, frames[row].forces, atol=1e-6)
    facts = read_facts(str(folder))
    assert facts["targets"][0]["label"] == "C2H6O"
    assert any("not ordered in time" in line for line in facts["not_allowed"])


def test_the_same_files_are_not_read_again_and_others_are_the_next_version(frames, tmp_path):
    first = seal(tmp_path, files.atoms_of(frames)).stat().st_ino
    again = add("mine", [tmp_path / "a.extxyz"], Options(), out=tmp_path / "out")
    assert again.stat().st_ino == first
    assert card(str(seal(tmp_path, files.atoms_of(frames[:50])))).version == "2.0.0"


@pytest.mark.parametrize(
    ("change", "units_"),
    [
        ({"energy": 1 / HARTREE, "forces": BOHR / HARTREE}, "energy=Hartree,forces=Hartree/Bohr,length=Angstrom"),
        ({"energy": 1 / HARTREE, "forces": BOHR / HARTREE, "length": 1 / BOHR},
         "energy=Hartree,forces=Hartree/Bohr,length=Bohr"),
        ({"energy": 1 / files.KCAL, "forces": 1 / files.KCAL},
         "energy=kcal/mol,forces=kcal/mol/Angstrom,length=Angstrom"),
        ({"forces": -1.0}, "energy=eV,forces=-eV/Angstrom,length=Angstrom"),
    ],
)  # fmt: skip
def test_other_units_are_one_line_with_the_option_and_the_option_works(frames, tmp_path, change, units_):
    with pytest.raises(ValueError, match="--units") as caught:
        seal(tmp_path, scaled(frames, **change), temperature="500")
    told = [part.split()[0] for part in str(caught.value).split("--units ")[1:]]
    assert units_ in told
    folder = seal(tmp_path, scaled(frames, **change), temperature="500", units=units_)
    found = load_frames(str(folder), split="test")
    row = found.table["source_index"].to_pylist()[0]
    assert found.energy[0] == pytest.approx(frames.energy[row], rel=1e-9)
    np.testing.assert_allclose(found[0].positions, frames[row].positions, atol=1e-6)
    np.testing.assert_allclose(found[0].forces, frames[row].forces, atol=1e-5)


def without(frames, *names):
    out = files.atoms_of(frames)
    for a in out:
        for name in names:
            a.info.pop(name, None)
            a.arrays.pop(name, None)
    return out


def two_energies(frames):
    out = files.atoms_of(frames, "REF_energy", "REF_forces")
    for a in out:
        a.info["dft_energy"] = a.info["REF_energy"] + 1
    return out


def another_label(frames):
    out = files.atoms_of(frames)
    more = files.atoms_of(frames[:3])
    for a in more:
        a.info["energy"] += 0.5
    return out + more


def periodic_without_cell(frames):
    out = files.atoms_of(frames)
    for a in out:
        a.pbc = True
    return out


def of_other_frames(frames):
    out = files.atoms_of(files.ethanol(120))
    forces = [a.arrays["forces"].copy() for a in out]
    for k, a in enumerate(out):
        a.arrays["forces"] = forces[(k * 7 + 3) % len(out)]
    return out


def unknown_names(frames):
    return files.atoms_of(frames, "my_e", "my_f")


@pytest.mark.parametrize(
    ("make", "why", "options"),
    [
        (lambda f: without(f, "energy"), "say --energy-key none", {"energy_key": "none"}),
        (lambda f: without(f, "forces"), "say --forces-key none", {"forces_key": "none"}),
        (unknown_names, "has my_e, my_f per atom: name it, --energy-key", {"energy_key": "my_e", "forces_key": "my_f"}),
        (two_energies, "--energy-key dft_energy or --energy-key REF_energy", {"energy_key": "REF_energy"}),
        (periodic_without_cell, "--cell A,B,C .*--pbc no", {"pbc": "no"}),
        (another_label, "with another energy", None),
        (of_other_frames, "do not follow the lengths", None),
        (lambda f: without(f, "energy", "forces"), "no energy under a usual name", None),
    ],
)
def test_hostile_files_end_in_one_line_that_says_what_to_type(frames, tmp_path, make, why, options):
    with pytest.raises(ValueError, match=why) as caught:
        seal(tmp_path, make(frames))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out" / "mine").exists()
    if options is not None:
        assert verify("mine", root=seal(tmp_path, make(frames), **options).parent)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"units": "furlong"}, "no unit"), ({"units": "Hartree"}, "Hartree,Hartree/Bohr"),
        ({"split": "sometimes"}, "by:KEY"),
        ({"split": "by:colour"}, "has no 'colour'"), ({"temperature": "hot"}, "kelvins"),
        ({"pbc": "maybe"}, "yes or no"),
        ({"cell": "1,2"}, "three edges"), ({"time_step": -1.0}, "0.5"), ({"energy_key": "nope"}, "no frame has it"),
        ({"reference": "ase.calculators.emt"}, "package.module:factory"), ({"temperature": "300,600"}, "like 300K"),
    ],
)  # fmt: skip
def test_wrong_options_are_one_line(frames, tmp_path, options, why):
    with pytest.raises(ValueError, match=why):
        seal(tmp_path, files.atoms_of(frames), **options)


@pytest.mark.parametrize("kind", ["parquet", "gz", "latin"])
def test_damaged_files_are_one_line_that_names_them(frames, tmp_path, kind):
    """Whatever pyarrow, zlib and codecs raise; the same byte of the same file each time."""
    path = tmp_path / {"parquet": "a.parquet", "gz": "a.xyz.gz", "latin": "a.xyz"}[kind]
    if kind == "parquet":
        whole = files.colabfit(path, frames).read_bytes()
        path.write_bytes(whole[:4000] + b"\xff" * 300 + whole[4300:])
    else:
        write(path, files.atoms_of(frames), format="extxyz")
        whole = path.read_bytes()
        path.write_bytes(whole[:3000] + b"\xff" * 30 + whole[3030:])
    with pytest.raises(ValueError, match=re.escape(str(path))) as caught:
        add("mine", [path], Options(), out=tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert type(caught.value) is ValueError


def test_names_that_are_taken_or_no_names(tmp_path):
    for name, why in (("water", "take another"), ("a/b", "letters, digits")):
        with pytest.raises(ValueError, match=why):
            add(name, ["x"], Options(), out=tmp_path)


def test_nan_rows_and_duplicates_are_left_out_and_counted(frames, tmp_path):
    atoms = files.atoms_of(frames) + files.atoms_of(frames[:10])
    atoms[0].positions[0, 0] = np.nan
    atoms[1].info["energy"] = float("nan")
    atoms[2].arrays["forces"][0, 0] = np.nan
    folder = seal(tmp_path, atoms)
    total = sum(len(f) for f in load_frames(str(folder)).values())
    assert total == 60  # 59 structures, and one more of the ten that occur again: its first was broken
    notes = " ".join(json.loads((folder / "manifest.json").read_text())["provenance"]["notes"])
    assert "9 frames that occur again" in notes
    assert "1 frames with NaN" in notes
    assert "1 of 60 frames have no energy" in notes


def test_one_frame_is_a_test_and_nothing_to_train_on(frames, tmp_path):
    folder = seal(tmp_path, files.atoms_of(frames[:1]))
    assert {k: len(v) for k, v in load_frames(str(folder)).items()} == {"test": 1}


def test_molecules_and_crystals_of_one_file_have_configs_of_their_own(frames, tmp_path):
    salt = []
    rng = np.random.default_rng(0)
    for _ in range(30):
        a = Atoms("Na4Cl4", scaled_positions=[(0, 0, 0), (0, .5, .5), (.5, 0, .5), (.5, .5, 0), (.5, .5, .5),
                                              (.5, 0, 0), (0, .5, 0), (0, 0, .5)],
                  cell=[5.64] * 3, pbc=True)  # fmt: skip
        a.positions += rng.normal(0, 0.05, a.positions.shape)
        a.info["energy"], a.arrays["forces"] = float(rng.normal(-30, 0.1)), rng.normal(0, 0.3, a.positions.shape)
        salt.append(a)
    folder = seal(tmp_path, files.atoms_of(frames, charge=1, spin_multiplicity=2) + salt)
    facts = read_facts(str(folder))
    assert [(t["config"], t["open"], t["periodic"]) for t in facts["targets"]] == [
        ("C2H6O_1plus", True, False), ("Cl4Na4", False, True),
    ]  # fmt: skip
    alone = load_frames(str(folder), "Cl4Na4", "test")
    assert set(alone.n_atoms) == {8}
    assert set(load_frames(str(folder), "C2H6O_1plus", "test").charge) == {1}
    assert len(alone) + len(load_frames(str(folder), "C2H6O_1plus", "test")) == len(
        load_frames(str(folder), None, "test")
    )


def test_groups_and_temperatures_come_from_config_type(frames, tmp_path):
    atoms = files.atoms_of(frames)
    for k, a in enumerate(atoms):
        a.info["config_type"] = ("train_300K", "val_300K", "test_600K")[k % 3]
    folder = seal(tmp_path, atoms, split="by:config_type")
    parts = load_frames(str(folder))
    assert all(len(set(f.table["config_type"].to_pylist())) == 1 for f in parts.values())
    assert {v for f in parts.values() for v in f.table["temperature_K"].to_pylist()} == {300.0, 600.0}


def test_files_named_train_and_test_are_the_parts(frames, tmp_path):
    write(tmp_path / "ethanol_train.xyz", files.atoms_of(frames[:40]))
    write(tmp_path / "ethanol_test.xyz", files.atoms_of(frames[40:]))
    paths = [tmp_path / "ethanol_train.xyz", tmp_path / "ethanol_test.xyz"]
    folder = add("mine", paths, Options(), out=tmp_path / "out")
    assert {k: len(v) for k, v in load_frames(str(folder)).items()} == {"train": 36, "val": 4, "test": 20}


def oscillator(steps, dt_fs, k=100.0, amplitude=0.05, length=1.13, phase=0.0):
    """Carbon monoxide as two masses on a spring: positions by the closed form, forces -k (r - r0)."""
    masses = np.array([12.011, 15.999])
    reduced = masses.prod() / masses.sum()
    omega = np.sqrt(k / reduced) * units.fs  # ASE's time unit to fs
    stretch = amplitude * np.cos(omega * dt_fs * np.arange(steps) + phase)
    out = []
    for s in stretch:
        a = Atoms(
            "CO", [[-(length + s) * masses[1] / masses.sum(), 0, 0], [(length + s) * masses[0] / masses.sum(), 0, 0]]
        )
        a.info["energy"], a.arrays["forces"] = 0.5 * k * s**2, np.array([[k * s, 0, 0], [-k * s, 0, 0]])
        a.positions[:, 1] += 1e-5 * len(out)  # no frame twice
        out.append(a)
    return out


def test_time_step_is_found_by_newtons_law_and_a_wrong_one_refused(tmp_path):
    folder = seal(tmp_path, oscillator(400, 0.5))
    facts = read_facts(str(folder))["targets"][0]
    assert facts["ordered"]
    assert facts["run_ps"] == pytest.approx(0.2, rel=0.01)
    times = load_frames(str(folder), None, "train").time_fs
    assert np.median(np.diff(times)) == pytest.approx(0.5, rel=0.01)
    with pytest.raises(ValueError, match=r"give --time-step 0\.5, or leave"):
        seal(tmp_path, oscillator(400, 0.5), time_step=1.0)


def three_springs(times_fs):
    """A linear molecule A-B-A: symmetric and antisymmetric stretch by the closed form, at any times."""
    k, m, big, length, a = 30.0, 15.999, 12.011, 1.2, 0.04
    slow, fast = np.sqrt(k / m) * units.fs, np.sqrt(k * (1 / m + 2 / big)) * units.fs
    out = []
    for t in times_fs:
        s, q = a * np.cos(slow * t), a * np.cos(fast * t + 0.3)
        x = np.array([-length - s + q, -2 * m / big * q, length + s + q])
        left, right = x[1] - x[0] - length, x[2] - x[1] - length
        atoms = Atoms("OCO", np.stack([x, np.full(3, 1e-6 * len(out)), np.zeros(3)], axis=1))
        atoms.info["energy"] = 0.5 * k * (left**2 + right**2)
        atoms.arrays["forces"] = np.zeros((3, 3))
        atoms.arrays["forces"][:, 0] = k * np.array([left, right - left, -right])
        out.append(atoms)
    return out


def test_frames_at_uneven_times_have_no_time_step(tmp_path):
    """Newton's law gives the mean of uneven steps as well as one of even ones: only the scatter tells."""
    facts = read_facts(str(seal(tmp_path, three_springs(0.5 * np.arange(120)))))["targets"][0]
    assert facts["run_ps"] == pytest.approx(0.06, rel=0.02)
    step = np.where(np.arange(120) // 2 % 2, 0.3, 0.9)
    facts = read_facts(str(seal(tmp_path, three_springs(np.cumsum(step)))))["targets"][0]
    assert (facts["ordered"], facts["runs"]) == (True, 0)


@pytest.mark.parametrize("step", [0.5, 4.0, 6.0])
def test_a_right_time_step_is_taken_however_long(tmp_path, step):
    """6 fs are a quarter of the fast period, where the second difference alone gives 5.4 fs."""
    atoms = three_springs(step * np.arange(100))
    facts = read_facts(str(seal(tmp_path, atoms, time_step=step)))["targets"][0]
    assert facts["run_ps"] == pytest.approx(0.1 * step)
    found, r = _newton(load_frames(str(tmp_path / "out/mine"))["test"])
    assert (found, r) == pytest.approx((step, 1.0), rel=0.02)


def test_temperatures_of_single_moments_are_no_ensembles(frames, tmp_path):
    atoms = files.atoms_of(frames)
    for k, a in enumerate(atoms):
        a.info["temperature"] = 500 + 11.37 * np.sin(k)
    facts = read_facts(str(seal(tmp_path, atoms)))
    assert [t["temperature_K"] for t in facts["targets"]] == [None]
    notes = " ".join(json.loads((tmp_path / "out/mine/manifest.json").read_text())["provenance"]["notes"])
    assert "temperatures of 60 frames (489 to 511 K) change from frame to frame" in notes
    facts = read_facts(str(seal(tmp_path, atoms, temperature="500")))
    assert [t["temperature_K"] for t in facts["targets"]] == [500]


@pytest.mark.parametrize(("kind", "why"), [("energy", "all have the energy -5"), ("forces", "every force on 60")])
def test_labels_that_are_one_number_are_none(frames, tmp_path, kind, why, recwarn):
    atoms = files.atoms_of(frames)
    for a in atoms:
        if kind == "energy":
            a.info["energy"] = -5.0
        else:
            a.arrays["forces"][:] = 0.0
    with pytest.raises(ValueError, match=f"{why}.*--{kind}-key none") as caught:
        seal(tmp_path, atoms)
    assert "\n" not in str(caught.value)
    assert not recwarn.list
    assert read_facts(str(seal(tmp_path, atoms, **{f"{kind}_key": "none"})))["labels"] == {
        "energy": kind != "energy", "forces": kind != "forces",
    }  # fmt: skip


def test_free_atoms_train_and_leave_the_order_of_a_trajectory(frames, tmp_path):
    """MACE's isolated atoms in front of a trajectory: no test of a potential, and no reason to shuffle the rest."""
    alone = []
    for symbol, energy in (("C", -1029.5), ("O", -2041.9)):
        a = Atoms(symbol, [[0, 0, 0]])
        a.info["energy"], a.arrays["forces"] = energy, np.zeros((1, 3))
        alone.append(a)
    folder = seal(tmp_path, alone + oscillator(200, 0.5))
    parts = load_frames(str(folder))
    assert {k: int((f.n_atoms == 1).sum()) for k, f in parts.items()} == {"train": 2, "val": 0, "test": 0}
    notes = " ".join(json.loads((folder / "manifest.json").read_text())["provenance"]["notes"])
    assert "blocks of" in notes
    assert "2 single atoms train" in notes
    assert not [
        f for f in json.loads((folder / "validation.json").read_text())["findings"] if f["check"] == "electrons"
    ]


def test_other_forces_beside_a_cp2k_trajectory_are_other_data(frames, tmp_path):
    (tmp_path / "run").mkdir()
    path = files.cp2k(tmp_path / "run", frames)
    key = seal_of([path], Options())
    for name in ("run-frc-1.xyz", "run.inp"):
        with (tmp_path / "run" / name).open("a") as file:
            file.write(" ")
        assert seal_of([path], Options()) != key
        key = seal_of([path], Options())


def test_the_energy_that_forces_belong_to_is_named(frames, tmp_path):
    """VASP's extrapolation to zero smearing, 0.9 eV beside the free energy of nine atoms."""
    atoms = files.atoms_of(frames)
    for a in atoms:
        a.info["free_energy"] = a.info["energy"] - 0.9
    folder = seal(tmp_path, atoms)
    notes = " ".join(json.loads((folder / "manifest.json").read_text())["provenance"]["notes"])
    assert "differ by up to 0.1 eV an atom" in notes
    there = load_frames(str(folder), None, "test").energy
    folder = seal(tmp_path, atoms, energy_key="free_energy")
    np.testing.assert_allclose(load_frames(str(folder), None, "test").energy, there - 0.9, atol=1e-9)


def test_blocks_of_time_hold_every_counted_pair(tmp_path):
    """Two runs in two files, 1.2 ps each: one block of 1 ps per run, 20 frames of it counted, one pair in each."""
    for k, name in enumerate(("a.extxyz", "b.extxyz")):
        write(tmp_path / name, oscillator(600, 2.0, phase=k))
    folder = add("co", [tmp_path / "a.extxyz", tmp_path / "b.extxyz"], Options(time_step=2.0), out=tmp_path / "out")
    reference = read_reference(folder, "default")
    assert (reference.facts["runs"], reference.facts["run_ps"]) == (2, 1.2)
    assert reference.facts["bonds"][0][2] == pytest.approx(1.13, abs=0.01)
    blocks = reference.blocks("distance_histogram")
    assert (blocks.block_ps, blocks.frames) == (1.0, 20)
    assert [c.sum() for c in blocks.counts] == [20, 20]
    at = np.flatnonzero(blocks.total) * 10.0 / 500
    assert 1.06 < at.min() <= at.max() < 1.2


def test_diffusivity_of_a_random_walk(tmp_path):
    """D = sigma^2 / (2 dt); its error over 36 directions and 40 ps is 9 %, so that a factor 2 has no chance."""
    rng = np.random.default_rng(3)
    sigma, dt = 0.07, 40.0
    x = np.cumsum(rng.normal(0, sigma, (1000, 12, 3)), axis=0) + rng.uniform(0, 12, (12, 3))
    atoms = []
    for frame in x:
        a = Atoms("Li12", frame, cell=[12.0] * 3, pbc=True)
        a.wrap()
        a.info["energy"], a.arrays["forces"] = float(rng.normal(-30, 0.1)), rng.normal(0, 0.3, (12, 3))
        atoms.append(a)
    folder = seal(tmp_path, atoms, time_step=dt, units="eV,eV/Angstrom,Angstrom")
    found = json.loads((folder / "reference/default/reference.json").read_text())["diffusivity"]
    expected = sigma**2 / (2 * dt / 1000) * 1e-8
    assert expected / 2 < found["value"] < 2 * expected
    assert found["element"] == "Li"


@pytest.mark.parametrize("text", ["Hartree,Hartree/Bohr", "kcal/mol", "eV", "kJ/mol,kJ/mol/nm,nm", "eV,-eV/Angstrom"])
def test_units_read_their_own_text(text):
    made = parse_units(text)
    assert parse_units(made.text) == made


@pytest.mark.parametrize(
    ("name", "paths", "facts"),
    [
        ("lips", ["lips/val_1000.npz"], {"label": "Li27P12S44", "periodic": True, "temperature_K": 520}),
        ("ethanol", ["md17/ethanol_head2000.npz"], {"label": "C2H6O", "open": True, "runs": 1, "temperature_K": 500}),
        ("bpa", ["3bpa/train_mixedT.npz"], {"label": "C12H12N2O_300K", "frames": 167, "temperature_K": 300}),
    ],
)  # fmt: skip
def test_real_files_of_other_people(shared_data, tmp_path, name, paths, facts):
    folder = add(f"my_{name}", [shared_data / p for p in paths], Options(), out=tmp_path)
    found = read_facts(str(folder))["targets"][0]
    assert {k: found[k] for k in facts} == facts
    if name == "ethanol":  # upstream says 0.5 fs
        assert found["run_ps"] == pytest.approx(1.0, rel=0.02)
