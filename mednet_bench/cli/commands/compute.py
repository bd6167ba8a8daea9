"""`run`, `plan` and `parity`: the commands that plan or compute cells."""

import shlex

import click

from ...benchmark import parity, run
from ...benchmark.schema.request import MACHINE, RunConfig
from ...core.config_fields import changed_arguments
from ...core.errors import UserError
from .. import options, show
from .command import BenchCommand, ParsedValues, echo, echo_json, format_option, say
from .report import print_results


def run_command(values: ParsedValues) -> int:
    """Compute all cells without a record, then write the report."""
    config = options.config_of(values)
    if config.executor != "slurm" and (values["print"] or values["wait"]):
        raise UserError("--print and --wait are for --executor slurm: pass it, or leave them out.")
    if config.executor != "slurm" or (values["wait"] and not values["print"]):
        return run_and_report(config)
    from ...experiment import submit_run  # late: `--help` needs none of it

    sentence = submit_run(config, values["print"])
    echo(sentence) if values["print"] else say(sentence)
    return 0


def status_command(values: ParsedValues) -> int:
    """Print what is done of a run, and who computes now.

    RUN is the run directory; jobs on a cluster are named. The exit code is 1 if some cell failed.
    """
    status = run.run_status.run_status(values["run"])
    if values["format"] == "json":
        echo_json(status)
    else:
        echo(show.status.status_text(status))
    return 1 if status.failed else 0


def cancel_command(values: ParsedValues) -> int:
    """Cancel a run's jobs on a cluster; finished cells are kept.

    RUN is the run directory.
    """
    if not run.submitted_jobs.read_jobs(values["run"]):
        raise UserError(f"{values['run']} has no jobs on a cluster: stop a run on this machine by Ctrl-C.")
    if queued := run.submitted_jobs.queued_jobs(values["run"]):
        run.submitted_jobs.call_scheduler("scancel", *queued, cure="see `squeue`")
        say(f"Canceled {', '.join(queued)}; the same `run` command resumes.")
    else:
        say("None of its jobs waits or runs any more.")
    return 0


def run_and_report(config: RunConfig) -> int:
    """Compute a run, print its headline and comparisons, and return the exit code."""
    from ... import api  # late: `--help` needs none of it

    results = api.run(config)
    if config.report:
        print_results(results.input, config.folder / "report" / "report.html")
    return 1 if results.failed else 0


def plan_command(values: ParsedValues) -> int:
    """Print a run's cells, which are done, and the time left."""
    from ...experiment import plan_run

    planned = plan_run(options.config_of(values), from_cards=values["estimate_only"])
    as_json = values["format"] == "json"
    facts = {} if values["estimate_only"] else show.plan.plan_facts(planned)
    warnings = planned.warnings()  # first: a refused request prints no plan
    if facts and not as_json:
        echo(show.plan.plan_text(facts))
    for warning in warnings:
        say(f"warning: {warning}")
    estimate = show.plan.estimate_facts(planned)
    if as_json:
        echo_json({**estimate, "warnings": warnings, **facts})
    else:
        echo(show.plan.estimate_text(estimate))
    return 0


def parity_command(values: ParsedValues) -> int:
    """Repeat a published STUDY and compare each value.

    STUDY is medmnist-v2 or medmnist-plus; a value is IN or OUT of the tolerance.
    """
    study = parity.study.study_of(values["study"])
    config = parity.run_config.run_config_of(study, values)
    say(f"Parity is this run: mednet-bench run {shlex.join(changed_arguments(config, config.preset))}")
    run_and_report(config)  # a cell that failed is a missing value below
    result = parity.outcome.outcome_of(study, config.folder)
    parity.outcome.write_parity(result, config.folder)
    echo(parity.outcome.parity_text(result))
    return result.exit_code


def _parity_params() -> list[click.Parameter]:
    """Return the parameters of `parity`; none of them changes the protocol."""
    tasks = "Tasks as for run; default breastmnist, with a GPU also pneumoniamnist and retinamnist."
    archs = "resnet18_cifar or resnet50_cifar for medmnist-v2; resnet18 or densenet121 for medmnist-plus."
    weights = "File with timm's ImageNet weights, for medmnist-plus and one arch."
    return [
        click.Argument(["study"]),
        options.field_option("tasks", default=None, help=tasks),
        options.field_option("archs", default=None, help=archs),
        options.field_option("size", default="28", show_default=True),
        options.field_option("seeds", default="0..2", show_default=True),
        click.Option(["--out"], default="", help="Run directory; runs/parity-STUDY by default."),
        click.Option(["--imagenet"], type=options.PATH, help=weights),
        options.data_root_option(),
        options.field_option("download"),
        options.field_option("device"),
        options.field_option("jobs"),
    ]


_PLAIN = options.run_options()
_RUN = {
    **_PLAIN,
    MACHINE: [
        *_PLAIN[MACHINE],
        options.flag_option("--print", "Print the script of --executor slurm instead of submitting it."),
        options.flag_option("--wait", "Wait for the jobs of --executor slurm, with progress and report."),
    ],
}
_PLAN = {
    **_PLAIN,
    "Output": [
        *_PLAIN["Output"],
        options.flag_option("--estimate-only", "Print only the estimate; needs no data, only task cards."),
        format_option("json"),
    ],
}
_FOLDER = click.Argument(["run"], type=options.PATH)
RUN = BenchCommand(run_command, _RUN, "mednet-bench run --tasks all --inits mednet,imagenet,scratch")
COMPUTE_COMMANDS = (
    RUN,
    BenchCommand(plan_command, _PLAN, "mednet-bench plan --tasks available --protocols linear"),
    BenchCommand(status_command, [_FOLDER, format_option("json")], "mednet-bench status runs/latest"),
    BenchCommand(cancel_command, [_FOLDER], "mednet-bench cancel runs/latest"),
    BenchCommand(parity_command, _parity_params(), "mednet-bench parity medmnist-v2"),
)
