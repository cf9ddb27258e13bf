"""What stands for one of several (the first cell, box or formula) stands for no other, and what nobody could judge is
not judged well: cases of several kinds, by closed forms."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
import torch
from ase.calculators.calculator import Calculator, all_changes

from ffbench_data import load_frames
from ffbench_data.contract import ForceField, Prediction
from ffbench_data.frames import Frames, collate
from ffbench_data.measured import measured
from ffbench_data.schema import to_table
from ffbench_eval import from_ase
from ffbench_eval.callbacks import SmoothnessMonitor
from ffbench_eval.engine.trajectory import Trajectory
from ffbench_eval.kinds.accuracy.work import Parameters as Accuracy
from ffbench_eval.kinds.bsct.scans import LabelledScan
from ffbench_eval.kinds.dynamics import work as dynamics
from ffbench_eval.kinds.dynamics.observables import OBSERVABLES
from ffbench_eval.kinds.dynamics.on_trajectory import FILE, label_sample
from ffbench_eval.kinds.experiment import work as experiment
from ffbench_eval.kinds.frequencies import work as frequencies
from ffbench_eval.kinds.lite import work as lite
from ffbench_eval.kinds.parts.work import _slugs
from ffbench_eval.kinds.physicality.work import Parameters as Physicality
from ffbench_eval.kinds.physicality.work import run_unit as physicality
from ffbench_eval.models.guard import guarded
from ffbench_eval.report import DatasetUsed
from ffbench_eval.run.data import TaskData
from ffbench_eval.run.first_answer import look
from tests.eval.dynamics_data import task, unit

USED = DatasetUsed(name="d", config="c", split="test", version="1", content_sha256="0")


def frames_of(*tables):
    return Frames(pa.concat_tables(tables).combine_chunks())


def table(numbers, x, **more):
    x = np.asarray(x, float)
    return to_table(numbers, x, np.zeros(len(x)), np.zeros(x.shape), **more)


def saved(numbers, x, cell, pbc, dt_ps=1.0, scale=None):
    zeros = np.zeros(len(x))
    return Trajectory(
        np.asarray(numbers), np.asarray(cell, float), np.asarray(pbc, bool), dt_ps * np.arange(1, len(x) + 1),
        np.asarray(x, np.float32), zeros, zeros, zeros + 300.0, cell_scale=scale,
    )  # fmt: skip


@pytest.mark.parametrize("pbc", [(1, 0, 0), (1, 1, 0), (1, 1, 1)], ids=str)
def test_angles_across_the_boundary_are_those_of_the_whole_molecule(pbc):
    """Bent water that lies across the face of its cell: wrapped frames in the data, unwrapped ones in the run."""
    rng = np.random.default_rng(0)
    shape = np.array([[0.76, 0.59, 0], [0, 0, 0], [-0.76, 0.59, 0]])
    whole = shape + rng.normal(scale=0.02, size=(30, 3, 3)) + [0.1, 4.0, 4.0]
    cell = 8.0 * np.diag(pbc)
    wrapped = whole.copy()
    wrapped[..., 0] %= 8.0  # the third atom is at 7.3
    assert (np.ptp(wrapped[..., 0], axis=1) > 4).all()
    data = TaskData(frames_of(table([1, 8, 1], wrapped, cell=cell, pbc=np.array(pbc, bool))), None, USED)
    p = SimpleNamespace(temperature_K=300.0, length_ps=30.0, skip_ps=0.0, replicas=1)
    metrics, curves = OBSERVABLES["angle_histogram"]([saved([1, 8, 1], whole, cell, pbc)], data, p, None)
    assert metrics["angle_histogram_error_H-O-H"].value == pytest.approx(0, abs=0.15)  # float32 at the edges of bins
    curve = curves["angle_histogram_H-O-H"]
    assert curve.x[int(np.argmax(curve.series["reference"]))] == pytest.approx(104.4, abs=10)


class Volume(Calculator):
    """The truth: an energy that is the volume of the cell, forces that are its first edge."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.results = {"energy": atoms.get_volume(), "forces": np.full((len(atoms), 3), atoms.cell[0, 0])}


