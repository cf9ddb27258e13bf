"""Your own data: files of any usual format to a sealed data set (`add`), and what they allow to be measured."""

from importlib import import_module

_HOME = {"add": "seal", "Options": "options", "read_facts": "facts"}
__all__ = sorted(_HOME)


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)
