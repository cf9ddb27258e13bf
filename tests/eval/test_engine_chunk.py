"""The static step and chunks of it against the per-step engine."""

import dataclasses

import numpy as np
import pytest
import torch

from ffbench_eval.engine.bias import MetadynamicsRule, Restraint
from ffbench_eval.engine.captured import capturable
from ffbench_eval.engine.chunk import CapturedSteps, Steps
from ffbench_eval.engine.lists import AllPairs, NearestImages, SkinList, lists_for
from ffbench_eval.engine.protocol import Protocol
from ffbench_eval.engine.run import Run
from ffbench_eval.engine.watch import new_watch
from tests.eval.engine_systems import cluster, crystal, morse

SHORT = (0.1, 5.0)
BIAS = {
    "metadynamics": MetadynamicsRule(((0, 1, 2, 3),), 0.01, (0.3, 0.2), 6.0, 10, distances=((0, 4),)),
    "restraints": (Restraint((0, 1), 1.2, 2.0), Restraint((0, 1, 2, 4), 0.5, 0.1, "upper")),
}


def itself(function, arguments):
    return function


def places(function, arguments):
    """In place of a CUDA graph: the same places in memory at every call."""
    held = [value.clone() for value in arguments]

    def call(*values):
        for place, value in zip(held, values, strict=True):
            assert (place.shape, place.dtype) == (value.shape, value.dtype)
            place.copy_(value)
        return tuple(result.clone() for result in function(*held))

    return call


def sheared(replicas=2):
    """The crystal in a skewed cell."""
    start = crystal(replicas)
    bend = np.eye(3) + np.array([[0, 0, 0], [0.3, 0, 0], [0.2, -0.25, 0]])
    return dataclasses.replace(start, positions=start.positions @ bend, cell=start.cell @ bend)


def slab(replicas=2):
    start = crystal(replicas)
    return dataclasses.replace(start, cell=np.diag([*np.diag(start.cell)[:2], 0.0]), pbc=np.array([True, True, False]))


NEAR = dataclasses.replace(morse(), cutoff=1.5)
CASES = {
    **{name: (morse(), cluster(), Protocol(name, 300.0, 1.0, *SHORT))
       for name in ("nve", "nose_hoover", "nose_hoover_single", "nose_hoover_mdsim", "bussi", "langevin")},
    "per replica": (morse(), cluster(), Protocol("langevin", (100.0, 200.0, 300.0), (0.5, 1.0, 1.5), *SHORT)),
    "bias": (morse(), cluster(), Protocol("langevin", 300.0, 1.0, *SHORT, **BIAS)),
    "skin": (morse(), crystal(), Protocol("nose_hoover", 300.0, 1.0, *SHORT)),
    "image": (NEAR, crystal(), Protocol("nose_hoover", 300.0, 1.0, *SHORT)),
    "sheared": (NEAR, sheared(), Protocol("langevin", 300.0, 1.0, *SHORT)),
    "slab": (NEAR, slab(), Protocol("nve", 300.0, 1.0, *SHORT)),
    "slab with a skin": (morse(), slab(), Protocol("nve", 300.0, 1.0, *SHORT)),
}  # fmt: skip


def chunks(run, make, capture, n, places=None):
    lists = lists_for(run.model_forces, [torch.as_tensor(run.start.positions)], places)
    return CapturedSteps(run, lists, make, capture, n) if capture else Steps(run, lists, make)


def both(model, start, protocol, make, capture, n, count, seed=3, places=None):
    """(largest |dx| over all steps, the chunked form) of a chunked run beside the per-step engine."""
    slow, fast = Run(model, start, protocol, seed), Run(model, start, protocol, seed)
    form = chunks(fast, make, capture, n, places)
    state, watch = fast.first_state(), new_watch(len(start.positions))
    fast.model_forces.calls = 0
    eager, eager_watch = slow.first_state(), new_watch(len(start.positions))
    every = protocol.metadynamics.every if protocol.metadynamics else 10
    kept, expected = [], []
    for first in range(0, count, every):
        state, watch = form.advance(state, watch, first, every, lambda step, made: kept.append((step, made())))
        for step in range(first, first + every):
            eager, eager_watch = slow.advance(eager, eager_watch, step)
            expected.append(eager)
        if protocol.metadynamics:
            fast.hills.deposit(state.positions, fast.system.kt, watch.alive)
            slow.hills.deposit(eager.positions, slow.system.kt, eager_watch.alive)
    assert [step for step, _ in kept] == list(range(1, count + 1))
    assert fast.model_forces.calls == count
    worst = 0.0
    for (_, a), b in zip(kept, expected, strict=True):
        for name in ("positions", "velocities", "energy"):
            worst = max(worst, float((getattr(a, name) - getattr(b, name)).abs().max()))
    for name in state._fields:
        worst = max(worst, float((getattr(state, name) - getattr(eager, name)).abs().sum()))
    for a, b in zip(watch, eager_watch, strict=True):
        assert torch.equal(a, b)
    return worst, form


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(
    ("make", "capture", "n"), [(capturable, None, 1), (itself, places, 7)], ids=["one traced step", "seven at a time"]
)
def test_steps_of_fixed_shapes_are_the_per_step_engines(name, make, capture, n):
    worst, form = both(*CASES[name], make, capture, n, 30)
    assert worst < 1e-11
    kinds = {"image": NearestImages, "sheared": NearestImages, "slab": NearestImages}
    kinds |= {"skin": SkinList, "slab with a skin": SkinList}
    assert type(form.lists) is kinds.get(name, AllPairs)


HOT = Protocol("nve", 4000.0, 4.0, 1.0, 50.0)


@pytest.mark.parametrize(
    ("model", "protocol", "short", "flag"),
    [
        (morse(), HOT, {}, 0),
        (morse(), dataclasses.replace(HOT, ensemble="langevin"), {"edges": 1500}, 1),
        (NEAR, HOT, {"edges": 150}, 1),
    ],
    ids=["too old", "too long", "too long, nearest images"],
)
@pytest.mark.parametrize(("capture", "n"), [(None, 1), (places, 5)], ids=["one step", "five at a time"])
def test_a_chunk_with_a_list_that_does_not_do_never_was(model, protocol, short, flag, capture, n):
    worst, form = both(model, crystal(1), protocol, itself, capture, n, 30, places=short)
    assert form.gone_back[flag] > 0
    assert worst < 1e-9
    assert form.places["edges"] > short.get("edges", 0)
