"""Total map from the tensor names of a file to those of a network, or an error."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import torch

from ...core.errors import UserError
from .archs import build_backbone, classifier_names
from .families import likely_archs
from .layout import LAYOUTS, LayoutMap, TargetModel, TensorCut, TensorSlot, rename_map
from .layout_order import names_by_order
from .load_state_dict import TensorAccount, compare_tensors, is_tracker

if TYPE_CHECKING:
    from torch import Tensor

    from ..init import ArchArg

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
"""Prefixes that wrappers add: DataParallel, torch.compile, Lightning modules, MoCo v1/v2 and v3."""
COMPANIONS = {
    "encoder_q": ("encoder_k.", "queue", "queue_ptr"),
    "base_encoder": ("momentum_encoder.", "predictor."),
}
"""Further tensors of MoCo beside each prefix; they may be left over."""
AUXILIARY = "AuxLogits."
"""The second classifier of torchvision's Inception, used only in its training; it may be left over."""
KERAS_NAME = re.compile(r"(^|\W)(conv\d_block\d+_(\d_)?(conv|bn)|batch_normalization(_\d+)?|moving_mean)\b")
BIASED = re.compile(r"layer1\.0\.conv\d\.bias$|(^|\.)4\.0\.conv\d\.bias$")
"""Tensors of a residual block whose convolutions have a bias; those of torchvision and timm never do."""
GENERAL = ("timm", "torchvision")
"""Layouts that are preferred, unless only that of a publisher names what is left over."""
IN_CHANS = "arch_args = { in_chans = 1 }"
"""Of a card whose network has one input channel."""
ORDERED_LAYOUT = "order"
"""Used only on request: `names_by_order` proves less than a recognized layout."""


