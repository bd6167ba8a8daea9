"""Strict loading of weights: every tensor is matched, excused by name or listed in an error."""

from __future__ import annotations

import pickle
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...core.errors import UserError, unknown_name_error
from ...core.files import write_bytes
from .file_kind import file_kind
from .inert_pickle import InertObject, RefusedNameError, module_tensors, read_inert

if TYPE_CHECKING:
    from torch import Tensor, nn

CONVERSION = (
    "python -c \"import torch; c = torch.load('FILE', weights_only=False); "
    "torch.save(getattr(c, 'state_dict', lambda: c['state_dict'])(), 'weights.pth')\""
)
"""Command that writes the state dict of a whole module, or of a Lightning file."""
DEPTH = 3
"""Levels of nested mappings that are searched for state dicts."""


def read_tensors(path: Path, state_dict: str = "") -> dict[str, Tensor]:
    """Read one state dict of a checkpoint; see `read_state_dicts` and `choose_state_dict`."""
    return choose_state_dict(read_state_dicts(path), state_dict, path)[1]


def read_state_dicts(path: Path) -> dict[str, dict[str, Tensor]]:
    """Read every state dict of a checkpoint without running any code from it.

    Args:
        path: `.safetensors`, or a torch file (`.pth`, `.pt`, `.bin`, `.ckpt`) of tensors, plain data, and
            objects of known libraries, which are read as in `inert_pickle`.

    Returns:
        Name, such as "state_dict" or "model.student", to tensors; the name is "" for bare tensors, or
        those of a whole module.

    Raises:
        UserError: absent, damaged, no checkpoint, only readable by running code, or without a state dict.
    """
    content = _read_file(path)
    found = dict(_state_dicts(content, ""))
    if not found:
        keys = some_of([str(key) for key in content]) if isinstance(content, Mapping) else ""
        raise UserError(
            f"{path} holds no plain mapping of tensors{f' but {keys}' if keys else ''}: export the network's "
            "state_dict."
        )
    return found


def _read_file(path: Path) -> object:
    import torch
    from safetensors.torch import load_file

    if not path.is_file():
        raise UserError(f"There is no checkpoint at {path}: correct the path.")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError:
            refuse_other_kinds(path)  # a TorchScript program among them, which torch would run
            return read_inert(path)
    except MemoryError:
        raise
    except Exception as error:  # bytes that are no checkpoint can break the unpickler in any way
        refuse_other_kinds(path)
        if isinstance(error, RefusedNameError):
            raise UserError(
                f"{path} cannot be read without running code from it, as it needs {error}: if you trust it, "
                f"and have its code installed, convert it by {CONVERSION}."
            ) from error
        reason = (str(error).splitlines() or ["it ends too early"])[0]
        raise UserError(f"{path} is damaged ({reason}): fetch it again.") from error


def refuse_other_kinds(path: Path) -> None:
    """Raise `UserError` for a file that is recognized as something else than a checkpoint."""
    if kind := file_kind(path):
        raise UserError(f"{path} {kind}.")


