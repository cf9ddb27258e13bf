"""SPC/Fw water with OpenMM: 64 molecules, 300 K, 1 fs, Nose-Hoover chain.

Force field: Wu, Tepper and Voth, J. Chem. Phys. 124, 024503 (2006). Everything below is part of the model:
the cell, the cut-off, the switching, the Ewald tolerance.

    python -m ffbench_data.generate.water FOLDER --runs 5 --ps 1000
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..atomic import replacing, write_text
from ..command import as_program
from . import nose_hoover

MOLECULES = 64
CELL = 12.43  # Angstrom
TEMPERATURE = 300.0  # K
TIME_STEP = 1.0  # fs
RELAXATION = 100.0  # fs
KCAL = 4.184  # kJ/mol
BOLTZMANN = 0.00831446261815324  # kJ/mol/K
EV = 96.48533212331001  # kJ/mol per eV

SPC_FW = {
    "bond_length": 1.012,  # Angstrom
    "bond_k": 1059.162,  # kcal/mol/A^2, E = k/2 (r - r0)^2
    "angle": 113.24,  # degrees
    "angle_k": 75.90,  # kcal/mol/rad^2, E = k/2 (theta - theta0)^2
    "charge_o": -0.82,
    "epsilon": 0.1554253,  # kcal/mol, O-O
    "sigma": 3.165492,  # Angstrom, O-O
}


def system(molecules: int = MOLECULES, cell: float = CELL, **changes: float) -> Any:
    """The OpenMM system (atoms in order O, H, H). ``changes`` override single parameters of `SPC_FW`."""
    import openmm

    p = {**SPC_FW, **changes}
    s = openmm.System()
    side = cell / 10
    s.setDefaultPeriodicBoxVectors((side, 0, 0), (0, side, 0), (0, 0, side))
    bonds, angles, pairs = openmm.HarmonicBondForce(), openmm.HarmonicAngleForce(), openmm.NonbondedForce()
    for m in range(molecules):
        o, h1, h2 = 3 * m, 3 * m + 1, 3 * m + 2
        for mass, charge in ((15.99943, p["charge_o"]), (1.007947, -p["charge_o"] / 2), (1.007947, -p["charge_o"] / 2)):
            oxygen = mass > 2
            s.addParticle(mass)
            pairs.addParticle(charge, p["sigma"] / 10 if oxygen else 0.1, p["epsilon"] * KCAL if oxygen else 0.0)
        for h in (h1, h2):
            bonds.addBond(o, h, p["bond_length"] / 10, p["bond_k"] * KCAL * 100)
        angles.addAngle(h1, o, h2, np.deg2rad(p["angle"]), p["angle_k"] * KCAL)
        for a, b in ((o, h1), (o, h2), (h1, h2)):
            pairs.addException(a, b, 0.0, 0.1, 0.0)
    for bonded in (bonds, angles):  # a molecule may be cut by the cell's boundary: take nearest images
        bonded.setUsesPeriodicBoundaryConditions(True)
    pairs.setExceptionsUsePeriodicBoundaryConditions(True)
    pairs.setNonbondedMethod(openmm.NonbondedForce.PME)
    pairs.setCutoffDistance(0.6)
    pairs.setEwaldErrorTolerance(1e-5)  # the default 5e-4 leaves 0.4 meV/A of force noise
    pairs.setUseSwitchingFunction(True)
    pairs.setSwitchingDistance(0.5)
    pairs.setUseDispersionCorrection(False)
    for force in (bonds, angles, pairs):
        s.addForce(force)
    return s


def context(integrator: Any, threads: int = 1, **changes: Any) -> Any:
    import openmm

    platform = openmm.Platform.getPlatformByName("CPU")
    return openmm.Context(
        system(**changes), integrator, platform, {"Threads": str(threads), "DeterministicForces": "true"}
    )


def lattice(rng: np.random.Generator, molecules: int = MOLECULES, cell: float = CELL) -> np.ndarray:
    """A cubic lattice of randomly turned molecules, Angstrom."""
    from scipy.spatial.transform import Rotation

    half = np.deg2rad(SPC_FW["angle"] / 2)
    r = SPC_FW["bond_length"]
    monomer = np.array([[0, 0, 0], [r * np.sin(half), r * np.cos(half), 0], [-r * np.sin(half), r * np.cos(half), 0]])
    side = int(np.ceil(molecules ** (1 / 3)))
    sites = np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), -1).reshape(-1, 3)[:molecules]
    turns = Rotation.random(molecules, random_state=rng)
    return np.concatenate([turn.apply(monomer) + site * cell / side for turn, site in zip(turns, sites)])


def simulate(
    folder: Path,
    *,
    run: int,
    ps: float = 1000.0,
    save_fs: float = 100.0,
    equilibrate_ps: float = 50.0,
    temperature: float = TEMPERATURE,
    seed: int = 20261121,
    time_step: float = TIME_STEP,
) -> Path:
    """One independent run, saved in pieces of 50 ps so that a killed one goes on from the last piece.

    Pieces hold unwrapped ``positions`` [T, N, 3] float32 (Angstrom), ``temperature`` [T] (K, full-step kinetic
    energy, 3N - 3 degrees of freedom) and ``potential`` [T] (eV), every ``save_fs``.
    """
    import openmm

    folder = Path(folder) / f"run-{run:02d}"
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([seed, run])
    kt = BOLTZMANN * temperature
    dof = 9 * MOLECULES - 3
    state_file, piece_ps = folder / "state.xml", 50.0
    pieces = round(ps / piece_ps)

    integrator = nose_hoover.openmm_integrator(kt=kt, tau=RELAXATION / 1000, dof=dof, dt=time_step / 1000)
    ctx = context(integrator)
    done = sorted(folder.glob("piece-*.npz"))
    if done and state_file.exists():
        ctx.setState(openmm.XmlSerializer.deserialize(state_file.read_text()))
        for k in range(nose_hoover.CHAIN):
            integrator.setGlobalVariableByName(f"w{k}", float(np.load(done[-1])["thermostat"][k]))
    else:
        warm = openmm.LangevinMiddleIntegrator(temperature, 2.0, time_step / 1000)
        warm.setRandomNumberSeed(int(rng.integers(1, 2**30)))
        hot = context(warm)
        hot.setPositions(lattice(rng) / 10)
        openmm.LocalEnergyMinimizer.minimize(hot, 10.0, 500)
        hot.setVelocitiesToTemperature(temperature, int(rng.integers(1, 2**30)))
        warm.step(round(equilibrate_ps * 1000 / time_step))
        x = hot.getState(positions=True).getPositions(asNumpy=True)._value
        mass = np.array([ctx.getSystem().getParticleMass(i)._value for i in range(3 * MOLECULES)])
        ctx.setPositions(x)
        ctx.setVelocities(nose_hoover.draw_velocities(rng, x, mass, kt, remove_rotation=False))
        integrator.step(round(5000 / time_step))

    every = round(save_fs / time_step)
    for piece in range(len(done), pieces):
        frames = round(piece_ps * 1000 / save_fs)
        x = np.empty((frames, 3 * MOLECULES, 3), np.float32)
        kelvin, potential = np.empty(frames), np.empty(frames)
        for t in range(frames):
            integrator.step(every)
            s = ctx.getState(positions=True, energy=True)
            x[t] = s.getPositions(asNumpy=True)._value * 10
            potential[t] = s.getPotentialEnergy()._value / EV
            kelvin[t] = integrator.getGlobalVariableByName("kinetic2") / (dof * BOLTZMANN)
        chain = [integrator.getGlobalVariableByName(f"w{k}") for k in range(nose_hoover.CHAIN)]
        with replacing(folder / f"piece-{piece:03d}.npz") as part, part.open("wb") as file:
            np.savez(file, positions=x, temperature=kelvin, potential=potential, save_fs=save_fs, thermostat=chain)
            state = ctx.getState(positions=True, velocities=True)  # before the piece: one without is run again
            write_text(state_file, openmm.XmlSerializer.serialize(state))
        print(f"water run {run}: {(piece + 1) * piece_ps:.0f} of {ps:.0f} ps, mean T {kelvin.mean():.1f} K", flush=True)
    return folder


def main(folder: Path, runs: int = 5, ps: float = 1000.0, save_fs: float = 100.0) -> None:
    """Simulate water, run after run; what is there already is continued."""
    for run in range(runs):
        simulate(folder, run=run, ps=ps, save_fs=save_fs)


if __name__ == "__main__":
    as_program(main)
