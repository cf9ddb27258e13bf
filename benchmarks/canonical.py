"""Are the thermostats canonical, and how fast do they sample? Many independent walkers, one factor at a time.

    python benchmarks/canonical.py lattice     # which cause: degrees of freedom, equilibration, step, chain, estimator
    python benchmarks/canonical.py molecule    # an analytic ethanol, long: bias and floor of h(r) per thermostat
    python benchmarks/canonical.py weak        # Langevin at 1/ps once more, with other random numbers

Every error is taken over independent walkers, so that autocorrelation inside a walker cannot make it too small. Writes
benchmarks/results/canonical.json, one part per command. On one core about 10 minutes each.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch

from benchmarks.ethanol_opls import Ethanol
from ffbench_eval.engine.integrators import INTEGRATORS
from ffbench_eval.engine.noise import Noise
from ffbench_eval.engine.rule import Rule
from ffbench_eval.engine.system import State, System, draw_velocities, kinetic_energy
from ffbench_eval.engine.units import BOLTZMANN, FS
from ffbench_eval.run.environment import processor
from ffbench_metrics import distance_counts

RESULTS = Path(__file__).parent / "results" / "canonical.json"
F64 = torch.float64
torch.set_num_threads(1)


def simulate(
    ensemble: str,
    force: Callable,
    positions: torch.Tensor,
    masses: np.ndarray,
    temperatures: list[float],
    *,
    dof: int,
    fs: float,
    steps: int,
    every: int,
    open_system: bool,
    relaxation_fs: float = 20.0,
    friction_per_ps: float = 20.0,
    chain: int = 3,
    warm_chain: bool = False,
    velocities: torch.Tensor | None = None,
    seed: int = 0,
    keep_positions: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, State]:
    """Potential and kinetic energies [B, T] (eV), positions [B, T, N, 3] if asked for, and the last state.

    ``warm_chain`` draws the thermostats' velocities at kT instead of starting them at rest."""
    method, (b, n, _) = INTEGRATORS[ensemble], positions.shape
    system = System(
        torch.full((n,), 6),
        torch.as_tensor(masses, dtype=F64)[:, None],
        torch.zeros(3, 3, dtype=F64) if open_system else torch.eye(3, dtype=F64),
        torch.full((3,), not open_system),
        torch.as_tensor(temperatures, dtype=F64),
        dof,
    )
    if velocities is None:
        velocities = draw_velocities(
            positions, system, [[seed, k] for k in range(b)], momentum_free=method.keeps_momentum
        )
    thermostat = positions.new_zeros(b, 2 * chain if ensemble == "nose_hoover" else method.thermostat_size)
    if warm_chain:
        drawn = torch.as_tensor(np.random.default_rng([seed, 1]).normal(size=(b, chain))) / (relaxation_fs * FS)
        drawn[:, 0] /= dof**0.5
        thermostat[:, :chain] = drawn
    energy, forces = force(positions)
    state = State(positions, velocities, forces, energy, thermostat)
    noise = Noise(seed, list(range(b)), n, dof=dof, draw=method.draw) if method.draw else None
    rule = Rule(dt=fs * FS, relaxation=relaxation_fs * FS, friction=friction_per_ps / (1000 * FS))
    potential, kinetic, saved = [], [], []
    for step in range(steps):
        state = method.step(state, system, rule, force, noise(step) if noise else None)
        if (step + 1) % every == 0:
            potential.append(state.energy)
            kinetic.append(kinetic_energy(state.velocities, system.masses))
            if keep_positions:
                saved.append(state.positions.to(torch.float32))
    x = torch.stack(saved, 1).numpy() if keep_positions else None
    return torch.stack(potential, 1).numpy(), torch.stack(kinetic, 1).numpy(), x, state


# --- the lattice of the test: a ring of 8 atoms, k/2 d^2 + q/4 d^4 between neighbours ---

ATOMS, STIFF, QUARTIC, COLD, HOT = 8, 2.0, 60.0, 300.0, 360.0


