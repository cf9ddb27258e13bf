"""Starting structures: GFN2-xTB minima of the MD17 molecules that ASE does not know.

They were found from idealised bond lengths and angles, so that no published structure is needed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import yaml

MINIMA = ("aspirin", "benzene", "malonaldehyde", "naphthalene", "salicylic_acid", "toluene", "uracil")


def minimum(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Atomic numbers [N], masses [N] (amu) and positions [N, 3] (Angstrom) of a molecule of `MINIMA`."""
    from ase.data import atomic_masses

    stored = yaml.safe_load((Path(__file__).parent / "minima.yaml").read_text(encoding="utf-8"))[name]
    numbers = np.array(stored["numbers"])
    return numbers, atomic_masses[numbers], np.array(stored["positions"])
