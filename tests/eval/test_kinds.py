"""Kinds and metrics are types: found by name, from a file, and asked instead of compared."""

import re

import pytest

from ffbench_eval import evaluate
from ffbench_eval.kinds import KINDS, find_kind, find_metric
from ffbench_eval.kinds.base import HOOKS
from ffbench_eval.suite import load_suite
from tests.conftest import ROOT

MINE = '''
"""Two atoms brought together: the energy gained."""
import torch
from pydantic import BaseModel

from ffbench_data import AtomsBatch
from ffbench_eval.kinds import Kind, MetricSpec
from ffbench_eval.report import Metric


class Parameters(BaseModel):
    split: str = "test"
    distance: float


def plan(task, data, seed):
    return [{"pairs": [[6, 6], [1, 1]]}]


def calls(task, inputs, data, model):
    return 1, len(inputs["pairs"])


def run_unit(task, inputs, data, model, folder, progress, compile="auto"):
    found = []
    for pair in inputs["pairs"]:
        batch = AtomsBatch(
            positions=torch.tensor([[0.0, 0, 0], [task.parameters.distance, 0, 0]], dtype=torch.float64),
            atomic_numbers=torch.tensor(pair), system_index=torch.zeros(2, dtype=torch.long),
            cell=torch.zeros(1, 3, 3, dtype=torch.float64), pbc=torch.zeros(1, 3, dtype=torch.bool),
        )
        found.append(float(model(batch).energy))
    return {"status": ["ok"] * len(found), "energies": found}


def score(task, results, data):
    values = [e for r in results for e in r.values["energies"]]
    return {"pair_energy": Metric(value=sum(values) / 2, unit="eV", n=2, better="neither", values=values)}, {}


KIND = Kind(
    name="pairs", about="Two atoms.", member="pair", members="pairs", work=__name__,
    metrics=(MetricSpec("pair_energy", "energy of a pair", "eV", "neither"),),
)
'''
SUITE = """
name: own
version: 1.0.0
tasks:
  pairs: {kind: "./my_kind.py:KIND", dataset: ethanol_gfn2, distance: 1.5}
"""


def test_a_kind_in_a_file_beside_the_suite_runs(tmp_path):
    from ase.calculators.lj import LennardJones

    from ffbench_eval import from_ase

    (tmp_path / "my_kind.py").write_text(MINE)
    (tmp_path / "own.yaml").write_text(SUITE)
    model = from_ase(LennardJones(sigma=1.0, epsilon=0.1, rc=10.0))
    report = evaluate(model, str(tmp_path / "own.yaml"), out=tmp_path / "run", quiet=True)
    task = report.tasks["pairs"]
    assert task.kind == "pairs"
    assert task.statuses == {"ok": 2}
    pair = 4 * 0.1 * (1.5**-12 - 1.5**-6) - 4 * 0.1 * (10.0**-12 - 10.0**-6)  # ASE shifts by the value at the cutoff
    assert task.metrics["pair_energy"].values == pytest.approx([pair, pair], rel=1e-5)


def test_unknown_kinds_and_files_are_one_line(tmp_path):
    with pytest.raises(ValueError, match="accuracy"):
        find_kind("acuracy")
    with pytest.raises(ValueError, match="no file"):
        find_kind("./nowhere.py:KIND", tmp_path)
    (tmp_path / "empty.py").write_text("KIND = 3\n")
    with pytest.raises(ValueError, match="is not a Kind"):
        find_kind("empty.py:KIND", tmp_path)


