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

    FOLDER holds a table (CSV, Excel, Parquet) that lists its files or patients, or a folder per class. What
    the files contain is filled in; questions are asked only at a terminal. Every decision is printed.
    """
    folder: Path = values["folder"]
    answers = from_files.card_draft.DraftAnswers(tables=values["table"])
    draft = from_files.card_draft.draft_card(folder, answers)
    card = folder / f"{draft.content['name']}.toml"
    if card.exists() and not values["force"]:
        raise UserError(f"{card} exists: pass --force to overwrite it, or check it with validate.")
    if sys.stdin.isatty():
        draft = ask_questions(folder, draft, answers)
    content = draft.content
    write_bytes(card, tomli_w.dumps(content).encode())
    unknown = [key for key, value in content.items() if value == from_files.card_draft.UNKNOWN_MODALITY]
    if unknown:
        say(f"not known, please fill in: {', '.join(unknown)}")
    for decision, change in _list_decisions(draft):
        say(f"decision: {decision}; change: edit {change}" if change else f"decision: {decision}")
    echo(one_line(f"{card}: {content['kind']}, {len(content['classes'])} classes, {content['variant']}"))
    echo(one_line(f"next: mednet-bench validate {card}"))
    return 0


def _list_decisions(draft: "from_files.card_draft.CardDraft") -> list[tuple[str, str]]:
    """List what was decided, each with the keys of the card that change it, or "" where it says so itself."""
    files, classes = draft.content["files"], draft.content["classes"]
    found = [(each.decision, each.change) for each in draft.choices if each.key != "patient_column"]
    found += _column_roles(draft)
    change = "split_column in [files] (without it splits are made)" if "split_column" in files else ""
    found += [(clause, "" if at else change) for at, clause in enumerate(draft.splits)]
    if draft.content["kind"] == "multiclass" and from_files.label_words.are_grades(classes):
        found.append(("the classes are numbers without an order", 'kind (if they are grades, say "ordinal")'))
    if not files.keys() & {"patient_column", "study_column"}:
        patients = draft.options("patient_column")[1:]
        perhaps = f", or patient_column, if it is {' or '.join(patients)}" if patients else ""
        found.append(
            (
                "no column of patients: DICOM headers name them, each other file counts as a patient",
                f"group_pattern in [files]{perhaps}",
            )
        )
    return [*found, *((clause, "") for clause in (draft.color_note, draft.patient_doubt) if clause)]


def _column_roles(draft: "from_files.card_draft.CardDraft") -> list[tuple[str, str]]:
    """Say what columns of the table were taken for, without a label column that is a choice."""
    files = draft.content["files"]
    label = "" if draft.options("label_column") else files.get("label_column")
    found = [("the label", label), ("the patient", files.get("patient_column"))]
    found += [("the study", files.get("study_column"))]
    found += [("a subgroup", name) for name in draft.content.get("subgroups", ())]
    roles = [f"{role} ('{name}')" for role, name in found if name]
    keys = "label_column, patient_column or study_column in [files], or subgroups"
    return [(f"columns give {', '.join(roles)}", keys)] if roles else []


def validate_command(values: ParsedValues) -> int:
    """Check a task's CARD, table, files and splits.

    Shows counts and preprocessing, and writes contact sheets. Prepared images are used again by `run --size`.
    """
    echo(show.files.validate_card(values["card"], values["size"], values["jobs"], values["out"]))
    return 0


_TABLE = "Table in FOLDER that lists the files; pass two to append or join them."
_NEW = [
    click.Argument(["folder"], type=PATH),
    click.Option(["--table"], multiple=True, metavar="FILE", help=_TABLE),
    flag_option("--force", "Overwrite an existing card."),
]
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
