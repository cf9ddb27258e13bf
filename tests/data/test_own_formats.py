"""Every format gives back the structures and labels that were written into it, in eV and Angstrom."""

import json
import shutil

import numpy as np
import pyarrow.parquet
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


def schnetpack(folder, frames):
    """Labels in ``data``, units in the metadata."""
    _, _, e, f = files.labels(frames)
    with connect(folder / "s.db") as db:
        for k, frame in enumerate(frames):
            atoms = files.atoms_of([frame])[0]
            del atoms.arrays["forces"]
            db.write(atoms, data={"energy": e[k : k + 1] / files.KCAL, "forces": f[k] / files.KCAL})
        db.metadata = {"_distance_unit": "Ang", "_property_unit_dict": {"energy": "kcal/mol", "forces": "kcal/mol/Ang"}}
    return folder / "s.db"


def sgdml(folder, frames):
    """MD17 as it is downloaded: kcal/mol, an energy alone in the comment and forces behind the positions."""
    z, x, e, f = files.labels(frames)
    with (folder / "ethanol.xyz").open("w") as file:
        for rows, pull, energy in zip(x, f / files.KCAL, e / files.KCAL):
            file.write(f"{len(z)}\n{energy:.10f}\n")
            file.writelines(
                f"{'HCO'[(1, 6, 8).index(k)]} {' '.join(f'{v:.10f}' for v in [*a, *b])}\n"
                for k, a, b in zip(z, rows, pull)
            )
    return folder / "ethanol.xyz"


def columns_as_text(folder, frames):
    z, x, e, f = files.labels(frames)
    lists = {"positions": x, "atomic_forces": f, "atomic_numbers": np.tile(z, (len(e), 1)),
             "cell": np.zeros((len(e), 3, 3)), "pbc": np.zeros((len(e), 3), bool)}  # fmt: skip
    table = {k: [json.dumps(v.tolist()) for v in values] for k, values in lists.items()} | {"energy": e}
    pyarrow.parquet.write_table(pyarrow.table(table), folder / "text.parquet")
    return folder / "text.parquet"


def deepmd_raw(folder, frames):
    _, x, e, f = files.labels(frames)
    place = files.deepmd(folder / "raw", frames[:1])
    shutil.rmtree(place / "set.000")
    for name, value in (("coord", x.reshape(len(x), -1)), ("force", f.reshape(len(f), -1)), ("energy", e)):
        np.savetxt(place / f"{name}.raw", value, fmt="%.12f")
    return place


def flat_forces(folder, frames):
    """A table whose forces are one list of 3N numbers a row."""
    z, x, e, f = files.labels(frames)
    table = {"positions": x.tolist(), "atomic_numbers": [z.tolist()] * len(e), "energy": e,
             "forces": f.reshape(len(f), -1).tolist()}  # fmt: skip
    pyarrow.parquet.write_table(pyarrow.table(table), folder / "flat.parquet")
    return folder / "flat.parquet"


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
    "nequip": nequip, "padded": padded, "schnetpack": schnetpack, "deepmd raw": deepmd_raw,
    "sgdml": sgdml, "columns as text": columns_as_text, "flat forces": flat_forces,
    "deepmd": lambda folder, frames: files.deepmd(folder / "d", frames), "cp2k": files.cp2k,
    "colabfit": lambda folder, frames: files.colabfit(folder / "a.parquet", frames),
    "hub folder": lambda folder, frames: files.colabfit(folder / "co/main/0.parquet", frames).parents[1],
}  # fmt: skip


