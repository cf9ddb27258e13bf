"""Models of another level of theory have another energy zero: it is fitted away on frames that are not scored."""

import numpy as np
import pytest
import torch

from ffbench_data import card, load_frames
from ffbench_data.contract import ForceField
from ffbench_eval import evaluate
from ffbench_eval.kinds.accuracy.alignment import Offsets, fit, read

SUITE = """
name: errors
version: 1.0.0
tasks:
  errors: {kind: accuracy, dataset: ethanol_gfn2, max_frames: 60}
"""


@pytest.fixture
def suite(tmp_path):
    path = tmp_path / "errors.yaml"
    path.write_text(SUITE)
    return path


def shifted_truth(theory, zero=-1234.5):
    """The labels of ethanol as another program would give them: another zero, and 10 meV of noise."""
    known = {}
    for split in ("test", "val", "train"):
        for frame in load_frames("ethanol_gfn2", split=split):
            known[np.float64(frame.positions[0, 0]).tobytes()] = frame

    def answer(batch):
        first = torch.searchsorted(batch.system_index, torch.arange(batch.n_systems))
        frames = [known[np.float64(x).tobytes()] for x in batch.positions[first, 0].tolist()]
        noise = [0.01 * (-1) ** k for k in range(len(frames))]
        energy = torch.tensor([f.energy + zero + n for f, n in zip(frames, noise)], dtype=torch.float64)
        return {"energy": energy, "forces": torch.tensor(np.concatenate([f.forces for f in frames]))}

    return ForceField(answer, None, dtype=torch.float64, card={"name": "shifted", "theory": theory})


def test_a_model_of_another_theory_is_aligned_on_val_and_the_report_says_so(tmp_path, suite):
    task = evaluate(shifted_truth("PBE"), suite, out=tmp_path / "run", quiet=True).tasks["errors"]
    assert task.metrics["energy_mae"].value == pytest.approx(1234.5, rel=1e-6)
    aligned = task.metrics["energy_mae_aligned"]
    assert aligned.value == pytest.approx(0.01, rel=1e-3)
    assert aligned.n == 60
    assert "100 frames of val" in aligned.interval_note
    assert task.metrics["energy_mae_per_atom_aligned"].value == pytest.approx(aligned.value / 9)
    (said,) = task.units[-1].detail
    assert said == (
        "energies aligned: least squares on 100 frames of val; one composition, so one constant: "
        "-1234.5 eV per structure"
    )
    page = (tmp_path / "run" / "report.html").read_text()
    assert "energy MAE, aligned" in page
    assert "one constant" in page


def test_a_model_of_the_same_theory_is_not_aligned(tmp_path, suite):
    model = shifted_truth(card("ethanol_gfn2").theory, zero=0.5)
    task = evaluate(model, suite, out=tmp_path / "run", quiet=True).tasks["errors"]
    assert len(task.units) == 1
    assert "energy_mae_aligned" not in task.metrics
    assert task.metrics["energy_mae"].value == pytest.approx(0.5, rel=1e-3)


class Some:
    """What the fit looks at of frames."""

    def __init__(self, compositions, energy):
        self.energy = np.array(energy, float)
        self.atomic_numbers = np.concatenate([np.repeat([1, 8], c) for c in compositions])
        self.n_atoms = np.array([sum(c) for c in compositions])
        self.offsets = np.concatenate([[0], np.cumsum(self.n_atoms)])

    def __len__(self):
        return len(self.energy)


def test_offsets_per_element_are_found_and_what_they_do_not_determine_is_refused(tmp_path):
    seen = Some([(2, 1), (2, 2), (0, 2), (2, 1)], [1.0, 2.0, 3.0, np.nan])
    mine = seen.energy + seen.n_atoms * 0.0 + [2 * -13.6 + -432.0, 2 * -13.6 - 864.0, -864.0, 0.0]
    out = fit(seen, mine, "val", tmp_path / "o.npz")
    assert out["detail"][0].endswith("3 frames of val; eV per atom: H -13.6, O -432")
    offsets = read(tmp_path / "o.npz")
    assert offsets.shift(Some([(1, 3)], [0.0])) == pytest.approx([-13.6 - 3 * 432])
    with pytest.raises(ValueError, match=r"no frame of val has the elements \[8\]"):
        Offsets(np.array([1]), np.array([1.0]), np.array([[2.0]]), "val", 1).shift(Some([(1, 3)], [0.0]))
    water = Offsets(np.array([1, 8]), np.array([1.0, 1.0]), np.array([[2.0, 1.0]]), "val", 1)
    assert water.shift(Some([(4, 2)], [0.0])) == pytest.approx([6.0])
    with pytest.raises(ValueError, match="do not determine"):
        water.shift(Some([(2, 2)], [0.0]))


def test_the_answer_that_is_never_finite_is_an_error_of_the_model(tmp_path):
    seen = Some([(2, 1), (2, 2)], [1.0, 2.0])
    out = fit(seen, np.full(2, np.nan), "val", tmp_path / "o.npz")
    assert set(out["status"]) == {"model_error"}
    assert "cannot be aligned" in out["detail"][0]
    assert read(tmp_path / "o.npz") is None


def test_frames_without_an_energy_or_without_forces_leave_that_metric_out(tmp_path):
    """MDsim's alanine dipeptide has forces only, the scans of acetylacetone energies only."""
    from types import SimpleNamespace

    from ffbench_eval.kinds.accuracy import work as accuracy
    from ffbench_eval.run.units import Result

    frames = load_frames("ethanol_gfn2", split="test")[:4]
    rows = np.arange(4)
    np.savez(tmp_path / "predictions.npz", rows=rows, energy=frames.energy + 1, forces=frames.forces + 0.5)
    results = [Result(tmp_path, ["ok"] * 4, [], 0.0, 1, {})]
    frames.energy = np.full(4, np.nan)
    metrics, curves = accuracy.score(None, results, SimpleNamespace(frames=frames))
    assert metrics["force_mae"].value == pytest.approx(0.5)
    assert metrics["energy_mae"].value is None
    assert metrics["energy_mae"].not_scored == "the data set has no such label"
    frames.energy, frames.forces = np.zeros(4), np.full((36, 3), np.nan)
    metrics, curves = accuracy.score(None, results, SimpleNamespace(frames=frames))
    assert metrics["force_mae"].value is None
    assert metrics["energy_mae"].value > 1
    assert curves == {}


@pytest.mark.parametrize(("scored", "fitted"), [("test", "val"), ("val", "train"), ("train", "val")])
def test_offsets_are_never_fitted_on_the_scored_split(scored, fitted):
    from types import SimpleNamespace

    from ffbench_eval.kinds.accuracy.alignment import plan

    task = SimpleNamespace(dataset="ethanol_gfn2", config="default", parameters=SimpleNamespace(split=scored))
    (inputs,) = plan(task, ForceField(lambda batch: {}, None, card={"name": "other", "theory": "PBE"}))
    assert inputs["fit_offsets_on"] == fitted
    assert len(set(inputs["rows"])) == 100
    assert plan(task, ForceField(lambda batch: {}, None, card={"name": "same", "theory": "GFN2-xTB"})) == []
