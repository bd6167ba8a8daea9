"""Ten thousand cells: a rerun without anything to do reads each record a few times, and writes nothing."""

import hashlib
import io
import json
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from processes import SMALL, CommandLine, states
from synthetic import Grid, record_of

from mednet_bench.benchmark.plan import read_plan
from mednet_bench.benchmark.records import Store
from mednet_bench.benchmark.request import Request
from mednet_bench.benchmark.resolve import resolve

FRACTIONS = "0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9,1.0"

COUNTING = """
import collections, json, os, sys

seen, out = collections.Counter(), sys.argv[-1] + os.sep

def count(event, arguments):
    if event in ("open", "os.listdir", "os.scandir") and str(arguments[0]).startswith(out):
        seen[event] += 1

sys.addaudithook(count)
from mednet_bench.benchmark.cli import main

try:
    main()
finally:
    print(json.dumps(seen))
"""


@pytest.mark.slow
def test_ten_thousand_records_are_resumed_by_reading_each_a_few_times(
    mednet_bench: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MEDNET_BENCH_CACHE", mednet_bench.environment["MEDNET_BENCH_CACHE"])
    out = tmp_path / "run"
    asked = Request(
        tasks="phantom-organ", inits="scratch,imagenet", protocols="knn", fractions=FRACTIONS,
        seeds="0..499", size=28, input_size=32, out=str(out),
    )  # fmt: skip
    planned = resolve(asked).plan.cells
    assert len(planned) == 10_000
    store = Store(out)
    store.records.mkdir(parents=True)
    store.predictions.mkdir()
    archive = io.BytesIO()
    np.savez_compressed(archive, labels=np.arange(240) % 5, scores=np.random.default_rng(0).random((240, 5)))
    digest = hashlib.sha256(archive.getvalue()).hexdigest()
    for number, cell in enumerate(planned):
        record = record_of(cell.cell, Grid(), number)
        record = msgspec.structs.replace(record, key=cell.key, predictions=digest)
        content = hashlib.sha256(msgspec.json.encode(record)).hexdigest()
        record = msgspec.structs.replace(record, content=content)
        # straight to the file: ten thousand fsyncs would take longer than what is tested
        store.path(cell.key).write_bytes(msgspec.json.encode(record))
        store.predictions_of(cell.key).write_bytes(archive.getvalue())

    assert sum(1 for _ in store.read_all()) == 10_000

    before = states(out)
    command = ["run", *SMALL, "--inits", "scratch,imagenet", "--protocols", "knn", "--fractions", FRACTIONS]
    command += ["--seeds", "0..499", "--no-report", "--out", str(out)]
    ended = subprocess.run(
        [sys.executable, "-c", COUNTING, *command],
        cwd=tmp_path,
        env=dict(mednet_bench.environment),
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == f"All 10000 cells have their records in {out}: nothing to compute.\n"
    assert read_plan(out) is not None
    assert states(out) == before
    # what a person waits for, without a clock: the files that are opened and the folders that are listed
    seen = json.loads(ended.stdout)
    assert 10_000 <= seen["open"] < 40_000, seen
    assert seen.get("os.scandir", 0) + seen.get("os.listdir", 0) < 100, seen