@pytest.mark.parametrize("name", FORMATS)
def test_labels_come_back(name, frames, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    units = {"units": "kcal/mol"} if name == "sgdml" else {}
    rows, _ = read(FORMATS[name](tmp_path, frames), **units)
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


def test_a_stress_of_six_numbers_is_voigts(tmp_path):
    """xx yy zz yz xz xy, as ASE counts them; ASE itself refuses the file."""
    (tmp_path / "v.xyz").write_text(
        '2\nLattice="4 0 0 0 4 0 0 0 4" Properties=species:S:1:pos:R:3:forces:R:3 energy=-1.0 '
        'stress="0.1 0.2 0.3 0.4 0.5 0.6" pbc="T T T"\nSi 0 0 0 0 0 0.1\nSi 1 1 1 0 0 -0.1\n'
    )
    [row], _ = read(tmp_path / "v.xyz")
    np.testing.assert_allclose(row.stress, [[0.1, 0.6, 0.5], [0.6, 0.2, 0.4], [0.5, 0.4, 0.3]], atol=1e-12)


@pytest.mark.parametrize(
    ("fields", "energy", "force"),
    [
        ("energy=-1.0 energy-unit=Hartree force-unit=Hartree/Bohr", -27.211386, 51.422067),
        ("energy=-1.0 energy_unit=kcal/mol forces_unit=kcal/mol/Ang", -0.04336410, 0.04336410),
        ("energy=-1.0 energy_units=au forces_units=a.u.", -27.211386, 51.422067),
        ("energy=-1.0D+00", -1.0, 1.0),
    ],
)
def test_units_that_a_file_states_are_taken(tmp_path, fields, energy, force):
    (tmp_path / "u.xyz").write_text(
        f"2\nProperties=species:S:1:pos:R:3:forces:R:3 {fields}\nH 0 0 0 0 0 1\nH 0 0 0.75 0 0 -1\n"
    )
    [row], reader = read(tmp_path / "u.xyz")
    assert row.energy == pytest.approx(energy, rel=1e-6)
    assert row.forces[0, 2] == pytest.approx(force, rel=1e-6)
    assert not set(reader.seen) - reader.used
    if "unit" in fields:  # those of the user win
        [row], _ = read(tmp_path / "u.xyz", units="eV,eV/Angstrom")
        assert (row.energy, row.forces[0, 2]) == (-1.0, 1.0)


def test_a_unit_nobody_knows_is_refused(tmp_path):
    (tmp_path / "u.xyz").write_text("1\nenergy=1 energy-unit=furlong\nH 0 0 0\n")
    with pytest.raises(ValueError, match="frame 0 states its units: 'furlong' is no unit"):
        read(tmp_path / "u.xyz", forces_key="none")


@pytest.mark.parametrize(
    ("stress", "factor"),
    [("GPa", 1 / 160.2176634), ("kb", 1 / 1602.176634), ("hartree/bohr^3", 183.631538), ("kcal/mol/A^3", 0.04336410)],
)
def test_units_of_stress(stress, factor):
    assert parse_units(f"eV,eV/Angstrom,Angstrom,{stress}").stress == pytest.approx(factor, rel=1e-6)


def test_cells_of_cp2k_are_those_of_its_input(frames, tmp_path):
    """Without a .cell file and without an input the cell is asked for: CP2K is periodic unless told otherwise."""
    path = files.cp2k(tmp_path, frames)
    about = tmp_path / "run.inp"
    for text, lengths in (
        ("&CELL\n ABC 10.0 11.0 12.0\n&END", (10, 11, 12)),
        ("&CELL\n B 0 11 0 ! second\n A 10 0 0\n PERIODIC XYZ\n C 0 0 12\n&END CELL", (10, 11, 12)),
        ("&cell\n ABC [bohr] 20 20 20\n&END", (10.583544, 10.583544, 10.583544)),
        ("&CELL\n ABC 10 10 10\n ALPHA_BETA_GAMMA 90 90 60\n&END", (10, 10, 10)),
    ):
        about.write_text(f"&SUBSYS\n{text}\n&END SUBSYS\n")
        rows, _ = read(path)
        assert rows[0].pbc.all()
        np.testing.assert_allclose(np.linalg.norm(rows[0].cell, axis=1), lengths, rtol=1e-6)
    assert rows[0].cell[0] @ rows[0].cell[1] == pytest.approx(100 * 0.5, rel=1e-6)
    about.write_text("&CELL\n ABC 10 10 10\n PERIODIC XY\n&END CELL\n")
    assert read(path)[0][0].pbc.tolist() == [True, True, False]
    about.unlink()
    with pytest.raises(ValueError, match="--cell A,B,C"):
        read(path)
    assert not read(path, pbc="no")[0][0].pbc.any()


def test_types_of_deepmd_are_elements_with_or_without_numbers(frames, tmp_path):
    folder = files.deepmd(tmp_path / "d", frames)
    (folder / "type_map.raw").write_text("H C1 O2")
    assert read(folder)[0][0].numbers.tolist() == frames[0].atomic_numbers.tolist()
    for text, why in (("H C HW", "HW in type_map.raw is no element"), (None, "no type_map.raw: write the elements")):
        (folder / "type_map.raw").unlink() if text is None else (folder / "type_map.raw").write_text(text)
        with pytest.raises(ValueError, match=why):
            read(folder)


def test_an_outcar_that_ase_cannot_read_says_what_to_take(tmp_path):
    (tmp_path / "OUTCAR").write_text(" vasp.6.3.0\n IBRION = nonsense\n")
    with pytest.raises(ValueError, match=r"vasprun\.xml of the same run") as caught:
        read(tmp_path / "OUTCAR")
    assert "\n" not in str(caught.value)


def test_kinds_that_are_counted_are_no_elements(frames, tmp_path):
    """Taken for atomic numbers they gave B2N: the 0 of hydrogen was room behind the last atom."""
    z, x, e, f = files.labels(frames)
    for name, kinds in (("z", z - 1), ("atom_types", np.searchsorted([1, 6, 8], z) + 1)):
        np.savez(tmp_path / "k.npz", R=x, E=e, F=f, **{name: kinds})
        with pytest.raises(ValueError, match=rf"{name} holds .*: kinds that are counted"):
            read(tmp_path / "k.npz")


def test_a_file_that_names_something_else_in_every_frame_is_listed_in_short(tmp_path):
    text = "".join(f"1\nProperties=species:S:1:pos:R:3 id{k}=1\nH 0 0 {k}\n" for k in range(1000))
    (tmp_path / "a.xyz").write_text(text)
    with pytest.raises(ValueError, match=r"id0, id1, .* \.\.\.: name it") as caught:
        read(tmp_path / "a.xyz")[1].missing({"energy": False, "forces": False})
    assert len(str(caught.value)) < 400


def test_a_cut_off_bare_file_is_one_line(frames, tmp_path):
    path = sgdml(tmp_path, frames)
    path.write_text(path.read_text()[:-100])
    with pytest.raises(ValueError, match=r"ends within a frame|unequal length"):
        read(path, units="kcal/mol")


OUTCAR = """ vasp.6.3.0 20Jan22
 POTCAR:    PAW_PBE Si 05Jan2001
 POTCAR:    PAW_PBE O_s 08Apr2002
 POTCAR:    PAW_PBE Si 05Jan2001
   ions per type =               1   2
{steps}"""
OUTCAR_STEP = """  in kB      10.00000    20.00000    30.00000    40.00000    50.00000    60.00000
      direct lattice vectors                 reciprocal lattice vectors
     5.000000000  0.000000000  0.000000000     0.200000000  0.000000000  0.000000000
     0.000000000  6.000000000  0.000000000     0.000000000  0.166666667  0.000000000
     0.000000000 -1.000000000  7.000000000     0.000000000  0.000000000  0.142857143
 POSITION                                       TOTAL-FORCE (eV/Angst){head}
 -----------------------------------------------------------------------------------
      0.00000      0.00000      0.00000         0.100000      0.000000     -0.200000{more}
      1.60000      0.00000      0.00000        -0.050000      0.000000      0.100000{more}
      0.00000      1.60000      0.00000        -0.050000      0.000000      0.100000{more}
 -----------------------------------------------------------------------------------
  FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)
  free  energy   TOTEN  =       {free:.8f} eV    w/o vdW =       -1.00000000 eV
  energy  without entropy=      -2.00000000 eV    w/o vdW =  -2.0  energy(sigma->0) =      {energy:.8f} eV    w/o = -3.0
"""


def test_an_outcar_with_columns_that_ase_does_not_know(tmp_path):
    """Forces with and without dispersion side by side; a step of a machine-learned field, and one that was cut off."""
    vdw = {"head": ",        FORCE-w/o vdW (eV/Angst)", "more": "        9.000000      9.000000      NaN"}
    steps = [
        OUTCAR_STEP.format(**vdw, free=-10.5, energy=-10.4),
        OUTCAR_STEP.format(head=" (ML)", more="", free=-10.5, energy=-10.4).replace("energy", "ML energy"),
        OUTCAR_STEP.format(**vdw, free=-10.7, energy=-10.6),
        OUTCAR_STEP.format(**vdw, free=-10.7, energy=-10.6)[:700],
    ]
    (tmp_path / "OUTCAR").write_text(OUTCAR.format(steps="".join(steps)))
    rows, _ = read(tmp_path / "OUTCAR")
    assert [row.energy for row in rows] == [-10.4, -10.6]
    assert [row.energy for row in read(tmp_path / "OUTCAR", energy_key="free_energy")[0]] == [-10.5, -10.7]
    assert rows[0].numbers.tolist() == [14, 8, 8]
    assert rows[0].pbc.all()
    np.testing.assert_allclose(rows[0].cell, [[5, 0, 0], [0, 6, 0], [0, -1, 7]])
    np.testing.assert_allclose(rows[0].forces[0], [0.1, 0, -0.2])
    tension = -np.array([[10, 40, 60], [40, 20, 50], [60, 50, 30]]) / 1602.176634  # VASP: xx, yy, zz, xy, yz, zx
    np.testing.assert_allclose(rows[0].stress, tension, rtol=1e-6)
