"""Transport and vibration: mean squared displacement, diffusivity, velocity autocorrelation, spectrum."""

from typing import Any

import numpy as np

from ffbench_metrics._check import at_least, checked, choice, index, positive, whole
from ffbench_metrics.pairs import checked_cell

_A2_PER_PS = 1e-8  # m^2/s
_BOLTZMANN = 1.380649e-23  # J/K
_YEH_HUMMER = 2.837297
_FFT_NUMBERS = 1 << 21  # floats transformed at once


def unwrap(positions: Any, cell: Any) -> np.ndarray:
    """Undo periodic wrapping: follow every atom by its nearest image from frame to frame.

    Where the cell breathes, the displacements of the wrapped positions are summed, each brought to its nearest image
    by the present cell's vectors ("toroidal view"). Scaling whole cells that an atom has crossed would add their
    fluctuation to its displacement, more the farther it walked.

    Args:
        positions: [T, N, 3] Å; no atom may move by half a cell width between frames.
        cell: [3, 3] or [T, 3, 3] Å.

    Returns:
        [T, N, 3] Å in float64, equal to `positions` in the first frame. With a cell per frame the result serves
        displacements only: it is no periodic image of `positions`.

    Source: von Bülow, Bullerjahn and Hummer, J. Chem. Phys. 153, 021101 (2020), eq. 2.

    Example:
        >>> unwrap([[[9.5, 0, 0]], [[0.5, 0, 0]]], 10 * np.eye(3))[:, 0, 0]
        array([ 9.5, 10.5])
    """
    sizes: dict[str, int] = {}
    x = checked("positions", positions, "T N 3", sizes).astype(np.float64)
    cells = checked_cell(cell, sizes)
    inverse = np.linalg.inv(cells)
    if len(cells) > 1:
        wrapped = x - np.floor(x @ inverse) @ cells
        steps = np.diff(wrapped, axis=0)
        steps -= np.round(steps @ inverse[1:]) @ cells[1:]
        return np.cumsum(np.concatenate([x[:1], steps]), axis=0)
    jumps = np.cumsum(np.round(np.diff(x @ inverse, axis=0)), axis=0)
    return np.concatenate([x[:1], x[1:] - jumps @ cells])


