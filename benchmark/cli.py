"""`mednet-bench`: the roof, and the only module that sees both the runner and the reports."""

import shlex
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import options
from .errors import StoppedError, UserError
from .parity import study as studies

if TYPE_CHECKING:  # what computes is imported by the command that needs it
    from .grid import Grid

Values = dict[str, Any]


class _Command(click.Command):
    """A command whose function takes its options as one mapping, and that shows an example."""

    def __init__(
        self, name: str, action: Callable[[Values], int], params: Sequence[click.Parameter], example: str
    ) -> None:
        super().__init__(
            name,
            params=list(params),
            help=action.__doc__,
            epilog=f"\b\nExample:\n  {example}",
            callback=lambda: None,
        )
        self.action = action

    def invoke(self, ctx: click.Context) -> int:
        return self.action(ctx.params)


class _Group(click.Group):
    """Commands in their own order; a name that is nearly right is suggested."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        from .errors import unknown

        if args and args[0] not in self.commands and not args[0].startswith("-"):
            raise UserError(f"{unknown('command', args[0], self.commands)}")
        return super().resolve_command(ctx, args)


def run(values: Values) -> int:
    """Run every cell of the grid that has no record yet, then write the report."""
    from . import runner
    from .files import writable_folder
    from .records import Store

    folder = Path(values["out"])
    grid = _resolved(values, lambda: writable_folder(folder))
    rules = runner.Rules(values["overwrite"], time.time(), values["limit"])
    store = Store(folder)
    waiting = runner.pending(grid, store, rules)
    if waiting:
        from .executor import execute
        from .preflight import check, resolve_device

        device = resolve_device(grid.request.device)
        check(grid, waiting)
        grid.plan.write(folder)  # only now: a request that cannot be carried out leaves the last plan alone
        share = f"{len(waiting)} of {len(grid.plan.cells)}"
        _say(f"{share} cells to compute on {device}; records in {folder}/records")
        execute(grid, waiting, rules, values["jobs"], device)
    else:
        grid.plan.write(folder)
        _say(f"All {len(grid.plan.cells)} cells have their records in {folder}: nothing to compute.")
    failed = [record for record in runner.finished(grid.plan.cells, store) if record.status != "ok"]
    if values["report"]:
        _report([folder], None, values["margin"])
    for record in failed[:5]:
        _say(f"failed: {record.cell.task} {record.cell.init} {record.cell.protocol}: {record.error}")
    if failed:
        _say(f"{len(failed)} cells failed; their tracebacks are in {folder}/logs. Run again to retry them.")
    return 1 if failed else 0


def plan(values: Values) -> int:
    """Print the grid of cells, what has been done of it, and an estimate of the rest."""
    from . import runner
    from .records import Store
    from .show import plan_text

    grid = _resolved(values)
    waiting = runner.pending(grid, Store(grid.request.folder), runner.Rules())
    if not values["estimate_only"]:
        click.echo(plan_text(grid, waiting))
    if waiting:
        from .estimate import estimate
        from .preflight import resolve_device
        from .progress import duration

        device = resolve_device(grid.request.device)
        took = estimate(grid, waiting, device, values["jobs"])
        cells = f"{len(waiting)} of {len(grid.plan.cells)} cells"
        click.echo(f"{cells} on {device}: between {duration(took.low)} and {duration(took.high)}")
    else:
        click.echo(f"all {len(grid.plan.cells)} cells have their records")
    return 0


def report(values: Values) -> int:
    """Write the HTML and Markdown report of a run directory anew, or of several as one."""
    _report(values["runs"], values["to"], values["margin"])
    return 0


def parity(values: Values) -> int:
    """Repeat what a STUDY (medmnist-v2, medmnist-plus) published, and judge each value as IN or OUT."""
    from .parity import outcome

    study = studies.study_of(values["study"])
    arguments = studies.arguments(study, values)
    _say(f"Parity is this run: mednet-bench run {shlex.join(arguments)}")
    run_values = _commands()["run"].make_context("run", arguments).params
    run(run_values)  # a cell that failed is a value that is missing below
    found = outcome.outcome_of(study, Path(run_values["out"]))
    outcome.write(found, Path(run_values["out"]))
    click.echo(outcome.text(found))
    return found.exit_code


def leaderboard(values: Values) -> int:
    """Print the leaderboard of one or several run directories."""
    from ..reports.pages.board import Wanted, board
    from .request import fractions, names

    protocols = tuple(names(values["protocol"], "protocol")) if values["protocol"] else ()
    shares = tuple(fractions(values["fraction"])) if values["fraction"] else ()
    wanted = Wanted(protocols, shares, values["metric"])
    click.echo(board(values["runs"], wanted, values["format"]), nl=False)
    return 0


def compare(values: Values) -> int:
    """Print what changed from RUN_A to RUN_B, paired by seed where their cells agree."""
    from ..reports.regression.compare import compare

    click.echo(compare(values["run_a"], values["run_b"], values["metric"]), nl=False)
    return 0


def regress(values: Values) -> int:
    """Judge RUN against a baseline, for continuous integration: exit code 3 where a score fell."""
    from ..reports.regression.regress import append, regress, update
    from .request import names

    inits = names(values["inits"], "inits") if values["inits"] else []
    if values["update"]:
        if inits:
            raise UserError("--update writes every row of the run: leave out --inits.")
        click.echo(update(values["run"], values["against"], names(values["metrics"], "metrics")))
        return 0
    summary, red = regress(values["run"], values["against"], inits)
    click.echo(summary, nl=False)
    if values["summary"]:
        append(values["summary"], summary)
    return 3 if red else 0


def calibrate(values: Values) -> int:
    """Simulate experiments with a known truth and show how often a verdict would be wrong."""
    from ..reports.pages.calibration_page import calibration_csv, calibration_markdown
    from ..reports.statistics.calibration import calibrate as simulate
    from .files import writable_folder, write_bytes

    folder = writable_folder(values["out"]) if values["out"] else None
    with click.progressbar(length=1000, label="experiments", file=sys.stderr) as bar:
        found = simulate(
            values["experiments"], values["jobs"], lambda done, of: bar.update(done * 1000 // of - bar.pos)
        )
    text = calibration_markdown(found)
    click.echo(text)
    if folder:
        write_bytes(folder / "calibration.md", text.encode())
        write_bytes(folder / "calibration.csv", calibration_csv(found).encode())
    return 0 if all(rate.holds for rate in found) else 3


def ls(values: Values) -> int:
    """List tasks, inits, protocols and groups, and which data are at hand."""
    from .show import listing

    click.echo(listing(values["data_root"], values["task_file"]))
    return 0


def info(values: Values) -> int:
    """Show the card of a task: classes, splits, licence, citation, caveats, files."""
    from .show import card

    click.echo(card(values["task"], values["data_root"], values["task_file"]))
    return 0


def download(values: Values) -> int:
    """Download the data of tasks, verified by MD5; an interrupted download is resumed."""
    from ..tasks.catalog import catalog, fetch, require, select
    from ..tasks.places import places_from

    places = places_from(values["data_root"])
    tasks = catalog(places)
    chosen = select(",".join(values["tasks"]), tasks, places, values["size"])
    with _fetching() as progress:
        fetch(chosen, values["size"], places, progress)
    require(chosen, values["size"], places)
    click.echo(f"at hand at {values['size']} px: {', '.join(task.name for task in chosen)}")
    return 0


def doctor(values: Values) -> int:
    """Print versions, devices, data and weights that are found, and what would work."""
    from .doctor import diagnosis

    click.echo(diagnosis(values["data_root"]))
    return 0


def _resolved(values: Values, ready: Callable[[], object] = lambda: None) -> "Grid":
    from .resolve import resolve

    request = options.request_of(values)
    with _fetching() as progress:
        return resolve(request, progress, ready)


def _fetching() -> "AbstractContextManager[Callable[[str, int, int], None]]":
    from .progress import fetching

    return fetching()


def _report(folders: Sequence[Path], to: Path | None, margin: float) -> None:
    from ..reports.build import build
    from ..reports.pages.terminal import leaderboard_text, verdict_text

    built = build(folders, to, margin)
    click.echo(leaderboard_text(built.results))
    click.echo(verdict_text(built.results))
    click.echo(f"report: {built.html.resolve()}")


def _say(text: str) -> None:
    click.echo(text, err=True)


def _commands() -> dict[str, click.Command]:
    data_root = [click.Option(["--data-root"], type=click.Path(path_type=Path), help="Folder with data.")]
    cards = [click.Option(["--task-file"], multiple=True, help="Card of a local data set.")]
    to = click.Option(
        ["--to"],
        type=click.Path(path_type=Path),
        help="Where to write; RUN/report by default, needed for several runs.",
    )
    only = click.Option(
        ["--estimate-only"], is_flag=True, help="Print only the time that is left, as a range."
    )
    size = click.Option(["--size"], type=int, default=28, show_default=True, help="Side in pixels.")
    grid = [*options.selection(), *options.recipe()]
    main_job = "mednet-bench run --tasks all --inits mednet,imagenet,scratch"
    commands = [
        _Command("run", run, [*grid, *options.execution()], main_job),
        _Command(
            "plan",
            plan,
            [*grid, *options.execution(), only],
            "mednet-bench plan --tasks available --protocols linear",
        ),
        _Command("report", report, [options.runs(), to, options.margin()], "mednet-bench report runs/latest"),
        _Command(
            "leaderboard",
            leaderboard,
            options.leaderboard(),
            "mednet-bench leaderboard runs/latest --format latex",
        ),
        _Command("compare", compare, options.compare(), "mednet-bench compare runs/before runs/after"),
        _Command(
            "regress", regress, options.regress(), "mednet-bench regress runs/latest --against baseline.json"
        ),
        _Command("parity", parity, studies.parameters(), "mednet-bench parity medmnist-v2"),
        _Command(
            "calibrate", calibrate, options.calibrate(), "mednet-bench calibrate --jobs 2 --out calibration"
        ),
        _Command("ls", ls, [*data_root, *cards], "mednet-bench ls"),
        _Command(
            "info", info, [click.Argument(["task"]), *data_root, *cards], "mednet-bench info dermamnist"
        ),
        _Command(
            "download",
            download,
            [click.Argument(["tasks"], nargs=-1, required=True), size, *data_root],
            "mednet-bench download breastmnist retinamnist --size 64 --data-root data",
        ),
        _Command("doctor", doctor, data_root, "mednet-bench doctor"),
    ]
    return {str(command.name): command for command in commands}


cli = _Group(
    "mednet-bench",
    commands=_commands(),
    help="Does pretraining on medical images beat ImageNet transfer, or training from scratch, on your task "
    "with your number of labels?",
    epilog="Exit codes: 0 all well, 1 some cell failed, 2 the request was wrong, 3 a threshold was broken.",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
click.version_option(package_name="mednet-bench")(cli)


def main() -> None:
    """Run the command line and exit with its code."""
    try:
        code = cli.main(standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        sys.exit(0)
    except click.ClickException as error:
        _say(f"mednet-bench: {error.format_message()}")
        sys.exit(2)
    except UserError as error:
        _say(f"mednet-bench: {error}")
        sys.exit(2)
    except StoppedError as error:
        _say(f"mednet-bench: {error}")
        sys.exit(1)
    except (KeyboardInterrupt, click.Abort):
        _say("Interrupted: what is finished is kept; run the same command again to go on.")
        sys.exit(130)
    except BrokenPipeError:  # `mednet-bench ls | head`
        sys.stderr.close()
        sys.exit(0)
    except OSError as error:
        from .files import FULL

        if error.errno not in FULL:
            raise
        _say(
            "mednet-bench: No room left for what is printed or kept meanwhile: free some space and try again."
        )
        sys.exit(1)
