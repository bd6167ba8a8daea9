"""Text of `status`."""

from ...benchmark.run.run_status import RunStatus
from ...reports.elements.format import count_noun


def status_text(status: RunStatus) -> str:
    """Return one line per fact about a run."""
    waiting = status.cells - status.ok - status.failed
    lines = [("run", status.folder), ("cells", f"{status.cells:,}")]
    lines.append(("done", f"{status.ok:,}" + (f", and {status.failed:,} failed" if status.failed else "")))
    now = sum(not cell.is_silent for cell in status.running)
    lines.append(("waiting", f"{waiting:,}, of which {now:,} are computed now"))
    for cell in status.running:
        silent = " and probably dead: a worker takes the cell over" if cell.is_silent else ""
        lines.append(("", f"{cell.key} by {cell.owner}, heard {cell.renewed_seconds:.0f} s ago{silent}"))
    if status.late:
        lines.append(("late", f"{count_noun(status.late, 'record')} dropped, see logs/*.late"))
    for job in status.jobs:
        lines.append(("job", f"{job.id}, {count_noun(job.workers, 'worker')}, submitted {job.submitted}"))
    return "\n".join(f"{name:9} {value}" for name, value in lines)
