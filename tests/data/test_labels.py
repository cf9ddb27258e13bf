"""What a file states is kept or named: labels under other names, charge, spin, stress, shapes, ranges."""

import json
import warnings

import numpy as np
import pytest
from typer.testing import CliRunner

from ffbench_data import Frames, load_frames
from ffbench_data.builders.labels import NotUsed
from ffbench_data.builders.read import read_deepmd, read_npz, read_xyz, table_of
from ffbench_data.cli import app
from ffbench_data.schema import to_table

FRAME = ('2\nLattice="6 0 0 0 6 0 0 0 6" Properties=species:S:1:pos:R:3:{F}:R:3 {E} pbc="{P}"\n'
         "{A} 0 0 0 0.1 0 0\nH 0.74 0 0 -0.1 0 0\n")  # fmt: skip


def xyz(tmp_path, *frames, **how):
    """Frames of an extended XYZ file with H2; each of ``frames`` is (forces column, info)."""
    path = tmp_path / "a.xyz"
    path.write_text("".join(FRAME.format(F=f, E=e, P=how.get("P", "F F F"), A=how.get("A", "H")) for f, e in frames))
    return path


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("forces", "info"),
    [
        ("forces", "energy=-31.7"),
        ("REF_forces", "REF_energy=-31.7"),
        ("ref_forces", "ref_energy=-31.7"),
        ("dft_forces", "dft_energy=-31.7"),
        ("DFT_force", "energy_dft=-31.7"),
        ("force", "Energy=-31.7"),
        ("forces", "free_energy=-31.7"),
        ("forces", "total_energy=-31.7"),
        ("forces", "TotEnergy=-31.7"),
        ("forces", 'energy="-31.7"'),
        ("forces", "energy=-31.7 REF_energy=-31.7"),
    ],
)
def test_labels_under_the_usual_names(tmp_path, forces, info):
    frames = Frames(read_xyz(xyz(tmp_path, (forces, info)), method="PBE"))
    assert frames.energy.tolist() == [-31.7]
    np.testing.assert_allclose(frames.forces[:, 0], [0.1, -0.1], rtol=1e-6)


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([("forces", "energy=-31.7 REF_energy=-31.8")], "(REF_)?energy' both hold an energy and differ"),
        ([("forces", "energy=-3"), ("forces", "REF_energy=-3")], "frame 1: its energy is under 'REF_energy'"),
        ([("mace_forces", "mace_energy=-31.7")], "no energy under a usual name, no forces under a usual name; it has "
                                                 "mace_energy, mace_forces per atom"),
        ([("forces", "energy=nan")], "every 'energy' is NaN"),
        ([("forces", "energy=abc")], r"a\.xyz: .*abc"),
        ([("forces", "energy=-3 charge=0.5")], "charge=0.5 is not a whole number"),
        ([("forces", "energy=-3 charge=300")], "charge must be a whole number from -127 to 127, got 300"),
        ([("forces", "energy=-3 multiplicity=0")], "multiplicity=0 is no spin multiplicity"),
        ([("forces", "energy=-3 multiplicity=1 uhf=1")], "'multiplicity' and 'uhf' state different spins"),
        ([("forces", "energy=-3 theory=CCSD(T)")], r"its labels are 'CCSD\(T\)', the data set is 'PBE'"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_one_line_with_the_file(tmp_path, frames, message):
    with pytest.raises(ValueError, match=message) as caught:
        read_xyz(xyz(tmp_path, *frames), method="PBE")
    assert "a.xyz" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("atom", "message"), [("D", "write H"), ("Xx", "no element"), ("X", "from 1 to 118, got 0")])
def test_atoms_that_are_none(tmp_path, atom, message):
    with pytest.raises(ValueError, match=message):
        read_xyz(xyz(tmp_path, ("forces", "energy=-3"), A=atom), method="")
    empty = tmp_path / "b.xyz"
    empty.write_text("0\nenergy=0\n\n")
    with pytest.raises(ValueError, match=r"b\.xyz.*no atoms"):
        read_xyz(empty, method="")


