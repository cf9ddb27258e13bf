"""Which rows train, validate and test."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..builders.splits import SEED, _tau, blocked_split
from .options import Options
from .order import Segment
from .rows import Rows

NAMES = ("train", "val", "test", "ood_test")
SPELLINGS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val",
             "test": "test", "testing": "test", "ood_test": "ood_test", "ood": "ood_test"}  # fmt: skip
SHARES = (0.7, 0.1, 0.2)
MOST = {"val": 5_000, "test": 20_000}  # frames; more say nothing that these do not
FEWEST = 10  # frames that are split at all
UNUSED = -1


def deal(rows: Rows, segments: Sequence[Segment], options: Options) -> tuple[np.ndarray, str]:
    """(part of every row, an index into `NAMES` or -1; the rule in words)."""
    key = options.by()
    named = _named(rows, "file")
    if key or (options.split == "auto" and named is not None):
        return _by(rows, key or "file")
    if len(rows) < FEWEST:
        return np.full(len(rows), 2), f"all {len(rows)} frames: too few to train on"
    single = rows.atoms == 1  # free atoms: energies to train on, and no test of a potential
    single &= not single.all()
    ordered = all(s.ordered for s in segments if not single[s.start])
    told = f"; {single.sum()} single atoms train" if single.any() else ""
    if options.split == "random" or (options.split == "auto" and not ordered):
        return _random(single), f"random frames, seed {SEED}{told}"
    part = np.full(len(rows), UNUSED)
    said = []
    for segment in segments:
        if single[segment.start]:
            part[segment.start : segment.stop] = 0
            continue
        mine, text = _blocked(rows, segment)
        part[segment.start : segment.stop] = mine
        said.append(text)
    if not all((part == k).any() for k in range(3)):
        if options.split == "blocked":
            raise ValueError(f"--split blocked: {len(rows)} frames hold too few blocks; say random")
        return _random(single), f"random frames, seed {SEED}: too few for blocks of time{told}"
    return _capped(part), "; ".join(dict.fromkeys(said)) + told


def _random(train: np.ndarray) -> np.ndarray:
    """Parts of all rows; those with ``train`` [n] in no other."""
    n = int((~train).sum())
    order = np.flatnonzero(~train)[np.random.default_rng(SEED).permutation(n)]
    val, test = (min(MOST[name], max(1, round(share * n))) for name, share in zip(("val", "test"), SHARES[1:]))
    part = np.zeros(len(train), int)
    part[order[:val]], part[order[val : val + test]] = 1, 2
    return part


def _blocked(rows: Rows, segment: Segment) -> tuple[np.ndarray, str]:
    """Blocks of at least 20 autocorrelation times with gaps of 5, shorter where the trajectory is too short."""
    n, part = len(segment), np.full(len(segment), UNUSED)
    here = slice(segment.start, segment.stop)
    series = [s[here] for s in (rows.energy, rows.size) if np.isfinite(s[here]).all()]
    tau = max([1.0, *(_tau(s) for s in series)])
    gap = int(np.ceil(5 * tau))
    block = max(int(np.ceil(20 * tau)), n // 100 - gap)
    said = f"blocks of {block} frames (20 autocorrelation times) with gaps of {gap}"
    if (n + gap) // (block + gap) < 10:
        gap = max(1, n // 100)
        block = max(1, (n - 9 * gap) // 10)
        said = f"blocks of {block} frames with gaps of {gap}: too short for 20 autocorrelation times"
    if (n + gap) // (block + gap) < 3:
        return part, said
    for name, mine in blocked_split(n, block=block, gap=gap, parts=SHARES).items():
        part[mine] = NAMES.index(name)
    return part, said


def _capped(part: np.ndarray) -> np.ndarray:
    for name, most in MOST.items():
        mine = np.flatnonzero(part == NAMES.index(name))
        if len(mine) > most:
            part[np.setdiff1d(mine, mine[np.linspace(0, len(mine) - 1, most).astype(int)])] = UNUSED
    return part


def _named(rows: Rows, key: str) -> dict[int, str] | None:
    """{number of the file or value: part} where their names say it, with at least train and test among them."""
    if key == "file":
        texts = {int(r): [rows.files[f].rpartition("/")[2].partition(".")[0], rows.runs[r]]
                 for r, f in dict(zip(rows.run.tolist(), rows.file.tolist())).items()}  # fmt: skip
    else:
        texts = {k: [text] for k, text in enumerate(rows.bys)}
    found = {}
    for k, words in texts.items():
        parts = [SPELLINGS[w] for text in words for w in _words(text, key == "file") if w in SPELLINGS]
        if len(set(parts)) != 1:
            return None
        found[k] = parts[0]
    return found if "test" in found.values() else None


def _words(text: str, inside: bool) -> list[str]:
    """The value itself, or of a file's name its parts."""
    folded = text.casefold().strip()
    return (
        [folded]
        if folded in SPELLINGS or not inside
        else folded.replace("-", "_").replace(".", "_").replace("/", "_").split("_")
    )


def _by(rows: Rows, key: str) -> tuple[np.ndarray, str]:
    """By the names of parts that the values are, else whole values dealt to the parts."""
    which = rows.run if key == "file" else rows.by
    names = _named(rows, key)
    rule = "by the names of the files" if key == "file" else f"by {key}"
    if names is not None:
        part = np.array([NAMES.index(names[int(k)]) for k in which])
        if not (part == 1).any() and (part == 0).sum() >= FEWEST:  # a tenth of train validates
            train = np.flatnonzero(part == 0)
            part[np.random.default_rng(SEED).permutation(train)[: max(1, len(train) // 10)]] = 1
        return part, rule
    values, inverse, counts = np.unique(which, return_inverse=True, return_counts=True)
    if len(values) < 3:
        there = ", ".join(sorted({rows.files[f] for f in rows.file.tolist()} if key == "file" else set(rows.bys)))
        raise ValueError(
            f"--split by:{key}: needs values train, val and test, or at least 3 others to deal out; there are {there}"
        )
    part = np.zeros(len(values), int)
    for k, share in ((2, SHARES[2]), (1, SHARES[1])):
        filled = 0
        for v in np.random.default_rng(SEED).permutation(len(values)):
            room = share * len(rows) - filled
            if part[v] == 0 and (not filled or counts[v] < 1.5 * room) and room > 0:
                part[v], filled = k, filled + counts[v]
    if not (part == 0).any():  # so few values that none is left to train on
        part[np.flatnonzero(part == 2)[0]] = 0
    return part[inverse], f"whole values of {key} are in one part"