def ring(stiff: tuple[float, float, float]) -> Callable:
    """Energy and forces of the ring; equal stiffness along the three axes conserves the angular momentum."""
    k = torch.tensor(stiff, dtype=F64)

    def force(x):
        d = x - x.roll(1, dims=1)
        square = d.square().sum(-1, keepdim=True)
        pull = (k + QUARTIC * square) * d
        return 0.5 * (k * d.square()).sum((1, 2)) + 0.25 * QUARTIC * square.square().sum((1, 2)), (
            pull.roll(-1, dims=1) - pull
        )

    return force


def slope_between(cold: np.ndarray, hot: np.ndarray) -> float:
    """b in ln p_hot(E) / p_cold(E) = a + b E by maximum likelihood (Shirts, J. Chem. Theory Comput. 9, 909 (2013))."""
    energy = np.concatenate([cold, hot])
    label = np.repeat([0.0, 1.0], [len(cold), len(hot)])
    centre, width = energy.mean(), energy.std()
    design = np.column_stack([np.ones_like(energy), (energy - centre) / width])
    beta = np.zeros(2)
    for _ in range(30):
        p = 1 / (1 + np.exp(-design @ beta))
        beta += np.linalg.solve((design.T * (p * (1 - p))) @ design, design.T @ (label - p))
    return float(beta[1] / width)


def slope_with_error(cold: np.ndarray, hot: np.ndarray, groups: int = 32) -> tuple[float, float]:
    """The slope from energies [W, T] and its jackknife error over groups of whole walkers."""
    whole = slope_between(cold.ravel(), hot.ravel())
    parts = [np.arange(g, len(cold), groups) for g in range(groups)]
    out = np.array([slope_between(np.delete(cold, part, 0).ravel(), np.delete(hot, part, 0).ravel()) for part in parts])
    return whole, float(np.sqrt((groups - 1) / groups * ((out - out.mean()) ** 2).sum()))


def lattice(walkers: int = 256) -> dict:
    expected = 1 / (BOLTZMANN * COLD) - 1 / (BOLTZMANN * HOT)
    temperatures = [COLD] * walkers + [HOT] * walkers
    rest = torch.zeros(2 * walkers, ATOMS, 3, dtype=F64)
    equal, unequal = ring((STIFF,) * 3), ring((1.4, 2.0, 2.9))
    shared = {"masses": np.full(ATOMS, 12.0), "temperatures": temperatures, "open_system": False, "fs": 2.0}
    rows: dict[str, dict] = {}

    def row(name, ensemble, force, dof, skip_ps, ps, *, x=rest, seed=11, fs=2.0, **more):
        every = round(40 / fs)
        u, k, _, state = simulate(
            ensemble, force, x, **{**shared, "fs": fs}, dof=dof, steps=round((skip_ps + ps) * 1000 / fs), every=every,
            seed=seed, **more,
        )  # fmt: skip
        u, k = (e[:, round(skip_ps * 1000 / 40) :] for e in (u, k))
        slope, error = slope_with_error(u[:walkers], u[walkers:])
        mean = u[:walkers].mean(1)
        rows[name] = {
            "slope": round(slope, 3),
            "error": round(error, 3),
            "z": round((slope - expected) / error, 2),
            "mean_U_300K_meV": round(1000 * mean.mean(), 2),
            "its_error": round(1000 * mean.std(ddof=1) / walkers**0.5, 2),
            "kinetic_dof": round(2 * k[:walkers].mean() / (BOLTZMANN * COLD), 2),
            # 1 / number of independent frames per walker; of a walker that never mixes it stays at its share of 1
            "between_walkers_share": round(float(mean.var(ddof=1) / u[:walkers].var()), 4),
        }
        print(name, rows[name], flush=True)
        return state

    row("chain, 3N-3 = 21, from the minimum, 0.8 ps skipped (the committed test)", "nose_hoover", equal, 21, 0.8, 4)
    row("chain, 21, 12 ps skipped", "nose_hoover", equal, 21, 12, 12)
    row("chain, 21, step 0.5 fs, 0.8 ps skipped", "nose_hoover", equal, 21, 0.8, 4, fs=0.5)
    row("chain, 3N-6 = 18, 0.8 ps skipped", "nose_hoover", equal, 18, 0.8, 4)
    row("chain, 18, step 0.5 fs, 0.8 ps skipped", "nose_hoover", equal, 18, 0.8, 4, fs=0.5)
    row("chain, 18, 12 ps skipped", "nose_hoover", equal, 18, 12, 12)
    row("chain, 18, 12 ps skipped, other velocities", "nose_hoover", equal, 18, 12, 12, seed=12)
    row("bussi, 21, 0.8 ps skipped", "bussi", equal, 21, 0.8, 4)
    row("bussi, 21, 12 ps skipped", "bussi", equal, 21, 12, 12)
    row("bussi, 18, 0.8 ps skipped", "bussi", equal, 18, 0.8, 4)
    last = row("bussi, 18, 12 ps skipped", "bussi", equal, 18, 12, 12)
    warm = {"x": last.positions, "velocities": last.velocities, "warm_chain": True}
    row("chain, 18, from bussi's last state, nothing skipped", "nose_hoover", equal, 18, 0, 6, **warm)
    row("chain of 6, 18, from bussi's last state", "nose_hoover", equal, 18, 0, 6, **warm, chain=6)
    row("chain, 18, relaxation 100 fs, from bussi's last state", "nose_hoover", equal, 18, 0, 6, **warm,
        relaxation_fs=100.0)  # fmt: skip
    row("langevin, 3N = 24, 12 ps skipped", "langevin", equal, 24, 12, 12)
    row("unequal stiffness: chain, 21, 0.8 ps skipped", "nose_hoover", unequal, 21, 0.8, 4)
    row("unequal stiffness: chain, 21, 12 ps skipped", "nose_hoover", unequal, 21, 12, 12)
    row("unequal stiffness: bussi, 21, 12 ps skipped", "bussi", unequal, 21, 12, 12)
    row("unequal stiffness: langevin, 24, 12 ps skipped", "langevin", unequal, 24, 12, 12)

    z = []
    for seed in range(24):  # the committed estimator on Langevin, whose ensemble is not in doubt
        u, *_ = simulate("langevin", equal, rest[: 2 * 96], **{**shared, "temperatures": [COLD] * 96 + [HOT] * 96},
                         dof=24, steps=2400, every=50, seed=100 + seed)  # fmt: skip
        slope, error = slope_with_error(u[:96, 8:], u[96:, 8:], groups=12)
        z.append(round((slope - expected) / error, 2))
    return {"expected": round(expected, 3), "rows": rows, "z_of_langevin_over_24_seeds": z}


