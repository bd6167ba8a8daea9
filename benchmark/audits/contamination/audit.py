"""Audit an init on tasks: declared corpora, and a search for near duplicates."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from ....baselines.naming import NamedInit
from ....baselines.weights.checkpoint import CheckpointCard, card_path, read_checkpoint_card
from ....core.clock import utc_now
from ....core.errors import UserError
from ....tasks.catalog import catalog, fetch_tasks, require_tasks, select_tasks
from ....tasks.data_paths import data_locations
from ....tasks.images.bit_depth import to_uint8
from ....tasks.task import SPLITS, UNDECLARED, DataLocations, Task
from ...run.planner import build_plan, requested_inits, stored_size
from ...schema.plan import Fold, read_plan
from ...schema.records import RecordStore
from ...schema.request import RunConfig
from .near_duplicate_search import SeenImages, search_near_duplicates, seen_in_corpus, seen_in_hashes
from .outcome import ContaminationAudit, SearchResult


@dataclass(frozen=True)
class ContaminationRequest:
    """Request of an audit.

    Attributes:
        request: the tasks, one init, its arch, the stored size and where data are.
        run: run directory whose weights of that init are audited; None: the weights that
            `request` resolves to.
        corpus: the corpus that the weights have seen; None takes the hashes of the init's card, if any.
    """

    request: RunConfig
    run: Path | None
    corpus: Path | None

    @property
    def init(self) -> NamedInit:
        """The init."""
        return requested_inits(self.request)[0]

    @cached_property
    def cross_validated(self) -> frozenset[str]:
        """Names of the tasks that the audited run cross-validated."""
        plan = read_plan(self.run) if self.run else None
        cells = (planned.cell for planned in plan.cells) if plan else ()
        return frozenset(cell.task for cell in cells if isinstance(cell.view, Fold))

    def card(self, variant: str) -> Path | None:
        """Return the init's card for a variant, if the user named one by --init or --init-file."""
        path = self.init.paths.get(self.init.base)
        return card_path(path, variant) if path else None


@dataclass(frozen=True)
class _Weights:
    """The weights of an init for one task, and the corpora that they declare to have seen."""

    identity: str
    corpora: tuple[str, ...]
    """`UNDECLARED` alone where their card names none."""
    recalled: bool
    """Whether the corpora are from memory, so that nothing is more than possible."""


def audit_contamination(wanted: ContaminationRequest) -> Iterator[ContaminationAudit]:
    """Audit one init on each task; `UserError` for an unknown name, or missing data or corpus."""
    request = wanted.request
    if len(requested_inits(request)) > 1:
        raise UserError(f"--init {','.join(request.inits)} names several inits: audit one after the other.")
    places = data_locations(Path(request.data_root) if request.data_root else None, request.download)
    known = catalog(places, [Path(path) for path in request.task_file])
    targets = select_tasks(",".join(request.tasks), known, places, request.size)
    fetch_tasks(targets, request.size, places)
    require_tasks(targets, request.size, places)
    for variant in dict.fromkeys(task.variant for task in targets):  # a folder may hold a card for each
        yield from _audit_variant(
            wanted, tuple(task for task in targets if task.variant == variant), known, places
        )


def _audit_variant(
    wanted: ContaminationRequest, targets: tuple[Task, ...], known: dict[str, Task], places: DataLocations
) -> Iterator[ContaminationAudit]:
    """Audit the tasks of one variant."""
    path = None if wanted.init.zoo_name else wanted.card(targets[0].variant)
    card = read_checkpoint_card(path) if path else None
    if wanted.run and card is None:
        weights = _weights_of_run(wanted.run, wanted.init.name)
    else:
        arch = card.arch if card else wanted.init.arch
        weights = _weights_of_plan(_request_with_arch(wanted.request, arch), targets, known, places)
    seen = _seen_images(wanted.corpus, path, card)
    for task in targets:
        if task.name not in weights:
            raise UserError(f"{wanted.run} has no record of {wanted.init.name} on {task.name}: leave it out.")
        size = stored_size(task, wanted.request, places)
        measured = None
        if seen:
            measured = search_near_duplicates(_tested_images(wanted, task, size, places), seen)
        for each in weights[task.name]:
            yield _make_audit(wanted.init.name, task, size, each, measured)


def _tested_images(
    wanted: ContaminationRequest, task: Task, size: int, places: DataLocations
) -> NDArray[np.uint8]:
    """Return the test images of a task; of one that the audited run cross-validated, all images."""
    splits = task.source.load(size, places)
    if task.name not in wanted.cross_validated:
        return to_uint8(splits["test"].images)
    return np.concatenate([to_uint8(splits[name].images) for name in SPLITS])


def _make_audit(
    init: str, task: Task, size: int, weights: _Weights, measured: SearchResult | None
) -> ContaminationAudit:
    declared = task.contamination(weights.corpora, weights.recalled)
    return ContaminationAudit(
        init=init, identity=weights.identity, task=task.name, size=size, corpora=weights.corpora,
        declared=declared.level,
        evidence=tuple(f"{reason.corpus}: {reason}" for reason in declared.reasons),
        unknown=declared.unknown, measured=measured, made=utc_now(),
    )  # fmt: skip


def _weights_of_run(run: Path, init: str) -> dict[str, list[_Weights]]:
    """Return the weights of an init by task, one per architecture, from the records of a run."""
    found: dict[str, dict[str, _Weights]] = {}
    for record in RecordStore(run).read_all():
        if record.cell.init == init and record.init:
            undeclared = (UNDECLARED,) if record.init.possible else ()
            recalled = "corpora" in record.init.recalled
            weights = _Weights(record.init.identity, record.init.corpora or undeclared, recalled)
            found.setdefault(record.cell.task, {})[weights.identity] = weights
    if not found:
        raise UserError(f"{run} holds no finished record of the init '{init}': name one that it compares.")
    return {task: list(weights.values()) for task, weights in found.items()}


def _weights_of_plan(
    request: RunConfig, targets: tuple[Task, ...], known: dict[str, Task], places: DataLocations
) -> dict[str, list[_Weights]]:
    found: dict[str, list[_Weights]] = {}
    for (task, _, _), card in build_plan(request, targets, tuple(known.values()), places).cards.items():
        undeclared = (UNDECLARED,) if card.file else ()  # random weights have seen nothing
        found.setdefault(task, []).append(
            _Weights(card.identity, card.corpora or undeclared, card.corpora_recalled)
        )
    return found


def _request_with_arch(request: RunConfig, arch: str) -> RunConfig:
    """Take the arch of the init's card, if there is one."""
    return msgspec.structs.replace(request, archs=arch) if arch else request


def _seen_images(corpus: Path | None, path: Path | None, card: CheckpointCard | None) -> SeenImages | None:
    """Return the images to search: the corpus, else the hashes of the init's card, else None.

    Raises:
        UserError: the card names another corpus.
    """
    if corpus:
        training = card.training if card else {}
        seen = seen_in_corpus(corpus, frozenset(training.get("left_out", ())))
        if training.get("corpus") and f"corpus {training['corpus']}" != seen.identity:
            raise UserError(
                f"{path} says that the weights have seen another corpus than {corpus}: name that one, or "
                "leave --corpus out to search the card's hashes."
            )
        return seen
    return seen_in_hashes(path.parent / card.hashes) if path and card and card.hashes else None