@pytest.mark.parametrize("package", ["ffbench_eval", "leaderboard"])
def test_nobody_compares_the_name_of_a_kind(package):
    """Names of kinds stand in their own rooms, in suites, locks and what writes suites, and in the one table of the
    second implementation (``OF_KIND``); comparisons, look-ups and tables of them stand nowhere else."""
    from leaderboard.check.recompute import OF_KIND

    assert set(OF_KIND) <= set(KINDS)
    names = "|".join(n for n in KINDS if n in ("molecular_dynamics", "bsct", "selective"))  # others are words as well
    name, any_name = rf"[\"']({names})[\"']", rf"[\"']({'|'.join(KINDS)})[\"']"
    # rows of a suite that is written have to name their kind, and may have its name
    row = re.compile(rf"[\"']kind[\"']: {any_name}|{any_name}: {{[\"']title")
    compared = re.compile(rf"kind(?:\.name)? *(?:[=!]=|in \(|not in \() *{any_name}|{any_name} *[=!]= *\w*kind|{name}|"
                          rf"{any_name} *: *(?:[({{\[\d]|KindRules)|\.get\({any_name}")  # fmt: skip
    found = []
    for path in sorted(p for p in (ROOT / package).rglob("*") if p.suffix in (".py", ".j2", ".yaml")):
        place = path.relative_to(ROOT).as_posix()
        if place.startswith(
            ("ffbench_eval/kinds/", "ffbench_eval/suites/", "ffbench_eval/own/rows.py", "leaderboard/entries/")
        ):
            continue
        for line in path.read_text(encoding="utf-8").splitlines():
            if not line.lstrip().startswith((">>>", "...", "#")) and compared.search(row.sub("", line)):
                found.append((place, line.strip()))
    allowed = ("leaderboard/check/recompute.py", '": KindRules(')
    left = [(place, line) for place, line in found if not (place == allowed[0] and allowed[1] in line)]
    of_a_group = ('if not any(group.name == "bsct"', 'app.add_typer(bsct, name="bsct")')  # a command of that name
    assert [x for x in left if not x[1].startswith(of_a_group)] == []
    assert len(found) - len(left) == (len(OF_KIND) if package == "leaderboard" else 0)


def test_kinds_work_out_the_anchors_of_their_tasks():
    """The frozen molecule of h(r) and no forces along scans are the data's own, without any model."""
    from ffbench_eval.run.data import load_task_data

    tasks = {t.name: t for t in load_suite("mini").tasks}
    found = {n: tasks[n].kind.anchors(tasks[n], load_task_data(tasks[n])) for n in ("ethanol_md", "ethanol_bond_scans")}
    assert 1.0 < found["ethanol_md"]["distance_histogram_error"].trivial < 2.0
    assert found["ethanol_bond_scans"]["fsd"].trivial > 1.0


def test_every_metric_of_the_board_is_stated():
    from leaderboard.check.lock import SUITES, SuiteLock

    for path in SUITES.glob("*-1.1.0.json"):
        lock = SuiteLock.model_validate_json(path.read_text())
        for task in lock.tasks.values():
            for name, m in task.metrics.items():
                hit = find_metric(name, task.kind)
                assert hit is not None, (path.name, name)
                assert hit[0].unit in (m.unit, "any"), name
                assert (hit[0].better, hit[0].version) == (m.better, m.version), name


@pytest.mark.parametrize("suite", ["mini", "desk", "bsct"])
def test_tasks_hold_the_kind_itself(suite):
    assert all(task.kind is KINDS[task.kind.name] for task in load_suite(suite).tasks)


def test_a_planned_task_is_ready_unsupported_or_absent(tmp_path, monkeypatch):
    """Three types, not one with flags: only a ready task has units and a model, the others have a reason."""
    from ffbench_eval import ForceField
    from ffbench_eval.run.plan import Absent, Ready, Unsupported, plan

    monkeypatch.setenv("FFBENCH_DATA", str(tmp_path / "empty"))
    (tmp_path / "three.yaml").write_text(
        "name: three\nversion: 1.0.0\ntasks:\n"
        "  here: {kind: accuracy, dataset: ethanol_gfn2, max_frames: 5}\n"
        "  no_model: {kind: accuracy, dataset: 'water:1k', max_frames: 5}\n"
        "  no_data: {kind: accuracy, dataset: 'three_bpa:300K', max_frames: 5}\n"
    )

    def energy(batch):
        return batch.positions.new_zeros(batch.n_systems).index_add(0, batch.system_index, batch.positions.sum(1))

    model = ForceField.from_energy(energy, cutoff=5.0)
    planned = plan({"ethanol_gfn2": model, "three_bpa": model}, load_suite(str(tmp_path / "three.yaml")))
    here, no_model, no_data = planned
    assert isinstance(here, Ready)
    assert here.units
    assert no_model == Unsupported(no_model.task, no_model.data, "no model for dataset water:1k")
    assert isinstance(no_data, Absent)
    assert "ffbench data build three_bpa" in no_data.why


