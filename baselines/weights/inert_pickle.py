"""Reading of torch files that hold objects beside tensors, such as whole modules, without running their code.

`torch.load` with `weights_only=True` refuses such files. Here the unpickler looks every name up in a closed
list: a few names build tensors, those of known libraries become inert objects that keep their state and do
nothing, and any other name is an error. No module is imported for a file, and no function of it is called.
"""

from __future__ import annotations

import pickle
import re
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

LIBRARIES = (
    "torch", "torchvision", "torchxrayvision", "timm", "numpy", "argparse", "omegaconf", "pathlib",
    "datetime", "pytorch_lightning", "lightning", "lightning_fabric", "lightning_utilities", "typing",
    "_codecs",
)  # fmt: skip
"""Packages whose names become inert objects: networks, settings, optimizers and what these hold."""
PLAIN = {
    "collections": ("defaultdict", "Counter"),
    "types": ("SimpleNamespace",),
    "functools": ("partial",),
    "builtins": (
        "object",
        "dict",
        "list",
        "tuple",
        "set",
        "frozenset",
        "int",
        "float",
        "str",
        "bool",
        "slice",
    ),
    "copyreg": ("_reconstructor",),
}
"""Further names that become inert objects, by module."""
MOVED = {"__builtin__": "builtins", "copy_reg": "copyreg"}
"""Modules of Python 2, as pickles of protocol 2 name them."""
MOST_LEVELS = 100
"""Of nested modules."""


class InertObject:
    """Object of a file whose class is not imported; it keeps the state that the file gives it."""

    state: object = None
    dump_patches = False  # torch asks its containers for this

    def __new__(cls, *_: object, **__: object) -> InertObject:
        """Ignore the arguments of the class that it replaces."""
        return super().__new__(cls)

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        self.state = state

    def __setitem__(self, key: object, value: object) -> None:
        """Ignore an item of a mapping."""

    def append(self, item: object) -> None:
        """Ignore an item of a list."""

    def extend(self, items: object) -> None:
        """Ignore the items of a list."""


class RefusedNameError(pickle.UnpicklingError):
    """A file needs a name that is not on the list, which is the text of the error."""


class InertUnpickler(pickle.Unpickler):
    """Unpickler that knows tensors and inert objects only."""

    def find_class(self, module: str, name: str) -> Any:
        """Return what a name of the file means, without an import; `RefusedNameError` if it is not listed."""
        module = MOVED.get(module, module)
        if found := _tensor_builders().get((module, name)):
            return found
        if module.partition(".")[0] in LIBRARIES or name in PLAIN.get(module, ()):
            return type(name, (InertObject,), {"__module__": module})  # a new one: a file cannot change ours
        raise RefusedNameError(re.sub(r"[^\w.<>]", "?", f"{module}.{name}")[:100])


def _tensor_builders() -> dict[tuple[str, str], Callable[..., Any]]:
    """Return the names of torch that build tensors, as functions made anew: a file cannot change ours."""
    from torch._utils import _rebuild_tensor

    def tensor(storage: Any, offset: int, size: Any, stride: Any, *_: object) -> Tensor:
        return _rebuild_tensor(storage, offset, size, stride)

    return {
        ("collections", "OrderedDict"): OrderedDict,
        ("torch", "Size"): lambda size=(): tuple(size),
        ("torch._utils", "_rebuild_tensor"): tensor,
        ("torch._utils", "_rebuild_tensor_v2"): tensor,
        ("torch._utils", "_rebuild_parameter"): lambda data, *_: data,
        ("torch._utils", "_rebuild_parameter_with_state"): lambda data, *_: data,
    }


def read_inert(path: Path) -> object:
    """Read a torch file of the present or of the old format.

    Raises:
        RefusedNameError: a name in the file is not on the list.
        Exception: of any kind, where the file is damaged.
    """
    import torch

    def load(file: Any, **options: Any) -> Any:
        return InertUnpickler(file, **options).load()

    reader = SimpleNamespace(Unpickler=InertUnpickler, load=load, __name__="inert_pickle")
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # that the source of a class, which is not imported, cannot be compared
        try:
            return torch.load(path, map_location="cpu", pickle_module=reader, weights_only=False)
        except MemoryError as error:  # a length in the pickle
            raise ValueError("it tells of more than the memory holds") from error


def module_tensors(module: InertObject) -> dict[str, Tensor]:
    """Return the state dict of a pickled `nn.Module`; {} for any other object, or a damaged one."""
    return dict(_named_tensors(module, "", 0))


def _named_tensors(module: object, prefix: str, level: int) -> Iterator[tuple[str, Tensor]]:
    import torch

    state = module.state if isinstance(module, InertObject) else None
    if not isinstance(state, dict) or level > MOST_LEVELS:
        return
    for kind in ("_parameters", "_buffers"):
        held = state.get(kind)
        for name, tensor in held.items() if isinstance(held, dict) else ():
            if torch.is_tensor(tensor):
                yield f"{prefix}{name}", tensor
    children = state.get("_modules")
    for name, child in children.items() if isinstance(children, dict) else ():
        yield from _named_tensors(child, f"{prefix}{name}.", level + 1)
