"""Speed of the MD engine as ratios, against the same model called eagerly and driven by ASE loops.

    OMP_NUM_THREADS=1 python benchmarks/engine.py aspirin:1 aspirin:5 aspirin:20 water:5

One thread. Every variant is timed between two chunks of the baseline in the same process, in process CPU time; the
numbers are medians of the paired ratios, with quartiles. The model is a SchNet of 64 features and 3 interactions
with random weights, once evaluating its radial filters for every directed edge (`full`) and once per pair (`pair`).
The atoms are kept cold, so that the geometry stays that of the start; the edge list of water is made anew every 20
steps, as at 300 K. The ASE peers run the same model with the thermostat of MDsim and another neighbour list.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from torch import nn

from ffbench_data import load_frames
from ffbench_data.contract import AtomsBatch, ForceField
from ffbench_data.neighbors import with_edges
from ffbench_eval.engine.bias import MetadynamicsRule
from ffbench_eval.engine.compiled import artefact, build, trace
from ffbench_eval.engine.fastpath import choose
from ffbench_eval.engine.lists import lists_for
from ffbench_eval.engine.protocol import Protocol, Start
from ffbench_eval.engine.run import Run, simulate
from ffbench_eval.engine.static import StaticForces
from ffbench_eval.engine.watch import new_watch
from ffbench_eval.run.environment import processor
from reference_models.pairs import cosine_cutoff, half_edges

# Relaxed with GFN2-xTB.
ASPIRIN = "CCCCCCCOOOCCOHHHHHHHH"
ASPIRIN_A = [
    (0.637, -1.107, -0.459), (-0.096, 0.087, -0.426), (-1.485, 0.045, -0.500), (-2.152, -1.166, -0.531),
    (-1.435, -2.351, -0.518), (-0.054, -2.317, -0.505), (2.127, -1.176, -0.460), (2.734, -2.199, -0.661),
    (2.728, -0.017, -0.221), (0.557, 1.302, -0.404), (0.700, 2.001, 0.782), (-0.523, 2.776, 1.185),
    (1.743, 2.039, 1.355), (3.693, -0.104, -0.187), (-2.045, 0.965, -0.567), (-3.231, -1.183, -0.587),
    (-1.959, -3.293, -0.561), (0.516, -3.232, -0.539), (-1.414, 2.158, 1.123), (-0.641, 3.606, 0.488),
    (-0.400, 3.165, 2.193),
]  # fmt: skip


class SchNet(nn.Module):
    """Continuous-filter convolutions (Schütt et al., J. Chem. Phys. 148, 241722 (2018)); returns the energy [B]."""

    def __init__(self, cutoff: float, *, pairwise: bool, features: int = 64, layers: int = 3, radial: int = 32):
        super().__init__()
        self.cutoff, self.pairwise = cutoff, pairwise
        self.embedding = nn.Embedding(100, features)
        self.filters = nn.ModuleList(
            nn.ModuleList([nn.Linear(radial, features), nn.Linear(features, features)]) for _ in range(layers)
        )
        self.before = nn.ModuleList(nn.Linear(features, features, bias=False) for _ in range(layers))
        self.after = nn.ModuleList(
            nn.ModuleList([nn.Linear(features, features), nn.Linear(features, features)]) for _ in range(layers)
        )
        self.readout = nn.ModuleList([nn.Linear(features, features // 2), nn.Linear(features // 2, 1)])
        self.register_buffer("centres", torch.linspace(0, cutoff, radial))

    def forward(self, batch: AtomsBatch) -> torch.Tensor:
        if self.pairwise:
            i, j, r = half_edges(batch)
        else:
            (i, j), r = batch.edge_index, batch.edge_vectors()
        d = r.square().sum(-1).sqrt()
        basis = torch.exp(-0.5 * ((d.unsqueeze(-1) - self.centres) / (self.centres[1] - self.centres[0])) ** 2)
        envelope = cosine_cutoff(d, self.cutoff).unsqueeze(-1)
        h = self.embedding(batch.atomic_numbers)
        for (f1, f2), before, (a1, a2) in zip(self.filters, self.before, self.after):
            w = f2(ssp(f1(basis))) * envelope
            x = before(h)
            message = torch.zeros_like(h).index_add(0, i, x.index_select(0, j) * w)
            if self.pairwise:
                message = message.index_add(0, j, x.index_select(0, i) * w)
            h = h + a2(ssp(a1(message)))
        per_atom = self.readout[1](ssp(self.readout[0](h))).squeeze(-1) * 0.01
        return per_atom.new_zeros(batch.n_systems).index_add(0, batch.system_index, per_atom)


def ssp(x: torch.Tensor) -> torch.Tensor:
    return nn.functional.softplus(x) - math.log(2.0)


def schnet(cutoff: float, *, pairwise: bool) -> ForceField:
    torch.manual_seed(0)
    network = SchNet(cutoff, pairwise=pairwise).eval().requires_grad_(False)
    return ForceField.from_energy(network, cutoff)


def system(name: str, replicas: int) -> tuple[Start, Protocol, float]:
    """(start, the published protocol made cold, cutoff)."""
    from ase.data import atomic_masses, atomic_numbers

    generator = np.random.default_rng(0)
    if name == "aspirin":
        numbers = np.array([atomic_numbers[s] for s in ASPIRIN])
        base, cell, pbc, dt, cutoff = np.array(ASPIRIN_A), np.zeros((3, 3)), np.zeros(3, bool), 0.5, 5.0
    elif name == "water":
        length = 12.43
        molecule = np.array([[0, 0, 0], [1.012, 0, 0], [-0.3993, 0.9299, 0]])
        turns = np.linalg.qr(generator.normal(size=(64, 3, 3)))[0]
        sites = np.stack(np.meshgrid(*[np.arange(4)] * 3, indexing="ij"), -1).reshape(-1, 1, 3) * length / 4
        base = (molecule @ turns + sites + 0.25 * generator.normal(size=(64, 1, 3))).reshape(-1, 3)
        numbers, cell, pbc, dt, cutoff = np.tile([8, 1, 1], 64), np.eye(3) * length, np.ones(3, bool), 1.0, 6.0
    elif name == "alanine":
        frame = load_frames("alanine_dipeptide_obc", split="test")[0]
        numbers, base = frame.atomic_numbers, frame.positions
        cell, pbc, dt, cutoff = np.zeros((3, 3)), np.zeros(3, bool), 1.0, 5.0
    else:
        raise ValueError(f"system must be aspirin, alanine or water, got {name!r}")
    x = base + 0.02 * generator.normal(size=(replicas, *base.shape))
    start = Start(x, numbers, atomic_masses[numbers], cell, pbc)
    return start, Protocol("nose_hoover_mdsim", 1.0, dt, 1000.0, 100 * dt), cutoff


# As the alanine task has them, after 0.25 of its 5 ns.
HILLS = MetadynamicsRule(((4, 6, 8, 14), (6, 8, 14, 16)), 0.0124, 0.35, 6.0, 1000)
DEPOSITED = 250


def compiled_call(run: Run) -> Callable[[], object]:
    """The force call that the run's step has in it, list included, without bias."""
    x = torch.as_tensor(np.array(run.start.positions, float))
    lists = lists_for(run.model_forces, [x])
    lists.make(x)
    arguments = [x, torch.ones(len(x), dtype=torch.bool), *lists.tensors()]
    graph = trace(StaticForces(run.model_forces, lists), arguments)
    call = build(graph, arguments, artefact(graph, arguments))
    return lambda: call(*arguments)