@dataclass(frozen=True, eq=False)
class KeyMap:
    """Map from a file's tensors to a network's.

    Attributes:
        prefix: of every name in the file.
        slots: the file's name to the network's place; total on the network, except for counters of batches.
        second: the file's name to a second place, for tensors that hold two of the network's.
        left: excused names that are left over, and what they are, "" where the card or the arch excuses them.
        twins: names of exact copies of mapped tensors.
        account: the tensors that do not fit; none if the map is accepted.
    """

    layout: str
    prefix: str
    slots: dict[str, TensorSlot]
    second: dict[str, TensorSlot]
    left: dict[str, str]
    twins: tuple[str, ...]
    account: TensorAccount

    @property
    def description(self) -> str:
        """Layout and prefix in words."""
        return f"{self.layout} under '{self.prefix}'" if self.prefix else self.layout

    def convert(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the tensors by the network's names: cut, with leading axes added, and parts joined."""
        return _convert([*self.slots.items(), *self.second.items()], tensors)


def derive_key_map(
    tensors: Mapping[str, Tensor], target: TargetModel, excused: Sequence[str], layout: str, origin: str
) -> KeyMap:
    """Find the map that accounts for every tensor of both sides.

    Args:
        tensors: by name in the file.
        target: the network.
        excused: prefixes in the file that may be left over beside the network's classifier.
        layout: the only one to try, or "" for all.
        origin: name of the weights in the error.

    Raises:
        UserError: no map is total; or two are, with different tensors; or the network is Keras'.
    """
    refuse_keras(tensors, origin)
    maps = sorted(
        candidate_maps(tensors, target, excused, layout),
        key=lambda found: (found.account.faults, _has_unnamed(found, target), found.layout not in GENERAL),
    )
    if not maps:
        raise UserError(
            f"The tensors of {origin} are not named as in the layout '{layout}' of {target.arch} "
            f"({', '.join(list(tensors)[:3])}, ...): leave `layout` out of the card to detect it."
        )
    total = [found for found in maps if not found.account.faults]
    if not total:
        raise maps[0].account.fit_error(origin, _cure(tensors, target, excused, maps[0].account))
    for other in total[1:]:
        if not _give_same_weights(total[0], other, tensors):
            raise UserError(
                f"{origin} holds two networks, under '{total[0].prefix}' and under '{other.prefix}': name "
                "that which is not meant in the card's `excused`."
            )
    return total[0]


@dataclass(frozen=True)
class ArchFit:
    """How well an arch, with one input channel or with three, fits tensors: the number that does not fit."""

    arch: str
    one_channel: bool
    faults: int

    @property
    def args(self) -> dict[str, ArchArg]:
        """Arguments of timm beside the name."""
        return {"in_chans": 1} if self.one_channel else {}

    @property
    def description(self) -> str:
        """The arch in words."""
        return f"{self.arch} with {IN_CHANS}" if self.one_channel else self.arch


def compare_archs(
    tensors: Mapping[str, Tensor], excused: Sequence[str], archs: Sequence[str] = ()
) -> list[ArchFit]:
    """Count what does not fit `archs`, by default the common ones of the family; the best fit first.

    Networks of one input channel are tried where no other fits. Archs that differ only in padding or epsilon
    (timm's `tf_` names) fit alike.
    """
    one = any(tensor.ndim == 4 and tensor.shape[1] == 1 for tensor in tensors.values())
    found: list[ArchFit] = []
    for one_channel in (False, True) if one else (False,):
        if any(not fit.faults for fit in found):
            break
        for arch in archs or likely_archs(tensors):
            faults = _count_faults(tensors, excused, ArchFit(arch, one_channel, 0))
            found.append(ArchFit(arch, one_channel, faults))
    return sorted(found, key=lambda fit: fit.faults)


def _count_faults(tensors: Mapping[str, Tensor], excused: Sequence[str], fit: ArchFit) -> int:
    """Return the number of tensors that do not fit an arch; all of them where it is another network."""
    try:
        target = _meta_target(fit.arch, fit.one_channel)
        # each may refuse
        return min(names.account.faults for names in candidate_maps(tensors, target, excused))
    except UserError:  # torchvision's network differs in a setting, or the arch takes another size only
        return len(tensors)


@lru_cache(maxsize=64)  # a family is compared again for every file
def _meta_target(arch: str, one_channel: bool) -> TargetModel:
    """Build a network's names, shapes and settings without memory for weights."""
    with torch.device("meta"):
        model = build_backbone(arch, 224, args=ArchFit(arch, one_channel, 0).args)
    return TargetModel(arch, model, classifier_names(arch))


def _cure(
    tensors: Mapping[str, Tensor], target: TargetModel, excused: Sequence[str], account: TensorAccount
) -> str:
    """Say what to do about weights that do not fit, from the nearest common arch."""
    nearest = next(iter(compare_archs(tensors, excused)), None)
    if nearest and not nearest.faults and nearest.arch == target.arch:
        change = f"with {IN_CHANS}" if nearest.one_channel else "without its `layout` and `arch_args`"
        return f"they fit {target.arch} {change}: correct their card"
    if nearest and not nearest.faults:
        use = f"pass --archs {nearest.arch}, or write it into their card"
        return f"they fit {nearest.description}: {use}, or name a file of {target.arch}"
    if not account.missing and not account.shapes:
        return "if these are a head or a decoder, name their prefix in the card's `excused`"
    if nearest and nearest.arch != target.arch and nearest.faults < account.faults:
        return f"nearest is {nearest.description}, with {nearest.faults} that do not fit"
    return "use the arch that they were made for"


def refuse_keras(names: Iterable[str], origin: str) -> None:
    """Raise `UserError` for a network ported from Keras, such as RadImageNet's ResNet-50.

    Shapes are those of timm, but the network computes something else: Keras has the stride of a block in the
    first 1x1 convolution, torchvision and timm in the 3x3 one.
    """
    if any(KERAS_NAME.search(name) or BIASED.search(name) for name in names):
        raise UserError(
            f"The weights of {origin} are refused: they are converted from Keras, whose networks are not "
            "timm's: convolutions with bias, the stride on the first 1x1 convolution of a block, and batch "
            "norm with epsilon 1.001e-5; take the weights that were trained in PyTorch."
        )


def candidate_maps(
    tensors: Mapping[str, Tensor], target: TargetModel, excused: Sequence[str], layout: str = ""
) -> Iterator[KeyMap]:
    """Iterate over the maps of all prefixes and layouts, valid or not, shortest prefix first."""
    if layout == ORDERED_LAYOUT:
        yield _map_by_order(tensors, target, excused)
        return
    chosen = {layout: LAYOUTS[layout]} if layout else dict(LAYOUTS.items())
    for prefix in _prefixes(tensors, tuple(excused)):
        inner = [name.removeprefix(prefix) for name in tensors if name.startswith(prefix)]
        for name, recognize in chosen.items():
            if (renamed := recognize(inner, target)) is not None:
                yield _account_for(name, prefix, renamed, tensors, target, excused)


def _prefixes(names: Mapping[str, Tensor], excused: tuple[str, ...]) -> list[str]:
    """Return the prefixes that wrappers may have added, shortest first; "" is none."""
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


def _account_for(
    layout: str,
    prefix: str,
    renamed: LayoutMap,
    tensors: Mapping[str, Tensor],
    target: TargetModel,
    excused: Sequence[str],
) -> KeyMap:
    """Build the map of one layout and prefix, and list its faults by names in the file."""
    own = target.model.state_dict()
    slots = {prefix + old: slot for old, slot in renamed.slots.items()}
    ruled = {prefix + old: kind for old, kind in renamed.excused.items()}
    used = {name: slot for name, slot in slots.items() if slot.name in own and name not in ruled}
    first = {_strip_prefixes(name): tensors[name] for name in used}
    last = {(slot.name, slot.part): name for name, slot in used.items()}
    doubled = [name for name, slot in used.items() if last[slot.name, slot.part] != name]
    left, twins, extra = dict(ruled), [], []
    for name in tensors:
        if name in used or name in ruled:
            continue
        called = slots[name].name if name in slots else ""
        if _is_excused(name, called, prefix, target, excused):
            left[name] = ""
        elif _strip_prefixes(name) in first and _are_equal(tensors[name], first[_strip_prefixes(name)]):
            twins.append(name)
        elif not is_tracker(called, own):
            extra.append(name)
    second = {prefix + old: slot for old, slot in renamed.second.items() if prefix + old in used}
    kept = [(name, slot) for name, slot in used.items() if name not in doubled]
    found = compare_tensors(own, _convert([*kept, *second.items()], tensors), ())
    wrong = TensorAccount(found.missing, (*extra, *doubled), found.shapes)
    return KeyMap(layout, prefix, used, second, left, tuple(twins), wrong)


def _convert(places: Iterable[tuple[str, TensorSlot]], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    parts: dict[str, list[Tensor]] = {}
    added: dict[str, Tensor] = {}
    for name, slot in sorted(places, key=lambda place: place[1].part):
        tensor = _cut(tensors[name][(None,) * slot.axes], slot.cut)
        if slot.cut == "class position":
            added[slot.name] = tensor
        else:
            parts.setdefault(slot.name, []).append(tensor)
    joined = {name: _join(found) for name, found in parts.items()}
    fitting = {name for name in added if name in joined and added[name].shape == joined[name].shape}
    return {name: tensor + added[name] if name in fitting else tensor for name, tensor in joined.items()}


def _cut(tensor: Tensor, cut: TensorCut) -> Tensor:
    """Return what a place takes of a tensor; one without the axis of the cut as it is, to be refused."""
    if tensor.ndim < 2 and cut in ("class position", "grid positions"):
        return tensor
    rows = len(tensor) // 3 if tensor.ndim else 0
    if cut == "query":
        return tensor[:rows]
    if cut == "key and value":
        return tensor[rows:]
    if cut == "class position":
        return tensor[:, :1]
    return tensor[:, 1:] if cut == "grid positions" else tensor


def _join(parts: Sequence[Tensor]) -> Tensor:
    """Join tensors along the first axis; the first alone where the others do not fit it."""
    if len(parts) == 1 or len({tensor.shape[1:] for tensor in parts}) > 1:
        return parts[0]
    return torch.cat(list(parts))


def _strip_prefixes(name: str) -> str:
    """Return a name without the prefixes of wrappers."""
    parts = name.split(".")
    while len(parts) > 1 and parts[0] in PREFIXES:
        parts = parts[1:]
    return ".".join(parts)


def _is_excused(name: str, renamed: str, prefix: str, target: TargetModel, excused: Sequence[str]) -> bool:
    """Whether a tensor may be left over by its name or as part of the network's classifier."""
    head, _, last = prefix.removesuffix(".").rpartition(".")
    beside = tuple(f"{head}." * bool(head) + companion for companion in COMPANIONS.get(last, ()))
    if name.startswith((*excused, *beside)):
        return True
    return any(
        called.startswith((*target.classifier, AUXILIARY)) for called in (_strip_prefixes(name), renamed)
    )


def _has_unnamed(found: KeyMap, target: TargetModel) -> bool:
    """Whether a left-over tensor is named by no rule of the layout and is not of a plain classifier."""
    plain = {f"{name.removesuffix('.')}.{part}" for name in target.classifier for part in ("weight", "bias")}
    return any(not kind and _strip_prefixes(name) not in plain for name, kind in found.left.items())


def _are_equal(one: Tensor, other: Tensor) -> bool:
    return one.dtype == other.dtype and torch.equal(one, other)


def _give_same_weights(one: KeyMap, other: KeyMap, tensors: Mapping[str, Tensor]) -> bool:
    """Whether two maps give the network the same weights."""
    if (one.slots, one.second) == (other.slots, other.second):
        return True  # NaN, which is refused later, equals nothing
    mine, theirs = one.convert(tensors), other.convert(tensors)
    return all(_are_equal(mine[name], theirs[name]) for name in mine.keys() & theirs.keys())


def _map_by_order(tensors: Mapping[str, Tensor], target: TargetModel, excused: Sequence[str]) -> KeyMap:
    """Match names by order alone; without a match they stay, so that the map is not total."""
    own = target.model.state_dict()
    kept = {
        name: tensor for name, tensor in tensors.items() if not _is_excused(name, "", "", target, excused)
    }
    renamed = names_by_order(kept, own)
    pairs = {name: name for name in tensors} if isinstance(renamed, str) else renamed
    return _account_for(ORDERED_LAYOUT, "", rename_map(pairs), tensors, target, excused)
