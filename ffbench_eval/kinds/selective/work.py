"""Selective classification: does the model, or a probe on its embeddings, know which answers are wrong?

The model runs once over data it never saw; whole groups of it (molecules, or blocks of a trajectory) are dealt to a
training, a calibration and a test part; every confidence source the model allows is fitted and scored on the test part
and on out-of-distribution parts.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator

from ffbench_data.atomic import write_text
from ffbench_data.datacard import known

from ...models.batching import batch_atoms
from ...models.coverage import covered
from ..base import MetricsAndCurves, Progress, UnitValues
from .labels import RULES, UNITS, label, one_class, residual, threshold_of

if TYPE_CHECKING:
    import torch

    from ffbench_data.contract import ForceField
    from ffbench_data.frames import Frames

    from ...run.data import TaskData
    from ...run.units import Result
    from ...suite import Task
    from .cases import Cases
    from .labels import Rule


class Other(BaseModel):
    """Out-of-distribution frames: another split, config or dataset (``name:config``)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[A-Za-z0-9_\-]+$")
    dataset: str | None = None
    split: str = "ood_test"
    max_frames: int | None = Field(default=None, gt=0)
    remove_mean_error: bool = False  # energies of another molecule: the mean signed error is no failure


class Parameters(BaseModel):
    """``rules`` say what counts as wrong, the first is the headline. ``energy_offsets: elements`` removes energies per
    element fitted on the calibration part, for models of another energy zero. ``sources``: all if absent."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    split: str = "test"
    max_frames: int | None = Field(default=None, gt=0)
    groups: Literal["auto", "scans", "molecules", "blocks"] = "auto"
    out_of_distribution: list[Other] = Field(default_factory=list)
    rules: list[str] = Field(default=["energy_quantile", "force_quantile", "force_absolute"], min_length=1)
    energy_offsets: Literal["none", "elements"] = "none"
    target_risk: float = Field(default=0.05, gt=0, lt=1)
    coverage: float = Field(default=0.25, gt=0, le=1)
    sources: list[str] | None = None
    probe: dict[str, float] = Field(default_factory=dict)

    @field_validator("rules")
    @classmethod
    def _known_rules(cls, names: list[str]) -> list[str]:
        return [known(name, RULES, "rule") for name in names]

    @field_validator("sources")
    @classmethod
    def _known_sources(cls, names: list[str] | None) -> list[str] | None:
        from .catalogue import SOURCES

        return None if names is None else [known(name, SOURCES, "source") for name in names]


def plan(task: Task, data: TaskData, seed: int) -> list[dict]:
    """One unit; the content of the other parts is in its inputs, so that it is in its address."""
    p = task.parameters
    parts = [{"name": "test", "rows": _thinned(len(data.frames), p.max_frames)}]
    for other in p.out_of_distribution:
        frames, content = _load(task, other)
        parts.append({"name": other.name, "rows": _thinned(len(frames), other.max_frames), "content": content})
    return [{"parts": parts}]


def other_frames(task: Task) -> dict[str, Any]:
    """Frames of other data that the unit asks the model about, by what they are."""
    found = {}
    for other in task.parameters.out_of_distribution:
        frames, content = _load(task, other)
        found[f"{other.dataset or task.data_name}:{other.name}:{other.split}@{content[:8]}"] = frames
    return found


def _thinned(frames: int, wanted: int | None) -> list[int]:
    """Evenly spaced rows, so that time stays in order."""
    if wanted is None or wanted >= frames:
        return list(range(frames))
    return np.unique(np.linspace(0, frames - 1, wanted).round().astype(int)).tolist()


def _load(task: Task, other: Other) -> tuple[Any, str]:
    from ffbench_data.datacard import parse_name
    from ffbench_data.load import load_frames, provenance

    dataset, config = parse_name(other.dataset) if other.dataset else (task.dataset, task.config)
    frames = load_frames(dataset, config, other.split)
    return frames, provenance(dataset, config, other.split)["splits"][other.split]["content_sha256"]


def sample_rows(data: TaskData, model: ForceField, count: int) -> np.ndarray:
    """``count`` frames whose elements the model covers, to ask it once and to time it; none if there are none."""
    return np.flatnonzero(covered(model, data.frames))[:count]


def calls(task: Task, inputs: dict[str, Any], data: TaskData, model: ForceField) -> tuple[int, float]:
    per_call = max(1, batch_atoms(model) // int(data.frames.n_atoms.max()))
    return per_call, sum(len(part["rows"]) for part in inputs["parts"]) / per_call


class Values(UnitValues, total=False):
    pass  # the confidences lie in files


def run_unit(
    task: Task,
    inputs: dict[str, Any],
    data: TaskData,
    model: ForceField,
    folder: Path,
    progress: Progress,
    compile: str = "auto",
) -> UnitValues:
    from ...models.embedding import bare, members_of, with_embedding
    from ...models.guard import guarded
    from .groups import UNUSED, deal, groups_of

    p = task.parameters
    inside = bare(model)
    members = [guarded(m) for m in members_of(inside)]
    hooked = with_embedding(inside)
    model = model if hooked is inside else guarded(hooked)
    status, detail, asked_s, asked = [], [], 0.0, 0
    cases, samples, blocks, by = {}, {}, {}, ""
    others = {o.name: o for o in p.out_of_distribution}
    total = sum(len(part["rows"]) for part in inputs["parts"])
    for part in inputs["parts"]:
        name, rows = part["name"], np.array(part["rows"])
        frames = data.frames if name == "test" else _load(task, others[name])[0]
        asked_for, rows = len(rows), rows[covered(model, frames)[rows]]
        if len(rows) < asked_for:
            what = f"{asked_for - len(rows)} of {asked_for} frames"
            detail.append(f"{name}: unsupported elements, charge or spin in {what}, left out")
        if not len(rows):
            status.append("unsupported")
            continue
        groups = groups_of(frames[rows], p.groups if name == "test" else "auto", gaps=name == "test")
        detail.append(f"{name}: {groups.note}")
        by = groups.by if name == "test" else by

        def moved(done: float, before: int = asked, here: int = len(rows)) -> None:
            progress(0.5 * (before + done * here) / total)

        got, seconds, raised = _answers(model, members, frames, rows, folder, name, moved)
        asked_s, asked = asked_s + seconds, asked + len(rows)
        fine = got.finite()
        status.append("ok" if fine.all() else "model_error")
        detail += _faults(name, fine, raised)
        kept = np.flatnonzero(groups.block != UNUSED)
        if len(kept):
            cases[name], samples[name], blocks[name] = got[kept], groups.sample[kept], groups.block[kept]
            lost = int((~fine[kept]).sum())
            if lost:
                detail.append(f"{name}: {lost} frames without an answer count as failed and as those trusted most")
    if "test" not in cases or not cases["test"].finite().any():
        return {"status": status, "detail": detail, "force_calls": 0}
    try:
        split = deal(blocks["test"])
    except ValueError as error:
        return _nothing(folder, p, status, detail, str(error))
    parts = {k: replace(cases["test"], group=blocks["test"])[rows] for k, rows in split.items()}
    keep = {k: samples["test"][rows] for k, rows in split.items()}
    for name in (o for o in others if o in cases):
        fresh = _fresh(cases[name], parts, by)
        if len(fresh) < len(cases[name]):
            left_out = len(cases[name]) - len(fresh)
            detail.append(f"{name}: {left_out} structures of molecules in the training parts were left out")
        if len(fresh):
            parts[name], keep[name] = cases[name][fresh], samples[name][fresh]
    answered = {k: c.finite() for k, c in parts.items()}
    silent = {k: (c[~answered[k]], keep[k][~answered[k]]) for k, c in parts.items()}
    parts, keep = {k: c[answered[k]] for k, c in parts.items()}, {k: s[answered[k]] for k, s in keep.items()}
    parts, shifts = _aligned(parts, p, others)
    about, arrays = _fit_all(p, parts, keep, silent, lambda d: progress(0.5 + 0.5 * d), model.device)
    about["cost"] = None if not asked else {"model_s": asked_s / asked, "structures": asked}
    about["split"] = {k: len(v) for k, v in split.items()}
    np.savez_compressed(folder / "confidence.npz", **arrays)
    write_text(folder / "about.json", json.dumps(about, indent=1))
    detail += shifts + about["missing"]
    detail += [f"{rule}: {facts['why_not']}" for rule, facts in about["rules"].items() if facts.get("why_not")]
    return {"status": status, "detail": detail, "force_calls": asked}


def _answers(
    model: ForceField,
    members: list[ForceField],
    frames: Frames,
    rows: np.ndarray,
    folder: Path,
    name: str,
    progress: Progress,
) -> tuple[Cases, float, dict[int, str]]:
    """(what the model says of the frames ``rows``, seconds of the processor, what it raised by row): asked once, and
    read again where a process before has asked."""
    from .cases import ask, load_cases

    path, cost = folder / f"predictions-{name}.npz", folder / f"asked-{name}.json"
    if not (path.exists() and cost.exists()):
        begun = time.process_time()
        raised: dict[int, str] = {}
        ask(model, frames, rows, members=members, progress=progress, raised=raised).save(path)
        told = [[row, text] for row, text in sorted(raised.items())]
        write_text(cost, json.dumps({"seconds": time.process_time() - begun, "raised": told}))
    about = json.loads(cost.read_text())
    return load_cases(path), about["seconds"], dict(about["raised"])


def _faults(name: str, fine: np.ndarray, raised: dict[int, str]) -> list[str]:
    """What a unit says of the frames without a finite answer."""
    lines = []
    if raised:
        row = next(iter(raised))
        lines.append(f"{name}: the model raised on {len(raised)} of {len(fine)} frames; frame {row}: {raised[row]}")
    if (~fine).sum() > len(raised):
        lines.append(f"{name}: the answer is not finite on {int((~fine).sum())} of {len(fine)} frames")
    return lines


def _fresh(cases: Cases, parts: dict[str, Cases], by: str) -> np.ndarray:
    """The rows of structures that the parts for training have not seen: of other molecules where these were dealt."""
    from .groups import new_molecules

    if by != "molecules":
        return np.arange(len(cases))
    return np.flatnonzero(new_molecules(cases, parts["train"], parts["calibration"]))


def _nothing(folder: Path, p: Parameters, status: list[str], detail: list[str], why: str) -> UnitValues:
    """A finished unit without a score, and the reason for every rule."""
    about: dict[str, Any] = {"rules": {rule: {"why_not": why} for rule in p.rules}, "missing": [], "cost": None}
    write_text(folder / "about.json", json.dumps(about, indent=1))
    np.savez(folder / "confidence.npz")
    return {"status": status, "detail": [*detail, why], "force_calls": 0}


def _aligned(parts: dict[str, Cases], p: Parameters, others: dict[str, Other]):
    """Energies after the offsets of the task: per element from the calibration part, a mean error per other part."""
    from ffbench_metrics import element_offsets

    from .features import counts

    notes = []
    if p.energy_offsets == "elements":
        fit = parts["calibration"]
        assert fit.reference_energy is not None  # every part that is dealt has labels
        elements = np.unique(np.concatenate([c.atomic_numbers for c in parts.values()]))
        good = np.isfinite(fit.energy) & np.isfinite(fit.reference_energy)
        shares = element_offsets(counts(fit, elements)[good], fit.energy[good], fit.reference_energy[good])
        parts = {k: replace(c, energy=c.energy - counts(c, elements) @ shares) for k, c in parts.items()}
        notes.append("energies: offsets per element fitted on the calibration part were removed")
    for name, other in others.items():
        if other.remove_mean_error and name in parts and len(parts[name]):
            c = parts[name]
            assert c.reference_energy is not None
            shift = float(np.nanmean(c.energy - c.reference_energy))
            parts[name] = replace(c, energy=c.energy - shift)
            notes.append(f"{name}: the mean energy error of {shift:.4g} eV was removed")
    return parts, notes


def _fit_all(
    p: Parameters,
    parts: dict[str, Cases],
    samples: dict[str, np.ndarray],
    silent: dict[str, Any],
    progress: Progress,
    device: torch.device,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Fit every source under every rule; confidences of all parts but the training one.

    ``silent`` are the structures of each part on which the model gave no answer, with their samples.
    """
    from .catalogue import SOURCES, available
    from .silent import confidence_with, labels_with

    names, missing = available(parts["train"])
    names = [n for n in names if p.sources is None or n in p.sources]
    about: dict[str, Any] = {"missing": missing, "rules": {}}
    arrays: dict[str, Any] = {}
    done, steps = 0, len(p.rules)
    for rule_name in p.rules:
        rule = RULES[rule_name]
        known_parts = {k: _labelled(c, samples.get(k), rule) for k, c in parts.items()}
        facts: dict[str, Any] = {"unit": UNITS[rule.quantity], "sources": [], "probability": {}, "domains": []}
        facts["fit_s"] = {}
        about["rules"][rule_name] = facts
        train, _ = known_parts["train"]
        if not len(train) or not len(known_parts["calibration"][0]) or not len(known_parts["test"][0]):
            facts["why_not"] = f"too few frames with a reference for {rule.quantity}"
            continue
        limit = threshold_of(train, rule)
        facts["threshold"] = limit
        labelled = {k: (label(c, rule, limit), s) for k, (c, s) in known_parts.items()}
        train = labelled["train"][0]
        assert train.failed is not None  # just labelled
        single = one_class(train.failed)
        facts["train_prevalence"] = float(np.mean(train.failed))
        if single:
            facts["why_not"] = f"training part: {single} at {limit:.4g} {facts['unit']}; nothing to learn or to rank"
            continue
        both = {k: (*labelled[k], *silent[k]) for k in labelled if k != "train"}
        scored = {k: labels_with(a, b, c, d, rule, limit) for k, (a, b, c, d) in both.items()}
        scored = {k: columns for k, columns in scored.items() if len(columns["failed"])}
        facts["domains"] = [k for k in scored if k != "calibration"]
        for k, columns in scored.items():
            arrays |= {f"{rule_name}|{k}|{column}": values for column, values in columns.items()}
        for name in names:
            make = SOURCES[name][0]
            begun = time.process_time()
            settings = {k: _plain(v) for k, v in p.probe.items()} if name == "probe" else {}
            source = make(**settings, **({"device": device} if name == "probe" else {}))
            try:
                if name == "probe":
                    source.fit(train, progress=lambda d, i=done: progress((i + 0.9 * d) / steps))
                else:
                    source.fit(train)
            except ValueError as error:
                missing.append(f"{rule_name}: {name} could not be fitted: {error}")
                continue
            facts["fit_s"][name] = round(time.process_time() - begun, 3)
            facts["sources"].append(name)
            facts["probability"][name] = bool(source.probability)
            for k, (c, _) in labelled.items():
                if k in scored:
                    begun = time.process_time()
                    known_to = np.asarray(source.score(c), float) if len(c) else np.zeros(0)
                    arrays[f"{rule_name}|{k}|{name}"] = confidence_with(name, known_to, scored[k]["residual"])
                    if name == "probe" and k == "test":
                        facts["probe_score_s"] = (time.process_time() - begun) / len(c)
            if name == "probe":
                facts["history"] = source.history
                if "molecule" not in about:
                    about["molecule"] = _example(source, labelled["test"][0])
        done += 1
        progress(done / steps)
    return about, arrays