@pytest.mark.parametrize("name", KINDS)
def test_the_work_of_every_kind_is_whole_and_hooks_are_listed(name):
    source = (ROOT / "ffbench_eval" / "kinds" / "base.py").read_text()
    assert set(re.findall(r'_hook\("(\w+)"\)', source)) == set(HOOKS)
    assert KINDS[name].module.run_unit


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("def calls(", "def call(", "has no calls; a kind needs Parameters, plan, calls, run_unit, score"),
        ("def score(", "def sampel_rows(data, model, count):\n    return []\n\n\ndef score(", "is sample_rows meant"),
        ("def score(", "def write_file(*about):\n    pass\n\n\ndef score(", "is write_files meant"),
    ],
)
def test_a_misspelt_hook_is_one_line(old, new, said, tmp_path):
    (tmp_path / "my_kind.py").write_text(MINE.replace(old, new))
    (tmp_path / "own.yaml").write_text(SUITE)
    with pytest.raises(ValueError, match=said) as error:
        load_suite(str(tmp_path / "own.yaml"))
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_declares_the_values_of_its_units(name):
    declared = KINDS[name].module.Values
    assert {"status", "detail", "force_calls"} <= declared.__required_keys__ | declared.__optional_keys__


IMPORT = "from ffbench_eval.kinds import Kind, MetricSpec\n"
DECLARED = "class Values(UnitValues, total=False):\n    energies: list[float]\n\n\ndef run_unit("
TYPED = MINE.replace("def run_unit(", DECLARED)
TYPED = TYPED.replace(IMPORT, f"{IMPORT}from ffbench_eval.kinds.base import UnitValues\n")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            '"energies": found}',
            '"energy": found}',
            "'energy' is not in ffbench_kind_typed_kind.Values; is energies meant?",
        ),
        ('"energies": found}', '"energies": ["low"]}', "energies.0: Input should be a valid number"),
        ('{"status": ["ok"] * len(found), "en', '{"en', "status: Field required"),
    ],
)
def test_a_value_of_another_name_or_type_is_one_line(old, new, said, tmp_path):
    assert old in TYPED
    (tmp_path / "typed_kind.py").write_text(TYPED.replace(old, new))
    (tmp_path / "own.yaml").write_text(SUITE.replace("my_kind", "typed_kind"))
    report = evaluate("reference_models:zero", str(tmp_path / "own.yaml"), out=tmp_path / "run", quiet=True)
    task = report.tasks["pairs"]
    assert set(task.statuses) == {"harness_error"}
    assert f"kind 'pairs': values of a unit: {said}" in " ".join(task.units[0].detail).replace("\n", " ")


def test_a_value_that_reads_back_otherwise_is_said_before_it_is_scored(tmp_path):
    from ffbench_eval.kinds import kind_of

    speed = kind_of("speed")
    assert speed.checked({"status": ["ok"], "step_s": 0.1}) == {"status": ["ok"], "step_s": 0.1}
    with pytest.raises(ValueError, match=r"kind 'speed': values of a unit: step_s: .*valid number.*got fast"):
        speed.checked({"status": ["ok"], "step_s": "fast"})
    with pytest.raises(ValueError, match=r"'steps_s' is not in ffbench_eval\.kinds\.speed\.work\.Values; is step"):
        speed.checked({"status": ["ok"], "steps_s": 0.1})


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("{kind: relative_energy, dataset: ethanol_gfn2}", "dataset ethanol_gfn2 has no reactions; take a config of"),
        (
            "{kind: experiment, dataset: ethanol_gfn2, ensemble: langevin, temperature_K: 300, time_step_fs: 1,"
            " length_ps: 1, save_every_fs: 10, replicas: 1}",
            "dataset ethanol_gfn2 is no periodic water",
        ),
        ("{kind: diatomics, dataset: ethanol_gfn2}", "frames are no bond scans"),
    ],
)
def test_data_without_what_a_kind_measures_is_said_before_anything_runs(row, said, tmp_path):
    (tmp_path / "own.yaml").write_text(f"name: own\nversion: 1.0.0\ntasks:\n  a: {row}\n")
    with pytest.raises(ValueError, match=f"task 'a' of suite own: {said}") as error:
        evaluate("reference_models:zero", str(tmp_path / "own.yaml"), out=tmp_path / "run", quiet=True)
    assert len(str(error.value).splitlines()) == 1


def test_only_the_guard_knows_where_the_model_is():
    """A kind asks `bare`, nobody else digs a model out of a function."""
    places = {p.parent.name for p in (ROOT / "ffbench_eval").rglob("*.py") if "__wrapped__" in p.read_text()}
    assert places == {"models"}
