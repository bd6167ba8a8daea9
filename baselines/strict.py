"""Weights load totally or fail: every tensor is matched, or excused by name, or listed."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..benchmark.errors import UserError
from ..benchmark.files import write_bytes

if TYPE_CHECKING:
    from torch import Tensor, nn

WRAPPERS = ("state_dict", "model_state", "model_state_dict", "model")
"""Keys under which training scripts keep the tensors, beside the state of their optimiser."""


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a checkpoint without running any code from it.

    Args:
        path: `.safetensors`, or a torch file (`.pth`, `.pt`, `.bin`, `.ckpt`) that holds tensors only,
            bare or under one of `WRAPPERS`; plain data beside them is left aside.

    Raises:
        UserError: absent, damaged, or in need of pickle code.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise UserError(f"There is no checkpoint at {path}: correct the path.")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except SafetensorError as error:
        raise UserError(f"{path} is damaged ({error}): fetch it again.") from error
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path} cannot be read without running code from it: where you trust it, load it and save its "
            "state_dict alone, as safetensors."
        ) from error
    except MemoryError:
        raise
    except Exception as error:  # bytes that are no checkpoint can break the unpickler in any way
        said = (str(error).splitlines() or ["it ends too early"])[0]
        raise UserError(f"{path} is damaged ({said}): fetch it again.") from error
    for wrapper in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping) or not all(torch.is_tensor(value) for value in content.values()):
        raise UserError(f"{path} holds no plain mapping of tensors: export the network's state_dict.")
    return dict(content)


def write_tensors(path: Path, tensors: Mapping[str, Tensor], note: tuple[str, str]) -> None:
    """Write tensors as safetensors, the same bytes for the same tensors; errors as `write_atomic`.

    Args:
        path: where the file shall stand.
        tensors: on the CPU, contiguous.
        note: name and text of the one thing said beside them.
    """
    from safetensors.torch import save

    # one entry only: safetensors writes several in an order that changes, and the hash with it
    write_bytes(path, save(dict(tensors), metadata=dict([note])))


@dataclass(frozen=True)
class Account:
    """What is wrong between a network and the tensors for it; three empty lists are a total fit.

    Attributes:
        missing: names that the network has and the tensors lack.
        extra: names that the network lacks and nobody excused.
        shapes: where both have a name but the shapes differ, in words.
    """

    missing: tuple[str, ...]
    extra: tuple[str, ...]
    shapes: tuple[str, ...]

    @property
    def faults(self) -> int:
        """How many tensors are wrong."""
        return len(self.missing) + len(self.extra) + len(self.shapes)

    def refusal(self, origin: str) -> UserError:
        """Return the error that lists both sides."""
        sides = [("missing", self.missing), ("left over", self.extra), ("of another shape", self.shapes)]
        complaints = [f"{len(names)} {side} ({some_of(names)})" for side, names in sides if names]
        return UserError(
            f"The weights of {origin} do not fit the network: {'; '.join(complaints)}; "
            "use the arch that they were made for."
        )


TRACKER = ".num_batches_tracked"
"""How many batches a batch norm has seen. It decides nothing (timm's momenta are constant), old releases of
PyTorch did not write it, and converters drop it: absent or without a counterpart, it is excused by name."""


def is_tracker(name: str, own: Mapping[str, Tensor]) -> bool:
    """Whether `name` is the counter of a batch norm that the network `own` has without one."""
    return name.endswith(TRACKER) and name.removesuffix(TRACKER) + ".running_mean" in own


def account(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor], excused: Iterable[str]) -> Account:
    """Compare names and shapes.

    Args:
        own: the network's state.
        tensors: by name, as the network calls them.
        excused: prefixes of names that may be left over: the classifier, which the network does not have.
    """
    prefixes = tuple(excused)
    return Account(
        missing=tuple(name for name in own if name not in tensors and not name.endswith(TRACKER)),
        extra=tuple(
            name
            for name in tensors
            if name not in own and not name.startswith(prefixes) and not is_tracker(name, own)
        ),
        shapes=tuple(
            f"{name} {tuple(tensors[name].shape)} instead of {tuple(own[name].shape)}"
            for name in own
            if name in tensors and tensors[name].shape != own[name].shape
        ),
    )


def load_total(model: nn.Module, tensors: Mapping[str, Tensor], excused: Iterable[str], origin: str) -> None:
    """Load `tensors` into `model`, accounting for every one of them.

    Args:
        model: receives the weights.
        tensors: by name, as the model calls them.
        excused: prefixes of names that may be left over: the classifier, which `model` does not have.
        origin: what to call the weights in the error.

    Raises:
        UserError: lists what the model misses, what is left over, and what differs in shape.
    """
    own = model.state_dict()
    found = account(own, tensors, excused)
    if found.faults:
        raise found.refusal(origin)
    # strict: after the filter both sides hold the same names, and torch checks it once more
    model.load_state_dict({name: tensors.get(name, tensor) for name, tensor in own.items()}, strict=True)


def some_of(names: Sequence[str], most: int = 4) -> str:
    """List the first of some names."""
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def renamed_by_order(
    tensors: Mapping[str, Tensor], names: Mapping[str, Tensor], origin: str
) -> dict[str, Tensor]:
    """Give `tensors` the keys of `names`, one to one in order; every shape must agree.

    Raises:
        UserError: the numbers or a shape differ.
    """
    pairs = list(zip(tensors.items(), names.items(), strict=False))
    wrong = [f"{old} / {new}" for (old, a), (new, b) in pairs if a.shape != b.shape]
    if len(tensors) != len(names) or wrong:
        raise UserError(
            f"The weights of {origin} do not match the network one to one: {len(tensors)} tensors for "
            f"{len(names)}, other shapes: {some_of(wrong) or 'none'}."
        )
    return {new: tensor for (_, tensor), (new, _) in pairs}
