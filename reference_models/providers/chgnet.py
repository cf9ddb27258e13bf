"""CHGNet: a universal potential for crystals (Deng et al., Nature Machine Intelligence 5, 1031, 2023).

It wants a cell, so that an open system is put into a box with `VACUUM` Angstrom around it; atoms further than 6
Angstrom from all others get no graph, and the package says that its answer is then wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from ffbench_data.contract import AtomsBatch, ForceField, Prediction

from . import guarded

if TYPE_CHECKING:
    pass

VACUUM = 14.0  # more than twice the graph's cutoff of 6 Angstrom


def chgnet(*, version: str = "0.3.0") -> ForceField:
    """CHGNet ``version`` (``0.3.0``, ``0.2.0`` or ``r2scan``); graphs are made one structure after the other."""
    with guarded("chgnet"):
        from chgnet.model import CHGNet

        network = CHGNet.load(model_name=version, use_device="cpu", verbose=False)
    network = network.eval().requires_grad_(False)
    network.graph_converter.verbose = False
    network.graph_converter.on_isolated_atoms = "ignore"
    parameters = sum(p.numel() for p in network.parameters())
    card = {"parameters": parameters, "version": version}
    return ForceField(Chgnet(network), None, tuple(range(1, 95)), torch.float32, True, card)


class Chgnet(nn.Module):
    def __init__(self, network: Any):
        super().__init__()
        self.network = network

    def forward(self, batch: AtomsBatch) -> Prediction:
        graphs = []
        positions = batch.positions.detach().double().cpu().numpy()
        numbers, cells, pbc = batch.atomic_numbers.cpu().numpy(), batch.cell.double().cpu().numpy(), batch.pbc
        start = 0
        for b, n in enumerate(batch.n_atoms.tolist()):
            part = slice(start, start + n)
            graph = self._graph(positions[part], numbers[part], cells[b], pbc[b].cpu().numpy())
            graphs.append(graph.to(batch.positions.device))
            start += n
        with torch.enable_grad():
            out = self.network(graphs, task="ef", return_atom_feas=True)
        return Prediction(
            energy=out["e"].detach().reshape(-1) * batch.n_atoms,  # the network answers per atom
            forces=torch.cat([f.detach() for f in out["f"]]),
            embedding=torch.cat([f.detach() for f in out["atom_fea"]]),
        )

    def _graph(self, x: np.ndarray, z: np.ndarray, cell: np.ndarray, pbc: np.ndarray):
        from pymatgen.core import Lattice, Structure

        if pbc.any() and not pbc.all():
            raise ValueError("CHGNet is used for open or fully periodic systems; this one is periodic in part")
        if not pbc.any():
            # One box for one molecule, whatever its orientation: forces must not depend on a moving box.
            radius = np.linalg.norm(x - x.mean(0), axis=1).max()
            cell = np.eye(3) * (2 * np.ceil(radius + 1) + VACUUM)
            x = x - x.mean(0) + cell.diagonal() / 2
        return self.network.graph_converter(Structure(Lattice(cell), z, x, coords_are_cartesian=True))
