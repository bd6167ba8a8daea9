"""The finished report as HTML, Markdown and tables for other programs."""

from typing import TYPE_CHECKING

from ...core.lazy import import_on_first_use

if TYPE_CHECKING:
    from . import (
        board,
        build,
        calibration_page,
        error_sheet,
        predictions_csv,
        site,
        terminal,
        terminal_summary,
        verdict_board,
    )
else:
    __getattr__ = import_on_first_use(__name__)
