"""Answers worked out by hand for the readers, frames, splits and seals: one planted fault each would pass elsewhere."""

import json

import numpy as np
import pyarrow as pa
import pytest
import yaml
from ase import units

from ffbench_data import collate, load_frames
from ffbench_data.builders.read import read_xyz, table_of
from ffbench_data.builders.splits import _tau, blocked_by_correlation, blocked_split, published_split
from ffbench_data.croissant import croissant, eval_yaml
from ffbench_data.datacard import card
from ffbench_data.frames import Frames
from ffbench_data.geometry import minimum_image
from ffbench_data.load import EMBEDDED, NotBuilt
from ffbench_data.magnitudes import atom_energy, bond_stiffness, energy_spread, force_size, total_energy
from ffbench_data.schema import configuration_id, content_hash, to_table
from ffbench_data.store import readme, write_dataset
from ffbench_data.theory import same_theory, theory
from ffbench_data.validate import check_overlap, validate

Z = [[1], [1, 8], [6, 1, 1], [9]]


@pytest.fixture
def mixed():
    """Four molecules; the x of atom i of all is i."""
    sizes = [len(z) for z in Z]
    x = np.split(np.arange(sum(sizes))[:, None] * np.array([[1.0, 0, 0]]), np.cumsum(sizes)[:-1])
    return Frames(to_table([np.array(z) for z in Z], x, np.arange(4.0), x, charge=[0, 1, 2, 3]))


def test_slices_and_chosen_rows_keep_atoms_with_their_frames(mixed):
    part = mixed[1:3]
    assert part.offsets.tolist() == [0, 2, 5]
    assert part.atomic_numbers.tolist() == [1, 8, 6, 1, 1]
    assert part.positions[:, 0].tolist() == [1, 2, 3, 4, 5]
    assert part[1].positions[:, 0].tolist() == [3, 4, 5]
    assert part.energy.tolist() == [1, 2]
    batch = collate(mixed, indices=[2, 0, 1])
    assert batch.atomic_numbers.tolist() == [6, 1, 1, 1, 1, 8]
    assert batch.system_index.tolist() == [0, 0, 0, 1, 2, 2]
    assert batch.positions[:, 0].tolist() == [3, 4, 5, 0, 1, 2]
    assert batch.charge.tolist() == [2, 0, 1]


def test_a_content_hash_sees_names_lengths_and_what_is_missing():
    def of(**columns):
        return content_hash(pa.table(columns))

    lists = pa.list_(pa.int64())
    different = [
        of(a=pa.array([1.0, 0.0])),
        of(b=pa.array([1.0, 0.0])),
        of(a=pa.array([1.0, float("nan")])),
        of(a=pa.array([[1, 2], [3]], lists)),
        of(a=pa.array([[1], [2, 3]], lists)),
        of(a=pa.array([[1, 2, 3], None], lists)),
        of(a=pa.array([[1, 2, 3], []], lists)),
    ]
    assert len(set(different)) == len(different)
    assert of(a=pa.array([1.0, float("nan")])) == of(a=pa.array([1.0, None]))  # a missing number is NaN
    assert of(a=pa.array([1.0, 0.0])) == of(a=pa.chunked_array([[1.0], [0.0]]))


def test_a_structure_is_its_cell_too_and_half_a_stress_is_none():
    z, x = np.array([1]), np.zeros((1, 3))
    assert configuration_id(z, x, np.eye(3)) != configuration_id(z, x, 2 * np.eye(3))
    stress = np.zeros((2, 3, 3))
    stress[0, 1, 2] = np.nan
    table = to_table(z, [x, x], [0, 0], [x, x], stress=stress)
    assert table["cauchy_stress"].to_pylist() == [None, [[0.0] * 3] * 3]


def test_arrays_are_dated_by_their_index_and_charged_frame_by_frame(tmp_path):
    arrays = {
        "R": np.zeros((3, 2, 3)), "z": np.array([[1, 1], [1, 7], [1, 9]]), "E": np.zeros(3), "F": np.zeros((3, 2, 3)),
        "index": np.array([4, 2, 7]), "charge": np.array([0, 1, 1]), "spin": np.array([1, 2, 2]),
    }  # fmt: skip
    arrays["R"][:, 1, 0] = 1
    frames = Frames(table_of(arrays, tmp_path / "a.npz", method="", time_step=0.5))
    assert frames.time_fs.tolist() == [2.0, 1.0, 3.5]
    assert frames.charge.tolist() == [0, 1, 1]
    # H2 (2 electrons): singlet; NH+ (7): spin 2 is a doublet; HF+ (9): the same
    assert frames.spin_multiplicity.tolist() == [1, 2, 2]
    arrays |= {"z": np.array([[1, 1], [1, 6], [1, 7]]), "charge": np.zeros(3), "spin": np.array([1, 2, 2])}
    frames = Frames(table_of(arrays, tmp_path / "a.npz", method=""))
    assert frames.spin_multiplicity.tolist() == [1, 2, 3]  # NH (8 electrons): 2 unpaired, a triplet


