"""Write a data set as a folder the Hugging Face Hub understands: README.md, Parquet shards, manifest.json."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml

from .croissant import croissant, eval_yaml
from .datacard import Card, known
from .schema import COLUMNS, content_hash, write_parquet

MANIFEST = "manifest.json"
SHARD_BYTES = 512 * 2**20  # of Arrow memory; about half of it on disk
PRECISION = (
    'Read energies in float64: `with_format("torch")` and `with_format("numpy")` turn them into float32, an error of '
    "0.1 to 1 meV for total energies of this size, as large as the error of a good model. "
    "`ffbench_data.load_frames` and `ffbench_data.collate_arrow` keep float64."
)


def write_dataset(
    folder: Path,
    card: Card,
    tables: Mapping[str, Mapping[str, pa.Table]],
    extra_files: Mapping[str, bytes | Callable[[Path], Any]] | None = None,
    *,
    provenance: Mapping[str, Any] | None = None,
) -> Path:
    """Write ``{config: {split: table}}`` to ``folder`` and return it. The folder appears complete or not at all.

    ``extra_files`` maps a relative path to bytes, or to a function that writes the path it is given.
    ``provenance`` (how it was built) is kept in the manifest. An older ``folder`` is replaced. ValueError for a
    config the card does not know, or a table that does not begin with the columns `ffbench_data.schema.COLUMNS`.
    """
    folder = Path(folder)
    for config, splits in tables.items():
        known(config, card.configs, "config", f" of {card.name}")
        for split, table in splits.items():
            known(split, card.configs[config].splits, "split", f" of {card.name}:{config}")
            if table.schema.names[: len(COLUMNS)] != COLUMNS.names or not table.select(COLUMNS.names).schema.equals(
                COLUMNS
            ):
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


def _write_contents(work: Path, card: Card, tables, extra_files, provenance) -> dict[str, Any]:
    shards, splits = [], []
    for config, parts in tables.items():
        for split, table in parts.items():
            count = max(1, -(-table.nbytes // SHARD_BYTES))
            edges = [table.num_rows * k // count for k in range(count + 1)]
            for k in range(count):
                piece = table.slice(edges[k], edges[k + 1] - edges[k])
                path = f"data/{config}/{split}-{k:05d}-of-{count:05d}.parquet"
                write_parquet(piece, work / path)
                shards.append(
                    {"config": config, "split": split, **_file(work, path), "content_sha256": content_hash(piece)}
                    | {"frames": piece.num_rows, "atoms": _atoms(piece)}
                )
            splits.append(
                {"config": config, "split": split, "frames": table.num_rows, "atoms": _atoms(table)}
                | ({"extra_columns": extra} if (extra := features_yaml(table.schema)[len(COLUMNS) :]) else {})
                | {"memory_bytes": table.nbytes, "content_sha256": content_hash(table)}
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
        "README.md": readme(card, manifest),
        "croissant.json": json.dumps(croissant(card, manifest), indent=1) + "\n",
        "eval.yaml": yaml.safe_dump(eval_yaml(card, manifest), sort_keys=False, width=110),
    }
    for path, text in metadata.items():
        (work / path).write_text(text, encoding="utf-8")
    manifest["files"] = [_file(work, path) for path in sorted([*extra_files, *metadata])]
    return manifest


def content_of_splits(splits: Sequence[Mapping[str, Any]]) -> str:
    """The content hash of a data set from those of its splits."""
    return hashlib.sha256("".join(s["content_sha256"] for s in splits).encode()).hexdigest()


def _file(work: Path, path: str) -> dict[str, Any]:
    return {"path": path, "bytes": (work / path).stat().st_size, "sha256": file_sha256(work / path)}


def _atoms(table: pa.Table) -> int:
    return sum(len(chunk.flatten()) for chunk in table["atomic_numbers"].chunks)


def file_sha256(path: Path) -> str:
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


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
    if card.sources:
        lines += ["## Sources", ""]
        lines += [f"- {s.url}{f' ({s.checksum})' if s.checksum else ''}" for s in card.sources] + [""]
    lines += ["## Citation", "", *(f"- {c.strip()}" for c in card.citation), "", "## Changes", ""]
    lines += [f"- {version}: {text.strip()}" for version, text in card.changelog.items()]
    return "\n".join(lines) + "\n"
