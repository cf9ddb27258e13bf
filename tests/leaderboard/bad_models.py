"""Bad but honest models, as spec strings: ``tests/leaderboard/bad_models.py:zero`` and so on."""

from __future__ import annotations

import torch

from ffbench_data.contract import ForceField, Prediction

CARD = {"training_data": "none", "theory": "GFN2-xTB", "licence": "MIT", "seen_test_data": False}


def _made(name, answer):
    def predict(batch):
        energy, forces = answer(batch)
        return Prediction(energy=energy, forces=forces)

    return ForceField(predict, cutoff=5.0, dtype=torch.float64, card=CARD | {"name": name})


def _flat(batch):
    x = batch.positions
    return torch.zeros(len(batch.n_atoms), dtype=x.dtype), torch.zeros_like(x)


def _reach(batch):
    """[B]: how far an atom lies from the first one of its system, at most."""
    parts = batch.positions.split(batch.n_atoms.tolist())
    return torch.stack([(p - p[:1]).norm(dim=1).amax() for p in parts])


def zero():
    return _made("zero", _flat)


def sometimes_nan():
    """Not a number where the molecule is stretched: on some frames of every chunk, and on every bond scan."""

    def answer(batch):
        energy, forces = _flat(batch)
        gap = torch.where(_reach(batch) > 3.6, torch.nan, 0.0).to(energy.dtype)
        return energy + gap, forces + gap.repeat_interleave(batch.n_atoms)[:, None]

    return _made("sometimes-nan", answer)


def huge():
    """Energies and forces that no number of single precision holds for long."""

    def answer(batch):
        x = batch.positions
        sums = torch.stack([p.sum() for p in x.split(batch.n_atoms.tolist())])
        return 1e9 * sums, torch.full_like(x, -1e9)

    return _made("huge", answer)


def explodes():
    """Pushes atoms apart: unstable at once."""

    def answer(batch):
        owner = torch.repeat_interleave(torch.arange(len(batch.n_atoms)), batch.n_atoms)
        centre = torch.stack([p.mean(0) for p in batch.positions.split(batch.n_atoms.tolist())])
        d = batch.positions - centre[owner]
        energy = torch.zeros(len(batch.n_atoms), dtype=d.dtype).index_add(0, owner, -50 * (d**2).sum(1))
        return energy, 100 * d

    return _made("explodes", answer)
