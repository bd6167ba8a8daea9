"""Paths of cards in place of task names; imports nothing heavy."""

from pathlib import Path

from ..core.errors import UserError
from ..core.toml_files import read_toml


def is_card_path(word: str) -> bool:
    """Whether a word that may name a task is the path of a card."""
    return word.lower().endswith(".toml")


def read_card_name(path: Path) -> str:
    """Return the name of the task in a card; `UserError` if there is none."""
    name = read_toml(path.expanduser()).get("name")
    if not isinstance(name, str) or not name:
        raise UserError(f"{path} lacks the key 'name': it is no card of a task.")
    return name
