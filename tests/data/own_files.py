"""Embedded ethanol in the formats that people have; what is written is returned as it was."""

import numpy as np
import pyarrow as pa
from ase import Atoms, units
from ase.calculators.singlepoint import SinglePointCalculator

from ffbench_data import load_frames
from ffbench_data.schema import VECTORS

KCAL = units.kcal / units.mol


def ethanol(count=60):
    """Frames of ethanol at 500 K far apart in time, with GFN2-xTB labels."""
    frames = load_frames("ethanol_gfn2", None, "train")
    return frames[np.linspace(0, len(frames) - 1, count).astype(int)]


def labels(frames):
    numbers, x = frames.stacked()
    return np.asarray(numbers, int), x, np.asarray(frames.energy), frames.forces.reshape(x.shape).astype(float)


def atoms_of(frames, energy="energy", forces="forces", calculator=False, **info):
    out = []
    for f in frames:
        a = Atoms(f.atomic_numbers, f.positions, cell=f.cell if f.pbc.any() else None, pbc=f.pbc)
        if calculator:
            a.calc = SinglePointCalculator(a, energy=float(f.energy), forces=f.forces.astype(float))
        else:
            a.info[energy], a.arrays[forces] = float(f.energy), f.forces.astype(float)
        a.info |= info
        out.append(a)
    return out


def deepmd(folder, frames):
    z, x, e, f = labels(frames)
    kinds = [int(k) for k in np.unique(z)]
    (folder / "set.000").mkdir(parents=True)
    np.savetxt(folder / "type.raw", [kinds.index(k) for k in z], fmt="%d")
    (folder / "type_map.raw").write_text("H C O")
    (folder / "nopbc").touch()
    for name, value in (("coord", x.reshape(len(x), -1)), ("force", f.reshape(len(f), -1)), ("energy", e)):
        np.save(folder / "set.000" / f"{name}.npy", value)
    return folder


def cp2k(folder, frames):
    z, x, e, f = labels(frames)
    symbols = [{1: "H", 6: "C", 8: "O"}[k] for k in z.tolist()]
    for name, values in (("pos", x), ("frc", f / (units.Hartree / units.Bohr))):
        with (folder / f"run-{name}-1.xyz").open("w") as file:
            for t, rows in enumerate(values):
                file.write(f"{len(z)}\n i = {t}, time = {t * 10.0:.3f}, E = {e[t] / units.Hartree:.12f}\n")
                file.writelines(f"{s} {r[0]:.12f} {r[1]:.12f} {r[2]:.12f}\n" for s, r in zip(symbols, rows))
    (folder / "run.inp").write_text("&SUBSYS\n  &CELL\n    ABC 20 20 20\n    PERIODIC NONE\n  &END CELL\n&END SUBSYS\n")
    return folder / "run-pos-1.xyz"


def colabfit(path, frames):
    z, x, e, f = labels(frames)
    n = len(e)
    table = pa.table({
        "property_id": [f"PO_{k}" for k in range(n)], "method": ["DFT-PBE"] * n, "software": ["xtb"] * n,
        "energy": e, "atomic_forces": pa.array(f.tolist(), VECTORS), "cauchy_stress": pa.nulls(n, VECTORS),
        "cell": pa.array([[[0.0] * 3] * 3] * n), "positions": pa.array(x.tolist(), VECTORS), "pbc": [[False] * 3] * n,
        "atomic_numbers": [z.tolist()] * n, "chemical_formula_hill": ["C2H6O"] * n, "nsites": [len(z)] * n,
        "names": [["a"]] * n,
    })  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    pa.parquet.write_table(table, path)
    return path


VASPRUN = """<?xml version="1.0" encoding="ISO-8859-1"?>
<modeling>
 <generator><i name="program" type="string">vasp</i></generator>
 <incar/>
 <kpoints/>
 <parameters><separator name="electronic"/></parameters>
 <atominfo><atoms>2</atoms><types>1</types>
  <array name="atoms"><dimension dim="1">ion</dimension><field type="string">element</field>
   <field type="int">atomtype</field><set><rc><c>Ar</c><c>1</c></rc><rc><c>Ar</c><c>1</c></rc></set></array>
 </atominfo>
 <structure name="initialpos">{structure}</structure>
 {steps}
 <structure name="finalpos">{structure}</structure>
</modeling>
"""
STRUCTURE = """<crystal><varray name="basis"><v>10 0 0</v><v>0 10 0</v><v>0 0 10</v></varray>
<varray name="rec_basis"><v>.1 0 0</v><v>0 .1 0</v><v>0 0 .1</v></varray></crystal>
<varray name="positions"><v>0 0 0</v><v>{0:.6f} 0 0</v></varray>"""
STEP = """<calculation><scstep><energy><i name="e_fr_energy">{1}</i><i name="e_wo_entrp">{1}</i>
<i name="e_0_energy">{1}</i></energy></scstep><structure>{0}</structure>
<varray name="forces"><v>{2} 0 0</v><v>-{2} 0 0</v></varray>
<energy><i name="e_fr_energy">{1}</i><i name="e_wo_entrp">{1}</i><i name="e_0_energy">{1}</i></energy></calculation>"""


def vasprun(path):
    """Two steps of two argon atoms in a cell of 10 A: distances 3.5 and 3.6 A, energies -0.10 and -0.11 eV."""
    steps = [STEP.format(STRUCTURE.format(d / 10), e, f) for d, e, f in ((3.5, -0.10, 0.01), (3.6, -0.11, 0.02))]
    first = STRUCTURE.format(0.35)
    path.write_text(VASPRUN.format(structure=first, steps="\n".join(steps)))
    return path