def test_one_unlabelled_frame_is_no_unlabelled_file(tmp_path):
    frames = Frames(read_xyz(xyz(tmp_path, ("forces", "energy=-3"), ("momenta", "")), method=""))
    assert np.isnan(frames.energy).tolist() == [False, True]
    assert np.isnan(frames.forces).any(1).tolist() == [False, False, True, True]


def test_what_is_not_used_is_named(tmp_path):
    with pytest.warns(NotUsed, match=r"a\.xyz: not used: config_type, dipole, momenta per atom"):
        read_xyz(
            xyz(tmp_path, ("forces", 'energy=-3 config_type=md dipole="0 0 1"'), ("momenta", "energy=-3")), method=""
        )
    x = np.random.default_rng(0).normal(size=(2, 2, 3))
    np.savez(tmp_path / "a.npz", R=x, z=[1, 1], E=[0.0, 1.0], F=x, dipole=np.zeros((2, 3)))
    with pytest.warns(NotUsed, match=r"a\.npz: not used: dipole"):
        read_npz(tmp_path / "a.npz", method="")


@pytest.mark.parametrize(
    ("info", "charge", "multiplicity"),
    [  # H2 has two electrons
        ("", 0, 1),
        ("charge=1 spin=2", 1, 2),  # 2S+1, as fairchem, MACE and ORB mean it
        ("charge=1 spin=1", 1, 2),  # one electron has no singlet: this is 2S
        ("total_charge=-1 multiplicity=2", -1, 2),
        ("charge=0 spin=0", 0, 1),
        ("charge=0 spin=2", 0, 3),  # two electrons have no doublet: this is 2S
        ("spin_multiplicity=3", 0, 3),
        ("charge=1 uhf=1", 1, 2),
        ("unpaired_electrons=2 multiplicity=3", 0, 3),
    ],
)
def test_charge_and_spin_are_kept(tmp_path, info, charge, multiplicity):
    frames = Frames(read_xyz(xyz(tmp_path, ("forces", f"energy=-3 {info}")), method=""))
    assert (frames.charge.tolist(), frames.spin_multiplicity.tolist()) == ([charge], [multiplicity])
    assert frames[0].to_ase().info == {"charge": charge, "spin": multiplicity}
    stated = {k: int(v) for k, v in (pair.split("=") for pair in info.split())}
    x = np.zeros((1, 2, 3))
    arrays = {"R": x, "z": np.array([1, 1]), "E": np.zeros(1), "F": x, **{k: np.array(v) for k, v in stated.items()}}
    frames = Frames(table_of(arrays, tmp_path / "a.npz", method=""))
    assert (frames.charge.tolist(), frames.spin_multiplicity.tolist()) == ([charge], [multiplicity])


def test_stress_and_virial(tmp_path):
    stress = np.array([[1.0, 2, 3], [2, 4, 5], [3, 5, 6]])
    text = " ".join(map(str, stress.ravel()))
    virial = " ".join(map(str, (-216 * stress).ravel()))  # of a cell of 6 x 6 x 6 A^3
    for info in (f'stress="{text}"', f'virial="{virial}"', f'REF_stress="{text}"', f'virials="{virial}"'):
        table = read_xyz(xyz(tmp_path, ("forces", f"energy=-3 {info}"), P="T T T"), method="")
        np.testing.assert_allclose(table["cauchy_stress"][0].as_py(), stress, rtol=1e-12)
    with pytest.warns(NotUsed, match="not used: stress"):  # of an open system
        table = read_xyz(xyz(tmp_path, ("forces", f'energy=-3 stress="{text}"')), method="")
    assert table["cauchy_stress"].null_count == 1
    table = read_xyz(
        xyz(tmp_path, ("forces", f'energy=-3 stress="{text}"'), ("forces", "energy=-3"), P="T T T"), method=""
    )
    assert table["cauchy_stress"].is_valid().to_pylist() == [True, False]
    x = np.random.default_rng(0).normal(size=(2, 2, 3))
    arrays = {
        "R": x,
        "z": np.array([1, 1]),
        "E": np.zeros(2),
        "F": x,
        "cell": 6 * np.eye(3),
        "virial": np.stack([-216 * stress] * 2),
    }
    table = table_of(arrays, tmp_path / "a.npz", method="", energy_unit=2.0)
    np.testing.assert_allclose(table["cauchy_stress"][1].as_py(), 2 * stress)


