"""An ethanol whose energy and forces cost microseconds: OPLS-AA with Morse bonds, many replicas at once.

Jorgensen, Maxwell and Tirado-Rives, J. Am. Chem. Soc. 118, 11225 (1996). The bonds are Morse curves of the same force
constant, so that they exchange energy as real ones do. Not a reference: a molecule to study thermostats on.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ffbench_data.generate.ethanol import start

KCAL = 0.0433641153  # eV
COULOMB = 14.399645  # eV Angstrom
DEPTH = 4.5  # eV, of every bond
BONDS = {"CC": (268, 1.529), "CH": (340, 1.09), "CO": (320, 1.41), "HO": (553, 0.945)}  # kcal/mol/A^2, A
ANGLES = {"HCH": (33, 107.8), "CCH": (37.5, 110.7), "HCO": (35, 109.5), "CCO": (50, 109.5), "COH": (55, 108.5)}
TORSIONS = {"HCCH": (0, 0, 0.3), "HCCO": (0, 0, 0.468), "HCOH": (0, 0, 0.45), "CCOH": (-0.356, -0.174, 0.492)}
SIGMA = {"C": 3.5, "O": 3.12, "H": 2.5, "hydroxyl": 1.0}  # Angstrom
EPSILON = {"C": 0.066, "O": 0.170, "H": 0.030, "hydroxyl": 0.0}  # kcal/mol


class Ethanol:
    """``numbers``, ``masses``, ``positions`` (GFN2's minimum); `force` gives energy [B] (eV) and forces [B, N, 3]."""

    def __init__(self):
        self.numbers, self.masses, x = start()
        self.positions = np.asarray(x)
        letter = np.array([{1: "H", 6: "C", 8: "O"}[z] for z in self.numbers])
        n = len(letter)
        reach = np.array([{"H": 0.45, "C": 0.85, "O": 0.75}[s] for s in letter])
        bonded = np.linalg.norm(x[:, None] - x[None], axis=-1) < reach[:, None] + reach[None]
        near = [[j for j in range(n) if bonded[i, j] and i != j] for i in range(n)]
        bonds = [(i, j) for i in range(n) for j in near[i] if i < j]
        angles = [(i, j, k) for j in range(n) for i in near[j] for k in near[j] if i < k]
        torsions = [(i, j, k, m) for j, k in bonds for i in near[j] if i != k for m in near[k] if m != j]

        def named(table, members):
            columns = []
            for atoms in members:
                name = "".join(letter[list(atoms)])
                columns.append(table[name] if name in table else table[name[::-1]])
            return torch.tensor(np.array(columns, float)).T

        k, self.length = named(BONDS, bonds)
        self.width = (k * KCAL / DEPTH).sqrt()
        k, degrees = named(ANGLES, angles)
        self.stiffness, self.angle = k * KCAL, torch.deg2rad(degrees)
        self.fourier = named(TORSIONS, torsions) * KCAL / 2

        share = {(min(a[0], a[-1]), max(a[0], a[-1])): 0.5 for a in torsions}
        share |= {(min(a[0], a[-1]), max(a[0], a[-1])): 0.0 for a in angles + bonds}
        pairs = [(i, j) for i in range(n) for j in range(i + 1, n) if share.get((i, j), 1.0)]
        scale = torch.tensor([share.get(pair, 1.0) for pair in pairs])
        kind = ["hydroxyl" if letter[i] == "H" and "O" in letter[near[i]] else letter[i] for i in range(n)]
        charge = {"O": -0.683, "hydroxyl": 0.418, "H": 0.06}
        charges = [charge.get(s, 0.145 if "O" in letter[near[i]] else -0.18) for i, s in enumerate(kind)]
        self.sigma = torch.tensor([(SIGMA[kind[i]] * SIGMA[kind[j]]) ** 0.5 for i, j in pairs])
        self.well = scale * torch.tensor([4 * KCAL * (EPSILON[kind[i]] * EPSILON[kind[j]]) ** 0.5 for i, j in pairs])
        self.charge = scale * torch.tensor([COULOMB * charges[i] * charges[j] for i, j in pairs])
        self.heavy = [n for n, pair in enumerate(bonds) if "H" not in letter[list(pair)]]
        self.to_hydrogen = [n for n, pair in enumerate(bonds) if set(letter[list(pair)]) == {"C", "H"}]
        self.members = [torch.tensor(rows).T for rows in (bonds, angles, torsions, pairs)]

    def parts(self, positions: Tensor) -> dict[str, Tensor]:
        """Energies [B] (eV) of the kinds of terms."""
        x = positions.transpose(0, 1)
        bonds, angles, torsions, pairs = self.members
        r = (x[bonds[0]] - x[bonds[1]]).norm(dim=-1).T
        bond = DEPTH * (1 - torch.exp(-self.width * (r - self.length))).square()
        u, v = x[angles[0]] - x[angles[1]], x[angles[2]] - x[angles[1]]
        angle = torch.acos((u * v).sum(-1) / (u.norm(dim=-1) * v.norm(dim=-1))).T
        i, j, k, m = (x[row] for row in torsions)
        a, b = torch.linalg.cross(j - i, k - j), torch.linalg.cross(k - j, m - k)
        c = ((a * b).sum(-1) / (a.norm(dim=-1) * b.norm(dim=-1))).T  # 1 where i and m are cis
        one, two, three = self.fourier
        r = (x[pairs[0]] - x[pairs[1]]).norm(dim=-1).T
        six = (self.sigma / r) ** 6
        return {
            "stretch_OH": bond[:, -1],
            "stretch_CH": bond[:, self.to_hydrogen].sum(1),
            "stretch_CC_CO": bond[:, self.heavy].sum(1),
            "bend": (self.stiffness * (angle - self.angle).square()).sum(1),
            "torsion": (one * (1 + c) + two * (2 - 2 * c**2) + three * (1 + 4 * c**3 - 3 * c)).sum(1),
            "pairs": (self.well * (six**2 - six) + self.charge / r).sum(1),
        }

    def energy(self, positions: Tensor) -> Tensor:
        return sum(self.parts(positions).values())

    def force(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        def total(x):
            energy = self.energy(x)
            return energy.sum(), energy

        gradient, (_, energy) = torch.func.grad_and_value(total, has_aux=True)(positions)
        return energy, -gradient
