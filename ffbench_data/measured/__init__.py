"""What was measured, not calculated: small tables that hold for every theory, with their sources."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.resources import files

import numpy as np

from ..datacard import known


@dataclass(frozen=True)
class Measured:
    """A liquid: ``r`` [R] Å (even), ``rdf`` pair -> (g [R], its standard error [R], 0 where nothing was measured), at
    ``temperature_K``; ``diffusivity`` m^2/s of ``element`` at the same temperature, ``viscosity`` Pa s by temperature
    in K, of which `viscosity_at` interpolates; ``source`` by quantity."""

    temperature_K: float
    r: np.ndarray
    rdf: dict[str, tuple[np.ndarray, np.ndarray]]
    diffusivity: float
    element: str
    viscosity: dict[float, float]
    source: dict[str, str] = field(default_factory=dict)

    def viscosity_at(self, temperature_K: float) -> float:
        """
        >>> round(measured("water").viscosity_at(300.0) * 1e3, 3)
        0.854
        """
        t = sorted(self.viscosity)
        if not t[0] <= temperature_K <= t[-1]:
            raise ValueError(
                f"temperature_K {temperature_K:g} is outside {t[0]:g} to {t[-1]:g} K, where it was measured"
            )
        return float(np.exp(np.interp(temperature_K, t, np.log([self.viscosity[k] for k in t]))))


def measured(name: str) -> Measured:
    """The measurements of a liquid. ValueError for one that is not here.

    >>> water = measured("water")
    >>> float(water.r[np.argmax(water.rdf["O-O"][0])])
    2.79
    """
    return {"water": _water}[known(name, ["water"], "measured liquid")]()


def _water() -> Measured:
    path = files(__package__).joinpath("water_rdf.csv")
    lines = [row for row in path.read_text(encoding="utf-8").splitlines() if not row.startswith("#")]
    names, table = lines[0].split(","), np.array([row.split(",") for row in lines[1:]], float)
    return Measured(
        temperature_K=298.0,
        r=table[:, 0],
        rdf={names[k]: (table[:, k], table[:, k + 1]) for k in (1, 3, 5)},
        diffusivity=2.299e-9,
        element="O",
        viscosity={293.15: 1.0016e-3, 298.15: 0.8900e-3, 303.15: 0.7972e-3, 310.15: 0.6913e-3},
        source={
            "rdf": "Soper, ISRN Physical Chemistry 2013, 279463, doi 10.1155/2013/279463",
            "diffusivity": "Holz, Heil and Sacco, Phys. Chem. Chem. Phys. 2, 4740 (2000), at 25 °C, within 1 %",
            "viscosity": "Huber et al., J. Phys. Chem. Ref. Data 38, 101 (2009), at 0.1 MPa",
        },
    )
