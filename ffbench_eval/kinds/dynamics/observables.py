"""Observables of a simulation against the reference: ``f(stable trajectories, data, parameters, hills)``.

Each returns (metrics, curves). A replica is held against its own system (`systems`): its atoms, its cell, its frames of
the data set. One whose stable part is too short gives ``None`` for its value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...report import Curve, Floor, Metric, axis, rounded
from ..base import MetricsAndCurves
from ..statistics import over_replicas
from .floors import floor, levels
from .systems import System, systems_of

if TYPE_CHECKING:
    from ...engine.trajectory import Trajectory
    from ...run.data import TaskData
    from .work import Parameters

MIN_FRAMES = 10  # of a stable part, below which it has no histogram
SHOWN = 200  # points of a curve
D_NEEDS_PS = 100.0  # water; a data set may state another
FIT_WINDOW_PS = (5.0, 50.0)
R_MAX = 6.0  # of g(r)
H_MAX, BINS = 10.0, 500  # of h(r); bins of both
Hills = Sequence[np.ndarray | None]  # [H, 3] of every replica: phi, psi (rad), height (eV)


def distance_histogram(stable: list[Trajectory], data: TaskData, p: Parameters, hills: Hills) -> MetricsAndCurves:
    """Error of h(r), the distribution of all distances: integral of |h - h_ref|, in [0, 2].

    Its trivial baseline is the data set's frozen starting frames, whatever the model did (PROTOCOLS 8.9).
    """
    from ffbench_metrics import distance_counts, distance_histogram_from_counts, histogram_error

    if any(t.pbc.any() for t in stable):
        return without("distance_histogram_error", "1", "h(r) counts the distances of open systems only; take rdf")
    systems, starts = _with_starts(stable, data, p)
    if any(len(s.numbers) < 2 for s in systems):
        return without("distance_histogram_error", "1", "a single atom has no distances")

    def density(counts: np.ndarray, r_max: float = H_MAX):
        return distance_histogram_from_counts(counts, r_max=r_max)

    reference = {id(s): _reference_distances(s) for s in [*systems, *(s for _, s in starts)]}

    def error(counts: np.ndarray, pooled: np.ndarray, r_max: float = H_MAX):
        mine, theirs = density(counts, r_max)[1], density(pooled, r_max)[1]
        return histogram_error(mine, theirs, width=r_max / len(mine))

    def count(x: np.ndarray, like: System):
        pooled, r_max = reference[id(like)]
        return distance_counts(x.astype(float), r_max=r_max, bins=len(pooled)).sum(0)

    counts = [_counts(t, count, s) for t, s in zip(stable, systems)]
    values = [None if c is None else error(c, *reference[id(s)]) for c, s in zip(counts, systems)]
    frozen = [error(count(x[None], s), *reference[id(s)]) for x, s in starts]
    one = systems[0] if len(reference) == 1 else None
    metric = over_replicas(
        values,
        unit="1",
        floor=floor(levels(one, "distance_histogram"), p.length_ps - p.skip_ps, error) if one else None,
        trivial=float(np.mean(frozen)),
    )
    curves = {}
    for s, mine in _by_system(systems, counts):
        pooled, r_max = reference[id(s)]
        r, h_ref = density(pooled, r_max)
        series = {"reference": h_ref}
        if mine:
            series = {"model": density(np.sum(mine, axis=0), r_max)[1], **series}
        name = "distance_histogram" if one else f"distance_histogram_{s.label}"
        curves[name] = density_curve(r, series, "distance r (Å)", "h(r) (1/Å)")
    return {"distance_histogram_error": metric}, curves


def _reference_distances(system: System) -> tuple[np.ndarray, float]:
    """(counts [bins], r_max) of the reference: stored ones, or those of the data set's own frames."""
    from ffbench_metrics import distance_counts

    stored = levels(system, "distance_histogram")
    if stored:
        return stored[0].total, stored[0].r_max
    return distance_counts(system.positions(), r_max=H_MAX, bins=BINS).sum(0), H_MAX


