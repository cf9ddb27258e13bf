"""A second device without a second device: tensors that compute on the CPU, and refuse to be mixed with its tensors.

What a GPU would refuse (a tensor left on the CPU, ``.numpy()`` without ``.cpu()``) fails here too, so that the code for
one can be tried where there is none. Nothing is said about kernels, memory or speed.
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
    inside(target).copy_(inside(source))
    return target


@torch.library.impl(beneath, "_local_scalar_dense", "PrivateUse1")
def local_scalar_dense(value):
    return inside(value).item()


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
    if there and name not in ("copy_", "_to_copy", "index", "index_put_") and any(t.dim() for t in here):
        raise RuntimeError(f"{name}: tensors of {NAME} and of the cpu are mixed")
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
