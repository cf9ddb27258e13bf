"""What a smooth method of another theory scores on bond scans: GFN2-xTB and GFN1-xTB, judged by each data set's labels.

    python benchmarks/theory_floor.py bsct_spice:all ethanol_gfn2:bond_scans

FSD near its reference's force minimum is as sensitive to where the minimum lies as to bumps, so that a perfectly smooth
method with other bond lengths scores far from 0. The board shows FSD of models of another theory beside these rows.
Needs tblite; one core; goes on where it stopped. Writes ``results/theory_floor.json``.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np

from ffbench_data.load import load_frames
from ffbench_eval.kinds.bsct.scans import find_scans
from ffbench_eval.kinds.bsct.scores import score_scan

METHODS = {"GFN2-xTB": "GFN2-xTB", "GFN1-xTB": "GFN1-xTB"}
KEYS = ("fsd", "scan_force_mae", "spurious_extrema", "sign_flips")
PART = Path("runs/theory_floor.jsonl")
OUT = Path(__file__).parent / "results" / "theory_floor.json"


def label(method: str, numbers: np.ndarray, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Energies [K] (eV) and forces [K, N, 3] (eV/Angstrom); NaN where the SCF did not converge."""
    from ase import Atoms
    from tblite.ase import TBLite

    atoms = Atoms(numbers, positions[0])
    atoms.calc = TBLite(method=method, verbosity=0, max_iterations=500)
    energy, forces = np.full(len(positions), np.nan), np.full(positions.shape, np.nan)
    for k, x in enumerate(positions):
        atoms.positions = x
        try:
            energy[k], forces[k] = atoms.get_potential_energy(), atoms.get_forces()
        except RuntimeError:  # not converged
            continue
    return energy, forces


def row(scan, method: str) -> dict:
    """Numbers of one scan of one method; ``lost``: frames that did not converge, which are left out on both sides."""
    from dataclasses import replace

    if method == "no forces":
        energy, forces = np.zeros(len(scan.energy)), np.zeros_like(scan.forces)
    else:
        energy, forces = label(METHODS[method], scan.numbers, scan.positions)
    bad = ~np.isfinite(energy)
    known = replace(scan, energy=np.where(bad, np.nan, scan.energy))
    values = score_scan(known, np.nan_to_num(energy), np.nan_to_num(forces))
    return {k: values[k] for k in KEYS} | {"lost": int(bad.sum())}


def main(names: list[str]) -> None:
    PART.parent.mkdir(parents=True, exist_ok=True)
    lines = PART.read_text().splitlines() if PART.exists() else []
    done = {tuple(json.loads(line)["key"]): json.loads(line) for line in lines}
    out = json.loads(OUT.read_text()) if OUT.exists() else {}
    for name in names:
        dataset, _, config = name.partition(":")
        scans = list(find_scans(load_frames(dataset, config or None, "test")).values())
        for k in np.random.default_rng(0).permutation(len(scans)):  # what is done at any time is a fair sample
            for method in (*METHODS, "no forces"):
                key = (name, scans[k].name, method)
                if key not in done:
                    done[key] = {"key": list(key)} | row(scans[k], method)
                    with PART.open("a") as file:
                        file.write(json.dumps(done[key]) + "\n")
            out[name] = summary(name, [s.name for s in scans], done)
            OUT.write_text(json.dumps(out, indent=1) + "\n")
        print(name, {k: v for k, v in out[name].items() if k != "fsd"}, flush=True)


def summary(name: str, scans: list[str], done: dict) -> dict:
    """Means over the scans that every method has; ``fsd`` per scan in the data set's order, None where not done."""
    methods = (*METHODS, "no forces")
    known = [s for s in scans if all((name, s, m) in done for m in methods)]
    out: dict = {"scans": len(known), "of": len(scans), "methods": {}, "fsd": {}}
    for m in methods:
        rows = [done[name, s, m] for s in known]
        out["methods"][m] = {k: float(np.mean([r[k] for r in rows if r[k] is not None])) for k in KEYS}
        out["methods"][m]["lost_frames"] = sum(r["lost"] for r in rows)
        out["fsd"][m] = [round(done[name, s, m]["fsd"], 3) if s in known else None for s in scans]
    return out


if __name__ == "__main__":
    os.nice(10)
    main(sys.argv[1:] or ["ethanol_gfn2:bond_scans"])