# --- a molecule: what each thermostat does to h(r) and to the floor under it ---

THERMOSTATS = {  # name: (ensemble, friction per ps); relaxation 100 fs, as in the scored tasks
    "nose_hoover": ("nose_hoover", 0.0),
    "bussi": ("bussi", 0.0),
    "langevin, 1/ps": ("langevin", 1.0),
    "langevin, 5/ps": ("langevin", 5.0),
}
KELVIN, STEP_FS, SAVE_FS, WINDOW_PS = 500.0, 0.5, 50.0, 9.0


def molecule(replicas: int = 128, ps: float = 18.0, raw: Path = Path("runs/canonical")) -> dict:
    """Ethanol of OPLS-AA: all replicas from the same canonical positions, velocities new, 4 ps skipped."""
    ethanol = Ethanol()
    raw.mkdir(parents=True, exist_ok=True)

    def run(name, positions, length_ps):
        ensemble, friction = THERMOSTATS[name]
        method = INTEGRATORS[ensemble]
        dof = 3 * len(ethanol.numbers) - (6 if method.keeps_momentum else 0)
        system = System(
            torch.as_tensor(ethanol.numbers), torch.as_tensor(ethanol.masses)[:, None], torch.zeros(3, 3, dtype=F64),
            torch.zeros(3, dtype=torch.bool), torch.full((replicas,), KELVIN, dtype=F64), dof,
        )  # fmt: skip
        seed = list(THERMOSTATS).index(name)
        v = draw_velocities(
            positions, system, [[seed, k] for k in range(replicas)], momentum_free=method.keeps_momentum
        )
        rule = Rule(dt=STEP_FS * FS, relaxation=100 * FS, friction=friction / (1000 * FS))
        noise = Noise(seed, list(range(replicas)), len(ethanol.numbers), dof=dof, draw=method.draw)
        # The force alone: compiled with the chain's step around it, its gradient came out wrong (energies did not).
        force = torch.compile(ethanol.force)
        energy, forces = ethanol.force(positions)
        torch.testing.assert_close(force(positions)[1], forces)
        state = State(positions, v, forces, energy, positions.new_zeros(replicas, method.thermostat_size))
        x, u, k = [], [], []
        every = round(SAVE_FS / STEP_FS)
        with torch.no_grad():
            for step in range(round(length_ps * 1000 / STEP_FS)):
                state = method.step(state, system, rule, force, noise(step) if method.draw else None)
                if (step + 1) % every == 0:
                    x.append(state.positions.to(torch.float32)), u.append(state.energy)
                    k.append(2 * kinetic_energy(state.velocities, system.masses) / (dof * BOLTZMANN))
        return torch.stack(x, 1).numpy(), torch.stack(u, 1).numpy(), torch.stack(k, 1).numpy(), state.positions

    first = torch.as_tensor(np.tile(ethanol.positions, (replicas, 1, 1)))
    *_, first = run("langevin, 5/ps", first, 8.0)
    skip = round(4000 / SAVE_FS)
    for name in THERMOSTATS:
        path = raw / f"{name.replace('/', '_')}.npz"
        if not path.exists():
            x, u, k, _ = run(name, first, 4.0 + ps)
            np.savez(path, x=x[:, skip:], u=u[:, skip:], k=k[:, skip:])
            print(name, "done", flush=True)
    return compare({name: np.load(raw / f"{name.replace('/', '_')}.npz") for name in THERMOSTATS}, ethanol)


