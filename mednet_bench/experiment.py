"""A whole run: resolve the configuration, check before the first cell, compute what is missing."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from .benchmark import run  # its modules that need torch are imported on first use
from .benchmark.run.planner import ResolvedPlan
from .benchmark.run.resolve import resolve_request
from .benchmark.run.scheduler import ResumeRules, check_folder, late_records, pending_cells
from .benchmark.run.waiting_run import WaitingRun
from .benchmark.schema.plan import Cell, LabelsPerClass, PlannedCell
from .benchmark.schema.records import Record, RecordStore
from .benchmark.schema.request import RunConfig
from .benchmark.training.protocol import PROTOCOLS
from .benchmark.training.subsets import subset_size
from .core.cache_limit import cache_limit
from .core.errors import StoppedError, UserError
from .core.files import cache_folder, scratch_folder, writable_folder
from .core.hardware import process_count
from .core.leases import lease_seconds, sweep
from .core.progress import show_downloads
from .reports.analysis.verdicts import detectable_difference
from .reports.elements.format import count_noun
from .reports.statistics.planned_power import planned_difference

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
        """Return the steps, validations and passes of a training, per task and label fraction."""
        request = self.resolved.request
        recipe = request.recipe
        trained = {name for name in request.protocols if "passes" in PROTOCOLS[name].recipe_fields}
        cells = (planned.cell for planned in self.cells if planned.cell.protocol in trained)
        found = []
        for name, size, labels in dict.fromkeys((cell.task, cell.size, cell.labels) for cell in cells):
            sizes, task = self.resolved.split_sizes(name, size), self.resolved.tasks[name]
            n_train, n_val = (subset_size(task, count, labels) for count in sizes[:2])
            steps = recipe.steps_for(n_train)
            found.append(
                {
                    "task": name,
                    "fraction": None if isinstance(labels, LabelsPerClass) else labels,
                    "shots": labels.count if isinstance(labels, LabelsPerClass) else None,
                    "n_train": n_train,
                    "steps": steps,
                    "validations": recipe.validations_for(n_train, n_val),
                    "passes": steps * recipe.batch_size / n_train,
                }
            )
        return found

    def power_facts(self) -> list[dict[str, Any]]:
        """Return the minimum detectable difference of AUC per task, as `planned_difference` assumes.

        It is None with a single seed, and is that of one task: those of a page are corrected together. With
        folds every image is a test image, and a repeat counts as a seed.
        """
        request, found = self.resolved.request, []
        scored = (planned.cell for planned in self.cells if planned.cell.step == "score")
        for name, size in dict.fromkeys((cell.task, cell.size) for cell in scored):
            sizes = self.resolved.split_sizes(name, size)
            folds = self.resolved.folds if name in self.resolved.val_shares else 0
            seeds = len(request.repeat_seeds if folds else request.seeds)
            n_test = sum(sizes) if folds else sizes[2]
            measured = planned_difference(n_test, seeds, bool(folds))
            least = detectable_difference(measured) if seeds > 1 else None
            found.append(
                {"task": name, "n_test": n_test, "n_seeds": seeds, "folds": folds, "detectable": least}
            )
        return found

    def warnings(self) -> list[str]:
        """Return doubts about the waiting cells; `UserError` for tasks with too few patients for folds."""
        return [*_warnings(self.resolved, self.waiting)]

    def estimate(self) -> "run.estimate.PlanEstimate | None":
        """Estimate what the waiting cells take, after timing every network; None without any."""
        if self.device is None:
            return None
        jobs = _count_processes(self.resolved.request, self.device)
        return run.estimate.estimate_plan(self.resolved, self.waiting, self.device, jobs)

    def kept_models_gb(self) -> float:
        """Estimate the disk space of the networks that the waiting cells keep, in gigabytes."""
        return run.kept_models.kept_bytes(self.resolved, self.waiting) / 1e9


def plan_run(config: RunConfig, from_cards: bool = False) -> PlannedRun:
    """Return the cells of a run, and which of them have no record yet; missing data are downloaded.

    Args:
        config: the options.
        from_cards: download nothing; what can be downloaded counts as present.

    Raises:
        UserError: a name is unknown, or weights or data are unavailable.
    """
    store = RecordStore(config.folder)
    resolved = _resolve(config, store.refuse_old_format, from_cards)
    waiting = pending_cells(resolved, store, ResumeRules())
    if not waiting:
        return PlannedRun(resolved, waiting, None)
    elsewhere = run.executor.check_executor(config).elsewhere
    # the machines that will compute are not known: the estimate is for as many of this kind
    device = run.preflight.resolve_device("auto" if elsewhere else config.device)
    return PlannedRun(resolved, waiting, device)


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
    folder, store = config.folder, RecordStore(config.folder)
    ready, kept = _prepare(config)
    if ready.waiting:
        run.executor.EXECUTORS[config.executor].execute(ready, on_record)
        check_folder(folder)
        if sentence := late_records(store, ready.rules.run):
            _LOG.warning(f"warning: {sentence}")
    records = (kept.get(planned.key) or store.read(planned.key) for planned in ready.resolved.plan.cells)
    done = [record for record in records if record]
    if lost := {planned.key for planned in ready.waiting} - {record.key for record in done}:
        raise StoppedError(
            f"{len(lost)} records of {folder} were removed meanwhile: run the same command again."
        )
    copies = [(record.cell.task, record.copies.sentence) for record in done if record.copies]
    for task, sentence in dict.fromkeys(copies):
        if sentence:
            _LOG.warning(f"warning: {task}: {sentence}")
    return done


def submit_run(config: RunConfig, print_only: bool = False) -> str:
    """Hand the cells of a run that have no record yet to other machines; return a sentence about it.

    Args:
        config: the options; its executor must be one of other machines.
        print_only: return the script that would be submitted instead.

    Raises:
        UserError: as `compute_run`, or the scheduler refused.
    """
    executor = run.executor.check_executor(config)
    if executor.submit is None:
        raise UserError(f"--executor {config.executor} submits nothing: pass --executor slurm.")
    ready, _ = _prepare(config)
    return executor.submit(ready, print_only) if ready.waiting else ""


def _prepare(config: RunConfig) -> tuple[WaitingRun, dict[str, Record]]:
    """Resolve and check a run, and write its plan; return it, and the records of cells that do not wait."""
    folder = config.folder
    store = RecordStore(folder)
    cache_limit()  # a wrong value is an error now, not in every cell
    lease_seconds()
    if config.executor != RunConfig().executor:  # imports torch, which a finished run does not need
        run.executor.check_executor(config)  # before downloads
    resolved = _resolve(config, lambda: (writable_folder(folder), store.refuse_old_format()))
    sweep(folder)
    for place in {cache_folder(), scratch_folder()}:
        sweep(place)
    rules, device, jobs = ResumeRules(config.overwrite, config.limit), "", 0
    kept: dict[str, Record] = {}
    waiting = pending_cells(resolved, store, rules, kept)
    if sentence := run.kept_models.missing_models(config, kept.values(), store):
        _LOG.warning(f"warning: {sentence}")
    if waiting:
        elsewhere = run.executor.check_executor(config).elsewhere
        device = "" if elsewhere else run.preflight.resolve_device(config.device)
        jobs = _count_processes(config, device)  # `UserError` before the checks
        _check(resolved, waiting)
        resolved.plan.write(folder)  # only now: a refused request keeps the last plan
        if not elsewhere:
            _log_estimate(PlannedRun(resolved, waiting, device))
        rules = rules.for_new_run(waiting, store)
    else:
        resolved.plan.write(folder)
        _LOG.info(f"All {len(resolved.plan.cells)} cells have their records in {folder}: nothing to compute.")
    return WaitingRun(resolved, waiting, rules, jobs, device), kept


def _count_processes(config: RunConfig, device: str) -> int:
    if run.executor.EXECUTORS[config.executor].elsewhere:
        return config.workers
    return process_count(device, config.jobs, config.per_gpu)


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
    for warning in _warnings(resolved, waiting, run.preflight.check_before_run):
        _LOG.warning(f"warning: {warning}")
    for sentence in run.preflight.dedupe_sentences(resolved, waiting):
        _LOG.info(sentence)


_Check = Callable[[ResolvedPlan, list[PlannedCell]], list[str]]


def _warnings(resolved: ResolvedPlan, waiting: list[PlannedCell], *checks: _Check) -> Iterator[str]:
    """Yield doubts about the weights, then about the waiting cells, as `PlannedRun.warnings`."""
    yield from run.preflight.weights_warnings(resolved)
    of_cells = (run.task_folds.fold_warnings, *checks, run.preflight.equal_fraction_warnings)
    for check in of_cells if waiting else ():
        yield from check(resolved, waiting)


def _log_estimate(planned: PlannedRun) -> None:
    """Log what a run takes and where its records go; a measurement that fails stops no run."""
    cells = f"{len(planned.waiting)} of {len(planned.cells)} cells on {planned.device}"
    records = f"; records in {planned.resolved.request.folder}/records"
    try:
        estimate = planned.estimate()
    except Exception as error:  # such as short memory: the cells say it with their own cure
        _LOG.info(f"{cells}: no estimate of the time ({error}){records}")
        return
    if estimate:
        first, *details = run.estimate.describe_estimate(estimate, cells)
        _LOG.info(first + records)
        for line in details:
            _LOG.debug(line)


def _resolve(config: RunConfig, ready: Callable[[], object], from_cards: bool = False) -> ResolvedPlan:
    with show_downloads() as progress:
        return resolve_request(config, progress, ready, from_cards)