def _plain(value: float) -> float | int:
    return int(value) if float(value).is_integer() else value


def _labelled(cases: Cases, sample: np.ndarray | None, rule: Rule):
    """Structures whose truth is known for this rule, and the samples they belong to."""
    error = residual(cases, rule.quantity)
    good = np.isfinite(error)
    if rule.quantity == "atom_force":
        good = np.logical_and.reduceat(good, cases.offsets[:-1])
    rows = np.flatnonzero(good)
    return cases[rows], None if sample is None else sample[rows]


def _example(probe: Any, cases: Cases) -> dict[str, Any]:
    """The structure of the test part that the probe trusts least among the smaller ones, for the picture."""
    score = probe.score(cases)
    lowest = np.minimum.reduceat(score, cases.offsets[:-1]) if cases.level == "atom" else score
    at = int(np.argmin(np.where(cases.n_atoms <= np.median(cases.n_atoms), lowest, np.inf)))
    one = cases[[at]]
    return {
        "numbers": one.atomic_numbers.tolist(),
        "positions": np.round(one.positions, 4).tolist(),
        "importance": np.round(probe.importance(one), 5).tolist(),
        "confidence": float(np.min(probe.score(one))),
    }


def score(task: Task, results: Sequence[Result], data: TaskData) -> MetricsAndCurves:
    """AUGRC and AUROC of every source, all scores of the headline source, per domain; the curves of the page."""
    from .rows import curves, metrics

    folders = _folders(results)
    if not folders:
        return {}, {}
    return metrics(folders[0], task.parameters), curves(folders[0])


def headline(results: Sequence[Result]) -> str:
    """The source that stands for the model: the best on the calibration part; empty if nothing could be scored."""
    from .headline import headline_source

    folders = _folders(results)
    return headline_source(folders[0]) if folders else ""


def _folders(results: Sequence[Result]) -> list:
    return [r.folder for r in results if (r.folder / "about.json").exists()]