def compare(runs: dict, ethanol: Ethanol) -> dict:
    """Means over independent replicas with their standard errors, the floor of h(r), and h(r) between thermostats."""
    rows, pooled = {}, {}
    width = round(WINDOW_PS * 1000 / SAVE_FS)
    for name, run in runs.items():
        x, u, k = run["x"], run["u"], run["k"]
        walkers, frames = u.shape
        parts = ethanol.parts(torch.as_tensor(x.reshape(-1, *x.shape[2:]), dtype=F64))
        row = {"kinetic_temperature_K": mean_and_error(k.mean(1)), "U_meV": mean_and_error(1000 * u.mean(1))}
        row["U_std_meV"] = round(1000 * float(u.std()), 1)
        for part, energy in parts.items():
            energy = 1000 * energy.numpy().reshape(walkers, frames)
            share = energy.mean(1).var(ddof=1) / energy.var()
            row[f"{part}_meV"] = mean_and_error(energy.mean(1))
            row[f"{part}_correlation_ps"] = round(0.5 * float(share) * frames * SAVE_FS / 1000, 3)
        counts = np.stack([
            np.stack([distance_counts(w[a : a + width].astype(float), r_max=10.0, bins=500).sum(0)
                      for a in range(0, frames - width + 1, width)]) for w in x
        ])  # fmt: skip  # [walkers, windows, bins]
        total = counts.sum((0, 1))
        errors = [l1(window, total - mine.sum(0)) for mine in counts for window in mine]
        row["h_error_at_9_ps"] = [round(float(q), 4) for q in np.quantile(errors, (0.05, 0.5, 0.95))]
        pooled[name] = counts.sum(1)
        rows[name] = row
        print(name, row, flush=True)
    between = {}
    rng = np.random.default_rng(0)
    for a in pooled:
        for b in pooled:
            if a < b:
                mixed = np.concatenate([pooled[a], pooled[b]])
                order = [rng.permutation(len(mixed)) for _ in range(400)]
                half = len(mixed) // 2
                null = [l1(mixed[o[:half]].sum(0), mixed[o[half:]].sum(0)) for o in order]
                found = l1(pooled[a].sum(0), pooled[b].sum(0))
                between[f"{a} | {b}"] = {
                    "h_difference": round(found, 4),
                    "by_chance_median_and_max_of_400": [round(float(np.median(null)), 4), round(float(max(null)), 4)],
                }
    return {"thermostats": rows, "between": between, "no_rotation": no_rotation(runs, pooled, ethanol)}


