"""What a step launches on a GPU stays within the budget; counted where there is none."""

import importlib.util
import json
import sys

import pytest
import yaml

from tests.conftest import ROOT

BUDGET = yaml.safe_load((ROOT / "benchmarks" / "launches.yaml").read_text())
COUNTED = json.loads((ROOT / "benchmarks" / "results" / "launches.json").read_text())


@pytest.fixture
def launches(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import launches

    yield launches
    for name in ("launches", "engine"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("case", ["schnet/aspirin/5/nose_hoover", "schnet/alanine/6/langevin"])
def test_a_step_as_it_is_traced_keeps_the_budget_and_waits_for_nothing(launches, case):
    """Before fusing, which needs minutes; the fused count follows from the same graph."""
    graph, _ = launches.traced(case)
    assert launches.unfused(graph) <= BUDGET[case]["unfused"]
    assert launches.waits(graph) == []


@pytest.mark.parametrize("case", BUDGET)
def test_what_was_counted_keeps_the_budget(case):
    assert COUNTED[case]["unfused"] <= BUDGET[case]["unfused"]
    assert COUNTED[case]["fused"] <= BUDGET[case]["fused"]
    assert COUNTED[case]["waits"] == []


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs the package triton")
@pytest.mark.parametrize("case", BUDGET)
def test_a_fused_step_keeps_the_budget(launches, case):
    """A minute a case."""
    assert launches.count(case)["fused"] <= BUDGET[case]["fused"]
