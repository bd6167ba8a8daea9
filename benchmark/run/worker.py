"""Worker process of `run`.

It reads its arguments from standard input (`--jobs N`), or on a cluster from a file, whose path and the job's
time limit are on its command line.
"""

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import msgspec

from ...core.errors import StoppedError, UserError, one_line
from ...core.interrupts import TerminatedError, heed_sigterm
from ...core.leases import cluster_job


def worker_main(arguments: list[str]) -> int:
    """Work until no cell is left; the last line on standard error states the error."""
    heed_sigterm()
    try:
        # before torch is imported: the parent waits until it is read
        args = Path(arguments[0]).read_bytes() if arguments else sys.stdin.buffer.read()
        from .executor import TimeLimit, serve_worker
        from .waiting_run import WorkerArgs

        limit = TimeLimit(seconds_left(*arguments[1:]) if arguments else float("inf"))
        serve_worker(msgspec.json.decode(args, type=WorkerArgs), limit)
        if limit.over and not limit.was_used:
            raise UserError("The time limit of this job leaves no time for a cell: submit one with more.")
        if limit.over:
            queue_again()
    except UserError as error:
        print(one_line(str(error)), file=sys.stderr)
        return 2
    except StoppedError as error:
        print(one_line(str(error)), file=sys.stderr)
        return 1
    except KeyboardInterrupt as error:
        return TerminatedError.exit_code if isinstance(error, TerminatedError) else 130
    return 0


def seconds_left(limit: str = "") -> float:
    """Return the seconds until this job's end, by Slurm or by a limit such as 90, 02:00:00 or 1-12."""
    days, dash, clock = limit.rpartition("-")
    with suppress(ValueError):
        parts = [int(part) for part in clock.split(":")]
        units = (3600, 60, 1) if dash or len(parts) == 3 else (60, 1)
        seconds = 86400 * int(days or 0) + sum(unit * part for unit, part in zip(units, parts, strict=False))
        if end := os.environ.get("SLURM_JOB_END_TIME"):
            return min(float(end) - time.time(), seconds)
        return seconds
    end = os.environ.get("SLURM_JOB_END_TIME")
    return float(end) - time.time() if end else float("inf")


def queue_again() -> None:
    """Let Slurm queue this job again for the cells that are left."""
    if job := cluster_job():  # SLURM_JOB_ID of one task is that of the array, all of which would be queued
        print(
            "The time is nearly over and cells are left: Slurm is asked to queue this job again.", flush=True
        )
        with suppress(OSError):
            subprocess.run(["scontrol", "requeue", job])


if __name__ == "__main__":
    sys.exit(worker_main(sys.argv[1:]))
