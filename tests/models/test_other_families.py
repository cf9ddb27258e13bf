"""A family of another package, found by its entry point."""

import sys

import torch

from ffbench_data import collate, load_frames

MODULE = '''
from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class Config:
    """One number per element."""

    cutoff: float = 4.0


PAPER = Config()


class Network(nn.Module):
    """Energies per atom, and a pull towards the origin."""

    def __init__(self, config):
        super().__init__()
        self.table = nn.Embedding(100, 1)

    def forward(self, batch):
        atoms = self.table(batch.atomic_numbers)[:, 0] + (batch.positions**2).sum(-1)
        energy = atoms.new_zeros(batch.n_systems).index_add(0, batch.system_index, atoms)
        return {"energy": energy, "embedding": self.table(batch.atomic_numbers)}
'''


def test_a_family_of_another_package_is_built_by_name(tmp_path, monkeypatch):
    (tmp_path / "other_family.py").write_text(MODULE)
    info = tmp_path / "other_family-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other_family\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[ffbench.families]\npulled = other_family:Network\n")
    monkeypatch.syspath_prepend(tmp_path)
    from reference_models import all_families, build

    assert all_families()["pulled"] == ("other_family", "Network")
    model = build("pulled", elements=(1, 6, 8))
    batch = collate(load_frames("ethanol_gfn2", split="test")[:2])
    forces, x = model(batch).forces[:9].double(), batch.positions[:9].double()  # wherever the origin is put
    torch.testing.assert_close(forces - forces.mean(0), -2 * (x - x.mean(0)), rtol=1e-4, atol=1e-4)
    sys.modules.pop("other_family", None)
