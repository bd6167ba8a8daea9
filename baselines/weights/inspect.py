"""What a checkpoint holds, found out from the file alone, and a draft of its card."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ...core.errors import UserError
from ...core.files import sha256_file
from ..init import InputSpec
from .archs import build_backbone, classifier_names
from .checkpoint import CheckpointCard
from .fingerprint import fingerprint
from .input_spec import COMMON, InputEvidence, check_input_spec
from .layout import TargetModel
from .layout_derive import KeyMap, derive, refuse_keras
from .layout_guess import guesses, likely_archs
from .load_state_dict import check_weight_values, choose_state_dict, load_total, networks, read_state_dicts

if TYPE_CHECKING:
    from torch import nn

FINGERPRINT_SIDE = 96
"""In pixels, at which a draft's fingerprint is taken: enough for every network that takes any side, and a
comparison at every load then takes a fraction of a second."""


@dataclass(frozen=True, eq=False)
class InspectedCheckpoint:
    """A checkpoint, read and understood.

    Attributes:
        file: where it stands.
        sha256: of the file.
        arch: of the network that it fits.
        others: further networks that fit as well, for all that the tensors show.
        state_dict: which of the file's state dicts this is; "" where its tensors are bare.
        ignored: the names of the others.
        names: how the file's tensors become the network's.
        shapes: of every tensor of the file.
        parameters: trained numbers of the network without classifier.
        contract: the likeliest input contract.
        evidence: for it.
        possible: every common contract under which the evidence is in order, and its contrast.
        side: in pixels, at which the evidence and the fingerprint were taken.
        fingerprint: of the network under that contract.
    """

    file: Path
    sha256: str
    arch: str
    others: tuple[str, ...]
    state_dict: str
    ignored: tuple[str, ...]
    names: KeyMap
    shapes: dict[str, tuple[int, ...]]
    parameters: int
    contract: InputSpec
    evidence: InputEvidence
    possible: tuple[tuple[InputSpec, float], ...]
    side: int
    fingerprint: tuple[float, ...]

    def draft(self) -> CheckpointCard:
        """Return a card for these weights; what only their maker knows is left empty."""
        return CheckpointCard(
            name=self.file.stem,
            path=self.file.name,
            sha256=self.sha256,
            arch=self.arch,
            input=self.contract,
            corpora=(),
            state_dict=self.state_dict if self.ignored else "",
            layout=self.names.layout,
            input_size=self.side,
            fingerprint=self.fingerprint,
        )


def inspect_checkpoint(
    file: Path, arch: str = "", layout: str = "", excused: tuple[str, ...] = (), state_dict: str = ""
) -> InspectedCheckpoint:
    """Find out what a checkpoint holds.

    Args:
        file: the weights; no code from it is run.
        arch: the network, or "" to try the common ones.
        layout: the only one to try, or "" for all that are recognized.
        excused: prefixes of tensors, as the file names them, that may be left over.
        state_dict: which of several that the file holds.

    Raises:
        UserError: it cannot be read, no network fits totally, or it is Keras'.
    """
    found = read_state_dicts(file)
    state_dict, tensors = choose_state_dict(found, state_dict, file)
    refuse_keras(tensors, str(file))
    fits = [] if arch else [name for name, _ in guesses(tensors, excused)]
    chosen = arch or next(iter((*fits, *likely_archs(tensors))), "")
    if not chosen:
        raise UserError(
            f"The names in {file} ({', '.join(list(tensors)[:3])}, ...) are no common network's: pass --arch."
        )
    side, model = _built(chosen)
    names = derive(tensors, TargetModel(chosen, model, classifier_names(chosen)), excused, layout, str(file))
    check_weight_values(tensors, names.pairs, str(file))
    load_total(model, {new: tensors[name] for name, new in names.pairs.items()}, (), str(file))
    possible = tuple(_possible_contracts(model, side))
    contract = possible[0][0] if possible else InputSpec(**COMMON[0])  # type: ignore[arg-type]
    return InspectedCheckpoint(
        file=file,
        sha256=sha256_file(file),
        arch=chosen,
        others=(*fits[1:], *_twins(chosen, names)),
        state_dict=state_dict,
        ignored=tuple(name for name in networks(found) if name != state_dict),
        names=names,
        shapes={name: tuple(tensor.shape) for name, tensor in tensors.items()},
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        contract=contract,
        evidence=check_input_spec(model, contract, side),
        possible=possible,
        side=side,
        fingerprint=fingerprint(model, contract, side),
    )


def _built(arch: str) -> tuple[int, nn.Module]:
    """Build a network at `FINGERPRINT_SIDE`, or at its own side where it takes no other."""
    import timm

    try:
        return FINGERPRINT_SIDE, build_backbone(arch, FINGERPRINT_SIDE).eval()
    except UserError:
        cfg = timm.get_pretrained_cfg(arch) if timm.is_model(arch) else None
        if cfg is None:
            raise
        return cfg.input_size[-1], build_backbone(arch, cfg.input_size[-1]).eval()


def _twins(arch: str, names: KeyMap) -> tuple[str, ...]:
    """Name the network that differs from this one in padding and epsilon alone, which no tensor shows."""
    import timm

    twin = arch.removeprefix("tf_") if arch.startswith("tf_") else f"tf_{arch}"
    return (twin,) if names.layout == "timm" and timm.is_model(twin) else ()


def _possible_contracts(model: nn.Module, side: int) -> list[tuple[InputSpec, float]]:
    """List the common contracts against which nothing speaks, the one with the likeliest contrast first."""
    found = []
    for facts in COMMON:
        for channels in ("rgb", "bgr"):
            contract = msgspec.convert({**facts, "channels": channels}, InputSpec)
            evidence = check_input_spec(model, contract, side)
            if evidence.checked and not evidence.warnings:
                found.append((contract, evidence.contrast))
                break  # "bgr" only where red and blue would be swapped otherwise
    return sorted(found, key=lambda pair: abs(math.log(pair[1])))
