"""`mednet`: Gray- or Color-MedNet, pretrained on medical images other than the target's.

No MedNet was ever released (arXiv 2110.06512 proposes one), so by default the weights are pretrained here,
supervised, on the training splits of every other available data set that has the target's color, shares no
source group and no parent with it, and is real, or generated, as the target is.
"""

import hashlib
import json

from ...core.errors import UserError
from ...tasks.task import Task
from ..init import INITS, InitCard, InitRequest, PretrainPlan, contract_of
from ..weights.checkpoint import from_checkpoint

RECIPE = 3
"""Version of the pretraining; a higher number makes cached weights obsolete."""


@INITS.register("mednet")
def resolve_mednet(need: InitRequest) -> InitCard:
    """Resolve to a user's checkpoint, or to a pretraining on every available independent source."""
    if need.path is not None:
        return from_checkpoint("mednet", need.path, need)
    return pretraining_card("mednet", need)


def pretraining_card(name: str, need: InitRequest, start: InitCard | None = None) -> InitCard:
    """Return the card of an init that is pretrained here from `start`, or from random weights.

    The input contract of `start` is kept, and its corpora are declared too. Raises `UserError` where no
    independent source is available.
    """
    pretraining = plan_pretraining(need, start)
    names = ", ".join(source.name for source in pretraining.sources)
    origin = f" from {start.name}" if start else ""
    seen = set(start.corpora if start else ()).union(*(source.origin for source in pretraining.sources))
    return InitCard(
        name=name,
        label=f"{pretraining.variant.capitalize()}-MedNet pretrained here{origin} on {names}",
        identity=f"mednet:{pretraining.identity}",
        contract=contract_of(start),
        file=need.cache / "mednet" / f"{pretraining.identity}.safetensors",
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


def plan_pretraining(need: InitRequest, start: InitCard | None = None) -> PretrainPlan:
    """Choose the sources, and hash everything that decides the weights; see `pretraining_card`."""
    sources = sorted(
        (task for task in need.tasks if is_independent(task, need.task) and _stored_size(task, need)),
        key=lambda task: task.name,
    )
    if not sources:
        raise UserError(
            f"mednet cannot be pretrained for {need.task.name}: no other {need.task.variant} data set that "
            "shares no parent with it is available; put one into the data root (`mednet-bench ls` shows "
            "them), bring weights with mednet=PATH, or leave mednet out of --inits."
        )
    sides = tuple(_stored_size(task, need) for task in sources)
    facts = [
        RECIPE,
        need.arch,
        need.input_size,
        need.budget,
        [
            (task.name, task.source.fingerprint(side, need.places), side, *_card_facts(task))
            for task, side in zip(sources, sides, strict=True)
        ],
        start.decisive if start else "",
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


def _card_facts(task: Task) -> tuple[object, ...]:
    """Return the facts of a card that decide images, outputs, loss and augmentation."""
    return task.pretrain_splits, len(task.classes), task.kind, task.flips


def _stored_size(task: Task, need: InitRequest) -> int:
    """Return the size to read of a source: the run's, else the largest; 0 where it is no source."""
    if not task.pretrain_splits:
        return 0
    sides = task.source.sizes(need.places)
    if not sides and not task.sizes and not task.source.missing(need.size, need.places):
        return need.size  # local files are resized to any size
    return need.size if need.size in sides else max(sides, default=0)
