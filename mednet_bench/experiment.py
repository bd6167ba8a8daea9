"""A whole run: resolve the configuration, check before the first cell, compute what is missing."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec

from .benchmark import run  # its modules that need torch are imported on first use
from .benchmark.run.planner import ResolvedPlan
from .benchmark.run.resolve import resolve_request
from .benchmark.run.scheduler import ResumeRules, check_folder, finished_records, pending_cells
from .benchmark.schema.plan import Cell, PlannedCell
from .benchmark.schema.records import Record, RecordStore
from .benchmark.schema.request import RunConfig
from .benchmark.training.protocol import PROTOCOLS
from .core.errors import StoppedError
from .core.files import cache_folder, sweep, writable_folder
from .core.progress import show_downloads
from .reports.analysis.verdicts import detectable_difference
from .reports.elements.format import count_noun
from .reports.statistics.planned_power import planned_difference
from .tasks.task import SPLITS, Task

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class PlannedRun:
    """A plan, and the cells of it that have no record yet."""

    resolved: ResolvedPlan
    waiting: list[PlannedCell]
    device: str | None
    """Torch device on which the waiting cells would be computed; None where none is waiting."""

    @property
    def cells(self) -> tuple[PlannedCell, ...]:
        """All cells."""
        return self.resolved.plan.cells

    def cell_facts(self) -> list[dict[str, Any]]:
        """Return the key and the fields of every cell, and its `state`, "done" or "to do"."""
        waiting = {planned.key for planned in self.waiting}
        unset = dict.fromkeys(Cell.__struct_encode_fields__)  # to_builtins leaves these out
        return [
            {
                "key": planned.key,
                "state": "to do" if planned.key in waiting else "done",
                **unset,
                **msgspec.to_builtins(planned.cell),
                "protocol_label": planned.cell.protocol_label,
                "needs": planned.needs,
            }
            for planned in self.cells
        ]

    def training_facts(self) -> list[dict[str, Any]]:
        """Return the steps and passes of a training, per task and label fraction."""
        request = self.resolved.request
        recipe = request.recipe
        trained = {name for name in request.protocols if "passes" in PROTOCOLS[name].recipe_fields}
        cells = (planned.cell for planned in self.cells if planned.cell.protocol in trained)
        found = []
        for name, size, fraction in dict.fromkeys((cell.task, cell.size, cell.fraction) for cell in cells):
            n_train = max(1, round(self._split_sizes[name, size][0] * fraction))
            steps = recipe.steps_for(n_train)
            passes = steps * recipe.batch_size / n_train
            found.append(
                {"task": name, "fraction": fraction, "n_train": n_train, "steps": steps, "passes": passes}
            )
        return found

    def power_facts(self) -> list[dict[str, Any]]:
        """Return the minimum detectable difference of AUC per task, as `planned_difference` assumes.

        It is None with a single seed, and is that of one task: those of a page are corrected together.
        """
        seeds, found = len(self.resolved.request.seeds), []
        for (name, _), (_, _, n_test) in self._split_sizes.items():
            measured = planned_difference(n_test, seeds)
            least = detectable_difference(measured) if seeds > 1 else None
            found.append({"task": name, "n_test": n_test, "n_seeds": seeds, "detectable": least})
        return found

    @cached_property
    def _split_sizes(self) -> dict[tuple[str, int], Sequence[int]]:
        """Images of train, val and test by (task, stored size); a task whose card lacks them is read once."""
        scored = (planned.cell for planned in self.cells if planned.cell.step == "score")
        places = dict.fromkeys((cell.task, cell.size) for cell in scored)
        return {(name, size): self._count_images(self.resolved.tasks[name], size) for name, size in places}

    def _count_images(self, task: Task, size: int) -> Sequence[int]:
        if task.split_sizes:
            return task.split_sizes
        splits = task.source.load(size, self.resolved.places)
        return [len(splits[name]) for name in SPLITS]

    def warnings(self) -> list[str]:
        """Return doubts about the waiting cells."""
        about_weights = run.preflight.weights_warnings(self.resolved)
        if not self.waiting:
            return about_weights
        return about_weights + run.preflight.equal_fraction_warnings(self.resolved, self.waiting)

    def estimate(self) -> "run.estimate.SecondsRange | None":
        """Estimate the time that the waiting cells take, after timing every network; None without any."""
        if self.device is None:
            return None
        jobs = self.resolved.request.jobs
        return run.estimate.estimate_seconds(self.resolved, self.waiting, self.device, jobs)


def plan_run(config: RunConfig) -> PlannedRun:
    """Return the cells of a run, and which of them have no record yet; missing data are downloaded.

    Raises:
        UserError: a name is unknown, or weights or data are unavailable.
    """
    store = RecordStore(config.folder)
    resolved = _resolve(config, store.refuse_old_format)
    waiting = pending_cells(resolved, store, ResumeRules())
    return PlannedRun(resolved, waiting, run.preflight.resolve_device(config.device) if waiting else None)


def compute_run(
    config: RunConfig, on_record: Callable[[Record], object] = lambda record: None
) -> list[Record]:
    """Compute the cells of a run that have no record yet, and return the records of all.

    Args:
        config: the options.
        on_record: called with each new record, for instance to log it elsewhere.

    Raises:
        UserError: a name is unknown, or weights or data are unavailable.
        StoppedError: the disk is full, or the run directory was removed.
    """
    folder = config.folder
    store = RecordStore(folder)
    resolved = _resolve(config, lambda: (writable_folder(folder), store.refuse_old_format()))
    sweep(folder)
    sweep(cache_folder())
    rules = ResumeRules(config.overwrite, config.limit)
    waiting = pending_cells(resolved, store, rules)
    if waiting:
        device = run.preflight.resolve_device(config.device)
        _check(resolved, waiting)
        resolved.plan.write(folder)  # only now: a refused request keeps the last plan
        share = f"{len(waiting)} of {len(resolved.plan.cells)}"
        _LOG.info(f"{share} cells to compute on {device}; records in {folder}/records")
        new_rules = rules.for_new_run(waiting, store)
        run.executor.execute_cells(resolved, waiting, new_rules, config.jobs, device, on_record)
        check_folder(folder)
    else:
        resolved.plan.write(folder)
        _LOG.info(f"All {len(resolved.plan.cells)} cells have their records in {folder}: nothing to compute.")
    done = list(finished_records(resolved.plan.cells, store))
    if lost := {planned.key for planned in waiting} - {record.key for record in done}:
        raise StoppedError(
            f"{len(lost)} records of {folder} were removed meanwhile: run the same command again."
        )
    copies = [(record.cell.task, record.copies.sentence) for record in done if record.copies]
    for task, sentence in dict.fromkeys(copies):
        if sentence:
            _LOG.warning(f"warning: {task}: {sentence}")
    return done


def log_failures(failed: Sequence[Record], config: RunConfig) -> None:
    """Name the first failed cells of a run, and how many there are."""
    for record in failed[:5]:
        cell = record.cell
        _LOG.error(f"failed: {cell.task} {cell.init} {cell.protocol_label}: {record.error}")
    if failed:
        logs = config.folder / "logs"
        lost = count_noun(len(failed), "cell")
        _LOG.error(f"{lost} failed; tracebacks are in {logs}. Run again to retry.")


def _check(resolved: ResolvedPlan, waiting: list[PlannedCell]) -> None:
    """Log warnings and notes about a run; `UserError` where it cannot work."""
    for warning in run.preflight.weights_warnings(resolved):
        _LOG.warning(f"warning: {warning}")
    for check in (run.preflight.check_before_run, run.preflight.equal_fraction_warnings):
        for warning in check(resolved, waiting):
            _LOG.warning(f"warning: {warning}")
    for sentence in run.preflight.dedupe_sentences(resolved, waiting):
        _LOG.info(sentence)


def _resolve(config: RunConfig, ready: Callable[[], object]) -> ResolvedPlan:
    with show_downloads() as progress:
        return resolve_request(config, progress, ready)
