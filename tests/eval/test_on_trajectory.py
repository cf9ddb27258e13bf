"""The trusted time: bonds may hold where the truth would not go."""

from typing import NamedTuple

import numpy as np
import pytest
import torch
from ase.calculators.calculator import Calculator, all_changes

import ffbench_data
from ffbench_data.contract import ForceField
from ffbench_data.frames import Frames
from ffbench_data.potentials import label
from ffbench_data.schema import to_table
from ffbench_eval.kinds.dynamics.on_trajectory import FILE, label_sample, score_sample, trusted_time
from ffbench_eval.models.guard import guarded

LENGTH, LIMIT = 10.0, 0.5


def sample(folder, errors):
    """Labelled frames at 2.5, 5, 7.5 and 10 ps of replicas whose force errors are given."""
    folder.mkdir()
    rows = [(b, 2.5 * (k + 1), e) for b, one in enumerate(errors) for k, e in enumerate(one)]
    replica, time, error = (np.array(column) for column in zip(*rows))
    truth = np.zeros((len(rows), 3, 3))
    np.savez(folder / FILE, replica=replica, time=time, f=truth + error[:, None, None], f_ref=truth)
    return folder, len(errors)


def test_it_ends_before_the_first_frame_that_is_wrong(tmp_path):
    good, late = [0.01] * 4, [0.01, 0.02, 0.6, 0.01]  # it stays lost, whatever comes later
    metric = trusted_time([sample(tmp_path / "a", [good, late])], [10.0, 10.0], LENGTH, LIMIT)
    assert metric.values == [10.0, 5.0]
    assert metric.value == 7.5
    assert metric.better == "higher"


def test_wrong_from_the_start_and_not_finite(tmp_path):
    unit = sample(tmp_path / "a", [[0.7] * 4, [0.01, np.nan, 0.01, 0.01]])
    assert trusted_time([unit], [10.0, 10.0], LENGTH, LIMIT).values == [0.0, 2.5]


def test_never_longer_than_stable_and_units_in_order(tmp_path):
    units = [sample(tmp_path / "a", [[0.01], [0.01]]), sample(tmp_path / "b", [[0.01] * 4])]
    metric = trusted_time(units, [3.1, 10.0, 4.0], LENGTH, LIMIT)
    assert metric.values == [3.1, 10.0, 4.0]


def test_nothing_failed_is_censored(tmp_path):
    metric = trusted_time([sample(tmp_path / "a", [[0.01] * 4] * 5)], [10.0] * 5, LENGTH, LIMIT)
    assert metric.interval is None
    assert metric.interval_note.startswith(">= 10 ps")


@pytest.mark.parametrize("stable", [[0.0], [0.04]])
def test_a_replica_without_a_saved_frame(tmp_path, stable):
    (tmp_path / "a").mkdir()
    assert trusted_time([(tmp_path / "a", 1)], stable, LENGTH, LIMIT).values == stable


def test_a_replica_without_labels_is_not_trusted_for_free(tmp_path):
    """It left frames, nobody asked the truth about them: there is no trusted time."""
    unit = sample(tmp_path / "a", [[0.01] * 4])
    metric = trusted_time([(unit[0], 2)], [10.0, 10.0], LENGTH, LIMIT)
    assert metric.value is None
    assert metric.values == [10.0, None]
    assert "no frame labelled" in metric.not_scored


def test_without_force_labels_there_is_no_limit(tmp_path):
    metric = trusted_time([sample(tmp_path / "a", [[0.01] * 4])], [10.0], LENGTH, float("nan"))
    assert metric.value is None
    assert "no force labels" in metric.not_scored


def test_a_replica_with_a_wrong_number_has_none_and_is_counted(tmp_path):
    folder = tmp_path / "a"
    folder.mkdir()
    f = np.zeros((4, 3, 3))
    f[2] = np.nan
    about = {"replica": np.array([0, 0, 1, 1]), "time": np.array([1.0, 2, 1, 2]), "f": f, "f_ref": np.ones((4, 3, 3))}
    np.savez(folder / FILE, **about, mine=np.zeros(4), theirs=np.zeros(4))
    metrics, _ = score_sample([(folder, 1.0)])
    assert metrics["on_trajectory_force_mae"].values == [1.0, None]
    assert metrics["on_trajectory_force_mae"].n == 1
    assert score_sample([(folder, float("nan"))])[0]["energy_violation"].value is None


