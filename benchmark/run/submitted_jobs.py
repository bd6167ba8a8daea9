"""Jobs of a cluster's scheduler that compute cells of a run directory."""

import subprocess
from contextlib import suppress
from pathlib import Path

import msgspec

from ...core.errors import UserError
from ...core.files import read_regular


class SubmittedJob(msgspec.Struct, frozen=True, kw_only=True):
    """One submission."""

    id: str
    workers: int
    submitted: str
    """UTC, ISO 8601."""


def job_path(folder: Path, job: str) -> Path:
    """Return the file of a job in a run directory."""
    return folder / "cluster" / f"job-{job}.json"


def read_jobs(folder: Path) -> list[SubmittedJob]:
    """Return the jobs that were submitted for a run directory, the last one last."""
    found = []
    for path in folder.glob("cluster/job-*.json"):
        with suppress(OSError, msgspec.DecodeError):
            found.append(msgspec.json.decode(read_regular(path), type=SubmittedJob))
    return sorted(found, key=lambda job: (job.submitted, job.id))


def call_scheduler(*command: str, cure: str) -> str:
    """Return the output of a command of Slurm; `UserError` with the cure where it is missing or refuses."""
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout
    except FileNotFoundError as error:
        raise UserError(
            f"There is no {command[0]} on this machine: use a login node, or adapt what --print shows."
        ) from error
    except subprocess.CalledProcessError as error:
        reason = " ".join(error.stderr.split()) or f"exit code {error.returncode}"
        raise UserError(f"{command[0]} refused ({reason.rstrip('.')}): {cure}.") from error


def queued_jobs(folder: Path) -> list[str]:
    """Return the ids of a run directory's jobs that wait or run."""
    return [job.id for job in read_jobs(folder) if is_queued(job.id)]


def is_queued(job: str) -> bool:
    """Whether a job waits or runs; True where the scheduler does not answer."""
    command = ["squeue", "--noheader", "--format=%i", f"--jobs={job}"]
    try:
        ended = subprocess.run(command, capture_output=True, text=True)
    except OSError:
        return True
    return bool(ended.stdout.strip()) or (ended.returncode != 0 and "Invalid job id" not in ended.stderr)
