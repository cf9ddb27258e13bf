"""The tasks that your own data allow: rows of a suite's YAML, short enough for a few minutes with a light model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ffbench_data.own.facts import of_system

ATOM_STEPS = 1_500_000  # of all simulations at a temperature together, about a minute and a half of a light model
NVE_ATOM_STEPS = 200_000
REPLICAS, NVE_REPLICAS = 3, 2
STEPS = 12_000  # of all together: small molecules cost by the step
LONGEST_PS, SHORTEST_PS = 5, 1  # g(r) is watched over windows of 1 ps
UNSTATED_K = 300.0
FRAMES = {"errors": 1000, "confidence": 1000}
FEWEST_CONFIDENCE = 60  # frames, below which no part of three says anything
HYDROGEN_FS, HEAVY_FS = 0.5, 1.0


def suite_rows(
    name: str, version: str, dataset: str, facts: dict[str, Any], told: Sequence[str] = ()
) -> dict[str, Any]:
    """The suite of a data set as YAML has it. ``dataset`` is how its tasks name it; ``facts`` are those of
    `ffbench_data.own.read_facts`, ``told`` the lines about what was read. The notes of the tasks, which the report
    keeps, hold both."""
    said = left_out(facts)
    tasks: dict[str, Any] = {"errors": _errors(dataset, [*(f"not measured: {line}" for line in said), *told])}
    targets = facts["targets"]
    for target in targets:
        tasks |= _simulations(dataset, target, targets, bool(facts["calculator"]))
    tasks |= _scans(dataset, facts)
    tasks |= _confidence(dataset, facts)
    tasks |= _cost(dataset, targets)
    return {
        "name": name,
        "version": version,
        "description": "Made from the data by `ffbench suite for`. Not measured: " + "; ".join(said) if said
        else "Made from the data by `ffbench suite for`.",
        "tasks": tasks,
    }  # fmt: skip


def left_out(facts: dict[str, Any]) -> list[str]:
    """What the data do not allow, and which tasks are therefore missing."""
    out = list(facts["not_allowed"])
    if not _confidence("", facts):
        out.append(
            f"{facts['frames']['test']} test frames are too few (below {FEWEST_CONFIDENCE}): confidence is not tested"
        )
    return out


def _errors(dataset: str, said: list[str]) -> dict[str, Any]:
    note = {"note": "\n".join(line[0].upper() + line[1:] for line in said)} if said else {}
    return {
        "title": "Errors on unseen frames", "kind": "accuracy_in_parts", "version": "1", "dataset": dataset, **note,
        "split": "test", "max_frames": FRAMES["errors"],
    }  # fmt: skip


def _simulations(dataset: str, target: dict[str, Any], targets: list[dict[str, Any]], truth: bool) -> dict[str, Any]:
    """Two rows for one system: at its temperature, held against the data where they were drawn at one, and at constant
    energy."""
    stated = target["temperature_K"] is not None
    kelvin = target["temperature_K"] or UNSTATED_K
    step = HYDROGEN_FS if 1 in target["elements"] else HEAVY_FS
    length = _length(len(targets), target["n_atoms"], step)
    save = 50 * step
    observables = ["temperature"]
    if stated and (target["open"] or target["periodic"]):
        observables.insert(0, "distance_histogram" if target["open"] else "rdf")
        observables += ["angle_histogram"] if target["n_atoms"] > 2 else []
    moving = target.get("diffusivity")
    if moving and 0.9 * length >= moving["needs_ps"]:
        observables.append("diffusivity")
    where = dataset if target["config"] == "default" else f"{dataset}:{target['config']}"
    end = "" if target["config"] == "default" else f"_{target['config']}"
    common = {"kind": "molecular_dynamics", "version": "2", "dataset": where}
    missing = ["the data state no temperature: stability only, at 300 K"] * (not stated) + of_system(target)
    note: dict[str, Any] = {"note": "; ".join(missing)[0].upper() + "; ".join(missing)[1:] + "."} if missing else {}
    note |= {} if stated else {"indicative": True}
    nve_ps = max(
        0.2, min(1.0, round(NVE_ATOM_STEPS / len(targets) / (target["n_atoms"] * NVE_REPLICAS) * step / 1000, 1))
    )
    return {
        f"dynamics{end}": {
            "title": f"{target['formula']}, {REPLICAS} x {length:g} ps at {kelvin:g} K", **common, **note,
            "ensemble": "nose_hoover", "temperature_K": kelvin, "time_step_fs": step, "length_ps": length,
            "skip_ps": 0.1 * length, "save_every_fs": save, "replicas": REPLICAS, "observables": observables,
            **({"truth_frames": 20} if truth else {}),
        },
        f"energy_drift{end}": {
            "title": f"{target['formula']}, energy drift in {NVE_REPLICAS} x {nve_ps:g} ps from {kelvin:g} K", **common,
            "ensemble": "nve", "temperature_K": kelvin, "time_step_fs": step, "length_ps": nve_ps, "skip_ps": 0,
            "save_every_fs": 10 * step, "replicas": NVE_REPLICAS, "observables": ["energy_drift"],
        },
    }  # fmt: skip


def _length(systems: int, atoms: int, step_fs: float) -> int:
    """Whole picoseconds of one of ``systems`` simulations."""
    steps = min(STEPS, ATOM_STEPS / (atoms * REPLICAS)) / systems
    return int(max(SHORTEST_PS, min(LONGEST_PS, steps * step_fs / 1000)))


def _scans(dataset: str, facts: dict[str, Any]) -> dict[str, Any]:
    if facts.get("scans"):
        return {"bond_scans": {"title": "Bond smoothness against the reference", "kind": "bsct", "version": "2",
                               "dataset": f"{dataset}:bond_scans"}}  # fmt: skip
    if not any(t["open"] for t in facts["targets"]):
        return {}
    return {"bond_scans": {"title": "Bond smoothness, without a reference", "kind": "bond_smoothness", "version": "1",
                           "dataset": dataset, "split": "test"}}  # fmt: skip


def _confidence(dataset: str, facts: dict[str, Any]) -> dict[str, Any]:
    labels, test = facts["labels"], facts["frames"]["test"]
    rules = (["energy_quantile"] if labels["energy"] else []) + (["force_quantile"] if labels["forces"] else [])
    if test < FEWEST_CONFIDENCE or not rules:
        return {}
    ood = [{"name": "ood", "split": "ood_test", "max_frames": 500}] if facts["frames"]["ood_test"] else []
    row = {"title": "Does the model know when it is wrong", "kind": "selective", "version": "2", "dataset": dataset,
           "split": "test", "max_frames": FRAMES["confidence"], "rules": rules,
           "energy_offsets": "elements"}  # fmt: skip
    return {"confidence": row | ({"out_of_distribution": ood} if ood else {})}


def _cost(dataset: str, targets: list[dict[str, Any]]) -> dict[str, Any]:
    if not targets:
        return {}
    t = targets[0]
    where = dataset if t["config"] == "default" else f"{dataset}:{t['config']}"
    step = HYDROGEN_FS if 1 in t["elements"] else HEAVY_FS
    return {"cost": {"title": f"Speed on {t['formula']}", "kind": "speed", "version": "1", "dataset": where,
                     "ensemble": "nve", "temperature_K": t["temperature_K"] or UNSTATED_K, "time_step_fs": step,
                     "length_ps": 10, "save_every_fs": 100 * step, "replicas": 1}}  # fmt: skip
