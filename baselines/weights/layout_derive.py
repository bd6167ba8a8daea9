"""From the names in a file to those of a network: the one map that accounts for every tensor, or an error."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...core.errors import UserError
from . import layout_keras
from .layout import LAYOUTS, TargetModel
from .layout_order import names_by_order
from .load_state_dict import TensorAccount, compare_tensors, is_tracker

if TYPE_CHECKING:
    from torch import Tensor

PREFIXES = (
    "module",
    "_orig_mod",
    "model",
    "net",
    "network",
    "backbone",
    "encoder",
    "encoder_q",
    "base_encoder",
)
"""What wrappers put before the names: DataParallel, torch.compile, Lightning modules, MoCo v1/v2 and v3."""
COMPANIONS = {
    "encoder_q": ("encoder_k.", "queue", "queue_ptr"),
    "base_encoder": ("momentum_encoder.", "predictor."),
}
"""What MoCo keeps beside the network that it trains; left over by name."""
AUXILIARY = "AuxLogits."
"""The second classifier of torchvision's Inception, of use in its training alone; left over by name."""
ORDERED_LAYOUT = "order"
"""The layout that must be asked for: `names_by_order` proves less than a layout that is recognized."""


@dataclass(frozen=True, eq=False)
class KeyMap:
    """How a file's tensors become a network's.

    Attributes:
        layout: by whose names.
        prefix: that stands before every name.
        pairs: the file's name to the network's; total on the network, but for counters of batches.
        left: names of the file that are left over, each excused by its name.
        twins: names under which the file holds a mapped tensor a second time, bit by bit the same.
        account: what is wrong; nothing, where the map was accepted.
    """

    layout: str
    prefix: str
    pairs: dict[str, str]
    left: tuple[str, ...]
    twins: tuple[str, ...]
    account: TensorAccount

    @property
    def described(self) -> str:
        """The layout in words."""
        return f"{self.layout} under '{self.prefix}'" if self.prefix else self.layout


def derive(
    tensors: Mapping[str, Tensor], target: TargetModel, excused: Sequence[str], layout: str, origin: str
) -> KeyMap:
    """Find the map that accounts for every tensor of both sides.

    Args:
        tensors: as the file names them.
        target: the network.
        excused: prefixes, as the file names them, that may be left over beside the network's classifier.
        layout: the only one to try, or "" for all.
        origin: what to call the weights in the error.

    Raises:
        UserError: no map is total; or two are, with other tensors; or the network is Keras'.
    """
    refuse_keras(tensors, origin)
    maps = sorted(candidate_maps(tensors, target, excused, layout), key=lambda found: found.account.faults)
    if not maps:
        raise UserError(
            f"The tensors of {origin} are not named as the layout '{layout}' names those of {target.arch} "
            f"({', '.join(list(tensors)[:3])}, ...): leave `layout` out of the card to find out how they are."
        )
    total = [found for found in maps if not found.account.faults]
    if not total:
        raise maps[0].account.refusal(origin)
    for other in total[1:]:
        if not _same(total[0], other, tensors):
            raise UserError(
                f"{origin} holds two networks, under '{total[0].prefix}' and under '{other.prefix}': name "
                "that which is not meant in the card's `excused`."
            )
    return total[0]


def refuse_keras(names: Iterable[str], origin: str) -> None:
    """Raise the `UserError` that says why, where names or biases are those of a port from Keras."""
    if reason := layout_keras.refusal(names):
        raise UserError(f"The weights of {origin} are refused: {reason}.")


def candidate_maps(
    tensors: Mapping[str, Tensor], target: TargetModel, excused: Sequence[str], layout: str = ""
) -> Iterator[KeyMap]:
    """Iterate over every way to read the names, shortest prefix first, each with what is wrong with it."""
    if layout == ORDERED_LAYOUT:
        yield _in_order(tensors, target, excused)
        return
    chosen = {layout: LAYOUTS[layout]} if layout else dict(LAYOUTS.items())
    for prefix in _prefixes(tensors, tuple(excused)):
        inner = [name.removeprefix(prefix) for name in tensors if name.startswith(prefix)]
        for name, recognize in chosen.items():
            if (renamed := recognize(inner, target)) is not None:
                pairs = {prefix + old: new for old, new in renamed.items()}
                yield _accounted(name, prefix, pairs, tensors, target, excused)


