"""The same tests with other random numbers: one that holds for one seed only was tuned, or checks a stored number.

    FFBENCH_TEST_SEEDS=20 pytest -p tests.other_seeds tests/metrics

Runs every test that draws random numbers so many times more, each time with every seed that it or the code gives to
numpy's and torch's generators mixed with another number. Tests that draw none run once; those of hypothesis are left
out, they draw for themselves.
"""

import os

import numpy as np
import pytest
import torch

SEEDS = int(os.environ.get("FFBENCH_TEST_SEEDS", 0))
default_rng, Philox, SeedSequence = np.random.default_rng, np.random.Philox, np.random.SeedSequence
manual_seed, Generator = torch.manual_seed, torch.Generator
now = {"shift": 0, "drawn": False}
without: set[str] = set()  # tests that draw nothing


def shift() -> int:
    now["drawn"] = True
    return now["shift"]


def mixed(seed) -> list[int]:
    return [shift(), *np.atleast_1d(seed).astype(np.uint64).tolist()]


def other_rng(seed=None):
    whole = isinstance(seed, int | np.integer | list | tuple | np.ndarray)
    return default_rng(mixed(seed) if whole else seed)


def other_philox(seed=None, counter=None, key=None):
    if key is not None:
        key = np.array(key, np.uint64)
        key[0] += np.uint64(shift() << 32)
    return Philox(seed, counter=counter, key=key)


class OtherGenerator(Generator):
    def manual_seed(self, seed):
        return super().manual_seed(int(seed) + shift() * 1_000_003)


if SEEDS:
    np.random.default_rng, np.random.Philox = other_rng, other_philox
    np.random.SeedSequence = lambda entropy=None, **more: SeedSequence(
        entropy if entropy is None else mixed(entropy), **more
    )
    torch.manual_seed = lambda seed: manual_seed(int(seed) + shift() * 1_000_003)
    torch.Generator = OtherGenerator


@pytest.fixture(autouse=True)
def other_seed(request):
    name = request.node.nodeid.split("[")[0] + str(
        {k: str(v) for k, v in request.node.callspec.params.items() if k != "other_seed"}
    )
    if name in without:
        pytest.skip("draws nothing")
    now.update(shift=request.param, drawn=False)
    yield
    now["shift"] = 0
    if not now["drawn"]:
        without.add(name)


def pytest_generate_tests(metafunc):
    if "other_seed" in metafunc.fixturenames:
        metafunc.parametrize("other_seed", range(1, SEEDS + 1), indirect=True)


def pytest_collection_modifyitems(items):
    items[:] = [item for item in items if not hasattr(getattr(item, "function", None), "hypothesis")]
