"""Speed of the reference families as ratios, beside schnetpack's networks of the same size.

    OMP_NUM_THREADS=1 python benchmarks/models.py                 calls and training steps
    OMP_NUM_THREADS=1 python benchmarks/models.py --fit 3         force error after 3 CPU minutes of training each

One thread, float32, 5 distorted aspirins (105 atoms, one batch) and 64 periodic waters (192 atoms), cutoff 5 Angstrom,
64 features, 3 layers, 20 radial functions on both sides. Neighbour lists are made before, on both sides. A call gives
energy and forces; a compiled call is the same through the engine's compiler, as long runs use it, against schnetpack's
eager one; a training step is a call, the loss on both, its gradient and an Adam step. Ours and theirs take
turns in one process, each as its own package calls it, in process CPU time: the numbers are medians of the paired
ratios, with quartiles. The families without a peer here are timed alone. The fits use one loop, data and schedule;
only the network differs.

schnetpack is not a dependency. Version 2.1 goes beside torch 2.13 with `pip install --no-deps schnetpack` (see
tests/models/fixtures/make_schnetpack.py for what it needs first).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
import typing
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
import torch.utils.data.dataloader as loader
from ase.data import atomic_masses
from engine import ASPIRIN, ASPIRIN_A
from torch import Tensor, nn

from ffbench_data import load_frames
from ffbench_data.contract import AtomsBatch, Prediction
from ffbench_data.frames import collate
from ffbench_data.neighbors import with_edges
from ffbench_eval.engine.compiled import artefact, build, trace
from ffbench_eval.engine.forces import ModelForces
from ffbench_eval.engine.lists import lists_for
from ffbench_eval.engine.static import StaticForces
from ffbench_eval.engine.system import System
from reference_models import configuration, family
from reference_models.scaled import Scaled, fit_scale_and_shift, force_field
from reference_models.train import Batches, Recipe, validate

OUT = Path(__file__).parent / "results" / "models.json"
SIZE = {"features": 64, "layers": 3, "radial": 20, "cutoff": 5.0}
OURS: dict[str, dict[str, typing.Any]] = {
    "schnet": SIZE,
    "painn": SIZE,
    "deeppot_se": {"cutoff": 5.0, "elements": (1, 6, 8)},
    "transformer": {"cutoff": 5.0},
    "transformer_direct": {"cutoff": 5.0, "direct_forces": True},
}
PEERS = ("schnet", "painn")


def schnetpack_parts(name: str) -> tuple[nn.Module, nn.Module, nn.Module]:
    """(distances, representation, energy head) of schnetpack's network."""
    loader.T_co = getattr(loader, "T_co", None) or typing.TypeVar("T_co", covariant=True)  # 2.1 with torch 2.13
    from schnetpack.atomistic import Atomwise, PairwiseDistances
    from schnetpack.nn import BesselRBF, CosineCutoff, GaussianRBF
    from schnetpack.representation import PaiNN, SchNet

    made, basis = {"schnet": (SchNet, GaussianRBF), "painn": (PaiNN, BesselRBF)}[name]
    f, layers, radial, cutoff = (SIZE[k] for k in ("features", "layers", "radial", "cutoff"))
    representation = made(f, layers, basis(radial, cutoff), CosineCutoff(cutoff))
    return PairwiseDistances(), representation, Atomwise(n_in=f, output_key="energy")


def schnetpack_inputs(batch: AtomsBatch) -> dict[str, Tensor]:
    i, j = batch.edge_index
    offsets = batch.positions.new_zeros(len(i), 3)
    if batch.edge_shift is not None:
        cell = batch.cell.index_select(0, batch.system_index.index_select(0, i))
        offsets = torch.einsum("pa,pab->pb", batch.edge_shift.to(cell.dtype), cell)
    return {
        "_n_atoms": batch.n_atoms,
        "_atomic_numbers": batch.atomic_numbers,
        "_positions": batch.positions,
        "_cell": batch.cell,
        "_pbc": batch.pbc,
        "_idx_m": batch.system_index,
        "_idx_i": i,
        "_idx_j": j,
        "_offsets": offsets,
    }


class Peer(nn.Module):
    """schnetpack's model with its own forces, on inputs that are made once: what its calculator and trainer call."""

    def __init__(self, name: str, batch: AtomsBatch):
        super().__init__()
        distances, representation, head = schnetpack_parts(name)
        from schnetpack.atomistic import Forces
        from schnetpack.model import NeuralNetworkPotential

        forces = Forces(energy_key="energy", force_key="forces")
        self.model = NeuralNetworkPotential(representation, [distances], [head, forces])
        self.inputs = schnetpack_inputs(batch)

    def forward(self, batch: AtomsBatch) -> Prediction:
        out = self.model(dict(self.inputs))
        return Prediction(out["energy"], out["forces"])


