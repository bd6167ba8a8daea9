"""`--executor slurm`: one job array of workers on the run directory, submitted by `sbatch`.

A worker takes cells until none is left or its time is nearly over, so that short cells need no batching. What
is done is read from records, never from the scheduler's accounting.
"""

import logging
import os
import re
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import torch

from ....core.clock import utc_now
from ....core.errors import StoppedError, UserError
from ....core.files import write_bytes, write_json
from ....core.interrupts import defer_interrupts
from ....core.leases import growing_wait
from ....core.progress import log_progress
from ...schema.records import Record, RecordStore
from .. import worker
from ..executor import EXECUTORS, Executor
from ..progress import RunProgress
from ..scheduler import POLL_SECONDS, RecordListing
from ..submitted_jobs import SubmittedJob, call_scheduler, is_queued, job_path, queued_jobs
from ..waiting_run import WaitingRun

OWN_OPTIONS = ("array", "chdir", "output", "error", "wrap", "parsable")
"""Options of sbatch that the script sets."""
QUEUE_SECONDS = 60.0
"""How often the scheduler is asked whether any worker is left."""
SCRIPT_HEADER = """#!/bin/bash
# Workers of `mednet-bench run`: each takes cells of one run directory until none is left, or no time.
# For another scheduler, start the lines below the last #SBATCH in any number of jobs: they share the cells.
"""


def submit(run: WaitingRun, print_only: bool) -> str:
    """Submit the workers of a run; return a sentence about it, or for `print_only` only the script.

    Raises:
        UserError: an option of sbatch is wrong, or refused by the scheduler.
    """
    if print_only:
        return _prepare_script(run).read_text()
    job, out = submit_job(run), shlex.quote(run.resolved.request.out)
    return (
        f"{_submitted(job, run)}: `mednet-bench status {out}` shows what is done, `cancel` ends it, the same "
        "`run` command resumes."
    )


def submit_job(run: WaitingRun) -> SubmittedJob:
    """Submit the workers of a run; warns of its jobs that wait or run already."""
    folder, script = run.folder.resolve(), _prepare_script(run)
    if queued := queued_jobs(folder):
        log_progress(
            f"warning: other workers of this run wait or run already (jobs {', '.join(queued)}): "
            f"`mednet-bench cancel {shlex.quote(run.resolved.request.out)}` ends these too.",
            logging.WARNING,
        )
    with defer_interrupts():  # `cancel` must know the job
        answer = call_scheduler("sbatch", "--parsable", str(script), cure="change --slurm")
        number = answer.strip().partition(";")[0]
        job = SubmittedJob(id=number, workers=run.workers, submitted=utc_now())
        write_json(job_path(folder, job.id), job)
    return job


def _submitted(job: SubmittedJob, run: WaitingRun) -> str:
    return f"Submitted job {job.id} with {job.workers} workers for {len(run.waiting)} cells"


def _prepare_script(run: WaitingRun) -> Path:
    """Write the arguments of the workers, and their script; return its path."""
    request, folder = run.resolved.request, run.folder.resolve()
    arguments = folder / "cluster" / f"worker-{run.rules.run}.json"  # an earlier job may still read its own
    script = write_script(folder, request.slurm, run.workers, arguments)
    write_bytes(arguments, msgspec.json.encode(run.worker_args(request.device)))
    path = folder / "cluster" / "job.sh"
    (folder / "logs").mkdir(exist_ok=True)  # Slurm starts no job without it
    write_bytes(path, script.encode())
    return path


def write_script(folder: Path, options: Sequence[str], workers: int, arguments: Path) -> str:
    """Return the script of a job array of workers.

    Args:
        folder: run directory, absolute.
        options: of sbatch, like "partition=gpu" or "exclusive"; they override those of the script.
        workers: number of jobs in the array.
        arguments: file with the arguments of the workers.

    Raises:
        UserError: an option is none of sbatch, or is set by the script.
    """
    given = dict(map(_parse_option, _join_lists(options)))
    threads = torch.get_num_threads()  # as in this process: the number changes last digits
    usual = {"job-name": "mednet-bench", "requeue": "", "open-mode": "append", "cpus-per-task": f"{threads}"}
    output = f"{folder}/logs/slurm-".replace("%", "%%") + "%A_%a.txt"
    own = {"array": f"0-{workers - 1}", "output": output}
    lines = [
        f"#SBATCH --{name}={shlex.quote(value)}" if value else f"#SBATCH --{name}"
        for name, value in {**usual, **given, **own}.items()
    ]
    settings = {"OMP_NUM_THREADS": f"{threads}", "PYTHONSAFEPATH": "1"}
    settings |= {name: value for name, value in os.environ.items() if name.startswith("MEDNET_BENCH_")}
    lines += [f"export {name}={shlex.quote(value)}" for name, value in sorted(settings.items())]
    lines.append(f"cd {shlex.quote(str(Path.cwd()))} || exit 2")  # paths of the command may be relative
    command = [sys.executable, "-m", worker.__name__, str(arguments)]
    time_limit = [given["time"]] if "time" in given else []
    return "\n".join([SCRIPT_HEADER.rstrip(), *lines, f"exec {shlex.join([*command, *time_limit])}", ""])


def _join_lists(options: Sequence[str]) -> list[str]:
    """Join what was split at the commas of a value, like exclude=n1,n2 or exclude=n[1,3]."""
    joined: list[str] = []
    for text in options:
        if joined and "=" in joined[-1] and not re.fullmatch(r"(--)?[a-z][a-z-]*(=.*)?", text.strip()):
            joined[-1] += f",{text.strip()}"
        else:
            joined.append(text)
    return joined


def _parse_option(text: str) -> tuple[str, str]:
    name, _, value = text.strip().removeprefix("--").partition("=")
    if not re.fullmatch(r"[a-z][a-z-]*", name) or not value.isprintable():
        raise UserError(f"--slurm {text}: pass options of sbatch, like partition=gpu,time=02:00:00.")
    if name in OWN_OPTIONS:
        raise UserError(f"--slurm {text}: {name} is set by the program; --workers gives the number of jobs.")
    return name, value


def execute_on_slurm(run: WaitingRun, on_record: Callable[[Record], object]) -> None:
    """Submit the waiting cells and show the progress until all have records; arguments as for `local`.

    Raises:
        StoppedError: no worker is left, but cells are.
    """
    folder, progress = run.folder, RunProgress(run.waiting, run.jobs, on_record=on_record)
    listing, submitted = RecordListing(RecordStore(folder).records), submit_job(run)
    log_progress(f"{_submitted(submitted, run)}; they go on if this command ends: `cancel` ends them.")
    job = submitted.id
    changed = asked = time.monotonic()
    with progress.show():
        while progress.waiting:
            left, now = len(progress.waiting), time.monotonic()
            ask = now - max(changed, asked) > QUEUE_SECONDS
            gone = ask and not is_queued(job)
            asked = now if ask else asked
            names = listing.names() if ask else listing.changed_names()
            run.note_records(progress, names)
            changed = now if len(progress.waiting) < left else changed
            if gone and len(progress.waiting) == left:
                logs = f"{folder}/logs/slurm-{job}_*.txt"
                raise StoppedError(
                    f"All workers of job {job} ended before all was done (see {logs}); run the same command "
                    "again."
                )
            time.sleep(growing_wait(now - changed, 2 * POLL_SECONDS))


EXECUTORS.add("slurm", Executor(execute_on_slurm, ("workers", "slurm"), submit, elsewhere=True))
