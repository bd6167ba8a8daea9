"""Answers at the top of the page, one module per question, and their order."""

ANSWER_ORDER = (
    "main",
    "by-modality",
    "labels-saved",
    "pretraining-images",
    "convergence",
    "transfusion",
    "subgroups",
    "cost-benefit",
    "next-steps",
    "data-quality",
)
"""Names from top to bottom; an answer that is not listed follows, by question."""
