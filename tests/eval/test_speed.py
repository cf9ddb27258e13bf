"""The numbers of a speed task, by hand."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ffbench_data.contract import ForceField, Prediction
from ffbench_eval.engine.cost import measure_speed
from ffbench_eval.kinds.speed import work
from tests.eval.dynamics_data import data, task

TASK = SimpleNamespace(parameters=SimpleNamespace(time_step_fs=0.5))


def timed(replicas, step_s, call_s, kernel_s):
    return SimpleNamespace(status=["ok"] * replicas, values={"step_s": step_s, "call_s": call_s, "kernel_s": kernel_s})


def test_batches_are_one_after_the_other():
    """4 replicas in 20 ms and 1 in 10 ms: 5 replica steps in 30 ms, of 0.5 fs each."""
    lost = SimpleNamespace(status=["model_error"] * 3, values={})
    metrics, curves = work.score(TASK, [timed(4, 0.02, 0.015, 0.004), lost, timed(1, 0.01, 0.005, 0.006)], None)
    found = {name: (m.value, m.unit, m.better) for name, m in metrics.items()}
    assert found == {
        "steps_per_second": (pytest.approx(5 / 0.03), "replica steps/s", "higher"),
        "ns_per_day": (pytest.approx(5 / 0.03 * 86400 * 0.5e-6), "ns/day", "higher"),
        "engine_over_call": (pytest.approx(1.5), "1", "lower"),
        "steps_per_kernel": (pytest.approx(5 / 0.03 * 0.005), "1", "higher"),
    }
    for m in metrics.values():
        assert (m.n, m.values, m.interval) == (1, [m.value], None)
    assert curves == {}


def test_nothing_that_ran_has_no_number():
    assert work.score(TASK, [SimpleNamespace(status=["model_error"], values={})], None) == ({}, {})


def test_a_unit_costs_no_force_calls_of_the_simulation(monkeypatch, tmp_path):
    measured = SimpleNamespace(call_s=1.0, step_s=2.0, kernel_s=3.0, steps_per_s=4.0, ns_per_day=5.0, mode="eager",
                               reason=("", "", ""))  # fmt: skip
    monkeypatch.setattr("ffbench_eval.engine.cost.measure_speed", lambda *a, **k: measured)
    monkeypatch.setattr(work.molecular_dynamics, "start", lambda *a: None)
    monkeypatch.setattr(work.molecular_dynamics, "protocol", lambda *a: None)
    out = work.run_unit(TASK, {"replicas": [0, 1, 2]}, None, None, tmp_path, None)
    assert out == {
        "status": ["ok"] * 3,
        "force_calls": 0,
        "mode": "eager",
        **{"call_s": 1.0, "step_s": 2.0, "kernel_s": 3.0, "steps_per_s": 4.0, "ns_per_day": 5.0},
    }


def test_steps_of_a_replica_that_stands_still_are_none(tmp_path):
    """A model whose answer is NaN after some calls: its replicas are frozen, and their steps cost little or nothing."""
    calls = []

    def fn(batch):
        calls.append(1)
        energy = batch.positions.new_zeros(batch.n_systems)
        return Prediction(energy + torch.nan if len(calls) > 60 else energy, torch.zeros_like(batch.positions))

    model = ForceField(fn, None, dtype=torch.float64)
    made = data(([18, 18], np.repeat([[[0.0, 0, 0], [0, 0, 4.0]]], 3, 0), None))
    row = {**task(replicas=2).parameters.model_dump(), "observables": []}
    wanted = SimpleNamespace(name="speed", dataset="argon", parameters=work.Parameters(**row))
    assert measure_speed(model, *_begun(wanted, made), rounds=1, compile="off").reason == ("", "")
    out = work.run_unit(wanted, {"replicas": [0, 1]}, made, model, tmp_path, lambda _: None, "off")
    assert out["status"] == ["model_error"] * 2
    assert "step_s" not in out
    assert out["detail"][1] == "replica 0: the model's energy is not finite"


def _begun(wanted, made):
    inputs = {"replicas": [0, 1]}
    return work.molecular_dynamics.start(inputs, made), work.molecular_dynamics.protocol(wanted, made, 0)
