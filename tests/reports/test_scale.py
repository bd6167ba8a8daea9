"""Ten thousand records become a report while a person waits."""

import time
from pathlib import Path

import pytest
from synthetic import REAL, Grid, write_run

from mednet_bench.reports.build import build


@pytest.mark.slow
def test_ten_thousand_records_take_less_than_a_minute(tmp_path: Path):
    grid = Grid(
        tasks=tuple(REAL),
        archs=("resnet18", "resnet50", "vit_small_patch16_224"),
        protocols=("finetune", "linear", "knn"),
        fractions=(0.01, 0.05, 0.1, 0.25, 0.5, 1.0),
        seeds=(0, 1, 2, 3, 4),
    )
    assert len(write_run(tmp_path, grid)) > 10_000
    start = time.process_time()  # one thread: the wall time of a machine with nothing else to do
    built = build([tmp_path])
    assert time.process_time() - start < 60
    assert len(built.results.counted) == 9720
    assert built.html.stat().st_size < 12_000_000