def engine_loop(run: Run) -> Callable[[int], None]:
    state, watch, clock = run.first_state(), new_watch(len(run.start.positions)), 0

    def loop(steps: int) -> None:
        nonlocal state, watch, clock
        for _ in range(steps):
            state, watch = run.advance(state, watch, clock)
            clock += 1
            if clock % 20 == 0:
                run.model_forces.rebuild()
                if run.form.steps is not None:
                    run.form.steps.lists.forget()
        assert bool(watch.alive.all())

    return loop


def ase_loop(model: ForceField, start: Start, protocol: Protocol, lists: str) -> Callable[[int], None]:
    """The replicas one after the other under ASE, with the thermostat of MDsim, as MDsim runs them."""
    from ase import Atoms, units
    from ase.calculators.calculator import Calculator, all_changes
    from ase.md.md import MolecularDynamics
    from ase.md.velocitydistribution import MaxwellBoltzmannDistribution

    if lists == "ase":
        from ase.neighborlist import neighbor_list
    else:
        from matscipy.neighbours import neighbour_list as neighbor_list

    class Peer(Calculator):
        implemented_properties = ("energy", "forces")

        def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
            super().calculate(atoms, properties, system_changes)
            i, j, shift = neighbor_list("ijS", atoms, model.cutoff)
            batch = AtomsBatch(
                torch.tensor(atoms.positions, dtype=torch.float32),
                torch.tensor(atoms.numbers),
                torch.zeros(len(atoms), dtype=torch.long),
                torch.tensor(atoms.cell.array, dtype=torch.float32)[None],
                torch.tensor(atoms.pbc)[None],
                torch.from_numpy(np.stack([i, j]).astype(np.int64)),
                torch.from_numpy(shift.astype(np.int64)) if atoms.pbc.any() else None,
            )
            out = model(batch.to(device=model.device))
            self.results = {"energy": out.energy.item(), "forces": out.forces.cpu().numpy().astype(float)}

    class PaperNoseHoover(MolecularDynamics):
        def __init__(self, atoms, timestep, temperature_K):
            super().__init__(atoms, timestep)
            self.target = 1.5 * len(atoms) * units.kB * temperature_K
            self.mass, self.zeta = 2 * self.target * (20 * timestep) ** 2, 0.0

        def step(self):
            atoms, dt, m = self.atoms, self.dt, self.atoms.get_masses()[:, None]
            before, v = atoms.get_kinetic_energy(), atoms.get_velocities()
            half = v + dt / 2 * (atoms.get_forces() / m - self.zeta * v)
            atoms.set_positions(atoms.get_positions() + dt * half)
            atoms.set_velocities(half)
            self.zeta += dt / 2 / self.mass * (before + atoms.get_kinetic_energy() - 2 * self.target)
            atoms.set_velocities((half + dt / 2 * atoms.get_forces() / m) / (1 + dt / 2 * self.zeta))

    movers = []
    for x in start.positions:
        atoms = Atoms(start.numbers, x, cell=start.cell, pbc=start.pbc, masses=start.masses, calculator=Peer())
        if not start.pbc.any():
            atoms.center(vacuum=8.0)  # matscipy wants a cell
        MaxwellBoltzmannDistribution(atoms, temperature_K=1.0, rng=np.random.default_rng(0))
        movers.append(PaperNoseHoover(atoms, protocol.longest_step_fs * units.fs, 1.0))

    def loop(steps: int) -> None:
        for mover in movers:
            for _ in range(steps):
                mover.step()

    return loop


