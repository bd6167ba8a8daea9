"""`mednet`: Gray- or Color-MedNet, pretrained on medical images other than the target's.

No MedNet was ever released (arXiv 2110.06512 proposes one), so by default the weights are pretrained here,
supervised unless `--pretrain-option` says otherwise, on the training splits of every other available data set
that has the target's color, shares no source group and no parent with it, and is real, or generated, as the
target is.
"""

import hashlib
import json
from dataclasses import replace

from ...core.errors import UserError
from ...tasks.catalog import assume_downloads
from ...tasks.task import Task
from ..init import INITS, InitCard, InitRequest, PretrainPlan, contract_of
from ..weights.checkpoint import from_checkpoint

RECIPE = 3
"""Version of the pretraining; a higher number makes cached weights obsolete."""


@INITS.register("mednet")
def resolve_mednet(request: InitRequest) -> InitCard:
    """Weights pretrained here on the medical images of other tasks, or your checkpoint with mednet=PATH."""
    if request.path is not None:
        return from_checkpoint("mednet", request.path, request)
    return pretraining_card("mednet", request)


def pretraining_card(name: str, request: InitRequest, start: InitCard | None = None) -> InitCard:
    """Return the card of an init that is pretrained here from `start`, or from random weights.

    The input contract of `start` is kept, and its corpora are declared too. Raises `UserError` where no
    independent source is available.
    """
    pretraining = plan_pretraining(request, start)
    names = ", ".join(source.name for source in pretraining.sources)
    names = f"{request.images:,} images of {names}" if request.images else names
    origin = f" from {start.name}" if start else ""
    seen = set(start.corpora if start else ()).union(*(source.origin for source in pretraining.sources))
    return InitCard(
        name=name,
        label=f"{pretraining.variant.capitalize()}-MedNet pretrained here{origin} on {names}",
        identity=f"mednet:{pretraining.identity}",
        contract=contract_of(start),
        file=request.pretrained / f"{pretraining.identity}.safetensors",
        corpora=tuple(sorted(seen)),
        pretraining=pretraining,
        origin="here",
    )


def is_independent(source: Task, target: Task) -> bool:
    """Whether `source` may pretrain for `target`: equal color and realness, no common images."""
    return (
        source.variant == target.variant
        and source.generated == target.generated
        and target.contamination(source.origin).level == "clean"
    )


def plan_pretraining(request: InitRequest, start: InitCard | None = None) -> PretrainPlan:
    """Choose the sources, and hash everything that decides the weights; see `pretraining_card`."""
    sources = _find_sources(request)
    if not sources and request.places.assumed is not None:  # an estimate: from what a download would bring
        tasks = [task for task in request.tasks if request.size in task.sizes]
        request = replace(request, places=assume_downloads(tasks, request.size, request.places))
        sources = _find_sources(request)
    if not sources:
        raise UserError(
            f"mednet cannot be pretrained for {request.task.name}: no other {request.task.variant} data set "
            "that shares no parent with it is available; put one into the data root (`mednet-bench ls` shows "
            "them), bring weights with mednet=PATH, or leave mednet out of --inits."
        )
    sides = tuple(_stored_size(task, request) for task in sources)
    facts = [
        RECIPE,
        request.arch,
        request.input_size,
        request.budget,
        [
            (task.name, task.source.fingerprint(side, request.places), side, *_card_facts(task))
            for task, side in zip(sources, sides, strict=True)
        ],
        start.decisive if start else "",
        *([request.images] if request.images else []),  # absent for all images: their names stay
        *filter(None, [request.options.decisive]),  # none: the same identity as before there were any
    ]
    return PretrainPlan(
        variant=request.task.variant,
        sources=tuple(sources),
        sizes=sides,
        arch=request.arch,
        input_size=request.input_size,
        identity=hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16],
        start=start,
        images=request.images,
        options=request.options,
    )


def _find_sources(request: InitRequest) -> list[Task]:
    """Return the independent sources that are on this machine, by name."""
    independent = (task for task in request.tasks if is_independent(task, request.task))
    return sorted((task for task in independent if _stored_size(task, request)), key=lambda task: task.name)


def _card_facts(task: Task) -> tuple[object, ...]:
    """Return the facts of a card that decide images, outputs, loss and augmentation."""
    return task.pretrain_splits, len(task.classes), task.kind, task.flips


def _stored_size(task: Task, request: InitRequest) -> int:
    """Return the size to read of a source: the run's, else the largest; 0 where it is no source."""
    if not task.pretrain_splits:
        return 0
    sides = task.source.sizes(request.places)
    if not sides and not task.sizes and not task.source.missing(request.size, request.places):
        return request.size  # local files are resized to any size
    return request.size if request.size in sides else max(sides, default=0)
