"""`--keep-models final`: the trained network of a cell as float16 safetensors with a card."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from ...baselines.weights.archs import build_backbone, classifier_names, feature_width
from ...baselines.weights.checkpoint import CheckpointCard, write_card
from ...baselines.weights.load_state_dict import write_tensors
from ...core.files import sha256_file
from ..schema.plan import Cell, PlannedCell
from ..schema.records import Record, RecordStore
from ..schema.request import RunConfig
from ..training.protocol import PROTOCOLS, EvalContext
from .planner import BuiltNetwork, ResolvedPlan

if TYPE_CHECKING:  # planning needs no torch
    from torch import Tensor

    from ..training.model import ImageClassifier

METADATA = "mednet_bench"
"""Name of the only metadata entry of the file, a JSON text."""
NO_MODEL_NOTE = "no network is kept: this protocol returns none"
HEAD = "head."
"""Prefix of the classifier's tensors where timm names none."""


def keep_model(model: ImageClassifier, job: EvalContext, key: str, store: RecordStore) -> str:
    """Write a cell's network and its card into the run directory; return the SHA-256 of the file.

    Tensors have timm's names, classifier included. Low-rank updates are merged into the weights. By its card
    the file is an init of other runs, `NAME=RUN/models/KEY.safetensors`, that has seen the cell's task.

    Args:
        model: changed in place: moved to the CPU, updates merged.
        key: of the cell.
    """
    cell, task, card, path = job.cell, job.task, job.card, store.model_of(key)
    facts = {
        "key": key,
        "cell": msgspec.to_builtins(cell),
        "classes": task.classes,
        "kind": task.kind,
        "input": msgspec.to_builtins(card.contract),
        "training": msgspec.to_builtins(job.recipe),
        "weights": f"trained from {card.identity}",
    }
    tensors = {name: to_half(tensor) for name, tensor in network_tensors(model, cell.arch).items()}
    write_tensors(path, tensors, (METADATA, msgspec.json.encode(facts).decode()))
    digest = sha256_file(path)
    kept = CheckpointCard(
        name=f"{task.name}-{cell.protocol}-{cell.init.replace('/', '-')}-{key[:8]}",
        path=path.name,
        sha256=digest,
        arch=cell.arch,
        arch_args=dict(card.arch_args),
        input=card.contract,
        corpora=tuple(sorted({*card.corpora, *filter(None, task.origin)})),
        variant=task.variant,
        license=card.license,
        recalled=tuple(key for key in card.recalled if key in ("arch_args", "input", "corpora", "license")),
        excused=() if classifier_names(cell.arch) else (HEAD,),
        input_size=cell.input_size,
        label_spaces={task.name: list(task.classes)},
        training={"protocol": cell.protocol_label, "init": cell.init, "seed": cell.seed, "key": key},
    )
    write_card(kept, path.with_suffix(".toml"), (f"Network of cell {key}, kept by mednet-bench run.",))
    return digest


def network_tensors(model: ImageClassifier, arch: str) -> dict[str, Tensor]:
    """Return the tensors of a network on the CPU by timm's names, updates of weights merged."""
    from torch.nn.utils import parametrize

    model = model.cpu()
    for module in [each for each in model.modules() if parametrize.is_parametrized(each)]:
        parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)
    prefix = next(iter(classifier_names(arch)), HEAD)
    head = {f"{prefix}{name}": tensor for name, tensor in model.head.state_dict().items()}
    return {**model.backbone.state_dict(), **head}


def to_half(tensor: Tensor) -> Tensor:
    """Return a contiguous copy in float16, or as it is: vectors, integers, and where float16 overflows.

    Vectors are biases, norms and batch-norm statistics: under 1 % of a network, of any magnitude.
    """
    if tensor.ndim > 1 and tensor.is_floating_point():
        half = tensor.half()
        tensor = half if bool(half.isfinite().all()) else tensor
    return tensor.detach().contiguous()


def kept_bytes(resolved: ResolvedPlan, waiting: Iterable[PlannedCell]) -> int:
    """Estimate the disk space of the networks that the waiting cells will keep; 0 without `--keep-models`."""
    import torch

    if resolved.request.keep_models == "none":
        return 0
    sizes: dict[BuiltNetwork, tuple[int, int]] = {}
    total = 0
    for cell in (planned.cell for planned in waiting if keeps_model(planned.cell)):
        at = resolved.network(cell)
        if at not in sizes:
            with torch.device("meta"):
                network = build_backbone(cell.arch, cell.input_size, args=dict(at[2]))
            tensors = network.state_dict().values()
            bytes_each = [t.numel() * (2 if t.ndim > 1 else t.element_size()) for t in tensors]
            sizes[at] = sum(bytes_each), feature_width(network)
        weights, width = sizes[at]
        total += weights + 2 * width * len(resolved.tasks[cell.task].classes)
    return total


def keeps_model(cell: Cell) -> bool:
    """Whether a cell trains a network: with a frozen one there is only its head, fitted anew in seconds."""
    return cell.step == "score" and not PROTOCOLS[cell.protocol].frozen


def missing_models(config: RunConfig, records: Iterable[Record], store: RecordStore) -> str:
    """Say how many of the finished cells lack the kept network that is asked for; "" if none does."""
    if config.keep_models == "none":
        return ""
    lost = sum(_is_lost(record, store) for record in records if keeps_model(record.cell))
    if not lost:
        return ""
    return (
        f"Finished cells without a kept network in {store.models}: {lost}, computed without --keep-models "
        "final or removed since; pass --overwrite always to train them again."
    )


def _is_lost(record: Record, store: RecordStore) -> bool:
    if record.status != "ok" or NO_MODEL_NOTE in record.notes:
        return False
    return not (record.model and store.model_of(record.key).is_file())
