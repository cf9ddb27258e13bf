"""Arguments that cannot be right are one line at the door, before any work."""

import subprocess
import sys

import pytest
import torch

import reference_models
from ffbench_eval import evaluate
from ffbench_eval.callbacks import SmoothnessMonitor
from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"seed": -1}, "seed: -1 must be a whole number from 0"),
        ({"seed": "a"}, "seed: 'a' must be a whole number"),
        ({"seed": 2**64}, "seed: 18446744073709551616 must be"),
        ({"seed": 1.5}, "seed: 1.5 must be"),
        ({"workers": -1}, "workers: -1 must be a whole number"),
        ({"workers": True}, "workers: True must be"),
        ({"device": "gpu"}, "device: 'gpu' must be cpu, cuda or cuda:0"),
        ({"device": "cuda:99"}, "device: 'cuda:99': this machine has"),
        ({"compile": "maybe"}, "compile: 'maybe' must be one of auto, off, require"),
        ({"tasks": "ethanol_accurac"}, "did you mean 'ethanol_accuracy'"),
        ({"tasks": [3]}, "tasks: 3 is no name of a task"),
    ],
)
def test_a_wrong_argument_is_told_at_the_door(tmp_path, arguments, said):
    with pytest.raises(ValueError, match=r"\w") as told:
        evaluate("reference_models:schnet", "mini", out=tmp_path / "run", quiet=True, **arguments)
    assert said in str(told.value)
    assert "\n" not in str(told.value)
    assert not (tmp_path / "run").exists()


def test_a_task_may_be_named_by_a_plain_string(tmp_path):
    report = evaluate("reference_models:schnet", "mini", tasks="ethanol_accuracy", out=tmp_path / "run", quiet=True)
    assert list(report.tasks) == ["ethanol_accuracy"]


def test_workers_without_a_guard_are_told_so_in_few_lines(tmp_path):
    pytest.importorskip("distributed")
    script = tmp_path / "script.py"
    script.write_text(
        "from ffbench_eval import evaluate\n"
        "evaluate('reference_models:schnet', 'mini', tasks='ethanol_accuracy', out='run', quiet=True, workers=2)\n"
    )
    env = {**__import__("os").environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, script], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode
    assert done.stderr.splitlines()[-1].startswith("ValueError: workers: the worker processes did not start")
    assert "if __name__ == '__main__':" in done.stderr.splitlines()[-1]
    assert "in use by another process" not in done.stderr
    assert len(done.stderr.splitlines()) < 30


def test_the_monitor_measures_in_eval_mode_whatever_wraps_the_network():
    """A network that is all dropout in train mode; parts of it may be frozen, and stay so."""
    model = reference_models.load("schnet@ethanol_gfn2")
    network, seen = model.fn, []
    parts = list(network.modules())

    class Watched(torch.nn.Module):
        def forward(self, x):
            seen.append(self.training)
            return torch.nn.functional.dropout(x, 0.5, self.training)

    watched = torch.nn.Sequential(Watched())

    def wrap(net):
        from dataclasses import replace

        def fn(batch):
            out = net(batch)
            return {"energy": watched(out.energy.detach()), "forces": out.forces.detach()}

        return replace(model, fn=fn)

    network.train()
    parts[2].eval()
    modes = [part.training for part in (*parts, *watched.modules())]
    monitor = SmoothnessMonitor("ethanol_gfn2:bond_scans", count=2, wrap=wrap)
    first, again = monitor(0, network), monitor(1, network)
    assert set(seen) == {False}
    assert first == again
    assert [part.training for part in (*parts, *watched.modules())] == modes
    network.eval()


def test_names_that_the_list_of_models_prints_are_specs(tmp_path):
    from ffbench_eval.models.resolve import as_spec
    from reference_models import list_models
    from reference_models.providers import published

    names = [*list_models(), *published(), "painn"]
    assert len(names) > 20
    assert [as_spec(name) for name in names] == [f"reference_models:{name}" for name in names]
    for other in ("my_model.py:load", "package.module:factory", "reference_models:painn", "nothing_of_ours"):
        assert as_spec(other) == other


def test_a_fault_of_a_task_names_the_task(tmp_path):
    suite = tmp_path / "own.yaml"
    suite.write_text("name: own\nversion: 1\ntasks:\n  my_scans: {kind: bsct, dataset: ethanol_gfn2}\n")
    with pytest.raises(ValueError, match="task 'my_scans' of suite own: frames are no bond scans"):
        evaluate("painn@ethanol_gfn2", suite, out=tmp_path / "run", quiet=True)


def test_every_missing_parameter_of_a_row_is_said_at_once(tmp_path):
    suite = tmp_path / "own.yaml"
    suite.write_text("name: own\nversion: 1\ntasks:\n  md: {kind: molecular_dynamics, dataset: ethanol_gfn2}\n")
    with pytest.raises(ValueError, match=r"line 4: task 'md': ensemble: Field required; .*length_ps: Field required"):
        evaluate("painn@ethanol_gfn2", suite, out=tmp_path / "run", quiet=True)