T, N = 4, 3
ORTHO = np.diag([5.0, 6.0, 7.0])


def arrays_of(**change):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(T, N, 3))
    base = {"R": x, "z": np.array([8, 1, 1]), "E": rng.normal(size=(T, 1)), "F": x}
    return {k: v for k, v in {**base, **change}.items() if v is not None}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"cell": ORTHO}, ORTHO),
        ({"cell": ORTHO.ravel()}, ORTHO),
        ({"cell": np.tile(ORTHO.ravel(), (T, 1))}, ORTHO),
        ({"cell": np.array([5.0, 6, 7])}, ORTHO),
        ({"cell": np.array([5.0, 6, 7, 90, 90, 90])}, ORTHO),
        ({"cell": np.tile([5.0, 6, 7, 90, 90, 90], (T, 1))}, ORTHO),
        ({"lengths": np.tile([5.0, 6, 7], (T, 1))}, ORTHO),
        ({"lattices": np.tile(ORTHO, (T, 1, 1))}, ORTHO),
        ({"cell": np.array([4.0, 4, 4, 90, 90, 60])}, [[4, 0, 0], [0, 4, 0]]),
    ],
)
def test_cells_in_every_shape(tmp_path, change, expected):
    frames = Frames(table_of(arrays_of(**change), tmp_path / "a.npz", method=""))
    assert frames.pbc.all()
    if len(expected) == 3:
        np.testing.assert_allclose(frames.cell, np.broadcast_to(expected, (T, 3, 3)), atol=1e-12)
    else:
        np.testing.assert_allclose(frames.cell[2, 1], [2, 4 * np.sqrt(0.75), 0], atol=1e-12)


def test_three_edges_of_three_frames_are_no_lattice(tmp_path):
    """A [3, 3] array called lengths is one row of edges for each of three frames."""
    three = arrays_of()
    three = {k: v[:3] for k, v in three.items()} | {"lengths": np.array([[5.0, 6, 7], [8, 9, 10], [11, 12, 13]])}
    frames = Frames(table_of(three, tmp_path / "a.npz", method=""))
    np.testing.assert_array_equal(frames.cell[1], np.diag([8, 9, 10]))


def test_a_dummy_box_around_a_molecule_is_no_cell(tmp_path):
    box = {"cell": np.eye(3) * 50}
    for change, how in ((box, {"periodic": False}), (box | {"pbc": np.zeros(3, bool)}, {})):
        frames = Frames(table_of(arrays_of(**change), tmp_path / "a.npz", method="", **how))
        assert not frames.pbc.any()
        assert not frames.cell.any()
    mixed = np.array([[True, True, False]] * T)
    frames = Frames(table_of(arrays_of(cell=ORTHO, pbc=mixed), tmp_path / "a.npz", method="", periodic=False))
    np.testing.assert_array_equal(frames.cell[0], np.diag([5, 6, 0]))  # what the file states holds
    path = xyz(tmp_path, ("forces", "energy=-3"))
    assert not Frames(read_xyz(path, method="")).cell.any()


@pytest.mark.parametrize("z", [np.array([[8, 1, 1]]), np.tile([8, 1, 1], (T, 1)), np.array(["O", "H", "H"]),
                               np.array([8.0, 1, 1]), np.array([8, 1, 1], np.int8)])  # fmt: skip
