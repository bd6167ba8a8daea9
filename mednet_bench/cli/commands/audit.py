"""`audit`: whether weights have seen the images that they are tested on, and whether a task's splits leak."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ...benchmark.schema.request import RunConfig
from ...core.errors import one_line
from ..options import data_root, init_files, option, task_files
from .command import BenchCommand, CommandGroup, ParsedValues, as_json, echo, say

if TYPE_CHECKING:
    from ...benchmark.audits.contamination.outcome import ContaminationAudit


def contamination_command(values: ParsedValues) -> int:
    """Look for the test images of tasks among what an init has seen; exit code 3 with --strict if found.

    What its card declares is compared with the parents of each task. With a corpus, or where the card names
    a file of perceptual hashes, every test image is searched for too.
    """
    from ...benchmark.audits.contamination.audit import ContaminationRequest, audit_contamination
    from ...benchmark.audits.contamination.outcome import CONTAMINATION_FOLDER, write_audit

    request = RunConfig(
        tasks=values["tasks"],
        inits=values["init"],
        archs=values["arch"],
        size=values["size"],
        data_root=values["data_root"],
        task_file=values["task_file"],
        init_file=values["init_file"],
        download=values["download"],
    )
    run = values["run"]
    found = list(audit_contamination(ContaminationRequest(request, run, values["corpus"])))
    folder = values["out"] or (run / CONTAMINATION_FOLDER if run else Path(CONTAMINATION_FOLDER))
    for audit in found:
        write_audit(folder, audit)
    echo(_table(found))
    for audit in found:
        for sentence in audit.evidence:
            echo(one_line(f"{audit.task}: {sentence}"))
        if audit.unknown:
            echo(one_line(f"{audit.task}: nothing is known of {', '.join(audit.unknown)}"))
    say(f"results in {folder}")
    return 3 if values["strict"] and any(audit.contaminated for audit in found) else 0


def leakage_command(values: ParsedValues) -> int:
    """Look for what leaks between the splits of TASK, a name as for run or a card; exit code 3 with --strict.

    Equal images, near copies, shared groups, unlike labels of equal images, images that show nothing, and
    whether split or label can be told from figures that say nothing of what an image shows.
    """
    from ...benchmark.audits.leakage.audit import LeakageRequest, audit_leakage
    from ...benchmark.audits.leakage.outcome import LEAKAGE_FOLDER, write_leakage
    from ..show.leakage import leakage_text

    request = RunConfig(
        size=values["size"],
        data_root=values["data_root"],
        task_file=values["task_file"],
        download=values["download"],
    )
    run = values["run"]
    folder = values["out"] or (run / LEAKAGE_FOLDER if run else Path(LEAKAGE_FOLDER))
    found = []
    for audit in audit_leakage(LeakageRequest(values["task"], request, values["pictures"])):
        found.append(audit)
        write_leakage(folder, audit)
        if not values["json"]:
            echo(leakage_text(audit) + "\n")
    if values["json"]:
        echo(as_json(found))
    say(f"results in {folder}")
    return 3 if values["strict"] and any(audit.leaks for audit in found) else 0


def _table(audits: "list[ContaminationAudit]") -> str:
    from ...core.text_tables import tabulate

    heads = ("task", "init", "declared", "searched", "test images", "matched", "share (95 %)", "verdict")
    return tabulate(map(_line, audits), heads)


def _line(audit: "ContaminationAudit") -> tuple[str, ...]:
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


_PATH = click.Path(path_type=Path)
_DEFAULTS = RunConfig()
_CONTAMINATION = [
    click.Option(
        ["--init"], required=True, help="One init, as for run; NAME=CARD.toml for weights of your own."
    ),
    option("--tasks", "Names, globs or groups, as for run.", default=_DEFAULTS.tasks),
    click.Option(["--corpus"], type=_PATH, help="Folder of `corpus build`: the images that it has seen."),
    click.Option(["--run"], type=_PATH, help="Run directory: whose weights are meant, and where results go."),
    click.Option(["--out"], type=_PATH, help="Folder of the results; contamination/ of the run by default."),
    option("--arch", "Of an init without a card, outside of a run.", default=_DEFAULTS.archs),
    option("--size", "Side of the stored test images in pixels.", default=_DEFAULTS.size, type=int),
    data_root(type=str, default=""),
    task_files(),
    init_files(),
    option("--download/--no-download", "Fetch data that are missing.", default=True),
    click.Option(["--strict"], is_flag=True, help="Exit code 3 if any of the tasks is contaminated."),
]
_LEAKAGE = [
    click.Argument(["task"]),
    click.Option(["--run"], type=_PATH, help="Run directory, whose report shall show what is found."),
    click.Option(["--out"], type=_PATH, help="Folder of the results; leakage/ of the run by default."),
    option("--size", "Side of the stored images in pixels.", default=_DEFAULTS.size, type=int),
    data_root(type=str, default=""),
    task_files(),
    option("--download/--no-download", "Fetch data that are missing.", default=True),
    option(
        "--pictures",
        "Pairs of images to put into the results and the report, side by side; they may be of patients.",
        default=0,
        type=click.IntRange(0, 100),
    ),
    click.Option(["--json"], is_flag=True, help="Print JSON for a program."),
    click.Option(["--strict"], is_flag=True, help="Exit code 3 if any of the tasks leaks."),
]
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
        help="Find out whether a result can be trusted.",
    ),
)
