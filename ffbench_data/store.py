"""Write a data set as a folder the Hugging Face Hub understands: README.md, Parquet shards, manifest.json."""

from __future__ import annotations

import hashlib
import itertools
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml

from .atomic import file_sha256
from .croissant import croissant, eval_yaml
from .datacard import CARD, Card, known
from .schema import COLUMNS, content_hash, content_hash_of_files, write_parquet

MANIFEST = "manifest.json"
SHARD_BYTES = 512 * 2**20  # of Arrow memory; about half of it on disk
STREAM_BYTES = 64 * 2**20  # of a shard of streamed rows, which is in memory until it is written
PRECISION = (
    'Read energies in float64: `with_format("torch")` and `with_format("numpy")` turn them into float32, an error of '
    "0.1 to 1 meV for total energies of this size, as large as the error of a good model. "
    "`ffbench_data.load_frames` and `ffbench_data.collate_arrow` keep float64."
)


@dataclass(frozen=True)
class Streamed:
    """Rows of a split that need not fit into memory: ``tables()`` gives them in pieces of the ``schema``."""

    schema: pa.Schema
    tables: Callable[[], Iterator[pa.Table]]


def write_dataset(
    folder: Path,
    card: Card,
    tables: Mapping[str, Mapping[str, pa.Table | Streamed]],
    extra_files: Mapping[str, bytes | Callable[[Path], Any]] | None = None,
    *,
    provenance: Mapping[str, Any] | None = None,
) -> Path:
    """Write ``{config: {split: table}}`` to ``folder`` and return it. The folder appears complete or not at all.
    A split may be `Streamed`.

    ``extra_files`` maps a relative path to bytes, or to a function that writes the path it is given.
    ``provenance`` (how it was built) is kept in the manifest. An older ``folder`` is replaced. ValueError for a
    config the card does not know, or a table that does not begin with the columns `ffbench_data.schema.COLUMNS`.
    """
    folder = Path(folder)
    for config, splits in tables.items():
        known(config, card.configs, "config", f" of {card.name}")
        for split, table in splits.items():
            known(split, card.configs[config].splits, "split", f" of {card.name}:{config}")
            first = table.schema.names[: len(COLUMNS)]
            if first != COLUMNS.names or not pa.schema([table.schema.field(n) for n in first]).equals(COLUMNS):
                raise ValueError(f"{card.name}:{config}/{split}: columns or types differ from ffbench_data.schema")
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        work.chmod(0o755)
        manifest = _write_contents(work, card, tables, extra_files or {}, dict(provenance or {}))
        (work / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
        _swap(work, folder)
    except OSError as error:
        raise ValueError(f"cannot write dataset {card.name} to {folder}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return folder


def _swap(work: Path, folder: Path) -> None:
    if folder.exists() and not (folder / MANIFEST).is_file() and any(folder.iterdir()):
        raise ValueError(f"{folder} exists and is not a dataset: name another folder or empty it")
    old = folder.with_name(f"{work.name}.old")
    if folder.exists():
        folder.rename(old)
    work.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _write_contents(work: Path, card: Card, tables: Any, extra_files: Any, provenance: Any) -> dict[str, Any]:
    shards: list[dict[str, Any]] = []
    splits = []
    for config, parts in tables.items():
        for split, table in parts.items():
            mine = _write_shards(work, config, split, table)
            shards += mine
            if isinstance(table, Streamed):
                content = content_hash_of_files(work / shard["path"] for shard in mine)[0]
            else:
                content = content_hash(table)
            splits.append(
                {"config": config, "split": split, **{k: sum(s[k] for s in mine) for k in ("frames", "atoms")}}
                | ({"extra_columns": extra} if (extra := features_yaml(table.schema)[len(COLUMNS) :]) else {})
                | {"memory_bytes": sum(s.pop("memory_bytes") for s in mine), "content_sha256": content}
            )
    for path, content in extra_files.items():
        target = work / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if callable(content):
            content(target)
        else:
            target.write_bytes(content)
    manifest = {
        "manifest_version": 1,
        "name": card.name,
        "version": card.version,
        "licence": card.licence,
        "content_sha256": content_of_splits(splits),
        "provenance": provenance,
        "splits": splits,
        "shards": shards,
    }
    metadata = {
        CARD: yaml.safe_dump(card.model_dump(mode="json", exclude_defaults=True), sort_keys=False, width=110),
        "README.md": readme(card, manifest),
        "croissant.json": json.dumps(croissant(card, manifest), indent=1) + "\n",
        "eval.yaml": yaml.safe_dump(eval_yaml(card, manifest), sort_keys=False, width=110),
    }
    for path, text in metadata.items():
        (work / path).write_text(text, encoding="utf-8")
    manifest["files"] = [_file(work, path) for path in sorted([*extra_files, *metadata])]
    return manifest


def _write_shards(work: Path, config: str, split: str, table: pa.Table | Streamed) -> list[dict[str, Any]]:
    """The Parquet files of a split; how many there are is known when all are written."""
    shards: list[dict[str, Any]] = []
    for piece in _pieces(table):
        path = work / f"data/{config}/{split}-{len(shards):05d}.parquet"
        write_parquet(piece, path)
        about = {"path": path, "content_sha256": content_hash(piece), "memory_bytes": piece.nbytes}
        shards.append(about | {"frames": piece.num_rows, "atoms": _atoms(piece)})
    for shard in shards:
        path = shard["path"].with_name(f"{shard['path'].stem}-of-{len(shards):05d}.parquet")
        shard["path"].rename(path)
        shard |= {"config": config, "split": split} | _file(work, path.relative_to(work).as_posix())
    return shards


def _pieces(table: pa.Table | Streamed) -> Iterator[pa.Table]:
    """Tables of the size of a shard, at least one."""
    if isinstance(table, pa.Table):
        count = max(1, -(-table.nbytes // SHARD_BYTES))
        edges = [table.num_rows * k // count for k in range(count + 1)]
        yield from (table.slice(a, b - a) for a, b in itertools.pairwise(edges))
        return
    waiting: list[pa.Table] = []
    written = False
    for part in table.tables():
        waiting.append(part)
        if sum(t.nbytes for t in waiting) >= STREAM_BYTES:
            yield pa.concat_tables(waiting)
            waiting, written = [], True
    if waiting or not written:
        yield pa.concat_tables(waiting) if waiting else table.schema.empty_table()


def content_of_splits(splits: Sequence[Mapping[str, Any]]) -> str:
    """The content hash of a data set from those of its splits."""
    return hashlib.sha256("".join(s["content_sha256"] for s in splits).encode()).hexdigest()


def _file(work: Path, path: str) -> dict[str, Any]:
    return {"path": path, "bytes": (work / path).stat().st_size, "sha256": file_sha256(work / path)}


def _atoms(table: pa.Table) -> int:
    return sum(len(chunk.flatten()) for chunk in table["atomic_numbers"].chunks)


def features_yaml(schema: pa.Schema = COLUMNS) -> list[dict[str, Any]]:
    """The ``features`` block of a dataset README for an Arrow schema (what ``Features._to_yaml_list`` gives)."""

    def feature(kind: pa.DataType) -> Any:
        if pa.types.is_fixed_size_list(kind):
            return {**_nest(feature(kind.value_type)), "length": kind.list_size}
        if pa.types.is_list(kind):
            return _nest(feature(kind.value_type))
        return {"dtype": {"double": "float64", "float": "float32"}.get(str(kind), str(kind))}

    def _nest(inner: dict[str, Any]) -> dict[str, Any]:
        return {"list": inner["dtype"] if set(inner) == {"dtype"} else inner}

    return [{"name": f.name, **feature(f.type)} for f in schema]


def readme(card: Card, manifest: Mapping[str, Any]) -> str:
    """README.md: the YAML front matter `datasets` reads, then the card in words."""
    configs: dict[str, list[dict[str, Any]]] = {}
    for split in manifest["splits"]:
        configs.setdefault(split["config"], []).append(split)
    first = card.default_config if card.default_config in configs else next(iter(configs), None)
    front = {
        "license": card.licence.lower(),
        "pretty_name": card.title,
        "tags": ["chemistry", "molecular dynamics", "mlip", "interatomic potential", *card.tags],
        "configs": [
            {
                "config_name": name,
                **({"default": True} if name == first else {}),
                "data_files": [{"split": s["split"], "path": f"data/{name}/{s['split']}-*.parquet"} for s in splits],
            }
            for name, splits in configs.items()
        ],
        "dataset_info": [
            {
                "config_name": name,
                "features": features_yaml() + splits[0].get("extra_columns", []),
                "splits": [
                    {"name": s["split"], "num_bytes": s["memory_bytes"], "num_examples": s["frames"]} for s in splits
                ],
                "download_size": sum(x["bytes"] for x in manifest["shards"] if x["config"] == name),
                "dataset_size": sum(s["memory_bytes"] for s in splits),
            }
            for name, splits in configs.items()
        ],
    }
    return f"---\n{yaml.safe_dump(front, sort_keys=False, width=120)}---\n\n{describe(card, manifest)}"


def describe(card: Card, manifest: Mapping[str, Any] | None = None) -> str:
    """The data card as Markdown; with a manifest, the built splits and their hashes too."""
    kelvin = card.temperature_K if isinstance(card.temperature_K, list) else [card.temperature_K]
    lines = [f"# {card.title}", "", card.description.strip(), ""]
    lines += [f"- name: `{card.name}`, version {card.version}", f"- level of theory: {card.theory}"]
    if card.temperature_K is not None:
        lines.append(f"- temperature: {', '.join(f'{t:g}' for t in kelvin)} K")
    lines.append(f"- licence: {card.licence}{'' if card.redistributable else ' (not redistributed: build it locally)'}")
    lines.append("- units: " + ", ".join(f"{k} {v}" for k, v in card.units.items()))
    built = {(s["config"], s["split"]): s for s in (manifest or {}).get("splits", [])}
    lines += ["", "## Configs", ""]
    for name, config in card.configs.items():
        if manifest and not any(c == name for c, _ in built):
            continue
        tests = f" Tests: {config.tests.strip()}" if config.tests else ""
        lines += [f"`{name}`: {config.description.strip()}{tests}", ""]
        for split, rule in config.splits.items():
            made = built.get((name, split))
            if manifest and not made:
                continue
            count = made["frames"] if made else rule.frames
            seal = f" (content sha256 `{made['content_sha256'][:16]}`)" if made else ""
            lines.append(f"- `{split}`: {f'{count} frames, ' if count is not None else ''}{rule.rule}{seal}")
        lines.append("")
    lines += ["## Reading", "", PRECISION, ""]
    if card.notes:
        lines += ["## Notes and known faults", "", *(f"- {note.strip()}" for note in card.notes), ""]
    if card.generator:
        settings = yaml.safe_dump(card.generator, sort_keys=False, width=110)
        lines += ["## Generator", "", "```yaml", settings.rstrip(), "```", ""]
    if card.calculator:
        lines += ["## Reference potential", "", f"`{card.calculator}`, an ASE calculator that can be asked anew", ""]
    if card.sources:
        lines += ["## Sources", ""]
        lines += [f"- {s.url}{f' ({s.checksum})' if s.checksum else ''}" for s in card.sources] + [""]
    lines += ["## Citation", "", *(f"- {c.strip()}" for c in card.citation), "", "## Changes", ""]
    lines += [f"- {version}: {text.strip()}" for version, text in card.changelog.items()]
    return "\n".join(lines) + "\n"
