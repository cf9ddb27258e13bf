"""Copies of frames: an honest model has the same errors on them, one that looks labels up has not."""

import numpy as np
import pytest
import torch

from ffbench_data.contract import ForceField, Prediction
from ffbench_data.load import load_frames
from ffbench_eval.copies import errors_on_copies, verdict

FRAMES = load_frames("ethanol_gfn2", split="test")
ROWS = np.arange(100)


def springs(batch):
    """Every atom on a spring to the centre of its molecule: exact under every copy."""
    x = batch.positions
    parts = [p - p.mean(0) for p in x.split(batch.n_atoms.tolist())]
    energy = torch.stack([0.05 * (p**2).sum() for p in parts])
    return Prediction(energy=energy, forces=torch.cat([-0.1 * p for p in parts]))


def lookup(batch):
    """The labels of the test split by the positions of its frames, zeros for others."""
    known = {FRAMES[int(r)].positions.round(4).tobytes(): FRAMES[int(r)] for r in ROWS}
    energy, forces = [], []
    for part in batch.positions.double().split(batch.n_atoms.tolist()):
        hit = known.get(part.numpy().round(4).tobytes())
        energy.append(0.0 if hit is None else float(hit.energy))
        forces.append(np.zeros((len(part), 3)) if hit is None else hit.forces)
    return Prediction(energy=torch.tensor(energy, dtype=torch.float64), forces=torch.as_tensor(np.concatenate(forces)))


def model(fn):
    return ForceField(fn, cutoff=None, dtype=torch.float64, card={"name": "m"})


@pytest.mark.parametrize("seed", range(3))
def test_an_honest_model_errs_on_copies_as_on_the_frames(seed):
    found = errors_on_copies(model(springs), FRAMES, ROWS, seed)
    assert found["moved"] == pytest.approx(found["frames"], rel=1e-4)
    assert found["renumbered"] == pytest.approx(found["frames"], rel=1e-6)
    assert found["turned"] == pytest.approx(found["frames"], rel=0.1)  # the mean over components turns with the frame
    assert {verdict(n, found["frames"], v) for n, v in found.items()} == {"agrees"}


def test_a_lookup_of_the_labels_is_found():
    found = errors_on_copies(model(lookup), FRAMES, ROWS)
    assert found["frames"] < 1e-6
    assert verdict("moved", found["frames"], found["moved"]) == "differs"
    assert verdict("renumbered", found["frames"], found["renumbered"]) == "differs"
