"""`run`, `plan` and `parity`: the commands that plan or compute cells."""

import shlex
from collections.abc import Callable
from pathlib import Path

import click

from ...benchmark import parity, run, schema
from ...core.errors import StoppedError
from ...core.files import cache_folder, sweep, writable_folder
from ...core.progress import duration, show_downloads
from .. import options, show
from .command import BenchCommand, ParsedValues, echo, say
from .report import write_report


def run_command(values: ParsedValues) -> int:
    """Compute all cells without a record, then write the report."""
    folder = Path(values["out"])
    store = schema.records.RecordStore(folder)
    grid = _resolve_plan(values, lambda: (writable_folder(folder), store.refuse_old_format()))
    sweep(folder)
    sweep(cache_folder())
    rules = run.scheduler.ResumeRules(values["overwrite"], values["limit"])
    waiting = run.scheduler.pending_cells(grid, store, rules)
    if waiting:
        device = run.preflight.resolve_device(grid.request.device)
        checks = (run.preflight.check_before_run, run.preflight.equal_fraction_warnings)
        for warning in (warning for check in checks for warning in check(grid, waiting)):
            say(f"warning: {warning}")
        for sentence in run.preflight.dedupe_sentences(grid, waiting):
            say(sentence)
        grid.plan.write(folder)  # only now: a refused request keeps the last plan
        share = f"{len(waiting)} of {len(grid.plan.cells)}"
        say(f"{share} cells to compute on {device}; records in {folder}/records")
        run.executor.execute_cells(grid, waiting, rules.for_new_run(waiting, store), values["jobs"], device)
        run.scheduler.check_folder(folder)
    else:
        grid.plan.write(folder)
        say(f"All {len(grid.plan.cells)} cells have their records in {folder}: nothing to compute.")
    done = list(run.scheduler.finished_records(grid.plan.cells, store))
    if lost := {planned.key for planned in waiting} - {record.key for record in done}:
        raise StoppedError(
            f"{len(lost)} records of {folder} were removed meanwhile: run the same command again."
        )
    copies = [(record.cell.task, record.copies.sentence) for record in done if record.copies]
    for task, sentence in dict.fromkeys(copies):
        if sentence:
            say(f"warning: {task}: {sentence}")
    if values["report"]:
        try:
            write_report([folder], None, values["margin"])
        finally:  # if the folder was removed, say this rather than that records are missing
            run.scheduler.check_folder(folder)
    failed = [record for record in done if record.status != "ok"]
    for record in failed[:5]:
        say(f"failed: {record.cell.task} {record.cell.init} {record.cell.protocol_label}: {record.error}")
    if failed:
        say(f"{len(failed)} cells failed; their tracebacks are in {folder}/logs. Run again to retry them.")
    return 1 if failed else 0


def plan_command(values: ParsedValues) -> int:
    """Print a run's cells, which are done, and the time left."""
    store = schema.records.RecordStore(Path(values["out"]))
    grid = _resolve_plan(values, store.refuse_old_format)
    waiting = run.scheduler.pending_cells(grid, store, run.scheduler.ResumeRules())
    if not values["estimate_only"]:
        echo(show.plan.plan_text(grid, waiting))
    if waiting:
        device = run.preflight.resolve_device(grid.request.device)
        estimate = run.estimate.estimate_seconds(grid, waiting, device, values["jobs"])
        cells = f"{len(waiting)} of {len(grid.plan.cells)} cells"
        for warning in run.preflight.equal_fraction_warnings(grid, waiting):
            say(f"warning: {warning}")
        echo(f"{cells} on {device}: between {duration(estimate.low)} and {duration(estimate.high)}")
    else:
        echo(f"all {len(grid.plan.cells)} cells have their records")
    return 0


def parity_command(values: ParsedValues) -> int:
    """Repeat a published STUDY and compare each value.

    STUDY is medmnist-v2 or medmnist-plus; a value is IN or OUT of the tolerance.
    """
    study = parity.study.study_of(values["study"])
    arguments = parity.run_arguments.run_arguments(study, values)
    say(f"Parity is this run: mednet-bench run {shlex.join(arguments)}")
    run_values = RUN.make_context("run", arguments).params
    run_command(run_values)  # a cell that failed is a missing value below
    result = parity.outcome.outcome_of(study, Path(run_values["out"]))
    parity.outcome.write_parity(result, Path(run_values["out"]))
    echo(parity.outcome.parity_text(result))
    return result.exit_code


def _resolve_plan(
    values: ParsedValues, ready: Callable[[], object] = lambda: None
) -> "run.planner.ResolvedPlan":
    request = options.request_of(values)
    with show_downloads() as progress:
        return run.resolve.resolve_request(request, progress, ready)


def _parity_params() -> list[click.Parameter]:
    """Return the parameters of `parity`; none of them changes the protocol."""
    tasks = "Tasks as for run; default breastmnist, with a GPU also pneumoniamnist and retinamnist."
    archs = "resnet18_cifar or resnet50_cifar for medmnist-v2; resnet18 or densenet121 for medmnist-plus."
    weights = "File with timm's ImageNet weights, for medmnist-plus and one arch."
    return [
        click.Argument(["study"]),
        click.Option(["--tasks"], default="", help=tasks),
        click.Option(["--archs"], default="", help=archs),
        options.size_option(),
        options.option("--seeds", "Random seeds, like 0..4 or 0,1,2.", default="0..2"),
        click.Option(["--out"], default="", help="Run directory; runs/parity-STUDY by default."),
        click.Option(["--imagenet"], type=options.PATH, help=weights),
        options.data_root_option(),
        options.download_option(),
        options.device_option(),
        options.jobs_option(),
    ]


_GRID = options.run_options()
_PLAN = {
    **_GRID,
    "Output": [*_GRID["Output"], options.flag_option("--estimate-only", "Print only the time left.")],
}
RUN = BenchCommand(run_command, _GRID, "mednet-bench run --tasks all --inits mednet,imagenet,scratch")
COMPUTE_COMMANDS = (
    RUN,
    BenchCommand(plan_command, _PLAN, "mednet-bench plan --tasks available --protocols linear"),
    BenchCommand(parity_command, _parity_params(), "mednet-bench parity medmnist-v2"),
)
