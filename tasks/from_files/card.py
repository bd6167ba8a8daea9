"""Card of a task from files: location, labels, splits."""

import inspect
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...core.errors import UserError
from ...core.toml_files import check_keys
from ..card import read_task_card
from ..images.reader import ReaderTable
from ..patients import compile_pattern
from ..subgroups import RESERVED
from ..task import Task, TaskCard
from .file_search import pattern_fields
from .folders import first_path_outside
from .schema import FilesSpec, FilesTable, SplitTable, fault_of_path
from .source import FilesSource


@dataclass(frozen=True, kw_only=True)
class FilesCard(TaskCard):
    """Card of a local task stored as files."""

    files: FilesTable
    split: SplitTable = field(default_factory=SplitTable)
    reader: ReaderTable = field(default_factory=ReaderTable)


CARD_TABLES = {"files": FilesTable, "split": SplitTable, "reader": ReaderTable}
"""Tables of a card."""


def files_task(path: Path, content: dict[str, Any]) -> Task:
    """Build a task from the content of a card with a table `files`; images stay unopened.

    Raises:
        UserError: names the card and the unknown, missing or wrong key.
    """
    for name, part in CARD_TABLES.items():
        given = content.get(name, {})
        if not isinstance(given, dict):
            raise UserError(f"{path}: '{name}' is a table: write [{name}] and its keys below.")
        try:
            check_keys(path, given, inspect.signature(part).parameters)
        except UserError as error:
            raise UserError(f"{str(error).rstrip('.')} (in [{name}]).") from error
    card = read_task_card(path, content, FilesCard)
    return Task(source=FilesSource(path, _build_spec(path, card)), **card.card_facts())


def _build_spec(path: Path, card: FilesCard) -> FilesSpec:
    files = card.files
    if fault := _card_fault(card):
        raise UserError(f"{path}: {fault}.")
    compile_pattern(files.group_pattern, f"{path}: key 'files.group_pattern'")
    root = _resolve_path(path, files.path, "files.path", files.allow_outside)
    tables = tuple(_resolve_path(path, each, "files.table", files.allow_outside) for each in files.tables)
    return FilesSpec(
        name=card.name, kind=card.kind, classes=card.classes, variant=card.variant,
        subgroups=card.subgroups, root=root, tables=tables, files=files, rule=card.split,
        reading=card.reader,
    )  # fmt: skip


def _card_fault(card: FilesCard) -> str:
    files = card.files
    several = card.kind == "multilabel" and files.label_columns
    columns = (files.path_column, files.patient_column, files.study_column)
    if not files.table and card.kind == "multilabel":
        return "a folder per class gives one label: name a table by 'files.table' for multilabel"
    if not files.table and (card.subgroups or files.label_column or files.label_columns):
        return "columns need a table: name it by 'files.table', or leave them out"
    if odd := sorted({*files.label_map.values()} - {*card.classes, ""}):
        return f"key 'files.label_map': '{odd[0]}' is none of the classes: correct it, or add it to 'classes'"
    if not files.label_separator.strip():
        return "key 'files.label_separator': name a character, such as ;"
    if files.path_pattern and not pattern_fields(files.path_pattern):
        return "key 'files.path_pattern': it needs a column in braces, such as \"images/{id}.jpg\""
    if files.label_columns and not several:
        return "key 'files.label_columns': only multilabel has a column per class: use 'label_column'"
    if several and len(files.label_columns) != len(card.classes):
        return f"key 'files.label_columns': name one for each of the {len(card.classes)} classes, in order"
    odd = sorted(set(card.subgroups) & {*columns, *RESERVED})
    if odd:
        return f"key 'subgroups': '{odd[0]}' names images or patients: take a column such as sex or scanner"
    return card.split.fault()


def _resolve_path(card: Path, given: str, key: str, allowed: bool) -> Path:
    fault = fault_of_path(given, allowed)
    if not fault and not allowed and first_path_outside(card.parent, [given]):
        fault = "a link leads out of its folder: say allow_outside = true in [files] to permit it"
    if fault:
        raise UserError(f"{card}: key '{key}': {fault}.")
    return card.parent / given
