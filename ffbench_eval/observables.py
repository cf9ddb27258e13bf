"""Observables of a simulation against the reference: ``f(stable trajectories, data, parameters, hills)``.

Each returns (metrics, curves). A replica whose stable part is too short gives ``None`` for its value.
"""

from __future__ import annotations

import numpy as np

from .engine.units import KJ_PER_MOL
from .report import Curve, Floor, Metric, axis, rounded
from .statistics import over_replicas

MIN_FRAMES = 10  # of a stable part, below which it has no histogram
RESAMPLES = 200  # windows drawn for a noise floor
SHOWN = 200  # points of a curve
D_NEEDS_PS = 100.0  # water; a data set may state another
FIT_WINDOW_PS = (5.0, 50.0)


def distance_histogram(stable, data, p, hills):
    """Error of h(r), the distribution of all distances: integral of |h - h_ref|, in [0, 2]."""
    from ffbench_metrics import distance_counts, distance_histogram_from_counts

    blocks = _blocks(data, "distance_histogram", p.length_ps - p.skip_ps)
    if blocks is not None:
        reference, r_max, bins = blocks.total, blocks.r_max, len(blocks.total)
    else:
        r_max, bins = 10.0, 500
        reference = distance_counts(data.frames.stacked()[1], r_max=r_max, bins=bins).sum(0)
    r, h_ref = distance_histogram_from_counts(reference, r_max=r_max)
    dr = r[1] - r[0]

    def error(counts, pooled):
        a, b = (distance_histogram_from_counts(c, r_max=r_max)[1] for c in (counts, pooled))
        return float(np.abs(a - b).sum() * dr)

    counts = [_counts(t, lambda x: distance_counts(x, r_max=r_max, bins=bins).sum(0)) for t in stable]
    frozen = [error(distance_counts(t.positions[:1].astype(float), r_max=r_max, bins=bins).sum(0), reference)
              for t in stable if len(t)]  # fmt: skip
    metric = over_replicas(
        [None if c is None else error(c, reference) for c in counts],
        unit="1",
        floor=_floor(*_draws(blocks, p.length_ps - p.skip_ps, error)),
        trivial=float(np.mean(frozen)) if frozen else None,
    )
    series = {"reference": h_ref}
    known = [c for c in counts if c is not None]
    if known:
        series = {"model": distance_histogram_from_counts(np.sum(known, axis=0), r_max=r_max)[1], **series}
    return {"distance_histogram_error": metric}, {
        "distance_histogram": _curve(r, series, "distance r (Å)", "h(r) (1/Å)")
    }


def rdf(stable, data, p, hills):
    """Error of g(r) per element pair (or of all atoms): integral of |g - g_ref| from 0 to r_max, in Å."""
    from ffbench_metrics import pair_distance_counts, rdf_from_counts

    metrics, curves = {}, {}
    cell = data.frames[0].cell
    for name, (a, b) in rdf_pairs(data).items():
        index_b = None if a is b else b
        r, g_ref = reference_rdf(data, name)
        r_max, bins = R_MAX, len(r)
        shape = {"volume": abs(np.linalg.det(cell)), "pairs": _n_pairs(a, b), "r_max": r_max}
        dr = r[1] - r[0]

        per_replica: list[float | None] = []
        g_sum, g_frames = np.zeros(bins), 0
        for t in stable:
            counts = _counts(
                t,
                lambda x, a=a, index_b=index_b: pair_distance_counts(
                    x, cell, index_a=a, index_b=index_b, r_max=R_MAX, bins=500
                ).sum(0),
            )
            if counts is None:
                per_replica.append(None)
                continue
            g = rdf_from_counts(counts, len(t), **shape)[1]
            g_sum += counts
            g_frames += len(t)
            per_replica.append(float(np.abs(g - g_ref).sum() * dr))
        metrics[f"rdf_error_{name}"] = over_replicas(
            per_replica,
            unit="Å",
            floor=_floor(*rdf_floor(data, name, p.length_ps - p.skip_ps)),
            trivial=float(np.abs(1 - g_ref).sum() * dr),
        )
        series = {"reference": g_ref}
        if g_frames:
            series = {"model": rdf_from_counts(g_sum, g_frames, **shape)[1], **series}
        curves[f"rdf_{name}"] = _curve(r, series, f"{name} distance r (Å)", "g(r)")
    return metrics, curves