def no_rotation(runs, pooled, ethanol) -> dict:
    """Langevin's frames weighted by det(I)^-1/2, which is what holding L at 0 does to the configurations."""
    out = {}
    for name in ("langevin, 1/ps", "langevin, 5/ps"):
        x = runs[name]["x"].astype(float)
        m = ethanol.masses[:, None]
        r = x - (m * x).sum(2, keepdims=True) / m.sum()
        inertia = np.einsum("wtia,wtib->wtab", m * r, r)
        inertia = np.trace(inertia, axis1=2, axis2=3)[..., None, None] * np.eye(3) - inertia
        weight = np.linalg.det(inertia) ** -0.5
        d = np.linalg.norm(x[:, :, :, None] - x[:, :, None], axis=-1)[:, :, *np.triu_indices(x.shape[2], 1)]
        bins = np.clip((d / 0.02).astype(int), 0, 499)
        weighted = np.bincount(bins.ravel(), np.repeat(weight.ravel(), d.shape[-1]), 500)
        out[name] = {
            f"weighted_against_{other}": round(l1(weighted, pooled[other].sum(0)), 4)
            for other in (name, "nose_hoover", "bussi")
            if other in pooled
        }
    return out


def l1(a: np.ndarray, b: np.ndarray) -> float:
    """Integral of |h_a - h_b| of two histograms of counts."""
    return float(np.abs(a / a.sum() - b / b.sum()).sum())


def mean_and_error(values: np.ndarray) -> list[float]:
    return [round(float(values.mean()), 2), round(float(values.std(ddof=1) / len(values) ** 0.5), 2)]


# --- Langevin at 1/ps, whose row of `molecule` reads 488.8 +- 2.6 K ---


def harmonic_kinetic_temperature(ethanol: Ethanol, step_fs: float = STEP_FS) -> float:
    """K at the end of a BAOAB step of harmonic modes: T (1 - mean (omega dt)^2 / 4), whatever the friction."""
    from scipy.optimize import minimize

    def answer(flat):
        energy, forces = ethanol.force(torch.as_tensor(flat.reshape(1, -1, 3)))
        return float(energy), -forces.numpy().ravel()

    lowest = minimize(answer, ethanol.positions.ravel(), jac=True, options={"gtol": 1e-6, "maxiter": 2000}).x
    hessian = torch.autograd.functional.hessian(
        lambda flat: ethanol.energy(flat.reshape(1, -1, 3)).sum(), torch.as_tensor(lowest)
    ).numpy()
    mass = np.repeat(ethanol.masses, 3)
    squares = np.linalg.eigvalsh(hessian / np.sqrt(np.outer(mass, mass)))
    return KELVIN * float(1 - np.mean(squares) * (step_fs * FS) ** 2 / 4)


def weak(replicas: int = 128, ps: float = 18.0, seed: int = 1) -> dict:
    """The row again from new starts (8 ps at 5/ps), new velocities and new noise, beside what the step alone gives."""
    ethanol = Ethanol()
    force = torch.compile(ethanol.force)
    x = torch.as_tensor(np.tile(ethanol.positions, (replicas, 1, 1)))
    shared = {"masses": ethanol.masses, "temperatures": [KELVIN] * replicas, "dof": 27, "fs": STEP_FS, "every": 100}
    *_, state = simulate(
        "langevin", force, x, steps=16000, open_system=True, friction_per_ps=5.0, seed=1000 + seed, **shared
    )
    u, k, *_ = simulate(
        "langevin", force, state.positions, steps=round((4 + ps) * 1000 / STEP_FS), open_system=True,
        friction_per_ps=1.0, seed=2000 + seed, **shared,
    )  # fmt: skip
    late = slice(round(4000 / (100 * STEP_FS)), None)
    kelvin = 2 * k[:, late] / (27 * BOLTZMANN)
    return {
        "harmonic_kinetic_temperature_K": round(harmonic_kinetic_temperature(ethanol), 2),
        "kinetic_temperature_K": mean_and_error(kelvin.mean(1)),
        "U_meV": mean_and_error(1000 * u[:, late].mean(1)),
    }


COMMANDS = {"lattice": lattice, "molecule": molecule, "weak": weak}


def main() -> None:
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("part", choices=list(COMMANDS))
    cli.add_argument("--out", type=Path, default=RESULTS)
    args = cli.parse_args()
    found = COMMANDS[args.part]()
    known = json.loads(args.out.read_text()) if args.out.exists() else {}
    known[args.part] = {"processor": processor(), **found}
    args.out.write_text(json.dumps(known, indent=1) + "\n")


if __name__ == "__main__":
    main()
