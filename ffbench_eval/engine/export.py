"""Trajectories for other people's viewers: ASE .traj, extended XYZ, DCD, XTC."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .trajectory import Trajectory, read_failures, read_trajectories

FORMATS = ("traj", "xyz", "extxyz", "dcd", "xtc")


def export_trajectories(
    folder: str | Path, to: str, out: str | Path | None = None, *, failures: bool = False
) -> list[Path]:
    """Write every replica of a finished unit as ``replica-<number>.<format>``; returns the files.

    ``to`` is ``traj`` (ASE, with energies and, where saved, velocities), ``xyz`` or ``extxyz`` (extended XYZ), ``dcd``
    or ``xtc`` (positions and cell only; these two need mdtraj, and read back only beside a topology, so the first
    frame is written as ``.pdb`` too). ``out`` defaults to the unit's folder. Positions stay unwrapped. With
    ``failures`` the last steps of the replicas that failed are written instead, as ``failure-<number>``.

    ValueError names an unknown format or a folder without a trajectory; ImportError says what to install.
    """
    if to not in FORMATS:
        raise ValueError(f"to must be one of {', '.join(FORMATS)}, got {to!r}")
    out = Path(out or folder)
    out.mkdir(parents=True, exist_ok=True)
    if failures:
        chosen = {f"failure-{b:04d}": t for b, t in read_failures(Path(folder)).items()}
    else:
        chosen = {f"replica-{b:04d}": t for b, t in enumerate(read_trajectories(Path(folder)))}
    write = _write_mdtraj if to in ("dcd", "xtc") else _write_ase
    paths = []
    for name, trajectory in chosen.items():
        if len(trajectory):
            paths.append(out / f"{name}.{to}")
            write(trajectory, paths[-1], to)
    return paths


def to_atoms(trajectory: Trajectory) -> Iterator[Any]:
    """ASE Atoms of every frame, with energy, time and, where saved, velocities."""
    from ase import Atoms
    from ase.calculators.singlepoint import SinglePointCalculator
    from ase.units import fs

    cells = trajectory.cells
    for k in range(len(trajectory)):
        atoms = Atoms(
            trajectory.numbers,
            trajectory.positions[k].astype(float),
            cell=cells[k],
            pbc=trajectory.pbc,
            info={"time_ps": float(trajectory.time_ps[k]), "temperature_K": float(trajectory.temperature[k])},
        )
        if trajectory.velocities is not None:
            atoms.set_velocities(trajectory.velocities[k].astype(float) / fs)
        atoms.calc = SinglePointCalculator(atoms, energy=float(trajectory.potential_energy[k]))
        yield atoms


def _write_ase(trajectory: Trajectory, path: Path, to: str) -> None:
    if to == "traj":
        from ase.io.trajectory import TrajectoryWriter

        with TrajectoryWriter(path) as file:
            for atoms in to_atoms(trajectory):
                file.write(atoms)
        return
    from ase.io import write

    with path.open("w") as text:
        for atoms in to_atoms(trajectory):
            write(text, atoms, format="extxyz")


def _write_mdtraj(trajectory: Trajectory, path: Path, to: str) -> None:
    try:
        import mdtraj
    except ImportError as error:
        raise ImportError(f"writing .{to} needs mdtraj: pip install mdtraj") from error
    topology = mdtraj.Topology()
    residue = topology.add_residue("SYS", topology.add_chain())
    for number in trajectory.numbers:
        element = mdtraj.element.Element.getByAtomicNumber(int(number))
        topology.add_atom(element.symbol, element, residue)
    frames = mdtraj.Trajectory(trajectory.positions.astype(np.float32) / 10, topology, time=trajectory.time_ps)
    if trajectory.pbc.all():
        frames.unitcell_vectors = (trajectory.cells / 10).astype(np.float32)
    frames.save(str(path))
    frames[0].save_pdb(str(path.with_suffix(".pdb")))
