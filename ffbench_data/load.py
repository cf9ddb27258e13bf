"""Find a built data set, check its seal, and read it as `Frames` or as a `datasets.Dataset`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from .atomic import file_sha256
from .cache import user_cache
from .datacard import CARD, card, is_path, known, list_datasets, shipped_datasets
from .packaged import package, packaged, packaged_folder
from .store import MANIFEST, content_of_splits

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

    from .frames import Frames

EMBEDDED = Path(__file__).parent / "embedded"
HOME = Path("~/.cache/ffbench")


class NotBuilt(ValueError):
    """A data set (or a config of one) that is on a card but not on this machine; the message says how to build it."""


def cache_folder() -> Path:
    """Where `build` puts data sets: environment FFBENCH_DATA, else ``ffbench`` in the user's cache folder."""
    return user_cache("FFBENCH_DATA")


@overload
def load_frames(
    name: str, config: str | None = None, *, split: str, root: Any = None, version: str | None = None
) -> Frames: ...
@overload
def load_frames(
    name: str, config: str | None, split: str, *, root: Any = None, version: str | None = None
) -> Frames: ...
@overload
def load_frames(
    name: str, config: str | None = None, split: None = None, *, root: Any = None, version: str | None = None
) -> dict[str, Frames]: ...
def load_frames(
    name: str,
    config: str | None = None,
    split: str | None = None,
    *,
    root: str | Path | None = None,
    version: str | None = None,
) -> Frames | dict[str, Frames]:
    """Labelled structures of one split as `Frames` (without a split: ``{split: Frames}``), energies in float64.

    ``name`` is that of a data set, or the path of its folder (``./mine``). ``config`` defaults to the first on the
    data card. Looks in ``root`` (only there, if given), else in FFBENCH_DATA, the user's cache, the data shipped with
    ffbench and those of installed packages (`packaged`). The hash of every file is checked.
    ValueError: unknown name, config or split, not built, another version, a changed byte.

    >>> frames = load_frames("ethanol_gfn2", split="test")
    >>> frames, frames[0].positions.shape
    (Frames(1000 frames, 9000 atoms), (9, 3))
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from .frames import Frames

    folder, manifest, config = _find(name, config, split, root, version)
    if split is None:
        names = [s["split"] for s in manifest["splits"] if s["config"] == config]
        return {s: load_frames(name, config, s, root=root, version=version) for s in names}
    shards = [_checked(folder, s, manifest) for s in _shards(manifest, config, split)]
    # One thread: the decode is bound by memory, and workers run side by side.
    return Frames(pa.concat_tables(pq.read_table(p, use_threads=False) for p in shards).combine_chunks())


def stream_frames(
    name: str,
    config: str | None = None,
    split: str = "train",
    *,
    batch_size: int = 1000,
    root: str | Path | None = None,
    version: str | None = None,
) -> Iterator[Frames]:
    """The frames of a split in order, ``batch_size`` at a time, in constant memory. Errors as in `load_frames`.

    >>> [len(part) for part in stream_frames("ethanol_gfn2", split="test", batch_size=300)]
    [300, 300, 300, 100]
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from .frames import Frames

    folder, manifest, config = _find(name, config, split, root, version)
    for shard in _shards(manifest, config, split):
        for batch in pq.ParquetFile(_checked(folder, shard, manifest)).iter_batches(batch_size, use_threads=False):
            yield Frames(pa.Table.from_batches([batch]))


def load_dataset(
    name: str,
    config: str | None = None,
    split: str | None = None,
    *,
    root: str | Path | None = None,
    version: str | None = None,
    **options: Any,
) -> Dataset | DatasetDict:
    """The same frames as a `datasets.Dataset` (without a split: a `DatasetDict`). Arguments as in `load_frames`.

    ``options`` go to `datasets.load_dataset` (``streaming=True``, ``cache_dir=...``). Mind that
    ``with_format("torch")`` rounds energies to float32. Errors as in `load_frames`.

    >>> load_dataset("ethanol_gfn2", split="test").num_rows  # doctest: +SKIP
    1000
    """
    import datasets

    folder, manifest, config = _find(name, config, split, root, version)
    shards = _shards(manifest, config, split)
    for shard in shards:
        _checked(folder, shard, manifest)
    # `datasets` keys its cache by the path of the folder, so that a newer version in the same place would give the rows
    # of the older one: the bytes that were just checked go into the key.
    seal = hashlib.sha256("".join(s["sha256"] for s in shards).encode()).hexdigest()[:16]
    cache = Path(options.pop("cache_dir", None) or datasets.config.HF_DATASETS_CACHE)
    cache = cache / f"ffbench-{manifest['name']}-{seal}"
    return datasets.load_dataset(str(folder), config, split=split, cache_dir=str(cache), **options)


def dataset_folder(name: str, *, root: str | Path | None = None, version: str | None = None) -> Path:
    """The folder of a built data set. Errors as in `load_frames`.

    >>> (dataset_folder("ethanol_gfn2") / "manifest.json").is_file()
    True
    """
    return _find(name, None, None, root, version, any_config=True)[0]