def _state_dicts(content: object, name: str) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Yield the state dicts of a file: mappings of names to nothing but tensors."""
    import torch

    content = module_tensors(content) if isinstance(content, InertObject) else content
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
    """Return name and tensors of the wanted state dict; "" means the only one with weights.

    Raises `UserError` where there is none of that name, or where "" leaves several.
    """
    if wanted:
        if wanted not in found:
            raise unknown_name_error(f"state dict in {path} called", wanted, found)
        return wanted, found[wanted]
    names = network_names(found) or list(found)
    if len(names) > 1:
        listed = ", ".join(f"{name} ({len(found[name])} tensors)" for name in names)
        raise UserError(
            f"{path} holds {len(names)} state dicts, {listed}: say which is meant, by --state-dict NAME of "
            'inspect-weights, by state_dict = "NAME" in the card, or by zoo/...=FILE#NAME for a public one.'
        )
    return names[0], found[names[0]]


def network_names(found: Mapping[str, Mapping[str, Tensor]]) -> list[str]:
    """Return the state dicts with weights; others are of a loss, a scaler or an optimizer."""
    return [name for name, tensors in found.items() if any(key.endswith("weight") for key in tensors)]


def check_weight_values(tensors: Mapping[str, Tensor], names: Collection[str], origin: str) -> None:
    """Raise `UserError` for NaN or infinite values, or where all tensors are constant.

    Args:
        tensors: by name in the file.
        names: of the tensors that the network uses.
        origin: name of the weights in the error.
    """
    wrong = [name for name in names if not _is_finite(tensors[name])]
    if wrong:
        raise UserError(
            f"The weights of {origin} hold NaN or infinite values in {len(wrong)} of {len(names)} tensors "
            f"({some_of(wrong)}): their training diverged, or the file is damaged; take an earlier "
            "checkpoint, or fetch it again."
        )
    drawn = [tensors[name] for name in names if tensors[name].ndim > 1]  # others are initialized with 0 or 1
    if drawn and all(bool((tensor == tensor.flatten()[:1]).all()) for tensor in drawn):
        raise UserError(
            f"The weights of {origin} hold one value each, as 0, in all {len(drawn)} tensors of filters and "
            "layers, so that every image gives the same features: take a checkpoint of a network that was "
            "initialized and trained."
        )


def _is_finite(tensor: Tensor) -> bool:
    import torch

    # in the network's float32, so that an overflow there is found too
    values = tensor.float() if tensor.is_floating_point() else tensor
    return bool(torch.isfinite(values).all())


def write_tensors(path: Path, tensors: Mapping[str, Tensor], note: tuple[str, str]) -> None:
    """Write contiguous CPU tensors as safetensors; the same tensors give the same bytes.

    `note` is key and text of one metadata entry. Errors are those of `write_atomic`.
    """
    from safetensors.torch import save

    # one entry only: safetensors writes several in a random order, which would change the hash
    write_bytes(path, save(dict(tensors), metadata=dict([note])))


@dataclass(frozen=True)
class TensorAccount:
    """Names that are missing in the file, extra in it, or of another shape (in words)."""

    missing: tuple[str, ...]
    extra: tuple[str, ...]
    shapes: tuple[str, ...]

    @property
    def faults(self) -> int:
        """Number of tensors that do not fit; 0 is a total fit."""
        return len(self.missing) + len(self.extra) + len(self.shapes)

    def fit_error(self, origin: str, cure: str = "use the arch that they were made for") -> UserError:
        """Return the error that lists both sides, and ends with the cure."""
        sides = [("missing", self.missing), ("left over", self.extra), ("of another shape", self.shapes)]
        complaints = [f"{len(names)} {side} ({some_of(names)})" for side, names in sides if names]
        return UserError(f"The weights of {origin} do not fit the network: {'; '.join(complaints)}; {cure}.")


TRACKER = ".num_batches_tracked"
"""Number of batches seen by a batch norm. It has no effect (timm's momenta are constant), old releases of
PyTorch did not write it, and converters drop it, so it may be missing or left over."""


def is_tracker(name: str, own: Mapping[str, Tensor]) -> bool:
    """Whether `name` is the counter of a batch norm of the network `own`."""
    return name.endswith(TRACKER) and name.removesuffix(TRACKER) + ".running_mean" in own


def compare_tensors(
    own: Mapping[str, Tensor], tensors: Mapping[str, Tensor], excused: Iterable[str]
) -> TensorAccount:
    """Compare names and shapes of tensors with a network's state; see `load_total`."""
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
        tensors: by the model's names.
        excused: prefixes of names that may be left over, such as the classifier, which `model` lacks.
        origin: name of the weights in the error.

    Raises:
        UserError: lists the tensors that are missing, left over, or of another shape.
    """
    own = model.state_dict()
    found = compare_tensors(own, tensors, excused)
    if found.faults:
        raise found.fit_error(origin)
    # both sides now have the same names; strict is a second check by torch
    model.load_state_dict({name: tensors.get(name, tensor) for name, tensor in own.items()}, strict=True)


def some_of(names: Sequence[str], most: int = 4) -> str:
    """Join the first names with commas."""
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def rename_by_order(
    tensors: Mapping[str, Tensor], names: Mapping[str, Tensor], origin: str
) -> dict[str, Tensor]:
    """Rename `tensors` to the keys of `names` in order; `UserError` if numbers or shapes differ."""
    pairs = list(zip(tensors.items(), names.items(), strict=False))
    wrong = [f"{old} / {new}" for (old, a), (new, b) in pairs if a.shape != b.shape]
    if len(tensors) != len(names) or wrong:
        raise UserError(
            f"The weights of {origin} do not match the network one to one: {len(tensors)} tensors for "
            f"{len(names)}, other shapes: {some_of(wrong) or 'none'}."
        )
    return {new: tensor for (_, tensor), (new, _) in pairs}
