"""Jobs of a cluster's scheduler that compute cells of a run directory."""

import subprocess
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


def jobs_path(folder: Path) -> Path:
    """Return the file with the jobs of a run directory."""
    return folder / "cluster" / "jobs.json"


def read_jobs(folder: Path) -> list[SubmittedJob]:
    """Return the jobs that were submitted for a run directory, the last one last."""
    try:
        return msgspec.json.decode(read_regular(jobs_path(folder)), type=list[SubmittedJob])
    except (OSError, msgspec.DecodeError):
        return []


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


def is_queued(job: str) -> bool:
    """Whether a job waits or runs; True where the scheduler does not answer."""
    command = ["squeue", "--noheader", "--format=%i", f"--jobs={job}"]
    try:
        ended = subprocess.run(command, capture_output=True, text=True)
    except OSError:
        return True
    return bool(ended.stdout.strip()) or (ended.returncode != 0 and "Invalid job id" not in ended.stderr)
