"""Your own data in the evaluator: the suite that fits, errors in parts, scans without labels, the truth on call."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from ase import Atoms
from ase.calculators.emt import EMT
from ase.io import write

from ffbench_data import card, load_dataset, load_frames, reference
from ffbench_data.observables import read_reference
from ffbench_data.own.options import Options
from ffbench_data.own.seal import add
from ffbench_eval import ForceField, evaluate, from_ase, load_suite, suite_for
from ffbench_eval.cli import main
from ffbench_eval.cli.about import validate
from ffbench_eval.kinds.dynamics.observables import OBSERVABLES
from ffbench_eval.own.suite import as_yaml, called, rows_for
from ffbench_eval.run.data import TaskData
from reference_models import load
from tests.data import own_files as files
from tests.eval.test_more_observables import USED, trajectory


def harmonic(batch):
    """Springs of length 1.2 between all atoms within the cutoff."""
    d = batch.edge_vectors().norm(dim=-1)
    per_edge = 0.5 * 5.0 * (d - 1.2) ** 2
    owner = batch.system_index[batch.edge_index[0]]
    return per_edge.new_zeros(batch.n_systems).index_add(0, owner, per_edge)


@pytest.fixture(scope="module")
def model():
    return ForceField.from_energy(harmonic, cutoff=2.0, card={"name": "springs"}, dtype=torch.float64)


@pytest.fixture(scope="module")
def atoms():
    out = files.atoms_of(files.ethanol(80))
    for k, a in enumerate(out):
        a.info["config_type"] = ("cold", "warm")[k % 2]
    return out


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("FFBENCH_DATA", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_errors_in_parts_are_those_of_their_frames_and_atoms(home, atoms, model):
    write("mine.extxyz", atoms)
    suite = suite_for("mine.extxyz", tasks=["errors"])
    report = evaluate(model, suite, out="run", quiet=True)
    metrics = report.tasks["errors"].metrics
    frames = load_frames(suite.tasks[0].dataset, None, "test")
    off = {z: [] for z in (1, 6, 8)}
    by_group = {"cold": [], "warm": []}
    groups = frames.table["config_type"].to_pylist()
    for frame, group in zip(frames, groups):
        batch = files.atoms_of([frame])[0]
        mine = from_springs(batch)
        error = np.abs(mine - frame.forces)
        by_group[group].append(error)
        for z in off:
            off[z].append(error[frame.atomic_numbers == z])
    for z, symbol in ((1, "H"), (6, "C"), (8, "O")):
        assert metrics[f"force_mae_by.element.{symbol}"].value == pytest.approx(np.concatenate(off[z]).mean(), rel=1e-6)
    for group, errors in by_group.items():
        found = metrics[f"force_mae_by.config_type.{group}"]
        assert found.value == pytest.approx(np.concatenate(errors).mean(), rel=1e-6)
        assert found.n == len(errors)
    everything = np.concatenate([*by_group["cold"], *by_group["warm"]])
    assert metrics["force_mae"].value == pytest.approx(everything.mean(), rel=1e-6)
    assert "not ordered in time" in report.tasks["errors"].note


@pytest.mark.parametrize("every", [3, 80])
def test_frames_that_a_model_does_not_take_cost_themselves_alone(home, atoms, model, every):
    """Every third frame, or one, is a cation; the model takes neutral ones. What is left is their errors, by hand."""
    charged = [a.copy() for a in atoms]
    for k, a in enumerate(charged):
        a.info |= {"charge": 1.0, "multiplicity": 2} if k % every == 0 else {}
    write("mine.extxyz", charged)
    suite = suite_for("mine.extxyz", tasks=["errors"])
    task = evaluate(model, suite, out="run", quiet=True).tasks["errors"]
    frames = load_frames(suite.tasks[0].dataset, None, "test")
    neutral = [f for f in frames if f.charge == 0]
    errors = [np.abs(from_springs(files.atoms_of([f])[0]) - f.forces) for f in neutral]
    found = task.metrics["force_mae"]
    assert found.n == len(neutral)
    assert found.value == pytest.approx(np.concatenate(errors).mean(), rel=1e-6)
    left_out = len(frames) - len(neutral)
    said = f"{left_out} of {len(frames)} frames have elements, charge or spin that the model does not take"
    assert (said in found.uncertainty.reason) == (left_out > 0)
    assert set(task.units[0].status) == ({"ok", "unsupported"} if left_out else {"ok"})


def from_springs(atoms):
    """The forces of `harmonic` by hand: every pair counts from both sides, so that a spring pulls with 2 x 5 eV/A^2."""
    x, f = atoms.positions, np.zeros_like(atoms.positions)
    for i in range(len(x)):
        for j in range(len(x)):
            d = x[j] - x[i]
            r = np.linalg.norm(d)
            if i != j and r <= 2.0:
                f[i] += 2 * 5.0 * (r - 1.2) * d / r
    return f


def test_the_yaml_is_the_same_suite(home, atoms, model, capsys):
    write("mine.extxyz", atoms)
    direct = suite_for("mine.extxyz", temperature="500")
    (home / "kept").mkdir()
    rows = rows_for(["mine.extxyz"], Options(temperature="500"))
    (home / "kept" / "mine.yaml").write_text(as_yaml(rows))
    again = load_suite(home / "kept" / "mine.yaml")
    assert [(t.name, t.dataset, t.parameters) for t in again.tasks] == [
        (t.name, t.dataset, t.parameters) for t in direct.tasks
    ]
    kinds = {t.name: t.kind.name for t in direct.tasks}
    assert kinds == {
        "errors": "accuracy_in_parts", "dynamics": "molecular_dynamics", "energy_drift": "molecular_dynamics",
        "bond_scans": "bond_smoothness", "cost": "speed",
    }  # fmt: skip
    dynamics = next(t for t in direct.tasks if t.name == "dynamics").parameters
    assert dynamics.temperature_K == 500
    assert dynamics.observables == ["distance_histogram", "temperature", "angle_histogram"]


def test_units_are_the_same_whether_named_or_given_by_folder(home, atoms, model):
    """The report and the addresses name the data set, not the place where it lies."""
    write("mine.extxyz", atoms)
    folder = add("mine", ["mine.extxyz"], Options())
    (home / "elsewhere").mkdir()
    (home / "elsewhere" / "mine").symlink_to(folder)
    reports = [evaluate(model, suite_for(data, tasks=["errors"]), out=f"run{k}", quiet=True)
               for k, data in enumerate(("mine", "./elsewhere/mine"))]  # fmt: skip
    first, second = (r.tasks["errors"] for r in reports)
    assert [u.address for u in first.units] == [u.address for u in second.units]
    assert first.dataset == second.dataset
    assert first.dataset.name == "mine"


class Ripple(torch.nn.Module):
    """A deep smooth well in the distance of the two atoms, and a ripple of known turning points on it."""

    def __init__(self, height):
        super().__init__()
        self.height = height

    def forward(self, batch):
        d = batch.edge_vectors().norm(dim=-1)
        well = 4.0 * (1 - torch.exp(-1.5 * (d - 1.2))) ** 2
        per_edge = 0.5 * (well + self.height * torch.sin(2 * torch.pi * 2 * d))
        owner = batch.system_index[batch.edge_index[0]]
        return per_edge.new_zeros(batch.n_systems).index_add(0, owner, per_edge)


@pytest.mark.parametrize("height", [0.0, 0.5])
def test_scans_count_the_false_turning_points_that_are_there(home, height):
    """Carbon monoxide; the number of turning points of the curve is counted on a grid ten times as fine."""
    rng = np.random.default_rng(0)
    frames = []
    for _ in range(12):
        a = Atoms("CO", [[0, 0, 0], [1.2 + rng.normal(0, 0.03), 0, 0]])
        pull = 30 * (a.positions[1, 0] - 1.2)
        a.info["energy"], a.arrays["forces"] = -3080.0 + pull**2 / 60, np.array([[pull, 0, 0], [-pull, 0, 0]])
        frames.append(a)
    write("co.extxyz", frames)
    net = ForceField.from_energy(Ripple(height), cutoff=10.0, dtype=torch.float64, card={"name": "ripple"})
    suite = suite_for("co.extxyz", tasks=["bond_scans"])
    metrics = evaluate(net, suite, out="run", quiet=True).tasks["bond_scans"].metrics
    from ffbench_data.scans import scan_all

    scan = scan_all([6, 8], frames[0].positions)[0]
    r = np.linspace(scan.bond_length[0], scan.bond_length[-1], 991)
    curve = 4.0 * (1 - np.exp(-1.5 * (r - 1.2))) ** 2 + height * np.sin(4 * np.pi * r)
    turning = int((np.diff(np.sign(np.diff(curve))) != 0).sum())
    assert metrics["spurious_extrema"].value == turning - 1
    assert metrics["conservativeness"].value < 0.02
    assert (metrics["sign_flips"].value > 0) == (height > 0)


def labelled_by_emt(count=30):
    rng = np.random.default_rng(1)
    base = Atoms("CO", [[0, 0, 0], [1.1, 0, 0]])
    out = []
    for _ in range(count):
        a = base.copy()
        a.positions += rng.normal(0, 0.02, (2, 3))
        a.calc = EMT()
        e, f = a.get_potential_energy(), a.get_forces()
        b = Atoms(a.numbers, a.positions)
        b.info["energy"], b.arrays["forces"] = e, f
        out.append(b)
    return out


def test_a_reference_on_the_card_labels_scans_and_the_models_own_frames(home):
    write("co.extxyz", labelled_by_emt())
    folder = add("co", ["co.extxyz"], Options(reference="ase.calculators.emt:EMT", temperature="300",
                                               units="eV,eV/Angstrom,Angstrom"))  # fmt: skip
    assert card("co").calculator == "ase.calculators.emt:EMT"
    assert type(reference("co")) is EMT
    suite = suite_for("co")
    tasks = {t.name: t for t in suite.tasks}
    assert tasks["bond_scans"].kind.name == "bsct"
    assert tasks["dynamics"].parameters.truth_frames > 0
    scans = load_frames(str(folder), "bond_scans", "test")
    here = Atoms(scans[40].atomic_numbers, scans[40].positions, calculator=EMT())
    assert scans.energy[40] == pytest.approx(here.get_potential_energy(), abs=1e-9)
    report = evaluate(from_ase(EMT()), suite_for("co", tasks=["bond_scans"]), out="run", quiet=True)
    assert report.tasks["bond_scans"].metrics["fsd"].value == pytest.approx(0.0, abs=1e-3)


def test_the_command_line_from_a_file_to_a_report(home, atoms, capsys):
    write("mine.extxyz", atoms)
    (home / "m.py").write_text(
        "from tests.eval.test_own_suite import harmonic\nfrom ffbench_eval import ForceField\n"
        "def load():\n    return ForceField.from_energy(harmonic, cutoff=2.0, card={'name': 'springs'})\n"
    )

    def run(*words):
        try:
            main(list(words))
        except SystemExit as end:
            return end.code, capsys.readouterr()
        return 0, capsys.readouterr()

    code, said = run("evaluate", "m.py:load", "--data", "mine.extxyz", "--task", "errors")
    assert code == 0
    assert "force MAE" in said.out
    assert "not: no temperature is stated" in said.err
    assert (home / "runs/springs-mine/report.html").exists()
    code, said = run("suite", "for", "mine.extxyz", "--temperature", "500")
    assert code == 0
    assert yaml.safe_load((home / "mine.yaml").read_text())["tasks"]["dynamics"]["temperature_K"] == 500
    code, said = run("plan", "m.py:load", "--data", "mine.extxyz", "--temperature", "500", "--task", "errors")
    assert code == 0
    assert "Errors on unseen frames" in said.out
    assert "no temperature" not in said.err
    for words, why in (
        (["--data", "mine.extxyz", "--suite", "mini"], "give one"), (["--temperature", "300"], "goes with --data FILE"),
        (["--data", "water"], "comes with ffbench"), (["--data", "nothing.xyz"], "no such file"),
    ):  # fmt: skip
        code, said = run("evaluate", "m.py:load", *words)
        assert code == 2
        assert why in said.err


def test_what_was_left_out_of_a_file_is_said_where_it_is_evaluated(home, atoms, capsys):
    """Half of the forces are NaN and one frame occurs twice: the plan and the run say so, as `data add` does."""
    some = [a.copy() for a in atoms]
    for k, a in enumerate(some):
        a.arrays["forces"] = a.arrays["forces"] * (np.nan if k % 2 else 1.0)
    write("mine.extxyz", [*some, some[0]])
    (home / "model.py").write_text(
        "from ase.calculators.emt import EMT\nfrom ffbench_eval import from_ase\n\n\n"
        "def load():\n    return from_ase(EMT())\n"
    )
    with pytest.raises(SystemExit) as end:
        main(["plan", "model.py:load", "--data", "mine.extxyz", "--task", "errors"])
    assert end.value.code == 0
    said = capsys.readouterr().err
    assert "note: 40 of 80 frames have no forces" in said
    assert "note: 1 frames that occur again were left out" in said
    rows = rows_for(["mine.extxyz"], Options())["tasks"]  # and so does the report: notes are kept there
    assert "Note: 40 of 80 frames have no forces" in rows["errors"]["note"].splitlines()
    assert "Not measured: 16 test frames are too few (below 60): confidence is not tested" in rows["errors"]["note"]
    assert "no temperature" in rows["dynamics"]["note"]
    assert "frames are not ordered in time" in rows["dynamics"]["note"]


def test_a_model_with_nothing_for_the_data_ends_in_one_line(home, atoms, capsys):
    write("mine.extxyz", atoms)
    with pytest.raises(SystemExit) as end:
        main(["evaluate", "painn", "--data", "mine.extxyz", "--task", "errors"])
    assert end.value.code == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert "no model for dataset mine" in said
    assert "ffbench train FAMILY mine.extxyz" in said
    with pytest.raises(ValueError, match=r"shipped for .*ethanol_gfn2, .* only; .*`ffbench train painn mine`"):
        load("painn@mine")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"dataset": "water:9k"}, r"water has no config '9k'; did you mean '90k'"),
        ({"dataset": "ethanol_gfn2", "split": "dev"}, r"has no split 'dev' in config 'default', which has .*test"),
        ({"dataset": "watr"}, "unknown data set 'watr'; did you mean 'water'"),
        ({"dataset": "./nowhere"}, "nowhere"),
    ],
)
def test_a_suite_that_names_what_is_not_there_is_at_fault(home, change, why):
    row = {"title": "t", "kind": "accuracy", "version": "1", "dataset": "ethanol_gfn2", "split": "test"}
    rows = {"name": "s", "version": "1", "description": "", "tasks": {"errors": row | change}}
    (home / "s.yaml").write_text(yaml.safe_dump(rows))
    with pytest.raises(ValueError, match=why):
        validate("s.yaml")


def test_train_and_load_dataset_take_it_too(home, atoms):
    from reference_models.train import Recipe, train_on

    write("mine.extxyz", atoms)
    folder = add("mine", ["mine.extxyz"], Options())
    assert len(load_dataset(str(folder), split="train", cache_dir=home / "cache")) == 56
    path = train_on("schnet", str(folder), folder=home / "t", recipe=Recipe(minutes=0.01, batch=4, max_steps=2),
                    changes={"preset": "small"}, log=lambda text: None)  # fmt: skip
    assert path.exists()


def test_names_of_files():
    assert called("a/b.extxyz.gz") == "b"
    assert called("data set (1).xyz") == "data_set_1"


def test_dynamics_are_held_against_the_data(home, atoms, model):
    """Short: 10 fs, before the springs break. The reference h(r) is that of the data's test frames."""
    from ffbench_eval.suite import suite_of

    write("mine.extxyz", atoms)
    rows = rows_for(["mine.extxyz"], Options(temperature="500"))
    rows["tasks"]["dynamics"] |= {"length_ps": 0.01, "skip_ps": 0, "save_every_fs": 0.5, "replicas": 1}
    suite = suite_of(rows, home / "suite.yaml", tasks=["dynamics"])
    task = evaluate(model, suite, out="run", quiet=True, compile="off").tasks["dynamics"]
    assert 0 < task.metrics["distance_histogram_error"].value <= 2
    assert task.metrics["angle_histogram_error_H-C-H"].value > 0
    assert task.metrics["stable_fraction"].value is not None
    x = load_frames(suite.tasks[0].dataset, None, "test").stacked()[1]
    i, j = np.triu_indices(x.shape[1], 1)
    mean = np.linalg.norm(x[:, i] - x[:, j], axis=-1).mean()
    curve = task.curves["distance_histogram"]
    h = np.array(curve.series["reference"], float)
    assert (np.array(curve.x) * h).sum() / h.sum() == pytest.approx(mean, rel=0.01)