def _with_starts(
    stable: list[Trajectory], data: TaskData, p: Parameters
) -> tuple[list[System], list[tuple[np.ndarray, System]]]:
    """The system of every replica, and (positions [N, 3], system) of the frames that the task starts from: these are
    the data set's, also where a replica was lost."""
    from .work import starting_rows

    frames = [data.frames[row] for row in starting_rows(p, data)]
    systems = systems_of(data, [*stable, *frames])
    return systems[: len(stable)], [(np.asarray(f.positions), s) for f, s in zip(frames, systems[len(stable) :])]


def rdf(stable: list[Trajectory], data: TaskData, p: Parameters, hills: Hills) -> MetricsAndCurves:
    """Error of g(r) per element pair (or of all atoms): integral of |g - g_ref| from 0 to r_max, in Å."""
    from ffbench_metrics import pair_distance_counts, rdf_error, rdf_from_counts

    systems, starts = _with_starts(stable, data, p)
    own = {id(s): s for s in [*systems, *(s for _, s in starts)]}
    if not all(s.pbc.all() for s in own.values()):
        return without("rdf_error", "Å", "g(r) needs a cell that is periodic in all directions")
    pairs = {key: rdf_pairs(s) for key, s in own.items()}
    one = systems[0] if len(own) == 1 else None
    metrics, curves = {}, {}
    for name in dict.fromkeys(name for found in pairs.values() for name in found):
        reference = {key: reference_rdf(s, name) for key, s in own.items() if name in pairs[key]}

        def shape(s: System, name: str = name):
            return {"volume": abs(np.linalg.det(s.cell)), "pairs": n_pairs(*pairs[id(s)][name]), "r_max": R_MAX}

        def count(x: np.ndarray, s: System, name: str = name):
            a, b = pairs[id(s)][name]
            return pair_distance_counts(
                x, s.cell, index_a=a, index_b=None if a is b else b, r_max=R_MAX, bins=BINS
            ).sum(0)

        def gap(g: np.ndarray, s: System, reference: dict[int, tuple[np.ndarray, np.ndarray]] = reference):
            return rdf_error(g, reference[id(s)][1], r_max=R_MAX)

        mine = [id(s) in reference for s in systems]
        counts = [_counts(t, count, s) if m else None for t, s, m in zip(stable, systems, mine)]
        values = [
            None if c is None else gap(rdf_from_counts(c, len(t), **shape(s))[1], s)
            for c, t, s in zip(counts, stable, systems)
        ]
        metrics[f"rdf_error_{name}"] = over_replicas(
            values,
            unit="Å",
            floor=rdf_floor(one, name, p.length_ps - p.skip_ps) if one else None,
            trivial=float(np.mean([gap(np.ones(BINS), s) for _, s in starts if id(s) in reference])),
        )
        for s, parts in _by_system(systems, list(zip(counts, map(len, stable)))):
            if id(s) not in reference:
                continue
            r, g_ref = reference[id(s)]
            series = {"reference": g_ref}
            known = [(c, n) for c, n in parts if c is not None]
            if known:
                total, frames = np.sum([c for c, _ in known], axis=0), sum(n for _, n in known)
                series = {"model": rdf_from_counts(total, frames, **shape(s))[1], **series}
            label = f"rdf_{name}" if one else f"rdf_{name}_{s.label}"
            curves[label] = density_curve(r, series, f"{name} distance r (Å)", "g(r)")
    return metrics, curves


def pair_distributions(
    stable: list[Trajectory], data: TaskData, p: Parameters
) -> dict[str, list[tuple[np.ndarray | None, np.ndarray, np.ndarray]]] | None:
    """{pair: (g of a replica or ``None``, g of its reference, r [bins] Å) per replica that has the pair}; ``None`` for
    systems that are not periodic in all directions."""
    from ffbench_metrics import pair_distance_counts, rdf_from_counts

    systems = systems_of(data, stable)
    if not all(s.pbc.all() for s in systems):
        return None
    out: dict[str, list] = {}
    references: dict[tuple[int, str], tuple[np.ndarray, np.ndarray]] = {}
    for t, s in zip(stable, systems):
        for name, (a, b) in rdf_pairs(s).items():
            if (id(s), name) not in references:
                references[id(s), name] = reference_rdf(s, name)
            r, reference = references[id(s), name]
            g = None
            if len(t) >= MIN_FRAMES:
                groups: dict[str, Any] = {"index_a": a, "index_b": None if a is b else b, "r_max": R_MAX, "bins": BINS}
                counts = pair_distance_counts(t.positions.astype(float), s.cell, **groups).sum(0)
                volume = abs(np.linalg.det(s.cell))
                g = rdf_from_counts(counts, len(t), volume=volume, pairs=n_pairs(a, b), r_max=R_MAX)[1]
            out.setdefault(name, []).append((g, reference, r))
    return out


