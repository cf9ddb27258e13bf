"""Reports of bad but honest models are never refused: what a run gave passes `submit` and `check` as it is."""

import pytest

from ffbench_eval import evaluate
from leaderboard.check.check import check, errors
from leaderboard.check.lock import SuiteLock, write_lock
from leaderboard.entry.submit import make_entry, submit
from tests.conftest import ROOT
from tests.leaderboard.board import FIXTURE

TASKS = ["ethanol_accuracy", "ethanol_bond_scans", "ethanol_selective"]
RUNS = {"zero": TASKS, "sometimes_nan": TASKS, "huge": TASKS, "explodes": ["ethanol_md", "ethanol_nve", "water_md"]}


@pytest.mark.parametrize("name", RUNS)
def test_the_report_of_a_bad_model_is_taken_as_it_is(name, tmp_path):
    spec = f"{ROOT}/tests/leaderboard/bad_models.py:{name}"
    report = evaluate(spec, "mini", tasks=RUNS[name], out=tmp_path / "run", quiet=True, isolate=False)
    lock = SuiteLock.model_validate_json((FIXTURE / "mini-1.0.0.json").read_text())
    suites = tmp_path / "suites"
    suites.mkdir()
    write_lock(lock.model_copy(update={"version": report.suite_version}), suites)
    path, _ = submit(make_entry(tmp_path / "run", org="honest"), tmp_path / "entries")
    found = errors(check(path, entries=tmp_path / "entries", suites=suites))
    assert [f for f in found if ".version" not in f.path and f.path != "$.command"] == []
    assert any(m.value is not None for t in report.tasks.values() for m in t.metrics.values())
