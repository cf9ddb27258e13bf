"""Task kinds: one module each with ``Parameters``, ``plan``, ``run_unit`` and ``score``; `KINDS` is the registry.

- ``Parameters``: the pydantic model of the task's YAML row.
- ``plan(task, data, seed) -> list[dict]``: the inputs of each unit, plain JSON values.
- ``plan_for_model(task, model) -> list[dict]``, if there is one: more units that only some models need.
- ``calls(task, inputs, data, model) -> (systems per call, calls)``: what a unit costs, for the estimate.
- ``run_unit(task, inputs, data, model, folder, progress, compile) -> dict``: do the work; plain JSON plus files in
  ``folder``.
- ``after(task, data, model, folder, values) -> dict | None``, if there is one: a step behind the work, for which a
  package may be missing; a rerun makes up for it. ``lacks(task)`` says what is missing.
- ``other_frames(task) -> {name: frames}``, if there is one: frames of other data that the model is asked about.
- ``score(task, results, data) -> (metrics, curves)``: pure, from the finished units.
- ``headline(results) -> str``, if there is one: which of several rows of the score stands for the model.
"""

from types import ModuleType

from . import accuracy, bsct, molecular_dynamics, selective, speed

KINDS: dict[str, ModuleType] = {
    "accuracy": accuracy,
    "molecular_dynamics": molecular_dynamics,
    "bsct": bsct,
    "speed": speed,
    "selective": selective,
}
