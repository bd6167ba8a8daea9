"""Faults that the fuzzing found, one test each."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from mutants import forge_npy, npy_bytes
from targets import (
    FACTS,
    load_corpus,
    load_files,
    load_npz,
    load_sources,
    make_corpus,
    make_files,
    make_npz,
    make_sources,
)

from mednet_bench.benchmark.schema.plan import read_plan
from mednet_bench.benchmark.schema.records import RecordStore
from mednet_bench.core.errors import UserError
from mednet_bench.core.toml_files import read_toml
from mednet_bench.reports.analysis.influence_input import read_predictions

Make = Callable[[Path], object]


def refused(load: Callable[[Path], object], folder: Path, name: str) -> str:
    with pytest.raises(UserError) as caught:
        load(folder)
    assert name in str(caught.value)
    return str(caught.value)


def replace_member(path: Path, name: str, content: bytes) -> None:
    with zipfile.ZipFile(path) as old:
        members = {each: old.read(each) for each in old.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for each, data in (members | {name: content}).items():
            new.writestr(each, data)


HEADER = "{'descr': '%s', 'fortran_order': False, 'shape': %s, }"


@pytest.mark.parametrize(
    "content",
    [
        forge_npy("[" * 3000),  # tokenize.TokenError
        forge_npy(HEADER % ("|u1", "(99999999999999999999,)")),  # OverflowError
        forge_npy(HEADER % ("|u1", "(4000000000, 28, 28)")),  # 3 TB
        forge_npy(HEADER % ("no type", "(3,)")),
        npy_bytes(np.array([{}, []], dtype=object)),  # a pickle
        npy_bytes(np.full((12, 1), np.nan)),
    ],
    ids=["deep header", "huge number", "huge shape", "no type", "pickled objects", "nan"],
)
def test_an_npz_with_invalid_labels_is_refused(tmp_path: Path, content: bytes) -> None:
    make_npz(tmp_path)
    replace_member(tmp_path / "cells.npz", "train_labels.npy", content)
    refused(load_npz, tmp_path, "cells.npz")


@pytest.mark.parametrize("value", ["[" * 5000, "{a=" * 5000], ids=["lists", "tables"])
def test_toml_that_is_nested_too_deeply_is_refused(tmp_path: Path, value: str) -> None:
    (tmp_path / "card.toml").write_text(f"{FACTS}path = {value}")
    assert "nested too deeply" in refused(
        lambda folder: read_toml(folder / "card.toml"), tmp_path, "card.toml"
    )


def test_a_toml_path_with_a_nul_is_refused(tmp_path: Path) -> None:
    make_sources(tmp_path)
    card = tmp_path / "table.toml"
    card.write_text(card.read_text().replace('path = "table.csv"', 'path = "\\u0000"'))
    refused(load_sources, tmp_path, "\0")


@pytest.mark.parametrize(("make", "load"), [(make_sources, load_sources), (make_files, load_files)])
def test_a_csv_cell_with_a_nul_breaks_nothing(
    make: Make, load: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDNET_BENCH_CACHE", str(tmp_path / "cache"))
    make(tmp_path)
    table = tmp_path / "table.csv"
    table.write_text(table.read_text().replace("images/a/2.png", "images/a/2\0.png"))
    try:  # a source skips an unreadable image; a task refuses the table
        load(tmp_path)
    except UserError as error:
        assert "table.csv" in str(error) or "cells" in str(error)


@pytest.mark.parametrize("file", ["corpus/corpus.json", "corpus/index.parquet", "corpus/shards/*"])
def test_a_corpus_with_overwritten_bytes_is_refused(tmp_path: Path, file: str) -> None:
    make_corpus(tmp_path)
    (path, *_) = tmp_path.glob(file)
    path.write_bytes(b"\xff" * path.stat().st_size)
    refused(load_corpus, tmp_path, path.name)


def test_undecodable_record_plan_and_predictions_count_as_absent(tmp_path: Path) -> None:
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / "k.json").write_bytes(b'{"key":"\xff"}')
    (tmp_path / "plan.json").write_bytes(b'{"format":"\xff"}')
    assert (list(RecordStore(tmp_path).read_all()), read_plan(tmp_path)) == ([], None)
    np.savez(tmp_path / "p.npz", labels=np.zeros(3), scores=np.zeros((3, 2)))
    replace_member(tmp_path / "p.npz", "scores.npy", forge_npy(HEADER % ("|u1", "(99999999999999999999,)")))
    assert read_predictions([tmp_path / "p.npz"]) is None
