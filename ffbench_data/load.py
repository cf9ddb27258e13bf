"""Find a dataset on this machine, check its hashes, load its frames."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pyarrow.parquet as pq

from .card import list_datasets, nearest
from .frames import Frames
from .store import file_hash

EMBEDDED = Path(__file__).parent / "embedded"


@dataclass(frozen=True)
class Split:
    """One split of a dataset that is on this machine; hashes are checked when frames are read."""

    folder: Path
    name: str
    config: str
    split: str
    version: str
    content_sha256: str
    path: Path
    sha256: str

    def frames(self) -> Frames:
        stat = self.path.stat()
        return _read(self.path, self.sha256, stat.st_mtime_ns, stat.st_size)


def roots(root: str | Path | None = None) -> list[Path]:
    """Where datasets are looked for, first to last."""
    if root is not None:
        return [Path(root)]
    places = [os.environ.get("FFBENCH_DATA"), Path.home() / ".cache" / "ffbench"]
    return [Path(place) for place in places if place] + [EMBEDDED]


def locate(
    name: str,
    config: str | None = None,
    split: str | None = None,
    *,
    root: str | Path | None = None,
    version: str | None = None,
) -> Split:
    """The split on disk. ValueError says what is unknown, or how to build what is missing."""
    folder = next((r / name for r in roots(root) if (r / name / "manifest.json").exists()), None)
    if folder is None:
        if name in list_datasets():
            where = f" in {root}" if root is not None else ""
            raise ValueError(f"dataset {name!r} is not built{where}: run `ffbench data build {name}`")
        raise ValueError(f"unknown dataset {name!r}{nearest(name, list_datasets())}")
    manifest = json.loads((folder / "manifest.json").read_text())
    if version is not None and version != manifest["version"]:
        raise ValueError(f"dataset {name!r} is on this machine in version {manifest['version']}, not {version}")
    configs = manifest["configs"]
    config = config or next(iter(configs))
    if config not in configs:
        raise ValueError(f"dataset {name!r} has no config {config!r}{nearest(config, configs)}")
    split = split or next(iter(configs[config]))
    if split not in configs[config]:
        raise ValueError(f"{name}:{config} has no split {split!r}{nearest(split, configs[config])}")
    shard = configs[config][split]
    return Split(
        folder,
        name,
        config,
        split,
        manifest["version"],
        shard["content_sha256"],
        folder / shard["path"],
        shard["sha256"],
    )


def load_frames(name, config=None, split=None, *, root=None, version=None) -> Frames:
    """The zero-copy `Frames` of one split; see `locate` for the errors.

    >>> load_frames("ethanol_gfn2", split="test")
    Frames(1000 frames, 9000 atoms)
    """
    return locate(name, config, split, root=root, version=version).frames()


def load_dataset(name, config=None, split=None, *, root=None, version=None):
    """The same rows as a `datasets.Dataset` (all splits of the config as a `DatasetDict` without ``split``)."""
    import datasets

    found = locate(name, config, split, root=root, version=version)
    found.frames()  # refuses a changed file
    return datasets.load_dataset(str(found.folder), found.config, split=split)


@lru_cache(maxsize=64)
def _read(path: Path, sha256: str, mtime_ns: int, size: int) -> Frames:
    if file_hash(path) != sha256:
        raise ValueError(
            f"{path} does not match its manifest (sha256): the file was changed or damaged; build it again"
        )
    return Frames(pq.read_table(path))