def data_file(name: str, path: str, *, root: str | Path | None = None, version: str | None = None) -> Path:
    """An extra file of a data set (reference observables, noise floors), with its hash checked. ValueError
    for a file it does not have, with the nearest name.

    >>> data_file("ethanol_gfn2", "reference/reference.json").name
    'reference.json'
    """
    folder, manifest, _ = _find(name, None, None, root, version, any_config=True)
    files = {f["path"]: f for f in manifest["files"]}
    return _checked(folder, files[known(path, files, "file", f" of {name}")], manifest)


def provenance(
    name: str,
    config: str | None = None,
    split: str | None = None,
    *,
    root: str | Path | None = None,
    version: str | None = None,
) -> dict[str, Any]:
    """Where data come from: dataset, version, config, frames and content hash of each split, and whether the build held
    all the card names (``complete``). The hash is computed from the rows; ValueError where the manifest has another.

    >>> provenance("ethanol_gfn2", split="test")["splits"]["test"]["frames"]
    1000
    """
    folder, manifest, config = _find(name, config, split, root, version)
    rows = [s for s in manifest["splits"] if s["config"] == config and split in (None, s["split"])]
    for row in rows:
        _check_content(folder, manifest, row)
    return {
        "dataset": manifest["name"],
        "version": manifest["version"],
        "config": config,
        "complete": manifest.get("provenance", {}).get("complete", True),
        "splits": {s["split"]: {"frames": s["frames"], "content_sha256": s["content_sha256"]} for s in rows},
    }


def verify(name: str, *, root: str | Path | None = None, version: str | None = None) -> dict[str, Any]:
    """Hash every file and the rows of every split of a built data set anew; ValueError names what differs."""
    folder, manifest, _ = _find(name, None, None, root, version, any_config=True)
    _sha256.cache_clear()
    _content_sha256.cache_clear()
    entries = [*manifest["shards"], *manifest["files"]]
    for entry in entries:
        _checked(folder, entry, manifest)
    for row in manifest["splits"]:
        _check_content(folder, manifest, row)
    whole = content_of_splits(manifest["splits"])
    if whole != manifest["content_sha256"]:
        raise ValueError(_other_content(manifest, "the data set", whole, manifest["content_sha256"]))
    return {"version": manifest["version"], "files": len(entries), "bytes": sum(e["bytes"] for e in entries)}


def _check_content(folder: Path, manifest: dict[str, Any], row: dict[str, Any]) -> None:
    """Compare the rows of a split with the content hash and number of frames that its manifest states."""
    shards = _shards(manifest, row["config"], row["split"])
    paths = tuple(str(_checked(folder, s, manifest)) for s in shards)
    digest, frames = _content_sha256(paths, tuple(s["sha256"] for s in shards))
    if digest != row["content_sha256"]:
        where = f"{row['config']}/{row['split']}"
        raise ValueError(_other_content(manifest, where, digest, row["content_sha256"]))
    if frames != row["frames"]:
        raise ValueError(
            f"{manifest['name']} {manifest['version']}: {row['config']}/{row['split']} has {frames} frames, its "
            f"manifest says {row['frames']}"
        )


def _other_content(manifest: dict[str, Any], where: str, found: str, stated: str) -> str:
    return (
        f"{manifest['name']} {manifest['version']}: the content of {where} is {found[:12]}, its manifest says "
        f"{stated[:12]}: not the data that were sealed; build it again with {_how(manifest['name'])}"
    )


def _how(name: str) -> str:
    """The command that makes a data set."""
    if name in (others := packaged()):
        return f"`pip install --force-reinstall {package(others[name])}`"
    return f"`ffbench data build {name}`" if name in shipped_datasets() else f"`ffbench data add {name} FILES`"


@lru_cache(maxsize=256)
def _content_sha256(paths: tuple[str, ...], _sealed: tuple[str, ...]) -> tuple[str, int]:
    """(content hash, frames) of Parquet files; the hashes of their bytes make the key of the cache."""
    from .schema import content_hash_of_files

    return content_hash_of_files(paths)


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a built data set; ValueError if the folder is none."""
    try:
        manifest = json.loads((Path(folder) / MANIFEST).read_text(encoding="utf-8"))
        if not isinstance(manifest, dict) or not {"name", "version", "splits", "shards", "files"} <= set(manifest):
            raise ValueError("keys are missing")
    except OSError as error:
        raise ValueError(f"{folder} is not a built dataset: {error.strerror} ({MANIFEST})") from None
    except ValueError as error:
        raise ValueError(f"{Path(folder) / MANIFEST} is damaged: {error}") from None
    return manifest


def name_of(name: str) -> str:
    """What a data set is called, also where it is given by its folder."""
    return str(read_manifest(Path(name).expanduser())["name"]) if is_path(name) else name


def own_datasets(root: str | Path | None = None) -> list[str]:
    """Names of the built data sets in ``root`` (default: where `load_frames` looks, and those of installed packages)
    that have their card beside them and are none of ffbench's own."""
    places = [Path(root).expanduser()] if root is not None else list(dict.fromkeys([cache_folder(), HOME.expanduser()]))
    cards = [path for place in places for path in place.glob(f"*/{CARD}")]
    cards += [path for place in places if (path := place / CARD).exists()]
    shipped = shipped_datasets()
    names = [read_manifest(path.parent)["name"] for path in cards if (path.parent / MANIFEST).is_file()]
    return sorted({name for name in [*names, *(packaged() if root is None else ())] if name not in shipped})


