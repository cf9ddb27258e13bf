"""Are labels in eV, eV/Angstrom? Checks of size that physics gives for single frames, without a trajectory.

- force: stiffness of bonds of hydrogen, which hardly depends on the theory; mean square force at a temperature,
  <F^2> = kT <trace of the Hessian> (equipartition);
- energy: total energies against the sum of the atoms' (a molecule differs from it by a thousandth); spread of
  energies at a temperature, kT (dof / 2)^(1/2) for harmonic atoms.

Each names the unit that would explain a value out of range.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import units
from ase.data import chemical_symbols, covalent_radii

from .finding import Finding
from .frames import Frames
from .geometry import minimum_image, sample

# Stretching force constants (eV/A^2) of X-H, from harmonic frequencies of CH4, NH3, H2O, HF, SiH4, PH3, H2S, HCl, BH3,
# H2 (NIST CCCBDB); they hold within 20 % in other molecules, hydrogen bonds soften them to a half.
XH_STIFFNESS = {1: 36, 5: 24, 6: 31, 7: 41, 8: 46, 9: 60, 14: 18, 15: 20, 16: 26, 17: 32}
STIFFNESS_WRONG = 6.0  # a factor that no bond has
STIFFNESS_OFF = {6: 1.6, 7: 1.6}  # one that is told, 2.3 where hydrogen bonds soften or nobody looked
NEAR = (0.8, 1.25)  # of the sum of covalent radii: what is a bond near its minimum
ATOM_STIFFNESS = (0.3, 120.0)  # eV/A^2, a third of the trace of an atom's Hessian: soft metals to triple bonds
ANY_TEMPERATURE = (50.0, 6000.0)  # K, where none is known
SPREAD = 8.0  # factor by which energies may spread more or less than harmonic ones
MOST_BOUND = 9.0  # eV an atom: tungsten 8.9, diamond 7.4
KCAL = units.kcal / units.mol
ENERGY_UNITS = {  # eV per unit
    "Hartree": units.Hartree,
    "Rydberg": units.Rydberg,
    "kcal/mol": KCAL,
    "kJ/mol": units.kJ / units.mol,
    "meV": 1e-3,
}
FORCE_UNITS = {
    "Hartree/Bohr": units.Hartree / units.Bohr,
    "Hartree/A": units.Hartree,
    "eV/Bohr": 1 / units.Bohr,
    "Rydberg/Bohr": units.Rydberg / units.Bohr,
    "kcal/mol/A": KCAL,
    "kJ/mol/A": units.kJ / units.mol,
    "kJ/mol/nm": units.kJ / units.mol / 10,
    "meV/A": 1e-3,
}
# Total energies (Hartree) of the free atoms: Chakravorty et al., Phys. Rev. A 47, 3649 (1993), nonrelativistic.
ATOMS = [0, -0.5, -2.90372, -7.47806, -14.66736, -24.65391, -37.8450, -54.5892, -75.0673, -99.7339, -128.9376,
         -162.2546, -200.053, -242.346, -289.359, -341.259, -398.110, -460.148, -527.540]  # fmt: skip


def check_magnitudes(frames: Frames, where: str, temperature: Sequence[float] | None = None) -> list[Finding]:
    """The checks above; ``temperature`` [K], lowest and highest, where the frames were drawn at one."""
    thermal = None if "scan" in frames.table.column_names else temperature
    return [
        *bond_stiffness(frames, where),
        *force_size(frames, where, thermal),
        *total_energy(frames, where),
        *energy_spread(frames, where, thermal),
    ]


def bond_stiffness(frames: Frames, where: str) -> list[Finding]:
    """Force constants of the X-H bonds near their minimum: minus the slope of the force on H against the length."""
    found = []
    for z, (length, pull) in _hydrogen_bonds(frames).items():
        near = np.abs(length - np.median(length)) < 0.12 * np.median(length)
        length, pull = length[near & np.isfinite(pull)], pull[near & np.isfinite(pull)]
        if len(length) < 4 or np.ptp(length) < 1e-3:
            continue
        if not pull.any():
            return [Finding("bond_stiffness", where, "error", "every force along a bond is zero", 0.0)]
        slope, r = np.polyfit(length, pull, 1)[0], np.corrcoef(length, pull)[0, 1]
        if abs(r) > (0.6 if len(length) >= 50 else 0.9):
            found.append((z in STIFFNESS_OFF and len(length) >= 30, len(length), -float(slope), z))
    if not found:
        return _sign(frames, where)
    *_, k, z = max(found)
    expected, bond = XH_STIFFNESS[z], f"{chemical_symbols[z]}-H"
    text = f"force constant of {bond} bonds {k:.3g} eV/A^2, about {expected} in any molecule"
    if k < 0:
        return [Finding("bond_stiffness", where, "error", f"{text}: forces have the wrong sign (gradients?)", k)]
    factor = k / expected
    if max(factor, 1 / factor) > STIFFNESS_WRONG:
        return [Finding("bond_stiffness", where, "error", f"{text}: {_as_unit(factor, FORCE_UNITS, 'forces')}", k)]
    if max(factor, 1 / factor) > STIFFNESS_OFF.get(z, 2.3):
        return [Finding("bond_stiffness", where, "warning", f"{text}: forces off by {factor:.3g}?", k)]
    return [Finding("bond_stiffness", where, "ok", text, k)]


def _sign(frames: Frames, where: str) -> list[Finding]:
    """Without hydrogen: do nearest neighbours pull more the farther they are? Says nothing of size."""
    rows = []
    for i in sample(len(frames), 50):
        f = frames[int(i)]
        if len(f.positions) < 2:
            continue
        d = minimum_image(f.positions[:, None] - f.positions[None], f.cell, f.pbc)
        length = np.linalg.norm(d, axis=-1)
        np.fill_diagonal(length, np.inf)
        j = length.argmin(1)
        k = np.arange(len(j))
        pull = 0.5 * ((f.forces[k] - f.forces[j]).astype(float) * d[k, j]).sum(1) / length[k, j]
        kinds = f.atomic_numbers[k].astype(int) * f.atomic_numbers[j]
        rows += list(zip(kinds, length[k, j], pull))
    table = np.array([r for r in rows if np.isfinite(r[2])]).reshape(-1, 3)
    if len(table) < 50:
        return []
    kinds, counts = np.unique(table[:, 0], return_counts=True)
    common = table[table[:, 0] == kinds[counts.argmax()]]
    if len(common) < 50 or np.ptp(common[:, 2]) == 0:
        return []
    r = float(np.corrcoef(common[:, 1], common[:, 2])[0, 1])
    text = f"forces along the shortest bonds against their lengths: correlation {r:.2f}"
    if r > 0.3:
        return [Finding("bond_stiffness", where, "error", f"{text}: forces have the wrong sign (gradients?)", r)]
    return [Finding("bond_stiffness", where, "ok" if r < 0 else "note", text, r)]


def _hydrogen_bonds(frames: Frames) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """{element of the neighbour: (lengths, force on H along the bond away from it)} of hydrogens with one neighbour."""
    found: dict[int, list[np.ndarray]] = {}
    for i in sample(len(frames)):
        f = frames[int(i)]
        hydrogen = np.flatnonzero(f.atomic_numbers == 1)
        if len(hydrogen) == 0 or len(f.positions) < 2:
            continue
        d = minimum_image(f.positions[hydrogen, None] - f.positions[None], f.cell, f.pbc)
        length = np.linalg.norm(d, axis=-1)
        length[np.arange(len(hydrogen)), hydrogen] = np.inf
        ratio = length / (covalent_radii[1] + covalent_radii[f.atomic_numbers])[None]
        nearest = ratio.argmin(1)
        rows = np.arange(len(hydrogen))
        for h, j in zip(rows, nearest):
            z = int(f.atomic_numbers[j])
            if z in XH_STIFFNESS and NEAR[0] < ratio[h, j] < NEAR[1]:
                pull = f.forces[hydrogen[h]].astype(float) @ d[h, j] / length[h, j]
                found.setdefault(z, []).append(np.array([length[h, j], pull]))
    return {z: (np.array(rows)[:, 0], np.array(rows)[:, 1]) for z, rows in found.items()}


def force_size(frames: Frames, where: str, temperature: Sequence[float] | None) -> list[Finding]:
    """Mean square force over 3 kT: the stiffness an atom feels, from soft metals to triple bonds."""
    squared = (frames.forces.astype(float) ** 2).sum(1)
    squared = squared[np.isfinite(squared)]
    if len(squared) == 0 or "scan" in frames.table.column_names:
        return []
    mean = float(squared.mean())
    if mean == 0:
        text = "every force is exactly 0: at rest by symmetry, or never computed (--forces-key none leaves them out)?"
        return [Finding("force_size", where, "warning", text, 0.0)]
    low, high = temperature or ANY_TEMPERATURE
    stiffness = mean / (3 * units.kB * np.array([high, low]))  # the least and the most it can be
    at = f"at {low:g} K" if low == high else f"at {low:g} to {high:g} K"
    text = f"forces of {np.sqrt(mean):.3g} eV/A (rms) {at}: {stiffness[0]:.2g}"
    text += f" to {stiffness[1]:.2g} eV/A^2 an atom" if low != high else " eV/A^2 an atom"
    if stiffness[1] >= ATOM_STIFFNESS[0] and stiffness[0] <= ATOM_STIFFNESS[1]:
        return [Finding("force_size", where, "ok", text, np.sqrt(mean))]
    typical = np.sqrt(np.prod(stiffness)) / 10
    level = "error" if temperature else "warning"  # without a temperature these may be relaxed, or far from equilibrium
    return [Finding("force_size", where, level, f"{text}: {_as_unit(np.sqrt(typical), FORCE_UNITS, 'forces')}",
                    np.sqrt(mean))]  # fmt: skip


def total_energy(frames: Frames, where: str) -> list[Finding]:
    """Energies against the sum of the free atoms' total energies: all-electron energies differ from it by the energy of
    atomisation, 0 to 9 eV an atom. Where the core is left out (pseudopotentials, tight binding, force fields) they
    are much smaller, never larger."""
    free = np.array([atom_energy(z) for z in range(120)])
    sums = np.add.reduceat(free[frames.atomic_numbers], frames.offsets[:-1])
    good = np.isfinite(frames.energy)
    if not good.any():
        return []
    energy, sums, n = frames.energy[good], sums[good], frames.n_atoms[good]
    ratio, heaviest = float(np.median(energy / sums)), int(frames.atomic_numbers.max())
    # Of a functional's own free atoms: 0.4 % to argon, more beyond for relativity and the series.
    slack = 0.5 + (0.004 if heaviest <= 18 else 0.04) * float(np.median(-sums / n))

    def bound(unit: float) -> float | None:
        """Atomisation energy (eV an atom) if energies are all-electron ones in ``unit`` eV; ``None`` if impossible."""
        each = float(np.median((sums - unit * energy) / n))
        return each if -slack < each < MOST_BOUND + slack else None

    text = f"energies are {ratio:.4g} of the free atoms' total energies in eV"
    if (each := bound(1.0)) is not None:
        return [Finding("total_energy", where, "ok", f"{text}: bound by {each:.2f} eV an atom", each)]
    if ratio > 1.5:
        return [Finding("total_energy", where, "error", f"{text}: {_as_unit(ratio, ENERGY_UNITS, 'energies')}", ratio)]
    if bound(units.Hartree) is not None:
        # Of heavier atoms a valence energy may have this size by chance; of H to Ne none does.
        return [Finding("total_energy", where, "error" if heaviest <= 10 else "warning", f"{text}: in Hartree?", ratio)]
    if heaviest <= 10 and bound(1 / KCAL) is not None:
        return [Finding("total_energy", where, "warning", f"{text}: converted from kcal/mol twice?", ratio)]
    return []


def atom_energy(z: int) -> float:
    """Total energy (eV) of a free atom: tabulated to argon, then the Thomas-Fermi-Scott series of Schwinger (1981),
    Phys. Rev. A 24, 2353, which is right within 1 % for nonrelativistic atoms.

    >>> round(atom_energy(6) / 27.2114, 3), round(atom_energy(36) / 27.2114)
    (-37.845, -2748)
    """
    if z < len(ATOMS):
        return ATOMS[z] * units.Hartree
    return (-0.768745 * z ** (7 / 3) + 0.5 * z**2 - 0.269900 * z ** (5 / 3)) * units.Hartree


def energy_spread(frames: Frames, where: str, temperature: Sequence[float] | None) -> list[Finding]:
    """Standard deviation of energies of one composition, charge and spin at a temperature, over that of harmonic
    atoms."""
    if temperature is None:
        return []
    key = frames.species
    low, high = temperature
    worst = None
    for k in np.unique(key):
        rows = np.flatnonzero((key == k) & np.isfinite(frames.energy))
        if len(rows) < 30:
            continue
        dof = 3 * frames.n_atoms[rows[0]]
        least = units.kB * low * np.sqrt(dof / 2)
        most = units.kB * high * np.sqrt(dof / 2) + units.kB * (high - low) * dof / 4  # temperatures in one file
        spread = float(frames.energy[rows].std())
        off = spread / least if spread < least else spread / most if spread > most else 1.0
        if worst is None or abs(np.log(max(off, 1e-12))) > abs(np.log(max(worst[0], 1e-12))):
            worst = off, spread, least
    if worst is None:
        return []
    off, spread, least = worst
    text = f"energies of one composition spread by {spread:.3g} eV, harmonic atoms at {low:g} K by {least:.3g}"
    if 1 / SPREAD < off < SPREAD:
        return [Finding("energy_spread", where, "ok", text, spread)]
    return [Finding("energy_spread", where, "error", f"{text}: {_as_unit(off, ENERGY_UNITS, 'energies')}", spread)]


def _as_unit(factor: float, table: dict[str, float], what: str) -> str:
    """Which unit explains labels that are ``factor`` times too large; several fit within the uncertainty."""
    guesses = [(abs(np.log(max(factor, 1e-12) * unit)), f"in {name}") for name, unit in table.items()]
    guesses += [
        (abs(np.log(max(factor, 1e-12) / unit)), f"converted from {name} twice") for name, unit in table.items()
    ]
    guesses.sort()
    near = [text for distance, text in guesses if distance < guesses[0][0] + 0.5][:2]
    return f"{what} are {' or '.join(near)}?"


def thermal_range(temperature: float | Sequence[float] | None) -> tuple[float, float] | None:
    """(lowest, highest) temperature on a card.

    >>> thermal_range(500), thermal_range([300, 1200]), thermal_range(None)
    ((500.0, 500.0), (300.0, 1200.0), None)
    """
    if temperature is None:
        return None
    values = np.atleast_1d(np.asarray(temperature, float))
    return float(values.min()), float(values.max())
