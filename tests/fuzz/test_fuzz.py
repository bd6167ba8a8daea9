"""Mutants of every kind of input are loaded or refused by name, in bounded time and memory."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FEW_CASES = 120
CASES = 340
"""For each of seven targets: 2,380 in all, in addition to those of tests/tasks/readers."""


def fuzzed(folder: Path, cases: int, *targets: str) -> dict[str, dict[str, int]]:
    """Run fuzz.py; returns how many mutants of each target were loaded and refused."""
    script = str(Path(__file__).with_name("fuzz.py"))
    command = [sys.executable, script, str(folder / "fuzz"), str(cases), *targets]
    own = {"MEDNET_BENCH_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, capture_output=True, text=True, env=os.environ | own)
    assert result.returncode == 0, result.stderr[-3000:]
    return json.loads(result.stdout)


@pytest.mark.slow
def test_mutants_of_tables_are_read_or_refused_without_a_cell(tmp_path: Path) -> None:
    outcome = fuzzed(tmp_path, FEW_CASES, "tables")["tables"]
    assert outcome["loaded"] > 5 and outcome["refused"] > 20


@pytest.mark.slow
def test_every_mutant_is_loaded_or_refused_by_name(tmp_path: Path) -> None:
    found = fuzzed(tmp_path, CASES)
    assert len(found) == 7
    for name, outcome in found.items():
        assert outcome["loaded"] + outcome["refused"] == CASES
        assert outcome["loaded"] > 5, f"the mutants of {name} are hopeless"
        # records and predictions are never refused: the report lists unreadable ones
        assert outcome["refused"] > 50 or name == "run", f"the mutants of {name} are harmless"