def test_frames_of_a_breathing_cell_are_labelled_in_their_own(tmp_path, monkeypatch):
    monkeypatch.setattr("ffbench_data.reference", lambda name: Volume())

    def fn(batch):
        edge = batch.cell[:, 0, 0]
        return Prediction(edge**3, edge.index_select(0, batch.system_index)[:, None].expand(-1, 3))

    scale = np.array([1.0, 1.1, 1.2])
    run = saved([18, 18], np.zeros((3, 2, 3)) + [[0, 0, 0], [3, 0, 0]], 10 * np.eye(3), [1, 1, 1], scale=scale)
    model = guarded(ForceField(fn, None, dtype=torch.float64))
    assert label_sample("any", model, [run], 3, tmp_path) == ("", [])
    with np.load(tmp_path / FILE) as got:
        for mine in ("mine", "theirs"):
            np.testing.assert_allclose(got[mine], (10 * scale) ** 3)
        for mine in ("f", "f_ref"):
            np.testing.assert_allclose(got[mine][:, 0, 0], 10 * scale)


@pytest.mark.parametrize(("asked", "times"), [(1, [5]), (2, [1, 5]), (9, [1, 2, 3, 4, 5])])
def test_the_last_frame_is_always_labelled_also_if_it_is_the_only_one(tmp_path, monkeypatch, asked, times):
    monkeypatch.setattr("ffbench_data.reference", lambda name: Volume())
    run = saved([18, 18], np.zeros((5, 2, 3)) + [[0, 0, 0], [3, 0, 0]], 10 * np.eye(3), [1, 1, 1])
    model = ForceField(lambda b: Prediction(b.cell[:, 0, 0], b.positions), None, dtype=torch.float64)
    label_sample("any", guarded(model), [run], asked, tmp_path)
    with np.load(tmp_path / FILE) as got:
        assert got["time"].tolist() == times


WATER = {
    "ensemble": "nose_hoover", "temperature_K": 300, "time_step_fs": 1.0, "length_ps": 120, "skip_ps": 10,
    "save_every_fs": 1000, "replicas": 2,
}  # fmt: skip


def gas(n, edge, seed, frames=40):
    """Water's elements without structure: 2 n hydrogen and n oxygen atoms."""
    return np.array([8] * n + [1] * 2 * n), edge * np.random.default_rng(seed).random((frames, 3 * n, 3)), edge


def test_liquids_of_two_sizes_are_each_judged_in_their_own_box():
    """Of one alone everything is known; with the atoms and the volume of the first the second would be far off."""
    p, liquid = experiment.Parameters(**WATER), measured("water")
    small, large = gas(20, 13.0, 0), gas(40, 17.0, 1)
    runs = [saved(z, x, edge * np.eye(3), [1, 1, 1]) for z, x, edge in (small, large)]
    both = experiment._structure(runs, [True, True], p, liquid)[0]
    for k, run in enumerate(runs):
        alone = experiment._structure([run], [True], p, liquid)[0]
        for name, metric in alone.items():
            assert both[name].values[k] == pytest.approx(metric.value, rel=1e-12)
    assert "13.00 and 17.00 Å" in both["rdf_chi_O-O"].interval_note


def test_every_box_gets_back_what_it_takes_off_and_a_broken_replica_has_no_diffusion():
    p, liquid = experiment.Parameters(**WATER), measured("water")
    steps = np.random.default_rng(0).normal(scale=np.sqrt(0.4), size=(120, 300, 3))
    runs = [saved([8] * 300, np.cumsum(steps, 0), edge * np.eye(3), [1, 1, 1]) for edge in (10.0, 20.0, 10.0)]
    data = SimpleNamespace(reference=None, frames=None)
    found = experiment._diffusivity(runs, [True, True, False], data, p, liquid)["diffusivity_corrected"]
    more = 1.380649e-23 * 300 * 2.837297 / (6 * np.pi * liquid.viscosity_at(300) * 1e-10)
    assert found.values[0] - found.values[1] == pytest.approx(more / 10 - more / 20, rel=1e-6)
    assert found.values[2] is None
    assert "1 of 3 replicas broke" in found.interval_note
    hot = experiment.Parameters(**{**WATER, "temperature_K": 400})
    cold = experiment._diffusivity(runs, [True] * 3, data, hot, liquid)
    assert {m.value for m in cold.values()} == {None}
    assert all("temperature_K 400 is outside" in m.not_scored for m in cold.values())


