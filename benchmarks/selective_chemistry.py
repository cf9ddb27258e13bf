"""Do published potentials know when their relative energies are wrong? A study, not a task of a suite.

    python benchmarks/selective_chemistry.py answers ani1x ani1ccx   # once: asks the eight networks, a minute each
    python benchmarks/selective_chemistry.py                         # the study, from what is committed alone

Cases are the reactions of the suite ``chemistry`` that all rows below cover (neutral, closed shell, H C N O);
predictions are rebuilt from the signed errors in ``leaderboard/entries``. A case fails where its error exceeds 1
kcal/mol, or the model's own median. Sources of confidence: the spread of the eight networks over the reaction
(`ensemble`), the networks' spreads of each structure added in squares (`own_uncertainty`), the spread of the other
rows and the distance from their median (`committee_spread`, `committee_distance`), the distance of the mean embedding
to the nearest structure of another parent molecule (`embedding_distance`), and two controls: the number of atoms
(`size_only`) and the size of the predicted energy (`energy_only`). Intervals: bootstrap over parent molecules within
sets. Writes results/selective_chemistry.json.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from ffbench_data import load_frames
from ffbench_data.load import dataset_folder
from ffbench_data.observables import read_reference
from ffbench_eval.suite import load_suite
from ffbench_metrics import augrc, group_bootstrap, spearman

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "selective_chemistry.json"
ANSWERS = HERE / "results" / "selective_chemistry_ani.npz"
ENTRIES = HERE.parent / "leaderboard" / "entries"
ROWS = ("ani1x", "ani1ccx", "so3lr", "chgnet", "gfn1", "gfn2")
LIMIT = 1.0  # kcal/mol
PROMISED = 0.9
SPLITS = 200
FEWEST = 20  # cases of a part
KCAL = 0.0433641042418  # eV


@dataclass
class Cases:
    """``name`` [n] set, ``group`` [n] its kind, ``parent`` [n], ``reference`` [n] kcal/mol, ``terms``: (coefficient,
    place among all structures), ``error`` {row: [n] signed}, ``atoms`` [S] of structures."""

    name: np.ndarray
    group: np.ndarray
    parent: np.ndarray
    reference: np.ndarray
    terms: list
    error: dict[str, np.ndarray]
    atoms: np.ndarray
    hetero: np.ndarray


def structures():
    """(set, frames, facts, first place) of every set, structures counted through."""
    at = 0
    for task in load_suite("chemistry").tasks:
        frames = load_frames("relative_energies", task.config, "test")
        yield task.name, frames, read_reference(dataset_folder("relative_energies"), task.config).facts, at
        at += len(frames)


def cases() -> Cases:
    found = {
        row: json.loads(next(ENTRIES.glob(f"ffbench__{row}/*/chemistry.json")).read_text())["report"]["tasks"]
        for row in ROWS
    }
    rows, atoms, hetero = [], [], []
    for name, frames, facts, first in structures():
        atoms += frames.n_atoms.tolist()
        hetero += [bool(np.isin(f.atomic_numbers, (7, 8)).any()) for f in frames]
        signed = {}
        for row in ROWS:
            metric = found[row][name]["metrics"].get("relative_energy_bias")
            signed[row] = metric["values"] if metric and metric["values"] else [None] * len(facts["reactions"])
        for k, reaction in enumerate(facts["reactions"]):
            if all(signed[row][k] is not None for row in ROWS):
                terms = [(c, first + int(i)) for c, i in reaction["terms"]]
                rows.append((name, facts["group"], f"{name} {reaction['parent']}", reaction["reference"], terms,
                             [signed[row][k] for row in ROWS]))  # fmt: skip
    name, group, parent, reference, terms, errors = zip(*rows)
    error = {row: np.array([e[k] for e in errors]) for k, row in enumerate(ROWS)}
    of = np.array
    return Cases(of(name), of(group), of(parent), of(reference), list(terms), error, of(atoms), of(hetero))


def ask(models: list[str]) -> None:
    """Energies of the eight networks [S, 8] (eV, NaN where not covered) and 16 components of the mean embedding."""
    import torch

    from ffbench_data import collate
    from ffbench_data.neighbors import with_edges
    from ffbench_eval.models.coverage import covered
    from reference_models.providers import pretrained

    kept = dict(np.load(ANSWERS)) if ANSWERS.exists() else {}
    for name in models:
        model = pretrained(name)
        said: list[torch.Tensor] = []

        def keep(module, given, out, said=said):
            said.append(out[0].detach().double())

        for network in model.fn.networks:
            network.register_forward_hook(keep)
        energy, vectors = [], []
        for _, frames, _, _ in structures():
            can = covered(model, frames)
            for k in range(len(frames)):
                if not can[k]:
                    energy.append(np.full(8, np.nan))
                    vectors.append(np.full(384, np.nan))
                    continue
                said.clear()
                out = model(with_edges(collate(frames, indices=[k]), model.cutoff))
                each = np.array([float(v.sum()) for v in said]) * 27.211386245988
                energy.append(each - each.mean() + float(out.energy[0]))
                vectors.append(out.embedding.double().mean(0).numpy())
        x = np.array(vectors)
        good = np.isfinite(x[:, 0])
        centred = x[good] - x[good].mean(0)
        _, _, axes = np.linalg.svd(centred, full_matrices=False)
        short = np.full((len(x), 16), np.nan)
        short[good] = centred @ axes[:16].T
        mean = np.mean(energy, axis=1)
        kept[f"{name} mean"] = mean
        kept[f"{name} off"] = (np.array(energy) - mean[:, None]).astype(np.float32)
        kept[f"{name} embedding"] = short.astype(np.float32)
        np.savez_compressed(ANSWERS, **kept)


def sources(c: Cases, row: str, kept) -> dict[str, np.ndarray]:
    """{source: [n] doubt, high where the answer should not be trusted}."""
    said = {r: c.error[r] + c.reference for r in ROWS}
    others = np.array([said[r] for r in ROWS if r != row])
    out = {
        "committee_spread": others.std(0, ddof=1),
        "committee_distance": np.abs(said[row] - np.median(others, axis=0)),
        "size_only": np.array([max(c.atoms[i] for _, i in t) for t in c.terms], float),
        "energy_only": np.abs(said[row]),
    }
    if f"{row} off" in kept:
        off = kept[f"{row} off"].astype(float)
        out["ensemble"] = np.array([sum(k * off[i] for k, i in t).std(ddof=1) for t in c.terms]) / KCAL
        out["own_uncertainty"] = np.array(
            [np.sqrt(sum(k**2 * off[i].var(ddof=1) for k, i in t)) for t in c.terms]
        ) / KCAL  # fmt: skip
        out["embedding_distance"] = _distance(c, kept[f"{row} embedding"].astype(float))
    return out


def _distance(c: Cases, x: np.ndarray) -> np.ndarray:
    """[n] of the structure of each reaction that is farthest from all structures of other parents."""
    owner: dict[int, str] = {}
    for parent, t in zip(c.parent, c.terms):
        for _, i in t:
            owner.setdefault(i, parent)
    rows = np.array(sorted(owner))
    who = np.array([owner[i] for i in rows])
    d = np.linalg.norm(x[rows][:, None] - x[rows][None], axis=-1)
    d[who[:, None] == who[None]] = np.inf
    nearest = dict(zip(rows.tolist(), d.min(1)))
    return np.array([max(nearest[i] for _, i in t) for t in c.terms])


def gain(doubt: np.ndarray, failed: np.ndarray) -> float:
    """AUGRC as a share of the way from chance (0) to the perfect order (1). ValueError with one class only."""
    e = failed.mean()
    if not 0 < e < 1:
        raise ValueError("one class only")
    return float((e / 2 - augrc(-doubt, failed)) / (e / 2 - e**2 / 2))


def score(doubt, failed, parent) -> dict:
    try:
        found = group_bootstrap(lambda k: gain(doubt[k], failed[k]), parent, resamples=1000)
        return {"gain": round(found.value, 3), "interval": [round(found.low, 3), round(found.high, 3)]}
    except ValueError as error:
        return {"gain": None, "why": str(error)}


def parts(c: Cases) -> dict[str, np.ndarray]:
    """Rows of the parts that are shown: everything, kinds of sets, with and without N and O, small and large."""
    hetero = np.array([any(c.hetero[i] for _, i in t) for t in c.terms])
    size = np.array([max(c.atoms[i] for _, i in t) for t in c.terms])
    kinds = {f"kind: {g}": c.group == g for g in np.unique(c.group)}
    return {
        "all": np.ones(len(size), bool), "without S66x8": c.name != "s66x8", **kinds,
        "hydrocarbons": ~hetero, "with N or O": hetero, "up to 15 atoms": size <= 15, "above 15 atoms": size > 15,
    }  # fmt: skip


def conformal(error: np.ndarray, doubt: np.ndarray, c: Cases) -> dict:
    """Coverage kept where `PROMISED` is promised: by halves of parent molecules (mean and range over `SPLITS`
    splits), and on each kind of set with the threshold of all others; beside it the half width."""

    def threshold(cal: np.ndarray) -> float:
        ratio = np.sort(np.abs(error[cal]) / doubt[cal])
        rank = int(np.ceil((len(ratio) + 1) * PROMISED)) - 1
        return float(ratio[rank]) if rank < len(ratio) else np.inf

    rng, parents = np.random.default_rng(0), np.unique(c.parent)
    kept, wide = [], []
    for _ in range(SPLITS):
        mine = np.isin(c.parent, rng.permutation(parents)[: len(parents) // 2])
        q = threshold(mine)
        kept.append(np.mean(np.abs(error[~mine]) <= q * doubt[~mine]))
        wide.append(np.median(q * doubt[~mine]))
    out = {"same kinds": [round(float(v), 3) for v in (np.mean(kept), *np.quantile(kept, [0.025, 0.975]))],
           "half width": round(float(np.mean(wide)), 2)}  # fmt: skip
    for g in np.unique(c.group):
        other = c.group != g
        if (~other).sum() >= FEWEST:
            q = threshold(other)
            out[f"unseen: {g}"] = round(float(np.mean(np.abs(error[~other]) <= q * doubt[~other])), 3)
    return out


def study() -> dict:
    c, kept = cases(), np.load(ANSWERS) if ANSWERS.exists() else {}
    out: dict = {"cases": len(c.reference), "parents": len(np.unique(c.parent)), "sets": len(np.unique(c.name)),
                 "limit kcal/mol": LIMIT, "promised": PROMISED, "models": {}}  # fmt: skip
    for row in ROWS:
        error, doubts = c.error[row], sources(c, row, kept)
        if f"{row} mean" in kept:
            again = np.array([sum(k * kept[f"{row} mean"][i] for k, i in t) for t in c.terms]) / KCAL - c.reference
            assert np.abs(again - error).max() < 0.05, f"{row}: the networks answer otherwise than the entry"
        about: dict = {"MAE": round(float(np.abs(error).mean()), 3), "sources": {}, "conformal": {}}
        for rule, limit in (("1 kcal/mol", LIMIT), ("own median", float(np.median(np.abs(error))))):
            failed = (np.abs(error) > limit).astype(float)
            about[f"failed, {rule}"] = round(float(failed.mean()), 3)
            for name, doubt in doubts.items():
                rows = about["sources"].setdefault(name, {})
                for part, mine in parts(c).items():
                    if mine.sum() >= FEWEST and (part == "all" or rule == "1 kcal/mol"):
                        rows[f"{part}, {rule}"] = score(doubt[mine], failed[mine], c.parent[mine])
        for name, doubt in doubts.items():
            about["sources"][name]["spearman"] = round(spearman(doubt, np.abs(error)), 3)
        for name, doubt in {"constant": np.ones(len(error)), **doubts}.items():
            about["conformal"][name] = conformal(error, np.maximum(doubt, 1e-3), c)
        out["models"][row] = about
    return out


if __name__ == "__main__":
    if sys.argv[1:2] == ["answers"]:
        ask(sys.argv[2:] or ["ani1x", "ani1ccx"])
    else:
        RESULTS.write_text(json.dumps(study(), indent=1) + "\n")
