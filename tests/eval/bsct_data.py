"""Small data sets out of the real bond scans, and models made for the tests."""

import numpy as np
import torch

from ffbench_data import build
from ffbench_data.contract import ForceField, Prediction

SUITE = """
name: scans
version: 1.0.0
tasks:
  scans: {kind: bsct, dataset: "bsct_spice:all", fine_scans: 2}
"""
CHOSEN = {"C-N": ["25729"], "C-O": None, "N-P": None}  # scan names, or as many as `take` says


def small_source(shared, folder, take=2):
    """Flat files with a few scans each: C-N/25729 (two frames without labels) and the first of two bond types."""
    folder.mkdir()
    for bond, ids in CHOSEN.items():
        with np.load(shared / f"bsct_spice/{bond}.npz") as archive:
            d = dict(archive)
        ends = np.cumsum(d["n_atoms"])
        rows = [list(d["system_id"]).index(i) for i in ids] if ids else list(range(take))
        atoms = np.concatenate([np.arange(ends[s] - d["n_atoms"][s], ends[s]) for s in rows])
        vectors = np.concatenate([np.arange(100 * (ends[s] - d["n_atoms"][s]), 100 * ends[s]) for s in rows])
        cut = {"atomic_numbers": atoms, "fragment": atoms, "positions": vectors, "forces": vectors}
        per_scan = ("system_id", "n_atoms", "bond_index", "bond_length", "energy", "smiles")
        out = {k: d[k][v] for k, v in cut.items()} | {k: d[k][rows] for k in per_scan}
        np.savez(folder / f"{bond}.npz", **out)
    return folder


def small_dataset(shared, folder):
    """A built `bsct_spice` of five real scans; returns the root to load it from."""
    build("bsct_spice", small_source(shared, folder / "source"), folder / "data", quiet=True)
    return folder / "data"


def pair_energy(batch):
    """A smooth repulsion and attraction between all pairs, the same for all elements."""
    d = batch.edge_vectors().norm(dim=-1)
    window = 0.5 * (torch.cos(torch.pi * d / 5.0) + 1.0)
    e = 0.5 * window * (3.0 / d**2 - 4.0 / d)
    return d.new_zeros(batch.n_systems).index_add(0, batch.system_index[batch.edge_index[0]], e)


def pair_model(name="pairs", elements=None, dtype=torch.float64):
    return ForceField.from_energy(pair_energy, 5.0, dtype=dtype, elements=elements, card={"name": name})


def breaking(model, when, how="nan", name="breaks"):
    """``model``, that fails on systems for which ``when(numbers, positions)`` is true."""

    def fn(batch):
        out = model(batch)
        counts = batch.n_atoms.tolist()
        energy, forces = out.energy.clone(), list(out.forces.split(counts))
        for b, (z, x) in enumerate(zip(batch.atomic_numbers.split(counts), batch.positions.split(counts))):
            if when(z, x):
                if how == "raise":
                    raise RuntimeError("lost a screw")
                if how == "memory" and batch.n_systems > 1:
                    raise MemoryError("too wide")
                if how == "nan":
                    forces[b] = forces[b] * float("nan")
        return Prediction(energy, torch.cat(forces))

    return ForceField(fn, model.cutoff, model.elements, model.dtype, card={"name": name})
