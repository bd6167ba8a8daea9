"""What must not be believed is not claimed: errors that are unknown, test sets that training knew."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from synthetic import Grid, write_run

from mednet_bench.benchmark.records import Record, Store
from mednet_bench.reports.findings.reading import read
from mednet_bench.reports.findings.results import Results
from mednet_bench.reports.findings.verdicts import BETTER, CANNOT_TELL, judge

GRID = Grid(tasks=("retinamnist",), inits=("rival", "scratch"), fractions=(1.0,), protocols=("linear",))
Scores = np.ndarray


def rewritten(folder: Path, change: Callable[[Record, Store], Record], grid: Grid = GRID) -> Results:
    """Invent a run, then change what its score cells left."""
    store = Store(folder)
    for record in write_run(folder, grid):
        if record.cell.step == "score":
            store.path(record.key).write_bytes(msgspec.json.encode(change(record, store)))
    return read([folder])


def predicted(
    record: Record, store: Store, labels: Scores, positive: Scores, groups: Scores | None = None
) -> Record:
    """Give a record other predictions of a binary task, and their AUC."""
    scores = np.stack([1 - positive, positive], axis=1).astype(np.float32)
    arrays = {"labels": labels, "scores": scores} | ({} if groups is None else {"groups": groups})
    np.savez(store.predictions_of(record.key), **arrays)
    return msgspec.structs.replace(
        record, metrics={**record.metrics, "auc": float(roc_auc_score(labels, scores[:, 1]))}
    )


def of_constant(labels: Scores, seed: int) -> Scores:
    return np.full(len(labels), 0.3 + 0.01 * seed)


def of_perfect(labels: Scores, seed: int) -> Scores:
    return 0.1 + 0.8 * labels


def of_inverted(labels: Scores, seed: int) -> Scores:
    return 0.9 - 0.8 * labels


def of_noise(labels: Scores, seed: int) -> Scores:
    return np.random.default_rng(seed).random(len(labels))


@pytest.mark.parametrize(
    ("rival", "scratch", "each"),
    [
        (of_perfect, of_inverted, 2),
        (of_perfect, of_constant, 3),
        (of_perfect, of_inverted, 150),
        (of_perfect, of_perfect, 150),
        (of_constant, of_constant, 150),
        (of_perfect, of_noise, 3),
    ],
)
def test_where_no_image_shows_an_error_or_too_few_could_there_is_no_verdict(
    tmp_path: Path, rival: Callable, scratch: Callable, each: int
) -> None:
    labels = np.arange(2 * each) % 2

    def change(record: Record, store: Store) -> Record:
        of = rival if record.cell.init == "rival" else scratch
        return predicted(record, store, labels, of(labels, record.cell.seed))

    (verdict,) = judge(rewritten(tmp_path, change))
    assert verdict.verdict == CANNOT_TELL and verdict.barred and verdict.barred.name == "no-evidence"
    assert np.isnan([*verdict.interval, *verdict.p, *verdict.p_equivalent, verdict.mde]).all()


def test_a_perfect_score_against_one_with_an_error_keeps_its_verdict(tmp_path: Path) -> None:
    labels = np.arange(300) % 2

    def change(record: Record, store: Store) -> Record:
        of = of_perfect if record.cell.init == "rival" else of_noise
        return predicted(record, store, labels, of(labels, record.cell.seed))

    (verdict,) = judge(rewritten(tmp_path, change))
    assert verdict.verdict == BETTER and verdict.has("perfect") and not verdict.barred
