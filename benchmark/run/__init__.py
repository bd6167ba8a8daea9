"""Planning, scheduling and computing the cells of a run."""

from typing import TYPE_CHECKING

from ...core.lazy import import_on_first_use

if TYPE_CHECKING:
    from . import (
        estimate,
        executor,
        kept_models,
        planner,
        preflight,
        resolve,
        run_status,
        scheduler,
        submitted_jobs,
        task_folds,
    )
else:
    __getattr__ = import_on_first_use(__name__)
