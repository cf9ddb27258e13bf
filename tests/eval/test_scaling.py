"""What a suite takes on many workers, against orders that can be worked out by hand or tried one by one."""

import itertools
import random
from types import SimpleNamespace

import pytest

from ffbench_eval.run.scaling import OVERHEAD_S, bound, parse, table, wall


def best(costs, workers):
    """The shortest of all assignments, tried one by one."""
    return min(
        max(sum(c for c, w in zip(costs, chosen) if w == k) for k in range(workers))
        for chosen in itertools.product(range(workers), repeat=len(costs))
    )


def test_longest_first_is_within_its_bound_of_the_best_order_and_never_under_it():
    rng = random.Random(0)
    for _ in range(40):
        costs, workers = [rng.uniform(0.1, 5) for _ in range(6)], rng.choice((2, 3))
        found = wall(costs, workers, overhead=0.0)
        assert best(costs, workers) - 1e-12 <= found <= best(costs, workers) * (4 / 3 - 1 / (3 * workers)) + 1e-12


def test_equal_units_fill_whole_rounds_and_every_unit_costs_its_overhead():
    assert wall([2.0] * 10, 3, overhead=0.5) == pytest.approx(4 * 2.5)
    assert wall([2.0] * 10, 1000, overhead=0.5) == 2.5
    assert wall([], 5) == 0.0
    rows = table([1.0] * 1000, 1000)
    assert [r.workers for r in rows] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000]
    assert rows[-1].efficiency == pytest.approx(1 / (1 + OVERHEAD_S))


def test_the_longest_unit_bounds_it():
    tasks = [
        SimpleNamespace(task=SimpleNamespace(name="md"), costs={"a": 100.0}),
        SimpleNamespace(task=SimpleNamespace(name="errors"), costs={f"e{k}": 10.0 for k in range(20)}),
    ]
    costs = {a: s for p in tasks for a, s in p.costs.items()}
    assert bound(tasks, costs) == ("md", 100.0, 3)  # 100, and 20 x 10 on two others


def test_machines_are_a_number_or_one_with_gpus():
    assert (parse("8"), parse("4x8"), parse(" 1 ")) == (8, 32, 1)
    for wrong in ("0", "8x", "x8", "-1", "8x0", "many", "999999999"):
        with pytest.raises(ValueError, match="NxGPU"):
            parse(wrong)
