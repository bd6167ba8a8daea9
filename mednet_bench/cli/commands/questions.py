"""The questions of `task new` at a terminal, each with an answer to accept."""

from pathlib import Path
from typing import Any

import click

from ...core.errors import one_line
from ...tasks import from_files
from .command import say

NO_ANSWER = "none"
QUESTIONS = {
    "title": "What are these images? One line for reports",
    "modality": "How were they made: x-ray, ct, mri, ultrasound, oct, fundus, dermoscopy, histopathology, "
    "microscopy or another word",
    "source_group": "Where do they come from? Sets of one origin never pretrain for each other",
    "license": "Under which terms may they be used, such as internal or CC-BY-4.0",
    "citation": "Which publication or person should a report cite",
}
"""Key of the card -> the question."""


def ask_questions(
    folder: Path, draft: "from_files.card_draft.CardDraft"
) -> "from_files.card_draft.CardDraft":
    """Ask for what a draft could not find out; an empty answer accepts the one in brackets.

    Args:
        folder: of the images; with another label column it is drafted again.
        draft: the first one.
    """
    columns: dict[str, str] = {}
    if len(draft.labels) > 1:
        columns["label_column"] = _ask_column("Which column says what an image shows", draft.labels)
    patients = [name for name in draft.patients if name != columns.get("label_column")]
    if patients:
        patient = _ask_column("Which column tells the patients apart", (NO_ANSWER, *patients))
        columns |= {} if patient == NO_ANSWER else {"patient_column": patient}
    draft = from_files.card_draft.draft_card(folder, columns) if columns else draft
    _ask_facts(draft.content)
    return draft


def _ask_column(question: str, names: tuple[str, ...]) -> str:
    choices = dict(zip(map(one_line, names), names, strict=True))
    default = one_line(names[0])
    return choices[click.prompt(question, type=click.Choice([*choices]), default=default, err=True)]


def _ask_facts(content: dict[str, Any]) -> None:
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
