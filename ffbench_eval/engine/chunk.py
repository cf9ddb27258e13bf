"""Many steps of a compiled form between two looks at its flags, and the way back when a list did not do.

A step is a pure function, so going back is forgetting what came out: the state before the chunk is still there. On the
CPU, where looking costs nothing, a chunk is one step; on a device it is what was captured as one graph, and looking at
the flags is the only wait.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .compiled import NotCompilable, Tensors, log
from .lists import LONG, OLD, NoList
from .static import STATE, WATCH, StaticStep
from .system import State
from .turns import wait_for
from .watch import Watch

if TYPE_CHECKING:
    from .run import Run

Attempt = tuple[State, Watch, Tensor, list[Callable[[], State]]]

Call = Callable[..., Tensors]
Keep = Callable[[int, Callable[[], State]], None]  # gets (steps done, the state after them)
Make = Callable[[Call, list[Tensor]], Call]


class Steps:
    """Advances a run by a compiled step; ``make(function, arguments)`` compiles one of these shapes.

    ``trusted(state, watch, step, call)`` is asked about a step that was compiled anew because a list or the hills had
    outgrown their places; one that is not trusted, or cannot be compiled, is replaced by the function itself.
    """

    def __init__(self, run: Run, lists: NoList, make: Make, trusted: Callable[..., bool] = lambda *_: True):
        self.run, self.lists, self.make, self.trusted = run, lists, make, trusted
        self.function = StaticStep(run, lists)
        self.none = torch.zeros(2, dtype=torch.bool, device=run.system.masses.device)
        self.made: dict[tuple[int, ...], Call] = {}
        self.gone_back = [0, 0]  # chunks: for a list too old, too long

    @property
    def places(self) -> dict[str, int]:
        """What a process that goes on must know to have the same shapes."""
        return {"edges": self.lists.capacity, "candidates": getattr(self.lists, "candidates", 0)}

    def advance(
        self, state: State, watch: Watch, first: int, n: int, keep: Keep = lambda *_: None
    ) -> tuple[State, Watch]:
        """``n`` steps from step ``first`` on; ``keep`` is told of each, once it is sure."""
        end, careful, fresh = first + n, False, -1
        while first < end:
            if not self.lists.ready:
                self.lists.make(state.positions)
                fresh = first
            k = 1 if careful else self.length(end - first)
            new, watched, flags, states = self.attempt(state, watch, first, k)
            if self.lists.fallible:
                wait_for(flags.device)
                wrong = flags.tolist()
                if wrong[LONG]:
                    self.gone_back[LONG] += 1
                    self.lists.grow()
                    continue
                if wrong[OLD]:
                    self.gone_back[OLD] += 1
                    if k == 1:  # places do not depend on the forces at them: what the step went to is known
                        self.lists.make(self.destination(state, first))
                    elif fresh == first:  # not even a fresh list lasts: step by step, then
                        careful = True
                    else:
                        self.lists.make(state.positions)
                        fresh = first
                    continue
            for step, made in enumerate(states, first + 1):
                keep(step, made)
            self.run.model_forces.calls += k
            state, watch, first, careful = new, watched, first + k, False
        return state, watch

    def length(self, left: int) -> int:
        """Steps between two looks, where ``left`` are wanted."""
        return 1

    def attempt(self, state: State, watch: Watch, first: int, n: int) -> Attempt:
        """(state, watch, flags after ``n`` steps, a function for the state after each)."""
        noise = self.run.noise(first) if self.run.noise else None
        out = self.compiled(state, watch, first)(*self.function.arguments(state, watch, self.none, noise))
        new, watched, flags = parted(out)
        return new, watched, flags, [lambda: new]

    def compiled(self, state: State, watch: Watch, step: int) -> Call:
        """The step for the present shapes."""
        hills = self.run.hills
        shapes = (*self.places.values(), 0 if hills is None else hills.heights.shape[1])
        if shapes not in self.made:
            noise = self.run.noise(step) if self.run.noise else None
            again = bool(self.made)
            try:
                call = self.make(self.function, self.function.arguments(state, watch, self.none, noise))
                if again and not self.trusted(self, state, watch, step, call):
                    raise NotCompilable("its answers differ from eager ones")
            except NotCompilable as reason:
                if not again:
                    raise
                log.warning("a step of new shapes is not compiled: %s", reason)
                call = self.function
            self.made[shapes] = call
        return self.made[shapes]

    def destination(self, state: State, step: int) -> Tensor:
        """Where a step goes."""
        run, seen = self.run, []

        def force(positions: Tensor) -> tuple[Tensor, Tensor]:
            seen.append(positions)
            return state.energy, state.forces

        run.integrator.step(state, run.system, run.rule, force, run.noise(step) if run.noise else None)
        return seen[0]


class CapturedSteps(Steps):
    """The same with ``longest`` steps at a time, captured as one graph by ``capture(function, arguments)``."""

    def __init__(self, run: Run, lists: NoList, make: Make, capture: Make, longest: int = 100, **more: Any):
        super().__init__(run, lists, make, **more)
        self.capture, self.longest = capture, longest
        self.graphs: dict[tuple[Call, int], Call] = {}

    def length(self, left: int) -> int:
        return min(left, self.longest)

    def attempt(self, state: State, watch: Watch, first: int, n: int) -> Attempt:
        step, noise = self.compiled(state, watch, first), self.run.noise
        drawn = None if noise is None else torch.stack([noise(first + k) for k in range(n)])
        arguments = self.function.arguments(state, watch, self.none, drawn)
        if (step, n) not in self.graphs:
            self.graphs[step, n] = self.capture(partial(self.many, step, n), arguments)
        *out, history = self.graphs[step, n](*arguments)
        new, watched, flags = parted(tuple(out))
        return new, watched, flags, [partial(self._row, new, history, k) for k in range(n)]

    def many(self, step: Call, n: int, *values: Tensor) -> Tensors:
        """State, watch and flags after ``n`` steps, and the history [n, B, 6 N + 1]: positions, velocities, energy."""
        now, rest, rows = values[: STATE + WATCH + 1], values[STATE + WATCH + 1 :], []
        for k in range(n):
            more = rest if self.run.noise is None else (rest[0][k], *rest[1:])
            now = step(*now, *more)
            state = State(*now[:STATE])
            rows.append(torch.cat([state.positions.flatten(1), state.velocities.flatten(1), state.energy[:, None]], 1))
        return (*now, torch.stack(rows))

    @staticmethod
    def _row(last: State, history: Tensor, k: int) -> State:
        row, size = history[k], last.positions[0].numel()
        positions, velocities = row[:, :size], row[:, size : 2 * size]
        shape = last.positions.shape
        return last._replace(
            positions=positions.reshape(shape), velocities=velocities.reshape(shape), energy=row[:, 2 * size]
        )


def parted(values: Tensors) -> tuple[State, Watch, Tensor]:
    """What a static step returns."""
    return State(*values[:STATE]), Watch(*values[STATE : STATE + WATCH]), values[STATE + WATCH]
