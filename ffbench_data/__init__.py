"""Versioned Arrow datasets of force-field benchmarks: load, build, generate, verify.

``import ffbench_data`` is cheap: names are imported when they are first used.
"""

from importlib import import_module

_HOME = {
    "AtomsBatch": "contract",
    "ForceField": "contract",
    "Prediction": "contract",
    "Frame": "frames",
    "Frames": "frames",
    "ArrowRows": "frames",
    "collate": "frames",
    "collate_arrow": "frames",
    "collate_labels": "frames",
    "Card": "datacard",
    "card": "datacard",
    "list_datasets": "datacard",
    "load_dataset": "load",
    "load_frames": "load",
    "stream_frames": "load",
    "data_file": "load",
    "dataset_folder": "load",
    "provenance": "load",
    "verify": "load",
    "build": "builders",
    "label": "potentials",
    "reference": "potentials",
    "write_dataset": "store",
}
__all__ = sorted(_HOME)


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
