"""Everything that can be known to be wrong before the first cell: device, sizes, weights."""

from collections.abc import Mapping
from itertools import pairwise

import numpy as np

from ...baselines.timm_tags import beyond_imagenet
from ...baselines.weights.preprocessing_warnings import preprocessing_warnings
from ...core.errors import UserError
from ...tasks.subgroups import check_subgroups
from ...tasks.task import Split, Task
from ..overlap.copies import copies_in, dropped_copies, without_copies
from ..pretraining.mednet_cache import read_pretrain_facts
from ..schema.plan import PlannedCell
from ..training.subsets import LEAST_PER_CLASS, choose_subset
from .planner import ResolvedPlan


def resolve_device(wanted: str) -> str:
    """Return the device as torch calls it; "auto" takes a GPU where there is one.

    Raises:
        UserError: the device does not exist here.
    """
    import torch

    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=wanted)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"The device '{wanted}' cannot be used ({reason}): pass --device cpu or auto."
        ) from error
    return wanted


def check_before_run(resolved: ResolvedPlan, waiting: list[PlannedCell]) -> list[str]:
    """Run every arch once, load every checkpoint strictly and read all data, as the waiting cells need them.

    Returns:
        What is doubtful but does not stop the run, in sentences.

    Raises:
        UserError: what does not fit, and the cure.
    """
    from ...baselines.weights.archs import check_input_size
    from ...baselines.weights.transform import check_transform

    used = {(planned.cell.arch, planned.cell.input_size) for planned in waiting}
    for arch, side in sorted(used):
        check_input_size(arch, side)
    proven: set[tuple[str, str]] = set()
    doubtful: list[str] = []
    for planned in waiting:
        cell = planned.cell
        if cell.step == "pretrain":
            continue
        card = resolved.card(cell)
        if (cell.arch, card.identity) in proven:
            continue
        proven.add((cell.arch, card.identity))
        weights = (card.pretraining and card.pretraining.start) or card  # what a pretraining begins with
        if told := beyond_imagenet(weights.source.name, weights.corpora):
            doubtful.append(f"{cell.arch}: {told}.")
        if card.file and not card.pretraining:
            doubtful += preprocessing_warnings(card, cell.arch, cell.input_size)
        elif card.transform:
            check_transform(card.transform, cell.arch, cell.input_size)
    for (_, size), task in _data_to_read(resolved, waiting).items():
        splits = task.source.load(size, resolved.places)
        check_subgroups(f"Task '{task.name}'", splits)
        if task.name in resolved.tasks:
            _check_classes(task, splits)
    return doubtful


def _check_classes(task: Task, splits: Mapping[str, Split]) -> None:
    """Refuse a task of which train or test holds one class only: nothing is learnt or measured there."""
    for name in ("train", "test"):
        held = np.unique(splits[name].labels)
        if task.kind != "multilabel" and len(held) == 1:
            raise UserError(
                f"Task '{task.name}': the split {name} holds no class but '{task.classes[held[0]]}': add "
                "images of another class to it, or make other splits."
            )


def equal_fraction_warnings(resolved: ResolvedPlan, waiting: list[PlannedCell]) -> list[str]:
    """Say where two fractions of a task are the same images, since each class keeps a few of them."""
    said = []
    planned: dict[tuple[str, int], set[tuple[int, float]]] = {}
    for cell in (planned.cell for planned in waiting if planned.cell.step == "score"):
        planned.setdefault((cell.task, cell.size), set()).add((cell.seed, cell.fraction))
    for (name, size), wanted in planned.items():
        task, seed = resolved.tasks[name], min(wanted)[0]
        shares = sorted(fraction for of, fraction in wanted if of == seed)
        train = task.split_sizes[0] if task.split_sizes else 0
        if len(shares) < 2 or shares[0] * train > 2 * LEAST_PER_CLASS * len(
            task.classes
        ):  # not so few: not read
            continue
        splits = task.source.load(size, resolved.places)
        chosen = [choose_subset(splits["train"], splits["val"], share, seed) for share in shares]
        for (low, few), (high, more) in pairwise(zip(shares, chosen, strict=True)):
            if len(few.train) == len(more.train):  # subsets of a seed lie in each other
                said.append(
                    f"{name}: fractions {low:g} and {high:g} are the same {len(few.train)} training images, "
                    f"as whole images are taken and {LEAST_PER_CLASS} of each class kept: leave one of the "
                    "two out."
                )
    return said


def dedupe_sentences(resolved: ResolvedPlan, waiting: list[PlannedCell]) -> list[str]:
    """Say what `--dedupe` drops of each task that waiting cells score, per class.

    Raises:
        UserError: a class would be left without images.
    """
    dedupe = resolved.request.dedupe
    if dedupe is None:
        return []
    said = []
    for name, size in sorted({(p.cell.task, p.cell.size) for p in waiting if p.cell.step != "pretrain"}):
        task = resolved.tasks[name]
        splits = task.source.load(size, resolved.places)
        found = copies_in(task, splits, task.source.fingerprint(size, resolved.places))
        said += dropped_copies(task, splits, without_copies(task, splits, found, dedupe), dedupe)
    return said


def _data_to_read(resolved: ResolvedPlan, waiting: list[PlannedCell]) -> dict[tuple[str, int], Task]:
    """Return what is read from files, by (task, size): targets, and sources of weights yet to be made."""
    found: dict[tuple[str, int], Task] = {}
    for planned in waiting:
        cell = planned.cell
        if cell.step != "pretrain":
            found[cell.task, cell.size] = resolved.tasks[cell.task]
            continue
        card = resolved.pretraining(cell)
        if card.pretraining and card.file and read_pretrain_facts(card.file) is None:
            sources = zip(card.pretraining.sources, card.pretraining.sizes, strict=True)
            found |= {(task.name, size): task for task, size in sources}
    return {place: task for place, task in found.items() if not task.generated}
