"""What `task new` asks a person at a terminal: whatever no file tells, each with an answer to agree to."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ...core.errors import one_line
from .command import say

if TYPE_CHECKING:
    from ...tasks.from_files.card_draft import CardDraft

NO_ANSWER = "none"
QUESTIONS = {
    "title": "What are these images? One line for reports",
    "modality": "How were they made: x-ray, ct, mri, ultrasound, oct, fundus, dermoscopy, histopathology, "
    "microscopy or another word",
    "source_group": "Where do they come from? Sets of one origin never pretrain for each other",
    "license": "Under which terms may they be used, such as internal or CC-BY-4.0",
    "citation": "Whom should a report cite",
}
"""Key of the card -> the question."""


def ask_questions(folder: Path, found: "CardDraft") -> "CardDraft":
    """Ask about what a draft is not sure of; an empty answer agrees to what stands in brackets.

    Args:
        folder: that was drafted; with another label column it is drafted again.
        found: the draft.
    """
    from ...tasks.from_files.card_draft import draft_card

    said: dict[str, str] = {}
    if len(found.labels) > 1:
        said["label_column"] = _column("Which column says what an image shows", found.labels)
    patients = [name for name in found.patients if name != said.get("label_column")]
    if patients:
        patient = _column("Which column tells the patients apart", (NO_ANSWER, *patients))
        said |= {} if patient == NO_ANSWER else {"patient_column": patient}
    found = draft_card(folder, said) if said else found
    _facts(found.content)
    return found


def _column(question: str, names: tuple[str, ...]) -> str:
    shown = dict(zip(map(one_line, names), names, strict=True))
    return shown[click.prompt(question, type=click.Choice([*shown]), default=one_line(names[0]), err=True)]


def _facts(content: dict[str, Any]) -> None:
    say(f"classes: {', '.join(content['classes'])}")
    ordered = "Do the classes have an order, as grades have (in the order above)"
    if content["kind"] == "multiclass" and click.confirm(ordered, default=False, err=True):
        content["kind"] = "ordinal"
    for key, question in QUESTIONS.items():
        answer = click.prompt(question, default=one_line(content[key]), err=True).strip()
        content[key] = answer or content[key]
    parents = "Public data sets that they were taken from, with commas between"
    names = [name.strip() for name in click.prompt(parents, default=NO_ANSWER, err=True).split(",")]
    content["parents"] = [name for name in names if name not in ("", NO_ANSWER)]
