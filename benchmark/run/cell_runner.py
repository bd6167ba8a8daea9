"""Computing one cell from data, label subset, weights and protocol."""

import functools
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from ...baselines.init import InitCard, PretrainPlan
from ...baselines.weights.input_spec import preprocessing_warnings
from ...core.errors import StoppedError, UserError
from ...core.files import scratch_folder
from ..overlap.copies import copies_in, data_identity, without_copies
from ..pretraining.automatic import pretrain_automatic
from ..pretraining.mednet_cache import (
    PretrainFacts,
    cached_weights,
    copy_from_cache,
    find_pretrain_facts,
    read_pretrain_facts,
)
from ..schema.plan import Cell, Fold, PlannedCell, budget_text
from ..schema.provenance import peak_memory_mb
from ..schema.records import ContentHashes, ImageCounts, PredictionArrays, Record, RecordStore
from ..training import subsets
from ..training.device_data import DeviceSplits, FoldSplits, PooledSplits
from ..training.loop import retry_in_parts
from ..training.metrics import MetricValues, Predictions, compute_metrics, metric_facts
from ..training.protocol import PROTOCOLS, EvalContext, ProtocolResult
from ..training.thresholds import validation_thresholds
from .kept_models import NO_MODEL_NOTE, keep_model, keeps_model
from .new_record import add_job_facts, init_facts, new_record
from .planner import ResolvedPlan
from .same_result import find_same_result, repeat_result
from .task_folds import TaskFolds

_LOG = logging.getLogger(__name__)
CACHED_WEIGHTS_NOTE = "these weights were made by an earlier run and taken from the cache"


