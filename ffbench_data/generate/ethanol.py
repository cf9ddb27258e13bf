"""Ethanol at GFN2-xTB with tblite: 500 K, 0.5 fs, Nose-Hoover chain.

GFN2-xTB: Bannwarth, Ehlert and Grimme, J. Chem. Theory Comput. 15, 1652 (2019).

    python -m ffbench_data.generate.ethanol FOLDER --runs 6 --ps 100
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..atomic import replacing
from ..command import as_program
from . import nose_hoover

TEMPERATURE = 500.0  # K
TIME_STEP = 0.5  # fs
RELAXATION = 100.0  # fs
BOHR = 0.529177210903  # Angstrom
HARTREE = 27.211386245988  # eV
BOLTZMANN = 8.617333262145179e-05  # eV/K
FS = 0.09822694743391452  # fs in A sqrt(amu/eV)


class GFN2:
    """Energy (eV) and forces (eV/A) of one molecule, closed shell, electronic temperature 300 K.

    ``accuracy`` is tblite's; labels use 0.01 with a fresh guess, trajectories 1.0 continuing from the last
    wavefunction.
    """

    def __init__(self, numbers: Any, *, accuracy: float = 0.01, fresh: bool = True):
        self.numbers = np.asarray(numbers)
        self.accuracy, self.fresh = accuracy, fresh
        self._calculator: Any = None
        self._last: Any = None

    def __call__(self, positions: np.ndarray):
        from tblite.interface import Calculator

        if self._calculator is None:
            self._calculator = Calculator("GFN2-xTB", self.numbers, np.asarray(positions, float) / BOHR)
            self._calculator.set("verbosity", 0)
            self._calculator.set("accuracy", self.accuracy)
            self._calculator.set("temperature", 300.0 * BOLTZMANN / HARTREE)
        else:
            self._calculator.update(positions=np.asarray(positions, float) / BOHR)
        self._last = self._calculator.singlepoint(None if self.fresh else self._last)
        return self._last.get("energy") * HARTREE, -self._last.get("gradient") * HARTREE / BOHR


def start(name: str = "CH3CH2OH") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Atomic numbers, masses (amu) and the GFN2 minimum (Angstrom) of a molecule of MD17 or one that ASE knows."""
    from .molecules import MINIMA, minimum

    if name in MINIMA:
        return minimum(name)
    from ase.build import molecule
    from scipy.optimize import minimize

    atoms = molecule(name)
    potential = GFN2(atoms.numbers, accuracy=0.1, fresh=False)

    def objective(flat: np.ndarray):
        energy, force = potential(flat.reshape(-1, 3))
        return energy, -force.ravel()

    best = minimize(objective, atoms.positions.ravel(), jac=True, method="BFGS", options={"gtol": 1e-3})
    return atoms.numbers, atoms.get_masses(), best.x.reshape(-1, 3)


def simulate(
    folder: Path,
    *,
    run: int,
    ps: float = 100.0,
    save_fs: float = 10.0,
    equilibrate_ps: float = 5.0,
    molecule: str = "CH3CH2OH",
    seed: int = 20261121,
    piece_ps: float = 10.0,
    time_step: float = TIME_STEP,
) -> Path:
    """One independent run in pieces of ``piece_ps`` (restartable): ``positions`` [T, N, 3] float32 (Angstrom),
    ``temperature`` [T] (K, 3N - 6 degrees of freedom), ``potential`` [T] (eV), every ``save_fs``."""
    folder = Path(folder) / f"run-{run:02d}"
    folder.mkdir(parents=True, exist_ok=True)
    numbers, mass, x = start(molecule)
    kt, dof, dt = BOLTZMANN * TEMPERATURE, 3 * len(numbers) - 6, time_step * FS
    potential = GFN2(numbers, accuracy=1.0, fresh=False)
    rules: dict[str, Any] = {"mass": mass, "kt": kt, "tau": RELAXATION * FS, "dof": dof, "dt": dt}
    every = round(save_fs / time_step)

    done = sorted(folder.glob("piece-*.npz"))
    if done:
        last = np.load(done[-1])
        x, v, chain = last["end_positions"], last["end_velocities"], last["thermostat"]
        _, force = potential(x)
    else:
        rng = np.random.default_rng([seed, run])
        v = nose_hoover.draw_velocities(rng, x, mass, 2 * kt, remove_rotation=True)  # half of it goes into the bonds
        chain = np.zeros(nose_hoover.CHAIN)
        _, force = potential(x)
        for _ in range(round(equilibrate_ps * 1000 / time_step)):
            x, v, force, chain, _ = nose_hoover.step(x, v, force, chain, potential, **rules)

    for piece in range(len(done), round(ps / piece_ps)):
        frames = round(piece_ps * 1000 / save_fs)
        saved = np.empty((frames, len(numbers), 3), np.float32)
        kelvin, energies = np.empty(frames), np.empty(frames)
        for t in range(frames):
            for _ in range(every):
                x, v, force, chain, energy = nose_hoover.step(x, v, force, chain, potential, **rules)
            saved[t], energies[t] = x, energy
            kelvin[t] = (mass[:, None] * v**2).sum() / (dof * BOLTZMANN)
        with replacing(folder / f"piece-{piece:03d}.npz") as part, part.open("wb") as file:
            np.savez(
                file,
                positions=saved,
                temperature=kelvin,
                potential=energies,
                save_fs=save_fs,
                numbers=numbers,
                end_positions=x,
                end_velocities=v,
                thermostat=chain,
            )
        print(f"{molecule} run {run}: {(piece + 1) * piece_ps:.0f} of {ps:.0f} ps, T {kelvin.mean():.1f} K", flush=True)
    return folder


def main(folder: Path, runs: int = 6, ps: float = 100.0) -> None:
    """Simulate ethanol, run after run."""
    for run in range(runs):
        simulate(folder, run=run, ps=ps)


if __name__ == "__main__":
    as_program(main)
