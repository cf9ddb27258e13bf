"""A model whose exceptions are told apart from our own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ffbench_data.contract import AtomsBatch, ForceField, Prediction

from ..engine.memory import OutOfMemory, memory_guard
from ..words import clean
from . import interrupts, surroundings
from .isolated import call_limit
from .tracebacks import told


class ModelFailure(Exception):
    """The model raised. Its text: type and first line, then the frames of the traceback that are the model's own."""

    whole = False  # true: of the call as such, not of a system in it

    @property
    def line(self) -> str:
        return str(self).partition("\n")[0]


def guarded(model: ForceField) -> ForceField:
    """The same model, whose exceptions are told apart from our own (`SystemExit` and an interrupt that it raises too).

    What it changes in the process around it is put back (`surroundings`), and a call has ``FFBENCH_CALL_LIMIT_S``
    seconds (600), for each structure where a batch is no quicker. Its answers are copies without a graph: a model may
    write the next one into the same tensors, and forces that carry gradients would chain the graph over all steps.
    """
    limit = call_limit()

    def call(batch: AtomsBatch) -> Prediction:
        try:
            longest = limit if model.batched else limit * batch.n_systems
            with surroundings.limited(longest), surroundings.kept(), memory_guard(batch.n_systems):
                out = model(batch)
            if interrupts.pending():
                raise KeyboardInterrupt
        except OutOfMemory:
            raise
        except BaseException as error:
            if interrupts.of_the_user(error):
                raise
            failure = ModelFailure(_told(error))
            failure.whole = getattr(error, "whole", False)
            raise failure from None
        return copied(out)

    call.__wrapped__ = model  # type: ignore[attr-defined]  # for kinds that need its members or a layer
    return replace(model, fn=call)


def copied(out: Prediction) -> Prediction:
    """The same answer in tensors of its own, without a graph."""
    own: dict[str, Any] = {k: None if v is None else v.detach().clone() for k, v in vars(out).items()}
    return Prediction(**own)


def _told(error: BaseException) -> str:
    line, frames = told(error)
    return clean(f"{line}\n{frames}".strip())
