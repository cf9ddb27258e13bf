"""A model that kills its process, or never answers, costs its unit one state; the rest of the run goes on."""

import os
import pickle
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

import reference_models
from ffbench_data import collate, load_frames
from ffbench_eval import evaluate, load_suite
from ffbench_eval.engine.trajectory import read_trajectories
from ffbench_eval.kinds.asking import in_double
from ffbench_eval.models import isolated as isolated_module
from ffbench_eval.models.embedding import bare, members_of, with_embedding
from ffbench_eval.models.guard import guarded
from ffbench_eval.models.isolated import LIMIT, ProcessLost, isolated, provider_of
from ffbench_eval.models.resolve import card, resolve
from ffbench_eval.run import parallel
from ffbench_eval.run.data import load_task_data
from ffbench_eval.run.execute import run_unit
from ffbench_eval.run.first_answer import look, stated
from ffbench_eval.run.units import make_unit
from reference_models.providers import providers, published
from tests.conftest import ROOT
from tests.eval.test_evaluate import TINY

PAIR = 2  # systems in the batches of the MD unit of TINY, and of no other unit
MODEL = """
import os, sys, time, torch
import multiprocessing
from ffbench_eval import ForceField

def energy(batch):
    if batch.n_systems == {pair}:
        {trouble}
    d = batch.edge_vectors().norm(dim=-1)
    owner = batch.system_index[batch.edge_index[0]]
    return d.new_zeros(batch.n_systems).index_add(0, owner, 0.1 * (d - 2.0) ** 2)

def load():
    {loading}
    return ForceField.from_energy(energy, cutoff=8.0, card={{"name": "stand-in", "theory": "none"}})
"""