R_MAX = 6.0


def element_pairs(numbers) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Name -> atoms of both groups, for every pair of elements; the same array twice within one element.

    >>> sorted(element_pairs([8, 1, 1]))
    ['H-H', 'H-O', 'O-O']
    """
    from ase.data import chemical_symbols

    numbers = np.asarray(numbers)
    groups = {chemical_symbols[z]: np.flatnonzero(numbers == z) for z in np.unique(numbers)}
    names = sorted(groups)
    pairs = {f"{a}-{b}": (groups[a], groups[b]) for k, a in enumerate(names) for b in names[k:]}
    return {name: pair for name, pair in pairs.items() if _n_pairs(*pair) > 0}


def rdf_pairs(data) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The pairs of groups whose g(r) counts for a data set: all pairs of elements, or ``total`` where its reference
    says so (LiPS: Fu et al. 2023)."""
    numbers = data.frames[0].atomic_numbers
    if data.reference and data.reference.facts.get("rdf") == "total":
        everything = np.arange(len(numbers))
        return {"total": (everything, everything)}
    return element_pairs(numbers)


def reference_rdf(data, name: str) -> tuple[np.ndarray, np.ndarray]:
    """(r, g) of the reference for an element pair: stored counts, or the dataset's own frames."""
    from ffbench_metrics import pair_distance_counts, rdf_from_counts

    frame = data.frames[0]
    a, b = rdf_pairs(data)[name]
    blocks = _blocks(data, f"rdf_{name}", None)
    if blocks is not None:
        counts, frames, r_max = blocks.total, blocks.n_frames, blocks.r_max
    else:
        x, r_max = data.frames.stacked()[1], R_MAX
        counts = pair_distance_counts(
            x, frame.cell, index_a=a, index_b=None if a is b else b, r_max=r_max, bins=500
        ).sum(0)
        frames = len(x)
    return rdf_from_counts(counts, frames, volume=abs(np.linalg.det(frame.cell)), pairs=_n_pairs(a, b), r_max=r_max)


def rdf_floor(data, name: str, length_ps: float):
    """(draws [n] of the error of g(r) that the truth makes in ``length_ps``, blocks, length in blocks)."""
    from ffbench_metrics import rdf_from_counts

    frame, blocks = data.frames[0], _blocks(data, f"rdf_{name}", length_ps)
    if blocks is None:
        return None, None, 0
    a, b = rdf_pairs(data)[name]
    shape = {"volume": abs(np.linalg.det(frame.cell)), "pairs": _n_pairs(a, b), "r_max": blocks.r_max}
    dr = blocks.r_max / len(blocks.total)

    def error(counts, pooled):
        g, g0 = (rdf_from_counts(c, blocks.frames, **shape)[1] for c in (counts, pooled))
        return float(np.abs(g - g0).sum() * dr)

    return _draws(blocks, length_ps, error)


def temperature(stable, data, p, hills):
    """Mean kinetic temperature minus the target."""
    values = [float(t.temperature.mean() - p.temperature_K) if len(t) >= MIN_FRAMES else None for t in stable]
    metric = over_replicas(values, unit="K", better="neither")
    return {"temperature_deviation": metric}, {}


