"""Changes between two runs, against differences computed by hand."""

from pathlib import Path

import msgspec
import pytest
from synthetic import Grid, record_of, write_run

from mednet_bench.benchmark.schema.plan import Cell
from mednet_bench.benchmark.schema.records import Record, RecordStore
from mednet_bench.reports.analysis.load_report_input import load_report_input
from mednet_bench.reports.regression.changes import pair_rows
from mednet_bench.reports.regression.compare import comparison_markdown

replace = msgspec.structs.replace


def one(auc: float | None, seed: int, **cell: object) -> Record:
    base = Cell(task="breastmnist", size=28, input_size=28, arch="a", init="scratch", protocol="linear")
    record = record_of(replace(base, seed=seed, **cell), Grid())
    return replace(record, metrics={"auc": auc, "accuracy": 0.5})


def keep(folder: Path, *records: Record) -> Path:
    for record in records:
        RecordStore(folder).write(record)
    return folder


def of(tmp_path: Path, a: list[Record], b: list[Record]):
    folders = keep(tmp_path / "a", *a), keep(tmp_path / "b", *b)
    return pair_rows(*(load_report_input([folder]) for folder in folders), "auc")


def test_differences_are_b_minus_a_seed_by_seed(tmp_path: Path):
    a = [one(0.80, 0), one(0.82, 1), one(0.70, 2), one(None, 3)]
    b = [one(0.81, 0), one(0.85, 1), one(0.10, 5), one(0.90, 3)]
    (change,) = of(tmp_path, a, b).both
    # +0.01 and +0.03: mean 0.02, sd sqrt(2 * 0.01^2 / 1) = 0.0141421; seeds 2, 3 and 5 have no partner
    assert change.stat is not None and change.stat.n == 2
    assert change.stat.mean == pytest.approx(0.02) and change.stat.sd == pytest.approx(0.0141421, abs=1e-6)
    assert change.unpaired == 3 and change.differs == {} and change.obstacle == ""


def test_a_seed_with_other_labels_is_no_pair(tmp_path: Path):
    other = one(0.9, 0)
    other = replace(other, hashes=replace(other.hashes, subset="other"))
    (change,) = of(tmp_path, [one(0.8, 0)], [other]).both
    assert change.stat is None and "no seed in common" in change.obstacle


@pytest.mark.parametrize(
    ("what", "edit"),
    [
        ("recipe", lambda r: replace(r, recipe_hash="other")),
        ("weights", lambda r: replace(r, hashes=replace(r.hashes, weights="sha256:" + "f" * 64))),
        ("protocol version", lambda r: replace(r, protocol_version=2)),
        ("input", lambda r: replace(r, init=replace(r.init, contract={"channels": "bgr"}))),
        ("torch", lambda r: replace(r, provenance=replace(r.provenance, versions={"torch": "9"}))),
        ("commit", lambda r: replace(r, provenance=replace(r.provenance, commit="f" * 40))),
    ],
)
def test_what_may_explain_a_difference_is_named_and_refuses_nothing(tmp_path: Path, what: str, edit):
    found = of(tmp_path, [one(0.8, 0)], [edit(one(0.9, 0))])
    (change,) = found.both
    assert what in change.differs and change.stat is not None
    assert change.stat.mean == pytest.approx(0.1)
    assert what in comparison_markdown(tmp_path / "a", tmp_path / "b")


def test_other_data_are_shown_side_by_side_and_not_subtracted(tmp_path: Path):
    other = one(0.9, 0)
    other = replace(other, hashes=replace(other.hashes, data="sha256:other"))
    (change,) = of(tmp_path, [one(0.8, 0)], [other]).both
    assert change.stat is None
    text = comparison_markdown(tmp_path / "a", tmp_path / "b")
    assert "not comparable: other data" in text and "0.8000" in text and "0.9000" in text


def test_rows_of_one_run_alone_are_listed(tmp_path: Path):
    found = of(tmp_path, [one(0.8, 0), one(0.8, 0, init="x")], [one(0.8, 0), one(0.8, 0, labels=0.1)])
    assert [row.init for row in found.only_a] == ["x"]
    assert [row.fraction for row in found.only_b] == [0.1]
    text = comparison_markdown(tmp_path / "a", tmp_path / "b")
    assert "Only in A, 1 row" in text and "Only in B, 1 row" in text


def test_equal_variants_are_paired_first_where_a_run_holds_several(tmp_path: Path):
    old = [replace(one(0.8, seed), recipe_hash="old") for seed in (0, 1)]
    new = [replace(one(0.6, seed), recipe_hash="new", key=f"n{seed}") for seed in (0, 1)]
    found = of(tmp_path, [*old, *new], [replace(one(0.7, seed), recipe_hash="new") for seed in (0, 1)])
    (change,) = found.both
    assert change.stat is not None and change.stat.mean == pytest.approx(0.1)
    assert len(found.only_a) == 1


def test_a_run_compared_with_itself_has_not_changed(tmp_path: Path):
    write_run(tmp_path, Grid(protocols=("linear",)))
    text = comparison_markdown(tmp_path, tmp_path)
    assert "In 27 every paired seed scores exactly the same" in text
    assert "are the same in all of them" in text