class Spring(Calculator):
    """The truth: atoms held at the origin, 2 eV/A^2; ``raises`` at distances of which it says so."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def __init__(self, raises=lambda far: far > 5.0):
        super().__init__()
        self.raises = raises

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        x = atoms.positions
        if self.raises(np.abs(x).max()):
            raise RuntimeError("SCF not converged in 250 cycles")
        self.results = {"energy": float((x**2).sum()), "forces": -2 * x}


def steps(*far):
    """A saved trajectory of two helium atoms, one of them as far from the origin as given, a frame every ps."""
    x = np.zeros((len(far), 2, 3))
    x[:, 1, 0] = far
    time = np.arange(1.0, len(far) + 1)
    return Saved(x, np.array([2, 2]), np.zeros((3, 3)), np.zeros(3, bool), time)


class Saved(NamedTuple):
    positions: np.ndarray
    numbers: np.ndarray
    cell: np.ndarray
    pbc: np.ndarray
    time_ps: np.ndarray

    def __len__(self):
        return len(self.time_ps)

    @property
    def cells(self):
        return np.tile(self.cell, (len(self), 1, 1))


def oscillator(strength=1.0, raises=lambda far: False, charged=False):
    """strength x^2, times 1 + the charge where ``charged``."""

    def energy(batch):
        if raises(float(batch.positions.detach().abs().max())):
            raise RuntimeError("no answer out there")
        size = strength * batch.positions.square().sum(1)
        per_system = size.new_zeros(batch.n_systems).index_add(0, batch.system_index, size)
        return per_system * (1 + batch.charge) if charged else per_system

    return guarded(ForceField.from_energy(energy, None, dtype=torch.float64, uses_charge=charged, uses_spin=charged))


@pytest.fixture
def known():
    return Frames(to_table([np.array([2, 2])], [np.zeros((2, 3))], np.zeros(1), [np.zeros((2, 3))]))


def test_a_frame_that_the_truth_cannot_answer_is_wrong_and_costs_only_its_replica(tmp_path, monkeypatch, known):
    """The model led there: the replica is trusted until the frame before, and the other replica is untouched."""
    monkeypatch.setattr(ffbench_data, "reference", lambda name: Spring())
    runs = [steps(1.0, 2.0, 9.0, 2.0), steps(1.0, 1.0, 1.0, 1.0)]
    why_not, notes = label_sample("helium", oscillator(1.3), runs, 4, tmp_path, known=known)
    assert why_not == ""
    assert notes == [
        "replica 0: the reference potential fails on the model's structure at 3.000 ps, which counts as wrong: "
        "RuntimeError: SCF not converged in 250 cycles"
    ]
    metrics, _ = score_sample([(tmp_path, 1.0)])
    expected = 2 * 0.3 * 1.0 / 6  # |2 k x - 2 x| over six components
    assert metrics["on_trajectory_force_mae"].values == [None, pytest.approx(expected)]
    assert trusted_time([(tmp_path, 2)], [4.0, 4.0], 4.0, LIMIT).values == [2.0, 4.0]


def test_a_frame_on_which_the_model_raises_costs_only_its_replica(tmp_path, monkeypatch, known):
    monkeypatch.setattr(ffbench_data, "reference", lambda name: Spring(lambda far: False))
    runs = [steps(1.0, 2.0, 9.0), steps(1.0, 1.0, 1.0)]
    model = oscillator(1.3, raises=lambda far: far > 5.0)
    why_not, notes = label_sample("helium", model, runs, 4, tmp_path, known=known)
    assert why_not == ""
    assert len(notes) == 1
    assert notes[0].startswith("replica 0: asked about its own frame at 3.000 ps, the model failed: RuntimeError")
    assert trusted_time([(tmp_path, 2)], [3.0, 3.0], 3.0, LIMIT).values == [2.0, 3.0]


def test_a_truth_that_fails_on_the_datas_own_frames_blames_nobody(tmp_path, monkeypatch, known):
    monkeypatch.setattr(ffbench_data, "reference", lambda name: Spring(lambda far: True))
    why_not, notes = label_sample("helium", oscillator(), [steps(1.0)], 4, tmp_path, known=known)
    assert "the reference potential fails on the data's own frames: RuntimeError: SCF not converged" in why_not
    assert notes == []
    assert not (tmp_path / FILE).exists()


def test_charge_and_spin_reach_the_model_and_the_truth(tmp_path, monkeypatch):
    seen = []

    class Told(Spring):
        def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
            seen.append((atoms.info["charge"], atoms.info["spin"]))
            super().calculate(atoms, properties, system_changes)

    monkeypatch.setattr(ffbench_data, "reference", lambda name: Told())
    label_sample("helium", oscillator(charged=True), [steps(1.0)], 1, tmp_path, charge=1, spin=2)
    assert seen == [(1, 2)]
    found = np.load(tmp_path / FILE)
    assert found["mine"] == pytest.approx([2.0])  # 1 + the charge
    assert found["theirs"] == pytest.approx([1.0])


def test_shipped_truths_refuse_ions_and_radicals():
    """They are set up for neutral molecules in closed shells, and would answer for those."""
    pytest.importorskip("tblite")
    calculator, hydrogen = ffbench_data.reference("md17_gfn2"), np.array([[[0.0, 0, 0], [0, 0, 0.74]]])
    label(calculator, [1, 1], hydrogen)
    for charge, spin in ((1, 2), (0, 3)):
        with pytest.raises(ValueError, match=f"neutral singlets, got charge {charge} and spin multiplicity {spin}"):
            label(calculator, [1, 1], hydrogen, charge=charge, spin=spin)