def test_elements_in_every_shape(tmp_path, z):
    frames = Frames(table_of(arrays_of(z=z), tmp_path / "a.npz", method=""))
    assert frames.stacked()[0].tolist() == [8, 1, 1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"z": np.array([300, 1, 1])}, "must be whole numbers from 1 to 118, got 300"),
        ({"z": np.array([8, 1, -1])}, "from 1 to 118, got -1"),
        ({"z": np.array([8.5, 1, 1])}, r"got 8\.5"),
        ({"z": np.array([0, 1, 1])}, r"got 0 \(padding, or type indices\?\)"),
        ({"z": np.array([[8, 1, 1], [8, 1, 0]] * 2)}, "frame 1: atomic numbers .* got 0"),
        ({"z": np.array(["O", "H", "Hx"])}, "Hx is no element"),
        ({"z": np.array([8, 1])}, "shapes differ"),
        ({"E": np.zeros((T, N))}, r"energies \(4, 3\) for 4 frames"),
        ({"E": np.full((T, 1), -13000.3, np.float16)}, "energies are float16"),
        ({"E": np.array(["a"] * T)}, "energies are <U1"),
        ({"E": np.full(T, np.nan)}, "every value of E is NaN"),
        ({"F": np.full((T, N, 3), 1e39)}, "forces of 1e.39 do not fit float32"),
        ({"F": np.zeros((T, N))}, "shapes differ"),
        ({"F": None}, "no forces"),
        ({"R": np.zeros((N, 3))}, r"positions \(3, 3\) are not \[frames, atoms, 3\]"),
        ({"cell": np.zeros((T, 4))}, r"cell \(4, 4\) for 4 frames"),
        ({"cell": np.zeros((T + 1, 3, 3))}, r"cell \(5, 3, 3\) for 4 frames"),
        ({"lengths": np.array([5.0, 6, 7]), "angles": np.array([90.0, 90, 60])}, "angles of the cell other than 90"),
        ({"pbc": np.array(["F", "F", "F"])}, "pbc <U1"),
        ({"old_indices": np.array([0.5, 1, 2, 3])}, "is not one whole number for each"),
        ({"old_indices": np.full(T, 2**40)}, "does not fit 32 bits"),
        ({"charge": np.full(T, 200)}, "charge must be a whole number from -127 to 127, got 200"),
        ({"charge": np.zeros(3)}, "charge has 3 values for 4 frames"),
        ({"virial": np.zeros((3, 3, 3)), "cell": ORTHO}, r"virial \(3, 3, 3\) for 4 frames"),
        ({"E": np.zeros(T), "energy": np.ones(T)}, "'E' and 'energy' both hold"),
        ({"meta": np.array(json.dumps({"theory": "CCSD(T)/cc-pVTZ"}))}, r"'CCSD\(T\)/cc-pVTZ', the data set"),
        ({"theory": np.array("PBE+D3")}, "another level of theory"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::ffbench_data.builders.labels.NotUsed")
def test_wrong_arrays_are_one_line_with_the_file(tmp_path, change, message):
    with pytest.raises(ValueError, match=message) as caught:
        table_of(arrays_of(**change), tmp_path / "a.npz", method="PBE+vdW-TS")
    assert "a.npz" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("statement", "said"), [("PBE", "'PBE' only"), ("my method", "check that"), ("PBE+TS", "")])
def test_a_theory_that_does_not_contradict_is_said(tmp_path, statement, said):
    arrays = arrays_of(meta=np.array(json.dumps({"theory": statement})))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        table_of(arrays, tmp_path / "a.npz", method="PBE+vdW-TS")
    assert [said in str(w.message) for w in caught] == [True] * bool(said)


