"""Builders from local folders: real slices where they are there, and small files in the layout of upstream."""

import json
import tarfile

import numpy as np
import pytest

from ffbench_data import build, load_frames, provenance
from ffbench_data.builders.read import KCAL
from ffbench_data.datacard import card
from ffbench_data.validate import report, validate

SLICES = {"three_bpa": "3bpa", "acac": "acac", "lips": "lips", "lips20": "lips20", "gete": "gete"}
CONTENT = {  # of the slices, by version: a reader that changes it must raise the version of the card
    "three_bpa": ("1.0.0", "618fe48fc3868b67"),
    "acac": ("1.0.0", "d7761b1846a33317"),
    "lips": ("1.1.0", "a32f7322b34c94a9"),
    "lips20": ("1.1.0", "0b5f93974ece2d1b"),
    "gete": ("1.0.0", "ada2311607a4a03b"),
}
RNG = np.random.default_rng(1)


def findings(folder, check):
    return [f for f in json.loads((folder / "validation.json").read_text())["findings"] if f["check"] == check]


def diatomic(count, start=0):
    """CO on a spring of 60 eV/A^2, in order of time: bond lengths swing, so neighbours are near."""
    r = 1.13 + 0.05 * np.sin(0.02 * np.arange(start, start + count)) + 0.01 * RNG.normal(size=count)
    x = np.zeros((count, 2, 3))
    x[:, 1, 0] = r
    f = np.zeros_like(x)
    f[:, 1, 0] = -60 * (r - 1.13)
    f[:, 0, 0] = -f[:, 1, 0]
    return np.array([6, 8]), x, 30 * (r - 1.13) ** 2 - 3000, f


def write_xyz(path, count, energy_only=False):
    from ase import Atoms
    from ase.calculators.singlepoint import SinglePointCalculator
    from ase.io import write

    z, x, e, f = diatomic(count)
    images = []
    for t in range(count):
        atoms = Atoms(z, x[t], cell=np.eye(3) * 50)
        labels = {"energy": e[t]} if energy_only else {"energy": e[t], "forces": f[t]}
        atoms.calc = SinglePointCalculator(atoms, **labels)
        images.append(atoms)
    write(path, images, format="extxyz")


@pytest.mark.parametrize("name", SLICES)
def test_slices_of_the_real_data(name, shared_data, tmp_path):
    folder = build(name, shared_data / SLICES[name], tmp_path)
    assert folder == tmp_path / name
    frames = load_frames(name, root=tmp_path, split="test" if name != "three_bpa" else "ood_test")
    assert len(frames) > 0
    assert np.isfinite(frames.energy).all()
    assert provenance(name, root=tmp_path)["version"] == card(name).version
    manifest = json.loads((folder / "manifest.json").read_text())
    assert (manifest["version"], manifest["content_sha256"][:16]) == CONTENT[name]


def test_md17_slices(shared_data, tmp_path):
    folder = build("md17", shared_data / "md17", tmp_path)
    one = load_frames("md17", "unseen_molecule", root=tmp_path)
    assert {len(f.stacked()[0]) for f in (one["ood_test"],)} == {21}
    assert set(np.unique(one["train"].n_atoms)) == {9, 16, 18}
    steps = {f["where"]: f["value"] for f in findings(folder, "newton")}
    assert all(abs(dt - 0.5) < 0.02 for dt in steps.values())
    assert set(steps) == {"aspirin", "ethanol", "naphthalene", "salicylic_acid"}


def test_gete_keeps_its_fault_visible(shared_data, tmp_path):
    folder = build("gete", shared_data / "gete", tmp_path)
    assert all(f["level"] == "warning" for f in findings(folder, "net_force"))
    assert [f["level"] for f in findings(folder, "work") if f["where"] == "gete"] == ["warning"]


def test_lips20_holds_compositions_out(shared_data, tmp_path):
    build("lips20", shared_data / "lips20", tmp_path)
    parts = load_frames("lips20", "composition", root=tmp_path)

    def formulas(frames):
        return {tuple(np.bincount(f.atomic_numbers, minlength=17)[[3, 15, 16]]) for f in frames}

    assert not formulas(parts["ood_test"]) & formulas(parts["train"])


