"""The questions of `task new` at a terminal, each with an answer to accept."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from ...core.errors import one_line
from ...tasks import from_files
from .command import say

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
    folder: Path,
    draft: "from_files.card_draft.CardDraft",
    answers: "from_files.card_draft.DraftAnswers",
) -> "from_files.card_draft.CardDraft":
    """Ask for what a draft could not find out; an empty answer accepts the one in brackets.

    Args:
        folder: of the images; it is drafted again after an answer that changes the draft.
        draft: the first one.
        answers: what the command line says.
    """
    while choice := next((c for c in draft.choices if c.options and c.key not in answers.chosen), None):
        answer = _ask_option(choice.question, choice.options)
        answers = replace(answers, chosen={**answers.chosen, choice.key: answer})
        draft = from_files.card_draft.draft_card(folder, answers)
    _ask_facts(draft.content)
    return draft


def _ask_option(question: str, names: tuple[str, ...]) -> str:
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
    names = [name.strip() for name in click.prompt(parents, default="none", err=True).split(",")]
    content["parents"] = [name for name in names if name not in ("", "none")]