def mean_squared_displacement(positions: Any, *, index_a: Any = None, masses: Any = None) -> np.ndarray:
    """Mean squared displacement at every lag, over all time origins and atoms, by FFT.

    Args:
        positions: [T, N, 3] Å, unwrapped.
        index_a: the atoms to follow (indices or mask); None: all.
        masses: [N] in any unit: give them to remove the drift of the centre of mass of the WHOLE system first.

    Returns:
        [T] Å^2 at lags 0, 1 ... T - 1 frames; entry k is a mean over T - k origins.

    Raises:
        ValueError: fewer than two frames.

    Source: Calandrini et al. (nMOLDYN), Collection SFN 12, 201 (2011), section 4.2.

    Example:
        >>> mean_squared_displacement([[[0.0, 0, 0]], [[1.0, 0, 0]], [[2.0, 0, 0]]]).round(6)
        array([0., 1., 4.])
    """
    x = _tracked(positions, index_a, masses)
    frames, series = len(x), x.shape[1] * 3
    columns = x.reshape(frames, series)
    size = _fft_size(2 * frames - 1)
    square = np.zeros(frames)
    power = np.zeros(size // 2 + 1)
    step = max(1, _FFT_NUMBERS // size)
    for start in range(0, series, step):
        part = np.ascontiguousarray(columns[:, start : start + step].T)
        part -= part.mean(axis=1, keepdims=True)  # keeps digits: displacements do not depend on the origin
        square += np.einsum("ct,ct->t", part, part)
        transform = np.fft.rfft(part, size, axis=1).view(np.float64).reshape(len(part), -1, 2)
        power += np.einsum("cfk,cfk->f", transform, transform)
    correlation = np.fft.irfft(power, size)[:frames]
    total = np.concatenate([[0.0], np.cumsum(square)])
    lag = np.arange(frames)
    msd = (total[frames - lag] + total[frames] - total[lag] - 2.0 * correlation) / ((frames - lag) * x.shape[1])
    msd[0] = 0.0
    return np.maximum(msd, 0.0)


def diffusivity(
    positions: Any, dt: float, *, fit_window: tuple[float, float], index_a: Any = None, masses: Any = None
) -> float:
    """Self-diffusion coefficient: slope of a linear fit of the MSD over a stated range of lags, divided by 6.

    Args:
        positions: [T, N, 3] Å, unwrapped.
        dt: time between frames, ps.
        fit_window: (lo, hi) lags of the fit, ps (water 5 to 50, Li 2 to 15). The trajectory should be at least 5 hi
            long.
        index_a: the atoms to follow; None: all.
        masses: [N]: give them to remove the drift of the centre of mass of the whole system.

    Returns:
        m^2/s. 1 Å^2/ps = 1e-8 m^2/s. Intervals: `replica_interval` over runs, or `block_bootstrap` inside a long run.

    Raises:
        ValueError: a window with fewer than two lags or beyond the trajectory.

    Source: Einstein relation; Frenkel and Smit, section 4.4.

    Example:
        >>> steps = np.random.default_rng(0).normal(size=(2000, 100, 3))  # D = <dx^2> / (2 dt) = 0.5 Å^2/ps
        >>> round(diffusivity(np.cumsum(steps, 0), 1.0, fit_window=(5, 50)) / 1e-8, 1)
        0.5
    """
    msd = mean_squared_displacement(positions, index_a=index_a, masses=masses)
    return diffusivity_from_msd(msd, dt, fit_window=fit_window)


def diffusivity_from_msd(msd: Any, dt: float, *, fit_window: tuple[float, float]) -> float:
    """Slope of the MSD [T] Å^2 over the lags in `fit_window` (ps), divided by 6, in m^2/s.

    Example:
        >>> round(diffusivity_from_msd(6.0 * np.arange(10), 1.0, fit_window=(2, 8)), 12)
        1e-08
    """
    msd = checked("msd", msd, "T").astype(np.float64)
    positive("dt", dt)
    try:
        low, high = (float(end) for end in fit_window)
        if not np.isfinite([low, high]).all():
            raise ValueError("not finite")
    except (TypeError, ValueError) as error:
        raise ValueError(f"fit_window must be two lags (lo, hi) in ps, got {fit_window!r}") from error
    lags = np.arange(int(np.ceil(low / dt - 1e-9)), int(np.floor(high / dt + 1e-9)) + 1)
    if low < 0 or len(lags) < 2:
        raise ValueError(f"fit_window {fit_window} ps holds fewer than two lags of dt={dt} ps; widen it")
    if lags[-1] >= len(msd):
        raise ValueError(
            f"fit_window ends at {high} ps, the trajectory at {(len(msd) - 1) * dt:g} ps; shorten the window"
        )
    time = lags * float(dt)
    centred = time - time.mean()
    return float((centred @ msd[lags]) / (centred @ centred) / 6.0 * _A2_PER_PS)


def diffusivity_single_lag(
    positions: Any,
    dt: float,
    *,
    lag: float,
    index_a: Any = None,
    remove_mean: bool = True,
    divisor: str = "origins",
) -> float:
    """Published single-lag diffusivity MSD(lag) / (6 lag), for comparison with old numbers.

    Args:
        positions: [T, N, 3] Å, unwrapped.
        dt: time between frames, ps.
        lag: ps (MDsim: 100 for water O, 35 for Li).
        index_a: the atoms to follow; None: all.
        remove_mean: remove the mean displacement of the tracked atoms, as published (needs two atoms).
        divisor: "origins": the number of time origins. "mdsim": one less, the fault of the published code (+0.25 % for
            500 ps at 100 ps, x2 at 101 ps).

    Returns:
        m^2/s.

    Source: Fu et al., TMLR 2023, appendix; its code.

    Example:
        >>> line = np.arange(11.0)[:, None, None] * np.ones((1, 1, 3)) / np.sqrt(3)
        >>> round(diffusivity_single_lag(line, 1.0, lag=6.0, remove_mean=False), 12)
        1e-08
    """
    choice("divisor", divisor, ("origins", "mdsim"))
    x = _tracked(positions, index_a, None)
    if remove_mean:
        at_least("positions" if index_a is None else "index_a", x.shape[1], 2, "atoms (or set remove_mean=False)")
        x = x - x.mean(axis=1, keepdims=True)
    k = round(positive("lag", lag) / positive("dt", dt))
    origins = len(x) - k
    if k < 1 or origins - (divisor == "mdsim") < 1:
        raise ValueError(f"lag {lag} ps does not fit into {len(x)} frames of {dt} ps")
    total = float(np.square(x[k:] - x[:-k]).sum()) / x.shape[1]
    return total / (origins - (divisor == "mdsim")) / (6.0 * k * dt) * _A2_PER_PS


def finite_size_correction(temperature: float, viscosity: float, box_length: float) -> float:
    """What a cubic periodic box takes off the diffusivity: add it to the measured value for infinite size.

    Args:
        temperature: K.
        viscosity: shear viscosity, Pa s.
        box_length: edge of the cubic cell, Å.

    Returns:
        kB T 2.837297 / (6 pi viscosity L), m^2/s.

    Source: Yeh and Hummer, J. Phys. Chem. B 108, 15873 (2004), eq. 12.

    Example:
        >>> round(finite_size_correction(300.0, 0.85e-3, 12.43) / 1e-9, 2)
        0.59
    """
    kt = _BOLTZMANN * positive("temperature", temperature)
    return (
        kt * _YEH_HUMMER / (6.0 * np.pi * positive("viscosity", viscosity) * positive("box_length", box_length) * 1e-10)
    )


def velocity_autocorrelation(
    velocities: Any, *, masses: Any = None, index_a: Any = None, max_lag: int | None = None, normalise: bool = True
) -> np.ndarray:
    """Velocity autocorrelation function over all time origins and atoms, by FFT.

    Args:
        velocities: [T, N, 3] in any unit.
        masses: [N]: weights of the atoms; None: equal weights. Mass weights give the vibrational density of states.
        index_a: the atoms to use; None: all.
        max_lag: largest lag in frames; None: T - 1.
        normalise: divide by the value at lag 0.

    Returns:
        [max_lag + 1]: 1 at lag 0 when normalised, else the (weighted) mean of v(0) . v(t) per atom.

    Example:
        >>> velocity_autocorrelation([[[1.0, 0, 0]], [[-1.0, 0, 0]], [[1.0, 0, 0]]]).round(6)
        array([ 1., -1.,  1.])
    """
    sizes: dict[str, int] = {}
    v = checked("velocities", velocities, "T N 3", sizes).astype(np.float64)
    at_least("velocities", len(v), 2, "frames")
    chosen = index("index_a", index_a, v.shape[1])
    weights = np.ones(v.shape[1]) if masses is None else _masses(masses, sizes)
    v = v[:, chosen] * np.sqrt(weights[chosen])[:, None]
    frames = len(v)
    last = frames - 1 if max_lag is None else whole("max_lag", max_lag, 0)
    if last >= frames:
        raise ValueError(f"max_lag must lie between 0 and {frames - 1} frames, got {max_lag}")
    columns = v.reshape(frames, -1)
    size = _fft_size(frames + last)
    power = np.zeros(size // 2 + 1)
    step = max(1, _FFT_NUMBERS // size)
    for start in range(0, columns.shape[1], step):
        transform = np.fft.rfft(columns[:, start : start + step].T, size, axis=1)
        power += (transform.real**2 + transform.imag**2).sum(axis=0)
    correlation = np.fft.irfft(power, size)[: last + 1] / (frames - np.arange(last + 1))
    if not normalise:
        return correlation / len(chosen)
    if correlation[0] <= 0:
        raise ValueError("velocities are all 0; nothing to normalise by (set normalise=False)")
    return correlation / correlation[0]


def vibrational_spectrum(autocorrelation: Any, dt: float) -> tuple[np.ndarray, np.ndarray]:
    """Vibrational density of states: cosine transform of a velocity autocorrelation with a Hann window.

    Args:
        autocorrelation: [K] of `velocity_autocorrelation` at lags 0 ... K - 1.
        dt: time between lags, ps. The spectrum ends at 16.7 / dt cm^-1, so vibrations need dt of a few fs.

    Returns:
        wavenumber [K] cm^-1 and intensity [K] (cm, integrates to 1 over the wavenumbers).

    Example:
        >>> t = np.arange(2000) * 0.001  # 30 THz, 1 fs
        >>> wavenumber, intensity = vibrational_spectrum(np.cos(2 * np.pi * 30 * t), 0.001)
        >>> round(float(wavenumber[intensity.argmax()]) / 33.35641, 1)
        30.0
    """
    c = checked("autocorrelation", autocorrelation, "K").astype(np.float64)
    at_least("autocorrelation", len(c), 2, "lags")
    window = 0.5 * (1.0 + np.cos(np.pi * np.arange(len(c)) / len(c)))
    even = np.concatenate([c * window, [0.0], (c * window)[:0:-1]])
    intensity = np.abs(np.fft.rfft(even).real)[: len(c)]
    wavenumber = np.fft.rfftfreq(len(even), positive("dt", dt))[: len(c)] * 1e12 / 2.99792458e10
    area = intensity.sum() * (wavenumber[1] - wavenumber[0])
    if area <= 0:
        raise ValueError("autocorrelation is 0 everywhere")
    return wavenumber, intensity / area


def _tracked(positions: Any, index_a: Any, masses: Any) -> np.ndarray:
    sizes: dict[str, int] = {}
    x = checked("positions", positions, "T N 3", sizes)
    at_least("positions", len(x), 2, "frames")
    chosen = index("index_a", index_a, x.shape[1])
    tracked = x[:, chosen].astype(np.float64)
    if masses is not None:
        at_least("positions", x.shape[1], 2, "atoms (or leave masses out)")
        weights = _masses(masses, sizes)
        tracked -= np.einsum("tnc,n->tc", x, weights / weights.sum())[:, None]
    return tracked


def _masses(masses: Any, sizes: dict[str, int]) -> np.ndarray:
    weights = checked("masses", masses, "N", sizes).astype(np.float64)
    if weights.min() <= 0:
        raise ValueError("masses must all be positive")
    return weights


def _fft_size(minimum: int) -> int:
    from scipy.fft import next_fast_len

    size = next_fast_len(minimum, real=True)
    return size if size % 2 == 0 else next_fast_len(size + 1, real=True) + next_fast_len(size + 1, real=True) % 2