def test_bsct_upstream_layout_equals_the_flat_files(shared_data, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "bsct.tar.gz").symlink_to(shared_data / "bsct_spice/original_layout_sample.tar.gz")
    build("bsct_spice", source, tmp_path / "a")
    (tmp_path / "flat").mkdir()
    (tmp_path / "flat/C-N.npz").symlink_to(shared_data / "bsct_spice/C-N.npz")
    build("bsct_spice", tmp_path / "flat", tmp_path / "b")
    import pyarrow.parquet as pq

    small, large = (pq.read_table(tmp_path / k / "bsct_spice/scans.parquet").to_pylist() for k in "ab")
    one = next(r for r in small if r["config"] == "C-N")
    same = next(r for r in large if r["scan_id"] == one["scan_id"])
    assert one["bond_index"] == same["bond_index"]
    assert one["smiles"] == same["smiles"]
    assert one["fragment"] == same["fragment"]
    assert np.allclose(one["bond_length"], same["bond_length"], atol=1e-6)
    a, b = (
        load_frames("bsct_spice", "C-N", "test", root=tmp_path / k)[r["first_row"] : r["first_row"] + 100]
        for k, r in (("a", one), ("b", same))
    )
    assert np.array_equal(a.positions, b.positions)
    assert np.array_equal(a.forces, b.forces, equal_nan=True)
    assert np.array_equal(a.energy, b.energy, equal_nan=True)


def test_md17_upstream_layout(tmp_path):
    z, x, e, f = diatomic(3000)
    np.savez(tmp_path / "md17_ethanol.npz", z=z, R=x, E=e[:, None] / KCAL, F=f / KCAL, name="ethanol")
    folder = build("md17", tmp_path, tmp_path / "out")
    frames = load_frames("md17", "ethanol", "test", root=tmp_path / "out")
    row = frames.table["source_index"][0].as_py()
    assert frames.energy[0] == pytest.approx(e[row])
    assert frames.forces[1] == pytest.approx(f[row, 1], abs=1e-6)
    blocked = load_frames("md17", "ethanol_blocked", root=tmp_path / "out")
    ends = json.loads((folder / "manifest.json").read_text())["provenance"]["splits"]["ethanol_blocked"]
    t = {s: b.table["source_index"].to_numpy() for s, b in blocked.items()}
    assert np.abs(t["train"][:, None] - t["test"][None]).min() > ends["gap_frames"] >= 5


def test_rmd17_archive_and_index_splits(tmp_path):
    raw = tmp_path / "rmd17"
    (raw / "splits").mkdir(parents=True)
    (raw / "npz_data").mkdir()
    z, x, e, f = diatomic(2000)
    shuffled = RNG.permutation(2000)
    np.savez(raw / "npz_data/rmd17_uracil.npz", nuclear_charges=z, coords=x[shuffled], energies=e[shuffled] / KCAL,
             forces=f[shuffled] / KCAL, old_indices=shuffled)  # fmt: skip
    rows = RNG.permutation(2000)
    for k in range(1, 6):
        np.savetxt(raw / f"splits/index_train_{k:02d}.csv", rows[:100], fmt="%d")
        np.savetxt(raw / f"splits/index_test_{k:02d}.csv", rows[100:200], fmt="%d")
    source = tmp_path / "source"
    source.mkdir()
    with tarfile.open(source / "rmd17.tar.bz2", "w:bz2") as tar:
        tar.add(raw, "rmd17")
    build("rmd17", source, tmp_path / "out")
    parts = load_frames("rmd17", "uracil_3", root=tmp_path / "out")
    assert {k: len(v) for k, v in parts.items()} == {"train": 95, "val": 5, "test": 100}
    assert parts["test"].energy == pytest.approx(e[shuffled[rows[100:200]]])


def test_extended_xyz_layout(tmp_path):
    for name in ("train_300K", "train_600K", "test_MD_300K", "test_MD_600K"):
        write_xyz(tmp_path / f"{name}.xyz", 30)
    write_xyz(tmp_path / "test_dihedral.xyz", 5, energy_only=True)
    build("acac", tmp_path, tmp_path / "out")
    scan = load_frames("acac", "dihedral", "test", root=tmp_path / "out")
    assert np.isnan(scan.forces).all()
    assert not scan.cell.any()
    write_xyz(tmp_path / "lips.xyz", 2000)
    build("lips", tmp_path, tmp_path / "out")
    assert len(load_frames("lips", "20k", "test", root=tmp_path / "out")) == 400


