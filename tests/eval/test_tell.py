"""What a suite asks is said without a model: counts that follow from the task's own numbers."""

import subprocess
import sys

from ffbench_eval.run.tell import Cost, tell
from ffbench_eval.suite import load_suite
from tests.conftest import ROOT


def test_costs_are_replicas_times_steps_and_frames():
    told = {one.task.name: one for one in tell(load_suite("mini"))}
    assert told["ethanol_md"].cost == Cost(structures=5 * 20_000, atoms=9, calls=20_000)  # 5 x 10 ps in steps of 0.5 fs
    assert told["water_md"].cost == Cost(2 * 2000, 192, 2000)
    assert told["ethanol_accuracy"].cost.structures == 1000
    assert told["water_accuracy"].data == "water:1k, test"


def test_data_that_are_not_here_are_said_with_the_command_to_get_them(monkeypatch, tmp_path):
    monkeypatch.setenv("FFBENCH_DATA", str(tmp_path))
    told = tell(load_suite("bsct"))
    assert [one.cost for one in told] == [None]
    assert "ffbench data build bsct_spice" in told[0].missing


def test_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "ffbench_eval", "suite", "mini"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "cost: 100 000 structures of 9 atoms in 20 000 calls" in done.stdout
    assert done.stdout.count("asks: molecular_dynamics.") == 1
    assert done.stdout.count("asks: molecular_dynamics") == 4
