"""Task kinds: one module each with ``Parameters``, ``plan``, ``run_unit`` and ``score``; `KINDS` is the registry.

- ``Parameters``: the pydantic model of the task's YAML row.
- ``plan(task, seed) -> list[dict]``: the inputs of each unit, plain JSON values.
- ``calls(task, inputs) -> (atoms, systems, model calls)``: what a unit costs, for the estimate.
- ``run_unit(task, inputs, model, folder, progress) -> dict``: do the work; plain JSON plus files in ``folder``.
- ``score(task, results) -> (metrics, curves)``: pure, from the finished units.
"""

from types import ModuleType

from . import accuracy, bsct, molecular_dynamics

KINDS: dict[str, ModuleType] = {
    "accuracy": accuracy,
    "molecular_dynamics": molecular_dynamics,
    "bsct": bsct,
}