def test_mdsim_pickled_dict(tmp_path):
    z, x, _, f = diatomic(2000)
    data = {"pos": x, "force": f / KCAL, "atomic_number": z, "lengths": np.full(3, 30.0), "angles": np.full(3, 90.0)}
    np.save(tmp_path / "alanine_dipeptide.npy", data, allow_pickle=True)
    build("alanine_dipeptide", tmp_path, tmp_path / "out")
    frames = load_frames("alanine_dipeptide", "40k", "test", root=tmp_path / "out")
    assert np.isnan(frames.energy).all()
    assert np.abs(frames.forces).max() == pytest.approx(np.abs(f).max(), rel=0.2)


def test_evil_pickle_is_refused(tmp_path):
    np.save(tmp_path / "alanine_dipeptide.npy", {"pos": tmp_path}, allow_pickle=True)
    with pytest.raises(ValueError, match="is not an array"):
        build("alanine_dipeptide", tmp_path, tmp_path / "out")


def test_bad_input_is_one_clear_line(tmp_path):
    z, x, e, f = diatomic(50)
    file = tmp_path / "md17_toluene.npz"

    def refused(message, **arrays):
        np.savez(file, **arrays)
        with pytest.raises(ValueError, match=message) as caught:
            build("md17", tmp_path, tmp_path / "out")
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())

    refused(r"toluene.npz: no forces \(forces or F or force or REF_forces\); it has z, R, E", z=z, R=x, E=e)
    refused(r"toluene.npz: no energy \(energy or E ", z=z, R=x, F=f)
    refused("shapes differ", z=z, R=x, E=e, F=f[:, :1])
    refused(r"energies \(40,\) for 50 frames: expected one a frame", z=z, R=x, E=e[:40], F=f)
    refused("energy is in 'kcal/mol', expected 'eV'", z=z, R=x, E=e, F=f, meta='{"units": {"energy": "kcal/mol"}}')
    refused("not in Angstrom", z=z, R=x / 10, E=e, F=f)
    refused("hold NaN", z=z, R=x * np.nan, E=e, F=f)
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"not a readable npz file \(truncated\?\)"):
        build("md17", tmp_path, tmp_path / "out")
    with pytest.raises(ValueError, match="is not a folder"):
        build("md17", tmp_path / "absent", tmp_path / "out")
    with pytest.raises(ValueError, match="did you mean 'md17'"):
        build("md71", tmp_path)
    (tmp_path / "empty").mkdir()
    for name in ("md17", "rmd17", "three_bpa", "lips", "lips20", "gete", "bsct_spice", "alanine_dipeptide"):
        with pytest.raises(ValueError, match=str(tmp_path / "empty")):
            build(name, tmp_path / "empty", tmp_path / "out")


def test_report_orders_by_severity():
    from ffbench_data.schema import to_table

    z, x, e, f = diatomic(60)
    table = to_table(z, x, e, f)
    out = report(validate({"c": {"train": table, "test": table}}))
    assert out["findings"][0]["message"] == "test lies wholly in train (60 frames)"
    assert out["counts"]["error"] == 1


@pytest.mark.parametrize("only", ["", "wanted"])
def test_a_tar_archive_that_grows_is_refused_before_it_is_unpacked(tmp_path, monkeypatch, only):
    """What it holds is counted unpacked, in members that are not asked for too."""
    import io

    from ffbench_data.builders import read

    archive = tmp_path / "small.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for name, size in (("wanted.txt", 10), ("zeros", 3_000_000)):
            member = tarfile.TarInfo(name)
            member.size = size
            tar.addfile(member, io.BytesIO(bytes(size)))
    assert archive.stat().st_size < 10_000
    monkeypatch.setattr(read, "MOST_UNPACKED", 3_000_000)
    with pytest.raises(ValueError, match="unpacks to more than 3000000 bytes"):
        read.unpack(archive, tmp_path / "there", only)
    assert not list((tmp_path / "there").iterdir())
    monkeypatch.setattr(read, "MOST_UNPACKED", 3_100_000)
    assert (read.unpack(archive, tmp_path / "there", only) / "wanted.txt").stat().st_size == 10