def _candidates(name: str, root: str | Path | None) -> list[Path]:
    if is_path(name):
        return [Path(name).expanduser()]
    if root is not None:
        root = Path(root).expanduser()
        return [root / name, root]
    places = [cache_folder() / name, HOME.expanduser() / name, EMBEDDED / name]
    if not any((place / MANIFEST).is_file() for place in places):
        places += [folder for folder in [packaged_folder(name)] if folder]
    return places


def _find(
    name: str,
    config: str | None,
    split: str | None,
    root: str | Path | None,
    version: str | None,
    *,
    any_config: bool = False,
):
    """(folder, manifest, config) of the first place that has what is asked."""
    places = [p for p in dict.fromkeys(_candidates(name, root)) if (p / MANIFEST).is_file()]
    found = [(p, m) for p in places for m in [read_manifest(p)] if is_path(name) or m["name"] == name]
    if is_path(name):
        if not found:
            raise NotBuilt(f"{name} is no data set: a folder made by `ffbench data add` or `build` has a {MANIFEST}")
        name = found[0][1]["name"]
    elif not found:
        _unknown(name, root)
    of_card = card(name) if name in shipped_datasets() else None
    wanted = version or (of_card and of_card.version)
    fitting = [(p, m) for p, m in found if wanted in (None, m["version"])]
    if found and not fitting:
        there = ", ".join(f"{m['version']} in {p}" for p, m in found)
        if version is None:
            raise NotBuilt(f"{name}: version {wanted} is not built, found {there}: run {_how(name)} again, or pass "
                           "version=")  # fmt: skip
        raise ValueError(f"{name}: version {wanted} was asked for, found {there}; pass version= or build it again")
    if not fitting:
        where = f" under root={str(root)!r}" if root is not None else ""
        raise NotBuilt(f"dataset {name!r} is not built{where}: run {_how(name)}")
    if any_config:
        return (*fitting[0], None)

    def default(manifest: dict[str, Any]):
        configs = list(dict.fromkeys(s["config"] for s in manifest["splits"]))
        first = of_card.default_config if of_card else configs[0]
        return first if first in configs else configs[0]

    for folder, manifest in fitting:
        asked = config or default(manifest)
        if _shards(manifest, asked, split):
            return folder, manifest, asked
    splits = [(s["config"], s["split"]) for _, m in fitting for s in m["splits"]]
    configs = list(dict.fromkeys(c for c, _ in splits))
    asked = config or default(fitting[0][1])
    if asked in configs:
        known(str(split), dict.fromkeys(s for c, s in splits if c == asked), "split", f" of {name}:{asked}")
    if of_card:
        known(asked, of_card.configs, "config", f" of {name}")
        there = ", ".join(configs[:4]) + (f" and {len(configs) - 4} more" if len(configs) > 4 else "")
        raise NotBuilt(f"config {asked!r} of {name} is not built (there is: {there}): run {_how(name)}")
    known(asked, configs, "config", f" of {name}")


def _unknown(name: str, root: str | Path | None) -> None:
    """ValueError for a name nobody knows; a folder of that name is told apart from it."""
    if (Path(name) / MANIFEST).is_file() and name not in shipped_datasets():
        raise ValueError(f"unknown dataset {name!r}; the folder of that name here is given as ./{name}")
    if root is None or name not in shipped_datasets():
        try:
            known(name, list_datasets(root), "dataset")
        except ValueError as error:
            if root is None:
                raise ValueError(f"{error}. Your own files become one with `ffbench data add {name} FILES`") from None
            raise NotBuilt(f"dataset {name!r} is not built under root={str(root)!r}: run {_how(name)}") from None


def _shards(manifest: dict[str, Any], config: str, split: str | None) -> list[dict[str, Any]]:
    return [s for s in manifest["shards"] if s["config"] == config and split in (None, s["split"])]


def _checked(folder: Path, entry: dict[str, Any], manifest: dict[str, Any]) -> Path:
    """The path of a file of the manifest, after its size and hash were compared."""
    path = folder / entry["path"]
    again = f"build it again with {_how(manifest['name'])}"
    try:
        stat = path.stat()
    except OSError:
        raise ValueError(f"{manifest['name']} {manifest['version']}: {path} is missing; {again}") from None
    # The change time cannot be set by hand, so a file with a restored date is hashed anew.
    digest = _sha256(str(path), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
    if digest != entry["sha256"]:
        raise ValueError(
            f"{manifest['name']} {manifest['version']}: {path} was changed "
            f"(sha256 {digest[:12]}, expected {entry['sha256'][:12]}); {again}"
        )
    return path


@lru_cache(maxsize=4096)
def _sha256(path: str, size: int, modified: int, changed: int) -> str:
    return file_sha256(Path(path))
