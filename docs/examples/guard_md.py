"""Stop a simulation when the model no longer knows what it is doing.

    OMP_NUM_THREADS=1 python docs/examples/guard_md.py

A PROBE is fitted on the embeddings of the shipped PaiNN of ethanol, from frames the model never saw. Its threshold is
chosen on a part of its own so that at most 5 % of the accepted structures have a force error above the limit. Then a
simulation is heated from 300 to 3000 K. Every 10 fs the last prediction, which is there anyway, is scored; three
scores in a row below the threshold stop the run. The truth (GFN2-xTB) is asked afterwards, for every scored structure,
so that the risk that was promised stands beside the risk that was met.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np
import torch
from ase.data import atomic_masses

import reference_models
from ffbench_data import collate, load_frames, reference
from ffbench_eval.kinds.selective.cases import joined
from ffbench_eval.selective import Cases, Probe, ask, cases_of, deal, groups_of, label, threshold_for_risk

RISK = 0.05
FORCE_LIMIT = 0.03  # eV/Angstrom, largest force error of an atom that is still called reliable
STEP_FS, EVERY, IN_A_ROW = 0.5, 20, 3
KB = 8.617333e-5  # eV/K
SPEED = 1 / 103.642696  # (eV/Angstrom)/amu in Angstrom/fs^2


def fitted_guard(model, risk: float = RISK, quiet: bool = False) -> tuple[Probe, float]:
    """(probe, threshold): trained on one part of unseen frames, the threshold chosen on another for this risk.

    In-distribution frames alone teach a probe nothing about broken molecules, so half of the bond scans go to its
    training part as well: what it may meet must be in what it learns from.
    """
    frames = load_frames("ethanol_gfn2", split="test")
    scans = load_frames("ethanol_gfn2", "bond_scans", "test")
    block = groups_of(frames).block
    part = deal(block)
    bonds = groups_of(scans).block
    chosen = {"train": bonds < 5, "calibration": (bonds == 5) | (bonds == 6), "test": bonds == 7}
    said, strange = ask(model, frames), ask(model, scans)
    said = replace(said, group=block)
    strange = replace(strange, group=bonds + block.max() + 1)

    def cases(name: str) -> Cases:
        near = np.flatnonzero(chosen[name])[::3]
        both = joined([said[part[name]], strange[near]])
        return label(both, "force_absolute", threshold=FORCE_LIMIT)

    train, calibration, test = cases("train"), cases("calibration"), cases("test")
    probe = Probe(max_epochs=60).fit(train)
    threshold = threshold_for_risk(probe.score(calibration), calibration.failed, risk)
    if not quiet:
        accepted = probe.score(test) >= threshold
        print(f"probe: {len(train)} structures to train on, {train.failed.mean():.0%} of them failed")
        print(f"threshold {threshold:.3f} for a risk of {risk:.0%} on the calibration part")
        print(f"test part: {accepted.mean():.0%} accepted, of which {_share(test.failed[accepted])} failed")
    return probe, threshold


def guarded_run(model, probe: Probe, threshold: float, *, length_ps: float, hottest_K: float, seed: int = 0):
    """Langevin dynamics from the first test frame, heated linearly: (cases, scores, temperatures, stopped at)."""
    rng = np.random.default_rng(seed)
    batch = collate(load_frames("ethanol_gfn2", split="test"), indices=[0])
    mass = atomic_masses[batch.atomic_numbers.numpy()][:, None]
    x = batch.positions.numpy().copy()
    v = rng.normal(size=x.shape) * np.sqrt(KB * 300 / mass * SPEED)
    said = model(batch)
    kept, scores, temperatures, low, steps = [], [], [], 0, round(1000 * length_ps / STEP_FS)
    friction = np.exp(-STEP_FS / 100)  # 100 fs
    for step in range(1, steps + 1):
        target = 300 + (hottest_K - 300) * step / steps
        v += 0.5 * STEP_FS * SPEED * said.forces.double().numpy() / mass
        x += 0.5 * STEP_FS * v
        noise = rng.normal(size=x.shape) * np.sqrt(KB * target / mass * SPEED)
        v = friction * v + np.sqrt(1 - friction**2) * noise
        x += 0.5 * STEP_FS * v
        batch = replace(batch, positions=torch.from_numpy(x.copy()))
        said = model(batch)
        v += 0.5 * STEP_FS * SPEED * said.forces.double().numpy() / mass
        if step % EVERY == 0:
            kept.append(cases_of(batch, said))
            scores.append(float(probe.score(kept[-1])[0]))
            temperatures.append(target)
            low = low + 1 if scores[-1] < threshold else 0
            if low == IN_A_ROW:
                return kept, np.array(scores), np.array(temperatures), step * STEP_FS / 1000
    return kept, np.array(scores), np.array(temperatures), None


def with_truth(cases: list[Cases]) -> Cases:
    """The cases with reference forces, labelled."""
    from ffbench_data.potentials import label as reference_label

    calculator = reference("ethanol_gfn2")
    truth = [reference_label(calculator, c.atomic_numbers, c.positions[None])[1][0] for c in cases]
    whole = replace(joined(cases), reference_forces=np.concatenate(truth))
    return label(whole, "force_absolute", threshold=FORCE_LIMIT)


def _share(failed: np.ndarray) -> str:
    return f"{failed.mean():.1%} ({failed.sum()} of {len(failed)})" if len(failed) else "none"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--length-ps", type=float, default=5.0)
    parser.add_argument("--hottest-K", type=float, default=3000.0)
    parser.add_argument("--risk", type=float, default=RISK)
    parser.add_argument("--runs", type=int, default=4)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = reference_models.load("painn@ethanol_gfn2")
    probe, threshold = fitted_guard(model, arguments.risk)
    settings = {"length_ps": arguments.length_ps, "hottest_K": arguments.hottest_K}
    failed, accepted = [], []
    for seed in range(arguments.runs):
        kept, scores, temperatures, stopped = guarded_run(model, probe, threshold, seed=seed, **settings)
        if stopped is None:
            print(f"run {seed}: reached {arguments.length_ps:g} ps, nothing stopped it")
        else:
            print(f"run {seed}: stopped at {stopped:.2f} ps, {temperatures[-1]:.0f} K")
        failed.append(with_truth(kept).failed)
        accepted.append(scores >= threshold)
    failed, accepted = np.concatenate(failed), np.concatenate(accepted)
    print(f"accepted structures: {accepted.sum()} of {len(accepted)}; promised risk {arguments.risk:.0%}")
    print(f"realised risk: {_share(failed[accepted])} failed; of the rejected {_share(failed[~accepted])}")


if __name__ == "__main__":
    main()