@pytest.fixture
def suite(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return path


def spec(tmp_path, trouble="pass", loading="pass"):
    path = tmp_path / "standin.py"
    path.write_text(MODEL.format(pair=PAIR, trouble=trouble, loading=loading))
    return f"{path}:load"


def test_a_provider_that_kills_its_process_costs_one_unit(tmp_path, suite):
    trouble = "print('the arena is corrupt', file=sys.stderr, flush=True); os._exit(3)"
    report = evaluate(spec(tmp_path, trouble), suite, out=tmp_path / "run", quiet=True, isolate=True)
    broken = report.tasks["dynamics"]
    assert broken.statuses == {"model_error": 2}
    assert "its process died in a call (exit code 3); it said: the arena is corrupt" in broken.units[0].detail[0]
    assert report.tasks["errors"].statuses == {"ok": 2}  # 60 frames, and 100 to align on
    assert report.tasks["errors"].metrics["force_mae"].value > 0
    assert report.model.name == "stand-in"


def test_a_unit_runs_in_the_process_of_its_model_and_gives_what_it_gives_here(tmp_path, suite, monkeypatch):
    """Not one call a step from here; and the engine there can look into the model, so that it may compile it."""
    asked = []
    call = isolated_module.Remote.__call__
    monkeypatch.setattr(
        isolated_module.Remote, "__call__", lambda self, batch: asked.append(batch.n_systems) or call(self, batch)
    )
    there = evaluate(spec(tmp_path), suite, out=tmp_path / "there", quiet=True, isolate=True, tasks=["dynamics"])
    here = evaluate(spec(tmp_path), suite, out=tmp_path / "here", quiet=True, isolate=False, tasks=["dynamics"])
    one, other = there.tasks["dynamics"].units[0], here.tasks["dynamics"].units[0]
    assert (one.status, one.force_calls) == (other.status, other.force_calls)
    assert asked.count(PAIR) < 6 < 10 < one.force_calls  # what the cost was estimated from
    assert "cannot be traced" not in one.mode_note
    a, b = (read_trajectories(next((tmp_path / name).glob("units/dynamics-*"))) for name in ("there", "here"))
    for x, y in zip(a, b, strict=True):
        np.testing.assert_array_equal(x.positions, y.positions)


def test_a_unit_whose_call_never_ends_is_ended_at_the_limit(tmp_path, suite, monkeypatch):
    """Also where the process beats on: a call that hangs gives no sign of life."""
    trouble = "energy.n = getattr(energy, 'n', 0) + 1; time.sleep(1e9 if energy.n > 20 else 0)"
    model = isolated(spec(tmp_path, trouble))
    task = load_suite(suite, tasks=["dynamics"]).tasks[0]
    unit = make_unit(task, {"replicas": [0, 1]}, seed=0, model="m", data="d")
    monkeypatch.setenv(LIMIT, "3")
    result = run_unit(unit, load_task_data(task), model, tmp_path / "run", compile="off")
    assert result.status == ["model_error"] * 2
    assert "gave no answer within 3 s in a call and was ended" in result.detail[0]


def test_a_call_that_never_ends_is_ended_at_the_limit_and_the_next_one_answers(tmp_path, monkeypatch):
    model = isolated(spec(tmp_path, "time.sleep(600)"))
    frames = load_frames("ethanol_gfn2", split="test")
    assert model(collate(frames, indices=[0])).energy.shape == (1,)
    before = model.fn.child.process
    with monkeypatch.context() as patch:
        patch.setenv(LIMIT, "1.5")
        with pytest.raises(ProcessLost, match=rf"no answer within 1.5 s in a call .* set {LIMIT}"):
            model(collate(frames, indices=range(PAIR)))
    assert before.poll() is not None
    assert model(collate(frames, indices=[0])).energy.shape == (1,)


def test_a_process_that_does_not_start_again_is_waited_for_once(tmp_path, monkeypatch):
    """Frames are asked one by one after a failure: each would wait for the limit."""
    once = str(tmp_path / "once")
    loading = f"time.sleep(600) if os.path.exists({once!r}) else open({once!r}, 'w').close()"
    model = isolated(spec(tmp_path, "os._exit(3)", loading))
    frames = load_frames("ethanol_gfn2", split="test")
    with pytest.raises(ProcessLost, match="died in a call"):
        model(collate(frames, indices=range(PAIR)))
    monkeypatch.setenv(LIMIT, "4")
    begun = time.monotonic()
    for _ in range(20):
        with pytest.raises(ProcessLost, match="gave no answer within 4 s in loading"):
            model(collate(frames, indices=[0]))
    assert time.monotonic() - begun < 40


@pytest.mark.parametrize(
    ("loading", "message"),
    [
        ("os.abort()", r"its process died in loading \(SIGABRT\)"),
        ("import no_such_package", "no_such_package"),
    ],
)
def test_what_fails_while_it_loads_is_one_line(tmp_path, loading, message):
    with pytest.raises(ValueError, match=message) as told:
        isolated(spec(tmp_path, loading=loading))
    assert len(str(told.value).splitlines()) == 1


def test_what_cannot_be_isolated_and_a_wrong_limit_are_one_line(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="isolate: name the model by a spec"):
        resolve(reference_models.build("schnet"), isolate=True)
    monkeypatch.setenv(LIMIT, "soon")
    with pytest.raises(ValueError, match="FFBENCH_CALL_LIMIT_S='soon' must be a positive number of seconds"):
        isolated(spec(tmp_path))


def test_an_isolated_model_answers_as_one_in_this_process_and_keeps_its_identity():
    here, there = reference_models.load("painn@ethanol_gfn2"), isolated("reference_models:painn@ethanol_gfn2")
    batch = collate(load_frames("ethanol_gfn2", split="test"), indices=range(3))
    mine, theirs = here(batch), there(batch)
    for field in ("energy", "forces", "embedding"):
        torch.testing.assert_close(getattr(theirs, field), getattr(mine, field), rtol=0, atol=0)
    frames = load_frames("ethanol_gfn2", split="test")
    assert stated(there) == stated(here)
    assert look(there, frames, "").identity == look(here, frames, "").identity
    assert card(there) == card(here)
    sent = pickle.loads(pickle.dumps(there.fn))  # to a worker; here it finds the same process
    assert sent.child is there.fn.child
    process = sent.child.process
    assert process.poll() is None
    del there, sent
    assert process.wait(timeout=10) is not None  # it ends with the last model that needs it


def test_its_process_ends_with_the_one_that_asked(tmp_path):
    script = (
        "import sys, os, signal; from ffbench_eval.models.isolated import isolated; m = isolated(sys.argv[1]); "
        "print(m.fn.child.process.pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", script, spec(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    left = int(done.stdout)
    for _ in range(100):
        if not _alive(left):
            return
        time.sleep(0.1)
    raise AssertionError(f"process {left} is left over")


def _alive(pid):
    try:
        os.kill(pid, 0)
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def test_worker_processes_that_die_end_as_harness_error_and_the_rest_goes_on(tmp_path, suite, monkeypatch):
    trouble = "(multiprocessing.parent_process() is None) or os._exit(9)"  # only in a worker: this process goes on
    monkeypatch.setattr(parallel, "DEATHS", 2)
    report = evaluate(spec(tmp_path, trouble), suite, out=tmp_path / "run", quiet=True, workers=2)
    broken = report.tasks["dynamics"]
    assert broken.statuses == {"harness_error": 2}
    assert "the worker process died while it ran this unit, 2 times" in broken.units[0].detail[0]
    assert report.tasks["errors"].metrics["force_mae"].value > 0


def test_a_worker_loads_the_model_once_for_all_its_units(tmp_path, suite):
    loading = f"open({str(tmp_path / 'loads')!r}, 'a').write('.')"
    report = evaluate(spec(tmp_path, loading=loading), suite, out=tmp_path / "run", quiet=True, isolate=True, workers=2)
    assert sum(len(task.units) for task in report.tasks.values()) == 3
    assert (tmp_path / "loads").read_text() in ("..", "...")  # here, and in the one or two workers that had a unit


def test_packages_of_other_people_are_isolated_and_ours_are_not():
    assert provider_of("reference_models:mace@ethanol_gfn2").name == "mace"
    assert provider_of("reference_models:gemnet_dt").name == "xnns"
    for name, row in published().items():
        assert provider_of(f"reference_models:{name}").name == row.provider
    for ours in ("reference_models:painn", "reference_models:truth@water", "file.py:load", "reference_models:nothing"):
        assert provider_of(ours) is None


def test_a_published_model_is_not_imported_here():
    """The whole way of the command line, with a package that is installed."""
    ready = [n for n, row in published().items() if providers()[row.provider].installed]
    from reference_models.providers.ani import folder

    if "ani1x" not in ready or not (folder() / "Neurochem").exists():
        pytest.skip("ANI-1x is not on this machine: pip install 'ffbench[ani]' && ffbench models fetch ani1x")
    script = (
        "import sys; from ffbench_eval.models import resolve; from ffbench_data import collate, load_frames;"
        "model, _ = resolve('reference_models:ani1x');"
        "out = model(collate(load_frames('ethanol_gfn2', split='test'), indices=[0]));"
        "print(round(out.energy.item()), 'torchani' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["-4217", "False"]


ENSEMBLE = """
import torch
from ffbench_eval import ForceField

class Springs(torch.nn.Module):
    def __init__(self, k):
        super().__init__()
        self.k, self.body = torch.nn.Parameter(torch.tensor(k)), torch.nn.Identity()
    def forward(self, batch):
        i, j = batch.edge_index
        per_edge = self.k * (batch.edge_vectors().norm(dim=-1) - 1.5) ** 2
        per_atom = self.body(per_edge.new_zeros(len(batch.positions), 1).index_add(0, i, per_edge[:, None]))
        return per_atom.new_zeros(batch.n_systems).index_add(0, batch.system_index, per_atom[:, 0])

class Both(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.members = torch.nn.ModuleList([ForceField.from_energy(Springs(k), cutoff=8.0).fn for k in (0.1, 0.2)])
    def forward(self, batch):
        both = [m(batch) for m in self.members]
        return {name: (getattr(both[0], name) + getattr(both[1], name)) / 2 for name in ("energy", "forces")}

def load():
    card = {"name": "springs", "theory": "none", "embedding": "members.0.energy_fn.body"}
    return ForceField(Both(), cutoff=8.0, dtype=torch.float32, card=card)
"""


def found_inside(model, progress):
    """What kinds look for in a model: its members, itself in float64, an embedding."""
    model, frame = guarded(model), load_frames("ethanol_gfn2", split="test")[:1]
    fine, why = in_double(model, frame[0])
    inside = bare(model)
    embedding = with_embedding(inside)(collate(frame)).embedding
    return len(members_of(inside)), str(fine and fine.dtype), why, embedding.shape[1]


def test_a_kind_finds_the_same_in_a_model_that_runs_in_its_own_process(tmp_path):
    """Through every guard around it: published models came without members and in one precision only."""
    path = tmp_path / "springs.py"
    path.write_text(ENSEMBLE)
    here = found_inside(resolve(f"{path}:load", isolate=False)[0], None)
    there = isolated(f"{path}:load").fn.work(found_inside, progress=lambda _: None)
    assert there == here == (2, "torch.float64", "", 1)