class CellRunner:
    """Computes the cells of one plan; keeps the last task in memory, since cells come sorted."""

    def __init__(self, resolved: ResolvedPlan, device: str) -> None:
        self.resolved, self.device = resolved, device
        self.data = functools.lru_cache(maxsize=1)(self._load_task)
        self.may_write: Callable[[], bool] = lambda: True
        """Whether the cell is still this process's; a network of another process's cell is not kept."""

    def compute(
        self, planned: PlannedCell, needs: Sequence[Record] = ()
    ) -> tuple[Record, PredictionArrays | None]:
        """Return a cell's record and predictions, given the ok records that it depends on."""
        started = time.perf_counter()
        if planned.cell.step == "pretrain":
            record, predictions = self._pretrain(planned), None
        else:
            (record, predictions), parts = retry_in_parts(lambda parts: self._evaluate(planned, needs, parts))
            record = msgspec.structs.replace(record, notes=(*_parts_note(parts), *record.notes))
        seconds = record.seconds or time.perf_counter() - started
        return msgspec.structs.replace(
            record, seconds=seconds, peak_memory_mb=peak_memory_mb(self.device)
        ), predictions

    def _evaluate(
        self, planned: PlannedCell, needs: Sequence[Record], parts: int
    ) -> tuple[Record, PredictionArrays]:
        """Compute a score cell with each batch cut into `parts`."""
        job = replace(self._eval_context(planned.cell), parts=parts)
        if planned.cell.longer:
            rates = tuple(choice.value for record in needs for choice in record.choices)
            job = replace(job, recipe=msgspec.structs.replace(job.recipe, lr_grid=rates))
        elif same := find_same_result(job, needs, RecordStore(self.resolved.request.folder)):
            twin, predictions = same
            record = add_job_facts(self._new_record(planned), job, twin.choices, twin.hashes.weights)
            return repeat_result(record, twin), predictions
        return self._score(planned, job)

    def failed_record(self, planned: PlannedCell, error: str, seconds: float) -> Record:
        """Return the record of a cell that could not be computed."""
        return msgspec.structs.replace(
            self._new_record(planned), status="failed", error=error, seconds=seconds
        )

    def _new_record(self, planned: PlannedCell) -> Record:
        return new_record(self.resolved, planned, self.device)

    def _load_task(self, task: str, size: int) -> DeviceSplits | TaskFolds:
        card = self.resolved.tasks[task]
        _LOG.debug(f"reading the images of {task} at {size} px")
        self.resolved.check_unchanged(card, size)
        splits = card.source.load(size, self.resolved.places)
        fingerprint = self.resolved.check_unchanged(card, size)  # may have changed while reading
        processes = max(1, self.resolved.request.per_gpu)
        if share := self.resolved.val_shares.get(task):  # folds hold no copies that `--dedupe` could drop
            pooled = PooledSplits(splits, fingerprint, self.device, processes=processes)
            return TaskFolds(pooled, share)
        found, dedupe = copies_in(card, splits, fingerprint), self.resolved.request.dedupe
        splits = without_copies(card, splits, found, dedupe) if dedupe else splits
        identity = data_identity(fingerprint, dedupe)
        return DeviceSplits(splits, identity, self.device, found.after(dedupe), processes)

    def _choose_data(self, cell: Cell) -> tuple[DeviceSplits, subsets.LabelSubset]:
        """Return the splits of a cell and the labels that it may use."""
        data = self.data(cell.task, cell.size)
        if isinstance(data, TaskFolds):
            return data.choose_data(cell)
        train, val = data.splits["train"], data.splits["val"]
        return data, subsets.choose_subset(train, val, cell.labels, cell.seed, bool(cell.resampled))

    def _eval_context(self, cell: Cell) -> EvalContext:
        data, subset = self._choose_data(cell)
        fold = f"-fold{cell.view.index + 1}of{cell.view.folds}" if isinstance(cell.view, Fold) else ""
        # with part of the hash: the data may change between runs into one directory
        budget = budget_text(cell.fraction).replace(" ", "-")
        name = f"{cell.task}-{cell.size}px-{budget}-seed{cell.seed}{fold}-{subset.digest[7:15]}"
        subsets.write_manifest(self.resolved.request.folder, name, subset)
        return EvalContext(
            cell=cell,
            task=self.resolved.tasks[cell.task],
            data=data,
            subset=subset,
            card=self._init_card(cell),
            recipe=self.resolved.request.recipe_for(cell),
            device=self.device,
            cache=scratch_folder(),
            cuda_graphs=self.resolved.request.cuda_graphs,
        )

    def _init_card(self, cell: Cell) -> InitCard:
        """Return a cell's init; weights pretrained here get the hash from their pretraining."""
        card = self.resolved.card(cell)
        if card.pretraining is None or card.file is None:
            return card
        facts = read_pretrain_facts(card.file)
        if facts is None:
            raise UserError(
                f"The weights of {card.name} in {card.file} are damaged or gone: run the same command again "
                "to make them anew."
            )
        return replace(card, sha256=facts.sha256)

    def _score(self, planned: PlannedCell, job: EvalContext) -> tuple[Record, PredictionArrays]:
        result = PROTOCOLS[job.cell.protocol].score(job)
        test = job.data.splits["test"]
        test_metrics = self._compute_metrics(job, test.labels, result.test_scores)
        val_metrics = self._compute_metrics(job, job.labels("val"), result.val_scores)
        beside = {
            rule: self._compute_metrics(job, test.labels, scores).values
            for rule, scores in result.beside.items()
        }
        record = msgspec.structs.replace(
            add_job_facts(self._new_record(planned), job, result.choices, result.weights),
            metrics=test_metrics.values,
            undefined=test_metrics.undefined,
            metric_facts=metric_facts(),
            per_class=test_metrics.per_class,
            val_metrics=val_metrics.values,
            thresholds=self._thresholds(job, result.val_scores),
            beside=beside,
            curve=result.curve,
            notes=(*result.notes, *self._contract_warnings(job)),
            similarity=result.similarity,
            parameters=result.parameters,
            passes=result.passes,
        )
        kept = self.resolved.request.keep_models == "final" and keeps_model(planned.cell)
        if kept and self.may_write():
            record = self._keep_model(record, job, result)
        arrays: PredictionArrays = {"labels": test.labels, "scores": result.test_scores.astype(np.float32)}
        arrays |= {f"scores, {name}": scores.astype(np.float32) for name, scores in result.beside.items()}
        arrays |= {f"column {name}": values for name, values in test.columns.items()}
        arrays |= {"rows": job.data.rows.test} if isinstance(job.data, FoldSplits) else {}
        return record, arrays if test.groups is None else {**arrays, "groups": test.groups}

    def _thresholds(
        self, job: EvalContext, scores: NDArray[np.float64]
    ) -> dict[str, dict[str, dict[str, float]]]:
        """Choose the thresholds of a cell on its validation labels."""
        groups = job.data.splits["val"].groups
        groups = None if groups is None else groups[job.subset.val]
        task, labels = job.task, job.labels("val")
        return validation_thresholds(task.kind, task.classes, labels, scores, groups, task.patient_score)

    def _keep_model(self, record: Record, job: EvalContext, result: ProtocolResult) -> Record:
        """Write the network of a cell; return the record with its hash, or a note that there is none."""
        if result.model is None:
            return msgspec.structs.replace(record, notes=(*record.notes, NO_MODEL_NOTE))
        digest = keep_model(result.model, job, record.key, RecordStore(self.resolved.request.folder))
        return msgspec.structs.replace(record, model=digest)

    def _contract_warnings(self, job: EvalContext) -> tuple[str, ...]:
        """Return doubts about the input contract of weights that were not trained here."""
        if job.card.file is None or job.card.pretraining:
            return ()
        return preprocessing_warnings(job.card, job.cell.arch, job.cell.input_size)

    def _compute_metrics(
        self, job: EvalContext, labels: NDArray[np.int64], scores: NDArray[np.float64]
    ) -> MetricValues:
        if not np.isfinite(scores).all():
            raise ValueError("the network's predictions are not numbers")
        truth = subsets.one_hot(labels, len(job.task.classes))
        # float32 first: metrics are those of the stored scores, so a reader can recompute them
        predictions = Predictions(job.task.kind, truth, scores.astype(np.float32).astype(float))
        return compute_metrics(predictions, job.task.classes)

    def _pretrain(self, planned: PlannedCell) -> Record:
        card = self.resolved.pretraining(planned.cell)
        if card.pretraining is None or card.file is None:
            raise AssertionError("a pretrain cell has a pretraining")
        cached = find_pretrain_facts(card.file) is not None
        facts = read_pretrain_facts(card.file) or self._make_weights(planned, card.pretraining, card.file)
        plan, images = card.pretraining, sum(facts.images.values())
        return msgspec.structs.replace(
            self._new_record(planned),
            metrics={f"held-out auc: {name}": score for name, score in facts.scores.items()},
            curve=facts.curve,
            counts=ImageCounts(train=images, val=0, test=0, train_per_class=(), val_per_class=()),
            hashes=ContentHashes(weights=f"sha256:{facts.sha256}"),
            init=init_facts(card, None),
            seconds=facts.seconds,
            notes=(
                *((CACHED_WEIGHTS_NOTE,) if cached else ()),
                *_parts_note(facts.parts),
                *_unshown_note(plan.images, images),
                *facts.notes,
            ),
        )

    def _make_weights(self, planned: PlannedCell, plan: PretrainPlan, weights: Path) -> PretrainFacts:
        """Pretrain, or take from the cache, and put the weights into the run directory.

        Raises:
            StoppedError: finished cells of this run used other weights, or the data changed.
        """
        request, places, cached = self.resolved.request, self.resolved.places, cached_weights(weights)

        def check_data() -> None:
            for task, size in zip(plan.sources, plan.sizes, strict=True):
                self.resolved.check_unchanged(task, size)

        if read_pretrain_facts(cached) is None:
            check_data()
        # checked again: data may change while waiting for another process, or while reading
        facts = pretrain_automatic(
            plan, request.recipe, places, self.device, cached, check_data, request.cuda_graphs
        )
        earlier = RecordStore(request.folder).read(planned.key)
        if earlier and earlier.hashes.weights not in ("", f"sha256:{facts.sha256}"):
            raise StoppedError(
                f"{cached} is not what {weights} was, with which finished cells were computed: put that file "
                "back, or name another --out."
            )
        if self.may_write():
            copy_from_cache(weights)
        return facts


def _parts_note(parts: int) -> tuple[str, ...]:
    """Return the note that each batch was cut into parts; empty for one part."""
    return (f"memory was short: each batch was accumulated in {parts} parts",) if parts > 1 else ()


def _unshown_note(asked: int, shown: int) -> tuple[str, ...]:
    """Return the note that a pretraining ended before it had shown every image; empty if it showed all."""
    if shown >= asked:
        return ()
    return (f"only {shown:,} of {asked:,} images were shown: --pretrain-images is too low for all of them",)
