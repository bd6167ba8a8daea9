"""Reading and checking the card of a local task."""

import re
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from ..core.errors import UserError
from ..core.toml_files import check_keys
from .subgroups import fault_of_names
from .task import TASK_NAME, TASK_NAME_RULE, TaskCard

_CardT = TypeVar("_CardT", bound=TaskCard)


def read_task_card(path: Path, content: dict[str, Any], kind: type[_CardT]) -> _CardT:
    """Convert a card to its dataclass; `UserError` names the card and the wrong key."""
    check_keys(path, content, [field.name for field in fields(kind)])
    required = [f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING]
    lacking = [name for name in required if name not in content]
    if lacking:
        keys = "key" if len(lacking) == 1 else "keys"
        raise UserError(f"{path} lacks the {keys} {', '.join(map(repr, lacking))}: add what is known.")
    try:
        card = msgspec.convert(content, kind)
    except msgspec.ValidationError as error:
        raise UserError(_format_type_error(path, content, kind, str(error))) from error
    _check_values(path, card)
    return card


def _format_type_error(path: Path, content: dict[str, Any], kind: type[TaskCard], message: str) -> str:
    """Reword msgspec's ``... - at `$.key.part[...]``` and list the words that the key allows."""
    problem, _, place = message.partition(" - at `$.")
    keys = re.split(r"[\[`]", place)[0].split(".")
    if problem.startswith("Invalid enum value"):
        known, given = kind, content
        for key in keys:
            known, given = get_type_hints(known)[key], given[key]
        problem = f"it is one of {', '.join(_allowed_words(known))}, not {given!r}"
    return f"{path}: key '{'.'.join(keys)}': {problem}."


def _allowed_words(known: Any) -> list[str]:
    """Return the words that a type allows, alone, in a list, or in a union."""
    if get_origin(known) is Literal:
        return list(get_args(known))
    if known is int:
        return ["a whole number"]
    return [word for part in get_args(known) for word in _allowed_words(part)]


def _check_values(path: Path, card: TaskCard) -> None:
    texts = {"title": card.title, "modality": card.modality, "source_group": card.source_group}
    no_split = card.role == "source" and not card.pretrain_splits
    faults = {
        "name": "" if re.fullmatch(TASK_NAME, card.name) else TASK_NAME_RULE,
        "classes": _fault_of_classes(card),
        "pretrain_splits": "a source that only pretrains needs one split at least" if no_split else "",
        "subgroups": fault_of_names(card.subgroups),
        **{key: "" if text.strip() else "it must not be empty" for key, text in texts.items()},
    }
    for key, fault in faults.items():
        if fault:
            raise UserError(f"{path}: key '{key}': {fault}.")


def _fault_of_classes(card: TaskCard) -> str:
    if len(set(card.classes)) < max(2, len(card.classes)):
        return "name two classes at least, each once"
    if card.kind == "binary" and len(card.classes) != 2:
        return f"a binary task has two, not {len(card.classes)}"
    return ""