def _prefixes(names: Mapping[str, Tensor], excused: tuple[str, ...]) -> list[str]:
    """List what wrappers may have put before the names, shortest first; "" is nothing."""
    found = {""}
    for name in names:
        parts = name.split(".")
        for end in range(1, len(parts)):
            if parts[end - 1] not in PREFIXES:
                break
            found.add(".".join(parts[:end]) + ".")
    meant = (
        prefix for prefix in found if not prefix or not any(out and prefix.startswith(out) for out in excused)
    )
    return sorted(meant, key=len)


def _accounted(
    layout: str,
    prefix: str,
    pairs: dict[str, str],
    tensors: Mapping[str, Tensor],
    target: TargetModel,
    excused: Sequence[str],
) -> KeyMap:
    """Make the map of one reading, with what is wrong with it told in the file's own names."""
    own = target.model.state_dict()
    used = {name: new for name, new in pairs.items() if new in own}
    renamed = {new: tensors[name] for name, new in used.items()}
    first = {_bare(name): tensors[name] for name in used}
    doubled = [name for name in used if renamed[used[name]] is not tensors[name]]
    left, twins, extra = [], [], []
    for name in tensors:
        if name in used:
            continue
        if _is_excused(name, pairs.get(name, ""), prefix, target, excused):
            left.append(name)
        elif _bare(name) in first and _equal(tensors[name], first[_bare(name)]):
            twins.append(name)
        elif not is_tracker(pairs.get(name, ""), own):
            extra.append(name)
    found = compare_tensors(own, renamed, ())
    wrong = TensorAccount(found.missing, (*extra, *doubled), found.shapes)
    return KeyMap(layout, prefix, used, tuple(left), tuple(twins), wrong)


def _bare(name: str) -> str:
    """Return a name without the prefixes of wrappers."""
    parts = name.split(".")
    while len(parts) > 1 and parts[0] in PREFIXES:
        parts = parts[1:]
    return ".".join(parts)


def _is_excused(name: str, renamed: str, prefix: str, target: TargetModel, excused: Sequence[str]) -> bool:
    """Whether a tensor may be left over: by its own name, or as the network's classifier."""
    head, _, last = prefix.removesuffix(".").rpartition(".")
    beside = tuple(f"{head}." * bool(head) + companion for companion in COMPANIONS.get(last, ()))
    if name.startswith((*excused, *beside)):
        return True
    return any(called.startswith((*target.classifier, AUXILIARY)) for called in (_bare(name), renamed))


def _equal(one: Tensor, other: Tensor) -> bool:
    import torch

    return one.dtype == other.dtype and torch.equal(one, other)


def _same(one: KeyMap, other: KeyMap, tensors: Mapping[str, Tensor]) -> bool:
    """Whether two maps give the network the same weights."""
    names = {new: name for name, new in other.pairs.items()}
    return all(_equal(tensors[name], tensors[names[new]]) for name, new in one.pairs.items() if new in names)


def _in_order(tensors: Mapping[str, Tensor], target: TargetModel, excused: Sequence[str]) -> KeyMap:
    """Match names by order alone; what cannot be matched is left as it stands, and so is not total."""
    own = target.model.state_dict()
    kept = {
        name: tensor for name, tensor in tensors.items() if not _is_excused(name, "", "", target, excused)
    }
    renamed = names_by_order(kept, own)
    pairs = {name: name for name in tensors} if isinstance(renamed, str) else renamed
    return _accounted(ORDERED_LAYOUT, "", pairs, tensors, target, excused)
