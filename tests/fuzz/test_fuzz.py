"""Mutants of every kind of input are loaded or refused by name, in bounded time and memory."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CASES = 340
"""For each of six targets: 2,040 in all, in addition to those of tests/tasks/readers."""


@pytest.mark.slow
def test_every_mutant_is_loaded_or_refused_by_name(tmp_path: Path) -> None:
    command = [sys.executable, str(Path(__file__).with_name("fuzz.py")), str(tmp_path / "fuzz"), str(CASES)]
    own = {"MEDNET_BENCH_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, capture_output=True, text=True, env=os.environ | own)
    assert result.returncode == 0, result.stderr[-3000:]
    found = json.loads(result.stdout)
    assert len(found) == 6
    for name, outcome in found.items():
        assert outcome["loaded"] + outcome["refused"] == CASES
        assert outcome["loaded"] > 5, f"the mutants of {name} are hopeless"
        # records and predictions are never refused: the report lists unreadable ones
        assert outcome["refused"] > 50 or name == "run", f"the mutants of {name} are harmless"
