"""ANI-1x and ANI-1ccx: eight published networks as one ensemble each (Smith et al., J. Chem. Phys. 148, 241733, 2018;
Nature Communications 10, 2903, 2019).

torchani 2.9 ships no weights. Those of ANI-1x lie, in NeuroChem's format, in the wheel of torchani 2.2.4, those of
ANI-1ccx in the wheel of 2.0; `fetch` takes them from there. No wheel holds ANI-2x.
"""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ffbench_data.cache import user_cache
from ffbench_data.contract import AtomsBatch, ForceField, Prediction

from ..pairs import half_edges
from . import guarded

HARTREE = 27.211386245988  # eV
WEIGHTS = {  # the wheel they lie in, and their folder there
    "ani1x": ("torchani==2.2.4", "ani-1x_8x"),
    "ani1ccx": ("torchani==2.0", "ani-1ccx_8x"),
}


def folder() -> Path:
    """Where the weights lie: ``FFBENCH_CACHE`` or the user's cache folder."""
    return user_cache("FFBENCH_CACHE") / "ani"


def info(name: str) -> Path:
    """The file that lists the parts of a model, there once it was fetched."""
    return folder() / "Neurochem" / f"{WEIGHTS[name][1]}.info"


def fetch(name: str = "ani1x", wheel: str | Path | None = None) -> Path:
    """Unpack the weights of a model (19 MB) out of ``wheel``, or out of the one that pip downloads (11 or 22 MB)."""
    import tempfile

    package, inside = WEIGHTS[name]
    with tempfile.TemporaryDirectory() as scratch:
        if wheel is None:
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", scratch, package]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                raise ValueError(
                    f"pip could not download {package}: {done.stderr.strip().splitlines()[-1:]}; download it elsewhere "
                    f"and give the file: ffbench models fetch {name} --wheel FILE"
                )
            wheel = next(Path(scratch).glob("torchani-*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            names = [
                n
                for n in archive.namelist()
                if n.startswith(f"torchani/resources/{inside}/") and not n.endswith(("cost.dat", ".opt"))
            ]
            if len(names) < 8 * 32:
                raise ValueError(f"wheel {wheel} holds no weights of {name}: give the wheel of {package}")
            target = info(name).parent
            target.mkdir(parents=True, exist_ok=True)
            for member in names:
                to = target / Path(member).relative_to("torchani/resources")
                to.parent.mkdir(parents=True, exist_ok=True)
                to.write_bytes(archive.read(member))
    lines = [f"{inside}/rHCNO-5.2R_16-3.5A_a4-8.params", f"{inside}/sae_linfit.dat", f"{inside}/train", "8"]
    info(name).write_text("\n".join(lines) + "\n")
    return target


def ani1x(*, members: int = 8, embedding: str = "aev") -> ForceField:
    """The mean of the eight networks; ``uncertainty`` is the standard deviation of their energies (eV).

    ``embedding``: ``aev`` (384 numbers around each atom) or ``hidden`` (last hidden layer of the first network, 96).
    """
    return _load("ani1x", members, embedding)


def ani1ccx(*, members: int = 8, embedding: str = "aev") -> ForceField:
    """ANI-1ccx, the networks of ANI-1x trained on to CCSD(T)*/CBS energies; arguments as of `ani1x`."""
    return _load("ani1ccx", members, embedding)


def _load(name: str, members: int, embedding: str) -> ForceField:
    if embedding not in ("aev", "hidden"):
        raise ValueError(f"embedding must be 'aev' or 'hidden', got {embedding!r}")
    if not 1 <= members <= 8:
        raise ValueError(f"members must be 1 to 8, got {members}")
    if not info(name).exists():
        raise ValueError(f"the weights of {name} are not on this machine: ffbench models fetch {name}")
    with guarded("torchani"):
        os.environ["TORCHANI_DATA_DIR"] = str(folder())
        from torchani import neurochem

        model = neurochem.load_model_from_info_file(info(name), periodic_table_index=True)
    fn = Ani(model.float(), members, embedding).eval().requires_grad_(False)
    parameters = sum(p.numel() for p in fn.networks.parameters())
    return ForceField(fn, 5.2, (1, 6, 7, 8), torch.float32, True, {"parameters": parameters})


class Ani(nn.Module):
    """All systems of a batch as one set of atoms with our edges, so that any sizes and cells go together."""

    shift: Tensor
    index: Tensor

    def __init__(self, model: Any, members: int, embedding: str):
        super().__init__()
        self.aev = model.aev_computer
        self.networks = nn.ModuleList(list(model.neural_networks.members)[:members])
        self.kind = embedding
        symbols = {"H": 1, "C": 6, "N": 7, "O": 8}
        index = torch.full((119,), -1)
        for k, symbol in enumerate(model.symbols):
            index[symbols[symbol]] = k
        self.register_buffer("index", index)
        self.register_buffer("shift", model.energy_shifter.self_energies.double().clone())

    def forward(self, batch: AtomsBatch) -> Prediction:
        from torchani.neighbors import Neighbors

        kinds = self.index.index_select(0, batch.atomic_numbers)
        if bool((kinds < 0).any()):
            odd = sorted(set(batch.atomic_numbers[kinds < 0].tolist()))
            raise ValueError(f"ANI knows H, C, N and O; the batch has atomic numbers {odd}")
        species = kinds[None]
        with torch.enable_grad():
            x = batch.positions.detach().requires_grad_(True)
            i, j, r = half_edges(replace(batch, positions=x))
            near = Neighbors(torch.stack([i, j]), r.square().sum(-1).sqrt(), r)
            aev = self.aev.compute_from_neighbors(species, x[None], near)
            per_atom = torch.stack([network(species, aev, atomic=True)[0] for network in self.networks])
            energies = per_atom.new_zeros(len(self.networks), batch.n_systems)
            energies = energies.index_add(1, batch.system_index, per_atom)
            (gradient,) = torch.autograd.grad(energies.mean(0).sum(), x)
        offset = self.shift.new_zeros(batch.n_systems).index_add(0, batch.system_index, self.shift[kinds])
        energies = energies.detach().double()
        return Prediction(
            energy=(energies.mean(0) + offset) * HARTREE,
            forces=-gradient * HARTREE,
            embedding=(aev[0] if self.kind == "aev" else self._hidden(kinds, aev[0])).detach(),
            uncertainty=energies.std(0) * HARTREE if len(energies) > 1 else None,
        )

    def _hidden(self, kinds: Tensor, aev: Tensor) -> Tensor:
        out = aev.new_zeros(len(aev), 96)
        first: Any = self.networks[0]
        for k, network in enumerate(first.atomics.values()):
            h = aev[kinds == k]
            for layer in network.layers:
                h = network.activation(layer(h))
            out[kinds == k] = h
        return out
