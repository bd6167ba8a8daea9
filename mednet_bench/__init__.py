"""Does pretraining on medical images beat ImageNet transfer, or training from scratch, on your task?

::

    import mednet_bench as mb

    results = mb.run(tasks=["breastmnist"], inits=["imagenet", "scratch"], protocols=["linear"], out="run")
    results.verdicts()
"""

from typing import TYPE_CHECKING

from .core.hardware import bound_spinning
from .core.lazy import import_names_on_first_use

if TYPE_CHECKING:
    from .api import (
        list_inits,
        list_tasks,
        load_results,
        plan,
        register_init,
        register_metric,
        register_protocol,
        register_section,
        register_task,
        run,
    )
    from .benchmark.schema.request import RunConfig
    from .core.errors import UserError
    from .reports.judge.judge_scores import judge, judge_many
    from .reports.judge.score_verdict import ScoreVerdict
    from .results import Results, RunPlan
    from .tensorboard import tensorboard_writer
    from .version import __version__

__all__ = [
    "Results",
    "RunConfig",
    "RunPlan",
    "ScoreVerdict",
    "UserError",
    "__version__",
    "judge",
    "judge_many",
    "list_inits",
    "list_tasks",
    "load_results",
    "plan",
    "register_init",
    "register_metric",
    "register_protocol",
    "register_section",
    "register_task",
    "run",
    "tensorboard_writer",
]
_MODULES = {
    **dict.fromkeys(__all__, "api"),
    "Results": "results",
    "RunConfig": "benchmark.schema.request",
    "RunPlan": "results",
    "ScoreVerdict": "reports.judge.score_verdict",
    "UserError": "core.errors",
    "judge": "reports.judge.judge_scores",
    "judge_many": "reports.judge.judge_scores",
    "tensorboard_writer": "tensorboard",
    "__version__": "version",
}
"""Public name -> its module."""

bound_spinning()  # here, since every way to torch leads through this package
__getattr__ = import_names_on_first_use(__name__, _MODULES)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
