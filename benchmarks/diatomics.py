"""Published values of matbench-discovery's diatomics task, from our adapters, data and metrics.

python benchmarks/diatomics.py [--kept FOLDER] writes benchmarks/results/diatomics.json.

CHGNet 0.3.0 and SevenNet-l3i5 (packages chgnet and sevenn) answer on the published grid; `ffbench_eval.kinds.diatomics`
scores the curves. A row is (published, ours, equal to the published digits). Means are over the published elements:
SevenNet-l3i5 without He-He, as its page says. ``--kept``: where answers are kept (``<model>.npz``) and taken from, if
they are there. Beside it FSD of r2SCAN, of no forces and of forces x 0.9, judged by PBE, where both have one grid.
"""

import argparse
import json
import re
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from ffbench_data import load_frames
from ffbench_eval.kinds.bsct.predict import predict
from ffbench_eval.kinds.bsct.scans import find_scans, supported
from ffbench_eval.kinds.diatomics import METRICS, work
from ffbench_metrics import force_smoothness_deviation

RESULTS = Path(__file__).parent / "results" / "diatomics.json"
PUBLISHED = {  # of the model pages of matbench-discovery, July 2026 (MIT), to the four digits they print
    "chgnet": {
        "dimer_tortuosity": 2.21, "dimer_energy_flips": 1.839, "dimer_energy_jump": 2.105, "dimer_force_flips": 2.011,
        "dimer_force_variation": 415.0, "dimer_force_jump": 205.5, "dimer_force_mae": 4.927, "dimer_energy_mae": 3.205,
        "dimer_wall_error": 0.403, "dimer_bond_length_error": 0.2676, "dimer_well_error": 16.86,
        "dimer_frequency_error": 182.8,
    },
    "sevennet_l3i5": {
        "dimer_tortuosity": 1.073, "dimer_energy_flips": 1.953, "dimer_energy_jump": 1.428, "dimer_force_flips": 2.058,
        "dimer_force_variation": 563.6, "dimer_force_jump": 192.5, "dimer_force_mae": 2.65, "dimer_energy_mae": 1.149,
        "dimer_wall_error": 0.228, "dimer_bond_length_error": 0.1928, "dimer_well_error": 7.239,
        "dimer_frequency_error": 148.6,
    },
}  # fmt: skip
WITHOUT = {"sevennet_l3i5": ("He-He",)}


def answers(name: str, scans: dict, kept: Path | None) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """{dimer: (energy [K], forces [K, 2, 3])} on the grid."""
    path = kept / f"{name}.npz" if kept else None
    if path is None or not path.exists():
        from reference_models.providers import pretrained

        model = pretrained(name)
        chosen = [s for s in scans.values() if supported(s, model)]
        x = np.zeros((len(work.GRID), 2, 3))
        x[:, 1, 0] = work.GRID
        out = predict(model, [(s.numbers, x) for s in chosen])
        found = {s.name: (e, f) for s, e, f in zip(chosen, out.energy, out.forces)}
        if path is None:
            return found
        e, f = (np.stack(part) for part in zip(*found.values()))
        np.savez(path, names=list(found), e=e, f=f)
    with np.load(path) as got:
        return {str(n): (e, f) for n, e, f in zip(got["names"], got["e"], got["f"])}


def means(name: str, scans: dict, found: dict) -> dict[str, float]:
    rows = [
        work.score_dimer(scans[n], e.astype(float), f.astype(float), scans[n].forces)
        for n, (e, f) in found.items()
        if n not in (*work.LEFT_OUT, *WITHOUT.get(name, ()))
    ]
    keys = [s.name for s in METRICS if s.name != "dimer_fsd"]  # of the reference's own distances, not published
    return {k: float(np.nanmean([row[k] for row in rows if k in row])) for k in keys}


def theory_floor() -> dict[str, float]:
    """Mean FSD, judged by PBE, of curves that are no model's."""
    pbe, other = (find_scans(load_frames(f"diatomics_{f}", split="test")) for f in ("pbe", "r2scan"))
    same = [n for n in pbe if np.array_equal(pbe[n].bond_length, other[n].bond_length)]
    judged = {"r2SCAN": lambda n: other[n].forces, "no forces": lambda n: 0 * pbe[n].forces,
              "forces x 0.9": lambda n: 0.9 * pbe[n].forces}  # fmt: skip

    def mean(forces) -> float:
        each = [force_smoothness_deviation(pbe[n].bond_length, forces(n), pbe[n].forces, pbe[n].energy) for n in same]
        return round(float(np.mean([one.full for one in each])), 2)

    rows = {"dimers": len(same), **{what: mean(forces) for what, forces in judged.items()}}
    same = list(pbe)  # a second number in use, 31.8, is of all dimers
    return rows | {f"no forces, all {len(same)} dimers": mean(judged["no forces"])}


def main() -> None:
    cli = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    cli.add_argument("--kept", type=Path)
    kept = cli.parse_args().kept
    scans = find_scans(load_frames("diatomics_pbe", split="test"))
    table = {}
    for name, published in PUBLISHED.items():
        ours = means(name, scans, answers(name, scans, kept))
        rounded = {k: float(f"{ours[k]:.4g}") for k in published}
        table[name] = {k: [v, rounded[k], rounded[k] == v] for k, v in published.items()}
        print(name, {k: row for k, row in table[name].items() if not row[2]} or "all published digits")
    result = {"published, ours, equal": table, "FSD judged by PBE, 1/Å": theory_floor()}
    lines = json.dumps(result, indent=1, ensure_ascii=False)
    lines = re.sub(r"\[\s+([^\]]*?)\s+\]", lambda found: f"[{' '.join(found[1].split())}]", lines)  # a row on a line
    RESULTS.write_text(lines + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