def element_pairs(numbers: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Name -> atoms of both groups, for every pair of elements; the same array twice within one element.

    >>> sorted(element_pairs(np.array([8, 1, 1, 8, 1, 1])))
    ['H-H', 'H-O', 'O-O']
    """
    from ase.data import chemical_symbols

    numbers = np.asarray(numbers)
    groups = {chemical_symbols[z]: np.flatnonzero(numbers == z) for z in np.unique(numbers)}
    names = sorted(groups)
    pairs = {f"{a}-{b}": (groups[a], groups[b]) for k, a in enumerate(names) for b in names[k:]}
    return {name: pair for name, pair in pairs.items() if n_pairs(*pair) > 0}


def rdf_pairs(system: System) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The pairs of groups whose g(r) counts for a system: all pairs of elements, or ``total`` where its reference says
    so (LiPS: Fu et al. 2023)."""
    if system.facts.get("rdf") == "total":
        everything = np.arange(len(system.numbers))
        return {"total": (everything, everything)}
    return element_pairs(system.numbers)


def reference_rdf(system: System, name: str) -> tuple[np.ndarray, np.ndarray]:
    """(r, g) of the reference for an element pair: stored counts, or the system's own frames, each in its own cell."""
    from ffbench_metrics import rdf as rdf_of
    from ffbench_metrics import rdf_from_counts

    a, b = rdf_pairs(system)[name]
    stored = levels(system, f"rdf_{name}")
    if not stored:
        cells = system.frames.cell
        cell = cells[0] if (cells == cells[0]).all() else cells
        return rdf_of(system.positions(), cell, index_a=a, index_b=None if a is b else b, r_max=R_MAX, bins=BINS)
    blocks = stored[0]
    volume = abs(np.linalg.det(system.cell))
    return rdf_from_counts(blocks.total, blocks.n_frames, volume=volume, pairs=n_pairs(a, b), r_max=blocks.r_max)


def rdf_floor(system: System, name: str, length_ps: float) -> Floor | None:
    """The `Floor` of the error of g(r) that the truth makes in ``length_ps``; ``None`` without stored runs."""
    stored = levels(system, f"rdf_{name}")
    return floor(stored, length_ps, _rdf_error(system, name))


def rdf_draws(system: System, name: str, length_ps: float) -> np.ndarray | None:
    """The draws [n] behind `rdf_floor`."""
    from .floors import draws

    stored = levels(system, f"rdf_{name}")
    found = draws(stored, length_ps, _rdf_error(system, name))
    return None if found is None else found[0]


def _rdf_error(system: System, name: str) -> Callable[[np.ndarray, np.ndarray], float]:
    """Error of g(r) of counts against pooled ones, both of one frame on average."""
    from ffbench_metrics import rdf_error, rdf_from_counts

    a, b = rdf_pairs(system)[name]
    shape = {"volume": abs(np.linalg.det(system.cell)), "pairs": n_pairs(a, b)}

    def error(counts: np.ndarray, pooled: np.ndarray, r_max: float = R_MAX):
        g, reference = (rdf_from_counts(c, 1, **shape, r_max=r_max)[1] for c in (counts, pooled))
        return rdf_error(g, reference, r_max=r_max)

    return error


def temperature(stable: list[Trajectory], data: TaskData, p: Parameters, hills: Hills) -> MetricsAndCurves:
    """Mean kinetic temperature minus the target: of all motion, and of the atoms against one another.

    A model whose forces do not sum to zero heats the motion of the whole while a thermostat holds the total: the two
    part, although every bond is intact.
    """
    values = [float(t.temperature.mean() - p.temperature_K) if len(t) >= MIN_FRAMES else None for t in stable]
    inner = [
        None if len(t) < MIN_FRAMES or t.internal_temperature is None
        else float(t.internal_temperature.mean() - p.temperature_K)
        for t in stable
    ]  # fmt: skip
    return {
        "temperature_deviation": over_replicas(values, unit="K", better="neither"),
        "internal_temperature_deviation": over_replicas(inner, unit="K", better="neither"),
    }, {}


def energy_drift(stable: list[Trajectory], data: TaskData, p: Parameters, hills: Hills) -> MetricsAndCurves:
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


def diffusivity(stable: list[Trajectory], data: TaskData, p: Parameters, hills: Hills) -> MetricsAndCurves:
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
        if len(t) < 2 or len(t) * (t.time_ps[1] - t.time_ps[0]) < least - 1e-6:  # each frame ends a saving interval
            values.append(None)
            continue
        element = atomic_numbers[facts["element"]] if "element" in facts else t.numbers.max()
        if not (t.numbers == element).any():
            values.append(None)
            continue
        of = {"index_a": t.numbers == element, "masses": atomic_masses[t.numbers]}
        window = tuple(facts.get("fit_window_ps", FIT_WINDOW_PS))
        values.append(fit(t.positions, float(t.time_ps[1] - t.time_ps[0]), fit_window=window, **of))
    metric = over_replicas(values, unit="m^2/s", better="neither")
    if "value" in facts and metric.value is not None:
        metric = metric.noted(f"reference {facts['value']:.3g} +- {facts['standard_error']:.1g} m^2/s")
    return {"diffusivity": metric}, {}


def _in_room(module: str, name: str) -> Callable:
    """An observable of a file of its own, which builds on this one."""

    def observable(stable: list[Trajectory], data: TaskData, p: Parameters, hills: Hills):
        from importlib import import_module

        return getattr(import_module(f".{module}", __package__), name)(stable, data, p, hills)

    return observable


OBSERVABLES: dict[str, Callable] = {
    "distance_histogram": distance_histogram,
    "rdf": rdf,
    "temperature": temperature,
    "energy_drift": energy_drift,
    "diffusivity": diffusivity,
    "free_energy": _in_room("free_energies", "free_energy"),
    "wright_factor": _in_room("pair_distributions", "wright_factor"),
    "jensen_shannon": _in_room("pair_distributions", "jensen_shannon"),
    "angle_histogram": _in_room("angles", "angle_histogram"),
    "vibrational_spectrum": _in_room("vibrations", "vibrational_spectrum"),
}
# what is held against what the data's own frames show
OF_THE_DATA = {"distance_histogram", "rdf", "wright_factor", "jensen_shannon", "angle_histogram", "free_energy"}
FIXED_CELL = {"rdf", "wright_factor", "jensen_shannon", "diffusivity"}  # what a cell that breathes has no number for


def without(name: str, unit: str, why: str) -> MetricsAndCurves:
    return {name: Metric(value=None, unit=unit, not_scored=why)}, {}


def _by_system(systems: Sequence[System], values: Sequence[Any]) -> list[tuple[System, list]]:
    """Every system with the values of its replicas that have one."""
    grouped: dict[int, tuple[System, list]] = {}
    for s, v in zip(systems, values):
        kept = grouped.setdefault(id(s), (s, []))[1]
        if v is not None:
            kept.append(v)
    return list(grouped.values())


def _counts(
    trajectory: Trajectory, count: Callable[[np.ndarray, System], np.ndarray], system: System
) -> np.ndarray | None:
    if len(trajectory) < MIN_FRAMES:
        return None
    return count(trajectory.positions.astype(float), system)


def n_pairs(a: np.ndarray, b: np.ndarray) -> int:
    return len(a) * (len(a) - 1) // 2 if a is b else len(a) * len(b)


def density_curve(x: np.ndarray, series: dict, x_label: str, y_label: str) -> Curve:
    """At most `SHOWN` points: neighbouring bins are averaged."""
    step = int(np.ceil(len(x) / SHOWN))
    cut = len(x) // step * step

    def thin(v: Any):
        return rounded(np.asarray(v)[:cut].reshape(-1, step).mean(1))

    return Curve(
        x_label=x_label,
        y_label=y_label,
        x=axis(np.asarray(x)[:cut].reshape(-1, step).mean(1)),
        series={k: thin(v) for k, v in series.items()},
    )
