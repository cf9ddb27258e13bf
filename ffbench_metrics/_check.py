"""One input check for every metric: shape by letters, no empty axis, finite numbers, errors that name the argument."""

from typing import Any

import numpy as np


def checked(
    name: str, value: Any, shape: str, sizes: dict[str, int] | None = None, *, finite: bool = True
) -> np.ndarray:
    """Return `value` as a float array of the shape spelled in letters and digits ("T N 3"), or raise ValueError.

    `sizes` carries the sizes of letters already seen, so that arrays which belong together are checked together.
    float32 stays float32 (trajectories are large), everything else becomes float64.
    """
    array = real(name, value, f" of shape [{_spell(shape)}]")
    letters = shape.split()
    sizes = {} if sizes is None else sizes
    fits = array.ndim == len(letters)
    if fits:
        seen = dict(sizes)  # a letter twice in one shape is one size too
        for letter, size in zip(letters, array.shape):
            fits = fits and (int(letter) == size if letter.isdigit() else seen.setdefault(letter, size) == size)
    if not fits:
        known = ", ".join(f"{k}={v}" for k, v in sizes.items())
        known = f" with {known}" if known else ""
        raise ValueError(f"{name} must have shape [{_spell(shape)}]{known}, got {list(array.shape)}")
    if array.size == 0:
        raise ValueError(f"{name} is empty: shape {list(array.shape)}; give at least one entry along every axis")
    # minimum and maximum need no array of flags, which for a long trajectory is large
    if finite and not (np.isfinite(array.min()) and np.isfinite(array.max())):
        raise ValueError(f"{name} holds NaN or infinite values; drop or mask them first")
    sizes.update({k: v for k, v in zip(letters, array.shape) if not k.isdigit()})
    return array


def real(name: str, value: Any, shape: str = "") -> np.ndarray:
    """Return `value` as a float array, or raise ValueError: text and complex numbers are no real ones (their imaginary
    part would be dropped), and what a mask hides is missing. float32 stays float32, everything else becomes float64.
    """
    if np.ma.is_masked(value):
        raise ValueError(f"{name} has masked entries; drop or fill them first")
    try:
        array = np.asarray(value)
        if array.dtype.kind not in "biufO":
            raise TypeError(f"{array.dtype} is no real number")
        return array if array.dtype == np.float32 else array.astype(np.float64, copy=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be an array of numbers{shape}, got {value!r:.80}") from error


def flags(name: str, value: Any, size: int, what: str) -> np.ndarray:
    """Return True/False or 0/1 of shape [size] as booleans, or raise ValueError: text and NaN count as neither."""
    array = np.asarray(value)
    if array.shape != (size,):
        raise ValueError(f"{name} must have one entry per {what} ({size}), got shape {list(array.shape)}")
    if array.dtype.kind not in "biuf" or not np.isin(array, (0, 1)).all():
        raise ValueError(f"{name} must hold True/False or 0/1 only, got {value!r:.80}")
    return array.astype(bool)


def numbered(name: str, labels: Any) -> np.ndarray:
    """Return labels of any kind as numbers [n] from 0 on, equal for equal labels; ValueError where one is missing."""
    array = np.asarray(labels).ravel()
    missing = (
        np.isnan(array).any()
        if array.dtype.kind == "f"
        else array.dtype == object and any(v is None or v != v for v in array)
    )
    if missing:
        raise ValueError(f"{name} holds None or NaN: a sample of no known group; drop it or give it one")
    return np.unique(array, return_inverse=True)[1].ravel()


def at_least(name: str, value: int, minimum: int, what: str) -> None:
    """Raise ValueError when there are fewer than `minimum` of something in the argument `name`."""
    if value < minimum:
        raise ValueError(f"{name} has {value} {what}; at least {minimum} are needed")


def positive(name: str, value: float) -> float:
    """Return `value` as a float, or raise ValueError unless it is a finite number above zero."""
    if not (np.isscalar(value) or np.ndim(value) == 0) or not np.isfinite(value) or value <= 0:
        raise ValueError(f"{name} must be a positive finite number, got {value!r}")
    return float(value)


def whole(name: str, value: int, minimum: int = 1) -> int:
    """Return `value` as an int, or raise ValueError unless it is a whole number of at least `minimum`."""
    if isinstance(value, bool) or not np.isfinite(value) or int(value) != value or value < minimum:
        raise ValueError(f"{name} must be a whole number of at least {minimum}, got {value!r}")
    return int(value)


def fraction(name: str, value: float) -> float:
    """Return `value`, or raise ValueError unless it lies strictly between 0 and 1."""
    if not 0.0 < value < 1.0:
        raise ValueError(f"{name} must lie between 0 and 1 (0.95 for 95 %), got {value!r}")
    return float(value)


def choice(name: str, value: str, allowed: tuple[str, ...]) -> str:
    """Return `value`, or raise ValueError unless it is one of `allowed`."""
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}")
    return value


def index(name: str, value: Any, size: int) -> np.ndarray:
    """Return an index array (or boolean mask) over `size` atoms as distinct whole numbers; None means all atoms."""
    if value is None:
        return np.arange(size)
    array = np.asarray(value)
    if array.dtype == bool:
        if array.shape != (size,):
            raise ValueError(f"{name} as a mask must have shape [{size}], got {list(array.shape)}")
        array = np.flatnonzero(array)
    if array.ndim != 1 or array.size == 0 or not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"{name} must be a non-empty list of atom indices, got {value!r:.80}")
    if array.min() < 0 or array.max() >= size:
        raise ValueError(f"{name} must hold indices from 0 to {size - 1}, got {array.min()} to {array.max()}")
    if len(np.unique(array)) != len(array):
        raise ValueError(f"{name} names an atom twice; every index may occur once")
    return array.astype(np.intp)


def _spell(shape: str) -> str:
    return ", ".join(shape.split())
