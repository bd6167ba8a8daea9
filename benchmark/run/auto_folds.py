"""Own tasks that are cross-validated unless `--folds` says otherwise: few images, and no given test split."""

from collections.abc import Callable, Mapping, Sequence

from ...core.errors import UserError
from ...tasks.task import Split, Task
from ..schema.request import RunConfig
from ..training.folds import check_folds, pool_splits

FEW_IMAGES = 1000
"""With fewer, the score of one made test split depends on its draw (AUC .82 to .98 over five draws)."""
DEFAULT_FOLDS = 5


def small_tasks(
    request: RunConfig,
    shares: Mapping[str, float],
    targets: Sequence[Task],
    labels: Callable[[Task, int], Mapping[str, Split]],
) -> tuple[dict[str, float], list[str]]:
    """Return the tasks of `shares` to cross-validate by default, and a sentence on each that is small.

    Args:
        request: the options.
        shares: share of val by task without a given test split.
        targets: all tasks of the run.
        labels: returns a task's splits at a stored size without pixels.
    """
    chosen: dict[str, float] = {}
    sentences = []
    for task in targets:
        if task.name not in shares:
            continue
        pool = pool_splits(labels(task, request.size))
        if len(pool) >= FEW_IMAGES:
            continue
        one = f"{task.name}: {len(pool):,} images without a given test split"
        share = shares[task.name]
        try:
            doubt = check_folds(task.name, task.classes, pool, DEFAULT_FOLDS, request.seeds, share)
        except UserError as error:
            doubt = str(error)
        if doubt:
            few = f"too few patients for {DEFAULT_FOLDS} folds"
            sentences.append(f"{one} and {few}: one made split is the test set.")
        else:
            chosen[task.name] = share
            sentences.append(f"{one}: {DEFAULT_FOLDS} folds by patient; --folds 0 tests on one made split.")
    return chosen, sentences
