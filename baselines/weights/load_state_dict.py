"""Weights load totally or fail: every tensor is matched, or excused by name, or listed."""

from __future__ import annotations

import pickle
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...core.errors import UserError, unknown_name_error
from ...core.files import write_bytes
from .file_kind import file_kind

if TYPE_CHECKING:
    from torch import Tensor, nn

DEPTH = 3
"""How far below the top of a file state dicts are looked for."""


def read_tensors(path: Path, state_dict: str = "") -> dict[str, Tensor]:
    """Read the tensors of a checkpoint without running any code from it.

    Args:
        path: as for `read_state_dicts`.
        state_dict: which of several state dicts, or "" where the file holds one.

    Raises:
        UserError: as `read_state_dicts` and `choose_state_dict`.
    """
    return choose_state_dict(read_state_dicts(path), state_dict, path)[1]


def read_state_dicts(path: Path) -> dict[str, dict[str, Tensor]]:
    """Read every state dict of a checkpoint without running any code from it.

    Args:
        path: `.safetensors`, or a torch file (`.pth`, `.pt`, `.bin`, `.ckpt`) that holds tensors and plain
            data only.

    Returns:
        Name, such as "state_dict" or "model.student", to tensors; one of the name "" where tensors are bare.

    Raises:
        UserError: absent, damaged, no checkpoint, in need of pickle code, or without any state dict.
    """
    content = _read(path)
    found = dict(_state_dicts(content, ""))
    if not found:
        keys = some_of([str(key) for key in content]) if isinstance(content, Mapping) else ""
        raise UserError(
            f"{path} holds no plain mapping of tensors{f' but {keys}' if keys else ''}: export the network's "
            "state_dict."
        )
    return found


def _read(path: Path) -> object:
    import torch
    from safetensors.torch import load_file

    if not path.is_file():
        raise UserError(f"There is no checkpoint at {path}: correct the path.")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # bytes that are no checkpoint can break the unpickler in any way
        refuse_other_kinds(path)
        if isinstance(error, pickle.UnpicklingError):
            raise UserError(
                f"{path} cannot be read without running code from it: where you trust it, load it and save "
                "its state_dict alone, as safetensors."
            ) from error
        said = (str(error).splitlines() or ["it ends too early"])[0]
        raise UserError(f"{path} is damaged ({said}): fetch it again.") from error


def refuse_other_kinds(path: Path) -> None:
    """Raise the `UserError` that names a file for what it is, where it is known to be no checkpoint."""
    if kind := file_kind(path):
        raise UserError(f"{path} {kind}.")


def _state_dicts(content: object, name: str) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Yield what looks like a network's state in a file: mappings of names to nothing but tensors."""
    import torch

    if not isinstance(content, Mapping) or not content or not all(isinstance(key, str) for key in content):
        return  # an optimizer numbers its tensors
    tensors = {key for key, value in content.items() if torch.is_tensor(value)}
    if len(tensors) == len(content):
        yield name, dict(content)
    elif name.count(".") < DEPTH and not any(key.endswith("weight") for key in tensors):
        for key, value in content.items():
            yield from _state_dicts(value, f"{name}.{key}" if name else key)


def choose_state_dict(
    found: Mapping[str, dict[str, Tensor]], wanted: str, path: Path
) -> tuple[str, dict[str, Tensor]]:
    """Return the state dict that is wanted, with its name; without a wish, the only one that has weights.

    Raises:
        UserError: there is none of that name, or there are several and none is named.
    """
    if wanted:
        if wanted not in found:
            raise unknown_name_error(f"state dict in {path} called", wanted, found)
        return wanted, found[wanted]
    names = networks(found) or list(found)
    if len(names) > 1:
        listed = ", ".join(f"{name} ({len(found[name])} tensors)" for name in names)
        raise UserError(
            f"{path} holds {len(names)} state dicts, {listed}: say which is meant, by --state-dict NAME of "
            'inspect-weights or by state_dict = "NAME" in the card.'
        )
    return names[0], found[names[0]]


def networks(found: Mapping[str, Mapping[str, Tensor]]) -> list[str]:
    """Name the state dicts with weights; others hold the state of a loss, a scaler or an optimizer."""
    return [name for name, tensors in found.items() if any(key.endswith("weight") for key in tensors)]


def check_weight_values(tensors: Mapping[str, Tensor], names: Collection[str], origin: str) -> None:
    """Refuse weights that are no numbers or were never drawn: they would diverge, or end as chance.

    Args:
        tensors: as the file names them.
        names: of those that the network takes.
        origin: what to call the weights in the error.

    Raises:
        UserError: names the tensors with NaN or infinite values, or says that every tensor is constant.
    """
    wrong = [name for name in names if not _is_finite(tensors[name])]
    if wrong:
        raise UserError(
            f"The weights of {origin} hold NaN or infinite values in {len(wrong)} of {len(names)} tensors "
            f"({some_of(wrong)}): their training diverged, or the file is damaged; take an earlier "
            "checkpoint, or fetch it again."
        )
    drawn = [tensors[name] for name in names if tensors[name].ndim > 1]  # others may begin as 0 or 1
    if drawn and all(bool((tensor == tensor.flatten()[:1]).all()) for tensor in drawn):
        raise UserError(
            f"The weights of {origin} hold one value each, as 0, in all {len(drawn)} tensors of filters and "
            "layers, so that every image gives the same features: take a checkpoint of a network that was "
            "initialized and trained."
        )


def _is_finite(tensor: Tensor) -> bool:
    import torch

    # as the network holds it: what overflows there is infinite too
    values = tensor.float() if tensor.is_floating_point() else tensor
    return bool(torch.isfinite(values).all())


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
class TensorAccount:
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


def compare_tensors(
    own: Mapping[str, Tensor], tensors: Mapping[str, Tensor], excused: Iterable[str]
) -> TensorAccount:
    """Compare names and shapes.

    Args:
        own: the network's state.
        tensors: by name, as the network calls them.
        excused: prefixes of names that may be left over: the classifier, which the network does not have.
    """
    prefixes = tuple(excused)
    return TensorAccount(
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
    found = compare_tensors(own, tensors, excused)
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
