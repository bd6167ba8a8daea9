"""`run`, `plan` and `parity`: the commands that compute cells, or say what they would compute."""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ...benchmark.parity.study import study_of
from ...core.errors import StoppedError
from .. import options
from .command import BenchCommand, ParsedValues, download_display, echo, say
from .report import write_report

if TYPE_CHECKING:  # what computes is imported by the command that needs it
    from ...benchmark.run.planner import ResolvedPlan


def run_command(values: ParsedValues) -> int:
    """Run every cell of the grid that has no record yet, then write the report."""
    from ...benchmark.run import scheduler
    from ...benchmark.schema.records import RecordStore
    from ...core.files import cache_folder, sweep, writable_folder

    folder = Path(values["out"])
    grid = _resolved(values, lambda: writable_folder(folder))
    store = RecordStore(folder)
    store.refuse_old_format()
    sweep(folder)
    sweep(cache_folder())
    rules = scheduler.ResumeRules(values["overwrite"], values["limit"])
    waiting = scheduler.pending_cells(grid, store, rules)
    if waiting:
        from ...benchmark.run.executor import execute_cells
        from ...benchmark.run.preflight import (
            check_before_run,
            dedupe_sentences,
            equal_fraction_warnings,
            resolve_device,
        )

        device = resolve_device(grid.request.device)
        for doubt in (*check_before_run(grid, waiting), *equal_fraction_warnings(grid, waiting)):
            say(f"warning: {doubt}")
        for sentence in dedupe_sentences(grid, waiting):
            say(sentence)
        grid.plan.write(folder)  # only now: a request that cannot be carried out leaves the last plan alone
        share = f"{len(waiting)} of {len(grid.plan.cells)}"
        say(f"{share} cells to compute on {device}; records in {folder}/records")
        execute_cells(grid, waiting, rules.for_new_run(waiting, store), values["jobs"], device)
        scheduler.check_folder(folder)
    else:
        grid.plan.write(folder)
        say(f"All {len(grid.plan.cells)} cells have their records in {folder}: nothing to compute.")
    done = list(scheduler.finished_records(grid.plan.cells, store))
    if lost := {planned.key for planned in waiting} - {record.key for record in done}:
        raise StoppedError(
            f"{len(lost)} records of {folder} were removed meanwhile: run the same command again."
        )
    failed = [record for record in done if record.status != "ok"]
    for sentence in dict.fromkeys(
        f"{record.cell.task}: {record.copies.sentence}"
        for record in done
        if record.copies and record.copies.sentence
    ):
        say(f"warning: {sentence}")
    if values["report"]:
        try:
            write_report([folder], None, values["margin"])
        finally:  # what it says of a folder without records is no cure, and what it wrote is all that is left
            scheduler.check_folder(folder)
    for record in failed[:5]:
        say(f"failed: {record.cell.task} {record.cell.init} {record.cell.protocol}: {record.error}")
    if failed:
        say(f"{len(failed)} cells failed; their tracebacks are in {folder}/logs. Run again to retry them.")
    return 1 if failed else 0


def plan_command(values: ParsedValues) -> int:
    """Print the grid of cells, what has been done of it, and an estimate of the rest."""
    from ...benchmark.run import scheduler
    from ...benchmark.schema.records import RecordStore
    from ..show.plan import plan_text

    grid = _resolved(values)
    waiting = scheduler.pending_cells(grid, RecordStore(grid.request.folder), scheduler.ResumeRules())
    if not values["estimate_only"]:
        echo(plan_text(grid, waiting))
    if waiting:
        from ...benchmark.run.estimate import estimate_seconds
        from ...benchmark.run.preflight import equal_fraction_warnings, resolve_device
        from ...core.progress import duration

        device = resolve_device(grid.request.device)
        took = estimate_seconds(grid, waiting, device, values["jobs"])
        cells = f"{len(waiting)} of {len(grid.plan.cells)} cells"
        for doubt in equal_fraction_warnings(grid, waiting):
            say(f"warning: {doubt}")
        echo(f"{cells} on {device}: between {duration(took.low)} and {duration(took.high)}")
    else:
        echo(f"all {len(grid.plan.cells)} cells have their records")
    return 0


def parity_command(values: ParsedValues) -> int:
    """Repeat what a STUDY (medmnist-v2, medmnist-plus) published, and judge each value as IN or OUT."""
    from ...benchmark.parity import outcome
    from ...benchmark.parity.run_arguments import run_arguments

    study = study_of(values["study"])
    arguments = run_arguments(study, values)
    say(f"Parity is this run: mednet-bench run {shlex.join(arguments)}")
    run_values = RUN.make_context("run", arguments).params
    run_command(run_values)  # a cell that failed is a value that is missing below
    found = outcome.outcome_of(study, Path(run_values["out"]))
    outcome.write_parity(found, Path(run_values["out"]))
    echo(outcome.parity_text(found))
    return found.exit_code


def _resolved(values: ParsedValues, ready: Callable[[], object] = lambda: None) -> "ResolvedPlan":
    from ...benchmark.run.resolve import resolve_request

    request = options.request_of(values)
    with download_display() as progress:
        return resolve_request(request, progress, ready)


def _parity() -> list[click.Parameter]:
    """Return the parameters of `parity`; none of them changes the protocol."""
    path = click.Path(path_type=Path)
    return [
        click.Argument(["study"]),
        click.Option(
            ["--tasks"],
            default="",
            help="Names, globs or groups, as for run; breastmnist by default, with a GPU also pneumoniamnist "
            "and retinamnist; available for every published task at hand.",
        ),
        click.Option(
            ["--archs"], default="", help="resnet18_cifar or resnet50_cifar; resnet18 or densenet121."
        ),
        click.Option(["--size"], default=28, show_default=True, type=int, help="Side of the stored images."),
        click.Option(["--seeds"], default="0..2", show_default=True, help="As 0..4 or 0,1,2."),
        click.Option(["--out"], default="", help="Run directory; runs/parity-STUDY by default."),
        click.Option(
            ["--imagenet"], type=path, help="File of timm's weights, for medmnist-plus and one arch."
        ),
        options.data_root(),
        click.Option(["--download/--no-download"], default=True, help="Fetch data and weights."),
        click.Option(["--device"], default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, mps."),
        click.Option(["--jobs"], default=1, show_default=True, type=click.IntRange(1), help="Processes."),
    ]


_GRID = [*options.selection(), *options.recipe(), *options.execution()]
_ONLY = click.Option(["--estimate-only"], is_flag=True, help="Print only the time that is left, as a range.")
RUN = BenchCommand(run_command, _GRID, "mednet-bench run --tasks all --inits mednet,imagenet,scratch")
COMPUTE_COMMANDS = (
    RUN,
    BenchCommand(plan_command, [*_GRID, _ONLY], "mednet-bench plan --tasks available --protocols linear"),
    BenchCommand(parity_command, _parity(), "mednet-bench parity medmnist-v2"),
)
