"""Stand-in for sbatch, squeue and scancel: starts the tasks of a job array as processes of this machine.

FAKE_SLURM is the folder of its state.
"""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

STATE = Path(os.environ["FAKE_SLURM"])


def sbatch(script: str) -> None:
    """Start the tasks and print the job's id."""
    text = Path(script).read_text()
    options = dict(re.findall(r"^#SBATCH --([a-z-]+)=?(.*)$", text, re.MULTILINE))
    if options.get("partition") == "none":
        sys.exit("sbatch: error: invalid partition specified: none")
    first, last = map(int, options["array"].split("-"))
    for number in range(first, last + 1):
        log = Path(options["output"].replace("%A", "4711").replace("%a", str(number)))
        names = {"SLURM_JOB_ID": f"{4712 + number}", "SLURM_ARRAY_JOB_ID": "4711"}
        environment = os.environ | names | {"SLURM_ARRAY_TASK_ID": str(number)}
        with log.open("ab") as file:
            process = subprocess.Popen(["bash", script], stdout=file, stderr=file, env=environment)
        (STATE / f"{process.pid}").touch()
    print("4711")


def running() -> list[int]:
    """List the tasks that have not ended."""
    pids = [int(path.name) for path in STATE.iterdir() if path.name.isdigit()]
    return [pid for pid in pids if Path(f"/proc/{pid}/stat").exists()]


def main(name: str, *arguments: str) -> None:
    """Be one of the commands."""
    with (STATE / "calls").open("a") as file:
        file.write(f"{name} {' '.join(arguments)}\n")
    if name == "sbatch":
        sbatch(arguments[-1])
    elif name == "squeue":
        print("\n".join(map(str, running())))
    elif name == "scancel":
        for pid in running():
            os.kill(pid, signal.SIGTERM)
