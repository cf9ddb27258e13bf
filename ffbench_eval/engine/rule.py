"""The numbers an integrator needs beside the system."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

Force = Callable[..., tuple[Tensor, ...]]


@dataclass(frozen=True)
class Rule:
    """Engine units. ``dt`` time step, one number or one per replica [B]; ``relaxation`` tau of the thermostat;
    ``friction`` of Langevin; ``pressure`` (eV/Angstrom^3), ``compressibility`` (its inverse) and
    ``barostat_relaxation`` of the barostat."""

    dt: float | Tensor
    relaxation: float | Tensor = 1.0
    friction: float = 0.0
    pressure: float = 0.0
    compressibility: float = 0.0
    barostat_relaxation: float = 1.0


def per_atom(value: float | Tensor) -> Any:
    """A number as it is, one per replica [B] as [B, 1, 1]."""
    return value[:, None, None] if isinstance(value, Tensor) and value.ndim else value


def decay(dt: float | Tensor, rate: float | Tensor) -> Any:
    """exp(-dt rate): a host number where both are, so that no step copies a constant to the device."""
    exponent = -dt * rate
    return exponent.exp() if isinstance(exponent, Tensor) else math.exp(exponent)