@pytest.mark.parametrize(
    ("numbers", "pbc"),
    [([8, 1, 1], (1, 1, 0)), ([8, 1, 1], (0, 0, 0)), ([16, 1, 1], (1, 1, 1)), ([8, 1, 11], (1, 1, 1))],
)
def test_what_is_not_the_liquid_is_not_held_against_its_measurements(numbers, pbc):
    frames = frames_of(table(numbers, np.zeros((3, 3, 3)), cell=9 * np.eye(3) * pbc, pbc=np.array(pbc, bool)))
    task = SimpleNamespace(name="w", dataset="d", parameters=experiment.Parameters(**WATER))
    with pytest.raises(ValueError, match="dataset d is no periodic water"):
        experiment.plan(task, TaskData(frames, None, USED), 0)


def test_a_liquid_in_a_cell_that_breathes_is_refused():
    with pytest.raises(ValueError, match="ensemble npt: "):
        experiment.Parameters(**{**WATER, "ensemble": "npt"})


def test_frequencies_are_of_free_neutral_molecules_and_of_the_same_ones_as_before():
    x, ion = np.zeros((4, 3, 3)) + np.eye(3), np.zeros((4, 1, 3))
    mixed = frames_of(
        table([1, 8, 1], x), table([1, 8, 1], x, cell=9 * np.eye(3), pbc=True), table([1, 8, 1], x, charge=1,
        spin_multiplicity=2), table([10], ion), table([1, 16, 1], x),
    )  # fmt: skip
    p = frequencies.Parameters(frames=20)
    assert frequencies.starts_of(p, SimpleNamespace(frames=mixed)) == [0, 1, 2, 3, 16, 17, 18, 19]
    some = frames_of(table([1, 8, 1], np.repeat(x, 5, 0)))
    expected = np.sort(np.random.default_rng(0).permutation(20)[:6]).tolist()
    assert frequencies.starts_of(frequencies.Parameters(frames=6), SimpleNamespace(frames=some)) == expected
    with pytest.raises(ValueError, match="none is a neutral closed-shell molecule"):
        frequencies.starts_of(p, SimpleNamespace(frames=frames_of(table([10], ion))))
    with pytest.raises(ValueError, match="Be is an atom"):
        frequencies.Parameters(molecules=["H2O", "Be"])


def test_where_nothing_holds_the_atoms_there_is_no_minimum_without_imaginary_modes():
    from ase.build import molecule

    from ffbench_eval.kinds.asking import Ask

    flat = ForceField(lambda b: Prediction(b.cell[:, 0, 0], torch.zeros_like(b.positions)), None, dtype=torch.float64)
    assert frequencies.vibrations(Ask(guarded(flat)), molecule("H2O")).startswith("no minimum")


def test_two_charges_of_one_molecule_have_scans_of_their_own(tmp_path):
    """Carbon monoxide and its cation: a smooth well for the one, ten waves on it for the other."""
    x = np.zeros((3, 2, 3))
    x[:, 1, 0] = 1.13
    data = SimpleNamespace(
        frames=frames_of(table([6, 8], x), table([6, 8], x[:2], charge=1, spin_multiplicity=2)), reference=None
    )

    def energy(batch):
        pair = batch.positions.view(-1, 2, 3)
        d = (pair[:, 0] - pair[:, 1]).norm(dim=-1)
        return 8 * (d - 1.13) ** 2 + batch.charge * torch.sin(20 * torch.pi * d)

    model = ForceField.from_energy(energy, None, dtype=torch.float64, uses_charge=True, uses_spin=True)
    task = SimpleNamespace(name="s", parameters=lite.Parameters())
    results = []
    for k, inputs in enumerate(lite.plan(task, data, 0)):
        (tmp_path / str(k)).mkdir()
        out = lite.run_unit(task, inputs, data, guarded(model), tmp_path / str(k), lambda _: None)
        results.append(SimpleNamespace(folder=tmp_path / str(k), values=out, status=out["status"]))
    metrics, curves = lite.score(task, results, data)
    neutral, ion = metrics["spurious_extrema"].values
    assert neutral == 0
    assert ion > 5
    assert len(curves) == 2


