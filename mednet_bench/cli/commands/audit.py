"""`audit`: whether weights have seen the test images, and whether a task's splits leak."""

from pathlib import Path

import click

from ...baselines.weights.archs import DEFAULT_ARCH
from ...benchmark.audits import contamination, leakage
from ...benchmark.schema.request import RunConfig
from ...core.errors import one_line
from ...core.text_tables import tabulate
from .. import options, show
from ..options import PATH, flag_option, option
from .command import BenchCommand, CommandGroup, ParsedValues, echo, echo_json, format_option, json_flag, say


def contamination_command(values: ParsedValues) -> int:
    """Check whether an init has seen the test images of tasks.

    What its card declares is compared with the parents of each task. With a corpus, or where the card names
    a file of perceptual hashes, every test image is searched for too. Exit code 3 with --strict if found.
    """
    request = RunConfig(
        tasks=values["tasks"],
        inits=values["init"],
        archs=values["arch"],
        **{name: values[name] for name in ("size", "data_root", "task_file", "init_file", "download")},
    )
    run, outcome = values["run"], contamination.outcome
    search = contamination.audit.ContaminationRequest(request, run, values["corpus"])
    audits = list(contamination.audit.audit_contamination(search))
    default = outcome.CONTAMINATION_FOLDER
    folder = values["out"] or (run / default if run else Path(default))
    for audit in audits:
        outcome.write_audit(folder, audit)
    heads = ("task", "init", "declared", "searched", "test images", "matched", "share (95 %)", "verdict")
    echo(tabulate(map(_contamination_row, audits), heads))
    for audit in audits:
        for sentence in audit.evidence:
            echo(one_line(f"{audit.task}: {sentence}"))
        if audit.unknown:
            echo(one_line(f"{audit.task}: nothing is known of {', '.join(audit.unknown)}"))
    say(f"results in {folder}")
    return 3 if values["strict"] and any(audit.contaminated for audit in audits) else 0


def leakage_command(values: ParsedValues) -> int:
    """Check whether anything leaks between the splits of TASK.

    TASK is a name as for run, or a card. Found are equal images, near copies, shared groups, equal images
    with unlike labels, images that show nothing, and whether split or label can be predicted from features
    that ignore what an image shows. Exit code 3 with --strict if a split leaks.
    """
    names = ("size", "data_root", "task_file", "download")
    request = RunConfig(tasks=values["task"], **{name: values[name] for name in names})
    run, outcome = values["run"], leakage.outcome
    folder = values["out"] or (run / outcome.LEAKAGE_FOLDER if run else Path(outcome.LEAKAGE_FOLDER))
    audits = []
    search = leakage.audit.LeakageRequest(",".join(request.tasks), request, values["pictures"])
    for audit in leakage.audit.audit_leakage(search):
        audits.append(audit)
        outcome.write_leakage(folder, audit)
        if values["format"] == "table":
            echo(show.leakage.leakage_text(audit) + "\n")
    if values["format"] == "json":
        echo_json(audits)
    say(f"results in {folder}")
    return 3 if values["strict"] and any(audit.leaks for audit in audits) else 0


def _contamination_row(audit: "contamination.outcome.ContaminationAudit") -> tuple[str, ...]:
    measured = audit.measured
    verdict = "contaminated" if audit.contaminated else "not contaminated as far as was looked"
    verdict = "possibly contaminated" if audit.doubtful else verdict
    if measured is None:
        return audit.task, audit.init, audit.declared, "nothing", "", "", "", verdict
    low, high = measured.interval
    return (
        audit.task,
        audit.init,
        audit.declared,
        f"{measured.images:,} by {measured.by}",
        f"{measured.checked:,}",
        f"{len(measured.matched):,}",
        f"{measured.share:.1%} ({low:.1%} to {high:.1%})",
        verdict,
    )


_DATA = [
    options.field_option("size"),
    options.field_option("data_root"),
    options.field_option("task_file"),
    options.field_option("download", help="Download missing data."),
]
_INIT = "One init, as for run; NAME=CARD.toml for your own weights."
_CONTAMINATION = {
    "What to check": [
        click.Option(["--init"], required=True, help=_INIT),
        options.field_option("tasks", help="Names, globs or groups, as for run."),
        click.Option(["--corpus"], type=PATH, help="Folder of `corpus build` with the images it has seen."),
        click.Option(["--run"], type=PATH, help="Run directory with the weights; results go there too."),
        option("--arch", "Architecture of an init without card or run.", default=DEFAULT_ARCH),
    ],
    "Files": [*_DATA, options.init_file_option()],
    "Output": [
        click.Option(["--out"], type=PATH, help="Folder for results; contamination/ of the run by default."),
        flag_option("--strict", "Exit with 3 if a task is contaminated."),
    ],
}
_PAIRS = "Number of image pairs to show in results and report; they may be of patients."
_LEAKAGE = {
    "What to check": [
        click.Argument(["task"]),
        click.Option(["--run"], type=PATH, help="Run directory whose report is to show the results."),
    ],
    "Files": _DATA,
    "Output": [
        click.Option(["--out"], type=PATH, help="Folder for results; leakage/ of the run by default."),
        option("--pictures", _PAIRS, default=0, type=click.IntRange(0, 100)),
        json_flag(),
        format_option("json"),
        flag_option("--strict", "Exit with 3 if a split leaks."),
    ],
}
_EXAMPLE = "mednet-bench audit contamination --init mednet --corpus corpora/gray --run runs/first"
AUDIT_COMMANDS = (
    CommandGroup(
        "audit",
        commands={
            "contamination": BenchCommand(contamination_command, _CONTAMINATION, _EXAMPLE),
            "leakage": BenchCommand(
                leakage_command, _LEAKAGE, "mednet-bench audit leakage breastmnist --strict"
            ),
        },
        help="Check for contaminated weights and leaking splits.",
    ),
)
