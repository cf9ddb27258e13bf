"""Alanine dipeptide (ACE-ALA-NME, 22 atoms) with AMBER-03 and OBC implicit solvent in OpenMM, 300 K.

No constraints, no rigid bonds: the labels hold every force. 1 fs, Langevin (OpenMM's middle scheme, the same
configurations as BAOAB), friction 1 / ps, on the ``Reference`` platform (double precision; for 22 atoms it is
also the fastest). Well-tempered metadynamics on phi and psi: hills of 1.2 kJ/mol, 0.35 rad, one per ps, bias
factor 6.

    python -m ffbench_data.generate.alanine FOLDER --runs 2 --ps 10000
    python -m ffbench_data.generate.alanine FLOOR_FOLDER --runs 24 --ps 500 --from-minima
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..atomic import replacing
from ..command import as_program

TEMPERATURE = 300.0  # K
TIME_STEP = 1.0  # fs
FRICTION = 1.0  # 1/ps
HILL_HEIGHT, HILL_WIDTH, BIAS_FACTOR = 1.2, 0.35, 6.0  # kJ/mol, rad
EV = 96.48533212331001  # kJ/mol per eV

# One row per atom: name, element, residue, bonded to, angle with, dihedral with, length, angle, dihedral.
# "phi" and "psi" are filled in; the signs of HA and CB make the L enantiomer.
ATOMS = [
    ("H1", "H", "ACE", None, None, None, 0, 0, 0),
    ("CH3", "C", "ACE", 0, None, None, 1.09, 0, 0),
    ("H2", "H", "ACE", 1, 0, None, 1.09, 109.5, 0),
    ("H3", "H", "ACE", 1, 0, 2, 1.09, 109.5, 120),
    ("C", "C", "ACE", 1, 0, 2, 1.52, 109.5, -120),
    ("O", "O", "ACE", 4, 1, 0, 1.23, 120.5, 0),
    ("N", "N", "ALA", 4, 1, 0, 1.335, 116.6, 180),
    ("H", "H", "ALA", 6, 4, 1, 1.01, 119.8, 0),
    ("CA", "C", "ALA", 6, 4, 1, 1.449, 121.9, 180),
    ("HA", "H", "ALA", 8, 6, 4, 1.09, 109.5, ("phi", 120)),
    ("CB", "C", "ALA", 8, 6, 4, 1.526, 109.7, ("phi", -120)),
    ("HB1", "H", "ALA", 10, 8, 6, 1.09, 109.5, 60),
    ("HB2", "H", "ALA", 10, 8, 6, 1.09, 109.5, 180),
    ("HB3", "H", "ALA", 10, 8, 6, 1.09, 109.5, -60),
    ("C", "C", "ALA", 8, 6, 4, 1.522, 111.1, ("phi", 0)),
    ("O", "O", "ALA", 14, 8, 6, 1.229, 120.5, ("psi", 180)),
    ("N", "N", "NME", 14, 8, 6, 1.335, 116.6, ("psi", 0)),
    ("H", "H", "NME", 16, 14, 8, 1.01, 119.8, 0),
    ("C", "C", "NME", 16, 14, 8, 1.449, 121.9, 180),
    ("H1", "H", "NME", 18, 16, 14, 1.09, 109.5, 60),
    ("H2", "H", "NME", 18, 16, 14, 1.09, 109.5, 180),
    ("H3", "H", "NME", 18, 16, 14, 1.09, 109.5, -60),
]
# The six lowest minima of the reference surface (phi, psi in degrees), where scored runs start.
MINIMA = [(-72, -24), (-78, 162), (-156, 162), (-156, -54), (72, -42), (60, -138)]
PHI = (4, 6, 8, 14)  # C-N-CA-C
PSI = (6, 8, 14, 16)  # N-CA-C-N


def structure(phi: float = -80.0, psi: float = 80.0) -> np.ndarray:
    """Idealised positions [22, 3] (Angstrom) with the given dihedral angles (degrees)."""
    given = {"phi": phi, "psi": psi}
    x = np.zeros((len(ATOMS), 3))
    rows: list[Any] = ATOMS
    for i, (*_, bonded, angled, turned, length, angle, dihedral) in enumerate(rows):
        if bonded is None:
            continue
        if isinstance(dihedral, tuple):
            dihedral = given[dihedral[0]] + dihedral[1]
        theta, tau = np.deg2rad(angle), np.deg2rad(dihedral)
        a = x[bonded] - x[angled] if angled is not None else np.array([1.0, 0, 0])
        b = x[angled] - x[turned] if turned is not None else np.array([0, 1.0, 0])
        a /= np.linalg.norm(a)
        if angled is None:
            x[i] = x[bonded] + length * a
            continue
        n = np.cross(b, a)
        n /= np.linalg.norm(n)
        m = np.cross(n, a)
        x[i] = x[bonded] + length * (
            -np.cos(theta) * a + np.sin(theta) * np.cos(tau) * m + np.sin(theta) * np.sin(tau) * n
        )
    return x


def system() -> tuple[Any, Any]:
    """(OpenMM topology, system): AMBER-03 + OBC, no cut-off, no constraints."""
    from openmm import app

    topology = app.Topology()
    chain = topology.addChain()
    residues, atoms = {}, []
    for name, element, residue, *_ in ATOMS:
        if residue not in residues:
            residues[residue] = topology.addResidue(residue, chain)
        atoms.append(topology.addAtom(name, app.Element.getBySymbol(element), residues[residue]))
    for i, row in enumerate(ATOMS):
        if row[3] is not None:
            topology.addBond(atoms[row[3]], atoms[i])
    field = app.ForceField("amber03.xml", "amber03_obc.xml")
    return topology, field.createSystem(topology, nonbondedMethod=app.NoCutoff, constraints=None, rigidWater=False)


def simulate(
    folder: Path,
    *,
    run: int,
    ps: float,
    start: tuple[float, float] = (-80.0, 80.0),
    unbiased_ps: float = 20.0,
    seed: int = 20261121,
) -> Path:
    """One independent well-tempered metadynamics run in pieces of at most 1 ns (restartable).

    Pieces hold ``positions`` [T, 22, 3] float32 (Angstrom) and ``hills`` [T, 3] (phi, psi in rad, height in kJ/mol
    as added), one row per ps. A restart rebuilds the bias from all earlier hills.
    """
    import openmm
    from openmm import app, unit

    folder = Path(folder) / f"run-{run:02d}"
    folder.mkdir(parents=True, exist_ok=True)
    topology, sys = system()
    variables = []
    for indices in (PHI, PSI):
        torsion = openmm.CustomTorsionForce("theta")
        torsion.addTorsion(*indices, [])
        variables.append(app.BiasVariable(torsion, -np.pi, np.pi, HILL_WIDTH, True))

    hills: list[tuple[float, float, float]] = []

    class Logged(app.Metadynamics):
        def _addGaussian(self, position: Any, height: Any, context: Any):
            value = height.value_in_unit(unit.kilojoules_per_mole) if unit.is_quantity(height) else float(height)
            hills.append((float(position[0]), float(position[1]), value))
            super()._addGaussian(position, height, context)

    bias = Logged(sys, variables, TEMPERATURE, BIAS_FACTOR, HILL_HEIGHT, round(1000 / TIME_STEP))
    integrator = openmm.LangevinMiddleIntegrator(TEMPERATURE, FRICTION, TIME_STEP / 1000)
    done = sorted(folder.glob("piece-*.npz"))
    rng = np.random.default_rng([seed, run, len(done)])
    integrator.setRandomNumberSeed(int(rng.integers(1, 2**30)))
    simulation = app.Simulation(topology, sys, integrator, openmm.Platform.getPlatformByName("Reference"))
    if done:
        last = np.load(done[-1])
        simulation.context.setPositions(last["end_positions"])
        simulation.context.setVelocities(last["end_velocities"])
        for file in done:
            for phi, psi, height in np.load(file)["hills"]:
                energy = height * unit.kilojoules_per_mole
                app.Metadynamics._addGaussian(bias, (phi, psi), energy, simulation.context)
    else:
        simulation.context.setPositions(structure(*start) / 10)
        simulation.minimizeEnergy(maxIterations=200)
        simulation.context.setVelocitiesToTemperature(TEMPERATURE, int(rng.integers(1, 2**30)))
        integrator.step(round(unbiased_ps * 1000 / TIME_STEP))

    piece_ps = min(1000.0, ps)
    for piece in range(len(done), round(ps / piece_ps)):
        frames = round(piece_ps)
        x = np.empty((frames, len(ATOMS), 3), np.float32)
        hills.clear()
        for t in range(frames):
            bias.step(simulation, round(1000 / TIME_STEP))
            x[t] = simulation.context.getState(positions=True).getPositions(asNumpy=True)._value * 10
        end = simulation.context.getState(positions=True, velocities=True)
        with replacing(folder / f"piece-{piece:03d}.npz") as unfinished, unfinished.open("wb") as whole:
            np.savez(
                whole,
                positions=x,
                hills=np.array(hills),
                end_positions=end.getPositions(asNumpy=True)._value,
                end_velocities=end.getVelocities(asNumpy=True)._value,
            )
        print(f"alanine dipeptide run {run}: {(piece + 1) * piece_ps:.0f} of {ps:.0f} ps", flush=True)
    return folder


def main(folder: Path, runs: int = 2, ps: float = 10000.0, from_minima: bool = False) -> None:
    """Simulate alanine dipeptide; with --from-minima run k starts at minimum k mod 6."""
    for run in range(runs):
        more: dict[str, Any] = {"start": MINIMA[run % len(MINIMA)], "seed": 20261122} if from_minima else {}
        simulate(folder, run=run, ps=ps, **more)


if __name__ == "__main__":
    as_program(main)
