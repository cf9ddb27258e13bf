"""A second device without a second device: tensors that compute on the CPU, and refuse to be mixed with its tensors.

What a GPU would refuse (a tensor left on the CPU, ``.numpy()`` without ``.cpu()``) fails here too, so that the code for
one can be tried where there is none. Nothing is said about kernels, memory or speed. `Watchman` notes what a GPU would
wait for: a result whose shape or value the host must know, and copies from and to the host.
"""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

NAME = "other"
_setup_privateuseone_for_python_backend(NAME)
DEVICE = torch.device(NAME, 0)


# What torch.tensor(..., device=) calls, beneath every mode.
beneath = torch.library.Library("aten", "IMPL")


@torch.library.impl(beneath, "empty_strided", "PrivateUse1")
def empty_strided(size, stride, *, dtype=None, **_):
    return OtherTensor(torch.empty_strided(size, stride, dtype=dtype))


@torch.library.impl(beneath, "_copy_from", "PrivateUse1")
def copy_from(source, target, non_blocking=False):
    if isinstance(source, OtherTensor) != isinstance(target, OtherTensor):
        note("a tensor made from values of the host")
    inside(target).copy_(inside(source))
    return target


@torch.library.impl(beneath, "_local_scalar_dense", "PrivateUse1")
def local_scalar_dense(value):
    return inside(value).item()


# What cannot go on before the device has answered: the host needs a value, or a shape that depends on values.
WAITING = {"_local_scalar_dense", "item", "is_nonzero", "equal", "nonzero", "argwhere", "bincount", "masked_select"}
WAITING |= {"unique_dim", "unique_consecutive", "_unique", "_unique2", "repeat_interleave"}
noted: list[list[str]] = []
PRODUCTS = {"mm", "addmm", "mv", "addmv", "bmm", "baddbmm", "dot", "vdot"}  # of integers a GPU has none


class Watchman:
    """Within it: the list of operations on `DEVICE` for which a GPU would wait, or that copy from or to the host."""

    def __enter__(self) -> list[str]:
        noted.append([])
        return noted[-1]

    def __exit__(self, *error):
        noted.pop()


def note(name: str) -> None:
    for one in noted:
        one.append(name)


def watch(name: str, args, kwargs, there: bool) -> None:
    target = kwargs.get("device")
    leaves = torch.device(target).type != NAME if target is not None else False
    if name == "copy_" and isinstance(args[0], torch.Tensor) and isinstance(args[1], torch.Tensor):
        if isinstance(args[0], OtherTensor) != isinstance(args[1], OtherTensor):
            note("copy_ between host and device")
    elif name == "_to_copy" and target is not None and there == leaves:
        note("_to_copy between host and device")
    elif there and name in WAITING:
        note(name)
    elif there and name.startswith(("index", "_index")):
        masks = [t for t in tree_leaves(args[1]) if isinstance(t, torch.Tensor) and t.dtype is torch.bool]
        if masks and name.removeprefix("_") in ("index", "index_put", "index_put_", "index_put_impl_"):
            note(f"{name} by a mask")


class OtherTensor(torch.Tensor):
    """Says that it is on `DEVICE`; ``inner`` holds its numbers."""

    @staticmethod
    def __new__(cls, inner):
        about = {"strides": inner.stride(), "storage_offset": inner.storage_offset(), "dtype": inner.dtype}
        return torch.Tensor._make_wrapper_subclass(cls, inner.size(), device=DEVICE, **about)

    def __init__(self, inner):
        self.inner = inner

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        return run(function, args, kwargs or {})

    def tolist(self):
        return self.inner.tolist()

    def __repr__(self):
        return f"OtherTensor({self.inner})"


def run(function, args, kwargs):
    given = [t for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)]
    there = [t for t in given if isinstance(t, OtherTensor)]
    name = function.overloadpacket._qualified_op_name.removeprefix("aten::")
    here = [t for t in given if not isinstance(t, OtherTensor)]
    if noted:
        watch(name, args, kwargs, bool(there))
    if there and name not in ("copy_", "_to_copy", "index", "index_put_") and any(t.dim() for t in here):
        raise RuntimeError(f"{name}: tensors of {NAME} and of the cpu are mixed")
    if there and name in PRODUCTS and not there[0].is_floating_point():
        raise NotImplementedError(f"{name} is not implemented for integers on {NAME}")
    goes_there = bool(there)
    if kwargs.get("device") is not None:
        goes_there = torch.device(kwargs["device"]).type == NAME
        kwargs = {**kwargs, "device": "cpu"}
    if name == "copy_":
        goes_there = isinstance(args[0], OtherTensor)
    out = function(*tree_map(inside, args), **tree_map(inside, kwargs))
    if not goes_there:
        return out
    same = {id(t.inner): t for t in there}
    return tree_map(
        lambda t: same[id(t)] if id(t) in same else OtherTensor(t) if isinstance(t, torch.Tensor) else t, out
    )


def inside(value):
    return value.inner if isinstance(value, OtherTensor) else value


class OtherDevice(TorchDispatchMode):
    """Within it tensors can be made on `DEVICE`."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        return run(function, args, kwargs or {})
