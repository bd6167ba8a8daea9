"""Checks before the first cell: device, input sizes, weights, data."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from itertools import pairwise

import msgspec
import numpy as np
import torch

from ...baselines.init import InitCard
from ...baselines.timm_tags import beyond_imagenet
from ...baselines.weights.archs import check_input_size
from ...baselines.weights.input_spec import preprocessing_warnings
from ...baselines.weights.transform import check_transform
from ...core.errors import UserError
from ...tasks.databases.licenses import restriction_of
from ...tasks.subgroups import check_subgroups
from ...tasks.task import Split, Task
from ..overlap.copies import copies_in, dropped_copies, without_copies
from ..pretraining.mednet_cache import find_pretrain_facts
from ..schema.plan import Fold, PlannedCell, shots_of
from ..training.folds import fold_rows
from ..training.protocol import PROTOCOLS, options_type
from ..training.subsets import LEAST_PER_CLASS, choose_subset
from .planner import ResolvedPlan


def resolve_device(wanted: str) -> str:
    """Return the torch device, for "auto" a GPU if there is one; `UserError` if unusable."""
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


def weights_warnings(resolved: ResolvedPlan) -> list[str]:
    """Describe inits that were left out, have restricted licenses, or facts that are from memory."""
    sources = {card.source.name: card.source for card in resolved.cards.values()}
    loaded = [card for card in sources.values() if card.file and not card.pretraining]
    trained = [card for card in sources.values() if card.pretraining]
    sentences = [*map(_weights_sentence, loaded), *(_absent_sources(card, resolved) for card in trained)]
    return [*resolved.left_out, *filter(None, sentences)]


def _absent_sources(card: InitCard, resolved: ResolvedPlan) -> str:
    """Name the sources that an estimate assumes although the run would not download them; "" if none."""
    plan = card.pretraining
    if plan is None:
        return ""
    places = zip(plan.sources, plan.sizes, strict=True)
    absent = [task.name for task, size in places if task.source.missing(size, resolved.places)]
    get = f"mednet-bench download {' '.join(absent)} --size {resolved.request.size}"
    return f"{card.name}: a run needs sources that are not on this machine: `{get}`." if absent else ""


def _weights_sentence(card: InitCard) -> str:
    own = (card.origin == "card" or card.absent) and not card.license  # the user, or the file, knows
    clauses = [] if own else [restriction_of(card.license)]
    if card.recalled:
        clauses.append(f"from memory, not read at the source: {', '.join(card.recalled)}")
    return f"{card.name}: {said}." if (said := "; ".join(filter(None, clauses))) else ""


def check_before_run(resolved: ResolvedPlan, waiting: list[PlannedCell]) -> list[str]:
    """Run each arch, load each checkpoint and read the labels of waiting cells; return warnings.

    Raises:
        UserError: an arch, checkpoint, task, size or option of a protocol does not fit.
    """
    used = {(planned.cell.arch, planned.cell.input_size) for planned in waiting}
    for arch, input_size in sorted(used):
        check_input_size(arch, input_size)
    _check_protocol_options(waiting)
    checked: set[tuple[str, str]] = set()
    warnings: list[str] = []
    for planned in waiting:
        cell = planned.cell
        if cell.step == "pretrain":
            continue
        card = resolved.card(cell)
        if (cell.arch, card.identity) in checked:
            continue
        checked.add((cell.arch, card.identity))
        weights = (card.pretraining and card.pretraining.start) or card  # of a pretraining: its start
        if clause := beyond_imagenet(weights.source.name, weights.corpora):
            warnings.append(f"{cell.arch}: {clause}.")
        if card.file and not card.pretraining:
            warnings += preprocessing_warnings(card, cell.arch, cell.input_size)
        elif card.transform:
            check_transform(card.transform, cell.arch, cell.input_size)
    for (_, size), task in _data_to_read(resolved, waiting).items():
        splits = resolved.labels(task, size)
        check_subgroups(f"Task '{task.name}'", splits)
        if task.name in resolved.tasks.keys() - resolved.val_shares.keys():
            _check_classes(task, splits)
    return list(dict.fromkeys(warnings))


def _check_protocol_options(waiting: list[PlannedCell]) -> None:
    """Raise `UserError` where the options of a protocol do not fit an architecture."""
    cells = (planned.cell for planned in waiting if planned.cell.protocol_options)
    once = {(cell.protocol_label, cell.arch, cell.input_size): cell for cell in cells}
    for cell in once.values():
        protocol = PROTOCOLS[cell.protocol]
        if check := getattr(protocol, "check_arch", None):  # optional for a plug-in
            options = msgspec.convert(cell.protocol_options, options_type(protocol))
            check(cell.arch, cell.input_size, options)


def _check_classes(task: Task, splits: Mapping[str, Split]) -> None:
    """Raise `UserError` where train or test holds one class only: nothing can be learned."""
    for name in ("train", "test"):
        classes = np.unique(splits[name].labels)
        if task.kind != "multilabel" and len(classes) == 1:
            raise UserError(
                f"Task '{task.name}': the split {name} holds no class but '{task.classes[classes[0]]}': add "
                "images of another class to it, or make other splits."
            )


def equal_fraction_warnings(resolved: ResolvedPlan, waiting: list[PlannedCell]) -> list[str]:
    """Warn where two fractions are the same images, since each class keeps a minimum of them."""
    warnings = []
    planned: dict[tuple[str, int], set[tuple[int, float]]] = {}
    scored = (each.cell for each in waiting if each.cell.step == "score")
    for cell in (cell for cell in scored if not shots_of(cell.fraction)):
        planned.setdefault((cell.task, cell.size), set()).add((cell.seed, cell.fraction))
    for (name, size), wanted in planned.items():
        task, seed = resolved.tasks[name], min(wanted)[0]
        shares = sorted(fraction for of, fraction in wanted if of == seed)
        train = task.split_sizes[0] if task.split_sizes else 0
        enough = 2 * LEAST_PER_CLASS * len(task.classes)
        if len(shares) < 2 or shares[0] * train > enough:  # no need to read the data
            continue
        if task.source.missing(size, replace(resolved.places, assumed=None)):
            continue  # an estimate before the download
        train_val = _train_and_val(resolved, name, size, seed)
        chosen = [choose_subset(*train_val, share, seed, resolved.request.resample) for share in shares]
        for (low, few), (high, more) in pairwise(zip(shares, chosen, strict=True)):
            if len(few.train) == len(more.train):  # subsets of one seed are nested
                warnings.append(
                    f"{name}: fractions {low:g} and {high:g} are the same {len(few.train)} training images, "
                    f"as whole images are taken and {LEAST_PER_CLASS} of each class kept: leave one of the "
                    "two out."
                )
    return warnings


def _train_and_val(resolved: ResolvedPlan, task: str, size: int, seed: int) -> tuple[Split, Split]:
    """Return the splits that a fraction is taken from; those of the first fold of a cross-validated task."""
    if share := resolved.val_shares.get(task):
        pool = resolved.load_pool(task, size)
        rows = fold_rows(pool, Fold(index=0, folds=resolved.folds), seed, share)
        return pool.at(rows.train), pool.at(rows.val)
    splits = resolved.labels(resolved.tasks[task], size)
    return splits["train"], splits["val"]


def dedupe_sentences(resolved: ResolvedPlan, waiting: list[PlannedCell]) -> list[str]:
    """Describe what `--dedupe` drops; `UserError` where a class would lose all images."""
    dedupe = resolved.request.dedupe
    if dedupe is None:
        return []
    sentences = []
    for name, size in sorted({(p.cell.task, p.cell.size) for p in waiting if p.cell.step != "pretrain"}):
        if name in resolved.val_shares:
            sentences.append(f"{name}: --dedupe drops nothing: equal images are in one fold")
            continue
        task = resolved.tasks[name]
        splits = resolved.labels(task, size)
        fingerprint = task.source.fingerprint(size, resolved.places)
        read = partial(task.source.load, size, resolved.places)  # equal pixels are searched once, and cached
        found = copies_in(task, splits, fingerprint, read)
        sentences += dropped_copies(task, splits, without_copies(task, splits, found, dedupe), dedupe)
    return sentences


def _data_to_read(resolved: ResolvedPlan, waiting: list[PlannedCell]) -> dict[tuple[str, int], Task]:
    """Return the tasks to read, by (task, size): targets, and sources of missing pretrainings."""
    found: dict[tuple[str, int], Task] = {}
    for planned in waiting:
        cell = planned.cell
        if cell.step != "pretrain":
            found[cell.task, cell.size] = resolved.tasks[cell.task]
            continue
        card = resolved.pretraining(cell)
        if card.pretraining and card.file and find_pretrain_facts(card.file) is None:
            sources = zip(card.pretraining.sources, card.pretraining.sizes, strict=True)
            found |= {(task.name, size): task for task, size in sources}
    return {place: task for place, task in found.items() if not task.generated}
