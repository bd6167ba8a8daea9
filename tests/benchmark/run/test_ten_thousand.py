"""Ten thousand cells: a rerun reads each record a few times and writes nothing."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from processes import CommandLine, states
from synthetic import write_finished

from mednet_bench.benchmark.schema.plan import read_plan
from mednet_bench.benchmark.schema.records import RecordStore

COUNTING = """
import collections, json, os, sys

seen, out = collections.Counter(), sys.argv[-1] + os.sep

def count(event, arguments):
    if event in ("open", "os.listdir", "os.scandir") and str(arguments[0]).startswith(out):
        seen[event] += 1

sys.addaudithook(count)
from mednet_bench.cli.main import main

try:
    main()
finally:
    print(json.dumps({**seen, "torch": "torch" in sys.modules}))
"""


@pytest.mark.slow
def test_ten_thousand_records_are_resumed_by_reading_each_a_few_times(
    mednet_bench: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MEDNET_BENCH_CACHE", mednet_bench.environment["MEDNET_BENCH_CACHE"])
    out = tmp_path / "run"
    command = write_finished(out)
    assert sum(1 for _ in RecordStore(out).read_all()) == 10_000

    before = states(out)
    environment = dict(mednet_bench.environment)
    counting = [sys.executable, "-c", COUNTING, *command]
    ended = subprocess.run(counting, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == f"All 10000 cells have their records in {out}: nothing to compute.\n"
    assert read_plan(out) is not None
    assert states(out) == before
    # what a person waits for, without a clock: the files that are opened and the folders that are listed
    seen = json.loads(ended.stdout)
    assert 10_000 <= seen["open"] < 40_000, seen
    assert not seen["torch"], "torch was imported, which takes seconds"
    assert seen.get("os.scandir", 0) + seen.get("os.listdir", 0) < 100, seen
