"""The kind of relative energies: constructed models with known scores, and GFN2 against its published errors."""

from importlib.util import find_spec

import numpy as np
import pytest
import torch

import reference_models
from ffbench_data import ForceField, Prediction, load_frames
from ffbench_data.load import EMBEDDED
from ffbench_data.observables import read_reference
from ffbench_eval import evaluate
from ffbench_eval.kinds.relative_energy import work
from ffbench_eval.page.verdict import verdict
from ffbench_eval.run.data import load_task_data
from ffbench_eval.suite import load_suite
from ffbench_metrics.relative_energy import KCAL_PER_MOL


def facts(name):
    return read_reference(EMBEDDED / "relative_energies", name).facts


def structures(name):
    return load_frames("relative_energies", name, "test", root=EMBEDDED)


def known(name, off=0.0):
    """A model that answers energies for which every reaction of a set has its reference, ``off`` kcal/mol too much."""
    frames, reactions = structures(name), facts(name)["reactions"]
    matrix = np.zeros((len(reactions), len(frames)))
    for k, reaction in enumerate(reactions):
        for c, row in reaction["terms"]:
            matrix[k, row] += c
    wanted = np.array([r["reference"] for r in reactions]) + off
    energy = np.linalg.lstsq(matrix, wanted, rcond=None)[0] * KCAL_PER_MOL
    keys = {frames[k].positions.round(6).tobytes(): e for k, e in enumerate(energy)}

    def answer(batch):
        parts = batch.positions.split(batch.n_atoms.tolist())
        found = [keys.get(x.numpy().round(6).tobytes(), 0.0) for x in parts]
        return Prediction(torch.tensor(found, dtype=torch.float64), torch.zeros_like(batch.positions))

    return answer


def run(answer, tasks, tmp_path, **stated):
    model = ForceField(answer, None, stated.pop("elements", None), torch.float64, **stated)
    return evaluate(model, "chemistry", tasks=tasks, out=tmp_path, quiet=True)


def test_the_right_energies_score_one_and_no_difference_none(tmp_path):
    m = run(known("aconf"), ["aconf"], tmp_path / "a").tasks["aconf"].metrics
    assert m["relative_energy_mae"].value == pytest.approx(0, abs=1e-9)
    assert m["relative_energy_mae"].score == 1
    assert m["rank_correlation"].value == pytest.approx(1)
    m = run(reference_models.load("zero").fn, ["aconf"], tmp_path / "b").tasks["aconf"].metrics
    assert m["relative_energy_mae"].value == pytest.approx(1.83, abs=0.005)  # GMTKN55's mean |dE|
    assert m["relative_energy_mae"].value == m["no_difference_mae"].value == m["relative_energy_mae"].trivial
    assert m["relative_energy_mae"].score == 0


def test_curves_are_drawn_and_their_minima_compared(tmp_path):
    """All points 0.5 kcal/mol too high: no minimum moves, each is as much too shallow."""
    task = run(known("s66x8", 0.5), ["s66x8"], tmp_path).tasks["s66x8"]
    m = task.metrics
    assert m["relative_energy_bias"].value == pytest.approx(0.5, abs=1e-6)
    assert m["minimum_position_error"].value == pytest.approx(0, abs=1e-6)
    assert m["minimum_depth_error"].value == pytest.approx(0.5, abs=1e-6)
    assert len(task.curves) == 66
    assert task.curves["energy Water-Water"].series["reference"][2] == -4.951
    score = (4.08 - 0.5) / (4.08 - 0.05)
    assert m["relative_energy_mae"].score == pytest.approx(score, abs=2e-3)
    said = verdict(task).sentence
    assert "0.500 kcal/mol (21.7 meV)" in said
    assert "halves of one trajectory" not in said


