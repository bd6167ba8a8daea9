"""Ten thousand cells: read in five seconds, resumed without anything to do in three."""

import hashlib
import io
import resource
import time
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


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_ten_thousand_records_are_read_in_five_seconds_and_resumed_in_three(
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

    started = time.process_time()
    assert sum(1 for _ in store.read_all()) == 10_000
    reading = time.process_time() - started

    before = states(out)
    started = processor()
    ended = mednet_bench(
        *("run", *SMALL, "--inits", "scratch,imagenet", "--protocols", "knn", "--fractions", FRACTIONS),
        *("--seeds", "0..499", "--no-report", "--out", out),
    )
    resuming = processor() - started
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == f"All 10000 cells have their records in {out}: nothing to compute.\n"
    assert read_plan(out) is not None
    assert states(out) == before
    print(f"10,000 records: read in {reading:.2f} s, a run without anything to do takes {resuming:.2f} s")
    assert reading < 5
    assert resuming < 3


def processor() -> float:
    """Seconds of processor that children have used: what a person waits where nothing else runs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
