"""Every family of a provider, ours beside the provider's own way of calling it: same weights, same structures.

python benchmarks/providers.py [family ...]   writes benchmarks/results/providers.json

A call is energy and forces of five ethanols, graphs made anew; a step is a loss on energies and forces, its gradient
and Adam. One thread; both ways take turns, and the ratio is the median of the rounds' ratios.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

Answer = tuple[torch.Tensor, torch.Tensor]
Way = Callable[[list[Any], bool], Answer]
ELEMENTS = (1, 6, 8)
PUBLISHED = ("ani1x", "so3lr", "chgnet", "sevennet_0")


def own_way(name: str, network: Any) -> Way | None:
    """``way(list of ase.Atoms, training) -> (energy [B], forces [A, 3])`` with the weights of our ``network``."""
    return WAYS[name](network) if name in WAYS else None


def _nequip(network: Any) -> Way:
    from nequip.data import AtomicDataDict, from_ase
    from nequip.data.transforms import ChemicalSpeciesToAtomTypeMapper, NeighborListTransform

    model = network._build(0)
    model.model.load_state_dict(network.network.state_dict())
    model.model.do_derivatives = True
    names = ["H", "C", "O"]
    steps = [
        ChemicalSpeciesToAtomTypeMapper(model_type_names=names),
        NeighborListTransform(network.config.cutoff),
    ]

    def prepared(atoms):
        data = from_ase(atoms)
        for step in steps:
            data = step(data)
        return data

    def way(structures, training):
        model.train(training)
        out = model(AtomicDataDict.batched_from_list([prepared(a) for a in structures]))
        return out["total_energy"].reshape(-1), out["forces"]

    return _with(way, model)


def _mace(network: Any) -> Way:
    from mace import data, tools
    from mace.tools.torch_geometric.dataloader import DataLoader

    table = tools.AtomicNumberTable(list(network.config.elements))

    def way(structures, training):
        rows = [
            data.AtomicData.from_config(data.config_from_atoms(a), z_table=table, cutoff=network.config.cutoff)
            for a in structures
        ]
        batch = next(iter(DataLoader(rows, batch_size=len(rows), shuffle=False)))
        out = network.network(batch.to_dict(), training=training, compute_force=True)
        return out["energy"], out["forces"]

    return _with(way, network.network)


def _et(network: Any) -> Way:
    from reference_models.providers.et import make

    model = make(network.config, derivative=True)
    model.representation_model.load_state_dict(network.representation.state_dict(), strict=False)
    model.output_model.load_state_dict(network.output.state_dict())

    def way(structures, training):
        model.train(training)
        z, x, system = _flat(structures)
        energy, forces = model(z, x, batch=system)
        return energy.reshape(-1), forces

    return _with(way, model)


def _dimenet(network: Any) -> Way:
    """With our triplets in place of torch-sparse; the package alone does not run without that extension."""
    from torch_geometric.nn.models import dimenet

    from reference_models.providers.dimenet import make, triplets

    model = make(network.config)
    mine = {"rbf": network.radial, "sbf": network.angular, "emb": network.embed}
    for key, part in {**mine, "output_blocks": network.outputs, "interaction_blocks": network.interactions}.items():
        getattr(model, key).load_state_dict(part.state_dict())

    def radius_graph(x, r, batch=None, max_num_neighbors=32):
        near = (torch.cdist(x, x) < r) & (batch[:, None] == batch[None]) & ~torch.eye(len(x), dtype=torch.bool)
        return near.nonzero().T.contiguous()

    def their_triplets(index, num_nodes):
        j, i = index
        kj, ji = triplets(i, j, _flat.positions[j] - _flat.positions[i], num_nodes)  # type: ignore[attr-defined]
        return i, j, i[ji], j[ji], j[kj], kj, ji

    dimenet.radius_graph, dimenet.triplets = radius_graph, their_triplets

    def way(structures, training):
        model.train(training)
        z, x, system = _flat(structures)
        _flat.positions = x.clone()
        x.requires_grad_(True)
        energy = model(z, x, system).reshape(-1)
        return energy, -torch.autograd.grad(energy.sum(), x, create_graph=training)[0]

    return _with(way, model)


def _xnns(network: Any) -> Way:
    from xnn.common.data.ase_io import atoms_to_structure
    from xnn.common.data.dataset import collate, structure_to_graph
    from xnn.common.models import ForceStressOutput

    model = ForceStressOutput(network.network)

    def way(structures, training):
        model.train(training)
        out = model(collate([structure_to_graph(atoms_to_structure(a), network.config.cutoff) for a in structures]))
        return out["energy"], out["forces"]

    return _with(way, model)


WAYS: dict[str, Callable[[Any], Way]] = {
    "nequip": _nequip,
    "allegro": _nequip,
    "mace": _mace,
    "et": _et,
    "dimenet": _dimenet,
    "gemnet_t": _xnns,
    "gemnet_dt": _xnns,
    "equiformer": _xnns,
}


def _with(way: Way, model: torch.nn.Module) -> Way:
    way.parameters = list(model.parameters())  # type: ignore[attr-defined]
    return way


def _flat(structures):
    z = torch.cat([torch.tensor(a.numbers) for a in structures]).long()
    x = torch.cat([torch.tensor(a.positions, dtype=torch.float32) for a in structures])
    return z, x, torch.arange(len(structures)).repeat_interleave(torch.tensor([len(a) for a in structures]))


def ours(model: Any) -> Way:
    """The same signature through `AtomsBatch`; edges made anew in every call."""
    from ffbench_data.contract import AtomsBatch
    from ffbench_data.neighbors import with_edges

    def way(structures, training):
        z, x, system = _flat(structures)
        b = len(structures)
        batch = AtomsBatch(x, z, system, torch.zeros(b, 3, 3), torch.zeros(b, 3, dtype=torch.bool))
        if model.cutoff is not None:
            batch = with_edges(batch, model.cutoff)
        out = model.fn.train(training)(batch)
        return out.energy, out.forces

    return _with(way, model.fn)


def call_ms(ways: list[Way], structures, repeats: int) -> list[list[float]]:
    return interleaved([lambda way=way: way(structures, False) for way in ways], repeats)


def step_ms(ways: list[Way], structures, repeats: int) -> list[list[float]]:
    return interleaved([_step(way, structures) for way in ways], repeats)


def _step(way: Way, structures) -> Callable[[], None]:
    parameters = [p.requires_grad_(True) for p in way.parameters if p.is_floating_point()]  # type: ignore[attr-defined]
    optimizer = torch.optim.Adam(parameters, lr=1e-5)

    def step():
        optimizer.zero_grad()
        energy, forces = way(structures, True)
        (energy.square().mean() + forces.square().mean()).backward()
        optimizer.step()

    return step


def interleaved(ways: list[Callable[[], Any]], repeats: int) -> list[list[float]]:
    """Milliseconds of each way in each round; other load of the machine hits all ways of a round."""
    for _ in range(2):
        for f in ways:
            f()
    times: list[list[float]] = [[] for _ in ways]
    for _ in range(repeats):
        for f, kept in zip(ways, times):
            start = time.perf_counter()
            f()
            kept.append(1e3 * (time.perf_counter() - start))
    return times


def summary(what: str, times: list[list[float]]) -> dict[str, float]:
    row = {f"{what}_ms": statistics.median(times[0])}
    if len(times) > 1:
        row[f"own_{what}_ms"] = statistics.median(times[1])
        row[f"{what}_ratio"] = statistics.median(a / b for a, b in zip(*times))
    return row


def structures(count: int = 5) -> list[Any]:
    from ase import Atoms

    from ffbench_data import load_frames

    f = load_frames("ethanol_gfn2", split="test")[:count]
    return [Atoms(f.atomic_numbers[a:b], f.positions[a:b].astype(float)) for a, b in zip(f.offsets, f.offsets[1:])]


def main() -> None:
    from reference_models import FAMILIES, build
    from reference_models.providers import guarded, pretrained, providers

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    served = {f: p for p in providers().values() for f in p.families}
    wanted = sys.argv[1:] or [*FAMILIES, *PUBLISHED]
    given, rows = structures(), {}
    for name in wanted:
        try:
            model = build(name, elements=ELEMENTS) if name in FAMILIES else pretrained(name)
        except ValueError as error:
            print(f"{name}: left out: {error}")
            continue
        ways = [ours(model)]
        if name in served:
            with guarded(served[name].name):
                own = own_way(name, model.fn.network)
                ways += [own] if own else []
        row = {"parameters": model.card["parameters"], **summary("call", call_ms(ways, given, 9))}
        if name in FAMILIES:
            row |= summary("step", step_ms(ways, given, 9))
        rows[name] = {k: round(v, 3) for k, v in row.items()}
        print(name, rows[name], flush=True)
    path = Path(__file__).parent / "results" / "providers.json"
    known = json.loads(path.read_text())["rows"] if path.exists() else {}
    about = {"structures": "5 ethanol frames, 45 atoms", "size": "small", "threads": 1, "torch": torch.__version__}
    path.write_text(json.dumps({**about, "rows": {**known, **rows}}, indent=1) + "\n")


if __name__ == "__main__":
    main()
