"""Every format gives back the structures and labels that were written into it, in eV and Angstrom."""

import numpy as np
import pyarrow.parquet  # noqa: F401
import pytest
from ase.db import connect
from ase.io import write

from ffbench_data.own.images import open_source
from ffbench_data.own.labelled import Reader
from ffbench_data.own.options import Options
from ffbench_data.own.units import Units, parse_units
from tests.data import own_files as files


def read(path, **options):
    chosen = Options(**options)
    source = open_source(str(path))
    units = parse_units(options["units"]) if "units" in options else parse_units(source.units or "eV")
    reader = Reader(chosen, units)
    return [reader.read(image, f"frame {t}") for t, image in enumerate(source.images())], reader


@pytest.fixture(scope="module")
def frames():
    return files.ethanol(20)


def extxyz(folder, frames):
    write(folder / "a.extxyz", files.atoms_of(frames))
    return folder / "a.extxyz"


def packed(folder, frames):
    write(folder / "a.xyz.gz", files.atoms_of(frames, "REF_energy", "REF_forces"), format="extxyz")
    return folder / "a.xyz.gz"


def trajectory(folder, frames):
    write(folder / "a.traj", files.atoms_of(frames, calculator=True))
    return folder / "a.traj"


def database(folder, frames):
    with connect(folder / "a.db") as db:
        for a in files.atoms_of(frames, calculator=True):
            db.write(a)
    return folder / "a.db"


def md17(folder, frames):
    z, x, e, f = files.labels(frames)
    np.savez(folder / "a.npz", z=z, R=x, E=e[:, None] / files.KCAL, F=f / files.KCAL, e_unit="kcal/mol", r_unit="Ang")
    return folder / "a.npz"


def rmd17(folder, frames):
    z, x, e, f = files.labels(frames)
    np.savez(folder / "r.npz", nuclear_charges=z, coords=x, energies=e / files.KCAL, forces=f / files.KCAL,
             old_indices=np.arange(len(e)), old_energies=e)  # fmt: skip
    return folder / "r.npz"


def nequip(folder, frames):
    z, x, e, f = files.labels(frames)
    np.savez(folder / "n.npz", z=z, R=x, E=e, F=f)
    return folder / "n.npz"


def padded(folder, frames):
    """Molecules of different size as QM sets have them: zeros behind the last atom."""
    z, x, e, f = files.labels(frames)
    wide = np.concatenate([x, np.zeros((len(x), 2, 3))], axis=1)
    pull = np.concatenate([f, np.zeros((len(x), 2, 3))], axis=1)
    np.savez(folder / "p.npz", Z=np.tile(np.append(z, [0, 0]), (len(x), 1)), R=wide, E=e, F=pull)
    return folder / "p.npz"


FORMATS = {
    "extxyz": extxyz, "packed": packed, "traj": trajectory, "db": database, "md17": md17, "rmd17": rmd17,
    "nequip": nequip, "padded": padded, "deepmd": lambda folder, frames: files.deepmd(folder / "d", frames),
    "cp2k": files.cp2k, "colabfit": lambda folder, frames: files.colabfit(folder / "a.parquet", frames),
    "hub folder": lambda folder, frames: files.colabfit(folder / "co/main/0.parquet", frames).parents[1],
}  # fmt: skip


@pytest.mark.parametrize("name", FORMATS)
def test_labels_come_back(name, frames, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    rows, _ = read(FORMATS[name](tmp_path, frames))
    z, x, e, f = files.labels(frames)
    assert len(rows) == len(e)
    assert all((row.numbers == z).all() and not row.pbc.any() for row in rows)
    np.testing.assert_allclose([row.positions for row in rows], x, atol=1e-6)
    np.testing.assert_allclose([row.energy for row in rows], e, atol=1e-6)
    np.testing.assert_allclose([row.forces for row in rows], f, atol=1e-6)
    assert {row.time_fs for row in rows} == (set(np.arange(20) * 10.0) if name == "cp2k" else {rows[0].time_fs})


def test_vasprun_is_periodic_and_keeps_its_numbers(tmp_path):
    rows, _ = read(files.vasprun(tmp_path / "vasprun.xml"))
    assert [row.energy for row in rows] == [-0.10, -0.11]
    assert all(row.pbc.all() and row.cell[0, 0] == 10.0 for row in rows)
    assert rows[1].positions[1, 0] == pytest.approx(3.6)
    assert rows[1].forces[0, 0] == pytest.approx(0.02)


def test_splits_of_a_folder_are_runs(frames, tmp_path):
    for split in ("train", "test"):
        files.colabfit(tmp_path / f"data/{split}-00000.parquet", frames)
    assert {image.run for image in open_source(str(tmp_path)).images()} == {"train", "test"}


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda p: p / "absent.xyz", "no such file or folder"),
        (lambda p: ((p / "e.xyz").write_text("") and None) or p / "e.xyz", "is empty"),
        (lambda p: (p / "j.xyz").write_text("hello\nworld\n") and p / "j.xyz", "cannot be read as extxyz"),
        (lambda p: (p / "w.h5").write_text("x") and p / "w.h5", "write extxyz"),
        (lambda p: p, "name the files in it|it is empty"),
        (lambda p: (p / "k.npz").write_bytes(b"PK") and p / "k.npz", "not a readable npz file"),
        (lambda p: (p / "q.weird").write_text("nothing known\n") and p / "q.weird", "dpdata"),
    ],
)
def test_what_cannot_be_read_is_one_line(make, why, tmp_path):
    with pytest.raises(ValueError, match=why) as caught:
        read(make(tmp_path))
    assert "\n" not in str(caught.value)


def test_units_of_the_user_win_over_those_of_the_file(frames, tmp_path):
    rows, _ = read(md17(tmp_path, frames), units="eV")
    np.testing.assert_allclose([row.energy for row in rows], frames.energy / files.KCAL, rtol=1e-9)
    assert Units().per_volume == 1.0