class PeerNetwork(nn.Module):
    """schnetpack's network behind our door, for training in our loop: ``forward(batch)`` -> {"energy": [B]}."""

    def __init__(self, name: str):
        super().__init__()
        self.distances, self.representation, self.head = schnetpack_parts(name)

    def forward(self, batch: AtomsBatch) -> dict[str, Tensor]:
        return {"energy": self.head(self.representation(self.distances(schnetpack_inputs(batch))))["energy"]}


def paired(batch: AtomsBatch) -> AtomsBatch:
    """``batch`` with its list as our engine and trainer hand it over: every pair once, then reversed."""
    assert batch.edge_index is not None
    i, j = batch.edge_index
    first = i < j
    if batch.edge_shift is not None:
        order = torch.sign(batch.edge_shift) @ batch.edge_shift.new_tensor([9, 3, 1])
        first = first | ((i == j) & (order > 0))
    index = torch.cat([batch.edge_index[:, first], batch.edge_index[:, first].flip(0)], 1)
    shift = None if batch.edge_shift is None else torch.cat([batch.edge_shift[first], -batch.edge_shift[first]])
    return replace(batch, edge_index=index, edge_shift=shift, paired=True)


def aspirins(count: int = 5) -> AtomsBatch:
    from ase.data import atomic_numbers

    generator = torch.Generator().manual_seed(0)
    x = torch.tensor(ASPIRIN_A).repeat(count, 1)
    x = x + 0.05 * torch.randn(x.shape, generator=generator)
    numbers = torch.tensor([atomic_numbers[s] for s in ASPIRIN]).repeat(count)
    index = torch.repeat_interleave(torch.arange(count), len(ASPIRIN))
    return AtomsBatch(x, numbers, index, torch.zeros(count, 3, 3), torch.zeros(count, 3) > 0)


def water() -> AtomsBatch:
    batch = collate(load_frames("water", split="test"), indices=[0])
    return replace(batch, positions=batch.positions.float(), cell=batch.cell.float())


def ours(name: str) -> nn.Module:
    made = name.partition("_direct")[0]
    torch.manual_seed(0)
    return Scaled(family(made)[1](configuration(made, **OURS[name])))


def as_loaded(module: nn.Module) -> nn.Module:
    """With frozen weights, as `reference_models.load` and `build` give them (schnetpack's calculator does not)."""
    return module.requires_grad_(False)


def call(module: nn.Module, batch: AtomsBatch) -> Callable[[], typing.Any]:
    module = module.eval()
    return lambda: module(batch)