def test_groups_whose_names_read_alike_keep_their_own_keys():
    assert _slugs(["T=300", "T 300", "T_300", "x"]) == ["T_300", "T_300_2", "T_300_3", "x"]


def test_a_scan_of_two_points_turns_nowhere_and_costs_the_monitor_nothing():
    x = np.zeros((2, 2, 3))
    x[:, 1, 0] = [1.0, 1.4]
    scan = LabelledScan("CO", "CO", np.arange(2), np.array([6, 8]), x, np.zeros(2), np.zeros(x.shape), x[:, 1, 0])
    model = ForceField(lambda b: Prediction(b.cell[:, 0, 0], torch.zeros_like(b.positions)), None, dtype=torch.float64)
    found = SmoothnessMonitor([scan])(0, model)
    assert found["scan_force_mae"] == 0
    assert np.isnan(found["spurious_extrema"])


def test_no_number_at_the_cutoff_is_no_pass():
    """A chain of argon; NaN where a distance is within 0.1 Å of the cutoff, or an exception for two lone atoms."""
    x = np.array([[0, 0, 0], [1.5, 0, 0], [3.0, 0.4, 0]])
    data = SimpleNamespace(frames=frames_of(table([18] * 3, x[None])))
    task = SimpleNamespace(name="t", parameters=Physicality(structures=1, rotations=1, pairs=0))

    def asked(broken, refused=False):
        def fn(batch):
            if refused and batch.positions.shape[0] // batch.n_systems == 2:
                raise RuntimeError("an atom without neighbours")
            i, _ = batch.edge_index
            r = batch.edge_vectors()
            d = r.norm(dim=-1, keepdim=True)
            bad = broken & (d > 4.9)
            size = torch.where(bad, torch.nan, (1 - d / 5.0) ** 3)
            out = batch.positions.new_zeros(batch.n_systems).index_add(0, batch.system_index[i], size[:, 0])
            force = torch.zeros_like(batch.positions).index_add(0, i, -6 / 5 * (1 - d / 5.0) ** 2 * r / d)
            return Prediction(0.5 * 2 * out, force)

        model = guarded(ForceField(fn, 5.0, None, torch.float64, True, {}))
        return physicality(task, {"members": [0]}, data, model, None, lambda _: None)

    fine, broken, refuses = asked(False), asked(True), asked(False, refused=True)
    for name in ("cutoff_energy_jump", "cutoff_force_jump"):
        assert fine["checks"][name] == pytest.approx(0, abs=1e-6)
        assert refuses["checks"][name] == pytest.approx(0, abs=1e-6)
        assert name not in broken["checks"]
        assert name not in broken["skipped"]
        assert name in broken["detail"][0]
    assert broken["status"] == ["model_error"]


def test_a_run_of_just_the_length_that_diffusion_needs_has_one():
    steps = np.random.default_rng(0).normal(scale=np.sqrt(0.4), size=(100, 200, 3))
    p = SimpleNamespace(length_ps=100.0, skip_ps=0.0)
    for frames, has in ((100, True), (99, False)):
        run = saved([8] * 200, np.cumsum(steps, 0)[:frames], 30 * np.eye(3), [1, 1, 1])
        found = OBSERVABLES["diffusivity"]([run], SimpleNamespace(reference=None), p, None)[0]["diffusivity"]
        assert (found.value is not None) == has


