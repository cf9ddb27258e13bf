"""SevenNet: NequIP-like universal potentials for crystals (Park et al., J. Chem. Theory Comput. 20, 4857, 2024)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from ffbench_data.contract import AtomsBatch, ForceField, Prediction

from . import guarded

MPTRJ = "PBE and PBE+U as in the Materials Project"


def sevennet_0() -> ForceField:
    """7net-0 (11 July 2024)."""
    return _load("7net-0")


def sevennet_l3i5() -> ForceField:
    """7net-l3i5: degree 3, five layers."""
    return _load("7net-l3i5")


def sevennet_mf_0(*, modal: str = "R2SCAN") -> ForceField:
    """7net-MF-0, of two fidelities: ``modal`` is the theory it answers with, ``R2SCAN`` or ``PBE``."""
    if modal not in ("R2SCAN", "PBE"):
        raise ValueError(f"modal must be 'R2SCAN' or 'PBE', got {modal!r}")
    made = _load("7net-mf-0", modal)
    return (
        made if modal == "R2SCAN" else replace(made, card={**made.card, "theory": MPTRJ, "version": "7net-MF-0, PBE"})
    )


def _load(name: str, modal: str = "") -> ForceField:
    with guarded("sevennet"):
        from sevenn.util import load_checkpoint

        file = load_checkpoint(name)
        network = file.build_model(enable_cueq=False, enable_flash=False, enable_oeq=False)
    network.set_is_batch_data(True)
    network = network.eval().requires_grad_(False)
    elements = tuple(int(z) for z in network.type_map)
    parameters = sum(p.numel() for p in network.parameters())
    return ForceField(
        SevenNet(network, modal), float(network.cutoff), elements, torch.float32, True, {"parameters": parameters}
    )


class SevenNet(nn.Module):
    def __init__(self, network: Any, modal: str = ""):
        super().__init__()
        self.network, self.modal = network, modal
        self.last = [n for n, _ in network.named_children() if n.endswith("equivariant_gate")][-1]

    def forward(self, batch: AtomsBatch) -> Prediction:
        import sevenn._keys as key
        from sevenn.atom_graph_data import AtomGraphData

        made: dict[str, Any] = {
            key.NODE_FEATURE: batch.atomic_numbers,
            key.ATOMIC_NUMBERS: batch.atomic_numbers,
            key.POS: batch.positions.detach(),
            key.EDGE_IDX: batch.edge_index,
            key.EDGE_VEC: batch.edge_vectors().detach().clone(),
            key.CELL_VOLUME: torch.linalg.det(batch.cell).abs(),
            key.NUM_ATOMS: batch.n_atoms,
            key.BATCH: batch.system_index,
        }
        if self.modal:
            made[key.DATA_MODALITY] = [self.modal] * batch.n_systems
        features: list[torch.Tensor] = []
        hook = getattr(self.network, self.last).register_forward_hook(
            lambda _module, _given, out: features.append(out[key.NODE_FEATURE])
        )
        try:
            with torch.enable_grad():
                out = self.network(AtomGraphData(**made))
        finally:
            hook.remove()
        return Prediction(
            energy=out[key.PRED_TOTAL_ENERGY].detach().reshape(-1),
            forces=out[key.PRED_FORCE].detach(),
            embedding=features[0].detach(),
        )
