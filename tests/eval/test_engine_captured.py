"""What a captured step may not do, found without a GPU; what cannot be tried without one is in benchmarks/on_gpu.py."""

import pytest
import torch

from ffbench_eval.engine import captured
from ffbench_eval.engine.captured import DeviceInDoubt, capturable, capture, waits
from ffbench_eval.engine.compiled import NotCompilable, trace

X, K = torch.rand(6, 3), torch.tensor([0, 1, 1, 2, 0, 2])


@pytest.mark.parametrize(
    ("function", "what"),
    [
        (lambda x, k: (x * torch.tensor(2.0),), "a constant made in the step"),
        (lambda x, k: (x.index_put((k > 0,), torch.zeros(3)),), "a mask as an index"),
    ],
    ids=["constant", "mask"],
)
def test_what_would_wait_is_named_before_a_capture(function, what):
    with pytest.raises(NotCompilable, match=what):
        capturable(function, [X, K])


def test_what_waits_for_a_number_is_named():
    from torch.fx.experimental.proxy_tensor import make_fx

    def function(x, k):
        return torch.bincount(k), x[k > 0], k.repeat_interleave(k)

    assert {"bincount", "repeat_interleave"} <= set(waits(make_fx(function)(X, K)))


def test_what_does_not_wait_is_let_through():
    def function(x, k):
        there = torch.where(x > 0.5, x, 0.0)
        return (there.new_zeros(3, 3).index_add(0, k, there), there.cumsum(0), x[k])

    assert waits(trace(function, [X, K])) == []


def test_after_a_failed_capture_the_process_captures_no_more(monkeypatch):
    monkeypatch.setattr(captured, "_doubt", ["operation not permitted when stream is capturing"])
    with pytest.raises(DeviceInDoubt, match=r"an earlier capture failed \(operation not permitted"):
        capture(lambda x: (x,), [X])


def test_without_a_gpu_there_is_none_and_nothing_is_in_doubt():
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(NotCompilable, match="no CUDA graph"):
        capture(lambda x: (x,), [X])
    assert captured._doubt == []