def test_a_drift_of_energy_is_of_constant_energy_and_some_frames_are_more_than_none():
    row = {"temperature_K": 300, "time_step_fs": 1, "length_ps": 1, "save_every_fs": 10, "replicas": 1}
    with pytest.raises(ValueError, match="energy_drift needs ensemble nve"):
        dynamics.Parameters(ensemble="langevin", observables=["energy_drift"], **row)
    assert dynamics.Parameters(ensemble="nve", observables=["energy_drift"], **row).ensemble == "nve"
    for bad in (0, -5):
        with pytest.raises(ValueError, match="max_frames"):
            Accuracy(max_frames=bad)


@pytest.mark.parametrize(
    ("temperature", "heats", "said"),
    [
        (500.0, None, ""),
        (505.0, None, ""),  # within 2 %
        (300.0, None, "the data are of 500 K, the simulation of 300 K"),
        (300.0, [300.0], ""),
        (300.0, [300.0, 600.0], "the data are of 300 to 600 K, the simulation of 300 K"),
        (300.0, [np.nan], ""),
    ],
)
def test_a_simulation_is_scored_against_data_of_its_own_temperature(tmp_path, temperature, heats, said):
    """Ethanol of 500 K by its card, or by a column of its frames: at another temperature the truth would be off too."""
    from ffbench_data.load import dataset_folder
    from ffbench_data.observables import read_reference

    frames = load_frames("ethanol_gfn2", None, "test")
    if heats is not None:
        column = pa.array(np.resize(np.array(heats), len(frames)))
        frames = Frames(frames.table.append_column("temperature_K", column))
    data = TaskData(frames, read_reference(dataset_folder("ethanol_gfn2"), "default"), USED)
    numbers, x = frames.stacked()
    row = {"ensemble": "nose_hoover", "time_step_fs": 0.5, "length_ps": 2, "save_every_fs": 100, "replicas": 1}
    wanted = task(temperature_K=temperature, observables=["distance_histogram", "temperature"], **row)
    wanted = replace(wanted, dataset="ethanol_gfn2")
    metrics, _ = dynamics.score(wanted, [unit(tmp_path / "a", numbers, x[None, :20])], data)
    found = metrics["distance_histogram_error"]
    assert found.value is not None
    assert (found.score is None, found.floor is None) == (bool(said), bool(said))
    assert (said in found.interval_note) if said else ("the simulation of" not in found.interval_note)
    assert "the simulation of" not in metrics["temperature_deviation"].interval_note


@pytest.mark.parametrize("odd", [lambda f: f + 1j, lambda f: np.ma.masked_array(f, f > 0.5)], ids=["complex", "masked"])
def test_what_a_model_does_not_say_is_not_taken_for_its_answer(odd):
    """numpy takes the real part of a complex number, and what lies under a mask."""

    class Odd(Calculator):
        implemented_properties = ["energy", "forces"]  # noqa: RUF012

        def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
            super().calculate(atoms, properties, system_changes)
            self.results = {"energy": 1.0, "forces": odd(np.ones((len(atoms), 3)))}

    frame = collate([load_frames("ethanol_gfn2", None, "test")[0]])
    with pytest.raises(ValueError, match=r"complex|masked"):
        from_ase(Odd())(frame)
    bare = ForceField(lambda b: {"energy": np.ones(1), "forces": odd(np.ones((len(b.positions), 3)))}, None)
    with pytest.raises(ValueError, match=r"complex|masked"):
        bare(frame)


def test_an_uncertainty_that_is_nan_is_no_buffer_that_was_overwritten():
    def fn(b):
        energy = b.positions.new_zeros(b.n_systems).index_add(0, b.system_index, b.positions.square().sum(1))
        return {"energy": energy, "forces": -2 * b.positions, "uncertainty": torch.full_like(energy, torch.nan)}

    found = look(
        ForceField(fn, None, dtype=torch.float64), load_frames("ethanol_gfn2", None, "test")[[0, 1]], "x", judge=False
    )
    assert not any("overwritten" in text for text in found.warnings)
