"""What a GPU changes in the promises: the option that asks for the same sums, and what a report says about it."""

import json

import pytest
import torch

from ffbench_eval.engine.determinism import ask_for_determinism, deterministic
from ffbench_eval.report import Environment
from ffbench_eval.run.environment import environment


def test_the_same_sums_are_asked_for_on_a_gpu_only_and_no_longer_than_wanted(monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    for wanted, device, asked in ((True, "cuda", True), (True, "cpu", False), (False, "cuda", False)):
        with deterministic(wanted, device):
            assert torch.are_deterministic_algorithms_enabled() is asked
        assert not torch.are_deterministic_algorithms_enabled()


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