def repeat(action: Callable[[], object]) -> Callable[[int], None]:
    def loop(steps: int) -> None:
        for _ in range(steps):
            action()

    return loop


def measure(variants: dict[str, Callable[[int], None]], baseline: str, rounds: int, chunk_s: float) -> dict[str, dict]:
    """Median paired ratio to the baseline with quartiles, and the median time of a batched step (ms)."""

    def seconds(loop: Callable[[int], None], steps: int) -> float:
        begun = time.process_time()
        loop(steps)
        return (time.process_time() - begun) / steps

    steps = {}
    for name, loop in variants.items():
        loop(2)
        steps[name] = max(2, round(chunk_s / max(seconds(loop, 2), 1e-6)))
    ratios: dict[str, list[float]] = {name: [] for name in variants}
    times: dict[str, list[float]] = {name: [] for name in variants}
    half = max(2, steps[baseline] // 2)
    for _ in range(rounds):
        for name, loop in variants.items():
            before = seconds(variants[baseline], half)
            taken = seconds(loop, steps[name])
            after = seconds(variants[baseline], half)
            ratios[name].append(2 * taken / (before + after))
            times[name].append(taken)
    return {
        name: {
            "ratio": round(float(np.median(ratios[name])), 3),
            "quartiles": [round(float(q), 3) for q in np.quantile(ratios[name], [0.25, 0.75])],
            "ms_per_batched_step": round(1e3 * float(np.median(times[name])), 4),
        }
        for name in variants
    }


def case(name: str, replicas: int, rounds: int, chunk_s: float, peers: bool) -> dict:
    name, _, bias = name.partition("+")
    start, protocol, cutoff = system(name, replicas)
    if bias:
        protocol = replace(protocol, ensemble="langevin", metadynamics=HILLS)
    variants: dict[str, Callable[[int], None]] = {}
    facts: dict[str, object] = {"system": name, "replicas": replicas, "atoms": start.positions.shape[1]}
    for kind in ("pair",) if bias else ("full", "pair"):
        model = schnet(cutoff, pairwise=kind == "pair")
        eager, fast = Run(model, start, protocol, 0), Run(model, start, protocol, 0)
        batch = replace(
            eager.model_forces.batch, positions=eager.model_forces.prepare(torch.as_tensor(start.positions))[0]
        )
        batch = with_edges(batch, cutoff).to(dtype=torch.float32)
        facts["edges"] = batch.edge_index.shape[1]
        variants[f"eager call, {kind}"] = repeat(lambda model=model, batch=batch: model(batch))
        begun = time.perf_counter()
        fast.form = choose(fast, "require", 0)
        facts[f"{kind}: form"] = f"{fast.form.mode}: {fast.form.note} ({time.perf_counter() - begun:.0f} s)"
        for run in (eager, fast) if bias else ():
            x = torch.as_tensor(np.array(start.positions, float))
            for _ in range(DEPOSITED):
                run.hills.deposit(x, run.system.kt, torch.ones(replicas, dtype=torch.bool))
        variants[f"engine eager, {kind}"] = engine_loop(eager)
        variants[f"engine compiled, {kind}"] = engine_loop(fast)
        variants[f"compiled call alone, {kind}"] = repeat(compiled_call(fast))
        if peers:
            variants[f"ASE loop, matscipy list, {kind}"] = ase_loop(model, start, protocol, "matscipy")
            variants[f"ASE loop, ASE list, {kind}"] = ase_loop(model, start, protocol, "ase")
    results = measure(variants, "compiled call alone, pair" if bias else "eager call, full", rounds, chunk_s)
    for row in results.values():
        row["replica_steps_per_s"] = round(1e3 * replicas / row["ms_per_batched_step"], 1)
    if bias:
        return facts | {"variants": results}
    return facts | {"variants": results, "saving": saving_cost(start, protocol, schnet(cutoff, pairwise=True))}


def saving_cost(start: Start, protocol: Protocol, model: ForceField) -> dict[str, float]:
    """Share of the time that goes into saved frames and their monitors at the published spacing, eager."""
    steps = 100 if bool(start.pbc.any()) else 1000
    length = steps * protocol.longest_step_fs / 1000
    taken: dict[float, list[float]] = {}
    for _ in range(3):
        for spacing in (100 * protocol.longest_step_fs, 10.0 * steps):
            with tempfile.TemporaryDirectory() as folder:
                begun = time.process_time()
                short = replace(protocol, length_ps=length, save_every_fs=spacing)
                simulate(model, start, short, Path(folder), seed=0, compile="off")
                taken.setdefault(spacing, []).append(time.process_time() - begun)
    saved, bare = (float(np.median(t)) for t in taken.values())
    return {"with": round(saved, 3), "without": round(bare, 3), "ratio": round(saved / bare, 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="+", help="system:replicas, e.g. aspirin:5 water:5")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--chunk", type=float, default=0.15, help="seconds per timed chunk")
    parser.add_argument("--no-peers", action="store_true", help="without the ASE loops")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "engine.json")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    known = json.loads(chosen.out.read_text())["cases"] if chosen.out.exists() else {}
    for text in chosen.cases:
        name, replicas = text.split(":")
        known[text] = case(name, int(replicas), chosen.rounds, chosen.chunk, not chosen.no_peers)
        known[text]["load_average"] = [round(v, 1) for v in os.getloadavg()]
        for variant, row in known[text]["variants"].items():
            print(f"{text:12} {variant:34} {row['ratio']:8.3f} {row['quartiles']} {row['ms_per_batched_step']:.3f} ms")
        machine = {
            "processor": processor(),
            "torch": torch.__version__,
            "python": platform.python_version(),
            "threads": torch.get_num_threads(),
        }
        about = "time of one batched step over the eager call with filters for every directed edge; see engine.py"
        chosen.out.parent.mkdir(exist_ok=True)
        chosen.out.write_text(json.dumps({"about": about, "machine": machine, "cases": known}, indent=1) + "\n")


if __name__ == "__main__":
    main()
