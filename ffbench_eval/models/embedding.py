"""What more a model holds: its members, and per-atom embeddings, the output of a layer named in its card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from ffbench_data.contract import AtomsBatch, ForceField, Prediction, as_prediction
from ffbench_data.datacard import known


def members_of(model: ForceField) -> list[ForceField]:
    """The members of an ensemble as models; empty for a single model."""
    modules = getattr(model.fn, "members", None)
    return [replace(model, fn=m) for m in modules] if modules is not None and len(modules) > 1 else []


def bare(model: ForceField) -> ForceField:
    """The model without what is put around it here: guards of its calls, the hook of its embedding."""
    while True:
        inner = getattr(model.fn, "__wrapped__", None)
        if isinstance(inner, ForceField):
            model = inner
        elif isinstance(model.fn, _Hooked):
            model = replace(model, fn=model.fn.fn)
        else:
            return model


def with_embedding(model: ForceField, layer: str | None = None) -> ForceField:
    """The same model, whose prediction carries the output of ``layer`` as ``embedding`` [A, D].

    ``layer`` is the dotted name of a submodule (``"interaction.2"``), by default the card's ``embedding``; without
    one, or if the model gives embeddings itself, it comes back unchanged. The layer may return a tensor, or a tuple or
    mapping that holds one, with one row per atom; what follows the first axis is flattened.

    ValueError: the model holds no such layer, or the layer gives nothing with one row per atom.

    >>> import torch
    >>> class Net(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.body, self.head = nn.Linear(3, 8), nn.Linear(8, 1)
    ...     def forward(self, batch):
    ...         per_atom = self.head(torch.tanh(self.body(batch.positions)))[:, 0]
    ...         return per_atom.new_zeros(batch.n_systems).index_add(0, batch.system_index, per_atom)
    >>> model = ForceField.from_energy(Net(), None, card={"name": "net", "embedding": "body"})
    >>> one = AtomsBatch(torch.ones(2, 3), torch.tensor([1, 1]), torch.tensor([0, 0]), torch.zeros(1, 3, 3),
    ...                  torch.zeros(1, 3, dtype=torch.bool))
    >>> with_embedding(model)(one).embedding.shape
    torch.Size([2, 8])
    """
    layer = layer if layer is not None else model.card.get("embedding")
    if not layer:
        return model
    return replace(model, fn=_Hooked(model.fn, str(layer), model.name))


class _Hooked:
    def __init__(self, fn: Any, layer: str, name: str):
        self.fn, self.layer, self.name = fn, layer, name
        find_layer(fn, layer, name)  # a wrong name is told now

    def to(self, device: Any) -> _Hooked:
        return _Hooked(self.fn.to(device) if hasattr(self.fn, "to") else self.fn, self.layer, self.name)

    def __call__(self, batch: AtomsBatch) -> Prediction:
        seen: list[Any] = []
        handle = find_layer(self.fn, self.layer, self.name).register_forward_hook(lambda _m, _i, out: seen.append(out))
        try:
            prediction = as_prediction(self.fn(batch), batch)
        finally:
            handle.remove()
        if prediction.embedding is not None:
            return prediction
        atoms = batch.positions.shape[0]
        found = next((t for out in reversed(seen) for t in _tensors(out) if t.ndim >= 2 and len(t) == atoms), None)
        if found is None:
            shapes = [tuple(t.shape) for out in seen for t in _tensors(out)]
            raise ValueError(
                f"layer {self.layer!r} of model {self.name!r} gives no tensor with one row per atom ({atoms}), but "
                f"{shapes or 'nothing: it is not called'}; name another one as embedding= in the card"
            )
        return replace(prediction, embedding=found.detach().flatten(1))


def find_layer(fn: Any, layer: str, name: str = "") -> nn.Module:
    """The submodule whose dotted name is ``layer``, or ends with it; wrappers around the network are looked through."""
    modules: dict[str, nn.Module] = {}
    for root in _roots(fn):
        modules |= dict(root.named_modules())
    fitting = [n for n in modules if n == layer or n.endswith(f".{layer}")]
    if not fitting:
        known(layer, [n for n in modules if n], "layer", f" of model {name!r} (embedding= in its card)")
    return modules[min(fitting, key=len)]


def _roots(fn: Any) -> list[nn.Module]:
    if isinstance(fn, nn.Module):
        return [fn]
    inner = [v for v in getattr(fn, "__dict__", {}).values() if callable(v)]
    return [root for value in inner for root in (_roots(value) if not isinstance(value, type) else [])]


def _tensors(out: Any) -> list[Tensor]:
    if isinstance(out, Tensor):
        return [out] if out.is_floating_point() else []
    if isinstance(out, Mapping):
        out = list(out.values())
    return [t for part in out for t in _tensors(part)] if isinstance(out, list | tuple) else []
