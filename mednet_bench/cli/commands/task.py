"""`task new` and `validate`: from a folder of images to a card, and from a card to a task one can trust."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ...core.errors import one_line
from .command import BenchCommand, CommandGroup, ParsedValues, echo, say

if TYPE_CHECKING:
    from ...tasks.from_files.card_draft import CardDraft


def new_command(values: ParsedValues) -> int:
    """Draft the card of FOLDER: of a table (CSV, Parquet) that lists its files, or of a folder per class.

    Whatever the files tell is filled in; questions are asked only at a terminal.
    """
    import tomli_w

    from ...core.errors import UserError
    from ...core.files import write_bytes
    from ...tasks.from_files.card_draft import UNKNOWN_MODALITY, draft_card

    folder: Path = values["folder"]
    found = draft_card(folder)
    card = folder / f"{found.content['name']}.toml"
    if card.exists() and not values["force"]:
        raise UserError(f"{card} exists: say --force to write it anew, or go on with validate.")
    if sys.stdin.isatty():
        from .questions import ask_questions

        found = ask_questions(folder, found)
    content = found.content
    write_bytes(card, tomli_w.dumps(content).encode())
    unknown = [key for key, value in content.items() if value == UNKNOWN_MODALITY]
    if unknown:
        say(f"not known, please fill in: {', '.join(unknown)}")
    for doubt in _doubts(found):
        say(doubt)
    echo(one_line(f"{card}: {content['kind']}, {len(content['classes'])} classes, {content['variant']}"))
    echo(one_line(f"next: mednet-bench validate {card}"))
    return 0


def _doubts(found: "CardDraft") -> list[str]:
    """Say what a person should look at: what the labels are, and how patients are known."""
    from ...tasks.from_files.card_draft import are_grades

    files, classes = found.content["files"], found.content["classes"]
    doubts = list(found.splits)
    if len(found.labels) > 1:
        others = ", ".join(name for name in found.labels if name != files["label_column"])
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
    if found.content["kind"] == "multiclass" and are_grades(classes):
        doubts.append('the classes are numbers: if they are grades, say kind = "ordinal"')
    if not files.keys() & {"patient_column", "study_column"}:
        perhaps = f"; patient_column, if it is {' or '.join(found.patients)}" if found.patients else ""
        cure = f"those of DICOM headers are used; else say in [files]: group_pattern{perhaps}"
        doubts.append(f"no column of patients: {cure}")
    if found.patient_doubt:
        doubts.append(found.patient_doubt)
    return doubts


def validate_command(values: ParsedValues) -> int:
    """Check everything about CARD: table, files, splits; show counts and preprocessing, write contact sheets.

    What is prepared here is what `run --size` uses afterwards.
    """
    from ..show.files import validate_card

    echo(validate_card(values["card"], values["size"], values["jobs"], values["out"]))
    return 0


_PATH = click.Path(path_type=Path)
_NEW = [
    click.Argument(["folder"], type=_PATH),
    click.Option(["--force"], is_flag=True, help="Replace the card that is there."),
]
_VALIDATE = [
    click.Argument(["card"], type=_PATH),
    click.Option(
        ["--size"], type=click.IntRange(8, 4096), default=28, show_default=True, help="Side in pixels."
    ),
    click.Option(["--jobs"], type=click.IntRange(0), default=0, help="Processes; all cores by default."),
    click.Option(["--out"], type=_PATH, help="Folder of the contact sheets; NAME-check by default."),
]
TASK_COMMANDS = (
    CommandGroup(
        "task",
        commands={"new": BenchCommand(new_command, _NEW, "mednet-bench task new scans")},
        help="Make a task of your own files.",
    ),
    BenchCommand(validate_command, _VALIDATE, "mednet-bench validate scans/scans.toml --size 64"),
)
