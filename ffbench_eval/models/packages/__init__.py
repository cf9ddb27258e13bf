"""The batched calls of packages, found by the ASE calculator that people have in hand.

One file for each package, of two functions: ``ask(calculator, batch)`` gives what `as_prediction` reads, and
``stated(calculator)`` the fields of the `ForceField` that the calculator knows (cutoff, dtype, elements).
"""

from __future__ import annotations

import importlib
from typing import Any

from ffbench_data.contract import AtomsBatch

KNOWN = {  # by the name of the calculator's class
    "MACECalculator": "mace",
    "ORBCalculator": "orb",
    "FAIRChemCalculator": "fairchem",
    "AIMNet2ASE": "aimnet2",
    "MetatomicCalculator": "metatomic",
    "MatterSimCalculator": "mattersim",
    "TPCalculator": "grace",
}


def package_of(calculator: Any) -> str | None:
    """The file here that speaks to the package of a calculator, subclasses included."""
    return next((KNOWN[c.__name__] for c in type(calculator).__mro__ if c.__name__ in KNOWN), None)


def batched_call(calculator: Any, make: Any = None) -> tuple[PackageCall, dict[str, Any]]:
    """What asks the package about a whole batch, and what it states. ValueError: no batched call is known."""
    package = package_of(calculator)
    if package is None:
        raise ValueError(
            f"batched: no batched call is known for {type(calculator).__name__}; known are {', '.join(KNOWN)}"
        )
    return PackageCall(calculator, make), _room(package).stated(calculator)


class PackageCall:
    """It can be sent to another process with the calculator, or makes one there."""

    def __init__(self, calculator: Any, make: Any = None):
        self.calculator, self.make = calculator, make

    def __getstate__(self):
        return self.__dict__ if self.make is None else {"calculator": None, "make": self.make}

    def __setstate__(self, state: dict[str, Any]):
        self.__dict__.update(state)
        if self.make is not None:
            self.calculator = self.make()

    def __call__(self, batch: AtomsBatch) -> Any:
        package = package_of(self.calculator)
        assert package is not None
        return _room(package).ask(self.calculator, batch)


def _room(package: str) -> Any:
    return importlib.import_module(f".{package}", __name__)
