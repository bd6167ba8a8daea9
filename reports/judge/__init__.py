"""Verdicts on predictions made elsewhere, from arrays or CSV files; no module here reads records."""

from typing import TYPE_CHECKING

from ...core.lazy import import_on_first_use

if TYPE_CHECKING:
    from . import judge_scores, score_files, score_verdict
else:
    __getattr__ = import_on_first_use(__name__)
