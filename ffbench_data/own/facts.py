"""What your data allow: which simulations, held against what, and what they do not allow, one line each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..frames import Frames
from ..generate.blocks import BLOCKS_PS, HISTOGRAM_FS, block_rows, blocks_table, mean, stable_bonds, starts
from ..scans import bond_angles
from ..schema import write_parquet
from .order import Segment
from .parts import NAMES
from .rows import Rows

FILE = "own.json"
MOST_SYSTEMS = 3  # that are simulated
MOST_GROUPS = 50  # that are listed
MOST_TESTS = 2000  # frames of one system's own config
BOND_FRAMES = 2000
EMPTY = 60.0  # cubic Angstrom an atom
R_MAX = {"rdf": 6.0, "distance": 10.0, "angle": 180.0}  # by the first word of an observable
BINS, ANGLE_BINS = 500, 60
WINDOW = (0.2, 5.0)  # the fit window of D: shortest lag over the longest, run over the longest lag
MOST_LAG_PS = 15.0


def read_facts(name: str, root: str | Path | None = None) -> dict[str, Any]:
    """What was found when a data set of your own was added. ValueError for any other data set."""
    from ..load import dataset_folder

    path = dataset_folder(name, root=root) / FILE
    if not path.exists():
        raise ValueError(f"{name} was not made by `ffbench data add`: its tasks are in the shipped suites")
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def said_of(folder: str | Path) -> list[str]:
    """Warnings and notes from when a data set of your own was sealed: frames and labels that were left out, how the
    rest was read and split. One line each."""
    from ..load import read_manifest
    from .seal import VALIDATION

    checks = json.loads((Path(folder) / VALIDATION).read_text(encoding="utf-8"))["findings"]
    warnings = [f"warning: {check['message']}" for check in checks if check["level"] == "warning"]
    return warnings + [f"note: {note}" for note in read_manifest(Path(folder))["provenance"]["notes"]]


def targets(
    rows: Rows, part: np.ndarray, kelvin: np.ndarray, segments: Sequence[Segment]
) -> tuple[list[dict[str, Any]], int]:
    """(The systems to simulate, those with most frames: one each per temperature, from test frames; how many more could
    be). The only one there is lives in the config ``default``, others in one of their own."""
    heats, heat = np.unique(np.round(np.nan_to_num(kelvin, nan=-1.0), 3), return_inverse=True)
    key = rows.system * len(heats) + heat
    keys, counts = np.unique(key, return_counts=True)
    tested = np.isin(keys, key[part == NAMES.index("test")])
    sizes = np.array([len(s.numbers) for s in rows.systems])[keys // len(heats)]
    warm: dict[int, int] = {}
    for k in (keys // len(heats)).tolist():
        warm[k] = warm.get(k, 0) + 1
    fit = np.flatnonzero(tested & (sizes > 1))
    order = sorted(fit.tolist(), key=lambda k: (-counts[k], heats[keys[k] % len(heats)], keys[k]))
    found: list[dict[str, Any]] = []
    taken = {"default": 1}
    for k in order[:MOST_SYSTEMS]:
        system, temperature = int(keys[k]) // len(heats), float(heats[keys[k] % len(heats)])
        what, mine = rows.systems[system], key == keys[k]
        label = what.formula + (f"_{temperature:g}K" if temperature > 0 and warm[system] > 1 else "")
        taken[label] = taken.get(label, 0) + 1
        config = label + (f"_{taken[label]}" if taken[label] > 1 else "") if len(keys) > 1 else "default"
        found.append({
            "config": config, "label": label, "formula": what.formula, "system": system, "n_atoms": len(what.numbers),
            "elements": sorted({int(z) for z in what.atomic_numbers}),
            "periodic": all(what.pbc), "open": not any(what.pbc),
            "temperature_K": temperature if temperature > 0 else None, "frames": int(counts[k]),
            "test": np.flatnonzero(mine & (part == NAMES.index("test"))), "rows": np.flatnonzero(mine),
            "segments": [s for s in segments if s.ordered and mine[s.start]],
        })  # fmt: skip
    return found, len(order) - len(found)


def reference_files(rows: Rows, target: dict[str, Any]) -> dict[str, Any]:
    """``reference/<config>/`` of a target: bonds, starting frames, and histograms in blocks of time of its runs."""
    facts: dict[str, Any] = {"starts": starts(len(target["test"]))}
    if target["open"]:
        facts |= _bonds(rows, target["rows"])
    runs = [s for s in target["segments"] if s.step_fs]
    lengths = [len(s) * s.step_fs / 1000 for s in runs if s.step_fs]
    target["sparse"] = _sparse(rows, target)
    target |= {"runs": len(runs), "run_ps": round(min(lengths, default=0.0), 6), "in_blocks": False}
    target["ordered"] = bool(target["segments"])
    files: dict[str, Any] = {}
    if runs:
        facts |= {"runs": len(runs), "run_ps": target["run_ps"], "frame_spacing_fs": runs[0].step_fs}
        angles = bond_angles(rows.systems[target["system"]].atomic_numbers, facts.get("bonds", []))
        counted = [row for k, s in enumerate(runs) for row in _histograms(rows, s, k, target, angles)]
        if counted:
            target["in_blocks"] = True
            facts |= {"angles": {name: found.tolist() for name, found in angles.items()}} if angles else {}
            files["blocks.parquet"] = partial(write_parquet, blocks_table(counted))
        if target["periodic"] and (found := _diffusivity(rows, runs)):
            facts["diffusivity"] = found
            target["diffusivity"] = {k: found[k] for k in ("element", "needs_ps")}
    files["reference.json"] = json.dumps(facts, indent=1).encode()
    return {f"reference/{target['config']}/{name}": content for name, content in files.items()}


def _sparse(rows: Rows, target: dict[str, Any]) -> bool:
    """Whether a periodic system has more room than any solid or liquid."""
    if not target["periodic"]:
        return False
    first = Frames(rows.read(int(target["rows"][0]), int(target["rows"][0]) + 1))
    return bool(abs(np.linalg.det(first.cell[0])) / target["n_atoms"] > EMPTY)


def _bonds(rows: Rows, mine: np.ndarray) -> dict[str, Any]:
    """Bonds that hold throughout, if they hold every atom; else the evaluator makes a criterion of its own."""
    some = mine[np.linspace(0, len(mine) - 1, min(len(mine), BOND_FRAMES)).astype(int)]
    frames = Frames(rows.take(np.unique(some)).combine_chunks())
    numbers, x = frames.stacked()
    lowest = int(np.nanargmin(frames.energy)) if np.isfinite(frames.energy).any() else 0
    bonds = stable_bonds(numbers, x, x[lowest])
    return {"bonds": bonds} if len({k for i, j, _ in bonds for k in (i, j)}) == len(numbers) else {}


def _histograms(
    rows: Rows, segment: Segment, run: int, target: dict[str, Any], angles: dict[str, np.ndarray]
) -> list[dict[str, Any]]:
    """Rows of ``blocks.parquet`` of one run: h(r) and angles of an open system, g(r) per pair of a periodic one in one
    cell."""
    from ffbench_metrics import distance_counts, pair_distance_counts

    assert segment.step_fs is not None
    every = max(1, round(HISTOGRAM_FS / segment.step_fs))
    spacing = every * segment.step_fs / 1000  # ps
    if len(segment) // every * spacing < BLOCKS_PS[0] * (1 - 1e-9) or not (target["open"] or target["periodic"]):
        return []
    kept = np.arange(segment.start + every - 1, segment.stop, every)
    first = Frames(rows.read(segment.start, segment.start + 1))
    numbers, cell = first[0].atomic_numbers, first[0].cell
    pairs = {"distance_histogram": None} if target["open"] else _pairs(numbers)
    counts: dict[str, list[np.ndarray]] = {name: [] for name in [*pairs, *(f"angle_histogram_{a}" for a in angles)]}
    for table in rows.parts(kept):
        frames = Frames(table.combine_chunks())
        x = frames.stacked()[1].astype(float)
        if target["periodic"] and not np.allclose(frames.cell, cell, atol=1e-9):
            return []  # a changing cell: the evaluator takes the frames, each in its own
        for name, triples in angles.items():
            counts[f"angle_histogram_{name}"].append(_angle_counts(x, triples))
        for name, pair in pairs.items():
            if pair is None:
                counts[name].append(distance_counts(x, r_max=R_MAX["distance"], bins=BINS))
            else:
                a, b = pair
                counts[name].append(pair_distance_counts(x, cell, index_a=a, index_b=None if a is b else b,
                                                         r_max=R_MAX["rdf"], bins=BINS))  # fmt: skip
    out = []
    for name, parts in counts.items():
        whole = np.concatenate(parts).astype(np.int32)
        r_max = R_MAX[name.partition("_")[0]]
        for block_ps in BLOCKS_PS:
            frames_in = round(block_ps / spacing)
            out += block_rows(name, run, whole, frames_in, round(frames_in * spacing, 9), r_max)
    return out


def _angle_counts(x: np.ndarray, triples: np.ndarray) -> np.ndarray:
    """[T, bins] from positions [T, N, 3] and atoms [M, 3] of each angle."""
    from ffbench_metrics import angle_histogram

    share = [angle_histogram(frame[None], triples, bins=ANGLE_BINS)[1] for frame in x]  # a density per degree
    return np.rint(np.array(share) * (180.0 / ANGLE_BINS) * len(triples)).astype(np.int32)


def _pairs(numbers: np.ndarray) -> dict[str, Any]:
    """As in the evaluator: pairs of elements by name, the same array twice within one element."""
    from ase.data import chemical_symbols

    groups = {chemical_symbols[z]: np.flatnonzero(numbers == z) for z in np.unique(numbers)}
    names = sorted(groups)
    pairs = {f"rdf_{a}-{b}": (groups[a], groups[b]) for k, a in enumerate(names) for b in names[k:]}
    return {name: (a, b) for name, (a, b) in pairs.items() if a is not b or len(a) > 1}


def _diffusivity(rows: Rows, runs: Sequence[Segment]) -> dict[str, Any]:
    """D of the element that moves farthest, over each run's lags up to a fifth of it; of one run its halves say how
    sure it is. Empty where the runs are too short, or nothing diffuses."""
    from ase.data import atomic_masses, chemical_symbols

    from ffbench_metrics import diffusivity, unwrap

    length = min(len(s) * (s.step_fs or 0.0) / 1000 for s in runs)
    longest = min(MOST_LAG_PS, length / WINDOW[1] / (2 if len(runs) == 1 else 1))
    if longest < 0.5:
        return {}
    window = (round(WINDOW[0] * longest, 4), round(longest, 4))
    paths, step, numbers = [], 0.0, np.zeros(0, int)
    for s in runs:
        assert s.step_fs is not None
        every = max(1, round(20 / s.step_fs))
        step = every * s.step_fs / 1000
        frames = Frames(rows.take(np.arange(s.start, s.stop, every)).combine_chunks())
        numbers, x = frames.stacked()
        if not np.allclose(frames.cell, frames.cell[0], atol=1e-9):
            return {}
        paths.append(unwrap(x.astype(float), frames.cell[0]))
    masses = atomic_masses[numbers]
    last = [p - (p * masses[:, None]).sum(1, keepdims=True) / masses.sum() for p in paths]
    moved = np.mean([((p[-1] - p[0]) ** 2).sum(-1) for p in last], axis=0)
    farthest = {int(z): float(moved[numbers == z].mean()) for z in np.unique(numbers)}
    element = max(farthest, key=lambda z: farthest[z])
    if farthest[element] < 1.0:  # square Angstrom: vibrations
        return {}
    parts = np.array_split(paths[0], 2) if len(paths) == 1 else paths
    values = [diffusivity(p, step, fit_window=window, index_a=numbers == element, masses=masses) for p in parts]
    rule = {"element": chemical_symbols[element], "fit_window_ps": list(window), "needs_ps": round(3 * longest, 3)}
    return {**rule, **mean(values), "values": [float(v) for v in values], "unit": "m^2/s"}


def said(facts: dict[str, Any]) -> list[str]:
    """What the data do not allow, and what to give so that they do."""
    out = []
    if not facts["labels"]["forces"]:
        out.append("no forces: force errors, force cosine and their confidence are left out")
    if not facts["labels"]["energy"]:
        out.append("no energies: energy errors and their confidence are left out")
    if any(t["temperature_K"] is None for t in facts["targets"]):
        out.append(
            "no temperature is stated: simulations start at 300 K and are watched for stability only; --temperature K "
            "compares their structure with the data"
        )
    by_line: dict[str, list[str]] = {}
    for t in facts["targets"]:
        for line in of_system(t):
            by_line.setdefault(line, []).append(t["label"])
    out += [f"{', '.join(labels)}: {line}" for line, labels in by_line.items()]
    if facts["left_out"]:
        out.append(facts["left_out"])
    if not any(t["open"] for t in facts["targets"]):
        out.append("no molecule in open space: bond scans are left out")
    if not facts["calculator"]:
        out.append("no reference potential: no trusted time, scans without labels (--reference package.module:factory)")
    return out


def of_system(t: dict[str, Any]) -> list[str]:
    """What the data of one system do not allow."""
    out, runs = [], f"{t['runs']} run{'s' * (t['runs'] > 1)}"
    if not t["ordered"]:
        out.append("frames are not ordered in time: no noise floor, no diffusion (--time-step FS if they are)")
    elif not t["runs"]:
        out.append("ordered in time, but the time between frames is not known: --time-step FS gives noise floors")
    elif not t["in_blocks"]:
        out.append(f"{runs} {'of less than 1 ps' if t['run_ps'] < 1 else 'in a changing cell'}: no noise floor")
    elif t["runs"] < 3:
        out.append(f"{runs}: halves of time stand for runs in the noise floor, which passes nobody")
    if t["runs"] and t["periodic"] and not t.get("diffusivity"):
        out.append(f"nothing diffuses in {t['run_ps']:g} ps: no diffusivity")
    if t["sparse"]:
        out.append("a molecule in an empty box? --pbc no gives h(r), its bonds and bond scans")
    if not t["periodic"] and not t["open"]:
        out.append("periodic in some directions only: neither h(r) nor g(r) is defined, stability is watched")
    return out


def summary(rows: Rows, part: np.ndarray, found: Sequence[dict[str, Any]], left: int, **more: Any) -> dict[str, Any]:
    """The content of `FILE`: plain values only."""
    keep = ("config", "label", "formula", "n_atoms", "elements", "periodic", "open", "temperature_K", "frames",
            "runs", "run_ps", "ordered", "sparse", "in_blocks", "diffusivity")  # fmt: skip
    facts = {
        "frames": {name: int((part == k).sum()) for k, name in enumerate(NAMES)},
        "labels": {"energy": bool(np.isfinite(rows.energy).any()), "forces": bool(rows.forces.any())},
        "elements": sorted({int(z) for s in rows.systems for z in s.atomic_numbers}),
        "systems": len({int(s) for s in rows.system}),
        "groups": [g for g in rows.groups if g][:MOST_GROUPS],
        "largest": int(rows.atoms.max()),
        "charged": any(s.charge or s.spin != 1 for s in rows.systems),
        "targets": [{k: t[k] for k in keep if k in t} for t in found],
        "left_out": f"{left} more systems or temperatures are in the errors, and are not simulated" if left > 0 else "",
        **more,
    }
    return facts | {"not_allowed": said(facts)}