def test_the_published_split_is_two_permutations_of_mdsims_seed():
    """scikit-learn deals the first of a permutation to the test and the next to train."""
    got = published_split(100, 30, 10, 20)
    order = np.random.RandomState(123).permutation(100)
    pool = order[20:][:40]
    again = np.random.RandomState(123).permutation(40)
    assert got["test"].tolist() == order[:20].tolist()
    assert got["val"].tolist() == pool[again[:10]].tolist()
    assert got["train"].tolist() == pool[again[10:]].tolist()


def test_blocks_and_gaps():
    got = blocked_split(11, block=3, gap=1)
    assert sorted(np.concatenate(list(got.values()))) == [0, 1, 2, 4, 5, 6, 8, 9, 10]
    # An AR(1) series of coefficient p has the time (1 + p) / (1 - p) = 19; the estimate from 2e5 frames is off by 4 %
    # (Sokal's sqrt(2 (2 W + 1) / n), window W = 5 tau), seven times that is 31 %.
    rng, n, p = np.random.default_rng(), 200000, 0.9
    from scipy.signal import lfilter

    assert _tau(lfilter([1], [1, -p], rng.normal(size=n + 1000))[1000:]) == pytest.approx(19, rel=0.31)
    x = rng.normal(size=(500, 2, 3))
    _, used = blocked_by_correlation(Frames(to_table([1, 1], x, rng.normal(size=500), np.zeros_like(x))))
    assert used["gap_frames"] >= 5 * (used["autocorrelation_frames"] - 0.01)
    assert used["block_frames"] >= 20 * (used["autocorrelation_frames"] - 0.01)


def test_a_readme_states_the_sizes_of_its_files():
    folder = EMBEDDED / "ethanol_gfn2"
    front = yaml.safe_load((folder / "README.md").read_text(encoding="utf-8").split("---")[1])
    assert [c.get("default", False) for c in front["configs"]] == [True, False]
    for info in front["dataset_info"]:
        files = list((folder / "data" / info["config_name"]).glob("*.parquet"))
        assert info["download_size"] == sum(f.stat().st_size for f in files)


def written(folder, version, rows):
    of_card = card("ethanol_gfn2").model_copy(update={"version": version})
    table = load_frames("ethanol_gfn2", split="test", root=EMBEDDED).table.slice(0, rows)
    return write_dataset(folder / "ethanol_gfn2", of_card, {"default": {"test": table}})


def test_what_the_user_built_comes_before_what_is_shipped_and_must_be_of_the_version(tmp_path, monkeypatch):
    written(tmp_path / "mine", "1.0.0", 5)
    monkeypatch.setenv("FFBENCH_DATA", str(tmp_path / "mine"))
    assert len(load_frames("ethanol_gfn2", split="test")) == 5
    written(tmp_path / "old", "0.9.0", 5)
    with pytest.raises(NotBuilt, match=r"version 1\.0\.0 is not built, found 0\.9\.0"):
        load_frames("ethanol_gfn2", split="test", root=tmp_path / "old")
    assert len(load_frames("ethanol_gfn2", split="test", root=tmp_path / "old", version="0.9.0")) == 5


def test_a_theory_with_more_than_is_known_is_another():
    assert theory("PBE (VASP, with a trick)") is None
    assert not same_theory("PBE (VASP, with a trick)", "PBE")
    assert theory("PBE/def2-SVP/def2-TZVP") is None


def harmonic(count, atoms, energies, force):
    x = np.zeros((count, atoms, 3))
    x[:, :, 0] = np.arange(atoms)
    forces = np.zeros_like(x)
    forces[..., 0] = force
    return Frames(to_table([6] * atoms, x, energies, forces))


@pytest.mark.parametrize(("times", "level"), [(7.5, "ok"), (8.5, "error"), (1 / 7.5, "ok"), (1 / 8.5, "error")])
def test_harmonic_atoms_spread_their_energy_by_kt_and_half_their_freedoms(times, level):
    kt, atoms = units.kB * 300, 6
    energies = times * kt * np.sqrt(3 * atoms / 2) * np.array([-1.0, 1.0] * 50)
    assert energy_spread(harmonic(100, atoms, energies, 0), "a", (300, 300))[0].level == level


def test_two_temperatures_in_one_file_add_their_distance():
    """Means of 30 atoms at 300 and 1200 K lie 45 k 900 K apart, half of that is a spread of its own."""
    energies = 4 * units.kB * 900 * 90 / 4 * np.array([-1.0, 1.0] * 50)
    assert energy_spread(harmonic(100, 30, energies, 0), "a", (300, 1200))[0].level == "ok"
    assert energy_spread(harmonic(100, 30, energies, 0), "a", (300, 300))[0].level == "error"


@pytest.mark.parametrize(("stiffness", "level"), [(0.35, "ok"), (0.25, "error"), (115, "ok"), (125, "error")])
def test_equipartition_of_forces(stiffness, level):
    """<F^2> = 3 k T K of an isotropic atom of stiffness K."""
    force = np.sqrt(3 * units.kB * 300 * stiffness)
    assert force_size(harmonic(10, 2, np.zeros(10), force), "a", (300, 300))[0].level == level


