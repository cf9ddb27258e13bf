"""Write a dataset as a folder that could be pushed to the Hub as it is."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pyarrow as pa
import yaml

from .card import Card
from .schema import content_hash, write_parquet


def write_dataset(
    folder: str | Path,
    card: Card,
    tables: Mapping[str, Mapping[str, pa.Table]],
    *,
    extra_files: Mapping[str, bytes | Callable[[Path], None]] | None = None,
) -> Path:
    """Write ``{config: {split: table}}`` with README.md and manifest.json; nothing half-written is left behind.

    ``extra_files`` maps relative paths to bytes or to a function that writes the file.
    """
    folder = Path(folder)
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    shards = {}
    try:
        for config, splits in tables.items():
            shards[config] = {}
            for split, table in splits.items():
                path = f"data/{config}/{split}-00000-of-00001.parquet"
                write_parquet(table, part / path)
                shards[config][split] = {
                    "path": path,
                    "bytes": (part / path).stat().st_size,
                    "sha256": file_hash(part / path),
                    "content_sha256": content_hash(table),
                    "frames": len(table),
                    "atoms": len(table["atomic_numbers"].combine_chunks().flatten()),
                }
        others = {}
        for path, content in (extra_files or {}).items():
            target = part / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, bytes):
                target.write_bytes(content)
            else:
                content(target)
            others[path] = file_hash(target)
        manifest = {"name": card.name, "version": card.version, "configs": shards, "files": others}
        (part / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
        (part / "README.md").write_text(_readme(card, tables, shards))
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder


def file_hash(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _readme(card: Card, tables, shards) -> str:
    from datasets import Features

    front = {
        "license": card.licence.lower(),
        "pretty_name": card.title,
        "tags": ["chemistry", "molecular dynamics", "mlip", "interatomic potential"],
        "configs": [
            {
                "config_name": config,
                **({"default": True} if config == card.default_config else {}),
                "data_files": [{"split": split, "path": s["path"]} for split, s in splits.items()],
            }
            for config, splits in shards.items()
        ],
        "dataset_info": [
            {
                "config_name": config,
                "features": Features.from_arrow_schema(next(iter(splits.values())).schema)._to_yaml_list(),
            }
            for config, splits in tables.items()
        ],
    }
    notes = "\n".join(f"- {note}" for note in card.notes)
    return (
        f"---\n{yaml.safe_dump(front, sort_keys=False)}---\n\n# {card.title}\n\n{card.description}\n\n"
        f"Version {card.version}. Theory: {card.theory}. Licence: {card.licence}. Cite: {card.citation}\n\n"
        'Energies are float64 on purpose: `with_format("torch")` casts them to float32, an error of up to 1 meV.\n\n'
        f"{notes}\n"
    )
