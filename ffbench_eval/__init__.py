"""The reference evaluator: run a model through the tasks of a suite and write one report.

>>> from ffbench_eval import evaluate, ForceField  # doctest: +SKIP
"""

import importlib

_WHERE = {
    "evaluate": ".run.evaluation",
    "Report": ".report",
    "from_ase": ".models.ase",
    "from_torchsim": ".models.torchsim",
    "write_hills": ".engine.plumed",
    "AtomsBatch": "ffbench_data.contract",
    "Prediction": "ffbench_data.contract",
    "ForceField": "ffbench_data.contract",
    "read_hills": ".engine.plumed",
    "load_suite": ".suite",
    "list_suites": ".suite",
    "suite_for": ".own.suite",
}
__all__ = list(_WHERE)


def __getattr__(name: str):
    if name not in _WHERE:
        raise AttributeError(f"module 'ffbench_eval' has no attribute {name!r}")
    where = _WHERE[name]
    value = getattr(importlib.import_module(where, __name__), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted(__all__)
