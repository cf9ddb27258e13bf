"""Units side by side: who is free takes the next one."""

import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from ffbench_eval.run import cost, parallel, plan

distributed = pytest.importorskip("distributed")

SHORT = 5


@dataclass(frozen=True)
class Unit:
    address: str

    def folder(self, run):
        return run / self.address


def work(unit, model, run, compile, deterministic):
    """A short unit leaves its mark; the long one ends when all marks are there, and says whether they came."""
    if unit.address != "long":
        (Path(run) / unit.address).touch()
        return True
    for _ in range(600):
        if len(list(Path(run).iterdir())) == SHORT:
            return True
        time.sleep(0.1)
    return False


def test_no_unit_waits_behind_a_long_one(tmp_path, monkeypatch):
    """Units that Dask has dealt to a busy worker may stay there while the other one has nothing left to do."""
    submit, given, most = distributed.Client.submit, [], []

    def counted(*arguments, **options):
        given.append(submit(*arguments, **options))
        most.append(sum(not future.done() for future in given))
        return given[-1]

    monkeypatch.setattr(distributed.Client, "submit", counted)
    monkeypatch.setattr(parallel, "_work", work)
    units = [Unit("long"), *(Unit(f"short{k}") for k in range(SHORT))]
    planned = SimpleNamespace(longest=1.0, model=None)
    bars = SimpleNamespace(update=lambda *_: None)
    results = {}

    def note(planned, unit, result):
        results[unit.address] = result

    parallel.run_side_by_side([(planned, unit) for unit in units], tmp_path, 2, "off", bars, note)
    assert results == {unit.address: True for unit in units}
    assert max(most) == 2


def test_the_estimate_knows_that_units_of_a_task_run_side_by_side(tmp_path, capsys):
    scans = plan.Ready(SimpleNamespace(title="scans"), None, None, [None] * 10, seconds=3600, longest=360)
    cost.announce([scans], tmp_path, workers=2)
    assert "about 30 min on this machine" in capsys.readouterr().err
    cost.announce([scans], tmp_path, workers=0)
    assert "about 60 min on this machine" in capsys.readouterr().err
    scans.longest = 3000
    cost.announce([scans], tmp_path, workers=2)
    assert "about 50 min on this machine" in capsys.readouterr().err
