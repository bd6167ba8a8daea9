"""Find sources of a corpus that may hold images of the tasks to be held out."""

from collections.abc import Iterable

from ...baselines.init import InitCard
from ...core.errors import UserError
from ...tasks.task import Task
from ..corpus.corpus import SourceFacts


def related_sources(sources: Iterable[SourceFacts], tasks: Iterable[Task]) -> dict[str, str]:
    """Return the sources that are not independent of all tasks, each with the reason.

    A relation that the catalog calls only possible counts too: certain independence is worth a source.
    """
    found: dict[str, str] = {}
    for task in tasks:
        for source in sources:
            reasons = task.contamination(words_of(source)).reasons
            if reasons and source.name not in found:
                found[source.name] = f"{task.name}: {reasons[0]}"
    return found


def words_of(source: SourceFacts) -> tuple[str, ...]:
    """Return all names under which the catalog may list the images of a source."""
    words = (source.name, source.database, source.source_group, *source.parents)
    return tuple(dict.fromkeys(word for word in words if word))


def check_start(start: InitCard | None, tasks: Iterable[Task]) -> None:
    """Check that the initial weights have seen none of the held-out tasks; `UserError` if so.

    No choice of sources could make the result independent of such a task.
    """
    if start is None:
        return
    for task in tasks:
        reasons = task.contamination(start.corpora).reasons
        if reasons:
            raise UserError(
                f"--from: {start.label} may have seen {task.name} ({reasons[0]}), which --leave-out names: "
                "start from other weights, or remove the task from --leave-out."
            )