SLAB = [[5.0, 1, 2], [0.5, 6, 3], [1, 0.25, 7]]


def test_of_a_slab_the_open_vector_is_no_cell(tmp_path):
    one = {"R": np.zeros((2, 1, 3)), "z": np.array([6]), "E": np.zeros(2), "F": np.zeros((2, 1, 3))}
    for cell in (np.array(SLAB), np.ravel(SLAB)):
        got = Frames(table_of({**one, "cell": cell, "pbc": np.array([True, True, False])}, tmp_path, method=""))
        assert got.cell[1].tolist() == [SLAB[0], SLAB[1], [0, 0, 0]]
    numbers = " ".join(str(v) for v in np.ravel(SLAB))
    head = f'Lattice="{numbers}" Properties=species:S:1:pos:R:3:forces:R:3 energy=0 pbc="T T F"'
    (tmp_path / "a.xyz").write_text(f"1\n{head}\nC 0 0 0 0 0 0\n" * 2)
    got = Frames(read_xyz(tmp_path / "a.xyz", method="", time_step=0.5))
    assert got.cell[0].tolist() == [SLAB[0], SLAB[1], [0, 0, 0]]
    assert got.time_fs.tolist() == [0, 0.5]


def test_two_energies_that_differ_a_little_are_refused(tmp_path):
    one = {"R": np.zeros((1, 1, 3)), "z": np.array([6]), "F": np.zeros((1, 1, 3)), "E": np.array([-100.0])}
    with pytest.raises(ValueError, match="both hold an energy and differ"):
        table_of({**one, "energy": np.array([-100.01])}, tmp_path, method="")


def test_without_hydrogen_the_sign_of_a_spring_is_known():
    r = np.linspace(1.1, 1.3, 60)
    x, f = np.zeros((60, 2, 3)), np.zeros((60, 2, 3))
    x[:, 1, 0], f[:, 1, 0], f[:, 0, 0] = r, -60 * (r - 1.2), 60 * (r - 1.2)
    assert [g.level for g in bond_stiffness(Frames(to_table([6, 8], x, r, f)), "a")] == ["ok"]
    assert [g.level for g in bond_stiffness(Frames(to_table([6, 8], x, r, -f)), "a")] == ["error"]


def test_water_in_hartree_is_an_error_and_iron_a_doubt():
    """Exact energies of water (-76.438 Hartree) and of the iron atom (about -1262)."""
    for z, energy, level in (([8, 1, 1], -76.438, "error"), ([26, 26], -2 * 1262.4, "warning")):
        x = np.arange(len(z))[:, None] * np.array([[1.0, 0, 0]])
        found = total_energy(Frames(to_table(z, [x], [energy], [x])), "a")
        assert [(g.check, g.level) for g in found] == [("total_energy", level)]


@pytest.mark.parametrize("name", sorted(p.name for p in EMBEDDED.iterdir() if p.is_dir()))
def test_what_is_shipped_says_what_its_card_says(name):
    folder = EMBEDDED / name
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert (folder / "README.md").read_text(encoding="utf-8") == readme(card(name), manifest)
    assert json.loads((folder / "croissant.json").read_text(encoding="utf-8")) == croissant(card(name), manifest)
    assert yaml.safe_load((folder / "eval.yaml").read_text(encoding="utf-8")) == eval_yaml(card(name), manifest)


def test_the_energy_of_krypton():
    """Hartree-Fock -2752.05 Hartree (Clementi and Roetti 1974); correlation adds a thousandth."""
    assert atom_energy(36) / units.Hartree == pytest.approx(-2752.05, rel=0.01)


def test_nearest_images():
    cell, pbc = np.array(SLAB), np.array([True, True, False])
    d = np.array([[0.3, 0.2, 0.1], [0, 0, 9.0]])
    away = d + 2 * cell[0] - cell[1]
    assert minimum_image(away, cell * pbc[:, None], pbc) == pytest.approx(d)
    assert minimum_image(np.array([[0.6, 0.4, -0.6]]), np.eye(3), np.full(3, True)) == pytest.approx(
        np.array([[-0.4, 0.4, 0.4]])
    )


def test_shared_frames_net_forces_and_outliers_of_either_sign():
    rng = np.random.default_rng()
    x, e, f = rng.normal(size=(300, 1, 3)), rng.uniform(-1, 1, 300), np.zeros((300, 1, 3))
    e[0], f[0, 0, :2] = -100, 0.04  # a net force of 0.057
    table = to_table([6], x, e, f)
    found = {g.check: g for g in validate({"a": {"test": table}})}
    assert found["energy_outliers"].value == 1
    assert found["net_force"].level == "warning"
    assert found["net_force"].value == pytest.approx(0.04 * 2**0.5)
    shared = {"train": Frames(table.slice(0, 105)), "test": Frames(table.slice(100, 100))}
    assert [g.level for g in check_overlap(shared, "a")] == ["error"]  # 5 of 100
    shared = {"train": Frames(table.slice(0, 101)), "test": Frames(table.slice(100, 200))}
    assert [g.level for g in check_overlap(shared, "a")] == ["warning"]