def test_what_a_model_does_not_take_is_unsupported_and_named(tmp_path):
    """Of WATER27, 12 reactions hold ions; of Amino20x4, 8 are of the two amino acids with sulphur."""
    report = run(known("water27"), ["water27", "amino20x4"], tmp_path, elements=(1, 6, 7, 8))
    water, amino = report.tasks["water27"], report.tasks["amino20x4"]
    assert water.statuses == {"ok": 15, "unsupported": 12}
    assert amino.statuses == {"ok": 72, "unsupported": 8}
    assert any("in 14 structures" in d and "water27_H3O" in d for u in water.units for d in u.detail)
    mae = water.metrics["relative_energy_mae"]
    assert mae.score is None
    assert (mae.n, len(mae.values)) == (15, 27)
    assert water.metrics["supported_reactions"].value == pytest.approx(15 / 27)
    ions = [k for k, r in enumerate(facts("water27")["reactions"]) if mae.values[k] is None]
    frames = structures("water27")
    assert all(any(frames.charge[s] for _, s in facts("water27")["reactions"][k]["terms"]) for k in ions)
    whole = run(known("water27"), ["water27"], tmp_path / "whole", uses_charge=True).tasks["water27"]
    assert whole.statuses == {"ok": 27}
    assert whole.metrics["relative_energy_mae"].score == 1


def test_a_failure_counts_as_no_difference(tmp_path):
    right = known("taut15")

    def answer(batch):
        out = right(batch)
        ring = torch.tensor([bool((z == 16).any()) for z in batch.atomic_numbers.split(batch.n_atoms.tolist())])
        return Prediction(torch.where(ring, torch.nan, out.energy), out.forces)

    task = run(answer, ["taut15"], tmp_path).tasks["taut15"]
    lost = [k for k, s in enumerate(task.units[0].status) if s == "model_error"]
    reactions, frames = facts("taut15")["reactions"], structures("taut15")
    assert lost == [k for k, r in enumerate(reactions) if any(16 in frames[s].atomic_numbers for _, s in r["terms"])]
    assert lost
    expected = sum(abs(reactions[k]["reference"]) for k in lost) / len(reactions)
    assert task.metrics["relative_energy_mae"].value == pytest.approx(expected)
    assert "count as no difference" in task.metrics["relative_energy_mae"].interval_note


def test_the_interval_is_over_parent_molecules():
    """Ten molecules whose reactions all have one error each: as wide as the bootstrap of ten, not of a hundred."""
    means = np.arange(10.0)
    samples, parents = np.repeat(means, 10), np.repeat([f"M{k}" for k in range(10)], 10)
    place = np.arange(100)
    metric = work.over_parents(4.5, samples, parents, better="lower", place=place, of=100)
    low, high = metric.interval
    standard = means.std() / np.sqrt(10)  # of a bootstrap mean; 1.96 of them each side, to the noise of 2000 draws
    assert (high - low) / 2 == pytest.approx(1.96 * standard, rel=0.15)
    alone = work.over_parents(4.5, samples, np.full(100, "M"), better="lower", place=place, of=100)
    assert (alone.interval[1] - alone.interval[0]) < 0.5 * (high - low)
    assert "1 parent molecule, which are not independent" in alone.interval_note


def test_every_task_of_the_suite_has_an_anchor():
    tasks = load_suite("chemistry").tasks
    assert len(tasks) == 25
    for task in tasks:
        data = load_task_data(task)
        anchor = task.kind.anchors(task, data)["relative_energy_mae"]
        assert 0 < anchor.floor.median < anchor.trivial
        assert "estimate" in anchor.floor.note or "cited" in anchor.floor.note
        assert len(work.groups(task, data)) == len(data.reference.facts["reactions"])


@pytest.mark.skipif(find_spec("tblite") is None, reason="tblite is not installed")
def test_gfn2_gives_its_published_error(tmp_path):
    """0.19 kcal/mol on ACONF (Bannwarth, Ehlert and Grimme 2019, and GMTKN55)."""
    report = evaluate("reference_models:gfn2", "chemistry", tasks=["aconf"], out=tmp_path, quiet=True, isolate=False)
    assert report.tasks["aconf"].metrics["relative_energy_mae"].value == pytest.approx(0.19, abs=0.005)