def test_an_open_deepmd_system_with_virials(tmp_path):
    (tmp_path / "set.000").mkdir()
    (tmp_path / "type.raw").write_text("0 1 1")
    (tmp_path / "type_map.raw").write_text("O H")
    x = np.random.default_rng(0).normal(size=(2, 9))
    stress = np.array([[1.0, 2, 3], [2, 4, 5], [3, 5, 6]])
    for name, value in (("coord", x), ("force", x), ("energy", [[0.0], [1.0]]), ("box", [(6 * np.eye(3)).ravel()] * 2),
                        ("virial", [(-216 * stress).ravel()] * 2)):  # fmt: skip
        np.save(tmp_path / f"set.000/{name}.npy", value)
    table = read_deepmd(tmp_path, method="")
    np.testing.assert_allclose(table["cauchy_stress"][1].as_py(), stress)
    (tmp_path / "nopbc").touch()
    assert not Frames(read_deepmd(tmp_path, method="")).pbc.any()
    (tmp_path / "type.raw").write_text("0 1 -1")
    with pytest.raises(ValueError, match="not a readable DeePMD system"):
        read_deepmd(tmp_path, method="")


def test_tables_refuse_what_a_cast_would_change():
    x = np.zeros((2, 1, 3))
    for change, message in (
        ({"atomic_numbers": [300]}, "got 300"),
        ({"atomic_numbers": [[1], [300]]}, "frame 1: atomic numbers"),
        ({"energy": [0.0]}, "1 energies do not belong together"),
        ({"cell": np.eye(4)}, r"cell \(4, 4\)"),
        ({"charge": 200}, "charge must be"),
        ({"spin_multiplicity": [1, 0]}, "spin multiplicity must be a whole number from 1"),
    ):
        with pytest.raises(ValueError, match=message):
            to_table(**{"atomic_numbers": [1], "positions": x, "energy": [0.0, 1.0], "forces": x, **change})


def test_a_build_reads_ref_labels_and_names_what_it_left(tmp_path, monkeypatch, shared_data):
    """3BPA as MACE's tools write it: REF_energy and REF_forces, with config types."""
    from ase.data import chemical_symbols as symbol

    def write(prefix):
        for name in ("train_300K", "test_300K", "test_600K"):
            with np.load(shared_data / f"3bpa/{name}.npz") as d, open(tmp_path / f"{name}.xyz", "w") as f:
                for t in range(60):
                    f.write(f"{len(d['z'])}\nProperties=species:S:1:pos:R:3:{prefix}forces:R:3 ")
                    f.write(f'{prefix}energy={float(d["energy"][t])!r} config_type=md pbc="F F F"\n')
                    for z, x, g in zip(d["z"], d["pos"][t], d["forces"][t]):
                        f.write(f"{symbol[z]} " + " ".join(f"{v:.8f}" for v in (*x, *g)) + "\n")

    monkeypatch.setenv("FFBENCH_DATA", str(tmp_path / "out"))
    write("mace_")
    done = CliRunner().invoke(app, ["build", "three_bpa", "--source", str(tmp_path)])
    assert done.exit_code != 0
    assert "mace_energy" in str(done.exception)
    write("REF_")
    done = CliRunner().invoke(app, ["build", "three_bpa", "--source", str(tmp_path)])
    assert done.exit_code == 0, done.exception
    assert "not used: config_type" in done.output
    frames = load_frames("three_bpa", "300K_to_600K", "train")
    assert np.isfinite(frames.energy).all()
    assert np.isfinite(frames.forces).all()


def test_training_on_frames_without_labels_names_the_labels(tmp_path):
    from reference_models.train import train

    x = np.random.default_rng(0).normal(size=(4, 2, 3))
    frames = Frames(to_table([1, 1], x, np.full(4, np.nan), x * np.nan))
    with pytest.raises(ValueError, match="no training frame has an energy or forces"):
        train("schnet", None, frames, frames, folder=tmp_path)
