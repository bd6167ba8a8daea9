"""`task new` and `validate`: draft a card for a folder of images, and check a card."""

import sys
from pathlib import Path

import click
import tomli_w

from ...core.errors import UserError, one_line
from ...core.files import write_bytes
from ...tasks import from_files
from .. import show
from ..options import PATH, flag_option, jobs_option, option
from .command import BenchCommand, CommandGroup, ParsedValues, echo, say
from .questions import ask_questions


def new_command(values: ParsedValues) -> int:
    """Draft the card of FOLDER.

    FOLDER holds a table (CSV, Parquet) that lists its files, or a folder per class. What the files contain
    is filled in; questions are asked only at a terminal.
    """
    folder: Path = values["folder"]
    draft = from_files.card_draft.draft_card(folder)
    card = folder / f"{draft.content['name']}.toml"
    if card.exists() and not values["force"]:
        raise UserError(f"{card} exists: pass --force to overwrite it, or check it with validate.")
    if sys.stdin.isatty():
        draft = ask_questions(folder, draft)
    content = draft.content
    write_bytes(card, tomli_w.dumps(content).encode())
    unknown = [key for key, value in content.items() if value == from_files.card_draft.UNKNOWN_MODALITY]
    if unknown:
        say(f"not known, please fill in: {', '.join(unknown)}")
    for doubt in _list_doubts(draft):
        say(doubt)
    echo(one_line(f"{card}: {content['kind']}, {len(content['classes'])} classes, {content['variant']}"))
    echo(one_line(f"next: mednet-bench validate {card}"))
    return 0


def _list_doubts(draft: "from_files.card_draft.CardDraft") -> list[str]:
    """List what a person should check: what the labels are, and how patients are known."""
    files, classes = draft.content["files"], draft.content["classes"]
    doubts = list(draft.splits)
    if len(draft.labels) > 1:
        others = ", ".join(name for name in draft.labels if name != files["label_column"])
        doubts.append(
            f"the label is taken from '{files['label_column']}': else say label_column ({others}); a column "
            "such as sex or scanner goes into subgroups"
        )
    if "label_columns" in files:
        doubts.append(
            f"each column of 0 and 1 is taken for a class ({', '.join(classes)}): else say label_column, "
            "classes and kind"
        )
    if "table" not in files:
        doubts.append(
            f"each folder is taken for a class ({len(classes)}): else add a table with a row per file"
        )
    if draft.content["kind"] == "multiclass" and from_files.card_draft.are_grades(classes):
        doubts.append('the classes are numbers: if they are grades, say kind = "ordinal"')
    if not files.keys() & {"patient_column", "study_column"}:
        perhaps = f"; patient_column, if it is {' or '.join(draft.patients)}" if draft.patients else ""
        cure = f"those of DICOM headers are used; else say in [files]: group_pattern{perhaps}"
        doubts.append(f"no column of patients: {cure}")
    if draft.color_note:
        doubts.append(draft.color_note)
    if draft.patient_doubt:
        doubts.append(draft.patient_doubt)
    return doubts


def validate_command(values: ParsedValues) -> int:
    """Check a task's CARD, table, files and splits.

    Shows counts and preprocessing, and writes contact sheets. Prepared images are used again by `run --size`.
    """
    echo(show.files.validate_card(values["card"], values["size"], values["jobs"], values["out"]))
    return 0


_NEW = [click.Argument(["folder"], type=PATH), flag_option("--force", "Overwrite an existing card.")]
_VALIDATE = [
    click.Argument(["card"], type=PATH),
    option("--size", "Size of the prepared images in pixels.", default=28, type=click.IntRange(8, 4096)),
    jobs_option("Number of processes; all cores by default.", least=0),
    click.Option(["--out"], type=PATH, help="Folder for the contact sheets; NAME-check by default."),
]
TASK_COMMANDS = (
    CommandGroup(
        "task",
        commands={"new": BenchCommand(new_command, _NEW, "mednet-bench task new scans")},
        help="Make a task from your own files.",
    ),
    BenchCommand(validate_command, _VALIDATE, "mednet-bench validate scans/scans.toml --size 64"),
)
