"""Every example in a docstring of the metric library is run."""

import doctest
import importlib
import pkgutil

import numpy as np
import pytest

import ffbench_metrics

MODULES = sorted(m.name for m in pkgutil.iter_modules(ffbench_metrics.__path__))
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_the_module_run(name):
    module = importlib.import_module(f"ffbench_metrics.{name}")
    result = doctest.testmod(module, extraglobs={"np": np}, optionflags=FLAGS)
    assert result.failed == 0


def test_every_public_function_has_an_example():
    public = [v for k, v in vars(ffbench_metrics).items() if callable(v) and k[0].islower()]
    assert [f.__name__ for f in public if ">>>" not in (f.__doc__ or "")] == []