def energy_drift(stable, data, p, hills):
    """Slope of the total energy per atom in NVE, and its root-mean-square fluctuation about the line."""
    from ffbench_metrics import nve_drift

    slopes: list[float | None] = []
    fluctuations: list[float | None] = []
    for t in stable:
        if len(t) < MIN_FRAMES:
            slopes.append(None)
            fluctuations.append(None)
            continue
        drift = nve_drift(t.total_energy, float(t.time_ps[1] - t.time_ps[0]), n_atoms=len(t.numbers))
        slopes.append(abs(1000 * float(drift.slope)))
        fluctuations.append(1000 * float(drift.rms_fluctuation))
    metrics = {
        "energy_drift": over_replicas(slopes, unit="meV/atom/ps"),
        "energy_fluctuation": over_replicas(fluctuations, unit="meV/atom"),
    }
    long = max(stable, key=len)
    if not len(long):
        return metrics, {}
    step = -(-len(long) // SHOWN)
    series = {}
    for b, t in enumerate(stable):
        y = np.full(len(long), np.nan)
        if len(t):
            y[: len(t)] = 1000 * (t.total_energy - t.total_energy[0]) / len(t.numbers)
        series[f"replica {b}"] = rounded(y[::step])
    return metrics, {
        "energy_drift": Curve(
            x_label="time (ps)",
            y_label="change of total energy (meV/atom)",
            x=axis(long.time_ps[::step]),
            series=series,
        )
    }


def diffusivity(stable, data, p, hills):
    """Self-diffusion of the species the reference names, else of the heaviest (water's oxygen); needs runs of 100 ps
    (``needs_ps``)."""
    from ase.data import atomic_masses, atomic_numbers

    from ffbench_metrics import diffusivity as fit

    facts = (data.reference.facts if data.reference else {}).get("diffusivity", {})
    least = float(facts.get("needs_ps", D_NEEDS_PS))
    if p.length_ps - p.skip_ps < least:
        return {
            "diffusivity": Metric(
                value=None, unit="m^2/s", better="neither", not_scored=f"needs {least:g} ps", aggregate="mean"
            )
        }, {}

    values: list[float | None] = []
    for t in stable:
        if len(t) < 2 or t.time_ps[-1] - t.time_ps[0] < least:
            values.append(None)
            continue
        element = atomic_numbers[facts["element"]] if "element" in facts else t.numbers.max()
        of = {"index_a": t.numbers == element, "masses": atomic_masses[t.numbers]}
        window = tuple(facts.get("fit_window_ps", FIT_WINDOW_PS))
        values.append(fit(t.positions, float(t.time_ps[1] - t.time_ps[0]), fit_window=window, **of))
    metric = over_replicas(values, unit="m^2/s", better="neither")
    if "value" in facts and metric.value is not None:
        note = f"{metric.interval_note}; reference {facts['value']:.3g} +- {facts['standard_error']:.1g} m^2/s"
        metric = metric.model_copy(update={"interval_note": note})
    return {"diffusivity": metric}, {}


def free_energy(stable, data, p, hills):
    """F(phi, psi) from the hills before failure: mean |F - F_ref| where F_ref < 20 kJ/mol, per replica and marginal."""
    from ffbench_metrics import (
        free_energy_error,
        free_energy_from_hills,
        free_energy_integral_error,
        free_energy_marginal,
    )

    reference = data.reference.free_energy
    settings = {"temperature": p.temperature_K, "bias_factor": p.metadynamics.bias_factor}

    def surface(rows):
        width = np.full((len(rows), 2), p.metadynamics.sigma_rad)
        return free_energy_from_hills(np.column_stack([rows[:, :2], width, rows[:, 2]]), **settings)

    surfaces = []
    for t, rows in zip(stable, hills):
        end = t.time_ps[-1] if len(t) else 0.0
        before = rows[: int(end / p.metadynamics.every_ps + 1e-9)]
        scaled = np.column_stack([before[:, :2], before[:, 2] / KJ_PER_MOL])
        surfaces.append(surface(scaled) if len(before) else None)
    errors = [None if s is None else float(free_energy_error(s, reference)) for s in surfaces]
    count = round(p.length_ps / p.metadynamics.every_ps)
    try:
        runs = [h[:count] for h in data.reference.hills if len(h) >= count]
    except FileNotFoundError:
        runs = []
    floor = None
    if len(runs) >= 20:
        spread = [float(free_energy_error(surface(h), reference)) for h in runs]
        floor = Floor(
            median=float(np.median(spread)),
            p95=float(np.quantile(spread, 0.95)),
            runs=len(spread),
            length_ps=p.length_ps,
        )
    metrics = {
        "free_energy_error": over_replicas(
            errors, unit="kJ/mol", floor=floor, trivial=float(free_energy_error(np.zeros_like(reference), reference))
        )
    }
    known = [s for s in surfaces if s is not None]
    grid = -np.pi + np.arange(len(reference)) * (2 * np.pi / len(reference))
    curves = {"free_energy_surface_reference": _surface(grid, reference)}
    mean = np.mean(known, axis=0) if known else None
    if mean is not None:
        mean = mean - mean.min()
        curves["free_energy_surface"] = _surface(grid, mean)
    for kept, name in enumerate(("phi", "psi")):

        def marginal(f, kept=kept):
            return free_energy_marginal(f, axis=kept, temperature=p.temperature_K)

        series = {"reference": marginal(reference)}
        if mean is not None:
            series = {"model": marginal(mean), **series}
            published = [
                None if s is None else free_energy_integral_error(marginal(s), series["reference"]) for s in surfaces
            ]
            metrics[f"free_energy_integral_error_{name}"] = over_replicas(published, unit="kJ/mol rad")
        curves[f"free_energy_{name}"] = _curve(grid, series, f"{name} (rad)", f"F({name}) (kJ/mol)")
    return metrics, curves


OBSERVABLES = {
    "distance_histogram": distance_histogram,
    "rdf": rdf,
    "temperature": temperature,
    "energy_drift": energy_drift,
    "diffusivity": diffusivity,
    "free_energy": free_energy,
}


def _blocks(data, observable: str, length_ps: float | None):
    if data.reference is None:
        return None
    try:
        return data.reference.blocks(observable, length_ps)
    except (ValueError, FileNotFoundError):
        return None


def _counts(trajectory, count):
    if len(trajectory) < MIN_FRAMES:
        return None
    return count(trajectory.positions.astype(float))


def _n_pairs(a: np.ndarray, b: np.ndarray) -> int:
    return len(a) * (len(a) - 1) // 2 if a is b else len(a) * len(b)


def _curve(x, series: dict, x_label: str, y_label: str) -> Curve:
    """At most `SHOWN` points: neighbouring bins are averaged."""
    step = int(np.ceil(len(x) / SHOWN))
    cut = len(x) // step * step

    def thin(v):
        return rounded(np.asarray(v)[:cut].reshape(-1, step).mean(1))

    return Curve(
        x_label=x_label,
        y_label=y_label,
        x=axis(np.asarray(x)[:cut].reshape(-1, step).mean(1)),
        series={k: thin(v) for k, v in series.items()},
    )


def _surface(grid, values) -> Curve:
    """Every other grid point, one series per psi."""
    return Curve(
        kind="surface",
        x_label="phi (rad)",
        y_label="psi (rad)",
        x=axis(grid[::2], 4),
        series={f"{grid[k]:.4g}": rounded(values[::2, k], 4) for k in range(0, len(grid), 2)},
        note="F in kJ/mol",
    )


def _draws(blocks, length_ps: float, error):
    """(errors of windows of the truth at this length against the other runs pooled, blocks, length in blocks).

    Of a single trajectory the halves stand for runs; `Floor.runs` then says 1.
    """
    from ffbench_metrics import noise_floor

    if blocks is None or len(blocks.counts) == 2 or sum(map(len, blocks.counts)) < 2:
        return None, None, 0
    runs = np.array_split(blocks.counts[0], 2) if len(blocks.counts) == 1 else blocks.counts
    length = max(1, round(length_ps / blocks.block_ps))
    return noise_floor(runs, length, error, resamples=RESAMPLES, seed=0), blocks, length


def _floor(draws, blocks, length: int) -> Floor | None:
    if draws is None:
        return None
    return Floor(
        median=float(np.median(draws)),
        p95=float(np.quantile(draws, 0.95)),
        runs=len(blocks.counts),
        length_ps=round(length * blocks.block_ps, 6),
    )
