"""The kind of dimer curves: closed forms through the evaluator's own door."""

import numpy as np
import pytest
import torch

import reference_models
from ffbench_data import ForceField, Prediction
from ffbench_eval import evaluate
from ffbench_eval.kinds.bsct.scans import find_scans
from ffbench_eval.kinds.diatomics import work
from ffbench_eval.run.data import load_task_data
from ffbench_eval.suite import load_suite

SUITE = """
name: dimers
version: 1.0.0
tasks:
  pbe: {kind: diatomics, dataset: diatomics_pbe}
"""


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    path = tmp_path_factory.mktemp("suite") / "dimers.yaml"
    path.write_text(SUITE)
    return path


@pytest.fixture(scope="module")
def data(suite):
    return load_task_data(load_suite(suite).tasks[0])


def test_the_mask_is_that_of_the_published_means(suite, data):
    """87 elements in the means, 79 of them with errors against PBE, 73 of which bind: the public code's own counts."""
    report = evaluate(reference_models.load("zero"), str(suite), out=suite.parent / "zero", quiet=True)
    m = report.tasks["pbe"].metrics
    assert report.tasks["pbe"].statuses == {"ok": 87}
    assert [m[k].n for k in ("dimer_force_mae", "dimer_well_error")] == [79, 73]
    assert m["dimer_force_mae"].value == pytest.approx(m["dimer_force_mae"].trivial)
    assert m["dimer_energy_mae"].value == pytest.approx(m["dimer_energy_mae"].trivial)
    assert m["dimer_fsd"].value == pytest.approx(m["dimer_fsd"].trivial)
    alone = [k for k in m if k.endswith(("_tortuosity", "_flips", "_jump", "_variation"))]
    assert len(alone) == 6
    for name in alone:  # a curve that goes nowhere is not the smoothest
        assert (m[name].value, m[name].not_scored, len(m[name].values)) == (None, "no dimer has a value", 87)
    scans = find_scans(data.frames)
    depth = [s.energy[w][-1] - s.energy[w].min() for s in scans.values() for w in [work.inside(s, s.bond_length)]]
    names = [n for n in scans if n not in work.LEFT_OUT]
    bound = [d for n, d in zip(scans, depth) if n in names and d >= 0.05]
    listed = [v for v in m["dimer_well_error"].values if v is not None]
    assert set(np.round(listed, 9)) <= set(np.round(bound, 9))


def test_the_truth_at_its_own_distances_has_no_error(data):
    scan = find_scans(data.frames)["N-N"]
    energy = np.interp(work.GRID, scan.bond_length, scan.energy)
    forces = np.stack([np.interp(work.GRID, scan.bond_length, c) for c in scan.forces.reshape(-1, 6).T], 1)
    row = work.score_dimer(scan, energy, forces.reshape(-1, 2, 3), scan.forces)
    assert row["dimer_fsd"] == 0
    assert row["dimer_energy_flips"] == 1
    assert row["dimer_force_mae"] < 0.5  # straight lines between other points of a steep wall
    half = work.score_dimer(scan, energy, 0 * forces.reshape(-1, 2, 3), 0.9 * scan.forces)
    assert 0 < half["dimer_fsd"] < 10


def test_a_model_that_lacks_elements_or_fails_is_told(suite):
    def answer(batch):
        x = batch.positions[1::2] - batch.positions[::2]
        d = x.norm(dim=1, keepdim=True)
        energy = torch.where(batch.atomic_numbers[::2] == 8, torch.nan, 1 / d[:, 0])
        pull = (x / d**3).repeat_interleave(2, 0)
        pull[::2] *= -1
        return Prediction(energy, pull)

    model = ForceField(answer, None, (1, 8, 10), torch.float64)
    report = evaluate(model, str(suite), out=suite.parent / "few", quiet=True)
    assert report.tasks["pbe"].statuses == {"ok": 2, "unsupported": 84, "model_error": 1}
    m = report.tasks["pbe"].metrics
    assert m["dimer_tortuosity"].value == pytest.approx(1)
    assert (m["dimer_energy_flips"].value, m["dimer_force_flips"].value) == (0, 0)
