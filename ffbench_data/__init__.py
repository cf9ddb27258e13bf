"""Versioned datasets, the model contract and the frames both training and evaluation use."""

import importlib

_WHERE = {
    "load_dataset": ".load",
    "load_frames": ".load",
    "list_datasets": ".card",
    "card": ".card",
    "collate": ".frames",
    "collate_labels": ".frames",
    "Frames": ".frames",
}
__all__ = list(_WHERE)


def __getattr__(name: str):
    if name not in _WHERE:
        raise AttributeError(f"module 'ffbench_data' has no attribute {name!r}")
    value = getattr(importlib.import_module(_WHERE[name], __name__), name)
    globals()[name] = value
    return value
