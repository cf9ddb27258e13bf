"""Croissant 1.1 metadata of a built data set, from its card and manifest. No library is needed to write it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from .datacard import Card
from .schema import COLUMNS

LICENCES = {
    "MIT": "https://spdx.org/licenses/MIT.html",
    "CC-BY-4.0": "https://creativecommons.org/licenses/by/4.0/",
    "CC0-1.0": "https://creativecommons.org/publicdomain/zero/1.0/",
}
CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
MEANING = {
    "atomic_numbers": "Atomic numbers [N]",
    "positions": "Cartesian positions [N, 3], Angstrom",
    "cell": "Lattice vectors as rows [3, 3], Angstrom; zeros along open directions",
    "pbc": "Periodic directions [3]",
    "energy": "Total potential energy, eV",
    "atomic_forces": "Forces [N, 3], eV/Angstrom",
    "cauchy_stress": "Stress [3, 3], eV/Angstrom^3, may be null",
    "configuration_id": "Hash of elements, positions and cell",
    "charge": "Total charge",
    "spin_multiplicity": "Spin multiplicity",
    "time_fs": "Time in the trajectory, fs, may be null",
    "source_index": "Frame number in the source",
    "method": "Level of theory",
}


def croissant(card: Card, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON-LD of a built data set: one file object per shard (with its sha256), one record set per shard."""
    shards = manifest["shards"]
    extra = {s["config"]: s.get("extra_columns", []) for s in manifest["splits"]}
    files = [
        {
            "@type": "cr:FileObject",
            "@id": shard["path"],
            "name": shard["path"],
            "contentUrl": shard["path"],
            "contentSize": f"{shard['bytes']} B",
            "encodingFormat": "application/x-parquet",
            "sha256": shard["sha256"],
        }
        for shard in shards
    ]
    records = [_records(shard, extra.get(shard["config"], [])) for shard in shards]
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        "name": card.name,
        "description": " ".join(card.description.split()),
        "license": LICENCES.get(card.licence, card.licence),
        "url": f"https://huggingface.co/datasets/ffbench/{card.name}",
        "version": card.version,
        "citeAs": "; ".join(card.citation),
        "creator": {"@type": "sc:Organization", "name": "ffbench"},
        "datePublished": "2026-11-21",
        "keywords": ["molecular dynamics", "interatomic potential", "machine-learned force field", *card.tags],
        "isLiveDataset": False,
        "rai:dataCollection": f"Simulation; labels at {card.theory}.",
        "rai:dataBiases": "Sampled at the stated temperatures and compositions only; see the configs.",
        "rai:dataLimitations": " ".join(" ".join(n.split()) for n in card.notes) or "None known.",
        "rai:dataUseCases": "Training and testing of machine-learned force fields.",
        "rai:dataSocialImpact": "Basic research on molecules and materials; no direct impact on people is known.",
        "rai:personalSensitiveInformation": "None.",
        "rai:hasSyntheticData": True,
        "distribution": files,
        "recordSet": records,
    }


def _records(shard: Mapping[str, Any], extra: list[dict[str, Any]]) -> dict[str, Any]:
    name = shard["path"].removesuffix(".parquet")
    fields = [_field(shard["path"], name, f.name, f.type) for f in COLUMNS]
    for column in extra:
        kind = {"float64": pa.float64(), "float32": pa.float32(), "string": pa.string()}.get(column.get("dtype", ""))
        if kind is not None:
            fields.append(_field(shard["path"], name, column["name"], kind))
    return {"@type": "cr:RecordSet", "@id": name, "name": name, "field": fields}


def _field(path: str, record: str, column: str, kind: pa.DataType) -> dict[str, Any]:
    shape = []
    while pa.types.is_nested(kind):
        shape.append(kind.list_size if pa.types.is_fixed_size_list(kind) else -1)
        kind = kind.value_type
    is_a = [
        (pa.types.is_floating, "sc:Float"),
        (pa.types.is_boolean, "sc:Boolean"),
        (pa.types.is_integer, "sc:Integer"),
    ]
    array = {"cr:isArray": True, "cr:arrayShape": ",".join(map(str, shape))} if shape else {}
    return {
        "@type": "cr:Field",
        "@id": f"{record}/{column}",
        "name": f"{record}/{column}",
        "description": MEANING.get(column, column),
        "dataType": next((name for test, name in is_a if test(kind)), "sc:Text"),
        "source": {"fileObject": {"@id": path}, "extract": {"column": column}},
        **array,
    }


def eval_yaml(card: Card, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """``eval.yaml`` of the Hub's convention for benchmark data sets: one task per config and test split."""
    tasks = [
        {"id": f"{s['config']}_{s['split']}", "config": s["config"], "split": s["split"]}
        for s in manifest["splits"]
        if s["split"] in ("test", "ood_test")
    ]
    return {
        "name": f"ffbench {card.title}",
        "description": " ".join(card.description.split()),
        "evaluation_framework": "ffbench",
        "tasks": tasks,
    }
