"""`mednet`: weights from medical images that never saw the target; Gray-MedNet or Color-MedNet by its color.

No MedNet was ever released (arXiv 2110.06512 proposes one), so that by default the weights are made
here, supervised, on the training splits of every other data set of the target's color that is at
hand, shares no source group and no parent with it, and is as real, or as generated, as the target.
"""

import hashlib
import json

from ...core.errors import UserError
from ...tasks.task import Task
from ..init import INITS, InitCard, InitRequest, PretrainPlan, contract_of
from ..weights.checkpoint import from_checkpoint

RECIPE = 3
"""Raise it when the pretraining changes, so that cached weights are made anew."""


@INITS.register("mednet")
def resolve_mednet(need: InitRequest) -> InitCard:
    """Resolve to a user's checkpoint, or to a pretraining on every independent source at hand."""
    if need.path is not None:
        return from_checkpoint("mednet", need.path, need)
    return made_here("mednet", need)


def made_here(name: str, need: InitRequest, start: InitCard | None = None) -> InitCard:
    """Return the card of an init that is pretrained here, from random weights or from those of `start`.

    Args:
        name: of the init, as in tables.
        need: what the run wants.
        start: the init to begin with; its input contract is kept, and what it has seen is declared too.

    Raises:
        UserError: no independent source is at hand.
    """
    pretraining = plan_pretraining(need, start)
    names = ", ".join(source.name for source in pretraining.sources)
    begun = f" from {start.name}" if start else ""
    seen = set(start.corpora if start else ()).union(*(source.origin for source in pretraining.sources))
    return InitCard(
        name=name,
        label=f"{pretraining.variant.capitalize()}-MedNet pretrained here{begun} on {names}",
        identity=f"mednet:{pretraining.identity}",
        contract=contract_of(start),
        file=need.cache / "mednet" / f"{pretraining.identity}.safetensors",
        corpora=tuple(sorted(seen)),
        pretraining=pretraining,
    )


def is_independent(source: Task, target: Task) -> bool:
    """Whether `source` may pretrain for `target`: same color and realness, no common image even possible."""
    return (
        source.variant == target.variant
        and source.generated == target.generated
        and target.contamination(source.origin).level == "clean"
    )


def plan_pretraining(need: InitRequest, start: InitCard | None = None) -> PretrainPlan:
    """Choose the sources and name the weights by everything that decides them; `start` as in `made_here`.

    Raises:
        UserError: no independent source of that color is at hand.
    """
    sources = sorted(
        (task for task in need.tasks if is_independent(task, need.task) and _side(task, need)),
        key=lambda task: task.name,
    )
    if not sources:
        raise UserError(
            f"mednet cannot be pretrained for {need.task.name}: no other {need.task.variant} data set that "
            "shares no parent with it is at hand; put one into the data root (`mednet-bench ls` shows them), "
            "bring weights with mednet=PATH, or leave mednet out of --inits."
        )
    sides = tuple(_side(task, need) for task in sources)
    facts = [
        RECIPE,
        need.arch,
        need.input_size,
        need.budget,
        [
            (task.name, task.source.fingerprint(side, need.places), side, *_of_card(task))
            for task, side in zip(sources, sides, strict=True)
        ],
        start.decisive if start else "",
        *([need.images] if need.images else []),
    ]
    return PretrainPlan(
        variant=need.task.variant,
        sources=tuple(sources),
        sizes=sides,
        arch=need.arch,
        input_size=need.input_size,
        identity=hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16],
        start=start,
        images=need.images,
    )


def _of_card(task: Task) -> tuple[object, ...]:
    """Return what a card, and not the file, decides of the training: images, outputs, loss, augmentation."""
    return task.pretrain_splits, len(task.classes), task.kind, task.flips


def _side(task: Task, need: InitRequest) -> int:
    """Return the side to read of a source: the run's, else the largest at hand; 0 where it is no source."""
    if not task.pretrain_splits:
        return 0
    sides = task.source.sizes(need.places)
    if not sides and not task.sizes and not task.source.missing(need.size, need.places):
        return need.size  # files are fitted into squares of any side
    return need.size if need.size in sides else max(sides, default=0)
