"""The script of `make gpu`: one sentence without a GPU, and every part works in a dry run on a CPU."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).with_name("measure_gpu.py")
PARTS = ("loop", "roofline", "packing", "solvers", "precision", "pretraining", "ranks")

pytestmark = pytest.mark.slow


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(
        [sys.executable, SCRIPT, *arguments], env=environment, capture_output=True, text=True
    )


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so_in_one_sentence() -> None:
    done = run()
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "There is no GPU here: run `make gpu` on a machine with one.\n"


@pytest.mark.parametrize("part", PARTS)
def test_every_part_gives_its_rows_in_a_dry_run(part: str) -> None:
    done = run(part, "--device", "cpu", "--tiny")
    rows = [line for line in done.stdout.splitlines() if line.startswith("|")][2:]
    assert rows and not [row for row in rows if f"| {part} " in row], (
        done.stdout
    )  # a failure has the part's name
