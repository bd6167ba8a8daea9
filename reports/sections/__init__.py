"""Sections of the report, one module each, and their order on the page."""

SECTION_ORDER = (
    "verdicts",
    "over-tasks",
    "effects",
    "labels-saved",
    "pretraining-images",
    "essay",
    "leaderboard",
    "learning-curves",
    "modality-map",
    "by-patient",
    "clinical",
    "subgroups",
    "per-class",
    "reliability",
    "convergence",
    "transfusion",
    "training-curves",
    "cost",
    "leakage",
    "problems",
    "provenance",
)
"""Registered names from top to bottom; a section that is not listed follows, by name."""
