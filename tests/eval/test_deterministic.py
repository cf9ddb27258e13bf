"""What a GPU changes in the promises: the option that asks for the same sums, and what a report says about it."""

import json

import pytest
import torch

from ffbench_eval import evaluate
from ffbench_eval.engine.determinism import ask_for_determinism, deterministic
from ffbench_eval.report import Environment
from ffbench_eval.run.environment import environment


def test_the_same_sums_are_asked_for_on_a_gpu_only_and_no_longer_than_wanted(monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    for wanted, device, asked in ((True, "cuda", True), (True, "cpu", False), (False, "cuda", False)):
        with deterministic(wanted, device):
            assert torch.are_deterministic_algorithms_enabled() is asked
        assert not torch.are_deterministic_algorithms_enabled()


def test_another_number_of_threads_changes_rounding_alone(tmp_path):
    """Errors to 1e-4 of themselves: a float32 model's forces differ by a few times 1e-7 of their size."""
    (tmp_path / "one.yaml").write_text(
        "name: one\nversion: 1.0.0\ntasks:\n  errors: {kind: accuracy, dataset: ethanol_gfn2, max_frames: 60}\n"
    )
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 4):
            torch.set_num_threads(threads)
            report = evaluate(
                "reference_models:schnet@ethanol_gfn2", tmp_path / "one.yaml", out=tmp_path / str(threads), quiet=True
            )
            assert report.environment.threads == threads
            found.append({k: m.value for k, m in report.tasks["errors"].metrics.items() if "error" in k or "_mae" in k})
    finally:
        torch.set_num_threads(before)
    assert found[0]
    assert found[1] == pytest.approx(found[0], rel=1e-4)


def test_a_report_says_whether_a_rerun_is_the_same_and_an_older_one_says_nothing():
    here = environment("cpu")
    assert here.deterministic is True
    old = {k: v for k, v in json.loads(here.model_dump_json()).items() if k != "deterministic"}
    assert Environment.model_validate(old).deterministic is None
    assert json.loads(Environment.model_validate(old).model_dump_json()) == old  # its hash still fits


def test_what_is_so_already_is_not_asked_for(monkeypatch):
    """torch imports its whole compiler to be told: three seconds of every worker and every isolated model."""
    monkeypatch.setattr(torch, "use_deterministic_algorithms", lambda wanted: pytest.fail("asked"))
    ask_for_determinism(torch.are_deterministic_algorithms_enabled())