def bending(phase, frames=120, step_fs=10.0):
    """(angles [T] in degrees, structures) of water whose angle swings by 12 degrees around 104.5 in 0.31 ps."""
    angle = 104.5 + 12 * np.cos(2 * np.pi * step_fs * np.arange(frames) / 310 + phase)
    half = np.radians(angle) / 2
    out = []
    for a, w in zip(half, angle):
        water = Atoms(
            "OHH", [[0, 0, 0], [0.96 * np.sin(a), 0.96 * np.cos(a), 0], [-0.96 * np.sin(a), 0.96 * np.cos(a), 0]]
        )
        water.positions += 1e-4 * len(out)  # no frame twice
        water.info["energy"] = -2080 + 0.001 * (w - 104.5) ** 2
        out.append(water)
    return angle, out


def test_angles_of_runs_have_a_noise_floor(home):
    """Three runs of 1.2 ps: a block of 1 ps in each, 20 frames counted; histograms and errors by hand."""
    angles = []
    for k, phase in enumerate((0.0, 0.4, 1.1)):
        angle, frames = bending(phase)
        angles.append(angle[4::5][:20])
        write(f"run{k}.extxyz", frames)
    folder = add("bent", [f"run{k}.extxyz" for k in range(3)],
                 Options(time_step=10.0, temperature="300", forces_key="none"))  # fmt: skip
    reference = read_reference(folder, "default")
    assert reference.facts["angles"] == {"H-O-H": [[1, 0, 2]]}
    blocks = reference.blocks("angle_histogram_H-O-H")
    by_hand = [np.histogram(a, 60, (0, 180))[0] for a in angles]
    np.testing.assert_array_equal([c[0] for c in blocks.counts], by_hand)
    data = TaskData(load_frames("bent", None, "test"), reference, USED)
    _, other = bending(2.5)
    t = trajectory(list(data.frames), [a.positions for a in other])
    p = SimpleNamespace(length_ps=1.0, skip_ps=0.0, temperature_K=300.0, replicas=1, metadynamics=None)
    found = OBSERVABLES["angle_histogram"]([t], data, p, None)[0]["angle_histogram_error_H-O-H"]
    mine = np.histogram(bending(2.5)[0], 60, (0, 180))[0] / 120
    theirs = np.sum(by_hand, axis=0) / 60
    assert found.value == pytest.approx(np.abs(mine - theirs).sum(), abs=0.03)  # an angle at the edge of its bin
    gaps = [np.abs(by_hand[k] / 20 - np.sum([h for j, h in enumerate(by_hand) if j != k], axis=0) / 40).sum()
            for k in range(3)]  # fmt: skip
    assert found.floor.runs == 3
    assert min(gaps) - 1e-9 <= found.floor.median <= found.floor.p95 <= max(gaps) + 1e-9