def compiled_call(module: nn.Module, batch: AtomsBatch) -> Callable[[], typing.Any]:
    """The call as the engine compiles it, neighbour list included (all pairs, filtered)."""
    systems = len(batch.n_atoms)
    numbers = batch.atomic_numbers[: len(batch.atomic_numbers) // systems]
    model = force_field(module, cutoff=SIZE["cutoff"], elements=None, card={"name": "timed"})
    masses = torch.as_tensor(atomic_masses[numbers.numpy()]).unsqueeze(-1)
    system = System(
        numbers, masses, batch.cell[0].double(), batch.pbc[0], torch.full((systems,), 300.0), 3 * len(numbers)
    )
    forces = ModelForces(model, system, systems)
    x = batch.positions.double().view(systems, -1, 3)
    lists = lists_for(forces, [x])
    lists.make(x)
    arguments = [x, torch.ones(systems, dtype=torch.bool), *lists.tensors()]
    graph = trace(StaticForces(forces, lists), arguments)
    run = build(graph, arguments, artefact(graph, arguments))
    return lambda: run(*arguments)


def training_step(module: nn.Module, batch: AtomsBatch) -> Callable[[], None]:
    module = module.train().requires_grad_(True)
    parameters = list(module.parameters())
    optimizer = torch.optim.Adam(parameters, lr=1e-9)
    forces = torch.zeros_like(batch.positions)

    def step() -> None:
        out = module(batch)
        loss = (out.forces - forces).square().mean() + out.energy.square().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step


def timed(work: Callable[[], typing.Any], times: int) -> float:
    start = time.process_time()
    for _ in range(times):
        work()
    return 1000 * (time.process_time() - start) / times


def beside(mine: Callable, theirs: Callable | None, rounds: int, times: int) -> dict[str, float]:
    """ms of both and quartiles of their ratio, taking turns."""
    works = [w for w in (mine, theirs) if w is not None]
    for work in works:
        timed(work, 2)
    rows = np.array([[timed(work, times) for work in works] for _ in range(rounds)])
    found = {"ms": float(np.median(rows[:, 0]))}
    if theirs is not None:
        ratio = np.quantile(rows[:, 0] / rows[:, 1], [0.25, 0.5, 0.75])
        found |= {"schnetpack_ms": float(np.median(rows[:, 1])), "ratio": float(ratio[1])}
        found |= {"ratio_q25": float(ratio[0]), "ratio_q75": float(ratio[2])}
    return {k: round(v, 4) for k, v in found.items()}


def speed(names: list[str], rounds: int, times: int) -> dict[str, typing.Any]:
    table: dict[str, typing.Any] = {}
    for label, batch in (("5 aspirins", aspirins()), ("64 water", water())):
        unpaired = with_edges(batch, 5.0)
        edges = paired(unpaired)
        for name in names:
            row: dict[str, typing.Any] = {"parameters": sum(p.numel() for p in ours(name).parameters())}
            for what, make in (("call", call), ("compiled_call", compiled_call), ("training_step", training_step)):
                mine = ours(name) if what == "training_step" else as_loaded(ours(name))
                peer = training_step if what == "training_step" else call
                theirs = peer(Peer(name, unpaired), unpaired) if name in PEERS else None
                row[what] = beside(make(mine, edges), theirs, rounds, times)
                print(f"{label}, {name}, {what}: {row[what]}", flush=True)
            if name in PEERS:
                row["schnetpack_parameters"] = sum(p.numel() for p in Peer(name, unpaired).parameters())
            table[f"{label}, {name}"] = row
    return table


def fit(network: nn.Module, minutes: float) -> dict[str, float]:
    """Force error on test frames of ethanol after ``minutes`` of CPU time."""
    recipe = Recipe(minutes=minutes)
    train, test = (load_frames("ethanol_gfn2", split=s) for s in ("train", "test"))
    test = test[:200]
    batches, check = Batches(train, 5.0), Batches(test, 5.0)
    scale, shift = fit_scale_and_shift(train.atomic_numbers, train.offsets, train.energy, train.forces)
    module = Scaled(network, scale, shift).train()
    for row in range(len(batches)):  # neighbour lists are made before, for both
        batches([row])
    parameters = list(module.parameters())
    optimizer = torch.optim.AdamW(parameters, weight_decay=1e-6, fused=True)
    began, step, spent = time.process_time(), 0, 0.0
    while recipe.progress(step, spent) < 1:
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate(step, spent, [])
        rows = np.random.default_rng([0, step]).integers(len(batches), size=recipe.batch)
        batch, energy, forces = batches(rows)
        out = module(batch)
        off = (out.energy - energy) / batch.n_atoms / module.scale
        loss = (out.forces - forces).square().sum(-1).add(1e-12).sqrt().mean() / module.scale
        loss = loss + recipe.energy_weight * off.square().add(1e-12).sqrt().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 10.0)
        optimizer.step()
        step, spent = step + 1, time.process_time() - began
    force_mae, energy_mae = validate(module.eval(), check)
    return {
        "steps": step,
        "force_mae_meV_per_A": round(1000 * force_mae, 2),
        "energy_mae_meV": round(1000 * energy_mae, 2),
    }


def fits(minutes: float) -> dict[str, typing.Any]:
    table = {}
    for name in PEERS:
        for side in ("ours", "schnetpack"):
            torch.manual_seed(0)
            network = family(name)[1](configuration(name, **SIZE)) if side == "ours" else PeerNetwork(name)
            table[f"{name}, {side}"] = fit(network, minutes)
            print(f"{name}, {side}: {table[f'{name}, {side}']}", flush=True)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fit", type=float, metavar="MINUTES", help="train instead of timing calls")
    parser.add_argument("--only", nargs="+", choices=list(OURS), help="these families alone")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--times", type=int, default=5, help="calls in a round")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.fit:
        found = {"fits": {"cpu_minutes": given.fit, "dataset": "ethanol_gfn2", **fits(given.fit)}}
    else:
        found = {"speed": speed(given.only or list(OURS), given.rounds, given.times)}
    result = json.loads(OUT.read_text()) if OUT.exists() else {}
    result |= found if given.fit else {"speed": {**result.get("speed", {}), **found["speed"]}}
    import schnetpack

    result["about"] = {
        "processor": platform.processor() or platform.machine(),
        "torch": torch.__version__,
        "schnetpack": schnetpack.__version__,
        "threads": 1,
        "load": "other jobs ran beside it",
    }
    OUT.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
